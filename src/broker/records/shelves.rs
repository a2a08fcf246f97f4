//! Where each record is kept and under which key. Keys of one client's records start with `<tenant>/<client>`, so that
//! what belongs together is listed together.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{IssuerPool, Record};
use crate::broker::ports::Shelf;
use crate::domain::chain::Digest;
use crate::domain::client::{Client, ClientState, Owner};
use crate::domain::form::Form;
use crate::domain::id::{AppClientId, ClientName, Issuer, RotationName, TenantId};
use crate::domain::journal::{Journal, Renewal};
use crate::domain::pool::Pool;
use crate::domain::provider::ProviderId;
use crate::domain::quota::RegionUse;
use crate::domain::revocation::{Revocation, RevokedToken};
use crate::domain::rotation::{Credential, Rotation};
use crate::domain::scope::{ResourceServer, Scope};
use crate::domain::sign_in::{Claim, SignInDomain};
use crate::domain::tenant::Tenant;

impl Record for Tenant {
    const SHELF: Shelf = Shelf::Tenant;

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn form(&self) -> Form {
        Tenant::form(self)
    }
}

impl Record for Client {
    const SHELF: Shelf = Shelf::Client;

    fn key(&self) -> String {
        client_key(&self.name)
    }

    fn form(&self) -> Form {
        if self.interactive.is_some() { Form::SECOND } else { Form::FIRST }
    }

    /// The next scheduled rotation.
    fn due_time(&self) -> Option<Timestamp> {
        self.next_rotate_time.filter(|_| self.state == ClientState::Active)
    }
}

impl Record for Credential {
    const SHELF: Shelf = Shelf::Credential;

    fn key(&self) -> String {
        client_key(&self.client)
    }
}

impl Record for Rotation {
    const SHELF: Shelf = Shelf::Rotation;

    fn key(&self) -> String {
        rotation_key(&self.name)
    }
}

impl Record for Pool {
    const SHELF: Shelf = Shelf::Pool;

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn form(&self) -> Form {
        Pool::form(self)
    }
}

impl Record for IssuerPool {
    const SHELF: Shelf = Shelf::Issuer;

    fn key(&self) -> String {
        self.issuer.to_string()
    }
}

impl Record for Owner {
    const SHELF: Shelf = Shelf::Owner;

    fn key(&self) -> String {
        owner_key(&self.issuer, &self.app_client)
    }

    fn due_time(&self) -> Option<Timestamp> {
        self.purge_time
    }
}

impl Record for ResourceServer {
    const SHELF: Shelf = Shelf::ResourceServer;

    fn key(&self) -> String {
        self.identifier.to_string()
    }
}

impl Record for Revocation {
    const SHELF: Shelf = Shelf::Revocation;

    fn key(&self) -> String {
        self.id.to_string()
    }

    /// Whoever repeats the request that made it is answered with it.
    fn due_time(&self) -> Option<Timestamp> {
        Some(self.expire_time.max(self.create_time + REQUEST_MEMORY))
    }
}

impl Record for RevokedToken {
    const SHELF: Shelf = Shelf::RevokedToken;

    fn key(&self) -> String {
        self.token.as_str().to_owned()
    }

    fn due_time(&self) -> Option<Timestamp> {
        Some(self.expire_time)
    }
}

impl Record for Journal {
    const SHELF: Shelf = Shelf::Journal;

    fn key(&self) -> String {
        self.task.to_string()
    }

    fn form(&self) -> Form {
        self.task.form()
    }

    fn due_time(&self) -> Option<Timestamp> {
        Some(self.due_time)
    }
}

impl Record for Renewal {
    const SHELF: Shelf = Shelf::Renewal;

    fn key(&self) -> String {
        self.task.to_string()
    }

    fn form(&self) -> Form {
        self.task.form()
    }

    fn due_time(&self) -> Option<Timestamp> {
        Some(self.due_time)
    }
}

impl Record for Claim {
    const SHELF: Shelf = Shelf::Claim;

    fn key(&self) -> String {
        claim_key(&self.name)
    }

    /// The next look for its TXT record.
    fn due_time(&self) -> Option<Timestamp> {
        Some(self.look_time)
    }
}

