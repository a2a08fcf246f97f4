//! What is read of requests that are not whole yet: how much of it is kept, and for how long.
//!
//! A message is kept until it is whole. A caller that sends the greater part of one and then nothing would have memory kept
//! for it, so large messages share one limit over all calls; small ones are not counted, since there are no more of them
//! than calls. A call that streams is not under the limit of time that others have, so a message that was begun has one of
//! its own, as has the first. When that is over the request ends there, as if its caller had nothing more to say.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::FutureExt as _;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::codegen::http::HeaderMap;

use super::status::status;
use crate::domain::error::{Error, Reason};

/// A message up to this length is not counted: as long as the longest token that is verified.
const SMALL_BYTES: usize = 16 * 1024;

/// A compression flag and the length, gRPC over HTTP/2's `Length-Prefixed-Message`.
const PREFIX_BYTES: usize = 5;

/// Room for messages that are not whole.
#[derive(Debug)]
pub struct Buffers {
    all: usize,
    taken: AtomicUsize,
    patience: Duration,
}

impl Buffers {
    /// `bytes` for all large messages. Each message has `patience` to become whole.
    pub fn new(bytes: usize, patience: Duration) -> Self {
        Buffers { all: bytes, taken: AtomicUsize::new(0), patience }
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.all);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

/// A request's body, kept account of.
pub struct Metered<B> {
    /// `None` once it was ended.
    body: Option<B>,
    buffers: Arc<Buffers>,
    /// Bytes that were taken for the message that is not whole.
    counted: usize,
    framing: Framing,
    /// By when the message that is waited for has to be whole. `None` between two messages.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<B> Metered<B> {
    pub fn new(body: B, buffers: Arc<Buffers>) -> Self {
        let deadline = Some(Box::pin(sleep_until(Instant::now() + buffers.patience)));
        Metered { body: Some(body), buffers, counted: 0, framing: Framing::default(), deadline }
    }

    /// Takes note of what came; whether there is room for it.
    fn account(&mut self, data: &[u8]) -> bool {
        let whole = self.framing.read(data);
        if whole > 0 {
            self.forget();
        }
        match (self.framing.is_between(), &self.deadline) {
            (true, _) => self.deadline = None,
            // Begun after another one.
            (false, None) => self.deadline = Some(Box::pin(sleep_until(Instant::now() + self.buffers.patience))),
            (false, Some(_)) if whole > 0 => {
                self.deadline = Some(Box::pin(sleep_until(Instant::now() + self.buffers.patience)));
            }
            (false, Some(_)) => {}
        }
        let held = self.framing.held();
        let wanted = if held > SMALL_BYTES { held - self.counted } else { 0 };
        let fits = self.buffers.take(wanted);
        if fits {
            self.counted += wanted;
        }
        fits
    }

    fn forget(&mut self) {
        self.buffers.taken.fetch_sub(self.counted, Ordering::Relaxed);
        self.counted = 0;
    }
}

impl<B> Body for Metered<B>
where
    B: Body + Unpin,
    B::Data: AsRef<[u8]>,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Data = B::Data;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if frame.data_ref().is_some_and(|data| !self.account(data.as_ref())) {
                    self.body = None;
                    let error = Error::new(Reason::Overloaded, "too many large messages are being read");
                    return Poll::Ready(Some(Err(Box::new(status(&error)))));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                self.body = None;
                Poll::Ready(None)
            }
            Poll::Pending => match self.deadline.as_mut().map(|deadline| deadline.poll_unpin(cx)) {
                Some(Poll::Ready(())) => {
                    self.body = None;
                    // An end without trailers would read as an end in the middle of a message.
                    Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::new()))))
                }
                Some(Poll::Pending) | None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B> Drop for Metered<B> {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Where in the sequence of messages a body is.
#[derive(Debug, Default)]
struct Framing {
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the message that came, its prefix included.
    came: usize,
}

impl Framing {
    /// How many messages these bytes make whole.
    fn read(&mut self, mut data: &[u8]) -> usize {
        let mut whole = 0;
        loop {
            while self.came < PREFIX_BYTES {
                let Some((first, rest)) = data.split_first() else { return whole };
                self.prefix[self.came] = *first;
                (self.came, data) = (self.came + 1, rest);
            }
            let [_, length @ ..] = self.prefix;
            let end = PREFIX_BYTES.saturating_add(usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX));
            let taken = data.len().min(end - self.came);
            (self.came, data) = (self.came + taken, &data[taken..]);
            if self.came < end {
                return whole;
            }
            (self.came, whole) = (0, whole + 1);
        }
    }

    fn is_between(&self) -> bool {
        self.came == 0
    }

    fn held(&self) -> usize {
        self.came
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u32) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.extend(vec![7; usize::try_from(length).expect("short")]);
        bytes
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let bytes = [message(0), message(3), message(300), message(1)].concat();
        for size in [1, 2, 5, 7, 100, bytes.len()] {
            let mut framing = Framing::default();
            let whole: usize = bytes.chunks(size).map(|part| framing.read(part)).sum();
            assert_eq!((whole, framing.is_between()), (4, true), "in parts of {size}");
        }
        let mut framing = Framing::default();
        assert_eq!(framing.read(&[message(2), message(9)[..8].to_vec()].concat()), 1);
        assert_eq!((framing.is_between(), framing.held()), (false, 8));
    }

    #[tokio::test]
    async fn large_messages_share_one_limit_and_give_it_back() {
        let buffers = Arc::new(Buffers::new(100_000, Duration::from_secs(30)));
        let begun = |length: usize| {
            let mut body = Metered::new((), buffers.clone());
            let fits = body.account(&message(200_000)[..length]);
            (body, fits)
        };
        let (small, fits) = begun(SMALL_BYTES);
        assert!(fits && buffers.taken.load(Ordering::Relaxed) == 0, "a small one does not count");
        let (mut one, _) = begun(50_000);
        let (two, fits) = begun(50_000);
        assert!(fits);
        assert!(!one.account(&[7]), "there is no room for another byte");
        assert!(!begun(SMALL_BYTES + 1).1);
        drop(two);
        assert!(one.account(&[7; 1_000]));
        assert!(one.account(&[7; 48_000]));
        drop((one, small));
        assert_eq!(buffers.taken.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_whole_message_counts_no_more() {
        let buffers = Arc::new(Buffers::new(100_000, Duration::from_secs(30)));
        let mut body = Metered::new((), buffers.clone());
        let long = message(80_000);
        for _ in 0..3 {
            assert!(body.account(&long[..70_000]));
            assert!(body.deadline.is_some());
            assert!(body.account(&long[70_000..]));
            assert_eq!(buffers.taken.load(Ordering::Relaxed), 0);
            assert!(body.deadline.is_none(), "between two messages a stream may wait");
        }
    }
}
