//! `[oauth]`: the OAuth 2.0 front, and its page for people who want to sign in.

use std::time::Duration;

use serde::Deserialize;

use super::net::Listen;
use super::setting::{MINUTE, SECOND, Setting, Value, period, text, texts};
use crate::domain::id::ClientId;
use crate::net::Address;

/// `[oauth]`: where OAuth 2.0 is served. Off until it is listened anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OAuth {
    /// Where it is served, over HTTP/1.1, with TLS and limits as gRPC. Absent: nowhere.
    pub listen: Option<Listen>,
    /// Where it is reached, `https://` with a host and perhaps a port. Absent: at the first of the addresses, which then must be
    /// of loopback.
    pub public_url: Option<String>,
    /// How long a request may take: 1 s to 10 min.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    pub login: Login,
}

/// `[oauth.login]`: the page that asks people for their work email and sends them to their tenant's sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Login {
    /// Whether there is one, at `/login`.
    pub enabled: bool,
    /// What it is called, and what people are told that they sign in to: 1 to 80 characters.
    pub title: String,
    /// Which of a tenant's interactive clients people sign in with, by its id within the tenant, where the link to the page
    /// does not say. Absent: the tenant's default one.
    pub client: Option<String>,
}

impl Default for Login {
    fn default() -> Self {
        Login { enabled: false, title: "Sign in".to_owned(), client: None }
    }
}

impl Default for OAuth {
    fn default() -> Self {
        OAuth { listen: None, public_url: None, request_timeout: 30 * SECOND, login: Login::default() }
    }
}

impl OAuth {
    /// Where it listens; none where it does not.
    pub fn addresses(&self) -> &[Address] {
        self.listen.as_ref().map_or(&[], |Listen(addresses)| addresses)
    }

    /// What keeps it from being found.
    pub(super) fn problem(&self) -> Option<(&'static str, &'static str)> {
        if self.listen.is_none() && self.login.enabled {
            return Some(("oauth.login.enabled", "must be false without oauth.listen, where the page would be"));
        }
        if self.listen.is_none() && self.public_url.is_some() {
            return Some(("oauth.public_url", "must not be set without oauth.listen"));
        }
        let is_here = matches!(self.addresses().first(), Some(Address::Tcp(address)) if address.ip().is_loopback());
        match (&self.listen, &self.public_url) {
            (Some(_), None) if !is_here => {
                Some(("oauth.public_url", "must be set, since the first of oauth.listen is not a loopback address"))
            }
            _ => None,
        }
    }
}

/// Every key of `[oauth]`.
pub(super) fn oauth(oauth: &OAuth) -> Vec<Setting> {
    let written: Vec<String> = oauth.addresses().iter().map(Address::to_string).collect();
    let listen = match (&oauth.listen, &written[..]) {
        (None, _) => Value::Unset,
        (Some(_), [one]) => text(one),
        (Some(_), several) => texts(several),
    };
    let public_url = oauth.public_url.as_ref().map_or(Value::Unset, text);
    vec![
        Setting::new("oauth.listen", listen, "Where OAuth 2.0 is served over HTTP/1.1; port 0 takes a free one")
            .of("an IP address with a port, or unix: with an absolute path, or a list of them", |_| true),
        Setting::new("oauth.public_url", public_url, "Where that is reached, as its metadata say").of(
            "https:// and a host, perhaps with a port, and nothing after it; http:// is for loopback alone",
            is_public_url,
        ),
        Setting::new("oauth.request_timeout", period(oauth.request_timeout), "The longest that a request may take")
            .lasting(SECOND, MINUTE * 10),
        Setting::new("oauth.login.enabled", Value::Flag(oauth.login.enabled), "Whether there is a page at /login"),
        Setting::new("oauth.login.title", text(&oauth.login.title), "What that page is called")
            .of("1 to 80 characters, none of them a control character", is_title),
        Setting::new(
            "oauth.login.client",
            oauth.login.client.as_ref().map_or(Value::Unset, text),
            "Which of a tenant's interactive clients people sign in with; else its default one",
        )
        .of("the id of a client", |id| ClientId::parse("client", id).is_ok()),
    ]
}

fn is_title(text: &str) -> bool {
    (1..=80).contains(&text.chars().count()) && !text.trim().is_empty() && !text.chars().any(char::is_control)
}

/// An issuer of RFC 8414, section 2, without a path: the metadata of one with a path are elsewhere.
fn is_public_url(url: &str) -> bool {
    let is_authority = |text: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]".contains(&byte);
        (1..=200).contains(&text.len()) && text.bytes().all(allowed)
    };
    let is_loopback = |authority: &str| {
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        ["localhost", "127.0.0.1", "[::1]"].contains(&host)
    };
    match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(authority), _) => is_authority(authority),
        (None, Some(authority)) => is_authority(authority) && is_loopback(authority),
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_a_host_and_nothing_more() {
        for good in
            ["https://tokens.example.com", "https://[2001:db8::1]:8443", "http://127.0.0.1:1", "http://localhost"]
        {
            assert!(is_public_url(good), "{good}");
        }
        let long = format!("https://{}", "a".repeat(201));
        for bad in [
            "",
            "https://",
            "https://a/",
            "https://a/b",
            "https://a?b",
            "https://a#b",
            "https://u@a",
            "https://A",
            "HTTPS://a",
            "http://a",
            "http://127.0.0.1.example.com",
            "a",
            "https://a b",
            &long,
        ] {
            assert!(!is_public_url(bad), "{bad}");
        }
    }
}
