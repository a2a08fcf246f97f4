//! The resource policy of a secret: which principals of a tenant may read it by themselves.
//!
//! The policy is wholly ours, so that exactly these can. Somebody in another account also needs the right to decrypt
//! with the secret's KMS key, which only a key of one's own can give.

use std::collections::BTreeSet;

use serde_json::{Value, json};

const ACTIONS: [&str; 2] = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"];

/// The policy for these readers; `None` when there are none.
pub(super) fn policy_of(readers: &[String]) -> Option<String> {
    let readers: BTreeSet<_> = readers.iter().collect();
    if readers.is_empty() {
        return None;
    }
    let statement = json!({
        "Sid": "KeywardReaders",
        "Effect": "Allow",
        "Principal": { "AWS": readers },
        "Action": ACTIONS,
        "Resource": "*",
    });
    Some(json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string())
}

/// Whether `policy`, as IAM gives it back, says the same as [`policy_of`] these readers: IAM may write a list of one as
/// its member, and lists in any order.
pub(super) fn says(policy: &str, readers: &[String]) -> bool {
    let Some(wanted) = policy_of(readers) else { return false };
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok().map(canonical);
    parse(policy) == parse(&wanted)
}

/// Every list sorted, and a list of one its member.
fn canonical(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<_> = items.into_iter().map(canonical).collect();
            items.sort_by_key(Value::to_string);
            if items.len() == 1 { items.remove(0) } else { Value::Array(items) }
        }
        Value::Object(members) => members.into_iter().map(|(key, member)| (key, canonical(member))).collect(),
        other => other,
    }
}
