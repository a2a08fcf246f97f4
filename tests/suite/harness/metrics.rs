//! The metrics, as a scraper reads them.

use std::net::SocketAddr;

pub struct Metrics(pub String);

/// Asks for them.
pub async fn metrics(address: SocketAddr) -> Metrics {
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let answer = http.get(format!("http://{address}/metrics")).send().await.expect("answered");
    assert_eq!(answer.status(), 200);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.headers()["content-type"], kind);
    let text = answer.text().await.expect("read");
    assert!(text.ends_with("# EOF\n"), "not whole: {text}");
    Metrics(text)
}

impl Metrics {
    /// The sum of all series that begin so.
    pub fn sum(&self, start: &str) -> f64 {
        let lines = self.0.lines().filter(|line| line.starts_with(start));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// That of a series, with its labels as they are written.
    pub fn value(&self, series: &str) -> Option<f64> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(line.parse().expect("a number"))
    }
}
