//! How many requests there were, how they ended and how long they took: each is counted once, when its answer is made.
//!
//! HTTP's status alone would not say how: 400 is a scope that a client may not have, and a client that is suspended. So they
//! are counted by the names of RFC 6749, and by the endpoints' names in logs and events. Both are fixed sets; a path at which
//! nothing is has no name of its own. One whose caller gave up, or whose connection broke, is cancelled.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::answering::Endpoint;
use super::refusal::Code;
use crate::counts::{Histogram, Sheet, Told};

/// The names of endpoints, as requests are counted by them.
const ENDPOINTS: [&str; 5] = [
    Endpoint::Token.method(),
    Endpoint::Introspection.method(),
    Endpoint::Metadata.method(),
    Endpoint::Keys.method(),
    Endpoint::Nothing.method(),
];
const OK: &str = "ok";
const CANCELLED: &str = "cancelled";
/// A request ends well, with each of the codes, or not at all.
const OUTCOMES: usize = Code::ALL.len() + 2;

/// Counters of requests.
#[derive(Default)]
pub struct Counted {
    /// Of each endpoint, by outcome. Most never come to be.
    durations: [[OnceLock<Histogram>; OUTCOMES]; ENDPOINTS.len()],
}

impl Counted {
    pub(super) fn begin(self: &Arc<Self>, endpoint: Endpoint) -> Timed {
        Timed { counted: self.clone(), endpoint: place(endpoint), start: Instant::now(), outcome: Outcome::Cancelled }
    }
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Ok,
    Refused(Code),
    Cancelled,
}

impl Outcome {
    const fn place(self) -> usize {
        match self {
            Outcome::Ok => 0,
            Outcome::Refused(code) => 1 + code as usize,
            Outcome::Cancelled => OUTCOMES - 1,
        }
    }
}

/// A request under way. It is counted when this is dropped.
pub(super) struct Timed {
    counted: Arc<Counted>,
    endpoint: usize,
    start: Instant,
    outcome: Outcome,
}

impl Timed {
    /// With this refusal, or well where there is none. Gives back how long it took.
    pub fn end(mut self, refusal: Option<Code>) -> Duration {
        self.outcome = refusal.map_or(Outcome::Ok, Outcome::Refused);
        self.start.elapsed()
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        let of_endpoint = self.counted.durations.get(self.endpoint);
        if let Some(durations) = of_endpoint.and_then(|outcomes| outcomes.get(self.outcome.place())) {
            durations.get_or_init(Histogram::default).observe(self.start.elapsed());
        }
    }
}

impl Told for Counted {
    fn tell(&self, sheet: &mut Sheet) {
        let requests = sheet.histogram(
            "keyward_oauth_request_duration_seconds",
            "Requests by OAuth 2.0 by endpoint and how they ended (ok, the error's name, cancelled), and how long they took",
        );
        for (endpoint, outcomes) in ENDPOINTS.iter().zip(&self.durations) {
            let codes = Code::ALL.iter().map(|code| code.as_str());
            let names = std::iter::once(OK).chain(codes).chain([CANCELLED]);
            for (outcome, durations) in names.zip(outcomes) {
                if let Some(durations) = durations.get() {
                    requests.observed(&[("endpoint", endpoint), ("outcome", outcome)], durations.observed());
                }
            }
        }
    }
}

fn place(endpoint: Endpoint) -> usize {
    match endpoint {
        Endpoint::Token => 0,
        Endpoint::Introspection => 1,
        Endpoint::Metadata => 2,
        Endpoint::Keys => 3,
        Endpoint::Nothing | Endpoint::OtherMethod => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Endpoint; 6] = [
        Endpoint::Token,
        Endpoint::Introspection,
        Endpoint::Metadata,
        Endpoint::Keys,
        Endpoint::Nothing,
        Endpoint::OtherMethod,
    ];

    #[test]
    fn each_request_is_told_under_its_endpoint_and_how_it_ended() {
        let counted = Arc::new(Counted::default());
        for endpoint in ALL {
            counted.begin(endpoint).end(None);
            for code in Code::ALL {
                counted.begin(endpoint).end(Some(*code));
            }
            drop(counted.begin(endpoint));
        }
        let mut sheet = Sheet::default();
        counted.tell(&mut sheet);
        let series = &sheet.metrics()[0].series;
        assert_eq!(series.len(), ENDPOINTS.len() * OUTCOMES);
        for endpoint in ALL {
            let of_endpoint = series.iter().filter(|series| series.labels[0].1 == endpoint.method());
            let outcomes: Vec<_> = of_endpoint.map(|series| &*series.labels[1].1).collect();
            let codes = Code::ALL.iter().map(|code| code.as_str());
            assert_eq!(outcomes, [OK].into_iter().chain(codes).chain([CANCELLED]).collect::<Vec<_>>());
        }
        assert!(Code::ALL.iter().enumerate().all(|(place, code)| *code as usize == place));
    }
}
