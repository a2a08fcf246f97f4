//! HTTP outside the SDK: pools' token endpoints and key sets.
//!
//! No redirects, no proxy from the environment, no cookies, bodies bounded, connections kept and reused, HTTP/2 where
//! it is offered. HTTPS only, unless the configuration says another endpoint.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use zeroize::Zeroizing;

use super::Options;
use super::faults::{Asking, fault_of_status};
use crate::broker::ports::{Fault, PortError, PortResult};

/// Idle connections of one host.
const MAX_IDLE: usize = 32;
const IDLE: Duration = Duration::from_secs(60);

/// A client for the endpoint that `instead` may stand in place of.
pub(super) fn client(options: &Options, instead: &str) -> Result<Client, reqwest::Error> {
    Client::builder()
        .user_agent(concat!("keyward/", env!("CARGO_PKG_VERSION")))
        .https_only(!instead.starts_with("http://"))
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(options.connect_timeout)
        .timeout(options.call_timeout)
        .pool_max_idle_per_host(MAX_IDLE)
        .pool_idle_timeout(IDLE)
        .build()
}

/// Why there was no answer. reqwest's own words name the host, never a header or a body.
pub(super) fn no_answer(asking: Asking, error: &reqwest::Error) -> PortError {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    // A URL that is none, or plain HTTP: it will not get better.
    let fault = if error.is_builder() { Fault::Refused } else { Fault::Unavailable };
    asking.error(fault, super::faults::cleaned(&words))
}

/// The body, wiped when dropped. A larger one than `limit` is not read to its end.
pub(super) async fn body(asking: Asking, mut response: Response, limit: usize) -> PortResult<Zeroizing<Vec<u8>>> {
    let too_large = || asking.error(Fault::Unavailable, format_args!("an answer of more than {limit} bytes"));
    let said = response.content_length().and_then(|length| usize::try_from(length).ok());
    if said.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    // As large as it can become, since a buffer that grows leaves copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(said.unwrap_or(limit)));
    while let Some(chunk) = response.chunk().await.map_err(|error| no_answer(asking, &error))? {
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a status other than 200 means by itself.
pub(super) fn fault_of(status: StatusCode) -> Fault {
    match status.as_u16() {
        501 => Fault::Unavailable,
        status => fault_of_status(status),
    }
}
