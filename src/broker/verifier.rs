//! Whose token is this, and is it good? An answer, or a failure to tell; never a guess.
//!
//! The rules are checked in the order of `keyward.v1.RejectionReason`, and the first that does not hold is the answer.
//! That a signature verifies never changes, so it is remembered by the digest of the whole token; everything else is
//! looked at anew each time: the clock, whether the key is still published, who owns the app client, suspension,
//! deletion, revocation. Those are lookups in memory, and so no change has to find the verdicts that it makes false.

use std::sync::Arc;

use aws_lc_rs::digest;
use jiff::Timestamp;

use super::api::{Question, Verdict, Verified};
use super::background::Background;
use super::basis::Basis;
use super::keys::{IssuerKeys, Keys};
use super::records::IssuerPool;
use super::shelves::{client_key, owner_key};
use super::standings::{Named, Standing, Standings};
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
        claims.check(now, leeway)?;
        basis.until(claims.acceptable_until(leeway));
        let standing = match held {
            Some(standing) => standing,
            None => self.find(&believed, keys, found_on).await?,
        };
        basis.stand_on(&standing.basis);
        self.check_standing(claims, &standing, question, basis).await?;
        let Some(owner) = &standing.owner else { return Err(unknown_client().into()) };
        if let Some(scope) = question.required_scopes.first_missing_in(&claims.scopes) {
            return Err(Rejection::new(Rule::InsufficientScope, format!("the token lacks {scope}")).into());
        }
        self.world.may_say_verified()?;
        Ok(Verified { client: owner.client.clone(), claims: claims.clone() })
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
            return Err(Rejection::new(Rule::UnknownKey, "the header names no kid").into());
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
            return Err(Rejection::new(Rule::UnknownKey, "the issuer publishes no key of this kid").into());
        };
        let (digest, unverified) = match token {
            Looked::Believed(believed) => return Ok(believed),
            Looked::New(digest, unverified) => (digest, unverified),
        };
        if !key.verifies(unverified.signed, &unverified.signature) {
            return Err(Rejection::new(Rule::BadSignature, "the signature is not the issuer's").into());
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
        let unknown = || Rejection::new(Rule::UnknownIssuer, "iss is not the issuer of a pool of this broker");
        let known = self.world.records.view_for::<IssuerPool>(issuer.as_str(), basis).await?.ok_or_else(unknown)?;
        let pool = self.world.records.view_for::<Pool>(known.pool.as_str(), basis).await?.ok_or_else(unknown)?;
        Ok(pool.made.clone().ok_or_else(unknown)?)
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
        let Some(owner) = &standing.owner else { return Err(unknown_client().into()) };
        if question.tenant.as_ref().is_some_and(|tenant| *tenant != owner.client.tenant) {
            return Err(Rejection::new(Rule::WrongTenant, "the token belongs to another tenant").into());
        }
        let tenant = standing.tenant.as_ref().filter(|tenant| tenant.state != TenantState::Deleting);
        let Some(tenant) = tenant else {
            return Err(Rejection::new(Rule::TenantDeleted, "the tenant is deleted").into());
        };
        // A client of the same name may have come after. An app client that was replaced is still the client's.
        let client = standing.client.as_ref();
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
        if !self.world.may_be_revoked(token_id, &self.background) {
            return Ok(false);
        }
        let revoked = self.world.records.view::<RevokedToken>(token_id.as_str()).await?;
        Ok(revoked.is_some_and(|revoked| revoked.issuer.as_ref().is_none_or(|its| its == issuer)))
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

fn unknown_client() -> Rejection {
    Rejection::new(Rule::UnknownClient, "client_id is not an app client of this broker")
}

fn digest_of(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    bytes
}
