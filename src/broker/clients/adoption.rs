//! Taking over what was there before Keyward: user pools that the configuration names, and app clients with their
//! secrets.
//!
//! An adopted pool is a shared pool like others, and new clients are put into it as long as the configuration names it.
//! Its limit counts Keyward's own app clients; those of others take none of its places. The catalogue is applied to it,
//! so a resource server of the catalogue replaces one of the same identifier there. Everything else in it is left as
//! it is: settings, app clients, and resource servers that Keyward did not bring.
//!
//! A pool is for the brokers of one registry: what another registry's broker names in it, this one takes for left behind.
//!
//! An import stores the secret in the vault first, under a name that no client has, and then writes the client down
//! together with the journal of an issuing that has come as far as that: an app client with a secret in the vault. So a
//! crash leaves either a secret that a reconciliation finds, or a journal. The registry never sees the secret.

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use super::issuing::{document, version_of};
use super::{Clients, secret_name};
use crate::broker::api::{ClientView, NewImport, SecretSource};
use crate::broker::pools::{Place, Pools};
use crate::broker::ports::{AppClientSeen, Fault};
use crate::broker::records::shelves::{client_key, owner_key};
use crate::broker::records::{Change, IssuerPool, Versioned, settle};
use crate::broker::world::{Asked, unique_id};
use crate::domain::audit::{Call, Principal};
use crate::domain::client::{Client, ClientState, Marked, Owner};
use crate::domain::error::{Error, Kind, Reason, Result};
use crate::domain::id::{ClientName, PoolId, TenantId, UserPoolId};
use crate::domain::journal::{Journal, Task};
use crate::domain::pool::{Adopted, MadePool, Pool};
use crate::domain::scope::ScopeSet;
use crate::domain::secret::ClientSecret;
use crate::domain::tenant::{Isolation, Tenant};

impl Pools {
    /// Sees to it that the pools which the configuration names are known: once they are, this asks nobody any more. One
    /// that does not exist is left out; fails when the backend does not say.
    pub async fn adopt(&self) -> Result<()> {
        self.adopted.get_or_try_init(|| self.adopt_all()).await.map(|_| ())
    }

    async fn adopt_all(&self) -> Result<()> {
        let mut outcome = Ok(());
        for (user_pool, region) in &self.world.settings.adopted_pools {
            if let Err(error) = settle(|| self.adopt_one(user_pool, region)).await {
                tracing::warn!(%user_pool, %error, cause = error.internal_detail(), "a user pool is not adopted yet");
                outcome = Err(error);
            }
        }
        outcome
    }

    async fn adopt_one(&self, user_pool: &UserPoolId, region: &str) -> Result<()> {
        let id = adopted_id(user_pool)?;
        if self.world.records.get::<Pool>(id.as_str()).await?.is_some() {
            return Ok(());
        }
        let Some(made) = self.world.user_pools.describe_pool(user_pool, region).await? else {
            tracing::error!(%user_pool, "aws.adopted_pools names a user pool that does not exist");
            return Ok(());
        };
        if let Some(known) = self.world.records.get::<IssuerPool>(made.issuer.as_str()).await? {
            tracing::warn!(%user_pool, pool = %known.pool, "aws.adopted_pools names a user pool that is there already");
            return Ok(());
        }
        let now = self.world.now();
        let pool = Pool {
            id: id.clone(),
            tenant: None,
            region: region.to_owned(),
            made: Some(made.clone()),
            adopted: Some(Adopted::default()),
            app_clients: 0,
            catalog_version: 0,
            create_time: now,
        };
        let call = Call {
            principal: Principal::Keyward,
            method: "keyward.pool/adopt".into(),
            call_id: unique_id()?.into(),
            request: None,
        };
        let event = call.event(now, id.name()).detail(user_pool.as_str());
        let issuer = IssuerPool { issuer: made.issuer, pool: id };
        let counted = self.taken_over(region).await?;
        self.world.records.commit(counted.keep(Change::because(event).create(&pool).create(&issuer))).await
    }

    /// Whether another client can be put into a shared pool. One that the configuration no longer names keeps those
    /// it has.
    pub(in crate::broker) fn takes_more(&self, pool: &Pool) -> bool {
        let is_named =
            |(user_pool, _): &(UserPoolId, String)| pool.made.as_ref().is_some_and(|made| made.user_pool == *user_pool);
        pool.has_room(self.world.settings.app_clients_per_shared_pool)
            && (pool.adopted.is_none() || self.world.settings.adopted_pools.iter().any(is_named))
    }
}

/// Keyward's id of an adopted pool, the same whenever and wherever it is asked for.
fn adopted_id(user_pool: &UserPoolId) -> Result<PoolId> {
    let text = format!("keyward adopted pool\n{user_pool}");
    let digest = hex::encode(digest::digest(&digest::SHA256, text.as_bytes()));
    PoolId::parse("pool", &format!("shared-{digest:.16}"))
}

/// An app client that can be imported, with the secret that gets it a token.
struct Examined {
    client: Client,
    made: MadePool,
    secret: ClientSecret,
}

