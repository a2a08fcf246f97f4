//! `POST /oauth2/introspect`: whose token is it, and is it good (RFC 7662)? As `VerifyToken`.
//!
//! Access tokens of machines are meant unless the request says otherwise by a parameter of ours, `token_use` (section 2.1 allows
//! such): whoever has asked without it so far takes an active token for a machine's. `token_type_hint` is a hint about where to look and
//! opens nothing; an authorization server may pass over it (the same section), and this one does.
//!
//! A token that is not good is `{"active":false}` and nothing else, whatever is wrong with it (section 2.2). That nobody can
//! tell is no answer: it is 503, so that whoever asks fails closed knowing it.

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use zeroize::Zeroizing;

use super::Front;
use super::answering::Asking;
use super::refusal::{Code, Refusal};
use crate::broker::Basis;
use crate::broker::api::{Question, Verdict, Verified};
use crate::domain::caller::{Ask, Target};
use crate::domain::claims::MAX_TOKEN_BYTES;
use crate::domain::error::{Error, Reason};
use crate::domain::person::{Accepted, TokenUse};
use crate::domain::scope::ScopeSet;
use crate::gate::{authorization, source};

/// By what a permission is asked for: the method of gRPC that tells the same.
const ACTION: &str = "VerifyToken";
const BASIC: &str = "Basic realm=\"keyward\", charset=\"UTF-8\"";
const BEARER: &str = "Bearer realm=\"keyward\"";

#[derive(Serialize)]
#[serde(untagged)]
enum Answer<'a> {
    Inactive { active: bool },
    Active(Box<Active<'a>>),
}

#[derive(Serialize)]
struct Active<'a> {
    active: bool,
    scope: String,
    client_id: &'a str,
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    /// As RFC 9068, section 7.2.1.1 has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<&'a [String]>,
    iss: &'a str,
    exp: i64,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    /// Absent for an ID token, which is no bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    token_use: &'a str,
    keyward_tenant: String,
    keyward_client: String,
}

impl Front {
    pub(super) async fn introspect(&self, asking: &Asking, body: Body) -> Result<Response, Refusal> {
        let found = self.gate.callers.resolve(Some(&asking.connection), &authorization(&asking.parts.headers)).await;
        let call = asking.call(&found);
        let mut basis = Basis::default();
        let permitted = match &found {
            Ok(caller) => {
                let source = source(Some(&asking.connection));
                let ask = Ask { caller, action: ACTION, target: Target::Platform, scopes: &[], source };
                self.gate.permit(&ask, &mut basis).await
            }
            Err(error) => Err(error.clone()),
        };
        if let Err(error) = permitted {
            return Err(self.refusal(&self.gate.on_record(&call, "", error).await));
        }
        let form = self.form(&asking.parts, body).await?;
        let Some(token) = form.get("token") else { return Err(Refusal::request("token is missing")) };
        let accepted = match form.get("token_use") {
            None => Accepted::Machines,
            Some("access") => Accepted::Access,
            Some("id") => Accepted::Id,
            Some(_) => return Err(Refusal::request("token_use is neither access nor id")),
        };
        let verdict = match token.len() > MAX_TOKEN_BYTES {
            // No token of a pool is as long.
            true => None,
            false => {
                let token = Zeroizing::new(token.to_owned());
                let question = Question { token, required_scopes: ScopeSet::default(), tenant: None, accepted };
                match self.gate.broker.verifier.verify(&question, &mut basis).await {
                    Ok(Verdict::Verified(verified)) => Some(verified),
                    Ok(Verdict::Rejected(_)) => None,
                    Err(error) => return Err(self.refusal(&self.gate.on_record(&call, "", error).await)),
                }
            }
        };
        answer(verdict.as_ref())
    }

    /// How an error is said here.
    fn refusal(&self, error: &Error) -> Refusal {
        let refusal = Refusal::of(error);
        match error.reason() {
            Reason::CredentialsMissing | Reason::CredentialsInvalid => {
                refusal.said(StatusCode::UNAUTHORIZED, Code::InvalidClient).challenging(self.challenges())
            }
            Reason::PermissionDenied => refusal.said(StatusCode::FORBIDDEN, Code::UnauthorizedClient),
            _ => refusal,
        }
    }

    /// The schemes that a caller may use. 401 must name one (RFC 9110, section 15.5.2): where there is none, the one that
    /// would be used if there were.
    fn challenges(&self) -> Vec<&'static str> {
        let methods = &self.options.introspection_methods;
        match methods.contains(&"client_secret_basic") {
            true if methods.contains(&"Bearer") => vec![BEARER, BASIC],
            true => vec![BASIC],
            false => vec![BEARER],
        }
    }
}

fn answer(verified: Option<&Verified>) -> Result<Response, Refusal> {
    let answer = match verified {
        None => Answer::Inactive { active: false },
        Some(Verified { client, claims }) => Answer::Active(Box::new(Active {
            active: true,
            scope: claims.scopes.to_string(),
            client_id: claims.app_client.as_str(),
            sub: claims.subject(),
            username: claims.person.as_ref().map(|person| person.username.as_str()),
            groups: claims.person.as_ref().map(|person| person.groups.as_slice()),
            iss: claims.issuer.as_str(),
            exp: claims.expire_time.as_second(),
            iat: claims.issue_time.as_second(),
            nbf: claims.not_before.map(|time| time.as_second()),
            jti: claims.token_id.as_ref().map(|id| id.as_str()),
            token_type: (claims.token_use == TokenUse::Access).then_some("Bearer"),
            token_use: claims.token_use.as_str(),
            keyward_tenant: client.tenant.name(),
            keyward_client: client.to_string(),
        })),
    };
    let text =
        serde_json::to_string(&answer).map_err(|error| Refusal::of(&Error::internal("writing an answer", error)))?;
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")];
    Ok((headers, text).into_response())
}
