//! What connections may take: in number, in time, in memory.

use std::time::Duration;

/// Received bytes of one call that wait to be read: HTTP/2's own initial window.
pub(super) const STREAM_WINDOW_BYTES: u32 = 65_535;
/// Received bytes of all calls of one connection that wait to be read, where that is enough for all of its calls.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// Of that window, what each call needs that the client may have under way. h2 ends a connection on which small frames wait
/// that are worth more than half of the window, each counted as what it lacks to 256 bytes; and a client may send a short
/// message of each of its calls before any of them is looked at.
pub(super) const WINDOW_BYTES_OF_A_CALL: u32 = 512;
/// Bytes of one answer that wait to be sent.
pub(super) const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Calls that their caller took back before they were begun. More of them at one time is an attack (CVE-2023-44487).
pub(super) const MAX_RESETS_BEFORE_ACCEPT: usize = 20;
/// Calls that were reset because their caller broke the protocol, until the connection is given up (RUSTSEC-2024-0003).
pub(super) const MAX_RESETS_FOR_ERRORS: usize = 64;
/// The headers of one request of HTTP/1.1.
pub(super) const MAX_HEADERS: usize = 64;
/// The least that hyper can be told for the head of a request of HTTP/1.1.
pub(super) const MIN_HEAD_BYTES: usize = 8_192;
/// How long whoever was told that the connection ends may take to end it, once no call is under way.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);
/// How long nothing is accepted after the system had no room for another connection.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Bounds of connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many stand at a time, those in their handshake included.
    pub max_connections: usize,
    /// From accepting a connection until the client's first HTTP/2 frame; with HTTP/1.1 until the end of TLS' handshake, and
    /// from there, and from each answer, until the end of a request's head.
    pub handshake_timeout: Duration,
    /// How long a connection may have no call under way.
    pub idle_timeout: Duration,
    /// The headers of one call, counted as HTTP/2 does: each with 32 bytes on top. With HTTP/1.1 the head of a request, of
    /// which 8,192 bytes are read in any case.
    pub max_header_bytes: u32,
    /// Calls under way on one connection of HTTP/2.
    pub max_concurrent_streams: u32,
    /// How long a connection is silent before it is asked whether it still lives. It has 20 seconds to answer.
    pub keepalive_interval: Duration,
}
