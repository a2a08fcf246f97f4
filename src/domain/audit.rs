//! What was done, by whom, on what, how it ended. Never a secret, never a token.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use super::caller::Principal;
use super::chain::{Digest, Link};
use super::form::Form;
use super::id::RequestId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Succeeded,
    /// Refused: by permission, or by the state of the thing.
    Denied,
    Failed,
}

/// One call of one caller: where an event's who and why come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub principal: Principal,
    /// `keyward.v1.TenantService/CreateTenant`, or `keyward.rotation/promote` for what the broker does by itself.
    pub method: Arc<str>,
    /// Ties events, log lines and the caller's own trace together (`x-request-id`).
    pub call_id: Arc<str>,
    pub request: Option<IdempotentRequest>,
}

/// A caller's promise that a repeated mutation is the same one (AIP-155).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotentRequest {
    pub id: RequestId,
    /// A digest of the request without its id.
    pub fingerprint: String,
}

impl Call {
    /// The same cause, another method: what the broker does to carry the call out.
    #[must_use]
    pub fn doing(&self, method: &'static str) -> Call {
        Call { method: Arc::from(method), request: None, ..self.clone() }
    }

    pub fn event(&self, now: Timestamp, resource: impl fmt::Display) -> Event {
        Event {
            time: now,
            principal: self.principal.to_string(),
            method: self.method.to_string(),
            resource: resource.to_string(),
            outcome: Outcome::Succeeded,
            reason: String::new(),
            detail: String::new(),
            request_id: self.request.as_ref().map(|request| request.id.to_string()).unwrap_or_default(),
            call_id: self.call_id.to_string(),
        }
    }
}

/// An event as it is appended. The registry numbers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub time: Timestamp,
    pub principal: String,
    pub method: String,
    pub resource: String,
    pub outcome: Outcome,
    /// UPPER_SNAKE where the outcome is not success.
    pub reason: String,
    pub detail: String,
    pub request_id: String,
    pub call_id: String,
}

impl Event {
    /// The least form in which it can be stored.
    pub fn form(&self) -> Form {
        Form::FIRST
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    #[must_use]
    pub fn ended(mut self, outcome: Outcome, reason: impl Into<String>) -> Self {
        self.outcome = outcome;
        self.reason = reason.into();
        self
    }
}

/// An event with its place in the order of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedEvent {
    /// From 1, without gaps.
    pub sequence: u64,
    /// The digest of the event before; `None` for the first, and for those that were written before digests were kept.
    pub previous_digest: Option<Digest>,
    pub event: Event,
}

/// What the canonical form of an event begins with: its version. Another form gets another version.
const CANONICAL: &[u8; 16] = b"keyward-audit-v1";

impl NumberedEvent {
    /// SHA-256 over the event's canonical form, which can be computed from the `AuditEvent` of the contract too.
    ///
    /// The canonical form, version 1, is these bytes, one after the other; numbers are big-endian:
    ///
    /// 1. the 16 ASCII characters `keyward-audit-v1`;
    /// 2. `sequence`, 8 bytes, unsigned;
    /// 3. `create_time` as in `google.protobuf.Timestamp`: `seconds`, 8 bytes, signed, then `nanos`, 4 bytes, 0 to
    ///    999,999,999;
    /// 4. `outcome`, 1 byte, the number of the `AuditOutcome`: 1 succeeded, 2 denied, 3 failed;
    /// 5. `principal`, `method`, `resource`, `reason`, `detail`, `request_id`, `call_id` in UTF-8 and `previous_digest`,
    ///    each after its length in bytes as 4 bytes, unsigned. A `previous_digest` that is absent has the length 0.
    ///
    /// Every part has a fixed length or says it, so that no two events have one form.
    pub fn digest(&self) -> Digest {
        let event = &self.event;
        let texts = [
            &event.principal,
            &event.method,
            &event.resource,
            &event.reason,
            &event.detail,
            &event.request_id,
            &event.call_id,
        ];
        let mut form = CANONICAL.to_vec();
        form.extend(self.sequence.to_be_bytes());
        // jiff counts nanoseconds before 1970 backwards, protobuf always forwards.
        let (seconds, nanos) = match event.time.subsec_nanosecond() {
            nanos if nanos < 0 => (event.time.as_second() - 1, nanos + 1_000_000_000),
            nanos => (event.time.as_second(), nanos),
        };
        form.extend(seconds.to_be_bytes());
        form.extend(nanos.to_be_bytes());
        form.push(match event.outcome {
            Outcome::Succeeded => 1,
            Outcome::Denied => 2,
            Outcome::Failed => 3,
        });
        let previous = self.previous_digest.as_ref().map_or(&[][..], Digest::as_bytes);
        for part in texts.map(|text| text.as_bytes()).into_iter().chain([previous]) {
            // Everything that goes into an event is far shorter than 4 GiB.
            form.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            form.extend(part);
        }
        Digest::of(&form)
    }

