//! Forms as they come by a connection: no larger, no slower and no more of them than can be kept.

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use futures::StreamExt as _;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::Front;
use super::refusal::Refusal;
use crate::callers::Form;
use crate::domain::error::{Error, Reason};

/// Bytes of forms that are not small, over all requests.
pub(super) const BUFFER_BYTES: usize = 64 * 1024 * 1024;
/// A form of a token endpoint has a few hundred bytes. Up to so many it is kept whatever others there are: connections are
/// limited, and hyper keeps more for each.
const SMALL_BYTES: usize = 4_096;

impl Front {
    /// The form in the body of a request.
    ///
    /// Fails where there are parameters in the URL, which would be in somebody's log (RFC 6749, section 2.3.1); where the
    /// body is no form, is too long, is too long under way, or finds no room.
    pub(super) async fn form(&self, parts: &Parts, body: Body) -> Result<Form, Refusal> {
        if parts.uri.query().is_some() {
            return Err(Refusal::request("parameters belong in the body, and not in the URL"));
        }
        if !is_form(&parts.headers) {
            return Err(Refusal::request(
                "the body must be application/x-www-form-urlencoded, and not encoded further",
            ));
        }
        let said = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let most = said.unwrap_or(Form::MAX_BYTES);
        if most > Form::MAX_BYTES {
            return Err(Refusal::request("the body is too long").with_status(StatusCode::PAYLOAD_TOO_LARGE));
        }
        let _room = match most {
            0..=SMALL_BYTES => None,
            most => {
                let room = self.buffers.clone().try_acquire_many_owned(u32::try_from(most).unwrap_or(u32::MAX));
                let overloaded = |_| Refusal::of(&Error::new(Reason::Overloaded, "too many bodies are under way"));
                Some(room.map_err(overloaded)?)
            }
        };
        let read = timeout(self.options.body_duration, read(body, most)).await;
        let late = |_| Refusal::request("the body did not come in time").with_status(StatusCode::REQUEST_TIMEOUT);
        let body = read.map_err(late)??;
        Form::read(&body).map_err(|problem| Refusal::request(format!("the body is no form: {problem}")))
    }
}

async fn read(body: Body, most: usize) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    // As large as it can become, since a buffer that grows leaves copies behind.
    let mut read = Zeroizing::new(Vec::with_capacity(most));
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refusal::request("the body broke off"))?;
        if read.len() + chunk.len() > most {
            return Err(Refusal::request("the body is too long").with_status(StatusCode::PAYLOAD_TOO_LARGE));
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read)
}

/// Whether the body says that it is a form, of whatever charset, and nothing else over it.
fn is_form(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next().and_then(|kind| kind.to_str().ok()), kinds.next()) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_identity = |encoding: &HeaderValue| encoding == "identity";
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        && headers.get_all(CONTENT_ENCODING).iter().all(is_identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_says_that_it_is_one() {
        let is = |kinds: &[&str], encoding: Option<&str>| {
            let mut headers = HeaderMap::new();
            for kind in kinds {
                headers.append(CONTENT_TYPE, kind.parse().expect("a header"));
            }
            headers.extend(encoding.map(|encoding| (CONTENT_ENCODING, encoding.parse().expect("a header"))));
            is_form(&headers)
        };
        const FORM: &str = "application/x-www-form-urlencoded";
        assert!(is(&[FORM], None) && is(&[FORM], Some("identity")));
        assert!(is(&["Application/X-WWW-Form-URLencoded ; charset=UTF-8"], None));
        assert!(!is(&[], None) && !is(&[FORM, FORM], None) && !is(&[FORM], Some("gzip")));
        assert!(!is(&["application/json"], None) && !is(&["text/plain, application/x-www-form-urlencoded"], None));
    }
}
