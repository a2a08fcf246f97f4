//! What there is to say: of something that has changed, and of everything, page by page.

use std::collections::HashSet;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use super::Trust;
use crate::broker::api::{Page, TrustQuery};
use crate::broker::basis::Basis;
use crate::broker::ports::Shelf;
use crate::broker::records::shelves::{client_key, owner_key, tenant_prefix};
use crate::broker::records::trust_log::Touched;
use crate::broker::records::{IssuerPool, Record, Versioned};
use crate::domain::client::{Client, Owner};
use crate::domain::error::Result;
use crate::domain::id::{AppClientId, ClientId, ClientName, Issuer, TenantId};
use crate::domain::interactive::ClientKind;
use crate::domain::revocation::RevokedToken;
use crate::domain::tenant::Tenant;
use crate::domain::trust::{Party, TrustChange, TrustedClient, TrustedKeys, TrustedOwner};

/// Changes of one message, and records of one page.
pub(super) const MOST: usize = 200;
/// Issuers of one page: their keys are long.
const ISSUERS: usize = 16;
/// Clients of one page, where their app clients come with them.
const CLIENTS: usize = 20;
/// Keys that nobody has read yet are waited for so long, for all issuers of a walk or a batch together.
const WAIT_FOR_KEYS: Duration = Duration::from_secs(1);
/// Issuers whose keys are waited for at a time.
const WAITS_AT_ONCE: usize = 8;

/// A walk over everything.
#[derive(Debug)]
pub(super) struct Walk {
    part: Part,
    after: Option<String>,
    /// Tenants that are wanted and were not walked yet, last first.
    tenants: Vec<TenantId>,
    /// Until when keys are waited for, whatever the number of issuers.
    deadline: Instant,
}

/// The parts, in the order in which they come: what a token is held against first is there first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Issuers,
    Tenants,
    Clients,
    AppClients,
    RevokedTokens,
    Over,
}

impl Part {
    fn next(self) -> Part {
        match self {
            Part::Issuers => Part::Tenants,
            Part::Tenants => Part::Clients,
            Part::Clients => Part::AppClients,
            Part::AppClients => Part::RevokedTokens,
            Part::RevokedTokens | Part::Over => Part::Over,
        }
    }
}

impl Walk {
    pub fn new(query: &TrustQuery) -> Self {
        let tenants = query.tenants.iter().rev().cloned().collect();
        Walk { part: Part::Issuers, after: None, tenants, deadline: Instant::now() + WAIT_FOR_KEYS }
    }

    fn goes_on(&mut self, next: Option<String>) {
        if next.is_none() {
            self.part = self.part.next();
        }
        self.after = next;
    }
}

impl Trust {
    /// The next page, which may be empty; `None` at the end.
    pub(super) async fn page(&self, walk: &mut Walk, query: &TrustQuery) -> Result<Option<Vec<TrustChange>>> {
        let is_for_all = query.tenants.is_empty();
        Ok(Some(match walk.part {
            Part::Over => return Ok(None),
            Part::Issuers => {
                let records = self.records::<IssuerPool>(walk, ISSUERS).await?;
                let issuers = records.into_iter().map(|known| known.value.issuer).collect();
                self.issuers(issuers, walk.deadline).await?
            }
            Part::Tenants if is_for_all => {
                self.records::<Tenant>(walk, MOST).await?.iter().map(|tenant| of_tenant(tenant)).collect()
            }
            Part::Tenants => {
                let mut changes = Vec::new();
                for id in &query.tenants {
                    let tenant = self.world.records.get::<Tenant>(id.as_str()).await?;
                    changes.extend(tenant.as_deref().map(of_tenant));
                }
                walk.goes_on(None);
                changes
            }
            Part::Clients if is_for_all => {
                self.records::<Client>(walk, MOST).await?.iter().filter_map(|client| of_client(client)).collect()
            }
            Part::Clients => self.clients_of_next(walk).await?,
            // Those of one tenant come with its clients.
            Part::AppClients if !is_for_all => {
                walk.goes_on(None);
                Vec::new()
            }
            Part::AppClients => {
                let mut changes = Vec::new();
                for owner in self.records::<Owner>(walk, MOST).await? {
                    changes.push(self.of_owner(&owner).await?);
                }
                changes
            }
            Part::RevokedTokens => {
                let now = self.world.now();
                let records = self.records::<RevokedToken>(walk, MOST).await?;
                records.iter().filter_map(|revoked| of_revoked(revoked, now)).collect()
            }
        }))
    }

