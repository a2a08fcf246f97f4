//! What people see at `/login`: one page, whole without a script, a picture or anything else that has to be fetched.
//!
//! It is for everybody: a label that stays, a language, one heading, an outline around what has the focus, colours that
//! differ enough in light and in dark (WCAG 2.2, 1.4.3 and 1.4.11), an error that is announced, tied to its field, and in the
//! title. What goes into it is escaped by `maud`, which does so with all that is not written here.
//!
//! Its policy allows nothing but its own style and its form. Chromium holds `form-action` against redirects after a form was
//! sent, other browsers do not, and the standard leaves it open (CSP 3, section 6.4.2). Where a person is sent is a domain
//! of Cognito's in any Region, or a tenant's own, so every https address is allowed there. Only the page's own form is in it.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, PreEscaped, html};

use super::login::HANDED_ON;
use crate::callers::Form;

/// What is on the page beside its title.
#[derive(Default)]
pub(super) struct Shown<'a> {
    /// What came and is handed on; without it there is no form.
    pub parameters: Option<&'a Form>,
    /// The address that was given.
    pub email: &'a str,
    /// What is wrong; empty where nothing is.
    pub problem: &'a str,
}

const STYLE: &str = include_str!("page.css");

/// Everything is refused but the style above, told by its digest, and the form.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self' https:; frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The page.
pub(super) fn html(title: &str, shown: &Shown<'_>) -> String {
    let Shown { parameters, email, problem } = *shown;
    let has_problem = !problem.is_empty();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                meta name="color-scheme" content="light dark";
                title { @if has_problem { "Error: " } (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (title) }
                    @if has_problem {
                        p #problem role="alert" { (problem) }
                    }
                    @if let Some(parameters) = parameters {
                        form method="post" action="/login" {
                            @for (name, _) in HANDED_ON {
                                @if let Some(value) = parameters.get(name) {
                                    input type="hidden" name=(name) value=(value);
                                }
                            }
                            label for="email" { "Work email" }
                            input #email name="email" type="email" value=(email) required autofocus
                                autocomplete="email" autocapitalize="none" spellcheck="false" maxlength="320"
                                aria-invalid=[has_problem.then_some("true")]
                                aria-describedby=(if has_problem { "problem hint" } else { "hint" });
                            p #hint { "You go on to the sign-in of your organisation." }
                            button type="submit" { "Continue" }
                        }
                    }
                }
            }
        }
    };
    page.into_string()
}

/// The same headers on everything that a browser is answered here.
pub(super) fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Neither the page's address, which has the parameters, nor that there was one.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