impl Clients {
    /// Takes an app client over. The secret is proved before anything is written; what follows is carried on as for a
    /// client that is issued, in the background too if it fails.
    pub async fn import(&self, call: &Call, new: NewImport, validate_only: bool) -> Result<ClientView> {
        let name = ClientName::new(new.tenant.clone(), new.id.clone());
        if let Asked::Again { resource, .. } = self.world.asked(call).await? {
            return self.get(&ClientName::parse("request_id", &resource)?).await;
        }
        let Examined { client, made, secret } = self.examine(&name, &new).await?;
        if validate_only {
            let client = Client { state: ClientState::Active, ..client };
            let (pool, state_reason) = (Some(made), String::new());
            return Ok(ClientView { client, version: 0, pool, state_reason, shares_accounts: false });
        }
        {
            let task = Task::IssueClient(name.clone());
            let _client = self.world.targets.lock(task.target()).await;
            if self.world.records.get::<Client>(&client_key(&name)).await?.is_some() {
                return Err(Error::already_exists(&name));
            }
            // Without the id, as the first version of every client: the whole document follows.
            let draft = document(&client, &made, None, secret);
            self.world.vault.put(&client.secret_name, &version_of(&client, "first"), &draft).await?;
            if let Err(error) = settle(|| self.try_import(call, &client, &made)).await {
                self.take_back(&client, &error).await;
                return Err(error);
            }
        }
        let _ = self.journals.run(Task::IssueClient(name.clone())).await;
        self.get(&name).await
    }

    /// Checks everything that can be checked before something is written.
    async fn examine(&self, name: &ClientName, new: &NewImport) -> Result<Examined> {
        let tenant = self.active_tenant(&new.tenant).await?;
        if self.world.records.get::<Client>(&client_key(name)).await?.is_some() {
            return Err(Error::already_exists(name));
        }
        let made = self.pool_of_import(&tenant, &new.pool).await?;
        self.free_owner(&made, new).await?;
        let seen = self.world.user_pools.describe_app_client(&made, &new.app_client).await?;
        let seen = seen.ok_or_else(|| no_app_client(new))?;
        if !seen.is_machine {
            let rule = "is not an app client of the client-credentials grant alone, with a secret";
            return Err(Error::invalid_because(Reason::ClientKindMismatch, "app_client_id", rule));
        }
        if let Some(marked) = Marked::read(&seen.name)
            && let Some(client) = self.world.marked(&marked).await?
        {
            return Err(taken(new, &client.name));
        }
        let client = self.client_of(name, new, &self.pools.pool(&new.pool).await?.value, &seen)?;
        self.check_scopes(&client.scopes).await?;
        let registered = self.world.user_pools.list_secrets(&made, &new.app_client).await?;
        if registered.len() > 1 {
            let message = format!("{} has two secrets, and nobody can tell which is given: delete one", new.app_client);
            return Err(Error::new(Reason::SecretAmbiguous, message).about(&new.app_client));
        }
        let secret = match &new.secret {
            SecretSource::Given(secret) => secret.clone(),
            SecretSource::Named(secret_name) => self.read_foreign(secret_name).await?,
        };
        self.prove(&made, new, &secret, &seen.scopes).await?;
        Ok(Examined { client, made, secret })
    }

    async fn active_tenant(&self, id: &TenantId) -> Result<Versioned<Tenant>> {
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(id.as_str()).await?;
        let tenant = tenant.ok_or_else(|| Error::not_found(id.name()))?;
        tenant.check_active()?;
        Ok(tenant)
    }

    /// The pool that is named, if the tenant's clients may be in it. Another tenant's own is not there for this one.
    async fn pool_of_import(&self, tenant: &Tenant, id: &PoolId) -> Result<MadePool> {
        self.pools.adopt().await?;
        let pool = self.pools.pool(id).await?;
        match (&pool.tenant, tenant.isolation) {
            (Some(owner), _) if *owner != tenant.id => return Err(Error::not_found(id.name())),
            (None, Isolation::UserPool) => {
                return Err(Error::invalid("pool", "is shared, and the tenant has a pool of its own"));
            }
            (Some(_), _) if *id != tenant.pool => {
                return Err(Error::invalid("pool", "is not the tenant's home, or not yet: the tenant is being moved"));
            }
            _ => {}
        }
        pool.value.made.ok_or_else(|| Error::not_found(id.name()))
    }

    /// The version of a record that is left of an earlier owner. Fails while there is one.
    async fn free_owner(&self, made: &MadePool, new: &NewImport) -> Result<Option<u64>> {
        let owner: Option<Versioned<Owner>> = self.world.records.get(&owner_key(&made.issuer, &new.app_client)).await?;
        match owner {
            Some(owner) if owner.purge_time.is_none() => Err(taken(new, &owner.client)),
            left => Ok(left.map(|owner| owner.version)),
        }
    }

