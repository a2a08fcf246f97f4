//! A plan as people read it: in a terminal, or in Markdown.

use super::model::{Limit, Model, Plan};
use super::prices;

/// What it is of, indented where it is a part of the one above; and each model's.
type Row = (&'static str, String, String);

pub fn plain(plan: &Plan) -> String {
    let mut rows = vec![("", HEADS[0].to_owned(), HEADS[1].to_owned())];
    rows.extend(self::rows(plan));
    let width = |of: fn(&Row) -> usize| rows.iter().map(of).max().unwrap_or(0) + 2;
    let (first, second) = (width(|row| row.0.len()), width(|row| row.1.len()));
    let mut text = format!("{}\n\n", plan.title);
    for (name, shared, own) in &rows {
        text.push_str(&format!("{name:<first$}{shared:<second$}{own}\n"));
    }
    text + "\n" + &notes(plan).join("\n") + "\n"
}

pub fn markdown(plan: &Plan) -> String {
    let mut text = format!("{}:\n\n| | {} | {} |\n| --- | --- | --- |\n", plan.title, HEADS[0], HEADS[1]);
    for (name, shared, own) in rows(plan) {
        text.push_str(&format!("| {} | {shared} | {own} |\n", name.trim_start()));
    }
    text
}

const HEADS: [&str; 2] = ["APP_CLIENT: shared pools", "USER_POOL: a pool for each"];

/// What each model gives, whatever the size of the platform.
const GIVES: [(&str, &str, &str); 5] = [
    ("tenants are kept apart by", "app client", "user pool"),
    ("issuer and keys of tokens", "the pool's, of many tenants", "the tenant's own"),
    ("Region, policies, MFA, domain", "the same for all tenants", "settings of each tenant"),
    ("people's accounts", "in a pool with others'", "in the tenant's pool"),
    ("a native sign-in counts", "an hour, at all tenants", "at its tenant alone"),
];

fn rows(plan: &Plan) -> Vec<Row> {
    let both = |name, of: fn(&Model) -> String| (name, of(&plan.shared), of(&plan.own));
    let mut rows: Vec<Row> = GIVES.map(|(name, shared, own)| (name, shared.to_owned(), own.to_owned())).into();
    rows.extend([
        both("user pools", |model| count(model.user_pools)),
        both("app clients, and secrets", |model| count(model.app_clients)),
        both("tokens fetched a month", |model| count(model.tokens)),
        both("tokens a month without a cache", |model| count(model.tokens_without_cache)),
        both("USD a month", |model| usd(model.usd())),
        both("  for tokens", |model| usd(model.tokens_usd())),
        both("  for secrets, and calls for them", |model| usd(model.secrets_usd())),
        both("  for user pools and app clients", |model| usd(model.pools_usd())),
        both("USD a month for tokens without a cache", |model| usd(model.tokens_usd_without_cache())),
        both("first bound, in one Region", |model| {
            model.limits.first().map_or_else(String::new, |first| first.quota.clone())
        }),
        both("  reached at", |model| model.limits.first().map_or_else(String::new, reached)),
        both("second bound", |model| model.limits.get(1).map_or_else(String::new, |second| second.quota.clone())),
        both("  reached at", |model| model.limits.get(1).map_or_else(String::new, reached)),
        both("onboarding takes", |model| time(model.onboarding.0)),
        both("  bounded by", |model| model.onboarding.1.to_owned()),
    ]);
    rows
}

fn reached(limit: &Limit) -> String {
    match limit.tenants.is_finite() {
        true => format!("{} tenants", count(limit.tenants)),
        false => "never".to_owned(),
    }
}

fn notes(plan: &Plan) -> Vec<String> {
    let mut notes = vec![
        format!(
            "A token costs {:.5} USD, the first tier's price throughout: an upper bound. Brokers that do not",
            plan.shared.token_price
        ),
        "share tokens fetch each for themselves. An app client is counted as".to_owned()
            + &format!(" {} USD: Amazon's pages of", prices::APP_CLIENT),
        "2026 name none, those of 2024 and 2025 6 USD a month. Not counted: people who sign in, KMS keys".to_owned(),
        "of your own, DynamoDB, logs, traffic, the machines that brokers run on.".to_owned(),
    ];
    let is_full = |model: &Model| model.limits.first().is_some_and(|first| plan.tenants > first.tenants);
    for (name, model) in [("APP_CLIENT", &plan.shared), ("USER_POOL", &plan.own)] {
        if is_full(model) {
            notes.push(format!(
                "{name} does not fit into one Region with these quotas: have them raised, or use several."
            ));
        }
    }
    notes
}

/// With commas between thousands.
pub fn count(number: f64) -> String {
    let digits = format!("{:.0}", number.round());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn usd(amount: f64) -> String {
    match amount {
        amount if amount > 0.0 && amount < 10.0 => format!("{amount:.2}"),
        amount => count(amount),
    }
}

/// In the two largest units of seconds.
pub fn time(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    let parts = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let shown: Vec<_> =
        parts.iter().skip_while(|(count, _)| *count == 0).take(2).filter(|(count, _)| *count > 0).collect();
    let shown: Vec<_> = shown.into_iter().map(|(count, unit)| format!("{count} {unit}")).collect();
    if shown.is_empty() { "0 s".to_owned() } else { shown.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0.0, 999.4, 1_000.0, 1_234_567.5].map(count), ["0", "999", "1,000", "1,234,568"]);
        assert_eq!([0.0, 0.05, 12.4].map(usd), ["0", "0.05", "12"]);
        assert_eq!([0.0, 66.6, 3_600.0, 90_061.0].map(time), ["0 s", "1 min 7 s", "1 h", "1 d 1 h"]);
    }
}
