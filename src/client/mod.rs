//! For Rust services: a token that is always fresh, and verification without a call.
//!
//! Built with the feature `client` alone, the crate has this module, the contract and the domain's rules, and neither AWS nor
//! the server. [`TokenSource`] follows `WatchToken` and holds one token; [`Verifier`] follows `WatchTrust` and holds what
//! verification looks at. Both reconnect by themselves, for as long as a clone of them lives, and end with the last one. Each
//! has a [tower] layer: [`BearerLayer`] for requests that go out, [`VerifyLayer`] for those that come in.
//!
//! It must never:
//!
//! - **let a token into a log, an error or a `Debug`.** What is logged is how a stream ended, in the broker's words.
//! - **guess.** A token that is expired is not handed out, and one of which nobody can tell is not called good; nor is it
//!   called bad: [`NotVerified`] tells the two apart, and so does the layer (401 and 503).
//! - **judge by other rules than the broker.** They are the domain's, and the same code.
//!
//! It needs a Tokio runtime. What it holds is bounded: a token for each source; for a verifier what the platform has, up to
//! [`VerifierOptions::max_entries`]. A message of the broker is read up to tonic's 4 MiB.

mod backoff;
mod bearer;
mod connection;
mod following;
mod guard;
mod keys;
mod token;
mod token_source;
mod trusted;
mod verifier;
mod wire;

pub use bearer::{Bearer, BearerLayer};
pub use connection::Connection;
pub use guard::{Verify, VerifyLayer};
pub use token::Token;
pub use token_source::{NoToken, TokenRequest, TokenSource};
pub use verifier::{CannotTell, Demand, Identity, NotVerified, Verifier, VerifierOptions};

pub use crate::domain::claims::{Claims, Rejection, Rule};
pub use crate::domain::id::{ClientName, TenantId};
pub use crate::domain::scope::{Scope, ScopeSet};

use std::sync::Arc;

use jiff::Timestamp;

/// The time of day. Anything that compares a token's times with it is given it as an argument, or this.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The system's clock.
#[expect(clippy::disallowed_methods, reason = "the one place where this module looks at a clock")]
fn system_time() -> Now {
    Arc::new(Timestamp::now)
}
