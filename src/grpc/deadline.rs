//! How long a call may take: as long as its caller gives it, and never longer than the broker does.
//!
//! tonic has such a limit too, but answers CANCELLED without details, as if the caller had given up. Its limit of the
//! broker's can be left unset; that of the caller cannot. So this one answers a little before, with what
//! the contract promises, and the answer still reaches a caller that keeps its own time. A stream has met its deadline
//! once it has begun.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use tokio::time::{Instant, timeout_at};
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::status::{code_name, out_of_time};
use crate::gate::{CALL_ID_HEADER, call_id};

/// By how much a caller's deadline is met early, where that is less than a tenth of it. tonic's timer is set first and
/// counts whole milliseconds.
const HEAD_START: Duration = Duration::from_millis(10);

/// Ends calls that take longer than this.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Duration);

impl<S> Layer<S> for Deadline {
    type Service = Ending<S>;

    fn layer(&self, inner: S) -> Ending<S> {
        Ending { inner, longest: self.0 }
    }
}

/// The service that [`Deadline`] makes.
#[derive(Clone, Debug)]
pub struct Ending<S> {
    inner: S,
    longest: Duration,
}

impl<S, In, Out> Service<Request<In>> for Ending<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
    Out: Default + 'static,
{
    type Response = Response<Out>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Out>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<In>) -> Self::Future {
        let longest = granted_or(request.headers(), self.longest);
        let method = request.uri().path().trim_start_matches('/').to_owned();
        // From here on the call has one id, whoever answers it.
        let id = call_id(request.headers().get(CALL_ID_HEADER));
        if let Ok(id) = HeaderValue::from_str(&id) {
            request.headers_mut().insert(CALL_ID_HEADER, id);
        }
        let answer = self.inner.call(request);
        async move {
            let Some(answer) = within(longest, pin!(answer)).await else {
                return Ok(out_of_time_answer(&method, &id).into_http());
            };
            answer
        }
        .boxed()
    }
}

/// How long a call may take from now on: as its caller says, and no longer than `longest`.
pub(super) fn granted_or(headers: &HeaderMap, longest: Duration) -> Duration {
    let early = |granted: Duration| granted.saturating_sub(HEAD_START.min(granted / 10));
    granted(headers).map_or(longest, |granted| early(granted).min(longest))
}

/// What becomes of it by then; `None` when it is late. There is no timer before it has to wait.
///
/// By reference, as a future that is given away by value is kept twice in what waits for it, and copied each time.
pub(super) async fn within<F: Future>(longest: Duration, mut future: Pin<&mut F>) -> Option<F::Output> {
    let deadline = Instant::now() + longest;
    if let Some(done) = at_once(future.as_mut()).await {
        return Some(done);
    }
    timeout_at(deadline, future).await.ok()
}

/// What becomes of it, if it does not have to wait.
pub(super) async fn at_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// What the caller of a late call is told; it is in the log then.
pub(super) fn out_of_time_answer(method: &str, id: &str) -> Status {
    tracing::info!(method, call_id = id, code = code_name(Code::DeadlineExceeded), "out of time");
    let mut status = out_of_time();
    if let Ok(id) = id.parse() {
        status.metadata_mut().insert(CALL_ID_HEADER, id);
    }
    status
}

/// The caller's `grpc-timeout`: at most eight digits and a unit. What cannot be read counts as not given.
fn granted(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = is_number.then(|| digits.parse().ok())??;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_as_grpc_writes_it() {
        let read = |text: &str| {
            let value = HeaderValue::from_str(text).expect("a header");
            granted(&HeaderMap::from_iter([("grpc-timeout".parse().expect("a name"), value)]))
        };
        assert_eq!(read("2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(read("3M"), Some(Duration::from_secs(180)));
        assert_eq!(read("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(read("200m"), Some(Duration::from_millis(200)));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        assert_eq!(read("0n"), Some(Duration::ZERO));
        for bad in ["", "S", "5", "5x", "-5S", "+5S", "123456789S", "5 S"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        assert_eq!(granted(&HeaderMap::new()), None);
    }
}
