//! Which failures there may be: of a broker that something was done to, and with a reason that says so.

use std::collections::BTreeMap;
use std::time::Duration;

use tonic::Code;

use crate::load::{Method, Outcome, Record};
use crate::world::{CALL_TIMEOUT, Kind};

/// How long a trouble is felt after it is over: what waits then is given up, and failures are remembered for a while
/// (`tokens.retry_after_failure`).
const GRACE: Duration = CALL_TIMEOUT.saturating_add(Duration::from_secs(2));

/// How long a new broker may have no share of the quotas: its predecessor, which was killed, is counted until its
/// membership has lapsed, and then the others have to have seen that (`domain/share.rs`).
const SHARELESS: Duration = Duration::from_secs(45);

/// What a broker may answer when this was done to it.
fn reasons(kind: Kind) -> &'static [&'static str] {
    match kind {
        // What it was at when it was stopped has run out of time when it goes on: tries at a transaction, too.
        Kind::Stopped | Kind::Starved => {
            &["REGISTRY_UNAVAILABLE", "UPSTREAM_UNAVAILABLE", "VAULT_UNAVAILABLE", "KEYS_UNAVAILABLE", "THROTTLED"]
        }
        // The second where calls that hang have all places: their turn does not come within `aws.quota_wait`.
        Kind::Table => &["REGISTRY_UNAVAILABLE", "THROTTLED"],
        Kind::Aws => &["UPSTREAM_UNAVAILABLE", "VAULT_UNAVAILABLE", "KEYS_UNAVAILABLE"],
        Kind::Killed | Kind::Started => &[],
    }
}

/// What a change may be refused with whatever was done: others change the same, and it helps to ask again.
const OF_CHANGES: &[&str] = &["CONCURRENT_CHANGE"];

/// Prints what became of the calls, and fails the test for what must not be.
pub fn judge(records: &[Record]) {
    let (mut counts, mut wrong) = (BTreeMap::<(Method, String), usize>::new(), Vec::new());
    for record in records {
        let verdict = judge_one(record);
        let name = match &record.outcome {
            Outcome::Done => "done".to_owned(),
            Outcome::Told { code, reason, .. } => format!("{code:?} {reason}"),
            Outcome::Lost(_) => "the connection's end".to_owned(),
            Outcome::Unanswered => "unanswered".to_owned(),
            Outcome::Wrong(_) => "wrong".to_owned(),
        };
        *counts.entry((record.method, name)).or_default() += 1;
        if !verdict {
            let troubles = record.site.troubles(record.begin, record.end, GRACE);
            let took = (record.end - record.begin).as_secs_f64();
            wrong.push(format!(
                "{:?} at {} ({troubles:?}, {took:.3} s): {}",
                record.method, record.site.name, record.outcome
            ));
        }
    }
    for ((method, outcome), count) in &counts {
        println!("{count:>7} {method:?}: {outcome}");
    }
    for method in [Method::GetToken, Method::VerifyToken, Method::RotateClientSecret] {
        assert!(counts.contains_key(&(method, "done".to_owned())), "no {method:?} was answered");
    }
    let count = wrong.len();
    wrong.truncate(40);
    assert!(count == 0, "{count} calls failed that must not:\n{}", wrong.join("\n"));
}

fn judge_one(record: &Record) -> bool {
    let troubles = record.site.troubles(record.begin, record.end, GRACE);
    match &record.outcome {
        Outcome::Done => true,
        Outcome::Told { code: Code::ResourceExhausted, reason, retry: true, .. }
            if reason == "THROTTLED"
                && record.site.troubles(record.begin, record.end, SHARELESS).contains(&Kind::Started) =>
        {
            true
        }
        Outcome::Told { code: Code::Unavailable | Code::ResourceExhausted, reason, retry, .. } => {
            *retry && troubles.iter().any(|kind| reasons(*kind).contains(&reason.as_str()))
        }
        Outcome::Told { code: Code::Aborted, reason, retry, .. } => {
            *retry && record.method == Method::RotateClientSecret && OF_CHANGES.contains(&reason.as_str())
        }
        Outcome::Told { .. } | Outcome::Wrong(_) => false,
        // Not the broker's answer, but that there was none.
        Outcome::Lost(_) | Outcome::Unanswered => {
            troubles.iter().any(|kind| matches!(kind, Kind::Killed | Kind::Stopped | Kind::Starved))
        }
    }
}
