//! Whose token is this, and is it good? An answer, or a failure to tell; never a guess.
//!
//! The rules are checked in the order of `keyward.v1.RejectionReason`, and the first that does not hold is the answer.
//! That a signature verifies never changes, so it is remembered by the digest of the whole token; everything else is
//! looked at anew each time: the clock, whether the key is still published, who owns the app client, suspension,
//! deletion, revocation. Those are lookups in memory, and so no change has to find the verdicts that it makes false.

use std::sync::Arc;

use aws_lc_rs::digest;

use super::api::{Question, Verdict, Verified};
use super::background::Background;
use super::basis::Basis;
use super::keys::Keys;
use super::records::IssuerPool;
use super::shelves::{client_key, owner_key};
use super::world::World;
use crate::domain::claims::{Claims, Rejection, Rule, Unverified};
use crate::domain::client::{Client, ClientState, Owner};
use crate::domain::error::{Error, Result};
use crate::domain::id::Issuer;
use crate::domain::pool::{MadePool, Pool};
use crate::domain::revocation::{RevokedToken, TokenId};
use crate::domain::tenant::{Tenant, TenantState};

pub struct Verifier {
    world: Arc<World>,
    keys: Arc<Keys>,
    believed: moka::sync::Cache<[u8; 32], Arc<Believed>>,
    background: Background,
}

/// A token whose signature has verified.
struct Believed {
    kid: String,
    claims: Arc<Claims>,
}

/// Either an answer (a rejection is one) or a failure to tell.
enum Refusal {
    Rejected(Rejection),
    CannotTell(Error),
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Refusal::Rejected(rejection)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::CannotTell(error)
    }
}

impl Verifier {
    pub fn new(world: Arc<World>, background: Background) -> Self {
        let believed = moka::sync::Cache::builder()
            .max_capacity(world.settings.verification.max_cached)
            // No token lives longer; the clock decides about each one anyway.
            .time_to_live(crate::domain::client::MAX_TOKEN_VALIDITY)
            .build();
        Verifier { keys: Arc::new(Keys::new(world.clone(), background.clone())), believed, background, world }
    }

    /// `basis` gets what the verdict stands on. That a token is refused is judged anew each time.
    pub async fn verify(&self, question: &Question, basis: &mut Basis) -> Result<Verdict> {
        match self.judge(question, basis).await {
            Ok(verified) => Ok(Verdict::Verified(verified)),
            Err(Refusal::Rejected(rejection)) => {
                basis.never_again();
                Ok(Verdict::Rejected(rejection))
            }
            Err(Refusal::CannotTell(error)) => Err(error),
        }
    }

    async fn judge(&self, question: &Question, basis: &mut Basis) -> Result<Verified, Refusal> {
        let claims = self.believe(&question.token, basis).await?;
        let leeway = self.world.settings.verification.leeway;
        claims.check(self.world.now(), leeway)?;
        basis.until(claims.acceptable_until(leeway));
        let owner = self.owner(&claims, question, basis).await?;
        self.check_standing(&claims, &owner, basis).await?;
        if let Some(scope) = question.required_scopes.first_missing_in(&claims.scopes) {
            return Err(Rejection::new(Rule::InsufficientScope, format!("the token lacks {scope}")).into());
        }
        Ok(Verified { client: owner.client.clone(), claims })
    }

    /// The claims of a token that one of our pools has signed.
    pub(super) async fn believe_own(&self, token: &str) -> Result<Result<Arc<Claims>, Rejection>> {
        match self.believe(token, &mut Basis::default()).await {
            Ok(claims) => Ok(Ok(claims)),
            Err(Refusal::Rejected(rejection)) => Ok(Err(rejection)),
            Err(Refusal::CannotTell(error)) => Err(error),
        }
    }

    async fn believe(&self, token: &str, basis: &mut Basis) -> Result<Arc<Claims>, Refusal> {
        let digest = digest_of(token);
        if let Some(believed) = self.believed.get(&digest) {
            let pool = self.pool_of(&believed.claims.issuer, basis).await?;
            let keys = self.keys.of(&pool, &believed.kid, basis).await?;
            if keys.key(&believed.kid).is_some() {
                return Ok(believed.claims.clone());
            }
        }
        // In a box: most tokens were seen before, and need no room for this.
        Box::pin(self.check(token, digest, basis)).await
    }