    /// The event as a link of the log's chain.
    pub fn link(&self) -> Link {
        Link { number: self.sequence, previous: self.previous_digest, digest: self.digest() }
    }
}

/// Where a log ends: what the next event is numbered and chained by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last event ever appended, 0 when there was none.
    pub sequence: u64,
    /// Its digest; `None` when there was none, or it was written before digests were kept.
    pub digest: Option<Digest>,
}

impl Head {
    /// Gives `event` its place after the last one, and becomes the new end.
    pub fn append(&mut self, event: Event) -> NumberedEvent {
        let numbered = NumberedEvent { sequence: self.sequence + 1, previous_digest: self.digest, event };
        *self = Head { sequence: numbered.sequence, digest: Some(numbered.digest()) };
        numbered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            time: Timestamp::new(1_767_225_600, 5).expect("in range"),
            principal: "operator:dev".to_owned(),
            method: "keyward.v1.TenantService/CreateTenant".to_owned(),
            resource: "tenants/acme".to_owned(),
            outcome: Outcome::Succeeded,
            reason: String::new(),
            detail: "\u{e9}".to_owned(),
            request_id: "r".to_owned(),
            call_id: "c".to_owned(),
        }
    }

    /// Computed with Python's hashlib and struct from the description of the form alone.
    #[test]
    fn the_digest_is_over_the_form_that_is_documented() {
        let mut head = Head { sequence: 6, digest: None };
        let first = head.append(event());
        assert_eq!(first.digest().to_string(), "0a1f99563ade31a85e1e07c1d1de63c9fdd03e6e07cee9ac6b909f3ae6878a1a");
        let second = head.append(event());
        assert_eq!((second.sequence, second.previous_digest), (8, Some(first.digest())));
        assert_eq!(second.digest().to_string(), "b7521e535535d27427fa7d532a5cf8ed90f8a09507d3124180c922c8ee1a16fe");
        let before_1970 = Event { time: Timestamp::new(-1, -5).expect("in range"), ..event() };
        let numbered = NumberedEvent { sequence: 1, previous_digest: None, event: before_1970 };
        assert_eq!(numbered.digest().to_string(), "8d702b2a1b9550efc50b1c4b220e1b66a7298c3757586c6f91abe39c7ffe2bd6");
    }

    #[test]
    fn every_field_is_in_the_digest_and_none_runs_into_the_next() {
        let of = |event: Event| NumberedEvent { sequence: 1, previous_digest: None, event }.digest();
        let changes: [fn(&mut Event); 11] = [
            |e| e.time = Timestamp::new(1_767_225_600, 6).expect("in range"),
            |e| e.time = Timestamp::new(1_767_225_601, 5).expect("in range"),
            |e| e.principal.push('x'),
            |e| e.method.push('x'),
            |e| e.resource.push('x'),
            |e| e.outcome = Outcome::Denied,
            |e| e.reason.push('x'),
            |e| e.detail.push('x'),
            |e| e.request_id.push('x'),
            |e| e.call_id.push('x'),
            |e| (e.request_id, e.call_id) = ("rc".to_owned(), String::new()),
        ];
        let mut seen = vec![of(event())];
        for change in changes {
            let mut event = event();
            change(&mut event);
            let digest = of(event);
            assert!(!seen.contains(&digest));
            seen.push(digest);
        }
        let one = NumberedEvent { sequence: 1, previous_digest: None, event: event() };
        let two = NumberedEvent { sequence: 2, ..one.clone() };
        let chained = NumberedEvent { previous_digest: Some(seen[0]), ..one.clone() };
        assert!(one.digest() != two.digest() && one.digest() != chained.digest());
    }
}
