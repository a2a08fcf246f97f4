//! The audit log of a table, checked from its first event to its last. Reads only, also while brokers write.
//!
//! It is checked up to the end that the head told when the check began; a page at a time, so that a log of any length needs
//! little memory. Events that are pruned meanwhile are the oldest, which were read before.

use super::DynamoDb;
use super::reading;
use super::table::asking;
use crate::broker::ports::PortResult;
use crate::domain::chain::{Break, Noted, Walk, Walked};

/// Events that are read in one go.
const PAGE: usize = 500;

impl DynamoDb {
    /// Walks along the whole log; with `noted`, also compares one event with what was noted of it. Gives the number of the
    /// last event besides.
    pub async fn check_audit_log(&self, noted: Option<Noted>) -> PortResult<(Result<Walked, Break>, u64)> {
        let head = self.table.head(asking("read the head")).await?;
        let (last_event, mut after) = (head.log.sequence, 0);
        let mut walk = Walk::new(head.chain_start, noted);
        let mut broken: Option<Break> = None;
        while after < last_event {
            let mut page = reading::events(&self.table, after, PAGE).await?;
            page.retain(|event| event.sequence <= last_event);
            let Some(last) = page.last() else { break };
            after = last.sequence;
            for event in &page {
                match &mut broken {
                    None => broken = walk.step(event.link()).err(),
                    // What comes after a break may explain it.
                    Some(broken) => broken.explained_by(&event.link()),
                }
            }
        }
        let outcome = match broken {
            Some(broken) => Err(broken),
            None => walk.finish(Some((last_event, head.log.digest))),
        };
        Ok((outcome, last_event))
    }
}
