//! Who calls: from what a connection has proven and what a call brings along to a [`Caller`].
//!
//! It must never guess. Two credentials on one call, a credential that stands for two callers, and anything that cannot be
//! checked now are refused, each with its own reason. It decides nothing about permission.
//!
//! What is presented is settled first, then it is proven:
//!
//! | presented | proven by |
//! | --- | --- |
//! | a client certificate that names somebody | `certificate`, once for each connection |
//! | `authorization: Bearer <JWT>` | `tokens`, once for each token |
//! | `authorization: Bearer keyward-aws-v1.…` | `presigned` and `sts`, once for each signature |
//! | `authorization: Basic …` | `basic` and whoever implements [`ClientSecrets`], every time |
//! | a Unix socket | the kernel, before the call |
//!
//! At a token endpoint of OAuth 2.0 it is otherwise, since there a client's own id and secret are the one thing that counts:
//! `logins`.
//!
//! A certificate without a URI and a DNS name is the transport's own: it names nobody and is not in the way of a header.

mod basic;
mod certificate;
mod form;
mod key_source;
mod keys;
mod logins;
mod options;
mod presigned;
mod rates;
mod refusals;
mod sts;
mod tokens;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::digest;
use jiff::Timestamp;

use crate::broker::background::Background;
use crate::broker::flights::Flights;
use crate::broker::ports::Clock;
use crate::domain::caller::{Caller, Principal};
use crate::domain::error::{Error, Result};
use crate::domain::grant::Grants;
use crate::domain::id::ClientName;
use crate::net::{Connection, Source};
use certificate::Believed;
use key_source::KeySource;
use keys::{Ages, KeySet};
use rates::Origin;
use refusals::{ambiguous, invalid, missing};
use sts::Sts;
use tokens::{Signer, Tokens, Trusted};

pub use basic::Login;
pub use form::Form;
pub use key_source::OpenError;
pub use logins::ClientLogins;
pub use options::{AwsOptions, IssuerOptions, JwtOptions, KeysAt, Options, Rates, SpiffeOptions};
pub use presigned::{BROKER_HEADER, PREFIX as AWS_PREFIX, Presigned};
pub use rates::Counts;
pub use tokens::Unproven;

/// Tokens and signatures that are remembered as proven. They are remembered by their SHA-256.
const MAX_PROVEN: u64 = 100_000;

/// Tells whether somebody has a tenant's app client id and secret.
#[async_trait]
pub trait ClientSecrets: Send + Sync {
    /// The client whose id and secret these are; `None` for everything else, whatever is wrong with it. It compares in
    /// constant time, and takes as long for an id that is nobody's.
    ///
    /// Fails when nobody can tell now.
    async fn check(&self, app_client_id: &str, secret: &str) -> Result<Option<ClientName>>;
}

/// How callers are told apart.
pub struct Callers(Way);

enum Way {
    /// Everybody is this caller, where the configuration says so and only this machine can connect.
    Everybody(Arc<Caller>),
    Proof(Box<Proof>),
}

struct Proof {
    options: Options,
    believed: Vec<Believed>,
    tokens: Tokens,
    sts: Option<Arc<Sts>>,
    client_secrets: Option<Arc<dyn ClientSecrets>>,
    proven: moka::sync::Cache<Digest, Arc<Proven>>,
    /// Questions to STS under way, so that one signature is asked about once.
    identities: Flights<Digest, Arc<Caller>>,
    counts: Arc<Counts>,
    clock: Arc<dyn Clock>,
}

type Digest = [u8; 32];

/// A credential that was proven, and for whom.
struct Proven {
    caller: Arc<Caller>,
    /// The key of a JWT; `None` for an AWS identity.
    signer: Option<Signer>,
}

/// What a connection's certificate has come to, kept beside the connection.
type Held = Option<Result<Arc<Caller>>>;

