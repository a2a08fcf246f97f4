//! Several change sets as one transaction, and what its cancellation says about each of them.
//!
//! Each write carries the version that it expects as a condition, each event a place that must be free, and the head of
//! the table the number of the last change that this transaction was made on. Nothing is sent from here.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    CancellationReason, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use jiff::{SignedDuration, Timestamp};

use super::items::{self, Item, TableHead, Unreadable, head_of};
use super::table::is_absent;
use crate::broker::ports::{Action, ChangeSet, FEED_KEPT, Fault, LoggedChange, Shelf, StoredRecord, Write};

/// What one transaction holds: of items, and of the bytes of change sets, far enough below 4 MB for what comes with them.
const MAX_ITEMS: usize = 100;
const MAX_BYTES: usize = 3_300_000;
/// The head of the table, and the line in the change feed.
const OWN_ITEMS: usize = 2;

pub struct Transaction {
    pub items: Vec<TransactWriteItem>,
    whose: Vec<Whose>,
    /// What the head is afterwards. As it was, where nothing is written.
    pub head: TableHead,
    /// The number of the last event after each of the sets.
    pub last_events: Vec<u64>,
}

/// Whose item of a transaction it is.
enum Whose {
    /// A record of these change sets.
    Sets(Vec<usize>, String),
    Event,
    Change,
    Head,
}

/// What a cancelled transaction says.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Which sets can never be made, by their place, and why.
    pub lost: HashMap<usize, (Fault, String)>,
    /// Why none of the rest can be made now.
    pub stopped: Option<(Fault, String)>,
    /// The head was another; the item that it is, where that was told.
    pub head_moved: Option<Option<Item>>,
}

/// How many of `sets`, the first of them and those after it that may join it, go into one transaction: their places.
pub fn joining<'a>(sets: impl Iterator<Item = &'a ChangeSet>) -> Vec<usize> {
    let mut joined = Vec::new();
    let mut records: HashMap<(Shelf, &str), Option<Option<u64>>> = HashMap::new();
    let (mut items, mut bytes) = (OWN_ITEMS, 0);
    for (place, set) in sets.enumerate() {
        // Two may look at one record with the same expectation, but only one may change it.
        let fits_in = |write: &Write| match records.get(&(write.shelf, write.key.as_str())) {
            Some(Some(expected)) => matches!(write.action, Action::Check) && *expected == write.expected,
            Some(None) => false,
            None => true,
        };
        let fits = items + set.writes.len() + set.events.len() <= MAX_ITEMS && bytes + set.bytes() <= MAX_BYTES;
        if joined.is_empty() || (fits && set.writes.iter().all(fits_in)) {
            for write in &set.writes {
                let expected = matches!(write.action, Action::Check).then_some(write.expected);
                records.insert((write.shelf, &write.key), expected);
            }
            (items, bytes) = (items + set.writes.len() + set.events.len(), bytes + set.bytes());
            joined.push(place);
        }
        if items >= MAX_ITEMS {
            break;
        }
    }
    joined
}

