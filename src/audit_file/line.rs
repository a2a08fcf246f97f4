//! The form of a line.
//!
//! A line is one JSON object and a line feed. Its digest is the SHA-256 of its bytes without the line feed, and the next
//! line carries it as `previous_line`, in hexadecimal digits. Lines are numbered from 1 without gaps, over all files that
//! came one after the other. `last_event` is the number of the last event of the registry up to and with this line, so
//! that the last line alone says where to go on.
//!
//! `kind` says what a line is about: `event`, an event of the registry with its `sequence` and `previous_digest` there;
//! `handed_out`, a token with its `scopes` and `expire_time`, or a secret; `opened`, the file itself. The other fields are
//! those of the contract's `AuditEvent`. What is empty is left out.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::audit::{Event, NumberedEvent, Outcome};
use crate::domain::chain::{Digest, Link};

/// The longest line that is written or read, in bytes. The longest that is possible, a token with all the scopes that a
/// client may have, is shorter.
pub const MAX_LINE_BYTES: usize = 256 * 1024;

/// What a line is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An event of the registry.
    Event(NumberedEvent),
    /// A token or a secret that leaves.
    HandedOut(HandedOut),
    /// The file was opened, at this time.
    Opened(Timestamp),
}

/// A token or a secret that is given to a caller. Never the token or the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOut {
    pub event: Event,
    /// Of a token: what it is good for.
    pub scopes: Vec<String>,
    /// Of a token: until when.
    pub expire_time: Option<Timestamp>,
}

impl Record {
    /// About how many bytes its line has.
    pub fn size(&self) -> usize {
        /// Names of fields, digests, numbers and times.
        const FRAME: usize = 400;
        let texts = |event: &Event| event.resource.len() + event.reason.len() + event.detail.len();
        match self {
            Record::Event(numbered) => FRAME + texts(&numbered.event),
            Record::HandedOut(HandedOut { event, scopes, .. }) => {
                FRAME + texts(event) + scopes.iter().map(String::len).sum::<usize>()
            }
            Record::Opened(_) => FRAME,
        }
    }
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Event,
    HandedOut,
    Opened,
}

#[derive(Serialize)]
struct Line {
    line: u64,
    previous_line: String,
    kind: Kind,
    last_event: u64,
    create_time: Timestamp,
    #[serde(skip_serializing_if = "String::is_empty")]
    principal: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    method: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    resource: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    request_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    call_id: String,
    /// The event's number and the digest of the event before, in the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_digest: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<Timestamp>,
}

/// What is read of a line: its place.
#[derive(Deserialize)]
struct Place {
    line: u64,
    previous_line: String,
    last_event: u64,
}

/// Where a file ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The number of the last line, 0 when there is none.
    pub line: u64,
    pub digest: Option<Digest>,
    pub last_event: u64,
}

impl End {
    /// What the last line says of where the file ends; `None` when it is not a line of ours.
    pub fn of(line: &[u8]) -> Option<End> {
        let place: Place = serde_json::from_slice(line).ok()?;
        Some(End { line: place.line, digest: Some(Digest::of(line)), last_event: place.last_event })
    }

    /// Writes the next line to `out`, and becomes the new end.
    pub fn append(&mut self, record: &Record, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let line = self.next(record);
        let (number, last_event, start) = (line.line, line.last_event, out.len());
        serde_json::to_writer(&mut *out, &line)?;
        *self = End { line: number, digest: Some(Digest::of(&out[start..])), last_event };
        out.push(b'\n');
        Ok(())
    }

    fn next(&self, record: &Record) -> Line {
        let empty = |create_time: Timestamp, kind: Kind| Line {
            line: self.line + 1,
            previous_line: self.digest.map(|digest| digest.to_string()).unwrap_or_default(),
            kind,
            last_event: self.last_event,
            create_time,
            principal: String::new(),
            method: String::new(),
            resource: String::new(),
            outcome: None,
            reason: String::new(),
            detail: String::new(),
            request_id: String::new(),
            call_id: String::new(),
            sequence: None,
            previous_digest: None,
            scopes: Vec::new(),
            expire_time: None,
        };
        let of = |event: &Event, kind: Kind| {
            let Event { time, principal, method, resource, outcome, reason, detail, request_id, call_id } =
                event.clone();
            let outcome = Some(match outcome {
                Outcome::Succeeded => "SUCCEEDED",
                Outcome::Denied => "DENIED",
                Outcome::Failed => "FAILED",
            });
            Line { principal, method, resource, outcome, reason, detail, request_id, call_id, ..empty(time, kind) }
        };
        match record {
            Record::Event(numbered) => Line {
                last_event: numbered.sequence,
                sequence: Some(numbered.sequence),
                previous_digest: numbered.previous_digest.map(|digest| digest.to_string()),
                ..of(&numbered.event, Kind::Event)
            },
            Record::HandedOut(HandedOut { event, scopes, expire_time }) => {
                Line { scopes: scopes.clone(), expire_time: *expire_time, ..of(event, Kind::HandedOut) }
            }
            Record::Opened(time) => empty(*time, Kind::Opened),
        }
    }
}

/// A line as a link of the file's chain; `None` when it is not a line of ours.
pub fn link(line: &[u8]) -> Option<Link> {
    let place: Place = serde_json::from_slice(line).ok()?;
    let previous = match place.previous_line.as_str() {
        "" => None,
        text => Some(text.parse().ok()?),
    };
    Some(Link { number: place.line, previous, digest: Digest::of(line) })
}
