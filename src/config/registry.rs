//! `[registry]`: where the broker's own records are, and the key of the tokens that brokers share there.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::setting::{DAY, MILLI, MINUTE, SECOND, Setting, Value, period, text};

/// `[registry]`: where the broker's own records are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    /// A table of DynamoDB in `aws.region`, which several brokers can share. Absent: SQLite in `data_dir`, for one broker.
    /// With the AWS backend alone.
    pub table: Option<String>,
    /// A file with base64 of 32 bytes, the same for every broker of the table: the key under which they share access tokens
    /// there. Absent: each broker fetches its own.
    pub token_key_file: Option<PathBuf>,
    /// In place of that file: a KMS key by its id, ARN or alias, the same text for every broker of the table. It encrypts the
    /// data key under which they share tokens and which they keep in the table. At most 512 characters.
    pub token_key_kms: Option<String>,
    /// How often a broker on a table asks what other brokers have changed: 50 ms to 5 s.
    #[serde(with = "humantime_serde")]
    pub feed_interval: Duration,
    /// How long after it last heard of changes a broker calls a token good and takes a client's secret: 1 s to 1 min. The
    /// longest that a revocation, a suspension or a rotation takes to be felt at a broker that is cut off from the table.
    #[serde(with = "humantime_serde")]
    pub verdicts_without_feed: Duration,
    /// How long after that it hands out tokens that it holds: `verdicts_without_feed` to 1 d.
    #[serde(with = "humantime_serde")]
    pub tokens_without_feed: Duration,
}

impl Default for Registry {
    fn default() -> Self {
        Registry {
            table: None,
            token_key_file: None,
            token_key_kms: None,
            feed_interval: 250 * MILLI,
            verdicts_without_feed: 5 * SECOND,
            tokens_without_feed: 5 * MINUTE,
        }
    }
}

impl Registry {
    /// What is wrong with the section beyond the limits of each key: the key and the problem.
    pub(super) fn problem(&self) -> Option<(&'static str, &'static str)> {
        let sources = [
            ("registry.token_key_file", self.token_key_file.is_some()),
            ("registry.token_key_kms", self.token_key_kms.is_some()),
        ];
        let set = sources.into_iter().find_map(|(key, is_set)| is_set.then_some(key));
        match set {
            Some(key) if self.table.is_none() => {
                Some((key, "must not be set without registry.table, through which brokers share tokens"))
            }
            Some(_) if sources.iter().all(|(_, is_set)| *is_set) => {
                Some(("registry.token_key_kms", "must not be set beside registry.token_key_file: tokens have one key"))
            }
            _ => None,
        }
    }

    /// Every key of the section, in the order in which they are explained.
    pub(super) fn settings(&self) -> Vec<Setting> {
        let table = self.table.as_ref().map_or(Value::Unset, text);
        let token_key_file = self.token_key_file.as_ref().map_or(Value::Unset, |path| text(path.display()));
        vec![
            Setting::new(
                "registry.table",
                table,
                "The DynamoDB table of the broker's records; else SQLite in data_dir",
            )
            .of("the name of a table: 3 to 255 characters of [a-zA-Z0-9_.-]", is_table),
            Setting::new(
                "registry.feed_interval",
                period(self.feed_interval),
                "How often it is asked what other brokers have changed",
            )
            .lasting(50 * MILLI, 5 * SECOND),
            Setting::new(
                "registry.verdicts_without_feed",
                period(self.verdicts_without_feed),
                "How long without hearing of changes a token is called good, and a client known by its secret",
            )
            .lasting(SECOND, MINUTE),
            Setting::new(
                "registry.tokens_without_feed",
                period(self.tokens_without_feed),
                "How long without hearing of changes held tokens are handed out, not below verdicts_without_feed",
            )
            .lasting(self.verdicts_without_feed.min(DAY), DAY),
            Setting::new(
                "registry.token_key_file",
                token_key_file,
                "Holds base64 of 32 bytes: brokers share tokens under it; else each fetches its own",
            )
            .of("a file", |path| !path.is_empty()),
            Setting::new(
                "registry.token_key_kms",
                self.token_key_kms.as_ref().map_or(Value::Unset, text),
                "In place of that file, a KMS key for the data key of shared tokens, which is kept in the table",
            )
            .of("the id, ARN or alias of a KMS key: 1 to 512 characters without spaces", is_kms_key),
        ]
    }
}

fn is_table(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (3..=255).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// What KMS takes for a key, roughly: it tells by itself whether there is one.
fn is_kms_key(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":/_-".contains(&byte);
    (1..=512).contains(&text.len()) && text.bytes().all(is_allowed)
}