impl Transaction {
    /// `sets` are such that [`joining`] joined them. `token` tells the transaction from others.
    pub fn of(
        table: &str,
        sets: &[&ChangeSet],
        before: &TableHead,
        now: Timestamp,
        token: &str,
    ) -> Result<Transaction, Unreadable> {
        let mut this =
            Transaction { items: Vec::new(), whose: Vec::new(), head: before.clone(), last_events: Vec::new() };
        let mut touched = Vec::new();
        let mut checked: HashMap<(Shelf, &str), usize> = HashMap::new();
        for (place, set) in sets.iter().enumerate() {
            for write in &set.writes {
                if let Some(known) = checked.get(&(write.shelf, write.key.as_str()))
                    && let Whose::Sets(of, _) = &mut this.whose[*known]
                {
                    of.push(place);
                    continue;
                }
                match write.action {
                    Action::Check => {
                        checked.insert((write.shelf, &write.key), this.items.len());
                    }
                    Action::Put { .. } | Action::Delete => touched.push((write.shelf, write.key.clone())),
                }
                let said = match write.expected {
                    Some(version) => format!("expected version {version}"),
                    None => "expected none".to_owned(),
                };
                let whose = Whose::Sets(vec![place], format!("{} {}: {said}", write.shelf.name(), write.key));
                this.push(item_of(table, write, this.head.deleted_version + 1), whose);
                if let (Action::Delete, Some(version)) = (&write.action, write.expected) {
                    this.head.deleted_version = this.head.deleted_version.max(version);
                }
            }
            for event in &set.events {
                let numbered = this.head.log.append(event.clone());
                let put = put(table, items::event_item(&numbered)?).condition_expression(is_absent());
                this.push(written(put), Whose::Event);
            }
            this.last_events.push(this.head.log.sequence);
            this.head.form = this.head.form.max(set.newest_form());
        }
        if touched.is_empty() && this.head == *before {
            return Ok(this);
        }
        this.head.change += 1;
        let change = LoggedChange { number: this.head.change, touched, last_event: this.head.log.sequence };
        let kept = SignedDuration::try_from(FEED_KEPT).unwrap_or(SignedDuration::MAX);
        let expiry = now.saturating_add(kept).unwrap_or(Timestamp::MAX).as_second();
        this.push(written(put(table, items::change_item(&change, token, expiry))), Whose::Change);
        let put = put(table, items::head_item(&this.head));
        let put = match before.change {
            0 => put.condition_expression(is_absent()),
            last => put
                .condition_expression("change = :last")
                .expression_attribute_values(":last", items::number(last))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld),
        };
        this.push(written(put), Whose::Head);
        Ok(this)
    }

    /// Whether it makes a change, and so has a line in the feed by which it can be known again.
    pub fn makes_a_change(&self) -> bool {
        matches!(self.whose.last(), Some(Whose::Head))
    }

    pub fn judge(&self, reasons: &[CancellationReason]) -> Verdict {
        let mut verdict = Verdict::default();
        for (whose, reason) in self.whose.iter().zip(reasons) {
            let code = reason.code().unwrap_or("None");
            match (code, whose) {
                // Another transaction was on its way with the same item: the same again may go through.
                ("None" | "TransactionConflict", _) => {}
                ("ConditionalCheckFailed", Whose::Sets(sets, said)) => {
                    let lost = |set: &usize| (*set, (Fault::Conflict, format!("{said}, found another")));
                    verdict.lost.extend(sets.iter().map(lost));
                }
                ("ConditionalCheckFailed", Whose::Head) => verdict.head_moved = Some(reason.item().cloned()),
                // Where the head has moved, the events of whoever moved it are there.
                ("ConditionalCheckFailed", Whose::Event | Whose::Change) => {
                    verdict.stopped = Some((Fault::Broken, "an event is there that the head does not know".to_owned()));
                }
                ("ThrottlingError" | "ProvisionedThroughputExceeded", _) => {
                    verdict.stopped = Some((Fault::Throttled, code.to_owned()));
                }
                (code, Whose::Sets(sets, said)) => {
                    let lost = |set: &usize| (*set, (Fault::Refused, format!("{said}: {code}")));
                    verdict.lost.extend(sets.iter().map(lost));
                }
                (code, _) => verdict.stopped = Some((Fault::Refused, code.to_owned())),
            }
        }
        if verdict.head_moved.is_some() && verdict.stopped.as_ref().is_some_and(|(fault, _)| *fault == Fault::Broken) {
            verdict.stopped = None;
        }
        verdict
    }

    fn push(&mut self, item: TransactWriteItem, whose: Whose) {
        self.items.push(item);
        self.whose.push(whose);
    }
}

/// The head that a cancelled transaction told, if it did and it reads back.
pub fn told_head(told: Option<&Item>) -> Option<TableHead> {
    told.and_then(|item| head_of(item).ok())
}

/// `first` is the version of a record that is made.
fn item_of(table: &str, write: &Write, first: u64) -> TransactWriteItem {
    let (condition, version) = match write.expected {
        None => (is_absent(), None),
        Some(version) => ("version = :version".to_owned(), Some(items::number(version))),
    };
    let values = version.map(|version| HashMap::from([(":version".to_owned(), version)]));
    let key = items::record_key(write.shelf, &write.key);
    match &write.action {
        Action::Check => {
            let check = ConditionCheck::builder().table_name(table).set_key(Some(key));
            let check = check.condition_expression(condition).set_expression_attribute_values(values);
            TransactWriteItem::builder().set_condition_check(check.build().ok()).build()
        }
        Action::Delete => {
            let delete = Delete::builder().table_name(table).set_key(Some(key));
            let delete = delete.condition_expression(condition).set_expression_attribute_values(values);
            TransactWriteItem::builder().set_delete(delete.build().ok()).build()
        }
        Action::Put { body, form, due_time } => {
            let version = write.expected.map_or(first, |version| version + 1);
            let (key, body, form, due_time) = (write.key.clone(), body.clone(), *form, *due_time);
            let record = StoredRecord { key, version, body, form, due_time };
            let put = put(table, items::record_item(write.shelf, &record));
            written(put.condition_expression(condition).set_expression_attribute_values(values))
        }
    }
}

pub fn put(table: &str, item: Item) -> aws_sdk_dynamodb::types::builders::PutBuilder {
    Put::builder().table_name(table).set_item(Some(item))
}

/// All that must be set is.
pub fn written(put: aws_sdk_dynamodb::types::builders::PutBuilder) -> TransactWriteItem {
    TransactWriteItem::builder().set_put(put.build().ok()).build()
}

pub fn deleted(table: &str, key: Item) -> TransactWriteItem {
    let delete = Delete::builder().table_name(table).set_key(Some(key)).build().ok();
    TransactWriteItem::builder().set_delete(delete).build()
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
