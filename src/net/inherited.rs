//! Sockets that whoever started the process listens on for it: systemd's socket activation (sd_listen_fds(3)).
//!
//! Such a socket outlives the process. While there is none, callers wait in the socket's queue and are not refused, so a
//! restart is not seen as one. It changes nothing else: where to listen is for the configuration to say, and a socket only
//! takes the place of binding one of its addresses. Which connection is served where does not depend on it either: all
//! come in by one loop, and spread from there over the processors.
//!
//! A socket that is not a listening stream is an error, and not left alone: somebody expects calls to be answered there.

use std::fmt::Display;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use super::Address;

/// As many as the configuration can have addresses.
const MOST: u32 = 8;
/// Descriptors below are the standard ones.
const FIRST: u32 = 3;

/// The sockets, each until it is taken. By default there are none.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(Address, Handed)>);

/// A socket that somebody else listens on too.
#[derive(Debug)]
pub enum Handed {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What was handed over cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    #[error("LISTEN_FDS must be a number of at most {MOST}")]
    Number,
    #[error("LISTEN_FDS: descriptor {descriptor}: {problem}")]
    Socket { descriptor: u32, problem: String },
}

impl Inherited {
    /// As the environment says: `LISTEN_FDS`, where `LISTEN_PID` is this process, which is then taken out of it.
    ///
    /// To be called once, before the process has another thread or has opened anything.
    pub fn from_env() -> Result<Inherited, InheritError> {
        let number = |name| std::env::var(name).ok().map(|value| value.parse::<u32>().ok());
        if number("LISTEN_PID").flatten() != Some(std::process::id()) {
            return Ok(Inherited::default());
        }
        let count = number("LISTEN_FDS").flatten().filter(|count| *count <= MOST).ok_or(InheritError::Number)?;
        let mut sockets = ListenFd::from_env();
        let taken = (0..count).map(|place| {
            let failed = |problem: &dyn Display| InheritError::Socket {
                descriptor: FIRST + place,
                problem: problem.to_string(),
            };
            take(&mut sockets, place as usize).map_err(|problem| failed(&problem))
        });
        taken.collect::<Result<_, _>>().map(Inherited)
    }

    /// The one at this address.
    pub fn take(&mut self, address: &Address) -> Option<Handed> {
        let place = self.0.iter().position(|(other, _)| other == address)?;
        Some(self.0.swap_remove(place).1)
    }

    /// Where one is that nobody has taken.
    pub fn rest(&self) -> Option<&Address> {
        self.0.first().map(|(address, _)| address)
    }
}

fn take(sockets: &mut ListenFd, place: usize) -> Result<(Address, Handed), String> {
    const NEITHER: &str = "must be a stream socket of TCP, or of Unix with a path";
    let told = |error: std::io::Error| error.to_string();
    if let Ok(Some(listener)) = sockets.take_tcp_listener(place) {
        let address = Address::Tcp(listener.local_addr().map_err(told)?);
        return Ok((address, Handed::Tcp(listening(listener)?)));
    }
    let Ok(Some(listener)) = sockets.take_unix_listener(place) else { return Err(NEITHER.to_owned()) };
    let address = listener.local_addr().map_err(told)?;
    let path = address.as_pathname().ok_or(NEITHER)?;
    Ok((Address::Unix(path.to_owned()), Handed::Unix(listening(listener)?)))
}

fn listening<S: AsFd>(socket: S) -> Result<S, String> {
    match socket_acceptconn(&socket) {
        Ok(true) => Ok(socket),
        Ok(false) => Err("nobody listens on it".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