/// That a client has a scope: what keeps the scope from being deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeUse {
    pub scope: Scope,
    pub client: ClientName,
}

impl Record for ScopeUse {
    const SHELF: Shelf = Shelf::Use;

    fn key(&self) -> String {
        use_key(&self.scope, &self.client)
    }
}

/// The metadata of a tenant's SAML provider, which the tenant's record tells by its digest. Both change together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderDocument {
    pub tenant: TenantId,
    pub provider: ProviderId,
    pub digest: String,
    pub document: String,
}

impl Record for ProviderDocument {
    const SHELF: Shelf = Shelf::ProviderDocument;

    fn key(&self) -> String {
        document_key(&self.tenant, &self.provider)
    }
}

/// That people sign in with a client, by which a tenant's few such clients are found among however many it has. It comes and
/// goes with the client. What the client is by now its own record says: a broker of 0.2 deletes clients and leaves this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InteractiveEntry {
    pub client: ClientName,
}

impl Record for InteractiveEntry {
    const SHELF: Shelf = Shelf::Interactive;

    fn key(&self) -> String {
        client_key(&self.client)
    }
}

/// How long a repeated request is known (AIP-155 leaves it to the service).
pub const REQUEST_MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// A mutation that a caller may repeat (AIP-155).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenRequest {
    pub principal: String,
    pub request_id: String,
    pub fingerprint: String,
    /// What it made or changed.
    pub resource: String,
    pub expire_time: Timestamp,
}

impl Record for SeenRequest {
    const SHELF: Shelf = Shelf::Request;

    fn key(&self) -> String {
        request_key(&self.principal, &self.request_id)
    }

    fn due_time(&self) -> Option<Timestamp> {
        Some(self.expire_time)
    }
}

/// Which version of the catalogue there is, and which one every pool has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogState {
    pub version: u64,
    pub applied_version: u64,
}

impl CatalogState {
    pub const KEY: &str = "catalog";
}

impl Record for CatalogState {
    const SHELF: Shelf = Shelf::Setting;

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}

impl Record for RegionUse {
    const SHELF: Shelf = Shelf::Setting;

    fn key(&self) -> String {
        region_use_key(&self.region)
    }
}

pub fn region_use_key(region: &str) -> String {
    format!("region-use/{region}")
}

pub fn client_key(name: &ClientName) -> String {
    format!("{}/{}", name.tenant, name.client)
}

/// The start of the keys of all of a tenant's clients, of those that people sign in with, and of its documents.
pub fn tenant_prefix(tenant: &TenantId) -> String {
    format!("{tenant}/")
}

pub fn document_key(tenant: &TenantId, provider: &ProviderId) -> String {
    format!("{}{provider}", tenant_prefix(tenant))
}

pub fn rotation_key(name: &RotationName) -> String {
    format!("{}{}", rotation_prefix(&name.client), name.rotation)
}

pub fn rotation_prefix(client: &ClientName) -> String {
    format!("{}/", client_key(client))
}

pub fn owner_key(issuer: &Issuer, app_client: &AppClientId) -> String {
    format!("{}{issuer}", owner_prefix(app_client))
}

/// The start of the keys of whoever owns an app client of this id, whatever its issuer: one, since Cognito's ids are
/// unique. A space cannot be part of an issuer that is a URL, nor of an app client id.
pub fn owner_prefix(app_client: &AppClientId) -> String {
    format!("{app_client} ")
}

pub fn use_key(scope: &Scope, client: &ClientName) -> String {
    format!("{}{}", use_prefix(scope), client_key(client))
}

/// The start of the keys of all uses of a scope, which holds no space.
pub fn use_prefix(scope: &Scope) -> String {
    format!("{scope} ")
}

pub fn claim_key(name: &SignInDomain) -> String {
    format!("{}/{}", name.kind.as_str(), name.domain)
}

/// A principal may be longer than a key; a long one is told by its digest.
pub fn request_key(principal: &str, request_id: &str) -> String {
    const LONG: usize = 512;
    if principal.len() > LONG {
        return format!("sha256:{} {request_id}", Digest::of(principal.as_bytes()));
    }
    format!("{principal} {request_id}")
}

#[cfg(test)]
mod tests;
