//! The body of an answer to a hot call.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use prost::bytes::Bytes;
use tonic::codegen::http::{HeaderMap, HeaderValue, Response, header};

use super::counted::Timed;
use super::shedding::Place;
use crate::gate::CALL_ID_HEADER;

/// The body of an answer.
pub enum Answer<Out> {
    /// With what counts the call once its status is known, where that is not among the headers.
    Other(Out, Option<Box<Timed>>),
    /// gRPC's status is among the headers.
    Nothing,
    Encoded {
        message: Option<Bytes>,
        is_over: bool,
        _place: Place,
    },
}

impl<Out> Answer<Out> {
    /// A message that is framed already. `id` is the call's.
    pub fn encoded(id: Option<HeaderValue>, message: Bytes, place: Place) -> Response<Self> {
        let mut response = Response::new(Answer::Encoded { message: Some(message), is_over: false, _place: place });
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        if let Some(mut id) = id {
            // Another one in each answer: it would only push out of HPACK's table what is the same in all of them.
            id.set_sensitive(true);
            headers.insert(header::HeaderName::from_static(CALL_ID_HEADER), id);
        }
        response
    }
}

impl<Out> Body for Answer<Out>
where
    Out: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = Out::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Out::Error>>> {
        match self.get_mut() {
            Answer::Other(body, timed) => {
                let polled = Pin::new(body).poll_frame(cx);
                if let Poll::Ready(Some(Ok(frame))) = &polled
                    && let Some(trailers) = frame.trailers_ref()
                {
                    *timed = timed.take().and_then(|timed| timed.end_as_in(trailers)).map(Box::new);
                }
                polled
            }
            Answer::Nothing => Poll::Ready(None),
            Answer::Encoded { message, is_over, .. } => {
                if let Some(message) = message.take() {
                    return Poll::Ready(Some(Ok(Frame::data(message))));
                }
                if std::mem::replace(is_over, true) {
                    return Poll::Ready(None);
                }
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Other(body, _) => body.is_end_stream(),
            Answer::Nothing => true,
            Answer::Encoded { is_over, .. } => *is_over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Other(body, _) => body.size_hint(),
            Answer::Nothing => SizeHint::with_exact(0),
            Answer::Encoded { .. } => SizeHint::default(),
        }
    }
}
