//! `[traces]`: where traces go, and which calls are traced.

use serde::Deserialize;

use super::setting::{Setting, Value, count, text};

/// `[traces]`: traces by OTLP. Without an endpoint there are none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traces {
    /// A collector's gRPC endpoint, in plain HTTP/2. Absent: nothing is traced.
    pub endpoint: Option<String>,
    /// Of calls whose caller sends no `traceparent`, so many in a hundred are traced: zero to 100. Answers that are given
    /// again are traced only where the caller asks for it.
    pub percent: u32,
}

impl Default for Traces {
    fn default() -> Self {
        Traces { endpoint: None, percent: 1 }
    }
}

impl Traces {
    pub(super) fn settings(&self) -> Vec<Setting> {
        let endpoint = self.endpoint.as_ref().map_or(Value::Unset, text);
        vec![
            Setting::new("traces.endpoint", endpoint, "A collector's gRPC endpoint; without one nothing is traced")
                .of("an http URL with a port, such as \"http://127.0.0.1:4317\"", is_endpoint),
            Setting::new(
                "traces.percent",
                count(self.percent),
                "Calls traced whose caller has decided nothing, percent",
            )
            .within(0, 100),
        ]
    }
}

fn is_endpoint(text: &str) -> bool {
    let place = text.strip_prefix("http://").and_then(|rest| rest.rsplit_once(':'));
    let is_plain =
        |host: &str| !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b));
    place.is_some_and(|(host, port)| is_plain(host) && port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_place_and_nothing_more() {
        for good in ["http://127.0.0.1:4317", "http://collector.monitoring:4317", "http://[::1]:4317"] {
            assert!(is_endpoint(good), "{good}");
        }
        let bad = [
            "",
            "127.0.0.1:4317",
            "https://x:4317",
            "http://x",
            "http://:4317",
            "http://x:0",
            "http://u:p@x:4317",
            "http://x:4317/",
            "http://x:4317/v1/traces",
        ];
        for bad in bad {
            assert!(!is_endpoint(bad), "{bad}");
        }
    }
}
