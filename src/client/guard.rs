//! A tower layer for HTTP requests that come in: whose token is it?

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::codegen::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tower::{Layer, Service};

use super::{Demand, NotVerified, Rule, Verifier};

/// Lets requests through whose token is good, and puts its [`Identity`](super::Identity) into their extensions. Others it
/// answers itself, without a body (RFC 6750, section 3):
///
/// | answer | when |
/// | --- | --- |
/// | 401 | there is no token, more than one header, or the token is rejected |
/// | 403 | the token is good and lacks a scope, or is of another tenant than is demanded |
/// | 503, with `retry-after` | nobody can tell |
#[derive(Clone, Debug)]
pub struct VerifyLayer {
    verifier: Verifier,
    demand: Demand,
}

impl VerifyLayer {
    pub fn new(verifier: Verifier, demand: Demand) -> Self {
        VerifyLayer { verifier, demand }
    }
}

impl<S> Layer<S> for VerifyLayer {
    type Service = Verify<S>;

    fn layer(&self, inner: S) -> Verify<S> {
        Verify { layer: self.clone(), inner }
    }
}

/// The service that [`VerifyLayer`] makes.
#[derive(Clone, Debug)]
pub struct Verify<S> {
    layer: VerifyLayer,
    inner: S,
}

impl<S, In, Out> Service<Request<In>> for Verify<S>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone + Send + 'static,
    S::Future: Send,
    In: Send + 'static,
    Out: Default,
{
    type Response = Response<Out>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Out>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<In>) -> Self::Future {
        let fresh = self.inner.clone();
        // The one that was asked whether it is ready.
        let mut inner = mem::replace(&mut self.inner, fresh);
        let VerifyLayer { verifier, demand } = self.layer.clone();
        Box::pin(async move {
            let verdict = match bearer(request.headers()) {
                Some(token) => verifier.verify(token, &demand).await,
                None => return Ok(answer(StatusCode::UNAUTHORIZED, "Bearer")),
            };
            match verdict {
                Ok(identity) => {
                    request.extensions_mut().insert(identity);
                    inner.call(request).await
                }
                Err(NotVerified::Rejected(rejection)) => Ok(match rejection.rule {
                    Rule::InsufficientScope | Rule::WrongTenant => {
                        answer(StatusCode::FORBIDDEN, "Bearer error=\"insufficient_scope\"")
                    }
                    _ => answer(StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\""),
                }),
                Err(NotVerified::CannotTell(_)) => {
                    let mut response = Response::new(Out::default());
                    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                    Ok(response)
                }
            }
        })
    }
}

/// The token of the one `authorization` header, if that is what it holds (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let is_one = values.next().is_none() && scheme.eq_ignore_ascii_case("bearer");
    Some(token.trim_start_matches(' ')).filter(|token| is_one && !token.is_empty())
}

fn answer<Out: Default>(status: StatusCode, challenge: &'static str) -> Response<Out> {
    let mut response = Response::new(Out::default());
    *response.status_mut() = status;
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_one_bearer_header_and_nowhere_else() {
        let found = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for &value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            bearer(&headers).map(str::to_owned)
        };
        for good in ["Bearer abc", "bearer abc", "BEARER  abc"] {
            assert_eq!(found(&[good]).as_deref(), Some("abc"), "{good}");
        }
        for none in [&[][..], &["Basic abc"], &["Bearer"], &["Bearer "], &["abc"], &["Bearer abc", "Bearer abc"]] {
            assert_eq!(found(none), None, "{none:?}");
        }
    }
}
