//! Traces by OTLP: what a call waited for, as a part of its caller's trace.
//!
//! A caller that sends W3C's `traceparent` decides whether its call is traced; of calls that come without one a configured part
//! is. What a call sets going goes on in its trace, on other threads too ([`carry`]). A span says which method or operation it
//! was and how it ended. It must never say whose it was or hold anything of a message: no tenant, no caller, no secret, no
//! token; `tracestate` is not read. What is sent waits in a queue of 2,048 spans, beyond which spans are dropped, so a collector
//! that is slow or away costs spans and nothing else. Where no collector is configured there is nothing of all this, and every
//! question here is answered without looking further.

mod sending;

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Polling, Poll};
use std::time::Duration;

use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{FutureExt as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanLimits,
};

use crate::counts::{Sheet, Told};
use sending::{Counted, Sent};

/// W3C Trace Context, section "Traceparent Header".
pub const TRACEPARENT: &str = "traceparent";

/// Spans that wait to be sent.
const QUEUE: usize = 2_048;
/// Spans that are sent at a time.
const BATCH: usize = 512;
/// How long they wait for others at the most.
const DELAY: Duration = Duration::from_secs(2);
/// How long a collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Attributes of a span; more are a mistake.
const MAX_ATTRIBUTES: u32 = 16;

/// Where spans go, and which.
#[derive(Clone, Debug)]
pub struct Options {
    /// A collector's gRPC endpoint, `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// Of calls whose caller has decided nothing so many in a hundred are traced.
    pub percent: u32,
}

/// Why no traces can be sent.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StartTracesError(#[from] opentelemetry_otlp::ExporterBuildError);

/// Makes spans and sends them.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: Arc<SdkTracer>,
    sent: Arc<Sent>,
}

impl Traces {
    /// Begins to send. To be called on the runtime that is to send them; nobody is asked whether a collector is there.
    pub fn start(options: &Options) -> Result<Traces, StartTracesError> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&options.endpoint)
            .with_timeout(PATIENCE)
            .build()?;
        let sent = Arc::<Sent>::default();
        let limits = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let counted = Counted { exporter, sent: sent.clone() };
        let processor = BatchSpanProcessor::builder(counted).with_batch_config(limits).build();
        let roots = Sampler::TraceIdRatioBased(f64::from(options.percent) / 100.0);
        let resource = Resource::builder_empty()
            .with_service_name("keyward")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let span_limits = SpanLimits { max_attributes_per_span: MAX_ATTRIBUTES, ..SpanLimits::default() };
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(Sampler::ParentBased(Box::new(roots)))
            .with_span_limits(span_limits)
            .with_resource(resource.build())
            .build();
        let tracer = Arc::new(provider.tracer("keyward"));
        Ok(Traces { provider, tracer, sent })
    }

    /// The span of a call that was asked for here, if it is to be traced. `traceparent` is what its caller has sent.
    pub fn call(&self, method: &'static str, traceparent: Option<&str>) -> Option<Span> {
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Header(traceparent));
        let builder = self
            .tracer
            .span_builder(method)
            .with_kind(SpanKind::Server)
            .with_attributes([KeyValue::new("rpc.system.name", "grpc"), KeyValue::new("rpc.method", method)]);
        let span = parent.with_span(builder.start_with_context(&*self.tracer, &parent));
        // What is done for the call is looked up by this.
        span.span().is_recording().then(|| Span(span.with_value(Known(self.tracer.clone()))))
    }

    /// Sends what waits, for five seconds at the most, and then no more. Blocks.
    pub fn end(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "some spans could not be sent");
        }
    }
}

impl Told for Traces {
    fn tell(&self, sheet: &mut Sheet) {
        self.sent.tell(sheet);
    }
}

/// Whether a caller has its call traced: the last of the header's flags.
pub fn is_sampled(traceparent: &[u8]) -> bool {
    traceparent.last().and_then(|digit| char::from(*digit).to_digit(16)).is_some_and(|flags| flags & 1 == 1)
}

/// A caller's `traceparent` and nothing else.
struct Header<'a>(Option<&'a str>);

impl Extractor for Header<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.filter(|_| key == TRACEPARENT)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

struct Known(Arc<SdkTracer>);

/// Something under way that is traced. It ends when it is dropped.
#[derive(Debug)]
pub struct Span(Context);

impl Span {
    /// What is done for what is traced now, at somebody else's; `None` where nothing is traced.
    pub fn of_peer(name: &'static str, attributes: &[(&'static str, &str)]) -> Option<Span> {
        let current = Context::current();
        let Known(tracer) = current.get::<Known>()?;
        let attributes = attributes.iter().map(|(key, value)| KeyValue::new(*key, (*value).to_owned()));
        let builder = tracer.span_builder(name).with_kind(SpanKind::Client).with_attributes(attributes);
        let span = builder.start_with_context(&**tracer, &current);
        Some(Span(current.with_span(span)))
    }

    pub fn say(&self, key: &'static str, value: impl Into<Cow<'static, str>>) {
        self.0.span().set_attribute(KeyValue::new(key, value.into()));
    }

    /// It failed, by this kind of error.
    pub fn failed(&self, kind: &'static str) {
        self.say("error.type", kind);
        self.0.span().set_status(Status::error(""));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.0.span().end();
    }
}

/// Work that is done for whatever is traced where this is called, wherever it runs.
pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    work.with_current_context()
}

/// Work that is done for `span`, where there is one.
pub fn within<'a, F: Future>(span: Option<&Span>, work: Pin<&'a mut F>) -> Within<'a, F> {
    Within { context: span.map(|Span(context)| context.clone()), work }
}

/// The future that [`within`] makes.
pub struct Within<'a, F> {
    context: Option<Context>,
    work: Pin<&'a mut F>,
}

impl<F: Future> Future for Within<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Polling<'_>) -> Poll<F::Output> {
        let _attached = self.context.clone().map(Context::attach);
        self.work.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_decides_by_the_last_bit_of_its_flags() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-";
        for (flags, sampled) in [("01", true), ("00", false), ("03", true), ("fe", false), ("", false)] {
            assert_eq!(is_sampled(format!("{parent}{flags}").as_bytes()), sampled, "{flags}");
        }
        assert!(!is_sampled(b""));
    }

    #[tokio::test]
    async fn nothing_is_traced_where_nobody_asks() {
        assert!(Span::of_peer("Do", &[]).is_none());
        let work = std::pin::pin!(async { Span::of_peer("Do", &[]).is_none() });
        assert!(within(None, work).await);
    }
}
