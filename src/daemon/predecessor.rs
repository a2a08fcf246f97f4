//! The broker that worked on this data folder before.
//!
//! One that was killed stays among those that share the quotas until its membership has lapsed, and a lone broker would
//! wait for its own ghost. Whoever holds the folder's lock knows that the process is gone, and takes it out. A broker that
//! finds no id, or cannot take it out, waits as any other does.

use std::path::Path;

use crate::broker::Broker;
use crate::domain::id::BrokerId;

/// Holds the id of the broker that used the folder last. No secret.
const FILE: &str = "broker.id";

/// To be called with the folder's lock held, before `broker` is a member.
pub(super) async fn succeed(folder: &Path, broker: &Broker) {
    let Some(id) = broker.member_id() else { return };
    let file = folder.join(FILE);
    let before = std::fs::read_to_string(&file).ok().and_then(|text| BrokerId::parse("broker", text.trim()).ok());
    if let Some(before) = before
        && let Err(error) = broker.take_out(&before).await
    {
        tracing::warn!(%before, %error, "the broker that was here before cannot be taken out; its membership lapses by itself");
    }
    if let Err(error) = std::fs::write(&file, id.as_str()) {
        tracing::warn!(%error, file = FILE, "cannot be written: after a crash, the next start waits for half a minute");
    }
}
