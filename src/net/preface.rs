//! The client's first words: HTTP/2's connection preface and the head of the frame that must follow, SETTINGS
//! (RFC 9113 section 3.4). They are read before a connection counts as standing, and given back to be read again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;
const HEAD_BYTES: usize = PREFACE.len() + FRAME_HEAD_BYTES;
const SETTINGS: u8 = 4;

/// A connection that has said what HTTP/2 begins with.
#[derive(Debug)]
pub(super) struct Greeted<T> {
    head: [u8; HEAD_BYTES],
    /// How much of it was read again.
    read: usize,
    inner: T,
}

/// Fails with what is wrong: another protocol, or the end.
pub(super) async fn greeted<T: AsyncRead + Unpin>(mut inner: T) -> io::Result<Greeted<T>> {
    let mut head = [0; HEAD_BYTES];
    inner.read_exact(&mut head).await?;
    let (preface, frame) = head.split_at(PREFACE.len());
    // Length (3 bytes), type, flags, stream (4 bytes). Acknowledging what was not sent yet is no beginning either.
    let is_settings = frame[3] == SETTINGS && frame[4] & 1 == 0 && frame[5..] == [0; 4];
    if preface != PREFACE || !is_settings {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not begin as HTTP/2 does"));
    }
    Ok(Greeted { head, read: 0, inner })
}

impl<T: AsyncRead + Unpin> AsyncRead for Greeted<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let left = &this.head[this.read..];
        if left.is_empty() {
            return Pin::new(&mut this.inner).poll_read(cx, buffer);
        }
        let taken = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..taken]);
        this.read += taken;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Greeted<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0and what follows";

    #[tokio::test]
    async fn what_http_2_begins_with_is_read_and_given_back() {
        let mut stream = greeted(BEGINNING).await.expect("HTTP/2");
        let mut again = Vec::new();
        stream.read_to_end(&mut again).await.expect("read");
        assert_eq!(again, BEGINNING);
    }

    #[tokio::test]
    async fn nothing_else_is_http_2() {
        let with = |at: usize, byte: u8| {
            let mut bytes = BEGINNING.to_vec();
            bytes[at] = byte;
            bytes
        };
        let requests = [b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(), b"PRI * HTTP/2.0\r\n".to_vec()];
        for bytes in [with(27, 1), with(28, 1), with(32, 1), with(20, b'X')].into_iter().chain(requests) {
            assert!(greeted(&*bytes).await.is_err(), "{bytes:?}");
        }
    }
}