    /// Whether one of our pools has signed it. Remembered if so, but not what is answered: many a token is seen once.
    async fn check(&self, token: &str, digest: [u8; 32], basis: &mut Basis) -> Result<Arc<Claims>, Refusal> {
        basis.never_again();
        let unverified = Unverified::read(token)?;
        let pool = self.pool_of(unverified.issuer(), basis).await?;
        let Some(kid) = unverified.kid.clone() else {
            return Err(Rejection::new(Rule::UnknownKey, "the header names no kid").into());
        };
        let keys = self.keys.of(&pool, &kid, basis).await?;
        let Some(key) = keys.key(&kid) else {
            return Err(Rejection::new(Rule::UnknownKey, "the issuer publishes no key of this kid").into());
        };
        if !key.verifies(unverified.signed, &unverified.signature) {
            return Err(Rejection::new(Rule::BadSignature, "the signature is not the issuer's").into());
        }
        let claims = Arc::new(unverified.into_claims());
        self.believed.insert(digest, Arc::new(Believed { kid, claims: claims.clone() }));
        Ok(claims)
    }

    async fn pool_of(&self, issuer: &Issuer, basis: &mut Basis) -> Result<MadePool, Refusal> {
        let unknown = || Rejection::new(Rule::UnknownIssuer, "iss is not the issuer of a pool of this broker");
        let known = self.world.records.view_for::<IssuerPool>(issuer.as_str(), basis).await?.ok_or_else(unknown)?;
        let pool = self.world.records.view_for::<Pool>(known.pool.as_str(), basis).await?.ok_or_else(unknown)?;
        Ok(pool.made.clone().ok_or_else(unknown)?)
    }

    /// Nothing in the token names the tenant: issuer and app client do.
    async fn owner(
        &self,
        claims: &Claims,
        question: &Question,
        basis: &mut Basis,
    ) -> Result<Arc<super::records::Versioned<Owner>>, Refusal> {
        let key = owner_key(&claims.issuer, &claims.app_client);
        let owner = self.world.records.view_for::<Owner>(&key, basis).await?;
        let Some(owner) = owner else {
            let detail = "client_id is not an app client of this broker";
            return Err(Rejection::new(Rule::UnknownClient, detail).into());
        };
        if question.tenant.as_ref().is_some_and(|tenant| *tenant != owner.client.tenant) {
            return Err(Rejection::new(Rule::WrongTenant, "the token belongs to another tenant").into());
        }
        Ok(owner)
    }

    async fn check_standing(&self, claims: &Claims, owner: &Owner, basis: &mut Basis) -> Result<(), Refusal> {
        let tenant = self.world.records.view_for::<Tenant>(owner.client.tenant.as_str(), basis).await?;
        let client = self.world.records.view_for::<Client>(&client_key(&owner.client), basis).await?;
        let tenant = tenant.filter(|tenant| tenant.state != TenantState::Deleting);
        let Some(tenant) = tenant else {
            return Err(Rejection::new(Rule::TenantDeleted, "the tenant is deleted").into());
        };
        // A client of the same name may have come after. An app client that was replaced is still the client's.
        let client = client.filter(|client| client.state != ClientState::Deleting && owner.is_of(client));
        let Some(client) = client else {
            return Err(Rejection::new(Rule::ClientDeleted, "the client is deleted").into());
        };
        if tenant.state == TenantState::Suspended {
            return Err(Rejection::new(Rule::TenantSuspended, "the tenant is suspended").into());
        }
        if owner.revoked {
            return Err(Rejection::new(Rule::Revoked, "the app client was compromised and is replaced").into());
        }
        let revoked_before = tenant.revoked_before.max(client.revoked_before);
        if revoked_before.is_some_and(|revoked_before| claims.issue_time < revoked_before) {
            return Err(Rejection::new(Rule::Revoked, "tokens issued so early are revoked").into());
        }
        let Some(token_id) = &claims.token_id else { return Ok(()) };
        if self.is_revoked(token_id, &claims.issuer, basis).await? {
            return Err(Rejection::new(Rule::Revoked, "the token is revoked").into());
        }
        Ok(())
    }

    async fn is_revoked(&self, token_id: &TokenId, issuer: &Issuer, basis: &mut Basis) -> Result<bool> {
        self.world.records.note::<RevokedToken>(token_id.as_str(), basis);
        if self.world.revoked_tokens.must_be_read() {
            let world = self.world.clone();
            self.background.spawn(async move { world.revoked_tokens.read(&world.records, world.now()).await });
        }
        if !self.world.revoked_tokens.may_have(token_id) {
            return Ok(false);
        }
        let revoked = self.world.records.view::<RevokedToken>(token_id.as_str()).await?;
        Ok(revoked.is_some_and(|revoked| revoked.issuer.as_ref().is_none_or(|its| its == issuer)))
    }
}

fn digest_of(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    bytes
}
