//! A token that is always fresh: a stream that gives the next one whenever the last is about to age.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, stream};

use super::Tokens;
use crate::broker::basis::Basis;
use crate::domain::error::Result;
use crate::domain::id::ClientName;
use crate::domain::scope::ScopeSet;
use crate::domain::token::AccessToken;

impl Tokens {
    /// The token, then each of its successors. While a fetch fails nothing is sent, as long as the last token is
    /// valid. The stream ends with an error once there is no valid token, or may be none: the tenant is suspended, the
    /// client deleted.
    pub fn watch(
        self: &Arc<Self>,
        name: ClientName,
        scopes: ScopeSet,
        min_remaining: Duration,
    ) -> BoxStream<'static, Result<Arc<AccessToken>>> {
        let start = Watching { tokens: self.clone(), name, scopes, min_remaining, last: None };
        stream::unfold(Some(start), |watching| async {
            let mut watching = watching?;
            match watching.next().await {
                Ok(token) => {
                    watching.last = Some(token.clone());
                    watching.tokens.world.counting.streamed.add(1);
                    Some((Ok(token), Some(watching)))
                }
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }
}

struct Watching {
    tokens: Arc<Tokens>,
    name: ClientName,
    scopes: ScopeSet,
    min_remaining: Duration,
    last: Option<Arc<AccessToken>>,
}

impl Watching {
    /// The first token that is not the last one.
    async fn next(&mut self) -> Result<Arc<AccessToken>> {
        let world = self.tokens.world.clone();
        let mut changes = world.records.watch_tenant(&self.name.tenant);
        let mut revocations = world.records.watch_revocations();
        loop {
            let admission = self.tokens.admit(&self.name, &self.scopes, &mut Basis::default()).await?;
            let got = self.tokens.get(&self.name, &self.scopes, self.min_remaining).await;
            let now = world.now();
            let wake = match (&got, &self.last) {
                (Ok(token), None) => return Ok(token.clone()),
                (Ok(token), Some(last)) if token.expose() != last.expose() => return Ok(token.clone()),
                (Ok(token), Some(_)) => {
                    let renewal = Tokens::renewal_time(&admission, token, self.min_remaining);
                    if now >= renewal {
                        // It ages. Wait for the fetch that is under way, or for the end of a failure's pause.
                        let held = self.tokens.held(&admission);
                        match self.tokens.fetch(&held, &admission, self.min_remaining) {
                            Ok(flight) => {
                                let _ = flight.await;
                                continue;
                            }
                            Err(error) => now + error.retry_delay().unwrap_or(PAUSE),
                        }
                    } else {
                        renewal
                    }
                }
                (Err(error), Some(last)) if error.kind().retryable() && now < last.expire_time => {
                    (now + error.retry_delay().unwrap_or(PAUSE)).min(last.expire_time)
                }
                (Err(error), _) => return Err(error.clone()),
            };
            tokio::select! {
                () = world.clock.sleep_until(wake) => {}
                _ = changes.changed().map(drop) => {}
                _ = revocations.changed().map(drop) => {}
            }
        }
    }
}

/// Between attempts whose error names no time.
const PAUSE: Duration = Duration::from_secs(1);
