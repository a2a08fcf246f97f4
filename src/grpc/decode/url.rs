//! URLs that a caller gives: where people are sent, and where a tenant's identity provider is.
//!
//! They are judged as browsers read them, and kept as they were written: redirects are compared exactly (RFC 6749,
//! section 3.1.2).

use std::collections::BTreeSet;

use url::{Host, Url};

use crate::domain::error::{Error, Result};
use crate::domain::interactive::{MAX_REDIRECT_URL, MAX_REDIRECT_URLS};

const REDIRECT_RULE: &str = "must be an absolute HTTPS URL of at most 1,024 characters without a fragment and without \
                             credentials, or one with HTTP on localhost";

/// Where people are sent back to, or sign out to; each once.
pub fn redirects(field: &str, urls: Vec<String>) -> Result<Vec<String>> {
    if urls.len() > MAX_REDIRECT_URLS {
        return Err(Error::invalid(field, format!("at most {MAX_REDIRECT_URLS} URLs")));
    }
    let mut seen = BTreeSet::new();
    for (i, url) in urls.iter().enumerate() {
        let is_local = |url: &Url| url.scheme() == "http" && url.host() == Some(Host::Domain("localhost"));
        let fits = read(url, MAX_REDIRECT_URL).is_some_and(|url| url.scheme() == "https" || is_local(&url));
        if !fits {
            return Err(Error::invalid(format!("{field}[{i}]"), REDIRECT_RULE));
        }
        if !seen.insert(url) {
            return Err(Error::invalid(format!("{field}[{i}]"), "is there twice"));
        }
    }
    Ok(urls)
}

/// A place at somebody else's: an HTTPS URL of at most 1,024 characters.
pub fn https(field: &str, url: String) -> Result<String> {
    match read(&url, MAX_REDIRECT_URL).filter(|url| url.scheme() == "https") {
        Some(_) => Ok(url),
        None => {
            let rule = "must be an absolute HTTPS URL of at most 1,024 characters without a fragment and credentials";
            Err(Error::invalid(field, rule))
        }
    }
}

/// An absolute URL without spaces, control characters, fragment and credentials.
fn read(text: &str, most: usize) -> Option<Url> {
    let is_plain = !text.chars().any(|c| c.is_control() || c.is_whitespace());
    // The parser forgives slashes the wrong way round, and none at all.
    let is_absolute = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
    if !is_plain || !is_absolute || text.chars().count() > most || text.contains('\\') {
        return None;
    }
    // Of these two schemes it takes none without a host.
    let url = Url::parse(text).ok()?;
    let is_bare = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    is_bare.then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_sent_to_https_or_to_their_own_machine() {
        for good in [
            "https://app.example.com/back?a=b",
            "https://app.example.com:8443",
            "https://b\u{fc}cher.example/zur\u{fc}ck",
            "http://localhost:3000/back",
            "http://localhost",
        ] {
            assert_eq!(redirects("urls", vec![good.to_owned()]).expect(good), [good]);
        }
        let long = format!("https://app.example.com/{}", "x".repeat(1_001));
        for bad in [
            "",
            "app.example.com/back",
            "/back",
            "http://app.example.com/back",
            "http://localhost.example.com/back",
            "http://127.0.0.1/back",
            "http://localhost@example.com/",
            "https://user@example.com/",
            "https://:secret@example.com/",
            "https://app.example.com/back#there",
            "https://app.example.com/back#",
            "https:/app.example.com",
            "https:app.example.com",
            "https://",
            "https://app.example.com/a b",
            "https://app.example.com/\n",
            "https://app.example.com/\u{7f}",
            "https://app.example.com\\@evil.example",
            "HTTPS://app.example.com",
            "javascript:alert(1)",
            "myapp://back",
            &long,
        ] {
            let error = redirects("urls", vec![bad.to_owned()]).expect_err(bad);
            assert_eq!(error.fields()[0].field, "urls[0]", "{bad}");
        }
        let twice = vec!["https://a.example".to_owned(); 2];
        assert_eq!(redirects("urls", twice).expect_err("twice").fields()[0].field, "urls[1]");
        let many = (0..101).map(|n| format!("https://{n}.example")).collect();
        assert_eq!(redirects("urls", many).expect_err("too many").fields()[0].field, "urls");
    }
}
