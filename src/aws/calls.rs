//! The one way to AWS: a call waits for its turn, is made once, ends in time, and leaves a line in the log.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_cognitoidentityprovider::config::http::HttpResponse;
use aws_sdk_cognitoidentityprovider::error::{ProvideErrorMetadata, SdkError};
use tracing::debug;

use super::faults::{Asking, port_error};
use super::governor::{Call, Category, Governor, later};
use super::operations::Listed;
use super::usage::Made;
use crate::broker::ports::{Clock, ENDS, Fault, Peer, PortResult, end_of};
use crate::domain::id::UserPoolId;
use crate::traces::Span;

/// As the token endpoint is called among the operations of the API.
pub(super) const TOKEN_ENDPOINT: &str = "TokenEndpoint";
/// Why a call was not made, in a trace.
const NO_TURN: &str = "NO_TURN";

pub(super) struct Calls {
    pub(super) governor: Governor,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) made: Made,
    longest_call: Duration,
    /// Calls that had their turn and are not over.
    under_way: AtomicUsize,
}

struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Calls {
    /// No call takes longer than `longest_call`, its wait for a turn apart.
    pub fn new(governor: Governor, clock: Arc<dyn Clock>, longest_call: Duration) -> Self {
        Calls { governor, clock, made: Made::new(), longest_call, under_way: AtomicUsize::new(0) }
    }

    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        UnderWay(&self.under_way)
    }

    /// Makes a call of the SDK, which is known by its error. `send` does nothing before it is polled.
    pub fn make<'a, T, E>(
        &'a self,
        asking: Asking,
        region: &'a str,
        pool: Option<&'a UserPoolId>,
        send: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
    ) -> impl Future<Output = PortResult<T>> + Send + 'a
    where
        T: Send + 'a,
        E: Listed + ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        // Such a future is some kilobytes.
        let send = Box::pin(send);
        let call = Call { region, category: E::OPERATION.category, operation: E::OPERATION.name, pool };
        self.in_turn(asking, call, async move { send.await.map_err(|error| port_error(asking, region, &error)) })
    }

    /// Like [`make`](Self::make), for whoever has to tell apart what the error's code alone does not say.
    pub fn weigh<'a, T, U, E>(
        &'a self,
        asking: Asking,
        region: &'a str,
        send: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
        weigh: impl FnOnce(Result<T, SdkError<E, HttpResponse>>) -> PortResult<U> + Send + 'a,
    ) -> impl Future<Output = PortResult<U>> + Send + 'a
    where
        T: Send + 'a,
        U: Send + 'a,
        E: Listed + Send + 'static,
    {
        let send = Box::pin(send);
        let call = Call { region, category: E::OPERATION.category, operation: E::OPERATION.name, pool: None };
        self.in_turn(asking, call, async move { weigh(send.await) })
    }

    /// Fetches a token from a pool's token endpoint, which is no operation of the API but has its share of a quota.
    pub fn fetch<'a, T: Send + 'a>(
        &'a self,
        asking: Asking,
        region: &'a str,
        pool: &'a UserPoolId,
        send: impl Future<Output = PortResult<T>> + Send + 'a,
    ) -> impl Future<Output = PortResult<T>> + Send + 'a {
        let category = Category::ClientAuthentication;
        let call = Call { region, category, operation: TOKEN_ENDPOINT, pool: Some(pool) };
        self.in_turn(asking, call, Box::pin(send))
    }

    /// Makes a call to see what comes of it, whatever that is. The error is of not having had a turn.
    pub async fn outcome<T, E: Listed>(
        &self,
        region: &str,
        pool: Option<&UserPoolId>,
        send: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> PortResult<Result<T, SdkError<E, HttpResponse>>> {
        let call = Call { region, category: E::OPERATION.category, operation: E::OPERATION.name, pool };
        self.governor.turn(Peer::UserPools, call).await?;
        let _call = self.begin();
        Ok(send.await)
    }

    async fn in_turn<T>(
        &self,
        asking: Asking,
        call: Call<'_>,
        send: impl Future<Output = PortResult<T>> + Send,
    ) -> PortResult<T> {
        let (operation, region) = (call.operation, call.region);
        // Its wait for a turn is a part of it.
        let span = Span::of_peer(operation, &[("rpc.system.name", "aws-api"), ("cloud.region", region)]);
        if let Err(error) = self.governor.turn(asking.peer, call).await {
            if let Some(span) = &span {
                span.failed(NO_TURN);
            }
            return Err(error);
        }
        let (_call, counted) = (self.begin(), self.made.begin(operation));
        let outcome = logged(operation, region, self.in_time(asking, operation, region, send)).await;
        if let (Some(span), Err(_)) = (&span, &outcome) {
            span.failed(ENDS[end_of(&outcome)]);
        }
        counted.ended(&outcome);
        outcome
    }

    /// Gives a call up that has no answer in time by the broker's clock. SDK and HTTP client have the same limit by the
    /// machine's timers, which hold where that clock is set back.
    async fn in_time<T>(
        &self,
        asking: Asking,
        operation: &str,
        region: &str,
        send: impl Future<Output = PortResult<T>> + Send,
    ) -> PortResult<T> {
        let deadline = later(self.clock.now(), self.longest_call);
        tokio::select! {
            biased;
            outcome = send => outcome,
            () = self.clock.sleep_until(deadline) => {
                Err(asking.error(Fault::Unavailable, format_args!("{operation} in {region}: no answer in time")))
            }
        }
    }
}

/// Says how it went and how long it took; nothing of what was sent or came back.
pub(super) async fn logged<T>(
    operation: &str,
    region: &str,
    send: impl Future<Output = PortResult<T>>,
) -> PortResult<T> {
    let start = Instant::now();
    let outcome = send.await;
    let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    match &outcome {
        Ok(_) => debug!(operation, region, outcome = "OK", milliseconds, "called AWS"),
        Err(error) => debug!(operation, region, outcome = ?error.fault, milliseconds, "called AWS"),
    }
    outcome
}
