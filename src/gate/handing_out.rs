//! Tokens and secrets on their way out: each is put on record in the audit file, where there is one, before it leaves.

use std::sync::Arc;
use std::time::Duration;

use super::Gate;
use crate::audit_file::HandedOut;
use crate::broker::Basis;
use crate::domain::audit::Call;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::ClientName;
use crate::domain::scope::ScopeSet;
use crate::domain::token::AccessToken;

/// Tokens that are put on record for one call while changes of the client make them void.
const ATTEMPTS: usize = 4;

/// A token that is asked for. Without scopes, all of the client's are meant.
pub struct Wanted {
    pub client: ClientName,
    pub scopes: ScopeSet,
    pub min_remaining: Duration,
}

impl Gate {
    /// The token that is wanted, on record. Costs nothing where there is no audit file. `basis` gets what the answer stands
    /// on: nothing where each token is put on record.
    pub async fn token(&self, call: &Call, wanted: &Wanted, basis: &mut Basis) -> Result<Arc<AccessToken>> {
        match self.audit_file {
            None => self.broker.tokens.get_for(&wanted.client, &wanted.scopes, wanted.min_remaining, basis).await,
            Some(_) => {
                basis.never_again();
                Box::pin(self.put_on_record(call, wanted, basis)).await
            }
        }
    }

    async fn put_on_record(&self, call: &Call, wanted: &Wanted, basis: &mut Basis) -> Result<Arc<AccessToken>> {
        let (tokens, Wanted { client, scopes, min_remaining }) = (&self.broker.tokens, wanted);
        for _ in 0..ATTEMPTS {
            let since = tokens.stamp(client, scopes).await?;
            let token = tokens.get_for(client, scopes, *min_remaining, basis).await?;
            self.record_token(call, client, &token).await?;
            // A suspension or a revocation may have come while the disk was waited for, and been answered.
            if tokens.may_leave(client, scopes, &since, &token).await? {
                return Ok(token);
            }
        }
        let message = format!("changes of {} keep overtaking its token", wanted.client);
        Err(Error::unavailable(Reason::UpstreamUnavailable, message, Duration::from_secs(1)))
    }

    /// The same for the next token of a stream; `None` when it is void already, and the stream has another to come.
    pub async fn next_token(
        &self,
        call: &Call,
        wanted: &Wanted,
        token: Arc<AccessToken>,
    ) -> Result<Option<Arc<AccessToken>>> {
        if self.audit_file.is_none() {
            return Ok(Some(token));
        }
        self.record_token(call, &wanted.client, &token).await?;
        let now = self.broker.tokens.get(&wanted.client, &wanted.scopes, Duration::ZERO).await?;
        Ok((now.expose() == token.expose()).then_some(token))
    }

    async fn record_token(&self, call: &Call, client: &ClientName, token: &AccessToken) -> Result<()> {
        let Some(file) = &self.audit_file else { return Ok(()) };
        let scopes = token.scopes.iter().map(ToString::to_string).collect();
        let event = self.broker.audit.event(call, client);
        file.hand_out(HandedOut { event, scopes, expire_time: Some(token.expire_time) }).await
    }

    /// Puts on record that the secret of `client` leaves, and why.
    pub async fn record_secret(&self, call: &Call, client: &ClientName, reason: &str) -> Result<()> {
        let Some(file) = &self.audit_file else { return Ok(()) };
        let event = self.broker.audit.event(call, client).detail(reason);
        file.hand_out(HandedOut { event, scopes: Vec::new(), expire_time: None }).await
    }
}
