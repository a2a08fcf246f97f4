//! The body of a request that is looked at before it is decided who answers it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::FutureExt as _;
use http_body::{Body, Frame, SizeHint};
use prost::bytes::Bytes;

/// A message with its prefix. The longest token is 16 KiB.
const MAX_BYTES: usize = 20 * 1024;
/// The most frames of a request that are looked at here.
const MAX_FRAMES: usize = 8;
/// Of gRPC's prefix: whether the message is compressed, and its length.
pub const PREFIX_BYTES: usize = 5;

/// The body of a request, from its beginning, also where something of it was read already.
pub struct Replayed<In: Body> {
    /// What was read and is to be read again: at most [`MAX_FRAMES`].
    begun: VecDeque<Result<Frame<Bytes>, In::Error>>,
    rest: In,
}

impl<In: Body<Data = Bytes>> From<In> for Replayed<In> {
    fn from(rest: In) -> Self {
        Replayed { begun: VecDeque::new(), rest }
    }
}

impl<In: Body<Data = Bytes> + Unpin> Replayed<In> {
    /// The one message that the body is, with its prefix, where all of it is there and it is not compressed. Otherwise all
    /// that was looked at is there to be read again.
    pub fn whole_message(&mut self) -> Option<Bytes> {
        if self.begun.is_empty() {
            let first = self.next()?;
            // Nearly always that is all, and then it need not be kept.
            if let (Some(data), true) = (first.as_ref().ok().and_then(Frame::data_ref), self.rest.is_end_stream())
                && is_one_message(data)
            {
                return Some(data.clone());
            }
            self.begun.push_back(first);
        }
        // Some clients say with the data that it is the end, others with an empty frame after it.
        while !self.is_over()
            && let Some(frame) = self.next()
        {
            self.begun.push_back(frame);
        }
        if !self.rest.is_end_stream() {
            return None;
        }
        let mut whole = Bytes::new();
        for frame in &self.begun {
            let piece = frame.as_ref().ok()?.data_ref()?;
            whole = match (whole.is_empty(), piece.is_empty()) {
                (true, _) => piece.clone(),
                (false, true) => whole,
                (false, false) => [&whole[..], &piece[..]].concat().into(),
            };
        }
        if !is_one_message(&whole) {
            return None;
        }
        self.begun.clear();
        Some(whole)
    }

    /// Returns when all of it is there, or too much.
    pub async fn end(&mut self) {
        while !self.is_over() {
            let next = poll_fn(|cx| Pin::new(&mut self.rest).poll_frame(cx)).await;
            let Some(frame) = next else { return };
            self.begun.push_back(frame);
        }
    }

    /// Whether there is no more, or more than is looked at here.
    fn is_over(&self) -> bool {
        let length = |frame: &Result<Frame<Bytes>, In::Error>| {
            frame.as_ref().ok().and_then(Frame::data_ref).map_or(MAX_BYTES, Bytes::len)
        };
        let bytes: usize = self.begun.iter().map(length).sum();
        self.rest.is_end_stream() || self.begun.len() >= MAX_FRAMES || bytes > MAX_BYTES
    }

    pub fn read_again(&mut self, data: Bytes) {
        self.begun.push_front(Ok(Frame::data(data)));
    }

    /// The next frame, if it is there.
    fn next(&mut self) -> Option<Result<Frame<Bytes>, In::Error>> {
        poll_fn(|cx| Pin::new(&mut self.rest).poll_frame(cx)).now_or_never()?
    }
}

/// Not compressed, alone, and not too long.
fn is_one_message(data: &[u8]) -> bool {
    let Some((&[is_compressed, a, b, c, d], message)) = data.split_first_chunk::<PREFIX_BYTES>() else { return false };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    is_compressed == 0 && length == message.len() && data.len() <= MAX_BYTES
}

impl<In: Body<Data = Bytes> + Unpin> Body for Replayed<In>
where
    In::Error: Unpin,
{
    type Data = Bytes;
    type Error = In::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, In::Error>>> {
        let this = self.get_mut();
        match this.begun.pop_front() {
            Some(begun) => Poll::Ready(Some(begun)),
            None => Pin::new(&mut this.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.begun.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.begun.is_empty() { self.rest.size_hint() } else { SizeHint::default() }
    }
}
