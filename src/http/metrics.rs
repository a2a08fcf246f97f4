//! The metrics, as OpenMetrics text. Names follow its rules: a unit at the end, seconds for time.
//!
//! What there is and what it means is for the parts that tell of it; here it is written. None has a label that grows with
//! tenants, clients or keys.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::Status;
use crate::counts::{BOUNDS, Kind, Metric, Observed, Sheet, Value};

/// OpenMetrics 1.0, section "Overall Structure".
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Empty if it cannot be written, which scrapers take for a failure: the text has an end of its own.
pub async fn text(status: &Status) -> String {
    let mut sheet = Sheet::default();
    sheet.gauge("keyward_build_info", "Which Keyward this is").number(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let is_ready = u8::from(status.readiness.is_ready());
    sheet.gauge("keyward_ready", "1 while /readyz answers 200").number(&[], f64::from(is_ready));
    for part in &status.told {
        part.tell(&mut sheet);
    }
    status.broker.tell_of_schedule(&mut sheet).await;
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Written(sheet)));
    let mut text = String::new();
    encode(&mut text, &registry).map_or_else(|_| String::new(), |()| text)
}

#[derive(Debug)]
struct Written(Sheet);

impl Collector for Written {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.metrics().iter().try_for_each(|metric| write(metric, &mut encoder))
    }
}

fn write(metric: &Metric, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    // It writes unit and ending by itself.
    let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
    let (name, unit) = match name.strip_suffix("_seconds") {
        Some(name) => (name, Some(&Unit::Seconds)),
        None => (name, None),
    };
    let kind = match metric.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    let mut family = encoder.encode_descriptor(name, metric.help, unit, kind)?;
    for series in &metric.series {
        let mut one = family.encode_family(&series.labels)?;
        match (&series.value, metric.kind) {
            (Value::Count(count), Kind::Counter) => one.encode_counter::<NoLabelSet, _, u64>(count, None)?,
            (Value::Number(number), Kind::Counter) => one.encode_counter::<NoLabelSet, _, u64>(number, None)?,
            (Value::Count(count), _) => one.encode_gauge(&(*count as f64))?,
            (Value::Number(number), _) => one.encode_gauge(number)?,
            (Value::Observed(observed), _) => write_durations(&mut one, observed)?,
        }
    }
    Ok(())
}

fn write_durations(encoder: &mut MetricEncoder<'_>, observed: &Observed) -> fmt::Result {
    let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(observed.buckets).collect();
    encoder.encode_histogram::<NoLabelSet>(observed.seconds, observed.count(), &buckets, None)
}
