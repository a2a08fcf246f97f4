//! Which tenant a person who wants to sign in belongs to, and where to send them.
//!
//! A hint leads to a tenant, the tenant to its client for people, that to its pool; and from these three records follows the
//! answer. It must never follow a claim that is not verified, send anybody anywhere that neither the pool's record nor the
//! client's own list says, or tell one kind of "not known" from another: no such name, a claim that is not verified, a tenant
//! that is suspended or going, one without a client for people, another client's `redirect_uri` are one answer.
//!
//! **The same look-ups.** What is not known is looked for all the same: at each step at which there is nothing, the next look is
//! for a name that cannot be there, drawn from the hint by a key of this process. So a hint that is not known costs as many
//! reads of the same kinds as one that is, from memory where it was asked before. It costs less where a tenant has clients for
//! people that are not the answer, each of which is read; and once in memory, whoever asks first pays for those after.
//!
//! It fails with UNAVAILABLE where the registry cannot be read, or changes to it have not been heard of for too long: a name
//! may be another tenant's by then.

mod authorize;

use std::sync::Arc;

use aws_lc_rs::hmac;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::watch;

use super::api::{Hint, Matched, Page, SignIn, SignInQuestion};
use super::records::shelves::{InteractiveEntry, claim_key, client_key, owner_prefix, tenant_prefix};
use super::records::{IssuerPool, Versioned};
use super::world::{World, entropy};
use crate::domain::client::{Client, ClientState, Owner};
use crate::domain::error::Result;
use crate::domain::id::{AppClientId, ClientId, ClientName, Issuer, PoolId, TenantId};
use crate::domain::interactive::InteractiveSettings;
use crate::domain::pool::Pool;
use crate::domain::sign_in::{Claim, SignInDomain, SignInDomainKind};
use crate::domain::tenant::{Tenant, TenantState};
use authorize::{Authorizing, authorize_url, fallback_url};

/// A tenant's clients for people that are looked at, the first by name. Who has more is to name one.
const CLIENTS: usize = 100;
/// Of these, how many are read at one time.
const AT_A_TIME: usize = 8;
/// What cannot be the client of a tenant that is not there. Of one that is there, nothing is asked by this name.
const NOBODY: &str = "nobody";

pub struct Matching {
    world: Arc<World>,
    /// Which client of a tenant people sign in with, if nobody says.
    chosen: moka::sync::Cache<TenantId, Chosen>,
    key: hmac::Key,
}

/// Holds until the tenant, or a client of it, changes.
#[derive(Clone)]
struct Chosen {
    client: Option<ClientName>,
    changes: watch::Receiver<()>,
}

impl Matching {
    /// Fails when there is no randomness.
    pub(super) fn new(world: Arc<World>) -> Result<Self> {
        let chosen = moka::sync::Cache::new(world.settings.verification.max_cached);
        let key = hmac::Key::new(hmac::HMAC_SHA256, entropy::<32>()?.as_slice());
        Ok(Matching { world, chosen, key })
    }

    /// Where to send whoever a hint is about. A hint that is not known is no error.
    pub async fn find(&self, question: &SignInQuestion) -> Result<Matched> {
        self.world.may_say_verified()?;
        let records = &self.world.records;
        let hinted = self.tenant_of(&question.hint).await?;
        let id = match &hinted {
            Some(tenant) => tenant.clone(),
            None => self.no_tenant(&question.hint)?,
        };
        let tenant = records.view::<Tenant>(id.as_str()).await?;
        let client = match &question.client {
            Some(client) => Some(ClientName::new(id.clone(), client.clone())),
            None => self.chosen(&id).await?,
        };
        let named = client.is_some();
        let client = match client {
            Some(client) => client,
            None => ClientName::new(id.clone(), ClientId::parse("client", NOBODY)?),
        };
        let client = records.view::<Client>(&client_key(&client)).await?.filter(|_| named);
        let pool = match &client {
            Some(client) => client.pool.clone(),
            // The id of a tenant that is not there has the form of a pool's, and a pool's has a dash early on.
            None => PoolId::parse("pool", self.no_tenant(&question.hint)?.as_str())?,
        };
        let pool = records.view::<Pool>(pool.as_str()).await?;
        let found = match (hinted, tenant, client, pool) {
            (Some(_), Some(tenant), Some(client), Some(pool)) => sign_in(question, &tenant, &client, &pool),
            _ => None,
        };
        let fallback = self.world.settings.sign_in.fallback_url.as_deref();
        let fallback = fallback.and_then(|fallback| fallback_url(fallback, &question.passed));
        Ok(Matched { found, fallback })
    }

    /// Whose a hint is, whatever that tenant is worth now.
    async fn tenant_of(&self, hint: &Hint) -> Result<Option<TenantId>> {
        match hint {
            Hint::Email(domain) => self.claimed(domain, SignInDomainKind::Email).await,
            Hint::Host(host) => self.claimed(host, SignInDomainKind::Host).await,
            Hint::Tenant(tenant) => Ok(Some(tenant.clone())),
            Hint::Issuer(issuer) => self.tenant_with_issuer(issuer, hint).await,
            Hint::AppClient(app_client) => self.owner_of(app_client).await,
        }
    }

    async fn claimed(&self, domain: &str, kind: SignInDomainKind) -> Result<Option<TenantId>> {
        let key = claim_key(&SignInDomain { domain: domain.to_owned(), kind });
        let claim = self.world.records.view::<Claim>(&key).await?.filter(|claim| claim.verified);
        Ok(claim.map(|claim| claim.tenant.clone()))
    }

