//! What a caller of `GetToken` notices of work behind it, and what much costs.
//!
//! `cargo bench --bench background` starts the daemon in a process of its own. Another process asks it for tokens that are
//! held, at a steady rate, in windows: quiet ones, and in turn with them windows in which a fleet is rotated, tokens are
//! refreshed, and tokens are revoked, as fast as the daemon can. Then it looks at the memory that tokens take, and at the
//! same daemon with a thousand clients and with a million. Everything is compared within one run.

#[path = "../../tests/suite/harness"]
#[allow(dead_code, reason = "the tests use the rest")]
mod harness {
    mod calls;

    pub use calls::{connect, create_tenant, put_api};
}
#[path = "../calls/daemon.rs"]
mod daemon;
mod fleet;
#[path = "../calls/load.rs"]
#[allow(dead_code, reason = "the other bench program uses the rest")]
mod load;
mod many;
#[path = "../calls/server.rs"]
mod server;
mod steady;
mod windows;

/// What was measured, beside what it may be.
pub struct Figure {
    what: String,
    measured: f64,
    at_most: Option<f64>,
    unit: &'static str,
}

impl Figure {
    pub fn new(what: impl Into<String>, measured: f64, unit: &'static str) -> Self {
        Figure { what: what.into(), measured, at_most: None, unit }
    }

    pub fn at_most(self, limit: f64) -> Self {
        Figure { at_most: Some(limit), ..self }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|argument| argument == "steady") {
        let asked = steady::run(&serde_json::from_str(&arguments[2]).expect("an order"));
        println!("{}", serde_json::to_string(&asked).expect("JSON"));
        return;
    }
    // `cargo bench --bench background -- many` is the last part alone, `hits` all but that.
    let is_wanted = |part: &str| {
        let mut named = arguments.iter().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
        named.peek().is_none() || named.any(|argument| argument == part)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let figures = runtime.block_on(async {
        let mut figures = Vec::new();
        let fleet = if is_wanted("hits") { Some(fleet::Fleet::start().await) } else { None };
        if let Some(fleet) = &fleet {
            figures.extend(fleet.memory().await);
            figures.extend(fleet.rotations_and_revocations().await);
        }
        // Meanwhile the fleet's tokens grow older.
        if is_wanted("many") {
            figures.extend(many::compare().await);
        }
        if let Some(fleet) = &fleet {
            figures.extend(fleet.refreshes().await);
        }
        figures
    });
    print(figures);
}

fn print(figures: Vec<Figure>) {
    println!("\n{:<72} {:>9} {:>12}", "figure", "at most", "measured");
    for Figure { what, measured, at_most, unit } in figures {
        let limit = at_most.map(|limit| limit.to_string()).unwrap_or_default();
        let is_missed = at_most.is_some_and(|limit| measured > limit);
        let decimals = if measured < 100.0 { 2 } else { 0 };
        println!("{what:<72} {limit:>9} {measured:>12.decimals$} {unit}{}", if is_missed { "  missed" } else { "" });
    }
}
