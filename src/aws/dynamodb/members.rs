//! The brokers that live: an item for each, beside the registry's and none of its transactions.
//!
//! Each broker writes its own alone, so no two get in each other's way. An item of a broker that has crashed stays until
//! DynamoDB deletes it, some time after its `ttl`; nobody counts it by then.

use aws_sdk_dynamodb::types::TransactWriteItem;

use super::items;
use super::table::{Range, Sent, Table, asking, broken, is_absent};
use super::transaction::{deleted, put, written};
use super::writing::token;
use crate::broker::ports::{Fault, PortResult};
use crate::domain::id::BrokerId;
use crate::domain::share::Member;

/// How long after its expiry an item may be deleted: far later than anybody counts it.
const TTL_SECONDS: i64 = 3_600;

pub async fn beat(table: &Table, member: &Member) -> PortResult<()> {
    let expires = items::member_item(member, member.expire_time.as_second().saturating_add(TTL_SECONDS));
    let is_older = format!("{} OR {} < :expire_time", is_absent(), items::EXPIRE_TIME);
    let expire_time = items::text(items::text_of(member.expire_time));
    let put = put(&table.name, expires).condition_expression(is_older);
    send(table, "say that the broker lives", written(put.expression_attribute_values(":expire_time", expire_time)))
        .await
}

pub async fn leave(table: &Table, broker: &BrokerId) -> PortResult<()> {
    let item = deleted(&table.name, items::key(items::MEMBERS, broker.as_str()));
    send(table, "take the broker out of the members", item).await
}

pub async fn all(table: &Table) -> PortResult<Vec<Member>> {
    let asking = asking("read the members");
    let range = Range { pk: items::MEMBERS.to_owned(), prefix: "", after: None, limit: usize::MAX };
    let found = table.query(asking, range).await?;
    found.iter().map(items::member_of).collect::<Result<_, _>>().map_err(broken(asking))
}

/// One item. A transaction, so that the permissions of the registry are enough.
async fn send(table: &Table, doing: &'static str, item: TransactWriteItem) -> PortResult<()> {
    let asking = asking(doing);
    let token = token().ok_or_else(|| asking.error(Fault::Unavailable, "the system gives no random bytes"))?;
    match table.transact(asking, vec![item], &token).await? {
        Sent::Done => Ok(()),
        Sent::Cancelled(reasons) => {
            let is_refused = reasons.iter().any(|reason| reason.code() == Some("ConditionalCheckFailed"));
            let fault = if is_refused { Fault::Conflict } else { Fault::Throttled };
            Err(asking.error(fault, "the item of the broker was not written"))
        }
    }
}
