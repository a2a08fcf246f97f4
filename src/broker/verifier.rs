//! Whose token is this, and is it good? An answer, or a failure to tell; never a guess.
//!
//! The rules are checked in the order of `keyward.v1.RejectionReason`, and the first that does not hold is the answer.
//! That a signature verifies never changes, so it is remembered by the digest of the whole token; everything else is
//! looked at anew each time: the clock, whether the key is still published, who owns the app client, suspension,
//! deletion, revocation, and which tokens the question accepts. Those are lookups in memory, and so no change has to find the
//! verdicts that it makes false.

pub(super) mod keys;
mod standings;

use std::sync::Arc;

use aws_lc_rs::digest;
use jiff::Timestamp;

use super::api::{PublishedKeys, Question, Verdict, Verified};
use super::background::Background;
use super::basis::Basis;
use super::records::Versioned;
use super::records::shelves::{client_key, owner_key};
use super::world::World;
use crate::domain::claims::{Claims, Rejection, Unverified};
use crate::domain::client::{Client, Owner};
use crate::domain::error::{Error, Result};
use crate::domain::id::{Issuer, PoolId};
use crate::domain::pool::{MadePool, Pool};
use crate::domain::revocation::{RevokedToken, TokenId};
use crate::domain::tenant::Tenant;
use crate::domain::trust::{self, Ownership, Party};
use keys::{IssuerKeys, Keys};
use standings::{Named, Standing, Standings};

pub struct Verifier {
    world: Arc<World>,
    keys: Arc<Keys>,
    believed: moka::sync::Cache<[u8; 32], Arc<Believed>>,
    standings: Standings,
    background: Background,
}

/// A token whose signature has verified.
struct Believed {
    kid: String,
    claims: Arc<Claims>,
}

