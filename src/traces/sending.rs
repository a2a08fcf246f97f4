//! Spans on their way to the collector, counted.

use std::time::Duration;

use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::counts::{Count, Sheet, Told};

/// What became of spans.
#[derive(Debug, Default)]
pub struct Sent {
    sent: Count,
    failed: Count,
}

impl Told for Sent {
    fn tell(&self, sheet: &mut Sheet) {
        sheet
            .counter("keyward_spans_total", "Spans of traces that the collector took (sent) or did not (failed)")
            .count(&[("outcome", "sent")], self.sent.get())
            .count(&[("outcome", "failed")], self.failed.get());
    }
}

/// Sends spans and counts them.
#[derive(Debug)]
pub struct Counted {
    pub exporter: Otlp,
    pub sent: std::sync::Arc<Sent>,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let outcome = self.exporter.export(batch).await;
        match &outcome {
            Ok(()) => self.sent.sent.add(spans),
            Err(error) => {
                self.sent.failed.add(spans);
                tracing::debug!(%error, spans, "spans could not be sent");
            }
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
