//! `[sign_in]`: telling where people sign in, and how names are proven to be a tenant's.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::setting::{DAY, HOUR, MINUTE, SECOND, Setting, Value, period, text, texts};

/// `[sign_in]`: how claims to names are proven, and where people sign in of whom nobody knows whose they are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignIn {
    /// Whom to ask for TXT records, each an IP address with a port: at most 8. None: the system's resolvers.
    pub resolvers: Vec<String>,
    /// How long an answer of theirs may take: 100 ms to 30 s.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The longest time between two looks for a record: 1 min to 7 d.
    #[serde(with = "humantime_serde")]
    pub look_interval: Duration,
    /// How long a name counts whose record was there and is looked for in vain: `look_interval` to 90 d.
    #[serde(with = "humantime_serde")]
    pub keep_for: Duration,
    /// Where people are sent whose hint is not known. Absent: nowhere.
    pub fallback_url: Option<String>,
}

impl Default for SignIn {
    fn default() -> Self {
        SignIn {
            resolvers: Vec::new(),
            timeout: 5 * SECOND,
            look_interval: 6 * HOUR,
            keep_for: 7 * DAY,
            fallback_url: None,
        }
    }
}

impl SignIn {
    /// Each was looked at when the configuration was read.
    pub fn resolvers(&self) -> Vec<SocketAddr> {
        self.resolvers.iter().filter_map(|resolver| resolver.parse().ok()).collect()
    }

    /// Every key of `[sign_in]`.
    pub(super) fn settings(&self) -> Vec<Setting> {
        let fallback_url = self.fallback_url.as_ref().map_or(Value::Unset, text);
        vec![
            Setting::new("sign_in.resolvers", texts(&self.resolvers), "Whom to ask for TXT records; else the system's")
                .each("an IP address with a port", 8, |text| text.parse::<SocketAddr>().is_ok()),
            Setting::new("sign_in.timeout", period(self.timeout), "The longest that they may take")
                .lasting(SECOND / 10, 30 * SECOND),
            Setting::new(
                "sign_in.look_interval",
                period(self.look_interval),
                "The longest time between two looks for a name's TXT record",
            )
            .lasting(MINUTE, 7 * DAY),
            Setting::new(
                "sign_in.keep_for",
                period(self.keep_for),
                "How long a name counts on whose record is looked for in vain, not below look_interval",
            )
            .lasting(self.look_interval.min(7 * DAY), 90 * DAY),
            Setting::new("sign_in.fallback_url", fallback_url, "Where people are sent of whom nobody knows whose they are").of(
                "an https URL without a fragment, at most 2,048 characters; http is for localhost and loopback addresses",
                is_page_url,
            ),
        ]
    }
}

/// An absolute URL that a browser may be sent to.
fn is_page_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let is_plain =
        text.len() <= 2_048 && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&byte));
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let is_here = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    is_plain && !host.is_empty() && !authority.contains('@') && (scheme == "https" || (scheme == "http" && is_here))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_where_a_browser_may_be_sent() {
        for good in ["https://a", "https://a.example/b?c=d&e=%20", "http://localhost:8080/x", "http://127.0.0.1/"] {
            assert!(is_page_url(good), "{good}");
        }
        let long = format!("https://a/{}", "b".repeat(2_048));
        for bad in [
            "",
            "a",
            "/a",
            "//a",
            "https://",
            "https:///a",
            "https://a/#b",
            "http://a",
            "https://u@a",
            "javascript://a",
            "https://a/ b",
            "https://a\n",
            "https://\u{e4}",
            &long,
        ] {
            assert!(!is_page_url(bad), "{bad}");
        }
    }
}
