//! HTTP outside the SDK: pools' token endpoints and key sets.
//!
//! HTTPS only, unless the configuration says another endpoint.

use reqwest::{Client, Response, StatusCode};
use zeroize::Zeroizing;

use super::Options;
use super::faults::{Asking, fault_of_status};
use crate::broker::ports::{Fault, PortError, PortResult};
use crate::runtime::http::{self, BodyError};

/// A client for the endpoint that `instead` may stand in place of.
pub(super) fn client(options: &Options, instead: &str) -> Result<Client, reqwest::Error> {
    let client = http::client(options.connect_timeout, options.call_timeout);
    client.https_only(!instead.starts_with("http://")).build()
}

/// Why there was no answer. reqwest's own words name the host, never a header or a body.
pub(super) fn no_answer(asking: Asking, error: &reqwest::Error) -> PortError {
    // A URL that is none, or plain HTTP: it will not get better.
    let fault = if error.is_builder() { Fault::Refused } else { Fault::Unavailable };
    asking.error(fault, super::faults::cleaned(&http::words(error)))
}

/// The body, wiped when dropped. A larger one than `limit` is not read to its end.
pub(super) async fn body(asking: Asking, response: Response, limit: usize) -> PortResult<Zeroizing<Vec<u8>>> {
    http::body(response, limit).await.map_err(|error| match error {
        BodyError::TooLarge => asking.error(Fault::Unavailable, format_args!("an answer of more than {limit} bytes")),
        BodyError::Broken(error) => no_answer(asking, &error),
    })
}

/// What a status other than 200 means by itself.
pub(super) fn fault_of(status: StatusCode) -> Fault {
    match status.as_u16() {
        501 => Fault::Unavailable,
        status => fault_of_status(status),
    }
}
