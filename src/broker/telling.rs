//! What the broker tells of itself: each metric with its meaning, as README has it.

pub(super) mod survey;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Broker;
use super::counting::{Counting, FLEET_OUTCOMES, TASKS};
use super::ports::ENDS;
use crate::counts::{Sheet, Told};
use crate::domain::claims::Rule;
use survey::{Seen, quantile};

/// Issuers whose keys are looked at.
const LOOKED_AT: usize = 1_000;
const QUANTILES: [(&str, f64); 4] = [("0", 0.0), ("0.5", 0.5), ("0.9", 0.9), ("1", 1.0)];
/// What a millionth of a dollar is.
const MICRO: f64 = 1e-6;

impl Told for Broker {
    fn tell(&self, sheet: &mut Sheet) {
        tokens(&self.counting, sheet);
        verdicts(&self.counting, sheet);
        journals(&self.counting, sheet);
        self.keys(sheet);
        self.feed(sheet);
        tenants(&self.counting, sheet);
    }
}

impl Broker {
    /// What is to be done next. Not a part of what it [tells](Told) from memory, since it may have to be read: 30 s may pass
    /// before it is read anew. Where it cannot be read within two seconds nothing is told of it.
    pub async fn tell_of_schedule(&self, sheet: &mut Sheet) {
        let now = self.world.now();
        if let Some(seen) = self.survey.look(&self.world.records, now).await {
            schedule(&seen, now, sheet);
        }
    }

    fn keys(&self, sheet: &mut Sheet) {
        let ages = sheet.gauge(
            "keyward_signing_key_age_seconds",
            "How long ago the keys in memory were last read from their issuers, by quantile, of at most 1,000 issuers",
        );
        let now = self.world.now();
        let mut read = self.verifier.keys_read(LOOKED_AT);
        // The newest first, as their ages are to rise.
        read.sort_by(|one, other| other.cmp(one));
        for (label, of) in QUANTILES {
            if let Some(time) = quantile(&read, of) {
                ages.number(&[("quantile", label)], seconds(now.duration_since(time)));
            }
        }
    }

    fn feed(&self, sheet: &mut Sheet) {
        let feed = self.hearing();
        let limit = feed.as_ref().map_or(Duration::ZERO, |feed| feed.verdicts_for);
        let delay = sheet.gauge(
            "keyward_revocation_delay_limit_seconds",
            "The longest from a revocation or a suspension, at whichever broker, until this one refuses what it is about",
        );
        delay.number(&[], limit.as_secs_f64());
        let Some(feed) = feed else { return };
        let silence = sheet.gauge(
            "keyward_feed_silence_seconds",
            "How long ago the last look at the changes of other brokers began that succeeded",
        );
        silence.number(&[], feed.silence.as_secs_f64());
        let held = sheet.gauge(
            "keyward_held_token_limit_seconds",
            "The silence after which this broker hands out no token that it holds",
        );
        held.number(&[], feed.tokens_for.as_secs_f64());
    }
}

fn tokens(counting: &Counting, sheet: &mut Sheet) {
    let fetched = counting.fetched();
    let (hits, misses, streamed) = (counting.hits.get(), counting.misses.get(), counting.streamed.get());
    // It may be below zero: new secrets are tried by fetching a token that nobody gets.
    let saved = (hits + misses + streamed) as f64 - fetched as f64;
    let price = counting.token_price as f64 * MICRO;
    sheet
        .counter(
            "keyward_token_requests_total",
            "Tokens handed out: held (hit), after a fetch was waited for (miss), by WatchToken (watch)",
        )
        .count(&[("outcome", "hit")], hits)
        .count(&[("outcome", "miss")], misses)
        .count(&[("outcome", "watch")], streamed);
    let fetches = sheet.counter(
        "keyward_token_fetches_total",
        "Calls of the token endpoint by how they ended; each OK is a token that is paid for, those that prove secrets too",
    );
    fetches.count(&[("outcome", ENDS[0])], fetched);
    for (place, count) in counting.fetches.counted().filter(|(place, _)| *place > 0) {
        fetches.count(&[("outcome", ENDS[place])], count);
    }
    let shared = sheet
        .counter("keyward_token_fetches_shared_total", "Tokens that were not fetched since another broker had done so");
    shared.count(&[], counting.shared.get());
    let fetches_saved = sheet.gauge(
        "keyward_token_fetches_saved",
        "Tokens handed out less tokens fetched since the start: fetches that callers without a broker would have made",
    );
    fetches_saved.number(&[], saved);
    sheet.gauge("keyward_token_price_usd", "The price of one token, as configured").number(&[], price);
    sheet
        .counter("keyward_token_spent_usd_total", "The price of the tokens that were fetched")
        .number(&[], fetched as f64 * price);
    sheet
        .gauge("keyward_token_saved_usd", "The price of the fetches that were saved since the start")
        .number(&[], saved * price);
}

fn verdicts(counting: &Counting, sheet: &mut Sheet) {
    let verdicts =
        sheet.counter("keyward_verdicts_total", "Answers of VerifyToken and VerifyTokens; rejections by reason");
    verdicts.count(&[("verdict", "verified")], counting.verified.get());
    for (rule, count) in Rule::ALL.iter().zip(0..).map(|(rule, place)| (rule, counting.rejected.get(place))) {
        verdicts.count(&[("verdict", "rejected"), ("reason", rule.as_str())], count);
    }
}

fn journals(counting: &Counting, sheet: &mut Sheet) {
    let runs = sheet.counter(
        "keyward_journal_runs_total",
        "Runs of journals by what they carry on; a run that failed is taken up again after a wait",
    );
    for (place, task) in TASKS.iter().enumerate() {
        runs.count(&[("task", task), ("outcome", "done")], counting.runs_done.get(place));
        runs.count(&[("task", task), ("outcome", "failed")], counting.runs_failed.get(place));
    }
    let seen_to = sheet.counter(
        "keyward_fleet_clients_total",
        "Clients that RotateClientSecrets has seen to: promoted, failed (begun, and tried again), skipped (not begun)",
    );
    for (place, outcome) in FLEET_OUTCOMES.iter().enumerate() {
        seen_to.count(&[("outcome", outcome)], counting.seen_to.get(place));
    }
}

fn tenants(counting: &Counting, sheet: &mut Sheet) {
    if counting.tenants.is_empty() {
        return;
    }
    let fetches = sheet.counter(
        "keyward_tenant_token_fetches_total",
        "Tokens fetched for the tenants that status.tenants names, and for no others",
    );
    for (tenant, count) in &counting.tenants {
        fetches.count(&[("tenant", tenant.as_str())], count.get());
    }
}

fn schedule(seen: &Seen, now: Timestamp, sheet: &mut Sheet) {
    let next = sheet.gauge(
        "keyward_next_rotation_seconds",
        "Time to the next scheduled rotations, by quantile, of the 500 that are due first; below zero: overdue",
    );
    for (label, of) in QUANTILES {
        if let Some(time) = quantile(&seen.rotations, of) {
            next.number(&[("quantile", label)], seconds(time.duration_since(now)));
        }
    }
    let overdue = sheet.gauge(
        "keyward_work_overdue_seconds",
        "How long the journal waits that should have been carried on first; 0 where none is late",
    );
    let late = seen.oldest_work.map_or(0.0, |time| seconds(now.duration_since(time)));
    overdue.number(&[], late.max(0.0));
}

fn seconds(duration: SignedDuration) -> f64 {
    duration.as_secs_f64()
}
