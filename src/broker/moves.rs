//! `MoveTenant`: whether a tenant can go where it is to go, and the change that sends it there.
//!
//! It decides nothing that it could not take back by deleting the tenant: what is written is the move, its journal and,
//! where there is none yet, the pool. The tenant's home stays what it is until the new one is ready.
//! [`moving`](super::moving) carries it on.
//!
//! A move is refused where it would lose something: people, who are in the old pool and cannot be moved; a pool that is
//! protected against deletion; secrets, which are kept in the Region of their pool, if the new place is in another.

use std::collections::BTreeSet;

use super::api::{NewMove, Page, TenantView};
use super::pools::Place;
use super::records::{Change, Versioned};
use super::shelves::tenant_prefix;
use super::tenants::Tenants;
use super::world::{Asked, check_version};
use crate::domain::audit::Call;
use crate::domain::client::Client;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::{PoolId, TenantId};
use crate::domain::interactive::ClientKind;
use crate::domain::journal::{Journal, Task};
use crate::domain::moving::{MoveState, TenantMove};
use crate::domain::pool::Pool;
use crate::domain::quota::Quota;
use crate::domain::tenant::{Isolation, Tenant};

impl Tenants {
    /// Writes the move down and answers. It is carried on in the background, however long it takes.
    pub async fn move_to(
        &self,
        call: &Call,
        id: &TenantId,
        new: &NewMove,
        version: Option<u64>,
        validate_only: bool,
    ) -> Result<TenantView> {
        let answer = self.world.settle(call, || self.try_move(call, id, new, version, validate_only)).await?;
        if let Some(view) = answer {
            return Ok(view);
        }
        let view = self.get(id).await;
        // It runs whether anybody waits for it or not.
        drop(self.journals.run(Task::MoveTenant(id.clone())));
        view
    }

    /// `None` once it is written down.
    async fn try_move(
        &self,
        call: &Call,
        id: &TenantId,
        new: &NewMove,
        version: Option<u64>,
        validate_only: bool,
    ) -> Result<Option<TenantView>> {
        let tenant = self.stored(id).await?;
        let Asked::Afresh(receipt) = self.world.asked(call).await? else {
            return self.seen(tenant).await.map(Some);
        };
        check_version(version, tenant.version, id.name())?;
        tenant.check_settled()?;
        tenant.check_not_moving()?;
        check_can_leave(&tenant, new.target)?;
        let (client_count, pools) = self.clients_of(&tenant).await?;
        let user_pool = match new.target {
            Isolation::AppClient => None,
            Isolation::UserPool => Some(new.user_pool.clone().unwrap_or_default()),
        };
        if let Some(settings) = &user_pool {
            self.pools.check_settings(settings, None).await.map_err(|error| error.without("tenant"))?;
        }
        let limit = self.world.settings.ceilings.app_clients_per_user_pool;
        if user_pool.is_some() && client_count > limit {
            return Err(Quota::AppClients.exceeded(id.name(), limit));
        }
        let _turn = self.pools.place_in_turn().await;
        let place = match &user_pool {
            None => self.pools.place_shared(None).await?,
            Some(settings) => self.pools.place_dedicated(id, settings).await?,
        };
        for pool in &pools {
            check_beside(&self.pools.pool(pool).await?.value, new.target, place.pool())?;
        }
        let now = self.world.now();
        let moved = TenantMove {
            state: MoveState::Running,
            target: new.target,
            to: place.pool().id.clone(),
            user_pool,
            from: tenant.pool.clone(),
            from_isolation: tenant.isolation,
            client_count,
            moved_client_count: 0,
            overlap: new.overlap,
            create_time: now,
            retire_time: None,
            end_time: None,
            last_error_reason: String::new(),
        };
        let record = Tenant { moved: Some(moved), update_time: now, ..tenant.value.clone() };
        if validate_only {
            return self.seen(Versioned { value: record, version: tenant.version }).await.map(Some);
        }
        let event = call.event(now, id.name()).detail(format!("from {} to {}", tenant.pool, place.pool().id));
        let mut change = Change::because(event).update(tenant.version, &record).create(&Journal::new(
            Task::MoveTenant(id.clone()),
            call,
            now,
        ));
        // A pool that is there is only referred to; its count is of app clients.
        if let Place::New(pool, counted) = &place {
            change = counted.keep(change.create(pool));
        }
        self.world.records.commit(receipt.file(change, id.name())).await?;
        self.pools.note_unasked(&place);
        Ok(None)
    }

    /// How many clients the tenant has, and where. Fails where people sign in with one.
    async fn clients_of(&self, tenant: &Tenant) -> Result<(u32, BTreeSet<PoolId>)> {
        let mut page = Page { after: None, size: 200 };
        let (mut count, mut pools) = (0_u32, BTreeSet::from([tenant.pool.clone()]));
        loop {
            let listing = self.world.records.list::<Client>(&tenant_prefix(&tenant.id), &page).await?;
            for client in listing.items {
                if client.kind() == ClientKind::Interactive {
                    let message =
                        format!("people sign in with {}, and they cannot be moved to another pool", client.name);
                    return Err(Error::new(Reason::ClientKindMismatch, message).about(&client.name));
                }
                count = count.saturating_add(1);
                pools.insert(client.value.pool);
            }
            match listing.next {
                Some(next) => page.after = Some(next),
                None => return Ok((count, pools)),
            }
        }
    }
}

/// A secret stays in the Region of the pool that it was made for.
fn check_beside(from: &Pool, target: Isolation, to: &Pool) -> Result<()> {
    if from.is_beside(to) {
        return Ok(());
    }
    let rule = format!("{} is in another Region, and a tenant cannot be moved between Regions", from.id.name());
    Err(match target {
        Isolation::UserPool => Error::invalid("user_pool.region", rule),
        Isolation::AppClient => Error::invalid("target", rule),
    })
}

fn check_can_leave(tenant: &Tenant, target: Isolation) -> Result<()> {
    let name = tenant.id.name();
    if tenant.isolation == target {
        return Err(Error::invalid("target", "is the isolation that the tenant has"));
    }
    if let Some(provider) = tenant.identity_providers.first() {
        let message = format!("the identity provider {} cannot be moved: take it away first", provider.id);
        return Err(Error::new(Reason::ProviderInUse, message).about(name));
    }
    if tenant.user_pool.as_ref().is_some_and(|settings| settings.deletion_protection) {
        let message = format!("the user pool of {name} would be deleted, and deletion protection is on for it");
        return Err(Error::new(Reason::DeletionProtected, message).about(name));
    }
    Ok(())
}
