//! `/login`: the page that asks people for their work email and sends them to where they sign in.
//!
//! A stepping stone for the platform's own application. It sends a person here with the parameters of its authorization
//! request (RFC 6749, section 4.1.1, and RFC 7636), which are handed on as they came; the domain of the address says whose the
//! person is, as for `MatchTenant`; and the answer is 303 to that tenant's sign-in. Nobody is signed in here: there is no
//! cookie, no script and no password, and nothing is kept.
//!
//! It must never send anybody to where a parameter says: a `redirect_uri` has to be the client's, and the place itself is of
//! the pool's record or of the configuration. It must never show a parameter but escaped, or an address in a log, a URL, or to
//! a cache. What is not known has one answer, whatever is wrong: the sign-in that is configured for that, or the page with
//! one sentence that tells nothing. It fails with a page too, with 503 where nobody can tell now.

use axum::body::Body;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::Front;
use super::answering::Asking;
use super::page::{self, Shown};
use super::refusal::Refusal;
use crate::broker::api::{Hint, PassedOn, SignInQuestion, email_domain};
use crate::callers::Form;
use crate::domain::error::Error;
use crate::domain::id::ClientId;
use crate::domain::interactive::StandardScope;
use crate::gate::log_cause;

/// What is handed on, with how long each may be. The limits are those of `MatchTenantRequest`.
pub(super) const HANDED_ON: [(&str, usize); 7] = [
    ("client_id", 63),
    ("redirect_uri", 1_024),
    ("scope", 2_048),
    ("state", 2_048),
    ("nonce", 512),
    ("code_challenge", 128),
    ("code_challenge_method", 4),
];

const UNKNOWN: &str = "No sign-in could be started with this address. Check it, or ask whoever invited you.";
const BROKEN: &str = "This link is not complete. Go back to where you came from and try again.";
const LATER: &str = "This cannot be done now. Try again in a moment.";

/// How the page is made; nothing of it changes while the daemon runs.
#[derive(Clone, Debug)]
pub struct LoginOptions {
    pub title: String,
    /// Which of a tenant's clients people sign in with, where the link does not say.
    pub client: Option<ClientId>,
}

impl Front {
    /// The page, as a link of the platform's application asks for it.
    pub(super) async fn login_page(&self, asking: &Asking) -> Result<Response, Refusal> {
        self.count(asking)?;
        let query = asking.parts.uri.query().unwrap_or_default();
        let parameters = Form::read(query.as_bytes()).map_err(|_| self.broken())?;
        self.question(&parameters, None)?;
        Ok(self.shown(StatusCode::OK, &Shown { parameters: Some(&parameters), ..Shown::default() }))
    }

    /// Where a person goes who has filled it in.
    pub(super) async fn login(&self, asking: &Asking, body: Body) -> Result<Response, Refusal> {
        self.count(asking)?;
        let form = self.form(&asking.parts, body).await.map_err(|refusal| self.page_of(refusal, BROKEN))?;
        let email = form.get("email").unwrap_or_default();
        // No address of a mailbox is as long (RFC 5321, section 4.5.3.1).
        let domain = Some(email).filter(|email| email.len() <= 1_024).and_then(email_domain);
        // It is looked at in any case, so that a link that is broken is told from an address that is not known.
        let question = self.question(&form, domain)?;
        let url = match question {
            Some(question) => {
                let matched = self.gate.broker.matching.find(&question).await;
                let matched = matched.map_err(|error| self.failed(&error, asking))?;
                matched.found.and_then(|found| found.url).or(matched.fallback)
            }
            None => None,
        };
        match url.and_then(|url| HeaderValue::try_from(url).ok()) {
            Some(url) => {
                let mut response = page::guarded(StatusCode::SEE_OTHER.into_response());
                response.headers_mut().insert(LOCATION, url);
                Ok(response)
            }
            None => {
                let shown = Shown { parameters: Some(&form), email, problem: UNKNOWN };
                Ok(self.shown(StatusCode::OK, &shown))
            }
        }
    }

    /// What is asked of the broker; `None` without a domain. Fails where what is handed on cannot be handed on.
    fn question(&self, form: &Form, domain: Option<String>) -> Result<Option<SignInQuestion>, Refusal> {
        let given = |name: &str| form.get(name).unwrap_or_default();
        if HANDED_ON.iter().any(|(name, most)| given(name).chars().count() > *most) {
            return Err(self.broken());
        }
        let challenge = given("code_challenge");
        let fits = match (challenge.len(), given("code_challenge_method")) {
            (0, "") => true,
            // Without a method it would be `plain` (RFC 7636, section 4.3), which Cognito does not have.
            (43..=128, "S256") => challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)),
            _ => false,
        };
        let client = match given("client_id") {
            "" => self.options.login.as_ref().and_then(|login| login.client.clone()),
            id => Some(ClientId::parse("client_id", id).map_err(|_| self.broken())?),
        };
        if !fits {
            return Err(self.broken());
        }
        let passed = PassedOn {
            state: given("state").to_owned(),
            nonce: given("nonce").to_owned(),
            code_challenge: challenge.to_owned(),
        };
        let scopes: Vec<_> = given("scope").split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
        let standard = scopes.iter().filter_map(|scope| StandardScope::parse(scope));
        StandardScope::check("scope", standard).map_err(|_| self.broken())?;
        let redirect_uri = Some(given("redirect_uri").to_owned()).filter(|uri| !uri.is_empty());
        Ok(domain.map(|domain| SignInQuestion { hint: Hint::Email(domain), client, redirect_uri, scopes, passed }))
    }

    fn count(&self, asking: &Asking) -> Result<(), Refusal> {
        let counted = self.counts.count_stranger(&asking.connection);
        counted.map_err(|error| self.page_of(Refusal::of(&error), LATER))
    }

    fn failed(&self, error: &Error, asking: &Asking) -> Refusal {
        log_cause(error, &asking.call_id);
        self.page_of(Refusal::of(error), LATER)
    }

    fn broken(&self) -> Refusal {
        self.page_of(Refusal::request("a parameter cannot be handed on"), BROKEN)
    }

    fn page_of(&self, refusal: Refusal, problem: &'static str) -> Refusal {
        refusal.with_page(page::html(self.title(), &Shown { problem, ..Shown::default() }))
    }

    fn shown(&self, status: StatusCode, shown: &Shown<'_>) -> Response {
        page::guarded((status, page::html(self.title(), shown)).into_response())
    }

    fn title(&self) -> &str {
        self.options.login.as_ref().map_or("", |login| &login.title)
    }
}