    fn client_of(&self, name: &ClientName, new: &NewImport, pool: &Pool, seen: &AppClientSeen) -> Result<Client> {
        let now = self.world.now();
        Ok(Client {
            name: name.clone(),
            uid: unique_id()?,
            display_name: new.display_name.clone(),
            state: ClientState::Creating,
            labels: new.labels.clone(),
            scopes: new.scopes.clone().unwrap_or_else(|| seen.scopes.clone()),
            scopes_version: 0,
            access_token_validity: new.access_token_validity.unwrap_or(seen.access_token_validity),
            rotation: new.rotation.unwrap_or_default(),
            pool: pool.id.clone(),
            secret_name: secret_name(&self.world.settings.secret_prefix, name, &pool.region)?,
            secret_readers: new.secret_readers.clone(),
            app_client: Some(new.app_client.clone()),
            replaced: Vec::new(),
            token_epoch: 0,
            imported: true,
            applied: false,
            interactive: None,
            revoked_before: None,
            rotate_time: None,
            next_rotate_time: None,
            create_time: now,
            update_time: now,
        })
    }

    /// The value of a secret that is not Keyward's: bare, or as `client_secret` of a JSON object.
    async fn read_foreign(&self, secret_name: &str) -> Result<ClientSecret> {
        #[derive(serde::Deserialize)]
        struct Document {
            client_secret: ClientSecret,
        }
        let text = self.world.vault.read_foreign(secret_name).await?;
        let text = text.ok_or_else(|| Error::not_found(secret_name))?;
        let text: Zeroizing<String> = text;
        let trimmed = text.trim();
        if trimmed.starts_with('{') {
            // Serde's own words could repeat a part of the content.
            let document: Option<Document> = serde_json::from_str(trimmed).ok();
            let missing = || Error::invalid("secret_name", "names a JSON document without a fitting client_secret");
            return document.map(|document| document.client_secret).ok_or_else(missing);
        }
        ClientSecret::parse_foreign("secret_name", trimmed)
    }

    async fn prove(&self, made: &MadePool, new: &NewImport, secret: &ClientSecret, scopes: &ScopeSet) -> Result<()> {
        match self.world.token_endpoint.fetch(made, &new.app_client, secret, scopes).await {
            Ok(_) => Ok(()),
            Err(error) if error.is(Fault::Refused) => {
                let message = format!("the token endpoint grants {} no scope", new.app_client);
                Err(Error::new(Reason::ScopeNotGranted, message).caused_by(error))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// One change: the client, whose it is, its place, its scopes, and the journal.
    async fn try_import(&self, call: &Call, client: &Client, made: &MadePool) -> Result<()> {
        let name = &client.name;
        let Asked::Afresh(receipt) = self.world.asked(call).await? else { return Ok(()) };
        let Some(app_client) = &client.app_client else {
            return Err(Error::internal("importing a client", "it has no app client"));
        };
        let tenant = self.active_tenant(&name.tenant).await?;
        // It may have moved since that was looked at first.
        self.pool_of_import(&tenant, &client.pool).await?;
        if self.world.records.get::<Client>(&client_key(name)).await?.is_some() {
            return Err(Error::already_exists(name));
        }
        let left: Option<Versioned<Owner>> = self.world.records.get(&owner_key(&made.issuer, app_client)).await?;
        if let Some(owner) = left.as_ref().filter(|owner| owner.purge_time.is_none()) {
            let message = format!("{} already stands for {app_client}", owner.client);
            return Err(Error::new(Reason::AppClientTaken, message).about(app_client));
        }
        self.check_scopes(&client.scopes).await?;
        let now = self.world.now();
        let owner = Owner::new(&made.issuer, app_client, client);
        let event = call.event(now, name).detail(format!("imports {app_client}"));
        let mut change = Change::because(event)
            .require(&tenant)
            .create(client)
            .put(&owner, left.map(|left| left.version))
            .create(&Journal::new(Task::IssueClient(name.clone()), call, now));
        // It has its place at Cognito already, so no limit keeps it out.
        let _turn = self.pools.place_in_turn().await;
        change = Place::There(self.pools.pool(&client.pool).await?).keep(change, 1);
        change = self.use_scopes(change, name, &ScopeSet::default(), &client.scopes).await?;
        self.world.records.commit(receipt.file(change, name)).await
    }

    /// Nothing came of an import, and nobody has the name: what it put into the vault goes. The caller holds the client's
    /// lock.
    async fn take_back(&self, client: &Client, error: &Error) {
        // After these nobody knows whether the client was written down. If it was not, a reconciliation finds the secret.
        if matches!(error.kind(), Kind::Unavailable | Kind::Internal) {
            return;
        }
        if let Ok(None) = self.world.records.get::<Client>(&client_key(&client.name)).await {
            let window = self.world.settings.rotation.recovery_window;
            let gone = self.world.vault.schedule_deletion(&client.secret_name, window).await;
            if let Err(error) = gone {
                tracing::warn!(client = %client.name, %error, "the secret of an import that failed is left in the vault");
            }
        }
    }
}

fn no_app_client(new: &NewImport) -> Error {
    let message = format!("{} has no app client {}", new.pool.name(), new.app_client);
    Error::new(Reason::ResourceNotFound, message).about(&new.app_client)
}

fn taken(new: &NewImport, client: &ClientName) -> Error {
    let message = format!("{client} already stands for {}", new.app_client);
    Error::new(Reason::AppClientTaken, message).about(&new.app_client)
}
