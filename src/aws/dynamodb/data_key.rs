//! The data key of shared tokens, as KMS has encrypted it, beside the records: no transaction has it, and the change feed
//! says nothing of it.
//!
//! | `pk` | `sk` | further attributes |
//! | --- | --- | --- |
//! | `token-key` | the table's name, a space, the KMS key as it is configured | `data_key` B, what KMS made of it; `kms_key` S, the ARN of the KMS key; `make_time` S |
//!
//! The sort key lets brokers that are being given another KMS key, one after the other, keep one for each; and a table that
//! was restored under another name begins anew, since KMS opens nothing of the old name there. Never rename an attribute. An
//! item whose `data_key` is something else is an error: nobody knows whose it is.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::items::{self, Item, Unreadable};
use super::table::{Table, asking, broken};
use crate::broker::ports::{KeptKey, PortResult};

const DATA_KEY: &str = "token-key";
/// No word that DynamoDB keeps for itself, as `wrapped` is.
const WRAPPED: &str = "data_key";
const KMS_KEY: &str = "kms_key";
const MAKE_TIME: &str = "make_time";

/// What is kept for this KMS key.
pub async fn kept(table: &Table, kms_key: &str) -> PortResult<Option<KeptKey>> {
    let asking = asking("look for the data key of shared tokens");
    let found = table.get(asking, key(&table.name, kms_key)).await?;
    found.as_ref().map(kept_of).transpose().map_err(broken(asking))
}

/// Keeps `made` in the place of `seen`, or of none; Conflict where something else is there.
pub async fn keep(table: &Table, kms_key: &str, seen: Option<&KeptKey>, made: &KeptKey) -> PortResult<()> {
    let (condition, value) = match seen {
        Some(seen) => (format!("{WRAPPED} = :seen"), Some((":seen".to_owned(), bytes(&seen.wrapped)))),
        None => (format!("attribute_not_exists({WRAPPED})"), None),
    };
    let item = written(&table.name, kms_key, made);
    table.put(asking("keep the data key of shared tokens"), item, condition, value.into_iter().collect()).await
}

fn key(table: &str, kms_key: &str) -> Item {
    items::key(DATA_KEY, format!("{table} {kms_key}"))
}

fn written(table: &str, kms_key: &str, made: &KeptKey) -> Item {
    let mut item = key(table, kms_key);
    let mut set = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
    set(WRAPPED, bytes(&made.wrapped));
    set(KMS_KEY, items::text(&made.wrapping_key));
    set(MAKE_TIME, items::text(items::text_of(made.make_time)));
    item
}

/// What lacks the rest cannot be opened and is old: another takes its place.
fn kept_of(item: &Item) -> Result<KeptKey, Unreadable> {
    Ok(KeptKey {
        wrapped: items::bytes_at(item, WRAPPED).ok_or(Unreadable("data key"))?.to_vec(),
        wrapping_key: items::text_at(item, KMS_KEY).unwrap_or_default().to_owned(),
        make_time: items::time_at(item, MAKE_TIME).unwrap_or(Timestamp::UNIX_EPOCH),
    })
}

fn bytes(value: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_what_is_something_else_is_not() {
        let make_time = Timestamp::new(1_800_000_000, 7).expect("in range");
        let made = KeptKey { wrapped: vec![0, 255], wrapping_key: "arn:aws:kms:key".to_owned(), make_time };
        let mut item = written("keyward", "alias/keyward", &made);
        assert_eq!((&item["pk"], &item["sk"]), (&items::text("token-key"), &items::text("keyward alias/keyward")));
        assert_eq!(kept_of(&item), Ok(made.clone()));
        item.remove(MAKE_TIME);
        item.insert(KMS_KEY.to_owned(), AttributeValue::Bool(true));
        let without = KeptKey { wrapping_key: String::new(), make_time: Timestamp::UNIX_EPOCH, wrapped: made.wrapped };
        assert_eq!(kept_of(&item), Ok(without));
        item.insert(WRAPPED.to_owned(), items::text("AP8="));
        assert_eq!(kept_of(&item), Err(Unreadable("data key")));
    }
}
