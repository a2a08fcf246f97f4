//! The URL at which a person signs in: RFC 6749, section 4.1.1, with the PKCE of RFC 7636, as Cognito's `/oauth2/authorize`
//! takes it.
//!
//! What a caller gives is put into parameters and nowhere else, escaped by the crate `url`. So where a person is sent is for
//! the pool's record and for the client's `callback_urls` to say, or for the configuration: never for whoever asks.

use url::Url;

use crate::broker::api::PassedOn;

/// What stands in the URL besides what is passed on.
pub(super) struct Authorizing<'a> {
    pub app_client: &'a str,
    pub redirect_uri: &'a str,
    /// Space separated.
    pub scopes: &'a str,
    /// Empty where people choose for themselves.
    pub provider: &'a str,
}

/// `None` where `sign_in` is no base of a URL.
pub(super) fn authorize_url(sign_in: &str, authorizing: &Authorizing<'_>, passed: &PassedOn) -> Option<String> {
    let mut url = Url::parse(&format!("{sign_in}/oauth2/authorize")).ok()?;
    let Authorizing { app_client, redirect_uri, scopes, provider } = *authorizing;
    let own =
        [("client_id", app_client), ("redirect_uri", redirect_uri), ("scope", scopes), ("identity_provider", provider)];
    let own = own.into_iter().filter(|(_, value)| !value.is_empty());
    url.query_pairs_mut().append_pair("response_type", "code").extend_pairs(own).extend_pairs(parameters(passed));
    Some(url.into())
}

/// The fallback with what is passed on, but for what it says itself.
pub(super) fn fallback_url(fallback: &str, passed: &PassedOn) -> Option<String> {
    let mut url = Url::parse(fallback).ok()?;
    let said: Vec<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    let more: Vec<_> = parameters(passed).filter(|(name, _)| !said.iter().any(|said| said == name)).collect();
    if !more.is_empty() {
        url.query_pairs_mut().extend_pairs(more);
    }
    Some(url.into())
}

fn parameters(passed: &PassedOn) -> impl Iterator<Item = (&'static str, &str)> {
    let PassedOn { state, nonce, code_challenge } = passed;
    let method = if code_challenge.is_empty() { "" } else { "S256" };
    let all = [
        ("state", state.as_str()),
        ("nonce", nonce),
        ("code_challenge", code_challenge),
        ("code_challenge_method", method),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed() -> PassedOn {
        let strange = "&state=2#f ?\u{e4}\r\n%";
        PassedOn { state: strange.to_owned(), nonce: "n".to_owned(), code_challenge: "c".repeat(43) }
    }

    fn pairs(url: &str) -> Vec<(String, String)> {
        Url::parse(url).expect("a URL").query_pairs().into_owned().collect()
    }

    #[test]
    fn what_is_passed_on_comes_out_as_it_went_in_and_changes_nothing_else() {
        let authorizing = Authorizing {
            app_client: "1a",
            redirect_uri: "https://app.example/back?x=1&y=2",
            scopes: "openid orders/read",
            provider: "acme & co",
        };
        let url = authorize_url("https://x.auth.example", &authorizing, &passed()).expect("a URL");
        assert!(url.starts_with("https://x.auth.example/oauth2/authorize?response_type=code&client_id=1a&"), "{url}");
        assert!(url.bytes().all(|byte| byte.is_ascii_graphic()) && !url.contains('#'), "{url}");
        let pairs = pairs(&url);
        let challenge = "c".repeat(43);
        let expected = [
            ("response_type", "code"),
            ("client_id", "1a"),
            ("redirect_uri", "https://app.example/back?x=1&y=2"),
            ("scope", "openid orders/read"),
            ("identity_provider", "acme & co"),
            ("state", passed().state.as_str()),
            ("nonce", "n"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs, expected);
    }

    #[test]
    fn what_is_empty_is_left_out() {
        let authorizing = Authorizing { app_client: "1a", redirect_uri: "https://a", scopes: "", provider: "" };
        let url = authorize_url("https://x", &authorizing, &PassedOn::default()).expect("a URL");
        assert_eq!(url, "https://x/oauth2/authorize?response_type=code&client_id=1a&redirect_uri=https%3A%2F%2Fa");
        for no_base in ["", "x.auth.example"] {
            assert_eq!(authorize_url(no_base, &authorizing, &PassedOn::default()), None, "{no_base}");
        }
    }

    #[test]
    fn a_fallback_keeps_what_it_says() {
        let url = fallback_url("https://x/sign-in?nonce=own&a=b", &passed()).expect("a URL");
        let names: Vec<_> = pairs(&url).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["nonce", "a", "state", "code_challenge", "code_challenge_method"]);
        assert_eq!(pairs(&url)[0].1, "own");
        assert_eq!(fallback_url("https://x/", &PassedOn::default()).as_deref(), Some("https://x/"));
    }
}
