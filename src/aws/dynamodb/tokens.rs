//! Tokens that brokers keep for each other, beside the records: no transaction has them, and the change feed says nothing
//! of them.
//!
//! | `pk` | `sk` | further attributes |
//! | --- | --- | --- |
//! | `token#tenants/<tenant>/clients/<client>` | a digest, 64 hexadecimal digits | `version` N, `ttl` N; of a token `sealed` B and `key_id` S; of a lease `holder` S, `lease_expires` S and `fence` N |
//!
//! Never rename an attribute. What does not read back counts as absent and is written over: of a saving that cannot be read
//! nothing is lost.

use async_trait::async_trait;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::DynamoDb;
use super::items::{self, Item, TTL, VERSION};
use super::table::asking;
use crate::broker::ports::{PortResult, SealedToken, SeenItem, ShelfItem, TokenPlace, TokenShelf};
use crate::domain::id::BrokerId;
use crate::domain::lease::Lease;

const SEALED: &str = "sealed";
const KEY_ID: &str = "key_id";
const HOLDER: &str = "holder";
const LEASE_EXPIRES: &str = "lease_expires";
const FENCE: &str = "fence";

#[async_trait]
impl TokenShelf for DynamoDb {
    async fn look(&self, place: &TokenPlace) -> PortResult<Option<SeenItem>> {
        let found = self.table.get(asking("look for a shared token"), key(place)).await?;
        Ok(found.as_ref().and_then(seen_of))
    }

    async fn put(&self, place: &TokenPlace, seen: Option<u64>, item: &ShelfItem) -> PortResult<()> {
        let version = seen.unwrap_or(0).saturating_add(1);
        let (condition, value) = match seen {
            Some(seen) => (format!("{VERSION} = :seen"), Some((":seen".to_owned(), items::number(seen)))),
            None => (format!("attribute_not_exists({VERSION})"), None),
        };
        let written = written(place, version, item);
        self.table.put(asking("share a token"), written, condition, value.into_iter().collect()).await
    }
}

fn key(place: &TokenPlace) -> Item {
    items::key(format!("token#{}", place.client), &place.digest)
}

fn written(place: &TokenPlace, version: u64, item: &ShelfItem) -> Item {
    let mut attributes = key(place);
    let mut set = |name: &str, value: AttributeValue| attributes.insert(name.to_owned(), value);
    set(VERSION, items::number(version));
    set(TTL, AttributeValue::N(item.keep_until.as_second().to_string()));
    if let Some(sealed) = &item.sealed {
        set(SEALED, AttributeValue::B(Blob::new(sealed.bytes.as_slice())));
        set(KEY_ID, items::text(&sealed.key_id));
    }
    if let Some(lease) = &item.lease {
        set(HOLDER, items::text(lease.holder.to_string()));
        set(LEASE_EXPIRES, items::text(items::text_of(lease.expire_time)));
        set(FENCE, items::number(lease.fence));
    }
    attributes
}

fn seen_of(item: &Item) -> Option<SeenItem> {
    let version = items::number_at(item, VERSION)?;
    let keep_until = keep_until_of(item).unwrap_or(Timestamp::UNIX_EPOCH);
    Some(SeenItem { version, item: ShelfItem { sealed: sealed_of(item), lease: lease_of(item), keep_until } })
}

fn keep_until_of(item: &Item) -> Option<Timestamp> {
    Timestamp::from_second(item.get(TTL)?.as_n().ok()?.parse().ok()?).ok()
}

fn sealed_of(item: &Item) -> Option<SealedToken> {
    let bytes = items::bytes_at(item, SEALED)?.to_vec();
    Some(SealedToken { key_id: items::text_at(item, KEY_ID)?.to_owned(), bytes })
}

fn lease_of(item: &Item) -> Option<Lease> {
    Some(Lease {
        holder: BrokerId::parse(HOLDER, items::text_at(item, HOLDER)?).ok()?,
        expire_time: items::time_at(item, LEASE_EXPIRES)?,
        fence: items::number_at(item, FENCE)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::ClientName;

    fn place() -> TokenPlace {
        let client = ClientName::parse("name", "tenants/acme/clients/checkout").expect("a name");
        TokenPlace { client, digest: "ab".repeat(32) }
    }

    fn whole() -> ShelfItem {
        let expire_time = Timestamp::new(1_800_000_030, 7).expect("in range");
        let holder = BrokerId::parse("broker", &"0a".repeat(16)).expect("an id");
        ShelfItem {
            sealed: Some(SealedToken { key_id: "k".to_owned(), bytes: vec![0, 255] }),
            lease: Some(Lease { holder, expire_time, fence: 3 }),
            keep_until: Timestamp::from_second(1_800_003_600).expect("in range"),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (sealed, lease) = (whole().sealed, whole().lease.map(|lease| lease.given_up()));
        let items = [
            whole(),
            ShelfItem { sealed: None, ..whole() },
            ShelfItem { lease: None, ..whole() },
            ShelfItem { sealed, lease, ..whole() },
        ];
        for item in items {
            let read = seen_of(&written(&place(), 7, &item)).expect("read");
            assert_eq!((read.version, read.item), (7, item));
        }
        assert_eq!(key(&place())["pk"], items::text("token#tenants/acme/clients/checkout"));
    }

    #[test]
    fn what_lacks_anything_is_no_token_and_no_lease() {
        for (name, token, lease) in [
            (SEALED, false, true),
            (KEY_ID, false, true),
            (HOLDER, true, false),
            (LEASE_EXPIRES, true, false),
            (FENCE, true, false),
        ] {
            let mut item = written(&place(), 7, &whole());
            item.insert(name.to_owned(), AttributeValue::Bool(true));
            let read = seen_of(&item).expect("read").item;
            assert_eq!((read.sealed.is_some(), read.lease.is_some()), (token, lease), "{name}");
        }
        let mut item = written(&place(), 7, &whole());
        item.remove(TTL);
        assert_eq!(seen_of(&item).expect("read").item.keep_until, Timestamp::UNIX_EPOCH);
        item.remove(VERSION);
        assert_eq!(seen_of(&item), None);
    }
}
