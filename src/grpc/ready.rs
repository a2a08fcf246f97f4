//! Answers that were given and still hold, in the bytes that are sent.
//!
//! Of `GetToken` and `VerifyToken` alone. An answer is found by everything that it depends on and that a call brings along:
//! who asks, from where, the method and every byte of the message. It is given again for as long as what it stands on stands:
//! the [`Basis`] that it was made with, and the policies that permitted it. It must never be given to somebody else, nor
//! after somebody was told of a change that makes another answer of it. That leaves the caller's proof and the number of their calls,
//! which are looked at in each call, before.
//!
//! What is asked once is not kept, since it would only push out what is asked again. That a token is verified for the first time
//! is told by its basis; of `GetToken` it is told by a table of what was asked lately.
//!
//! A message may be a token that was given to somebody else. It is kept as it is, since comparing it costs a tenth of
//! digesting it and nothing has to be believed of a hash. It is wiped when it is dropped, as a token in an answer is.

use std::hash::{BuildHasher as _, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use equivalent::Equivalent;
use foldhash::quality::RandomState;
use jiff::Timestamp;
use prost::bytes::Bytes;
use zeroize::Zeroizing;

use super::requests::Asked as _;
use crate::broker::Basis;
use crate::domain::caller::Caller;
use crate::proto::{GetTokenRequest, VerifyTokenRequest};

/// Answers and what they are found by take about so many bytes at the most. Those that are asked for most stay.
const MAX_BYTES: u64 = 32 << 20;
/// About what an answer takes beside its message.
const LEAST_BYTES: usize = 512;
/// Questions that were asked lately, 8 bytes each. As many as fit into the cache several times over.
const LATELY: usize = 1 << 16;

#[derive(Clone)]
pub struct ReadyAnswers {
    kept: moka::sync::Cache<Key, Arc<Ready>, RandomState>,
    /// Hashes, each where it belongs unless another came after. One that is mistaken for another costs a place in the cache.
    lately: Arc<[AtomicU64]>,
    hasher: RandomState,
}

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

impl ReadyAnswers {
    pub fn new() -> Self {
        let weight = |key: &Key, ready: &Arc<Ready>| {
            u32::try_from(LEAST_BYTES + key.message.len() + ready.message.len()).unwrap_or(u32::MAX)
        };
        let cache = moka::sync::Cache::builder().max_capacity(MAX_BYTES).weigher(weight);
        let hasher = RandomState::default();
        let lately = (0..LATELY).map(|_| AtomicU64::new(0)).collect();
        ReadyAnswers { kept: cache.build_with_hasher(hasher.clone()), lately, hasher }
    }

    /// What was answered last. Whether it still holds is for whoever asks.
    pub fn find(&self, asked: &Asked<'_>) -> Option<Arc<Ready>> {
        self.kept.get(asked)
    }

    /// Keeps the answer, if it is likely to be asked for again.
    pub fn keep(&self, asked: &Asked<'_>, ready: Ready) {
        if asked.method == Method::GetToken && !self.was_asked_lately(asked) {
            return;
        }
        let key = Key {
            method: asked.method,
            message: Zeroizing::new(asked.message.into()),
            caller: asked.caller.clone(),
            source: asked.source,
        };
        self.kept.insert(key, Arc::new(ready));
    }

    /// And it was now.
    fn was_asked_lately(&self, asked: &Asked<'_>) -> bool {
        let hash = self.hasher.hash_one(asked);
        let place = (hash % LATELY as u64) as usize;
        // The lower bits say where, and all of them what. Nothing else is read by it, so no order matters.
        self.lately[place].swap(hash, Ordering::Relaxed) == hash
    }
}

/// Who asks what, from where.
pub struct Asked<'a> {
    pub method: Method,
    pub message: &'a [u8],
    pub caller: &'a Arc<Caller>,
    pub source: Option<IpAddr>,
}

/// The same, to be kept.
struct Key {
    method: Method,
    message: Zeroizing<Box<[u8]>>,
    caller: Arc<Caller>,
    source: Option<IpAddr>,
}

/// The methods whose answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    GetToken,
    VerifyToken,
}

impl Method {
    pub fn full_name(self) -> &'static str {
        match self {
            Method::GetToken => GetTokenRequest::METHOD,
            Method::VerifyToken => VerifyTokenRequest::METHOD,
        }
    }
}

impl Key {
    fn asked(&self) -> Asked<'_> {
        Asked { method: self.method, message: &self.message, caller: &self.caller, source: self.source }
    }
}

impl PartialEq for Asked<'_> {
    fn eq(&self, other: &Self) -> bool {
        let is_same_caller = Arc::ptr_eq(self.caller, other.caller) || self.caller == other.caller;
        self.method == other.method && self.message == other.message && self.source == other.source && is_same_caller
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
        self.message.hash(state);
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
