//! Verification without a call: by what `WatchTrust` has sent, and only while that is fresh.
//!
//! A token is judged in memory. The broker is asked in one case alone: the issuer is known and the token's `kid` is not, as
//! when an issuer has begun to sign with a new key (see `keys.rs`).
//!
//! It fails closed. What was sent counts until the broker's `fresh_until`, by the clock here and, since clocks are set, also
//! by the time that has passed here since it came. After that nothing is verified or rejected that needs it, until the
//! stream is there again. A clock here that is ahead of the broker's by more than `verification.max_staleness` so verifies
//! nothing; one that is behind accepts expired tokens for as long, as it would with any verifier.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::connection::{Connection, Task};
use super::keys::{Key, Keys};
use super::trusted::Trusted;
use super::{Now, following, system_time};
use crate::domain::claims::{Claims, Rejection, Unverified};
use crate::domain::id::{ClientName, TenantId};
use crate::domain::scope::ScopeSet;
use crate::domain::trust;

/// How a [`Verifier`] works.
#[derive(Clone)]
pub struct VerifierOptions {
    /// Only these tenants, at most 100, each without `tenants/`; all where there are none. Tokens of others are of an unknown
    /// client then.
    pub tenants: Vec<TenantId>,
    /// The most that is held: issuers, tenants, clients, app clients and revoked tokens together; by reckoning some 150 bytes each. A
    /// platform that has more is one of which nobody can tell.
    pub max_entries: usize,
    /// The time of day.
    pub now: Now,
}

impl Default for VerifierOptions {
    /// All tenants, 4,000,000 entries, the system's clock.
    fn default() -> Self {
        VerifierOptions { tenants: Vec::new(), max_entries: 4_000_000, now: system_time() }
    }
}

/// What is demanded of a token.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    /// It must grant all of these.
    pub scopes: ScopeSet,
    /// It must belong to this tenant.
    pub tenant: Option<TenantId>,
}

impl Demand {
    /// Full scopes such as `orders/read`. Fails for what is no scope, and for more than 50.
    pub fn scopes<S: AsRef<str>>(scopes: &[S]) -> Result<Self, crate::domain::Error> {
        Ok(Demand { scopes: ScopeSet::parse("scopes", scopes)?, tenant: None })
    }
}

/// Whose a token is that has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub client: ClientName,
    pub claims: Arc<Claims>,
}

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotVerified {
    /// It is bad, and this is the first rule that does not hold.
    Rejected(Rejection),
    /// Nobody can tell here and now; the token may be good.
    CannotTell(CannotTell),
}

/// Why nobody can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CannotTell {
    /// The broker has not told everything yet since the start, or does not tell any more.
    Stale {
        /// What keeps it.
        why: String,
    },
    /// The keys of the token's issuer cannot be read now, or nobody can be asked for the one of the token.
    KeysUnavailable,
}

impl From<Rejection> for NotVerified {
    fn from(rejection: Rejection) -> Self {
        NotVerified::Rejected(rejection)
    }
}

impl From<CannotTell> for NotVerified {
    fn from(why: CannotTell) -> Self {
        NotVerified::CannotTell(why)
    }
}

impl fmt::Display for NotVerified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotVerified::Rejected(rejection) => write!(f, "the token is rejected: {}", rejection.detail),
            NotVerified::CannotTell(CannotTell::Stale { why }) => {
                write!(f, "nobody can tell whether the token is good: the broker is not heard ({why})")
            }
            NotVerified::CannotTell(CannotTell::KeysUnavailable) => {
                f.write_str("nobody can tell whether the token is good: the keys of its issuer cannot be read")
            }
        }
    }
}

impl std::error::Error for NotVerified {}

/// Verifies tokens. Cheap to clone; the stream ends with the last clone.
#[derive(Clone)]
pub struct Verifier {
    shared: Arc<Shared>,
    _task: Arc<Task>,
}

/// What the verifier and the task behind it have in common.
pub(super) struct Shared {
    pub connection: Connection,
    pub options: VerifierOptions,
    pub keys: Keys,
    view: RwLock<View>,
    /// Counts what was taken in.
    heard: watch::Sender<u64>,
}

