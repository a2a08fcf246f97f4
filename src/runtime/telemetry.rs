//! Logs: text or JSON lines on standard error, filtered.
//!
//! It knows no fields and no events. **Only Keyward's own targets can be asked for more than `info`**, whatever the
//! filter says. A token passes through libraries as bytes of a message, and at `debug` or `trace` a library may print
//! what it holds. Reading h2 0.4.20, hyper 1.12, hyper-util 0.1.21, tonic 0.14.9 and tower 0.5.3 shows lengths, flags
//! and states, and neither header values nor payloads (h2 leaves both out of `Debug` on purpose; rusqlite and
//! tokio-rusqlite log nothing); but that is a habit of those versions and no promise, and nobody reads the logging of
//! every update. So the rule names whom it trusts instead of whom it does not. What it costs is HTTP/2 frames in the
//! log; a packet capture shows those.

use std::io::IsTerminal as _;

use serde::Deserialize;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// The crate whose targets may say everything.
const OWN: &str = "keyward";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One line for each event, for people; in colour on a terminal unless `NO_COLOR` is set.
    #[default]
    Text,
    /// One JSON object for each event, for machines.
    Json,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("{origin}: {source}")]
    Filter { origin: &'static str, source: tracing_subscriber::filter::ParseError },
    #[error("logs are set up already")]
    Twice(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Sends the process's events to standard error from now on. `filter` is in the form of `RUST_LOG`, such as
/// `info,keyward::broker=debug`; `RUST_LOG` wins over it where it is set and not empty.
pub fn init(format: Format, filter: &str) -> Result<(), TelemetryError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.trim().is_empty() => parse("RUST_LOG", &text)?,
        _ => parse("log.filter", filter)?,
    };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let ansi = std::io::stderr().is_terminal() && !no_color;
    tracing::subscriber::set_global_default(subscriber(format, filter, ansi, std::io::stderr))?;
    Ok(())
}

/// Whether `filter` can be understood; the error says what cannot.
pub fn check_filter(filter: &str) -> Result<(), String> {
    parse("log.filter", filter).map(drop).map_err(|error| match error {
        TelemetryError::Filter { source, .. } => source.to_string(),
        other => other.to_string(),
    })
}

fn parse(origin: &'static str, filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder().parse(filter).map_err(|source| TelemetryError::Filter { origin, source })
}

fn subscriber<W>(format: Format, filter: EnvFilter, ansi: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = match format {
        Format::Text => boxed(tracing_subscriber::fmt::layer().with_ansi(ansi).with_writer(writer)),
        Format::Json => boxed(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer)),
    };
    Registry::default().with(lines.with_filter(filter.and(filter_fn(may_be_printed))))
}

fn boxed<S, L>(layer: L) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    L: Layer<S> + Send + Sync,
{
    layer.boxed()
}

/// Spans as well as events: a library's span may hold a frame as a field.
fn may_be_printed(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let own = target.strip_prefix(OWN).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    own || *metadata.level() <= Level::INFO
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("lock").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: &str, act: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber =
            subscriber(format, parse("log.filter", filter).expect("filter"), false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, act);
        let bytes = sink.0.lock().expect("lock").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    fn everybody_speaks() {
        let _span = tracing::trace_span!(target: "h2::codec", "buffer", frame = "frame-in-span").entered();
        tracing::trace!(target: "keyward::broker", "own-trace");
        tracing::debug!(target: "keywardens", "stranger-debug");
        tracing::debug!(target: "h2::codec", frame = "frame-in-event", "send");
        tracing::trace!(target: "tonic::transport", "library-trace");
        tracing::info!(target: "hyper::proto", "library-info");
    }

    #[test]
    fn libraries_say_no_more_than_info_whatever_the_filter_asks_for() {
        for filter in
            ["trace", "h2=trace,tonic=trace,hyper=trace,keywardens=trace,keyward=trace", "[buffer]=trace,trace"]
        {
            for format in [Format::Text, Format::Json] {
                let text = logged(format, filter, everybody_speaks);
                assert!(text.contains("own-trace") && text.contains("library-info"), "{filter}: {text}");
                for unwanted in ["frame-in", "library-trace", "stranger-debug"] {
                    assert!(!text.contains(unwanted), "{filter}: {text}");
                }
            }
        }
    }

    #[test]
    fn json_is_one_object_for_each_event() {
        let text = logged(Format::Json, "info", || tracing::info!(port = 7443, "listening"));
        let line: serde_json::Value = serde_json::from_str(text.trim()).expect("JSON");
        assert_eq!(
            (&line["message"], &line["port"], &line["level"]),
            (&"listening".into(), &7443.into(), &"INFO".into())
        );
    }

    #[test]
    fn the_filter_is_obeyed_and_checked() {
        assert_eq!(logged(Format::Text, "keyward=warn", everybody_speaks), "");
        assert!(check_filter("info,keyward::broker=debug").is_ok());
        assert!(check_filter("keyward=loud").is_err());
    }
}
