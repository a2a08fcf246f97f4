//! What [`live`](crate::aws::live) tries on a table, and must not change anything there.

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::describe_table::{DescribeTableError, DescribeTableOutput};
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, TransactWriteItem};

use super::items::{self, Item, PK};
use super::opening::problem_of;
use super::transaction::{put, written};
use crate::aws::live::Finding;

pub use super::items::DUE_INDEX;

/// A partition in which nothing is.
const NOWHERE: &str = "check";

pub fn text(value: &str) -> AttributeValue {
    items::text(value)
}

/// The key of an item that is not there.
pub fn nothing(name: &str) -> Item {
    items::key(NOWHERE, name)
}

/// A part of each kind, each on the condition that something is there that is not.
pub fn impossible(table: &str, name: &str) -> Vec<TransactWriteItem> {
    let is_there = is_there();
    let key = |part: &str| nothing(&format!("{name}{part}"));
    let check = ConditionCheck::builder().table_name(table).set_key(Some(key("1"))).condition_expression(&is_there);
    let delete = Delete::builder().table_name(table).set_key(Some(key("2"))).condition_expression(&is_there);
    vec![
        TransactWriteItem::builder().set_condition_check(check.build().ok()).build(),
        TransactWriteItem::builder().set_delete(delete.build().ok()).build(),
        written(put(table, key("3")).condition_expression(&is_there)),
    ]
}

/// That something is there that is not.
pub fn is_there() -> String {
    format!("attribute_exists({PK})")
}

/// What describing a table says of it.
pub fn finding(
    subject: String,
    described: Result<DescribeTableOutput, SdkError<DescribeTableError, HttpResponse>>,
) -> Finding {
    const MEND: &str = "see registry.table, aws.region and deploy/cloudformation.yaml";
    match described {
        Ok(answer) => match answer.table.as_ref().map(problem_of) {
            Some(Ok(())) => Finding::fine(subject, ""),
            Some(Err(problem)) => Finding::missing(subject, format!("{problem}; {MEND}")),
            None => Finding::not_tried(subject, "the answer does not tell"),
        },
        Err(error) if error.code() == Some("ResourceNotFoundException") => {
            Finding::missing(subject, format!("there is no such table; {MEND}"))
        }
        Err(_) => Finding::not_tried(subject, "it cannot be looked at"),
    }
}
