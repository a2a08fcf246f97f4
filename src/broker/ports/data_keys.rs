//! The port through which brokers have a key in common that nobody had to give them.

use async_trait::async_trait;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::faults::PortResult;

/// A data key that all brokers of a table find in the same place, encrypted. What is there can be read by whoever reads the
/// table and opened only through this.
#[async_trait]
pub trait DataKeys: Send + Sync {
    /// What is kept now, every write before included.
    async fn kept(&self) -> PortResult<Option<KeptKey>>;

    /// Makes a data key and keeps it in the place of `seen`, or of none; `now` is its make time. Fails with
    /// [`Fault::Conflict`](super::Fault::Conflict), and changes nothing, where something else is there.
    async fn make(&self, seen: Option<&KeptKey>, now: Timestamp) -> PortResult<()>;

    /// The data key; `None` for what will never open here, since it was made by another key or for something else, or was
    /// changed. That it cannot be opened now is an error.
    async fn open(&self, kept: &KeptKey) -> PortResult<Option<Zeroizing<[u8; 32]>>>;
}

/// A data key as it is kept: encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptKey {
    pub wrapped: Vec<u8>,
    /// Which key has encrypted it. No secret.
    pub wrapping_key: String,
    /// By the clock of whoever made it.
    pub make_time: Timestamp,
}
