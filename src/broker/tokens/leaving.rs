//! Whether a token that is to be handed out may still be, when something else had to be waited for first.

use super::Tokens;
use super::held::Stamp;
use crate::broker::basis::Basis;
use crate::domain::error::Result;
use crate::domain::id::ClientName;
use crate::domain::scope::ScopeSet;
use crate::domain::token::AccessToken;

impl Tokens {
    /// Of which moment in the life of the client a token would be that is handed out now.
    pub async fn stamp(&self, name: &ClientName, scopes: &ScopeSet) -> Result<Stamp> {
        Ok(self.admit(name, scopes, &mut Basis::default()).await?.stamp)
    }

    /// Whether a token that was handed out since that moment may still be.
    pub async fn may_leave(
        &self,
        name: &ClientName,
        scopes: &ScopeSet,
        since: &Stamp,
        token: &AccessToken,
    ) -> Result<bool> {
        Ok(self.stamp(name, scopes).await? == *since && !self.is_revoked(token).await?)
    }
}
