//! The metrics, as OpenMetrics text. Names follow its rules: a unit at the end, seconds for time.
//!
//! None has a label that grows with tenants, clients or keys.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::broker::Broker;

/// OpenMetrics 1.0, section "Overall Structure".
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub struct Metrics(Registry);

impl Metrics {
    pub fn of(broker: Arc<Broker>) -> Self {
        let mut registry = Registry::with_prefix("keyward");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Which keyward this is", version);
        registry.register_collector(Box::new(Feed(broker)));
        Metrics(registry)
    }

    /// Empty if it cannot be written, which scrapers take for a failure: the text has an end of its own.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0).map_or_else(|_| String::new(), |()| text)
    }
}

/// What other brokers on the same registry do, and how late this one can be to hear of it. With a registry of its own it
/// is never late, and has only the first.
struct Feed(Arc<Broker>);

impl Collector for Feed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut seconds = |name: &str, help: &str, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, Some(&Unit::Seconds), gauge.metric_type())?)
        };
        let feed = self.0.hearing();
        let limit = feed.as_ref().map_or(0.0, |feed| feed.verdicts_for.as_secs_f64());
        seconds(
            "revocation_delay_limit",
            "The longest from a revocation or a suspension, at whichever broker, until this one refuses what it is about",
            limit,
        )?;
        let Some(feed) = feed else { return Ok(()) };
        seconds(
            "feed_silence",
            "How long ago the last look at the changes of other brokers began that succeeded",
            feed.silence.as_secs_f64(),
        )?;
        seconds(
            "held_token_limit",
            "The silence after which this broker hands out no token that it holds",
            feed.tokens_for.as_secs_f64(),
        )
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feed")
    }
}