    async fn records<T: Record>(&self, walk: &mut Walk, size: usize) -> Result<Vec<Versioned<T>>> {
        let page = Page { after: walk.after.take(), size };
        let listing = self.world.records.list::<T>("", &page).await?;
        walk.goes_on(listing.next);
        Ok(listing.items)
    }

    /// Clients of the next of the tenants that are wanted, each with its app clients.
    async fn clients_of_next(&self, walk: &mut Walk) -> Result<Vec<TrustChange>> {
        let Some(tenant) = walk.tenants.last() else {
            walk.goes_on(None);
            return Ok(Vec::new());
        };
        let page = Page { after: walk.after.take(), size: CLIENTS };
        let listing = self.world.records.list::<Client>(&tenant_prefix(tenant), &page).await?;
        walk.after = listing.next;
        if walk.after.is_none() {
            walk.tenants.pop();
        }
        let mut changes = Vec::new();
        for client in &listing.items {
            changes.extend(of_client(client));
            let mut app_clients: Vec<(Issuer, AppClientId)> = Vec::new();
            if let Some(app_client) = &client.app_client
                && let Some(made) = self.world.made(&client.pool).await?
            {
                app_clients.push((made.issuer, app_client.clone()));
            }
            app_clients.extend(client.replaced.iter().map(|old| (old.issuer.clone(), old.app_client.clone())));
            for (issuer, app_client) in app_clients {
                if let Some(owner) = self.world.records.view::<Owner>(&owner_key(&issuer, &app_client)).await? {
                    changes.push(self.of_owner(&owner).await?);
                }
            }
        }
        Ok(changes)
    }

    /// What these are now, as far as it is wanted.
    pub(super) async fn find(&self, touched: &[Touched], query: &TrustQuery) -> Result<Vec<TrustChange>> {
        let (mut seen, mut changes, mut issuers) = (HashSet::new(), Vec::new(), Vec::new());
        for touched in touched {
            if !seen.insert(touched) {
                continue;
            }
            match touched {
                Touched::Record(Shelf::Issuer, issuer) => issuers.push(Issuer::parse("issuer", issuer)?),
                Touched::Record(shelf, key) => {
                    changes.extend(self.of_record(*shelf, key, query).await?);
                    if *shelf == Shelf::Client && !query.tenants.is_empty() {
                        changes.extend(self.current_of(key, query).await?);
                    }
                }
                Touched::Keys(issuer) => {
                    let pool = self.world.pool_of(issuer, &mut Basis::default()).await?;
                    changes.push(TrustChange::Issuer(issuer.clone(), pool.map(|_| self.keys.known(issuer))));
                }
            }
        }
        changes.extend(self.issuers(issuers, Instant::now() + WAIT_FOR_KEYS).await?);
        Ok(changes)
    }

    /// The app client that a client has now. Whoever is told of all hears of it when it is made; of some tenants' app clients those
    /// are walked that clients have, and one that was made just before for a rotation was nobody's yet.
    async fn current_of(&self, key: &str, query: &TrustQuery) -> Result<Option<TrustChange>> {
        let records = &self.world.records;
        let client = records.view::<Client>(key).await?.filter(|client| query.wants(&client.name.tenant));
        let Some((client, app_client)) = client.and_then(|client| Some((client.clone(), client.app_client.clone()?)))
        else {
            return Ok(None);
        };
        let Some(made) = self.world.made(&client.pool).await? else { return Ok(None) };
        match records.view::<Owner>(&owner_key(&made.issuer, &app_client)).await? {
            Some(owner) => self.of_owner(&owner).await.map(Some),
            None => Ok(None),
        }
    }

