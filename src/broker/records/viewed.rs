//! Which records are held in memory, and where.

use super::views::View;
use super::{IssuerPool, Record, Records};
use crate::domain::client::{Client, Owner};
use crate::domain::pool::Pool;
use crate::domain::revocation::RevokedToken;
use crate::domain::rotation::Credential;
use crate::domain::sign_in::Claim;
use crate::domain::tenant::Tenant;

/// Records that are read through a view.
pub trait Viewed: Record {
    fn view(records: &Records) -> &View<Self>
    where
        Self: Sized;
}

impl Viewed for Tenant {
    fn view(records: &Records) -> &View<Self> {
        &records.tenants
    }
}

impl Viewed for Client {
    fn view(records: &Records) -> &View<Self> {
        &records.clients
    }
}

impl Viewed for Credential {
    fn view(records: &Records) -> &View<Self> {
        &records.credentials
    }
}

impl Viewed for Owner {
    fn view(records: &Records) -> &View<Self> {
        &records.owners
    }
}

impl Viewed for IssuerPool {
    fn view(records: &Records) -> &View<Self> {
        &records.issuers
    }
}

impl Viewed for Pool {
    fn view(records: &Records) -> &View<Self> {
        &records.pools
    }
}

impl Viewed for Claim {
    fn view(records: &Records) -> &View<Self> {
        &records.claims
    }
}

impl Viewed for RevokedToken {
    fn view(records: &Records) -> &View<Self> {
        &records.revoked
    }
}
