//! User pools in SQLite: Cognito's API for administrators in small.
//!
//! What Cognito enforces is enforced here: what breaks a rule is Refused, what is one too many LimitExceeded, what
//! hangs on something that is not there NotFound; deleting what is gone succeeds. The two ports to a pool's tokens are
//! in [`issuer`](super::issuer), the rules of app clients in [`app_clients`](super::app_clients) and, of those that people
//! sign in with, in [`interactive`](super::interactive), those of resource servers in [`resource_servers`].
//!
//! Of a pool's settings only deletion protection and the Region have an effect; the rest is kept and given to nobody,
//! because nobody signs in here. The issuer type is ignored: all issuers start with the option's base.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::made_pools::{find, find_by, look_for, settings};
use super::resource_servers::require_pool;
use super::sealing::Sealing;
use super::signing_keys::{KeyRing, NewKey};
use super::store::{Asking, Failure, Store, text_of};
use super::{Distance, Options, app_clients, interactive, providers, random, resource_servers};
use crate::broker::ports::{
    AppClientSeen, AppClientSpec, DomainProgress, DomainSet, Fault, FoundPool, InteractiveSeen, InteractiveSpec,
    NewAppClient, Peer, PortPage, PortResult, ProviderDrift, ProviderSpec, Unmet, UserPools,
};
use crate::domain::id::{AppClientId, PoolId, SecretId, UserPoolId};
use crate::domain::pool::MadePool;
use crate::domain::scope::{Identifier, ResourceServer};
use crate::domain::secret::ClientSecret;
use crate::domain::tenant::{HostedDomain, UserPoolSettings};

/// User pools of one Region: Cognito's quota, raised as far as it goes.
const MAX_POOLS: u32 = 10_000;
/// Entries of a page, as many as a page of Cognito's holds.
const PAGE: usize = 60;

pub(super) struct SqlitePools {
    store: Arc<Store>,
    sealing: Arc<Sealing>,
    keys: KeyRing,
    distance: Distance,
    options: Options,
}

impl SqlitePools {
    pub fn new(store: Arc<Store>, sealing: Arc<Sealing>, keys: KeyRing, distance: Distance, options: Options) -> Self {
        SqlitePools { store, sealing, keys, distance, options }
    }

    async fn make_key(&self, asking: Asking, user_pool: &UserPoolId) -> PortResult<NewKey> {
        let (sealing, user_pool) = (Arc::clone(&self.sealing), user_pool.clone());
        let made = tokio::task::spawn_blocking(move || NewKey::generate(&sealing, &user_pool)).await;
        made.ok().flatten().ok_or_else(|| asking.error(Fault::Unavailable, "no RSA key pair could be made"))
    }
}

const fn asking(doing: &'static str) -> Asking {
    Asking { peer: Peer::UserPools, doing }
}