/// What was heard so far.
pub(super) struct View {
    pub trusted: Trusted,
    pub leeway: Duration,
    /// Until when it counts; `None` while it is not whole.
    pub fresh: Option<Fresh>,
    /// What keeps it from being fresh, for people.
    pub why: String,
}

#[derive(Clone, Copy)]
pub(super) struct Fresh {
    /// By the broker's clock.
    pub until: Timestamp,
    /// The same by what has passed here.
    pub deadline: Instant,
}

impl Verifier {
    /// To be called on a Tokio runtime. It does not wait for the broker: see [`ready`](Verifier::ready).
    pub fn start(connection: Connection, options: VerifierOptions) -> Self {
        let why = "it has told nothing yet".to_owned();
        let view = View { trusted: Trusted::default(), leeway: Duration::ZERO, fresh: None, why };
        let shared = Arc::new(Shared {
            keys: Keys::default(),
            view: RwLock::new(view),
            heard: watch::Sender::new(0),
            connection,
            options,
        });
        let task = tokio::spawn(following::follow(shared.clone()));
        Verifier { shared, _task: Arc::new(Task(task)) }
    }

    /// Returns once tokens can be verified. That is no promise for the moment after.
    pub async fn ready(&self) {
        let mut heard = self.shared.heard.subscribe();
        // The sender is in `shared`.
        while self.shared.read().check_fresh((self.shared.options.now)()).is_err() && heard.changed().await.is_ok() {}
    }

    /// Whether tokens can be verified now.
    pub fn is_ready(&self) -> bool {
        self.shared.read().check_fresh((self.shared.options.now)()).is_ok()
    }

    /// Whose the token is, in the compact form without `Bearer`. It waits for nothing, unless the key is not known: then for 5 s
    /// at the most.
    pub async fn verify(&self, token: &str, demand: &Demand) -> Result<Identity, NotVerified> {
        let token = Unverified::read(token)?;
        let keys = match self.keys_of(&token)? {
            Some(keys) => keys,
            None => {
                let turn = self.shared.keys.look_for(&self.shared, &token);
                turn.await.map_err(|()| CannotTell::KeysUnavailable)?;
                self.keys_of(&token)?.ok_or_else(trust::unknown_key)?
            }
        };
        if !keys.verifies(&token) {
            return Err(trust::bad_signature().into());
        }
        let claims = token.into_claims();
        let now = (self.shared.options.now)();
        let view = self.shared.read();
        view.check_fresh(now)?;
        let client = view.trusted.judge(&claims, demand, view.leeway, now)?;
        Ok(Identity { client, claims: Arc::new(claims) })
    }

    /// The key of the token; `None` where its issuer is known to have none of the token's `kid`.
    fn keys_of(&self, token: &Unverified<'_>) -> Result<Option<Key>, NotVerified> {
        let view = self.shared.read();
        view.check_fresh((self.shared.options.now)())?;
        let issuer = view.trusted.keys(token.issuer()).ok_or_else(trust::unknown_issuer)?;
        let kid = token.kid.as_deref().ok_or_else(trust::no_key_id)?;
        Ok(issuer.keys.contains_key(kid).then(|| Key::new(issuer.keys.clone(), kid)))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("is_ready", &self.is_ready()).finish_non_exhaustive()
    }
}

impl View {
    /// Fails where nobody can tell by it.
    fn check_fresh(&self, now: Timestamp) -> Result<(), CannotTell> {
        match self.fresh {
            Some(fresh) if now < fresh.until && Instant::now() < fresh.deadline => Ok(()),
            _ => Err(CannotTell::Stale { why: self.why.clone() }),
        }
    }
}

impl Shared {
    pub fn read(&self) -> RwLockReadGuard<'_, View> {
        // Whoever panics under it leaves it as it was, or is the task, without which it is stale soon.
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn change(&self, change: impl FnOnce(&mut View)) {
        let mut view: RwLockWriteGuard<'_, View> = self.view.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut view);
        drop(view);
        self.heard.send_modify(|count| *count += 1);
    }

    /// Returns once `is_there`, which is asked whenever something was heard; fails if that takes longer than `limit`.
    pub async fn wait_for(&self, limit: Duration, is_there: impl Fn(&View) -> bool) -> Result<(), ()> {
        let mut heard = self.heard.subscribe();
        let there = async {
            while !is_there(&self.read()) {
                if heard.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(limit, there).await.map_err(drop)
    }
}