impl Callers {
    /// Nobody is told apart: everybody is an operator of this name. For a listener that only its operator can reach.
    pub fn everybody_is_operator(name: &str) -> Self {
        Callers::everybody_is(Caller::operator(name))
    }

    /// Nobody is told apart: everybody is this caller, whatever they bring along. No configuration leads here: it is for
    /// tests of what one caller may do.
    pub fn everybody_is(caller: Caller) -> Self {
        Callers(Way::Everybody(Arc::new(caller)))
    }

    /// Each proves who they are. `client_secrets`: absent, nobody does so by Basic. Keys are read in the `background`.
    ///
    /// Fails when a CA file cannot be used. Keys are read when somebody needs them.
    pub fn by_proof(
        options: Options,
        client_secrets: Option<Arc<dyn ClientSecrets>>,
        clock: Arc<dyn Clock>,
        background: Background,
    ) -> Result<Self, OpenError> {
        let ages = Ages { refetch_floor: options.key_refetch_floor, max_age: options.key_max_age };
        let trusted = |owner: &str, used_for, jwt: &JwtOptions| -> Result<Trusted, OpenError> {
            let source = KeySource::new(jwt)?;
            let keys = KeySet::new(owner, used_for, source, ages, clock.clone(), background.clone());
            Ok(Trusted { audience: jwt.audience.clone(), keys: Arc::new(keys) })
        };
        let (mut issuers, mut domains) = (HashMap::new(), HashMap::new());
        for IssuerOptions { issuer, jwt } in &options.issuers {
            issuers.insert(issuer.clone(), trusted(issuer, &["sig"], jwt)?);
        }
        for SpiffeOptions { trust_domain, jwt, .. } in &options.spiffe {
            if let Some(jwt) = jwt {
                domains.insert(trust_domain.clone(), trusted(trust_domain.as_str(), &["sig", "jwt-svid"], jwt)?);
            }
        }
        let believed = options.spiffe.iter().map(|options| Believed {
            domain: options.trust_domain.clone(),
            has_own_authorities: options.has_own_authorities,
        });
        Ok(Callers(Way::Proof(Box::new(Proof {
            believed: believed.collect(),
            tokens: Tokens { issuers, domains, leeway: options.leeway },
            sts: options.aws.clone().map(Sts::new).transpose()?.map(Arc::new),
            client_secrets,
            proven: moka::sync::Cache::new(MAX_PROVEN),
            identities: Flights::new(background),
            counts: Counts::new(&options.rates, clock.clone()),
            clock,
            options,
        }))))
    }

    /// The caller of one call, where that was proven before and nobody has to be asked: who [`resolve`](Self::resolve) would
    /// find. The call is not counted yet. `None` where there is more to do.
    pub fn proven(&self, connection: &Connection, authorization: &[&[u8]], now: Timestamp) -> Option<Arc<Caller>> {
        match &self.0 {
            Way::Everybody(caller) => Some(caller.clone()),
            Way::Proof(proof) => proof.proven(&proof.presented(Some(connection), authorization).ok()?, now),
        }
    }

    /// What is counted of calls; `None` where nobody is told apart. For another door to count by the same.
    pub fn counts(&self) -> Option<Arc<Counts>> {
        match &self.0 {
            Way::Everybody(_) => None,
            Way::Proof(proof) => Some(proof.counts.clone()),
        }
    }

    /// Counts a call of a caller who was proven. Fails with RATE_LIMITED.
    pub fn count(&self, caller: &Caller) -> Result<()> {
        match &self.0 {
            Way::Everybody(_) => Ok(()),
            Way::Proof(proof) => proof.counts.calls.count(&caller.principal),
        }
    }

