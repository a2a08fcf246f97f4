//! Revocation, which Cognito does not offer for client-credentials tokens and so is decided here.

pub(super) mod revoked_tokens;

use std::sync::Arc;

use jiff::Timestamp;

use super::api::{NewRevocation, NewRevocationTarget};
use super::records::shelves::client_key;
use super::records::{Change, Versioned};
use super::verifier::Verifier;
use super::world::{Asked, World, timed_id};
use crate::domain::audit::Call;
use crate::domain::client::{Client, MAX_TOKEN_VALIDITY};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::RevocationId;
use crate::domain::revocation::{Revocation, RevocationTarget, RevokedToken, TokenId};
use crate::domain::tenant::Tenant;

pub struct Revocations {
    world: Arc<World>,
    verifier: Arc<Verifier>,
}

impl Revocations {
    pub fn new(world: Arc<World>, verifier: Arc<Verifier>) -> Self {
        Revocations { world, verifier }
    }

    /// Refuses tokens from the moment this answers. What is revoked stays so: there is no way back.
    pub async fn revoke(&self, call: &Call, new: NewRevocation) -> Result<Revocation> {
        self.world.settle(call, || self.try_revoke(call, &new)).await
    }

    async fn try_revoke(&self, call: &Call, new: &NewRevocation) -> Result<Revocation> {
        let receipt = match self.world.asked(call).await? {
            Asked::Afresh(receipt) => receipt,
            Asked::Again { resource, .. } => {
                let id = resource.strip_prefix("revocations/").unwrap_or_default();
                let known: Option<Versioned<Revocation>> = self.world.records.get(id).await?;
                return known.map(|known| known.value).ok_or_else(|| Error::not_found(resource));
            }
        };
        let now = self.world.now();
        let issued_before = new.issued_before.unwrap_or(now);
        if issued_before > now {
            return Err(Error::invalid("issued_before", "must not be in the future"));
        }
        let leeway = self.world.settings.verification.leeway;
        let mut revocation = Revocation {
            id: RevocationId::parse("revocation", &timed_id("v", now)?)?,
            target: RevocationTarget::Token(TokenId::parse("token_id", "-")?),
            issuer: None,
            issued_before: None,
            reason: new.reason.clone(),
            create_time: now,
            // No token issued before it lives longer.
            expire_time: issued_before + MAX_TOKEN_VALIDITY + leeway,
        };
        // The event is found where people look for it: by the client or the tenant, where there is one.
        let about = match &new.target {
            NewRevocationTarget::Client(name) => name.to_string(),
            NewRevocationTarget::Tenant(id) => id.name(),
            NewRevocationTarget::TokenId(_) | NewRevocationTarget::Token(_) => revocation.id.name(),
        };
        let event = call.event(now, about).detail(&new.reason);
        let mut change = Change::because(event);
        match &new.target {
            NewRevocationTarget::TokenId(token) => {
                revocation.target = RevocationTarget::Token(token.clone());
                change = self.revoke_token(change, &revocation, token).await?;
            }
            NewRevocationTarget::Token(token) => {
                let claims = self
                    .verifier
                    .believe_own(token)
                    .await?
                    .map_err(|rejection| Error::invalid_because(Reason::TokenInvalid, "token", rejection.detail))?;
                let token_id = claims.token_id.clone().ok_or_else(|| {
                    Error::invalid_because(Reason::TokenInvalid, "token", "it has no jti by which it could be revoked")
                })?;
                revocation.target = RevocationTarget::Token(token_id.clone());
                revocation.issuer = Some(claims.issuer.clone());
                revocation.expire_time = claims.expire_time.saturating_add(leeway).unwrap_or(Timestamp::MAX);
                change = self.revoke_token(change, &revocation, &token_id).await?;
            }
            NewRevocationTarget::Client(name) => {
                let client: Option<Versioned<Client>> = self.world.records.get(&client_key(name)).await?;
                let client = client.ok_or_else(|| Error::not_found(name))?;
                let revoked_before = client.revoked_before.max(Some(issued_before));
                let record = Client { revoked_before, ..client.value.clone() };
                revocation.target = RevocationTarget::Client(name.clone());
                revocation.issued_before = Some(issued_before);
                change = change.update(client.version, &record);
            }
            NewRevocationTarget::Tenant(id) => {
                let tenant: Option<Versioned<Tenant>> = self.world.records.get(id.as_str()).await?;
                let tenant = tenant.ok_or_else(|| Error::not_found(id.name()))?;
                tenant.check_not_deleting()?;
                let revoked_before = tenant.revoked_before.max(Some(issued_before));
                let record = Tenant { revoked_before, ..tenant.value.clone() };
                revocation.target = RevocationTarget::Tenant(id.clone());
                revocation.issued_before = Some(issued_before);
                change = change.update(tenant.version, &record);
            }
        }
        self.world.records.commit(receipt.file(change.create(&revocation), revocation.id.name())).await?;
        Ok(revocation)
    }

    async fn revoke_token(&self, change: Change, revocation: &Revocation, token: &TokenId) -> Result<Change> {
        let seen: Option<Versioned<RevokedToken>> = self.world.records.get(token.as_str()).await?;
        // A bare id counts for every issuer, and goes on to when it is made narrower.
        let issuer = match &seen {
            Some(seen) if seen.issuer != revocation.issuer => None,
            _ => revocation.issuer.clone(),
        };
        let expire_time =
            seen.as_ref().map_or(revocation.expire_time, |seen| seen.expire_time.max(revocation.expire_time));
        let record = RevokedToken { token: token.clone(), issuer, revocation: revocation.id.clone(), expire_time };
        self.world.revoked_tokens.note(token, expire_time, self.world.now());
        Ok(change.put(&record, seen.map(|seen| seen.version)))
    }
}
