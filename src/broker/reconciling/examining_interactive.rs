//! One client that people sign in with, as the registry has it and as its pool does. It has no secret, so its settings are
//! all there is to compare; as with a machine's, what is on its way is no difference.

use super::{Pass, Reconciling, is_settled, or_none};
use crate::broker::clients::interactive::interactive_spec;
use crate::broker::ports::{InteractiveSeen, InteractiveSpec};
use crate::broker::records::Versioned;
use crate::broker::records::shelves::client_key;
use crate::domain::client::{Client, ClientState};
use crate::domain::drift::{Drift, DriftKind, KIND};
use crate::domain::error::Result;
use crate::domain::id::{AppClientId, ClientName};
use crate::domain::journal::{Journal, Task};
use crate::domain::pool::MadePool;
use crate::domain::tenant::Tenant;

/// What the registry says of it.
#[derive(PartialEq, Eq)]
struct Known {
    client: Versioned<Client>,
    tenant: Versioned<Tenant>,
    pool: MadePool,
    app_client: AppClientId,
    spec: InteractiveSpec,
    is_applying: bool,
}

impl Reconciling {
    /// What differs, mended where the pass mends.
    pub(super) async fn interactive_drifts(&self, pass: &Pass, name: &ClientName) -> Result<Vec<Drift>> {
        let _client = self.world.targets.lock(name.to_string()).await;
        let Some(known) = self.known_interactive(name).await? else { return Ok(Vec::new()) };
        let seen = self.see_interactive(&known).await?;
        // Whoever changed it meanwhile has applied that, or will.
        if self.known_interactive(name).await?.is_none_or(|now| now != known) {
            return Ok(Vec::new());
        }
        let mut drifts = compare(&known, seen.as_ref());
        if pass.mend && seen.is_some() && !drifts.is_empty() {
            let fields: Vec<_> = drifts.iter().map(|drift| drift.field).collect();
            self.note(pass, "keyward.reconcile/update-app-client", name, &fields.join(", ")).await?;
            let update =
                self.world.user_pools.update_interactive_client(&known.pool, &known.app_client, &known.spec).await;
            let is_done = self.tried("an app client that people sign in with", update);
            self.look_at_client(pass, &known.client, Some(&known.tenant)).await?;
            // A secret that somebody gave it stays, so it may be no better than before.
            let left =
                if is_done { compare(&known, self.see_interactive(&known).await?.as_ref()) } else { drifts.clone() };
            for drift in &mut drifts {
                drift.mended = !left.iter().any(|left| left.field == drift.field);
            }
        }
        Ok(drifts)
    }

    /// `None` for a client that is not in use.
    async fn known_interactive(&self, name: &ClientName) -> Result<Option<Known>> {
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(name.tenant.as_str()).await?;
        let client: Option<Versioned<Client>> = self.world.records.get(&client_key(name)).await?;
        let (Some(tenant), Some(client)) = (tenant, client) else { return Ok(None) };
        let (Some(settings), Some(app_client)) = (&client.interactive, client.app_client.clone()) else {
            return Ok(None);
        };
        if client.state != ClientState::Active || !is_settled(&tenant) {
            return Ok(None);
        }
        let Some(pool) = self.pools.made(&client.pool).await? else { return Ok(None) };
        let applying = [Task::ApplyClient(name.clone()), Task::ApplyProviders(name.tenant.clone())];
        let mut is_applying = !client.applied;
        for task in applying {
            is_applying |= self.world.records.get::<Journal>(&task.to_string()).await?.is_some();
        }
        let spec = interactive_spec(&client, settings, &tenant);
        Ok(Some(Known { client, tenant, pool, app_client, spec, is_applying }))
    }

    async fn see_interactive(&self, known: &Known) -> Result<Option<InteractiveSeen>> {
        let seen = self.world.user_pools.describe_interactive_client(&known.pool, &known.app_client).await;
        or_none(seen)
    }
}

fn compare(known: &Known, seen: Option<&InteractiveSeen>) -> Vec<Drift> {
    let (name, id) = (&known.client.name, &known.app_client);
    let Some(InteractiveSeen { spec: is, is_interactive }) = seen else {
        let detail = "the app client is gone; a new one would have another id, so it is not made by itself";
        return vec![Drift::new(DriftKind::Missing, name, id, detail)];
    };
    let changed = |field, what: &str| {
        Drift::new(DriftKind::ChangedSetting, name, id, format!("{what} of the app client was changed")).of_field(field)
    };
    let mut drifts = Vec::new();
    if !is_interactive {
        let detail = "the hosted sign-in by the authorization-code grant is no longer all that the app client is for";
        drifts.push(Drift::new(DriftKind::ChangedSetting, name, id, detail).of_field(KIND));
    }
    if known.is_applying {
        return drifts;
    }
    let wanted = &known.spec;
    let has_scopes = (&wanted.scopes, &wanted.standard_scopes) == (&is.scopes, &is.standard_scopes);
    let fields = [
        ("scopes", has_scopes, "a scope"),
        (
            "access_token_validity",
            wanted.access_token_validity == is.access_token_validity,
            "the life of access tokens",
        ),
        ("interactive.id_token_validity", wanted.id_token_validity == is.id_token_validity, "the life of ID tokens"),
        (
            "interactive.refresh_token_validity",
            wanted.refresh_token_validity == is.refresh_token_validity,
            "the life of refresh tokens",
        ),
        ("interactive.callback_urls", wanted.callback_urls == is.callback_urls, "a URL to come back to"),
        ("interactive.sign_out_urls", wanted.sign_out_urls == is.sign_out_urls, "a URL to sign out to"),
        ("interactive.identity_provider_ids", wanted.providers == is.providers, "an identity provider"),
        (
            "interactive.allow_native_accounts",
            wanted.native_accounts == is.native_accounts,
            "the use of accounts of the pool",
        ),
    ];
    let differing = fields.into_iter().filter(|(_, is_as_wanted, _)| !is_as_wanted);
    drifts.extend(differing.map(|(field, _, what)| changed(field, what)));
    drifts
}
