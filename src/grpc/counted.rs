//! How many calls there were, how they ended and how long they took: each is counted once, where its answer leaves.
//!
//! An answer that is given again is counted without a clock, as one that took no time: it never waits, and takes some
//! microseconds. All others are timed from when their message is there, or their headers where they go the long way, until
//! their status is known. One that ends without a status, since its caller gave up or its connection broke, is CANCELLED.
//!
//! Names and meanings are OpenTelemetry's of RPC (semantic conventions 1.45), in Prometheus' form. Methods and codes are fixed
//! sets; a method that there is not is `_OTHER`, whatever it is called.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tonic::Code;
use tonic::codegen::http::HeaderMap;

use super::requests::METHODS;
use super::status::code_name;
use super::wanted::Method;
use crate::counts::{Counts, Histogram, Sheet, Striped, Told};
use crate::domain::error::Reason;
use crate::gate::CALL_ID_HEADER;
use crate::traces::{Span, TRACEPARENT, Traces, is_sampled};

/// What is served beside the contract.
const STANDARD: [&str; 5] = [
    "envoy.service.auth.v3.Authorization/Check",
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
const OTHER: &str = "_OTHER";
/// gRPC's codes are the numbers from 0 on.
const CODES: usize = 17;

/// Counters of calls. Every front has its own.
pub struct Counted {
    methods: Vec<&'static str>,
    places: HashMap<&'static str, usize>,
    /// Of each method, by code. Most never come to be.
    durations: Box<[OnceLock<Histogram>]>,
    /// Answers that were given again, of `GetToken` and `VerifyToken`.
    again: [Striped; 2],
    refusals: Counts<{ Reason::ALL.len() }>,
    /// `None` where nothing is traced.
    traces: Option<Arc<Traces>>,
}

impl Default for Counted {
    fn default() -> Self {
        Counted::new(None)
    }
}

impl Counted {
    /// Calls are traced by `traces`, where there is one.
    pub fn new(traces: Option<Arc<Traces>>) -> Self {
        let methods: Vec<_> = METHODS.iter().chain(&STANDARD).chain(&[OTHER]).copied().collect();
        let places = methods.iter().copied().zip(0..).collect();
        let durations = (0..methods.len() * CODES).map(|_| OnceLock::new()).collect();
        Counted { methods, places, durations, again: Default::default(), refusals: Counts::default(), traces }
    }

    /// Whether its caller has the call traced.
    pub(super) fn is_traced(&self, headers: &HeaderMap) -> bool {
        self.traces.is_some() && headers.get(TRACEPARENT).is_some_and(|header| is_sampled(header.as_bytes()))
    }

    /// An answer was given again.
    pub(super) fn again(&self, method: Method) {
        // Those of the others are never kept.
        if let Some(again) = self.again.get(method as usize) {
            again.count();
        }
    }

    /// A call begins that is asked for at `path`, with or without a slash before it.
    pub(super) fn begin(self: &Arc<Self>, path: &str, headers: &HeaderMap) -> Timed {
        let other = self.methods.len() - 1;
        let method = self.places.get(path.trim_start_matches('/')).copied().unwrap_or(other);
        let span = self.traces.as_ref().and_then(|traces| {
            let parent = headers.get(TRACEPARENT).and_then(|header| header.to_str().ok());
            traces.call(self.methods[method], parent)
        });
        Timed { counted: self.clone(), method, start: Instant::now(), code: Code::Cancelled, span }
    }

    /// A caller was told that something cannot be done, and why.
    pub(super) fn refused(&self, reason: Reason) {
        self.refusals.count(reason as usize);
    }

    fn ended(&self, method: usize, code: Code, duration: Duration) {
        if let Some(durations) = self.durations.get(method * CODES + code as usize) {
            durations.get_or_init(Histogram::default).observe(duration);
        }
    }

    fn again_of(&self, method: &str) -> u64 {
        [Method::GetToken, Method::VerifyToken]
            .into_iter()
            .filter(|hot| hot.full_name() == method)
            .map(|hot| self.again[hot as usize].get())
            .sum()
    }
}

/// A call under way. It is counted when this is dropped.
pub struct Timed {
    counted: Arc<Counted>,
    method: usize,
    start: Instant,
    code: Code,
    span: Option<Span>,
}

impl Timed {
    pub(super) fn end(mut self, code: Code) {
        self.code = code;
    }

    /// Says under which id it is found in the log.
    pub(super) fn is_call(&self, id: &str) {
        if let Some(span) = &self.span {
            span.say("keyward.call_id", id.to_owned());
        }
    }

    /// Its part of a trace, where it is traced.
    pub(super) fn span(&self) -> Option<&Span> {
        self.span.as_ref()
    }

    /// Ends with the status that is in these headers or trailers. Gives itself back where there is none.
    pub(super) fn end_as_in(self, headers: &HeaderMap) -> Option<Self> {
        if let Some(id) = headers.get(CALL_ID_HEADER).and_then(|id| id.to_str().ok()) {
            self.is_call(id);
        }
        let Some(status) = headers.get("grpc-status") else { return Some(self) };
        self.end(Code::from_bytes(status.as_bytes()));
        None
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        if let Some(span) = &self.span {
            span.say("rpc.response.status_code", code_name(self.code));
            if is_fault(self.code as usize) {
                span.failed(code_name(self.code));
            }
        }
        self.counted.ended(self.method, self.code, self.start.elapsed());
    }
}

impl Told for Counted {
    fn tell(&self, sheet: &mut Sheet) {
        let calls = sheet.histogram(
            "rpc_server_call_duration_seconds",
            "Calls by method and status, and how long they took; an answer that is given again counts as having taken no time",
        );
        for (method, name) in self.methods.iter().enumerate() {
            for (number, durations) in self.durations[method * CODES..][..CODES].iter().enumerate() {
                let code = Code::from(i32::try_from(number).unwrap_or_default());
                let again = if code == Code::Ok { self.again_of(name) } else { 0 };
                let mut observed = durations.get().map(Histogram::observed).unwrap_or_default();
                observed.buckets[0] += again;
                if observed.count() == 0 {
                    continue;
                }
                let code = code_name(code);
                let mut labels =
                    vec![("rpc_system_name", "grpc"), ("rpc_method", *name), ("rpc_response_status_code", code)];
                if is_fault(number) {
                    labels.push(("error_type", code));
                }
                calls.observed(&labels, observed);
            }
        }
        let again = sheet.counter(
            "keyward_answers_given_again_total",
            "Calls that were answered with the bytes of an answer from before; they are among the calls above",
        );
        for method in [Method::GetToken, Method::VerifyToken] {
            again.count(&[("rpc_method", method.full_name())], self.again[method as usize].get());
        }
        let refusals =
            sheet.counter("keyward_refusals_total", "Calls that got an error, by the reason in its ErrorInfo");
        for (place, count) in self.refusals.counted() {
            refusals.count(&[("reason", Reason::ALL[place].as_str())], count);
        }
    }
}

/// Whether the code says that the server failed, by OpenTelemetry's conventions for gRPC.
fn is_fault(code: usize) -> bool {
    let faults =
        [Code::Unknown, Code::DeadlineExceeded, Code::Unimplemented, Code::Internal, Code::Unavailable, Code::DataLoss];
    faults.iter().any(|fault| *fault as usize == code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::claims::Rule;
    use crate::proto::RejectionReason;

    #[test]
    fn what_is_counted_by_its_number_has_its_place() {
        assert!(Reason::ALL.iter().enumerate().all(|(place, reason)| *reason as usize == place));
        assert!(Rule::ALL.iter().enumerate().all(|(place, rule)| *rule as usize == place));
        for rule in Rule::ALL {
            let name = format!("REJECTION_REASON_{}", rule.as_str());
            assert!(RejectionReason::from_str_name(&name).is_some(), "{name} is not in the contract");
        }
    }

    #[test]
    fn a_method_that_there_is_not_has_no_name_of_its_own() {
        let counted = Arc::new(Counted::default());
        counted.begin("/keyward.v1.TokenService/GetToken", &HeaderMap::new()).end(Code::Ok);
        counted.begin("/keyward.v1.TokenService/Made-up", &HeaderMap::new()).end(Code::Unimplemented);
        drop(counted.begin("/x", &HeaderMap::new()));
        let mut sheet = Sheet::default();
        counted.tell(&mut sheet);
        let calls = &sheet.metrics()[0];
        let told: Vec<_> = calls.series.iter().map(|series| (&*series.labels[1].1, &*series.labels[2].1)).collect();
        assert_eq!(told, [("keyward.v1.TokenService/GetToken", "OK"), (OTHER, "CANCELLED"), (OTHER, "UNIMPLEMENTED")]);
    }
}
