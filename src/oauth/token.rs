//! `POST /oauth2/token`: the client-credentials grant (RFC 6749, section 4.4), in place of the pool's own endpoint.
//!
//! The client asks for its own token, as it could by `GetToken`: the same permission, the same lines on record, the same
//! token, while it is fresh. What its time is worth is told when it is answered.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use zeroize::Zeroizing;

use super::Front;
use super::answering::Asking;
use super::refusal::{Code, Refusal};
use crate::broker::Basis;
use crate::callers::{Form, Login};
use crate::domain::audit::{Call, Principal};
use crate::domain::caller::{Ask, Caller, Target};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::scope::ScopeSet;
use crate::domain::token::AccessToken;
use crate::gate::{Wanted, authorization, source};

/// By what a permission is asked for: the method of gRPC that gives the same.
const ACTION: &str = "GetToken";
const BASIC: &str = "Basic realm=\"keyward\", charset=\"UTF-8\"";

#[derive(Serialize)]
struct Answer<'a> {
    access_token: &'a str,
    token_type: &'a str,
    expires_in: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
}

impl Front {
    pub(super) async fn token(&self, asking: &Asking, body: Body) -> Result<Response, Refusal> {
        let form = self.form(&asking.parts, body).await?;
        check_grant(&form)?;
        let authorization = authorization(&asking.parts.headers);
        let is_by_header = !authorization.is_empty();
        let found = self.logins.resolve(&asking.connection, Login::of(&authorization, &form)).await;
        let call = asking.call(&found);
        let resource = match &call.principal {
            Principal::Client(name) => name.to_string(),
            _ => String::new(),
        };
        let scopes = form.get("scope").map(|scope| scope.split(' ').map(str::to_owned).collect::<Vec<_>>());
        match self.own_token(asking, &call, found, &scopes.unwrap_or_default()).await {
            Ok(token) => answer(&token, token.remaining(self.gate.broker.now()).as_secs()),
            Err(error) => {
                let error = self.gate.on_record(&call, &resource, error).await;
                Err(refusal(&error, is_by_header))
            }
        }
    }

    async fn own_token(
        &self,
        asking: &Asking,
        call: &Call,
        found: Result<Arc<Caller>>,
        scopes: &[String],
    ) -> Result<Arc<AccessToken>> {
        let caller = found?;
        let Principal::Client(client) = &caller.principal else {
            return Err(Error::internal("answering a client", "it was found to be no client"));
        };
        let (source, target) = (source(Some(&asking.connection)), Target::Client(client.clone()));
        let ask = Ask { caller: &caller, action: ACTION, target, scopes, source };
        let mut basis = Basis::default();
        self.gate.permit(&ask, &mut basis).await?;
        let scopes = ScopeSet::parse("scope", scopes)?;
        let wanted = Wanted { client: client.clone(), scopes, min_remaining: Default::default() };
        self.gate.token(call, &wanted, &mut basis).await
    }
}

/// Fails for everything that is not this grant, and for what would ask for another token than the one that is held.
fn check_grant(form: &Form) -> Result<(), Refusal> {
    match form.get("grant_type") {
        None => return Err(Refusal::request("grant_type is missing")),
        Some("client_credentials") => {}
        Some(_) => return Err(Refusal::grant_type()),
    }
    // A pool's endpoint hands it to the functions of its operator. Parameters that nobody knows are ignored (RFC 6749,
    // section 3.2); this one is known, and what it asks for cannot be had.
    match form.get("aws_client_metadata") {
        Some(_) => {
            Err(Refusal::request("aws_client_metadata is not passed on: a client's tokens are the same for all"))
        }
        None => Ok(()),
    }
}

/// How an error is said here. Of credentials that were in a header, the answer is one of HTTP's own, with a challenge.
fn refusal(error: &Error, is_by_header: bool) -> Refusal {
    let refusal = Refusal::of(error);
    match error.reason() {
        Reason::CredentialsMissing | Reason::CredentialsInvalid if is_by_header => {
            refusal.said(StatusCode::UNAUTHORIZED, Code::InvalidClient).challenging(vec![BASIC])
        }
        Reason::CredentialsMissing | Reason::CredentialsInvalid => {
            refusal.said(StatusCode::BAD_REQUEST, Code::InvalidClient)
        }
        Reason::PermissionDenied
        | Reason::TenantSuspended
        | Reason::TenantNotReady
        | Reason::TenantDeleting
        | Reason::ClientNotReady
        | Reason::ClientDeleting
        | Reason::ResourceNotFound => refusal.said(StatusCode::BAD_REQUEST, Code::UnauthorizedClient),
        // Nothing else of a request is read as a field.
        Reason::FieldInvalid
        | Reason::ScopeNotAllowed
        | Reason::ScopeUnknown
        | Reason::ScopeNotGranted
        | Reason::ScopeSetsExhausted => refusal.said(StatusCode::BAD_REQUEST, Code::InvalidScope),
        _ => refusal,
    }
}

/// The token is copied once, into what is sent, and wiped when that is dropped.
fn answer(token: &AccessToken, expires_in: u64) -> Result<Response, Refusal> {
    let answer =
        Answer { access_token: token.expose(), token_type: "Bearer", expires_in, scope: token.scopes.to_string() };
    // Room for escapes, of which a token has none: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(256 + 2 * (answer.access_token.len() + answer.scope.len())));
    serde_json::to_writer(&mut *text, &answer)
        .map_err(|error| Refusal::of(&Error::internal("writing an answer", error)))?;
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")];
    Ok((headers, Body::from(Bytes::from_owner(text))).into_response())
}
