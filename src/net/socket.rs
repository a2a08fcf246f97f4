//! The socket of a connection.
//!
//! It can be taken along to another runtime: tokio's sockets are waited for by the runtime that they were made on, so
//! after a move it is made known to the new one, and to the old one no more.
//!
//! It takes one buffer at a time. HTTP/2 then gathers the frames of many answers and they leave in one write, where each
//! frame in a buffer of its own would cost the kernel more than the copy costs us.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::listener::Accepted;

#[derive(Debug)]
pub(super) struct Socket {
    /// `None` once a move has failed.
    stream: Option<Accepted>,
    moves: Move,
}

/// Says that a socket is used on another runtime from now on.
#[derive(Clone, Debug, Default)]
pub(super) struct Move(Arc<AtomicBool>);

impl Move {
    pub fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Socket {
    pub fn new(stream: Accepted) -> (Self, Move) {
        let moves = Move::default();
        (Socket { stream: Some(stream), moves: moves.clone() }, moves)
    }

    fn stream(&mut self) -> io::Result<&mut Accepted> {
        if self.moves.0.load(Ordering::Acquire) {
            self.arrive()?;
        }
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    #[cold]
    fn arrive(&mut self) -> io::Result<()> {
        self.moves.0.store(false, Ordering::Release);
        self.stream = match self.stream.take() {
            Some(Accepted::Tcp(stream)) => Some(Accepted::Tcp(TcpStream::from_std(stream.into_std()?)?)),
            Some(Accepted::Unix(stream)) => Some(Accepted::Unix(UnixStream::from_std(stream.into_std()?)?)),
            None => None,
        };
        Ok(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().stream()? {
            Accepted::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Accepted::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut().stream()? {
            Accepted::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Accepted::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().stream()? {
            Accepted::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Accepted::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().stream()? {
            Accepted::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Accepted::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
