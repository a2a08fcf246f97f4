//! What every chapter is made of: calls that are shown, expectations that are recorded, and taking away what was made.
//!
//! It knows nothing of the story.

use std::time::Duration;

use prost_reflect::DynamicMessage;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::TourError;
use super::report::{Check, Report};
use super::screen::Screen;
use super::wire::Wire;

/// How long the broker may take to finish what it goes on with after it has answered.
const SETTLE: Duration = Duration::from_secs(10);
/// How often it is asked meanwhile.
const LOOK: Duration = Duration::from_millis(50);
/// How much of an answer an unmet expectation repeats, in characters.
const FOUND: usize = 400;

pub(super) struct Guide<'w> {
    pub wire: Wire,
    pub screen: Screen<'w>,
    report: Report,
    /// Calls that take away what was made, as method and request; the last made goes first.
    leftovers: Vec<(&'static str, Value)>,
}

impl<'w> Guide<'w> {
    pub(super) fn new(wire: Wire, screen: Screen<'w>) -> Self {
        Guide { wire, screen, report: Report::default(), leftovers: Vec::new() }
    }

    /// Makes the call and shows it with its answer. A failed call ends the tour.
    pub(super) async fn call(&mut self, method: &str, request: Value) -> Result<Value, TourError> {
        let (name, answer) = self.show(method, request).await?;
        self.answered(&name, answer)
    }

    /// Makes a call that must fail, shows the error, and answers with its reason; `OK` when it did not fail.
    pub(super) async fn refusal(&mut self, method: &str, request: Value) -> Result<String, TourError> {
        match self.show(method, request).await? {
            (_, Ok(answer)) => {
                self.screen.answer(&answer)?;
                Ok("OK".to_owned())
            }
            (_, Err(status)) => {
                self.screen.error(&status)?;
                let info = status.get_error_details().error_info().map(|info| info.reason.clone());
                Ok(info.unwrap_or_else(|| format!("{:?} without a reason", status.code())))
            }
        }
    }

    async fn show(
        &mut self,
        method: &str,
        request: Value,
    ) -> Result<(String, Result<DynamicMessage, Status>), TourError> {
        let method = self.wire.method(method)?;
        let request = method.request(request)?;
        self.screen.command(self.wire.address(), &method.name, &request)?;
        let answer = self.wire.call(&method, &request).await;
        Ok((method.name, answer))
    }

    /// Shows what came back, and answers with it as JSON.
    pub(super) fn answered(&mut self, method: &str, came: Result<DynamicMessage, Status>) -> Result<Value, TourError> {
        match came {
            Ok(answer) => {
                self.screen.answer(&answer)?;
                as_json(method, &answer)
            }
            Err(status) => {
                self.screen.error(&status)?;
                Err(TourError::Call { method: method.to_owned(), status: Box::new(status) })
            }
        }
    }

    /// Asks, without showing it, until the answer is as `wanted` or the broker has had [`SETTLE`]; then answers with the
    /// last answer.
    pub(super) async fn settle(
        &self,
        method: &str,
        request: Value,
        wanted: impl Fn(&Result<Value, Status>) -> bool,
    ) -> Result<Result<Value, Status>, TourError> {
        let method = self.wire.method(method)?;
        let request = method.request(request)?;
        let mut looks = tokio::time::interval(LOOK);
        let deadline = tokio::time::Instant::now() + SETTLE;
        loop {
            let now = looks.tick().await;
            let answer = match self.wire.call(&method, &request).await {
                Ok(answer) => Ok(as_json(&method.name, &answer)?),
                Err(status) => Err(status),
            };
            if wanted(&answer) || now >= deadline {
                return Ok(answer);
            }
        }
    }

    /// Waits until the resource is there no more, and answers with what is there instead.
    pub(super) async fn settle_gone(&self, method: &str, name: &str) -> Result<Option<String>, TourError> {
        let is_gone = |answer: &Result<Value, Status>| matches!(answer, Err(status) if status.code() == Code::NotFound);
        let answer = self.settle(method, json!({ "name": name }), is_gone).await?;
        Ok((!is_gone(&answer)).then(|| match answer {
            Ok(answer) => short(&answer),
            Err(status) => described(&status),
        }))
    }

    /// Records whether the expectation was met by `answer`.
    pub(super) fn expect(&mut self, expectation: &str, answer: &Value, met: bool) -> Result<(), TourError> {
        self.record(expectation, (!met).then(|| short(answer)))
    }

    /// Records what was found instead, if anything was.
    pub(super) fn record(&mut self, expectation: &str, found: Option<String>) -> Result<(), TourError> {
        let check = Check { expectation: expectation.to_owned(), found };
        self.screen.check(&check)?;
        self.report.checks.push(check);
        Ok(())
    }

    /// Records a call that failed although it was expected to answer.
    pub(super) fn record_failure(&mut self, error: &TourError) -> Result<(), TourError> {
        self.record("every call answers", Some(error.to_string()))
    }

    /// From now on, the call takes away something that is about to be made.
    pub(super) fn will_leave(&mut self, method: &'static str, request: Value) {
        self.leftovers.push((method, request));
    }

    /// Something is gone already.
    pub(super) fn took_away(&mut self, name: &str) {
        self.leftovers.retain(|(_, request)| request["name"] != name);
    }

    /// Takes away what is still there, and says what could not be.
    pub(super) async fn take_away(&mut self) -> Result<(), TourError> {
        while let Some((method, request)) = self.leftovers.pop() {
            let wanted = |answer: &Result<Value, Status>| match answer {
                Ok(_) => true,
                // The rest may still be on its way out: a scope is in use while its last client goes.
                Err(status) => status.code() != Code::FailedPrecondition,
            };
            match self.settle(method, request.clone(), wanted).await? {
                Err(status) if status.code() != Code::NotFound => {
                    let name = request["name"].as_str().unwrap_or_default();
                    self.screen.say(&format!("could not take {name} away: {}", described(&status)))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Shows all that was expected.
    pub(super) fn conclude(self) -> Result<Report, TourError> {
        let Guide { mut screen, report, .. } = self;
        screen.summary(&report)?;
        Ok(report)
    }
}

fn as_json(method: &str, answer: &DynamicMessage) -> Result<Value, TourError> {
    serde_json::to_value(answer)
        .map_err(|error| TourError::Contract { method: method.to_owned(), detail: error.to_string() })
}

fn short(answer: &Value) -> String {
    let text = answer.to_string();
    match text.char_indices().nth(FOUND) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn described(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
