//! What was found last about the app clients whose tokens are verified, so that a token of one of them, seen for the first time
//! or not, takes one look into memory and not six.
//!
//! It holds no verdict: who is suspended, deleted or revoked is judged anew for each token, from the records that are
//! here. They are given for as long as their [`Basis`] stands. Only what was found whole is kept, for a token whose signature has
//! verified, so nobody can fill this with names that they made up. What falls out is found again in the registry.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use equivalent::Equivalent;
use foldhash::quality::RandomState;
use jiff::Timestamp;

use super::keys::IssuerKeys;
use crate::broker::basis::Basis;
use crate::broker::records::{Records, Versioned};
use crate::domain::client::{Client, Owner};
use crate::domain::id::{AppClientId, Issuer};
use crate::domain::tenant::Tenant;

/// An app client's owner and the keys that its tokens are signed with.
pub(super) struct Standing {
    pub keys: Arc<IssuerKeys>,
    /// Nothing where there is none.
    pub owner: Option<Arc<Versioned<Owner>>>,
    pub tenant: Option<Arc<Versioned<Tenant>>>,
    pub client: Option<Arc<Versioned<Client>>>,
    pub basis: Basis,
}

/// What a token says of itself.
pub(super) struct Named<'a> {
    pub issuer: &'a Issuer,
    pub app_client: &'a AppClientId,
    pub kid: &'a str,
}

/// The same, to be kept.
struct Key {
    issuer: Issuer,
    app_client: AppClientId,
    kid: Box<str>,
}

pub(super) struct Standings(moka::sync::Cache<Key, Arc<Standing>, RandomState>);

impl Standings {
    /// `max`: of how many app clients they are kept.
    pub fn new(max: u64) -> Self {
        Standings(moka::sync::Cache::builder().max_capacity(max).build_with_hasher(RandomState::default()))
    }

    /// `None` where it has to be found again.
    pub fn find(&self, named: &Named<'_>, records: &Records, now: Timestamp) -> Option<Arc<Standing>> {
        let standing = self.0.get(named)?;
        (now < standing.basis.end() && records.stands(&standing.basis)).then_some(standing)
    }

    /// Keeps it, if it is whole.
    pub fn keep(&self, named: &Named<'_>, standing: &Arc<Standing>) {
        if standing.owner.is_some() && standing.tenant.is_some() && standing.client.is_some() {
            let Named { issuer, app_client, kid } = named;
            let key = Key { issuer: (*issuer).clone(), app_client: (*app_client).clone(), kid: (*kid).into() };
            self.0.insert(key, standing.clone());
        }
    }
}

impl Key {
    fn named(&self) -> Named<'_> {
        Named { issuer: &self.issuer, app_client: &self.app_client, kid: &self.kid }
    }
}

impl PartialEq for Named<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.app_client == other.app_client && self.kid == other.kid && self.issuer == other.issuer
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.named() == other.named()
    }
}

impl Eq for Key {}

impl Hash for Named<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Cognito's ids are unique; the rest is compared.
        self.app_client.hash(state);
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.named().hash(state);
    }
}

impl Equivalent<Key> for Named<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.named()
    }
}
