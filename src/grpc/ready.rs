//! Answers that were given and still hold, in the bytes that are sent.
//!
//! Of `GetToken` and `VerifyToken` alone. An answer is found by everything that it depends on and that a call brings along:
//! who asks, from where, the method and every byte of the message. It is given again for as long as what it stands on stands:
//! the [`Basis`] that it was made with, and the policies that permitted it. It must never be given to somebody else, nor
//! after somebody was told of a change that makes another answer of it. That leaves the caller's proof and the number of their calls,
//! which are looked at in each call, before.
//!
//! A message may be a token that somebody else was given, so it is kept as its SHA-256; an answer is wiped once nobody
//! sends it any more.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;
use equivalent::Equivalent;
use jiff::Timestamp;
use prost::bytes::Bytes;

use crate::broker::Basis;
use crate::domain::caller::Caller;

/// Answers and what they are found by take about so many bytes at the most. Those that are asked for most stay.
const MAX_BYTES: u64 = 32 << 20;
/// About what an answer takes beside its message.
const LEAST_BYTES: usize = 512;

pub struct ReadyAnswers(moka::sync::Cache<Key, Arc<Ready>>);

/// An answer.
pub struct Ready {
    /// The message with gRPC's prefix.
    pub message: Bytes,
    pub basis: Basis,
    /// The version of the policies from before it was permitted.
    pub policies: u64,
    /// When it was made. Before, by a clock that was set back, nobody knows.
    pub since: Timestamp,
}

/// What is asked: the SHA-256 of method and message.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Question([u8; 32]);

impl Question {
    pub fn new(method: &str, message: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(method.as_bytes());
        // No path has a zero in it, so it ends there.
        context.update(&[0]);
        context.update(message);
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Question(hash)
    }
}

impl ReadyAnswers {
    pub fn new() -> Self {
        let weight = |_: &Key, ready: &Arc<Ready>| u32::try_from(LEAST_BYTES + ready.message.len()).unwrap_or(u32::MAX);
        ReadyAnswers(moka::sync::Cache::builder().max_capacity(MAX_BYTES).weigher(weight).build())
    }

    /// What was answered last. Whether it still holds is for whoever asks.
    pub fn find(&self, question: &Question, caller: &Arc<Caller>, source: Option<IpAddr>) -> Option<Arc<Ready>> {
        self.0.get(&Asked { question, caller, source })
    }

    pub fn keep(&self, question: Question, caller: Arc<Caller>, source: Option<IpAddr>, ready: Ready) {
        self.0.insert(Key { question, caller, source }, Arc::new(ready));
    }
}

/// Who asks what, from where.
struct Key {
    question: Question,
    caller: Arc<Caller>,
    source: Option<IpAddr>,
}

/// The same, to look it up without a copy.
struct Asked<'a> {
    question: &'a Question,
    caller: &'a Arc<Caller>,
    source: Option<IpAddr>,
}

impl Key {
    fn asked(&self) -> Asked<'_> {
        Asked { question: &self.question, caller: &self.caller, source: self.source }
    }
}

impl PartialEq for Asked<'_> {
    fn eq(&self, other: &Self) -> bool {
        let is_same_caller = Arc::ptr_eq(self.caller, other.caller) || self.caller == other.caller;
        self.question == other.question && self.source == other.source && is_same_caller
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.asked() == other.asked()
    }
}

impl Eq for Key {}

impl Hash for Asked<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.question.hash(state);
        self.caller.principal.hash(state);
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.asked().hash(state);
    }
}

impl Equivalent<Key> for Asked<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.asked()
    }
}