    /// A shared pool's issuer is many tenants'.
    async fn tenant_with_issuer(&self, issuer: &Issuer, hint: &Hint) -> Result<Option<TenantId>> {
        let known = self.world.records.view::<IssuerPool>(issuer.as_str()).await?;
        let pool = match known {
            Some(known) => known.pool.clone(),
            None => PoolId::parse("pool", self.no_tenant(hint)?.as_str())?,
        };
        let pool = self.world.records.view::<Pool>(pool.as_str()).await?;
        Ok(pool.and_then(|pool| pool.tenant.clone()))
    }

    async fn owner_of(&self, app_client: &AppClientId) -> Result<Option<TenantId>> {
        let page = Page { after: None, size: 2 };
        let owners = self.world.records.list::<Owner>(&owner_prefix(app_client), &page).await?;
        // Cognito's ids are unique; of two owners nobody could say which is meant.
        let [owner] = owners.items.as_slice() else { return Ok(None) };
        let is_in_use = !owner.revoked && owner.purge_time.is_none();
        Ok(is_in_use.then(|| owner.client.tenant.clone()))
    }

    /// The tenant's only client for people, or that of several which is said to be the one.
    async fn chosen(&self, tenant: &TenantId) -> Result<Option<ClientName>> {
        if let Some(chosen) = self.chosen.get(tenant)
            && matches!(chosen.changes.has_changed(), Ok(false))
        {
            return Ok(chosen.client);
        }
        // Before it is looked: a change meanwhile makes this one void.
        let changes = self.world.records.watch_tenant(tenant);
        let page = Page { after: None, size: CLIENTS };
        let entries = self.world.records.list::<InteractiveEntry>(&tenant_prefix(tenant), &page).await?.items;
        let read = |entry: Versioned<InteractiveEntry>| async move {
            self.world.records.view::<Client>(&client_key(&entry.client)).await
        };
        let found: Vec<_> = stream::iter(entries).map(read).buffered(AT_A_TIME).try_collect().await?;
        let found: Vec<_> = found.into_iter().flatten().filter(|client| is_for_people(client)).collect();
        let is_default = |client: &&Arc<Versioned<Client>>| {
            client.interactive.as_ref().is_some_and(|settings| settings.default_sign_in)
        };
        let client = match found.as_slice() {
            [only] => Some(only),
            several => several.iter().find(is_default),
        };
        let client = client.map(|client| client.name.clone());
        self.chosen.insert(tenant.clone(), Chosen { client: client.clone(), changes });
        Ok(client)
    }

    /// The id of a tenant that is not there: nobody can tell it, so nobody has made one of it.
    fn no_tenant(&self, hint: &Hint) -> Result<TenantId> {
        let tag = hmac::sign(&self.key, hint.text().as_bytes());
        TenantId::parse("tenant", &format!("x{:.60}", hex::encode(tag)))
    }
}

fn is_for_people(client: &Client) -> bool {
    client.interactive.is_some() && client.state == ClientState::Active
}

/// What follows from the three records. `None` where they do not lead a person anywhere.
fn sign_in(question: &SignInQuestion, tenant: &Tenant, client: &Client, pool: &Pool) -> Option<SignIn> {
    let (settings, made) = (client.interactive.as_ref()?, pool.made.as_ref()?);
    let app_client = client.app_client.clone()?;
    if tenant.state != TenantState::Active || client.state != ClientState::Active {
        return None;
    }
    let redirect_uri = match &question.redirect_uri {
        Some(asked) => settings.callback_urls.iter().find(|url| *url == asked)?,
        None => settings.callback_urls.first()?,
    };
    let scopes = scopes(question, client, settings)?;
    let provider = only_provider(tenant, settings).unwrap_or_default();
    let authorizing = Authorizing { app_client: app_client.as_str(), redirect_uri, scopes: &scopes, provider };
    let url = made.hosted_sign_in().and_then(|base| authorize_url(&base, &authorizing, &question.passed));
    Some(SignIn {
        client: client.name.clone(),
        pool: pool.id.clone(),
        issuer: made.issuer.clone(),
        provider: provider.to_owned(),
        app_client,
        url,
    })
}

/// Those that are asked for, or all of the client's. `None` where one is not the client's.
fn scopes(question: &SignInQuestion, client: &Client, settings: &InteractiveSettings) -> Option<String> {
    let of_standard = settings.standard_scopes.iter().map(|scope| scope.as_str().to_owned());
    let all: Vec<String> = of_standard.chain(client.scopes.iter().map(ToString::to_string)).collect();
    match question.scopes.as_slice() {
        [] => Some(all.join(" ")),
        asked => asked.iter().all(|scope| all.contains(scope)).then(|| asked.join(" ")),
    }
}

/// What the provider is called at Cognito where people have no other choice.
fn only_provider<'t>(tenant: &'t Tenant, settings: &InteractiveSettings) -> Option<&'t str> {
    let named = &settings.identity_providers;
    let mut allowed =
        tenant.identity_providers.iter().filter(|provider| named.is_empty() || named.contains(&provider.id));
    match (allowed.next(), allowed.next(), settings.allow_native_accounts) {
        (Some(only), None, false) => Some(only.name.as_str()),
        _ => None,
    }
}
