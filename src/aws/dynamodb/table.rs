//! The table itself: each operation of DynamoDB that is used, made once, in time, and not too many at one time.
//!
//! DynamoDB grows with what is asked of it, so there is no quota here; but a broker whose callers ask faster than it is
//! answered must not pile up calls. Reads, and writes by themselves, wait for one of [`PLACES`] places, no longer than a call may wait for its turn
//! anywhere, and are Throttled then.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb as dynamodb;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, TransactWriteItem};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::items::{self, Item, PK, SK, TableHead, Unreadable};
use crate::aws::calls::Calls;
use crate::aws::faults::{Asking, port_error};
use crate::aws::governor::later;
use crate::broker::ports::{Clock, Fault, Peer, PortResult};

/// Calls under way at one time, transactions apart.
const PLACES: usize = 64;

pub struct Table {
    pub name: String,
    pub region: String,
    pub client: dynamodb::Client,
    pub calls: Arc<Calls>,
    pub clock: Arc<dyn Clock>,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// How long a call may wait for its turn.
    pub patience: Duration,
    places: Semaphore,
}

/// What came of a transaction.
#[derive(Debug)]
pub enum Sent {
    Done,
    /// Nothing was written. One reason for each item, in the order of the items.
    Cancelled(Vec<CancellationReason>),
}

/// A part of one partition, in the order of its sort keys.
pub struct Range<'a> {
    pub pk: String,
    /// Of the sort key: that it begins with this, where this is not empty.
    pub prefix: &'a str,
    /// Of the sort key: that it comes after this. It need not be there.
    pub after: Option<&'a str>,
    pub limit: usize,
}

pub const fn asking(doing: &'static str) -> Asking {
    Asking { peer: Peer::Registry, doing }
}

pub fn broken(asking: Asking) -> impl Fn(Unreadable) -> crate::broker::ports::PortError {
    move |Unreadable(what)| asking.error(Fault::Broken, format_args!("a stored {what} cannot be read"))
}

impl Table {
    pub fn new(
        (name, region): (String, String),
        client: dynamodb::Client,
        (calls, clock): (Arc<Calls>, Arc<dyn Clock>),
        (call_timeout, patience): (Duration, Duration),
    ) -> Self {
        Table { name, region, client, calls, clock, call_timeout, patience, places: Semaphore::new(PLACES) }
    }

    pub async fn get(&self, asking: Asking, key: Item) -> PortResult<Option<Item>> {
        let _place = self.place(asking).await?;
        let request = self.client.get_item().table_name(&self.name).set_key(Some(key)).consistent_read(true);
        let answer = self.calls.make(asking, &self.region, None, request.send()).await?;
        Ok(answer.item)
    }

    pub async fn head(&self, asking: Asking) -> PortResult<TableHead> {
        let item = self.get(asking, items::key(items::HEAD, items::HEAD)).await?;
        item.map_or_else(|| Ok(TableHead::default()), |item| items::head_of(&item).map_err(broken(asking)))
    }

    /// Everything of `range`, consistently, over as many pages as that is.
    pub async fn query(&self, asking: Asking, range: Range<'_>) -> PortResult<Vec<Item>> {
        let Range { pk, prefix, after, limit } = range;
        let mut found = Vec::new();
        let mut start = match after {
            // It comes before all of them, or behind them.
            Some(after) if !after.starts_with(prefix) && after < prefix => None,
            Some(after) if !after.starts_with(prefix) => return Ok(found),
            Some("") | None => None,
            Some(after) => Some(items::key(&pk, after)),
        };
        while found.len() < limit {
            let mut request = self.client.query().table_name(&self.name).consistent_read(true);
            request = match prefix {
                "" => request.key_condition_expression("pk = :pk"),
                prefix => request
                    .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
                    .expression_attribute_values(":prefix", items::text(prefix)),
            };
            request = request.expression_attribute_values(":pk", items::text(&pk));
            request = request.limit(page(limit - found.len())).set_exclusive_start_key(start.take());
            let _place = self.place(asking).await?;
            let answer = self.calls.make(asking, &self.region, None, request.send()).await?;
            found.extend(answer.items.unwrap_or_default());
            match answer.last_evaluated_key {
                Some(next) => start = Some(next),
                None => break,
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// The sort keys of a page of the index, the earliest due first, and where the next page begins. As of a moment ago:
    /// the index follows the table, and cannot be read consistently.
    pub async fn due_page(
        &self,
        asking: Asking,
        shelf: &str,
        limit: usize,
        start: Option<Item>,
    ) -> PortResult<(Vec<String>, Option<Item>)> {
        let _place = self.place(asking).await?;
        let request = self.client.query().table_name(&self.name).index_name(items::DUE_INDEX);
        let request = request.key_condition_expression("due_shelf = :shelf");
        let request = request.expression_attribute_values(":shelf", items::text(shelf));
        let request = request.limit(page(limit)).set_exclusive_start_key(start);
        let answer = self.calls.make(asking, &self.region, None, request.send()).await?;
        let keys = answer.items.unwrap_or_default();
        let key = |item: &Item| items::text_at(item, SK).map(str::to_owned).ok_or(Unreadable("key of the index"));
        let keys = keys.iter().map(key).collect::<Result<_, _>>().map_err(broken(asking))?;
        Ok((keys, answer.last_evaluated_key))
    }

    /// One item by itself, in place of whatever has its key, if that fits `condition`; [`Fault::Conflict`] if not.
    pub async fn put(&self, asking: Asking, item: Item, condition: String, values: Item) -> PortResult<()> {
        let _place = self.place(asking).await?;
        let request = self.client.put_item().table_name(&self.name).set_item(Some(item));
        let values = Some(values).filter(|values| !values.is_empty());
        let request = request.condition_expression(condition).set_expression_attribute_values(values);
        self.calls.make(asking, &self.region, None, request.send()).await.map(drop)
    }

    /// All of the items or none. The same `token` within ten minutes is the same transaction, which happens once.
    pub async fn transact(&self, asking: Asking, items: Vec<TransactWriteItem>, token: &str) -> PortResult<Sent> {
        let request = self.client.transact_write_items().client_request_token(token).set_transact_items(Some(items));
        let region = self.region.as_str();
        let weigh = move |outcome: Result<_, SdkError<TransactWriteItemsError, _>>| match outcome {
            Ok(_) => Ok(Sent::Done),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    Ok(Sent::Cancelled(cancelled.cancellation_reasons().to_vec()))
                }
                _ => Err(port_error(asking, region, &error)),
            },
        };
        self.calls.weigh(asking, region, request.send(), weigh).await
    }

    /// Waits for a place among the calls under way.
    async fn place(&self, asking: Asking) -> PortResult<SemaphorePermit<'_>> {
        let deadline = later(self.clock.now(), self.patience);
        let full = || asking.error(Fault::Throttled, format_args!("{PLACES} calls of {} are under way", self.name));
        tokio::select! {
            biased;
            place = self.places.acquire() => place.map_err(|_| full()),
            () = self.clock.sleep_until(deadline) => Err(full()),
        }
    }
}

/// What is not there must not be written, and the like: the beginning of a condition.
pub fn is_absent() -> String {
    format!("attribute_not_exists({PK})")
}

fn page(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}
