//! The port through which brokers keep tokens for each other: sealed, with who is fetching the next one.

use async_trait::async_trait;
use jiff::Timestamp;

use super::faults::PortResult;
use crate::domain::id::ClientName;
use crate::domain::lease::Lease;

/// Where brokers put the tokens that they have fetched, for the others to take. What is there is a saving and no truth:
/// everything of it may be lost at any time, and no record depends on it.
///
/// It never sees a token, only what was made of one that whoever lacks the key cannot read.
#[async_trait]
pub trait TokenShelf: Send + Sync {
    /// What is in the place now, every write before included; what is past its time may be there or not.
    async fn look(&self, place: &TokenPlace) -> PortResult<Option<SeenItem>>;

    /// Puts the item into the place, in place of the one with the version `seen`, or of none; it gets the next version, or
    /// 1. Fails with [`Fault::Conflict`](super::Fault::Conflict), and changes nothing, where something else is there.
    /// After [`Fault::Unavailable`](super::Fault::Unavailable) nobody knows whether it happened.
    async fn put(&self, place: &TokenPlace, seen: Option<u64>, item: &ShelfItem) -> PortResult<()>;
}

/// Of one client, and of what makes one of its tokens another than the next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenPlace {
    pub client: ClientName,
    /// 64 hexadecimal digits, which say nothing of what they are of.
    pub digest: String,
}

/// What is in a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShelfItem {
    pub sealed: Option<SealedToken>,
    /// Who is fetching the next one. Long over where nobody is.
    pub lease: Option<Lease>,
    /// From then on it is of no use and may vanish. To the second.
    pub keep_until: Timestamp,
}

/// An item with the version that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenItem {
    pub item: ShelfItem,
    pub version: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedToken {
    /// Of the key that opens it, by [`TokenKey::id`](crate::broker::TokenKey::id).
    pub key_id: String,
    pub bytes: Vec<u8>,
}