    /// The caller of one call. `authorization` are the values of all its `authorization` headers.
    ///
    /// Fails with UNAUTHENTICATED (missing, invalid, ambiguous credentials), RATE_LIMITED, or UNAVAILABLE where nobody can
    /// tell now. An error says nothing of the credential itself.
    pub async fn resolve(&self, connection: Option<&Connection>, authorization: &[&[u8]]) -> Result<Arc<Caller>> {
        let proof = match &self.0 {
            Way::Everybody(caller) => return Ok(caller.clone()),
            Way::Proof(proof) => proof,
        };
        let origin = Origin::of(connection);
        let caller = match proof.presented(connection, authorization) {
            Ok(presented) => match proof.proven(&presented, proof.clock.now()) {
                Some(caller) => Ok(caller),
                None => {
                    proof.counts.failures.admit(&origin)?;
                    // In a box: most calls come with what was proven before, and need no room for this.
                    Box::pin(proof.prove(presented)).await
                }
            },
            Err(error) => proof.counts.failures.admit(&origin).and(Err(error)),
        };
        let caller = caller.map_err(|error| match error.reason().is_denial() {
            true => proof.counts.failures.count(origin, error),
            false => error,
        })?;
        self.count(&caller)?;
        Ok(caller)
    }
}

/// What a call brings along to prove who makes it: exactly one thing.
enum Presented<'a> {
    Certificate(Result<Arc<Caller>>),
    Peer(u32),
    Basic(&'a str),
    Token(&'a str, Digest),
    Aws(&'a str, Digest),
}

impl Proof {
    /// The one thing that is presented. More than one is CREDENTIALS_AMBIGUOUS, none is CREDENTIALS_MISSING.
    fn presented<'a>(&self, connection: Option<&Connection>, authorization: &[&'a [u8]]) -> Result<Presented<'a>> {
        let certificate = connection.and_then(|connection| self.certificate(connection));
        let peer = match connection.map(Connection::source) {
            Some(Source::Unix { uid, .. }) if self.options.unix => Some(uid),
            _ => None,
        };
        match (certificate, peer, authorization) {
            (None, None, []) => match connection.is_some_and(|connection| !connection.certificates().is_empty()) {
                true => Err(invalid("the client certificate names nobody: it has no URI and no DNS name")),
                false => Err(missing("the call has no credential")),
            },
            (Some(caller), None, []) => Ok(Presented::Certificate(caller)),
            (None, Some(uid), []) => Ok(Presented::Peer(uid)),
            (None, None, [value]) => header(value),
            (_, _, [_, _, ..]) => Err(ambiguous("the call has more than one authorization header")),
            (Some(_), _, _) => Err(ambiguous("the call has a client certificate and another credential")),
            (None, Some(_), _) => Err(ambiguous("the call has a Unix user and another credential")),
        }
    }

    /// Whose the connection's certificate is; `None` where there is none, or it names nobody. Read once.
    fn certificate(&self, connection: &Connection) -> Held {
        let leaf = connection.certificates().first()?;
        let read = || -> Held {
            let is_by = |domain: Option<&str>| connection.is_vouched_for_by(domain);
            let holder = certificate::holder(leaf, &self.believed, is_by).transpose()?;
            Some(holder.and_then(|holder| self.caller(holder.principal, Some(holder.valid_until))))
        };
        Held::clone(&connection.remember(read))
    }

    /// Who has proven this before, where that still holds. Waits for nothing.
    fn proven(&self, presented: &Presented<'_>, now: Timestamp) -> Option<Arc<Caller>> {
        let holds = |caller: &Arc<Caller>| caller.valid_until.is_none_or(|end| now < end);
        match presented {
            Presented::Certificate(Ok(caller)) => Some(caller.clone()).filter(holds),
            Presented::Peer(uid) => self.caller(Principal::User(*uid), None).ok(),
            Presented::Token(_, digest) | Presented::Aws(_, digest) => {
                let proven = self.proven.get(digest)?;
                let is_signed = proven.signer.as_ref().is_none_or(Signer::is_published);
                Some(proven.caller.clone()).filter(|caller| is_signed && holds(caller))
            }
            Presented::Certificate(Err(_)) | Presented::Basic(_) => None,
        }
    }

    async fn prove(&self, presented: Presented<'_>) -> Result<Arc<Caller>> {
        let now = self.clock.now();
        match presented {
            Presented::Certificate(Ok(_)) => Err(invalid("the client certificate has expired")),
            Presented::Certificate(Err(error)) => Err(error),
            Presented::Peer(uid) => self.caller(Principal::User(uid), None),
            Presented::Basic(credential) => self.login(credential).await,
            Presented::Token(token, digest) => {
                let proven = self.tokens.prove(token, now).await?;
                let caller = self.caller(proven.principal, Some(proven.valid_until))?;
                Ok(self.remember(digest, Proven { caller, signer: Some(proven.signer) }))
            }
            Presented::Aws(credential, digest) => self.identity(credential, digest, now).await,
        }
    }

    async fn login(&self, credential: &str) -> Result<Arc<Caller>> {
        let Some(secrets) = &self.client_secrets else {
            return Err(invalid("this broker does not take app client ids and secrets"));
        };
        let login = Login::read(credential).ok_or_else(refusals::no_login)?;
        logins::client(&**secrets, &self.options.grants, &login).await
    }

    async fn identity(&self, credential: &str, digest: Digest, now: Timestamp) -> Result<Arc<Caller>> {
        let Some(sts) = &self.sts else {
            return Err(invalid("this broker does not take AWS identities"));
        };
        let refused = |problem: &str| invalid(format!("the AWS identity cannot be accepted: {problem}"));
        let presigned = Presigned::read(credential).map_err(refused)?;
        if !sts.knows(presigned.region()) {
            return Err(invalid("the AWS identity cannot be accepted: its Region is not one that is configured"));
        }
        let valid_until = presigned.valid_until(now, self.options.leeway).map_err(refused)?;
        let asking = self.identities.join(digest, || {
            let (sts, proven, grants) = (sts.clone(), self.proven.clone(), self.options.grants.clone());
            async move {
                // Another flight may have landed since it was looked whether this was proven before.
                if let Some(known) = proven.get(&digest) {
                    return Ok(known.caller.clone());
                }
                let caller = caller(&grants, sts.identity(&presigned).await?, Some(valid_until))?;
                proven.insert(digest, Arc::new(Proven { caller: caller.clone(), signer: None }));
                Ok(caller)
            }
        });
        asking.await
    }

    fn remember(&self, digest: Digest, proven: Proven) -> Arc<Caller> {
        let caller = proven.caller.clone();
        self.proven.insert(digest, Arc::new(proven));
        caller
    }

    fn caller(&self, principal: Principal, valid_until: Option<Timestamp>) -> Result<Arc<Caller>> {
        caller(&self.options.grants, principal, valid_until)
    }
}