/// A token that was looked at.
enum Looked<'a> {
    Believed(Arc<Believed>),
    /// With its digest.
    New([u8; 32], Box<Unverified<'a>>),
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
        let standings = Standings::new(world.settings.verification.max_cached);
        Verifier {
            standings,
            keys: Arc::new(Keys::new(world.clone(), background.clone())),
            believed,
            background,
            world,
        }
    }

    /// The keys that it verifies by.
    pub(super) fn keys(&self) -> Arc<Keys> {
        self.keys.clone()
    }

    /// `basis` gets what the verdict stands on. That a token is refused is judged anew each time.
    pub async fn verify(&self, question: &Question, basis: &mut Basis) -> Result<Verdict> {
        match self.judge(question, basis).await {
            Ok(verified) => {
                self.world.counting.verified();
                Ok(Verdict::Verified(verified))
            }
            Err(Refusal::Rejected(rejection)) => {
                self.world.counting.rejected(rejection.rule);
                basis.never_again();
                Ok(Verdict::Rejected(rejection))
            }
            Err(Refusal::CannotTell(error)) => Err(error),
        }
    }

    async fn judge(&self, question: &Question, basis: &mut Basis) -> Result<Verified, Refusal> {
        let (now, leeway) = (self.world.now(), self.world.settings.verification.leeway);
        let token = self.look_at(&question.token)?;
        let held = token.named().and_then(|named| self.standings.find(&named, &self.world.records, now));
        let mut found_on = Basis::default();
        let keys = match &held {
            Some(standing) => standing.keys.clone(),
            None => self.keys_for(&token, &mut found_on).await?,
        };
        if token.is_new() {
            // It is remembered, but not what is answered: many a token is seen once.
            basis.never_again();
        }
        let believed = self.believe(token, &keys, held.as_deref())?;
        let claims = &believed.claims;
        claims.check(now, leeway, question.accepted)?;
        basis.until(claims.acceptable_until(leeway));
        let standing = match held {
            Some(standing) => standing,
            None => self.find(&believed, keys, found_on).await?,
        };
        basis.stand_on(&standing.basis);
        // Before it is judged by records: they may be old, and nobody may be refused by what is over either.
        self.world.may_say_verified()?;
        self.check_standing(claims, &standing, question, basis).await?;
        let Some(owner) = &standing.owner else { return Err(trust::unknown_client().into()) };
        trust::check_scopes(claims, &question.required_scopes)?;
        self.world.may_say_verified()?;
        Ok(Verified { client: owner.client.clone(), claims: claims.clone() })
    }

    /// The keys of a pool's tokens, for passing them on; `None` where there is no such pool, or it is not made yet. Fails with
    /// UNAVAILABLE where nobody can tell which they are now.
    pub async fn published_keys(&self, pool: &PoolId) -> Result<Option<PublishedKeys>> {
        let pool = self.world.records.view::<Pool>(pool.as_str()).await?;
        match pool.and_then(|pool| pool.made.clone()) {
            Some(made) => self.keys.published(&made).await.map(Some),
            None => Ok(None),
        }
    }

    /// When the keys of issuers were read last, of at most `most` of them.
    pub(super) fn keys_read(&self, most: usize) -> Vec<Timestamp> {
        self.keys.read_times(most)
    }

    /// The claims of a token that one of our pools has signed.
    pub(super) async fn believe_own(&self, token: &str) -> Result<Result<Arc<Claims>, Rejection>> {
        let believed = async {
            let token = self.look_at(token)?;
            let keys = self.keys_for(&token, &mut Basis::default()).await?;
            self.believe(token, &keys, None)
        };
        match believed.await {
            Ok(believed) => Ok(Ok(believed.claims.clone())),
            Err(Refusal::Rejected(rejection)) => Ok(Err(rejection)),
            Err(Refusal::CannotTell(error)) => Err(error),
        }
    }

    /// Looks whether it was seen before, and takes it apart otherwise.
    fn look_at<'a>(&self, token: &'a str) -> Result<Looked<'a>, Rejection> {
        let digest = digest_of(token);
        Ok(match self.believed.get(&digest) {
            Some(believed) => Looked::Believed(believed),
            None => Looked::New(digest, Box::new(Unverified::read(token)?)),
        })
    }

    /// The keys of the token's issuer, if it is one of ours.
    async fn keys_for(&self, token: &Looked<'_>, basis: &mut Basis) -> Result<Arc<IssuerKeys>, Refusal> {
        let pool = self.pool_of(token.issuer(), basis).await?;
        let Some(kid) = token.kid() else {
            return Err(trust::no_key_id().into());
        };
        Ok(self.keys.of(&pool, kid, basis).await?)
    }

    /// Whether one of these keys has signed it, as far as that is not known yet.
    fn believe(
        &self,
        token: Looked<'_>,
        keys: &IssuerKeys,
        standing: Option<&Standing>,
    ) -> Result<Arc<Believed>, Refusal> {
        let Some(key) = token.kid().and_then(|kid| keys.key(kid)) else {
            return Err(trust::unknown_key().into());
        };
        let (digest, unverified) = match token {
            Looked::Believed(believed) => return Ok(believed),
            Looked::New(digest, unverified) => (digest, unverified),
        };
        if !key.verifies(unverified.signed, &unverified.signature) {
            return Err(trust::bad_signature().into());
        }
        let kid = unverified.kid.clone().unwrap_or_default();
        let mut claims = unverified.into_claims();
        if let Some(Standing { owner: Some(owner), client: Some(client), .. }) = standing {
            claims.share(&owner.issuer, &owner.app_client, &client.scopes);
        }
        let believed = Arc::new(Believed { kid, claims: Arc::new(claims) });
        self.believed.insert(digest, believed.clone());
        Ok(believed)
    }

    async fn pool_of(&self, issuer: &Issuer, basis: &mut Basis) -> Result<MadePool, Refusal> {
        let pool = self.world.pool_of(issuer, basis).await?;
        if pool.is_none() {
            // It may be a pool that another broker has made.
            self.world.may_say_verified()?;
        }
        Ok(pool.ok_or_else(trust::unknown_issuer)?)
    }

    /// Whose the token is. Nothing in it names the tenant: issuer and app client do.
    async fn find(
        &self,
        believed: &Believed,
        keys: Arc<IssuerKeys>,
        mut basis: Basis,
    ) -> Result<Arc<Standing>, Refusal> {
        let Claims { issuer, app_client, .. } = &*believed.claims;
        let records = &self.world.records;
        let owner = records.view_for::<Owner>(&owner_key(issuer, app_client), &mut basis).await?;
        let (mut tenant, mut client) = (None, None);
        if let Some(owner) = &owner {
            tenant = records.view_for::<Tenant>(owner.client.tenant.as_str(), &mut basis).await?;
            client = records.view_for::<Client>(&client_key(&owner.client), &mut basis).await?;
        }
        let standing = Arc::new(Standing { keys, owner, tenant, client, basis });
        self.standings.keep(&Named { issuer, app_client, kid: &believed.kid }, &standing);
        Ok(standing)
    }

    async fn check_standing(
        &self,
        claims: &Claims,
        standing: &Standing,
        question: &Question,
        basis: &mut Basis,
    ) -> Result<(), Refusal> {
        let Some(owner) = &standing.owner else { return Err(trust::unknown_client().into()) };
        let tenant = standing.tenant.as_ref();
        // A client of the same name may have come after. An app client that was replaced is still the client's.
        let client = standing.client.as_ref().filter(|client| owner.is_of(client));
        let ownership = Ownership {
            owner: &owner.client.tenant,
            tenant: tenant.map(|tenant| Party { state: tenant.state, revoked_before: tenant.revoked_before }),
            client: client.map(|client| Party { state: client.state, revoked_before: client.revoked_before }),
            kind: client.map(|client| client.kind()),
            revoked: owner.revoked,
        };
        ownership.check(claims, question.tenant.as_ref(), question.accepted)?;
        let Some(token_id) = &claims.token_id else { return Ok(()) };
        let revoked = self.revoked(token_id, basis).await?;
        trust::check_token_id(claims, revoked.as_ref().map(|revoked| &revoked.issuer))?;
        Ok(())
    }

    async fn revoked(&self, token_id: &TokenId, basis: &mut Basis) -> Result<Option<Arc<Versioned<RevokedToken>>>> {
        self.world.records.note::<RevokedToken>(token_id.as_str(), basis);
        if !self.world.may_be_revoked(token_id, &self.background) {
            return Ok(None);
        }
        self.world.records.view::<RevokedToken>(token_id.as_str()).await
    }
}

impl Looked<'_> {
    fn is_new(&self) -> bool {
        matches!(self, Looked::New(..))
    }

    fn issuer(&self) -> &Issuer {
        match self {
            Looked::Believed(believed) => &believed.claims.issuer,
            Looked::New(_, unverified) => unverified.issuer(),
        }
    }

    fn kid(&self) -> Option<&str> {
        match self {
            Looked::Believed(believed) => Some(&believed.kid),
            Looked::New(_, unverified) => unverified.kid.as_deref(),
        }
    }

    fn named(&self) -> Option<Named<'_>> {
        let app_client = match self {
            Looked::Believed(believed) => &believed.claims.app_client,
            Looked::New(_, unverified) => unverified.app_client(),
        };
        Some(Named { issuer: self.issuer(), app_client, kid: self.kid()? })
    }
}

fn digest_of(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    bytes
}