    async fn of_record(&self, shelf: Shelf, key: &str, query: &TrustQuery) -> Result<Option<TrustChange>> {
        let records = &self.world.records;
        Ok(match shelf {
            Shelf::Tenant => {
                let id = TenantId::parse("tenant", key)?;
                if !query.wants(&id) {
                    return Ok(None);
                }
                let tenant = records.view::<Tenant>(key).await?;
                Some(tenant.map_or(TrustChange::Tenant(id, None), |tenant| of_tenant(&tenant)))
            }
            Shelf::Client => {
                let (tenant, client) = key.split_once('/').unwrap_or_default();
                let name = ClientName::new(TenantId::parse("tenant", tenant)?, ClientId::parse("client", client)?);
                if !query.wants(&name.tenant) {
                    return Ok(None);
                }
                let client = records.view::<Client>(&client_key(&name)).await?;
                let known = client.and_then(|client| of_client(&client));
                Some(known.unwrap_or(TrustChange::Client(name, None)))
            }
            Shelf::Owner => match records.view::<Owner>(key).await? {
                Some(owner) if query.wants(&owner.client.tenant) => Some(self.of_owner(&owner).await?),
                Some(_) => None,
                // Nobody knows whose it was.
                None => {
                    let (app_client, issuer) = key.split_once(' ').unwrap_or_default();
                    let issuer = Issuer::parse("issuer", issuer)?;
                    Some(TrustChange::AppClient(issuer, AppClientId::parse("app_client", app_client)?, None))
                }
            },
            Shelf::RevokedToken => {
                let revoked = records.view::<RevokedToken>(key).await?;
                revoked.and_then(|revoked| of_revoked(&revoked, self.world.now()))
            }
            _ => None,
        })
    }

    async fn of_owner(&self, owner: &Owner) -> Result<TrustChange> {
        let mut client_uid = owner.client_uid.as_str().into();
        if owner.client_uid.is_empty() {
            // A record from before app clients could be replaced: then it is of the client that has this app client.
            let client = self.world.records.view::<Client>(&client_key(&owner.client)).await?;
            if let Some(client) = client.filter(|client| owner.is_of(client)) {
                client_uid = client.uid.as_str().into();
            }
        }
        let trusted = TrustedOwner { client: owner.client.clone(), client_uid, revoked: owner.revoked };
        Ok(TrustChange::AppClient(owner.issuer.clone(), owner.app_client.clone(), Some(trusted)))
    }

    /// Issuers with their keys. Those that nobody has read yet are read, and waited for, but not for long: what comes later
    /// is a change.
    async fn issuers(&self, issuers: Vec<Issuer>, deadline: Instant) -> Result<Vec<TrustChange>> {
        let found = stream::iter(issuers).map(|issuer| async move {
            let pool = self.world.pool_of(&issuer, &mut Basis::default()).await?;
            let Some(pool) = pool else { return Ok(TrustChange::Issuer(issuer, None)) };
            let keys: TrustedKeys = match self.keys.known(&issuer) {
                known if known.are_read || Instant::now() >= deadline => known,
                known => match timeout_at(deadline, self.keys.all_of(&pool)).await {
                    Ok(read) => read?.trusted(),
                    Err(_) => known,
                },
            };
            Ok(TrustChange::Issuer(issuer, Some(keys)))
        });
        found.buffered(WAITS_AT_ONCE).collect::<Vec<_>>().await.into_iter().collect()
    }
}

fn of_tenant(tenant: &Tenant) -> TrustChange {
    let party = Party { state: tenant.state, revoked_before: tenant.revoked_before };
    TrustChange::Tenant(tenant.id.clone(), Some(party))
}

/// Nothing of an interactive client. Whoever watches verifies machines' tokens, and one that knows of machines alone would take
/// a person's access token for such.
fn of_client(client: &Client) -> Option<TrustChange> {
    let party = Party { state: client.state, revoked_before: client.revoked_before };
    let trusted = TrustedClient { uid: client.uid.as_str().into(), party };
    (client.kind() == ClientKind::Machine).then(|| TrustChange::Client(client.name.clone(), Some(trusted)))
}

/// Nothing where no token of it can be valid any more.
fn of_revoked(revoked: &RevokedToken, now: Timestamp) -> Option<TrustChange> {
    let change = || TrustChange::RevokedToken(revoked.token.clone(), revoked.issuer.clone(), revoked.expire_time);
    (revoked.expire_time > now).then(change)
}