fn caller(grants: &Grants, principal: Principal, valid_until: Option<Timestamp>) -> Result<Arc<Caller>> {
    let caller = grants.caller(principal);
    let caller = caller.map_err(|_| ambiguous("two grants give the caller different tenants or clients"))?;
    Ok(Arc::new(Caller { valid_until, ..caller }))
}

/// An `authorization` header (RFC 9110, section 11.4): a scheme, whose case does not count, one space, a credential.
fn scheme_and_credential(value: &[u8]) -> Result<(&str, &str)> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
    let parts = text.and_then(|text| text.split_once(' ')).filter(|(_, rest)| !rest.is_empty() && !rest.contains(' '));
    parts.ok_or_else(|| invalid("the authorization header is not a scheme and a credential"))
}

/// What an `authorization` header presents.
fn header(value: &[u8]) -> Result<Presented<'_>, Error> {
    let (scheme, credential) = scheme_and_credential(value)?;
    if scheme.eq_ignore_ascii_case("basic") {
        return Ok(Presented::Basic(credential));
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(invalid("the authorization header's scheme is neither Bearer nor Basic"));
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, credential.as_bytes()).as_ref());
    Ok(match credential.starts_with(AWS_PREFIX) {
        true => Presented::Aws(credential, hash),
        false => Presented::Token(credential, hash),
    })
}