#[async_trait]
impl UserPools for SqlitePools {
    async fn ensure_pool(&self, id: &PoolId, settings: &UserPoolSettings) -> PortResult<MadePool> {
        self.distance.travel().await;
        let asking = asking("make a user pool");
        let settings_text = settings_text(asking, settings)?;
        let wanted = id.clone();
        if let Some(made) = self.store.read(asking, move |tx| find(tx, &wanted)).await? {
            return Ok(made);
        }

        let region = if settings.region.is_empty() { &self.options.region } else { &settings.region };
        let suffix = random::user_pool_suffix().map_err(|_| asking.error(Fault::Unavailable, "no random bytes"))?;
        let parsed = UserPoolId::parse("user_pool", &format!("{region}_{suffix}"));
        let user_pool = parsed.map_err(|_| asking.error(Fault::Refused, "the Region makes no valid id"))?;
        let issuer = format!("{}/{user_pool}", self.options.issuer_base);
        let key = self.make_key(asking, &user_pool).await?;

        let (id, region, now) = (id.clone(), region.clone(), text_of(self.distance.now()));
        let change = move |tx: &Transaction<'_>| {
            // Somebody may have been faster while the key was made; then theirs is the pool.
            if let Some(made) = find(tx, &id)? {
                return Ok(made);
            }
            let count: u32 = tx.query_row("SELECT count(*) FROM user_pools", [], |row| row.get(0))?;
            if count >= MAX_POOLS {
                return Err(Failure::told(Fault::LimitExceeded, format!("there are {MAX_POOLS} user pools")));
            }
            let sql = "INSERT INTO user_pools (id, keyward_id, issuer, region, settings, create_time)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let user_pool = user_pool.as_str();
            tx.execute(sql, params![user_pool, id.as_str(), issuer, region, settings_text, now])?;
            key.keep(tx, user_pool, &now)?;
            find(tx, &id)?.ok_or_else(|| Failure::broken("user pool"))
        };
        self.store.write(asking, change).await
    }

    async fn find_pool(&self, id: &PoolId, _region: &str) -> PortResult<Option<FoundPool>> {
        self.distance.travel().await;
        let id = id.clone();
        self.store.read(asking("look for a user pool"), move |tx| look_for(tx, &id)).await
    }

    async fn describe_pool(&self, user_pool: &UserPoolId, _region: &str) -> PortResult<Option<MadePool>> {
        self.distance.travel().await;
        let user_pool = user_pool.clone();
        let query = move |tx: &Transaction<'_>| find_by(tx, "id", user_pool.as_str());
        self.store.read(asking("describe a user pool"), query).await
    }

    async fn pool_settings(&self, pool: &MadePool) -> PortResult<Option<UserPoolSettings>> {
        self.distance.travel().await;
        let user_pool = pool.user_pool.clone();
        self.store.read(asking("read a user pool's settings"), move |tx| settings(tx, &user_pool)).await
    }

    async fn list_pools(&self, after: Option<&str>) -> PortResult<PortPage<PoolId>> {
        self.distance.travel().await;
        let after = after.unwrap_or_default().to_owned();
        let query = move |tx: &Transaction<'_>| {
            let sql = "SELECT keyward_id FROM user_pools WHERE keyward_id > ?1 ORDER BY keyward_id LIMIT ?2";
            let mut statement = tx.prepare_cached(sql)?;
            let ids = statement.query_map(params![after, PAGE], |row| row.get::<_, String>(0))?;
            let parse =
                |id: rusqlite::Result<String>| PoolId::parse("pool", &id?).map_err(|_| Failure::broken("pool id"));
            let items = ids.map(parse).collect::<Result<Vec<_>, _>>()?;
            Ok(PortPage { next: items.last().filter(|_| items.len() == PAGE).map(ToString::to_string), items })
        };
        self.store.read(asking("list user pools"), query).await
    }

    async fn check_settings(
        &self,
        _settings: &UserPoolSettings,
        _pool: Option<&MadePool>,
    ) -> PortResult<Option<Unmet>> {
        self.distance.travel().await;
        Ok(None)
    }

    /// It is kept with the other settings, and has no effect.
    async fn set_domain(&self, _id: &PoolId, pool: &MadePool, _wanted: Option<&HostedDomain>) -> PortResult<DomainSet> {
        self.distance.travel().await;
        let (made, user_pool) = (pool.clone(), pool.user_pool.clone());
        let query = move |tx: &Transaction<'_>| require_pool(tx, &user_pool);
        self.store.read(asking("set a user pool's domain"), query).await?;
        Ok(DomainSet { made, progress: Ok(DomainProgress::InForce) })
    }

    async fn update_pool(&self, pool: &MadePool, settings: &UserPoolSettings) -> PortResult<()> {
        self.distance.travel().await;
        let asking = asking("update a user pool");
        let text = settings_text(asking, settings)?;
        let (user_pool, wanted) = (pool.user_pool.clone(), settings.region.clone());
        let change = move |tx: &Transaction<'_>| {
            let sql = "SELECT region FROM user_pools WHERE id = ?1";
            let region: Option<String> = tx.query_row(sql, [user_pool.as_str()], |row| row.get(0)).optional()?;
            let region = region.ok_or_else(|| resource_servers::no_pool(&user_pool))?;
            if !wanted.is_empty() && wanted != region {
                return Err(Failure::refused(format!("{user_pool} is in Region {region} and stays there")));
            }
            tx.execute("UPDATE user_pools SET settings = ?2 WHERE id = ?1", params![user_pool.as_str(), text])?;
            Ok(())
        };
        self.store.write(asking, change).await
    }

    async fn delete_pool(&self, id: &PoolId, _region: &str, _known: Option<&MadePool>) -> PortResult<()> {
        self.distance.travel().await;
        let id = id.clone();
        let change = move |tx: &Transaction<'_>| {
            let sql = "SELECT id, settings FROM user_pools WHERE keyward_id = ?1";
            let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
            let Some((user_pool, settings)) = tx.query_row(sql, [id.as_str()], row).optional()? else {
                return Ok(None);
            };
            let settings: UserPoolSettings =
                serde_json::from_str(&settings).map_err(|_| Failure::broken("user pool's settings"))?;
            if settings.deletion_protection {
                return Err(Failure::refused(format!("deletion protection of {user_pool} is on")));
            }
            tx.execute("DELETE FROM user_pools WHERE id = ?1", [&user_pool])?;
            Ok(Some(user_pool))
        };
        if let Some(user_pool) = self.store.write(asking("delete a user pool"), change).await? {
            self.keys.forget(&user_pool);
        }
        Ok(())
    }

    async fn put_resource_server(&self, pool: &MadePool, server: &ResourceServer) -> PortResult<()> {
        self.distance.travel().await;
        let asking = asking("put a resource server");
        server.check().map_err(|error| asking.error(Fault::Refused, error.message()))?;
        let (user_pool, server) = (pool.user_pool.clone(), server.clone());
        self.store.write(asking, move |tx| resource_servers::put(tx, &user_pool, &server)).await
    }

    async fn list_resource_servers(&self, pool: &MadePool) -> PortResult<Vec<Identifier>> {
        self.distance.travel().await;
        let user_pool = pool.user_pool.clone();
        let query = move |tx: &Transaction<'_>| resource_servers::list(tx, &user_pool);
        self.store.read(asking("list resource servers"), query).await
    }

    async fn delete_resource_server(&self, pool: &MadePool, identifier: &Identifier) -> PortResult<()> {
        self.distance.travel().await;
        let (user_pool, identifier) = (pool.user_pool.clone(), identifier.clone());
        let change = move |tx: &Transaction<'_>| resource_servers::delete(tx, &user_pool, &identifier);
        self.store.write(asking("delete a resource server"), change).await
    }

    async fn create_app_client(
        &self,
        pool: &MadePool,
        spec: &AppClientSpec,
        secret: &ClientSecret,
    ) -> PortResult<NewAppClient> {
        self.distance.travel().await;
        let asking = asking("create an app client");
        app_clients::check(asking, spec)?;
        let no_randomness = |_| asking.error(Fault::Unavailable, "no random bytes");
        let id = random::app_client_id().map_err(no_randomness)?;
        let id = AppClientId::parse("app_client", &id).map_err(|error| asking.error(Fault::Broken, error.message()))?;
        let verifier = app_clients::Verifier::of(&self.sealing, &id, secret).map_err(no_randomness)?;
        let (user_pool, spec, now) = (pool.user_pool.clone(), spec.clone(), self.distance.now());
        let change = move |tx: &Transaction<'_>| {
            require_pool(tx, &user_pool)?;
            app_clients::create(tx, &user_pool, &id, &spec, &verifier, now)?;
            Ok(NewAppClient { id, assigned: None })
        };
        self.store.write(asking, change).await
    }

    async fn took_secret(&self, pool: &MadePool, client: &AppClientId, secret: &ClientSecret) -> PortResult<bool> {
        self.distance.travel().await;
        let (user_pool, id) = (pool.user_pool.clone(), client.clone());
        let query = move |tx: &Transaction<'_>| {
            app_clients::require(tx, &user_pool, &id)?;
            app_clients::load(tx, &user_pool, &id)
        };
        let found = self.store.read(asking("look whether an app client took its secret"), query).await?;
        Ok(found.is_some_and(|found| found.is_authenticated_by(&self.sealing, client, secret)))
    }

    async fn find_app_client(&self, pool: &MadePool, marker: &str) -> PortResult<Option<AppClientId>> {
        self.distance.travel().await;
        let (user_pool, marker) = (pool.user_pool.clone(), marker.to_owned());
        let query = move |tx: &Transaction<'_>| {
            require_pool(tx, &user_pool)?;
            app_clients::find(tx, &user_pool, &marker)
        };
        self.store.read(asking("find an app client"), query).await
    }

    async fn describe_app_client(&self, pool: &MadePool, client: &AppClientId) -> PortResult<Option<AppClientSeen>> {
        self.distance.travel().await;
        let (user_pool, client) = (pool.user_pool.clone(), client.clone());
        let query = move |tx: &Transaction<'_>| app_clients::describe(tx, &user_pool, &client);
        self.store.read(asking("describe an app client"), query).await
    }

    async fn list_app_clients(
        &self,
        pool: &MadePool,
        after: Option<&str>,
    ) -> PortResult<PortPage<(AppClientId, String)>> {
        self.distance.travel().await;
        let (user_pool, after) = (pool.user_pool.clone(), after.and_then(|after| after.parse().ok()).unwrap_or(0));
        let query = move |tx: &Transaction<'_>| {
            require_pool(tx, &user_pool)?;
            app_clients::list(tx, &user_pool, after, PAGE)
        };
        self.store.read(asking("list app clients"), query).await
    }

    async fn update_app_client(&self, pool: &MadePool, client: &AppClientId, spec: &AppClientSpec) -> PortResult<()> {
        self.distance.travel().await;
        let asking = asking("update an app client");
        app_clients::check(asking, spec)?;
        let (user_pool, client, spec) = (pool.user_pool.clone(), client.clone(), spec.clone());
        self.store.write(asking, move |tx| app_clients::update(tx, &user_pool, &client, &spec)).await
    }

    async fn create_interactive_client(&self, pool: &MadePool, spec: &InteractiveSpec) -> PortResult<AppClientId> {
        self.distance.travel().await;
        let asking = asking("create an app client");
        interactive::check(asking, spec)?;
        let id = random::app_client_id().map_err(|_| asking.error(Fault::Unavailable, "no random bytes"))?;
        let id = AppClientId::parse("app_client", &id).map_err(|error| asking.error(Fault::Broken, error.message()))?;
        let (user_pool, spec, now) = (pool.user_pool.clone(), spec.clone(), self.distance.now());
        self.store.write(asking, move |tx| interactive::create(tx, &user_pool, id, &spec, now)).await
    }

    async fn describe_interactive_client(
        &self,
        pool: &MadePool,
        client: &AppClientId,
    ) -> PortResult<Option<InteractiveSeen>> {
        self.distance.travel().await;
        let (user_pool, client) = (pool.user_pool.clone(), client.clone());
        let query = move |tx: &Transaction<'_>| interactive::describe(tx, &user_pool, &client);
        self.store.read(asking("describe an app client"), query).await
    }

    async fn update_interactive_client(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        spec: &InteractiveSpec,
    ) -> PortResult<()> {
        self.distance.travel().await;
        let asking = asking("update an app client");
        interactive::check(asking, spec)?;
        let (user_pool, client, spec) = (pool.user_pool.clone(), client.clone(), spec.clone());
        self.store.write(asking, move |tx| interactive::update(tx, &user_pool, &client, &spec)).await
    }

    async fn delete_app_client(&self, pool: &MadePool, client: &AppClientId) -> PortResult<()> {
        self.distance.travel().await;
        let (user_pool, client) = (pool.user_pool.clone(), client.clone());
        let change = move |tx: &Transaction<'_>| {
            let sql = "DELETE FROM app_clients WHERE user_pool = ?1 AND id = ?2";
            tx.execute(sql, params![user_pool.as_str(), client.as_str()])?;
            Ok(())
        };
        self.store.write(asking("delete an app client"), change).await
    }

    async fn put_identity_provider(&self, pool: &MadePool, spec: &ProviderSpec) -> PortResult<()> {
        self.distance.travel().await;
        let (user_pool, spec) = (pool.user_pool.clone(), spec.clone());
        let change = move |tx: &Transaction<'_>| providers::put(tx, &user_pool, &spec);
        self.store.write(asking("put an identity provider"), change).await
    }

    async fn compare_identity_provider(
        &self,
        pool: &MadePool,
        spec: &ProviderSpec,
    ) -> PortResult<Option<ProviderDrift>> {
        self.distance.travel().await;
        let (user_pool, spec) = (pool.user_pool.clone(), spec.clone());
        let query = move |tx: &Transaction<'_>| providers::compare(tx, &user_pool, &spec);
        self.store.read(asking("describe an identity provider"), query).await
    }

    async fn list_identity_providers(&self, pool: &MadePool, after: Option<&str>) -> PortResult<PortPage<String>> {
        self.distance.travel().await;
        let (user_pool, after) = (pool.user_pool.clone(), after.unwrap_or_default().to_owned());
        let query = move |tx: &Transaction<'_>| providers::list(tx, &user_pool, &after, PAGE);
        self.store.read(asking("list identity providers"), query).await
    }

    async fn delete_identity_provider(&self, pool: &MadePool, name: &str) -> PortResult<()> {
        self.distance.travel().await;
        let (user_pool, name) = (pool.user_pool.clone(), name.to_owned());
        let change = move |tx: &Transaction<'_>| providers::delete(tx, &user_pool, &name);
        self.store.write(asking("delete an identity provider"), change).await
    }

    async fn add_secret(&self, pool: &MadePool, client: &AppClientId, secret: &ClientSecret) -> PortResult<SecretId> {
        self.distance.travel().await;
        let asking = asking("add a client secret");
        let verifier = app_clients::Verifier::of(&self.sealing, client, secret)
            .map_err(|_| asking.error(Fault::Unavailable, "no random bytes"))?;
        let (user_pool, client, now) = (pool.user_pool.clone(), client.clone(), self.distance.now());
        self.store.write(asking, move |tx| app_clients::add_secret(tx, &user_pool, &client, &verifier, now)).await
    }

    async fn list_secrets(&self, pool: &MadePool, client: &AppClientId) -> PortResult<Vec<SecretId>> {
        self.distance.travel().await;
        let (user_pool, client) = (pool.user_pool.clone(), client.clone());
        let query = move |tx: &Transaction<'_>| {
            app_clients::require(tx, &user_pool, &client)?;
            app_clients::secrets(tx, &client)
        };
        self.store.read(asking("list client secrets"), query).await
    }

    async fn delete_secret(&self, pool: &MadePool, client: &AppClientId, secret: &SecretId) -> PortResult<()> {
        self.distance.travel().await;
        let (user_pool, client, secret) = (pool.user_pool.clone(), client.clone(), secret.clone());
        let change = move |tx: &Transaction<'_>| app_clients::delete_secret(tx, &user_pool, &client, &secret);
        self.store.write(asking("delete a client secret"), change).await
    }
}

fn settings_text(asking: Asking, settings: &UserPoolSettings) -> PortResult<String> {
    settings.check().map_err(|error| asking.error(Fault::Refused, error.message()))?;
    serde_json::to_string(settings).map_err(|_| asking.error(Fault::Broken, "settings cannot be written as JSON"))
}
