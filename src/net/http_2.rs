//! HTTP/2 on a connection: its limits, and the running of its calls.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::{Builder, Connection};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::crowd::Guest;
use super::limits::{
    CONNECTION_WINDOW_BYTES, Limits, MAX_RESETS_BEFORE_ACCEPT, MAX_RESETS_FOR_ERRORS, SEND_BUFFER_BYTES,
    STREAM_WINDOW_BYTES, WINDOW_BYTES_OF_A_CALL,
};
use super::serving::{Answering, Answers, Introducing, Stream};
use super::turns::Turns;

pub(super) fn builder(limits: &Limits, calls: Calls) -> Builder<Calls> {
    let window = CONNECTION_WINDOW_BYTES.max(limits.max_concurrent_streams.saturating_mul(WINDOW_BYTES_OF_A_CALL));
    let mut http = Builder::new(calls);
    http.timer(TokioTimer::new())
        .keep_alive_interval(limits.keepalive_interval)
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_header_list_size(limits.max_header_bytes)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(window)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(MAX_RESETS_BEFORE_ACCEPT)
        .max_local_error_reset_streams(MAX_RESETS_FOR_ERRORS);
    http
}

impl<S: Answers<Incoming>> Answering for Connection<TokioIo<Box<dyn Stream>>, Introducing<S>, Calls> {
    fn say_farewell(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Runs the calls of a connection, a stranger's in turn, and counts them, each until its answer was taken.
#[derive(Clone)]
pub(super) struct Calls {
    pub guest: Arc<Guest>,
    pub turns: Turns,
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Calls {
    fn execute(&self, call: F) {
        let under_way = self.guest.begin_call();
        if !self.guest.is_stranger() {
            tokio::spawn(async move {
                call.await;
                drop(under_way);
            });
            return;
        }
        let Calls { guest, mut turns } = self.clone();
        tokio::spawn(async move {
            let mut call = pin!(call);
            poll_fn(|cx| turns.poll_of(&guest, call.as_mut(), cx)).await;
            drop(under_way);
        });
    }
}
