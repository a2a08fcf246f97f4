//! What another program needs to verify by itself: issuers, and the app clients of machines that are in use.
//!
//! It must never name whose token `VerifyToken` would reject at this moment: a client of a tenant that is not ACTIVE, one
//! that is not ACTIVE itself, an app client that is compromised. Nor one of people: a program that compares an ID token's
//! audience would take it for an access token's client. An app client that was replaced is named until its last token has expired.
//!
//! It reads clients page by page and stops as soon as there is more than the format takes, or more than it looks at: so no call reads
//! a whole platform. Then it fails; it never leaves one out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::api::Page;
use super::records::Versioned;
use super::records::shelves::{owner_key, tenant_prefix};
use super::world::World;
use crate::domain::authorizer::{Format, Route, TrustedPool};
use crate::domain::client::{Client, ClientState, Owner};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::{AppClientId, Issuer, PoolId, TenantId};
use crate::domain::interactive::ClientKind;
use crate::domain::scope::{ResourceServer, Scope};
use crate::domain::tenant::{Tenant, TenantState};

/// Clients of one page.
const PAGE: usize = 200;
/// Clients that one call looks at, in use or not.
const LOOKED_AT: usize = 10_000;

pub struct Exporting {
    world: Arc<World>,
}

/// What was found so far.
struct Found {
    format: Format,
    pools: BTreeMap<Issuer, TrustedPool>,
    audiences: usize,
}

impl Exporting {
    pub fn new(world: Arc<World>) -> Self {
        Exporting { world }
    }

    /// Of one tenant or of all, in order of their issuers; at least one.
    ///
    /// Fails with EXPORT_TOO_LARGE where there is more than the format takes, with SCOPE_UNKNOWN where a route needs a scope
    /// that is not in the catalogue, and with CLIENT_NOT_READY where no client is in use: an authorizer of nobody is none.
    pub async fn export(
        &self,
        tenant: Option<&TenantId>,
        format: Format,
        routes: &[Route],
    ) -> Result<Vec<TrustedPool>> {
        self.check_scopes(routes).await?;
        let prefix = match tenant {
            Some(id) => {
                let stored: Option<Versioned<Tenant>> = self.world.records.get(id.as_str()).await?;
                stored.ok_or_else(|| Error::not_found(id.name()))?.check_active()?;
                tenant_prefix(id)
            }
            None => String::new(),
        };
        let mut found = Found { format, pools: BTreeMap::new(), audiences: 0 };
        let (mut page, mut looked_at) = (Page { after: None, size: PAGE }, 0);
        loop {
            let listing = self.world.records.list::<Client>(&prefix, &page).await?;
            looked_at += listing.items.len();
            for client in &listing.items {
                self.look_at(client, &mut found).await?;
            }
            page.after = match listing.next {
                None => break,
                Some(_) if looked_at >= LOOKED_AT => return Err(format.too_large()),
                next => next,
            };
        }
        if found.pools.is_empty() {
            let message = "no machine client is in use, so there is nobody to let in";
            return Err(Error::new(Reason::ClientNotReady, message));
        }
        Ok(found.pools.into_values().collect())
    }

    async fn look_at(&self, client: &Client, found: &mut Found) -> Result<()> {
        if client.state != ClientState::Active || client.kind() != ClientKind::Machine {
            return Ok(());
        }
        let tenant = self.world.records.view::<Tenant>(client.name.tenant.as_str()).await?;
        if tenant.is_none_or(|tenant| tenant.state != TenantState::Active) {
            return Ok(());
        }
        if let Some(app_client) = &client.app_client {
            self.add(&client.pool, app_client, found).await?;
        }
        let now = self.world.now();
        for old in client.replaced.iter().filter(|old| now < old.forget_time) {
            self.add(&old.pool, &old.app_client, found).await?;
        }
        Ok(())
    }

    /// One that has a pool, is known to be somebody's there, and is not compromised.
    async fn add(&self, pool: &PoolId, app_client: &AppClientId, found: &mut Found) -> Result<()> {
        let Some(made) = self.world.made(pool).await? else { return Ok(()) };
        let owner = self.world.records.view::<Owner>(&owner_key(&made.issuer, app_client)).await?;
        if owner.is_none_or(|owner| owner.revoked) {
            return Ok(());
        }
        let trusted = found.pools.entry(made.issuer.clone()).or_insert_with(|| TrustedPool {
            issuer: made.issuer.clone(),
            jwks_uri: made.jwks_uri.clone(),
            app_clients: BTreeSet::new(),
        });
        found.audiences += usize::from(trusted.app_clients.insert(app_client.clone()));
        let limits = found.format.limits();
        match found.pools.len() > limits.issuers || found.audiences > limits.audiences {
            true => Err(found.format.too_large()),
            false => Ok(()),
        }
    }

    /// Fails unless every scope of every route is in the catalogue.
    async fn check_scopes(&self, routes: &[Route]) -> Result<()> {
        let mut known: BTreeSet<Scope> = BTreeSet::new();
        // The catalogue is as large as one pool can hold.
        let mut page = Page { after: None, size: PAGE };
        while !routes.is_empty() {
            let listing = self.world.records.list::<ResourceServer>("", &page).await?;
            known.extend(listing.items.iter().flat_map(|server| server.full_scopes()));
            match listing.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        for (at, route) in routes.iter().enumerate() {
            if let Some(scope) = route.scopes.iter().find(|scope| !known.contains(*scope)) {
                let rule = format!("{scope} is not in the catalogue");
                return Err(Error::invalid_because(Reason::ScopeUnknown, format!("routes[{at}].scopes"), rule));
            }
        }
        Ok(())
    }
}
