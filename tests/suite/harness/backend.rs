//! What lies behind the daemon: records, labels and secrets, read past it.

use std::sync::{Arc, Mutex};

use keyward::broker::Ports;
use keyward::broker::ports::{Clock, Fault, Shelf, Wanted};
use keyward::config::Config;
use keyward::domain::client::Client;
use keyward::domain::id::{ClientName, SecretId, VersionId};
use keyward::domain::journal::Journal;
use keyward::domain::pool::{MadePool, Pool};
use keyward::domain::rotation::{Credential, Labels, MAX_SECRETS};
use keyward::domain::scope::ScopeSet;
use keyward::domain::secret::ClientSecret;
use serde::de::DeserializeOwned;

use super::Daemon;

/// The ports themselves.
#[derive(Clone)]
pub struct Backend(pub Ports);

impl Backend {
    /// A daemon, and its backend past it. The daemon sees it through `through`.
    pub async fn behind(
        clock: Arc<dyn Clock>,
        edit: impl FnOnce(&mut Config),
        through: impl FnOnce(Ports) -> Ports,
    ) -> (Daemon, Backend) {
        let kept = Mutex::new(None);
        let daemon = Daemon::start_through(clock, edit, |ports| {
            *kept.lock().expect("alone") = Some(ports.clone());
            through(ports)
        })
        .await;
        let ports = kept.into_inner().expect("alone").expect("seen");
        (daemon, Backend(ports))
    }

    pub async fn record<T: DeserializeOwned>(&self, shelf: Shelf, key: &str) -> Option<T> {
        let stored = self.0.registry.get(shelf, key).await.expect("the registry reads")?;
        Some(serde_json::from_slice(&stored.body).expect("a record of that kind"))
    }

    pub async fn records<T: DeserializeOwned>(&self, shelf: Shelf) -> Vec<T> {
        let stored = self.0.registry.scan(shelf, "", None, 1_000).await.expect("the registry reads");
        stored.iter().map(|record| serde_json::from_slice(&record.body).expect("a record of that kind")).collect()
    }

    pub async fn journals(&self) -> Vec<Journal> {
        self.records(Shelf::Journal).await
    }

    /// `None` when there is none, or its app client is not made yet.
    pub async fn seen(&self, name: &str) -> Option<Seen> {
        let key = key(name);
        let client: Client = self.record(Shelf::Client, &key).await?;
        let credential: Credential = self.record(Shelf::Credential, &key).await?;
        let pool: Pool = self.record(Shelf::Pool, client.pool.as_str()).await?;
        let pool = pool.made?;
        let app_client = client.app_client.clone()?;
        let secrets = self.0.user_pools.list_secrets(&pool, &app_client).await.expect("the app client's secrets");
        assert!(secrets.len() <= MAX_SECRETS, "{name} has {secrets:?}");
        let labels = self.0.vault.labels(&client.secret_name).await.expect("labels").expect("a secret in the vault");
        Some(Seen { client, credential, pool, secrets, labels })
    }

    pub async fn must_see(&self, name: &str) -> Seen {
        self.seen(name).await.unwrap_or_else(|| panic!("{name} is not whole"))
    }

    /// The value of a version, from the vault.
    pub async fn value(&self, seen: &Seen, version: &VersionId) -> ClientSecret {
        let read = self.0.vault.read(&seen.client.secret_name, Wanted::Version(version)).await;
        read.expect("the vault reads").expect("the version is there").client_secret
    }

    /// Whether the token endpoint takes a secret of the client.
    pub async fn takes(&self, seen: &Seen, secret: &ClientSecret) -> bool {
        let app_client = seen.client.app_client.as_ref().expect("made");
        match self.0.token_endpoint.fetch(&seen.pool, app_client, secret, &ScopeSet::default()).await {
            Ok(_) => true,
            Err(error) if error.is(Fault::InvalidClient) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Fails the test unless the secret under `AWSCURRENT` gets a token. A move of the label meanwhile is no failure.
    pub async fn check_current_works(&self, name: &str) {
        loop {
            let Some(seen) = self.seen(name).await else { return };
            let current = seen.labels.current.clone().expect("AWSCURRENT is on a version");
            let read = self.0.vault.read(&seen.client.secret_name, Wanted::Version(&current)).await;
            let secret = read.expect("the vault reads").map(|document| document.client_secret);
            if let Some(secret) = &secret
                && self.takes(&seen, secret).await
            {
                return;
            }
            let labels = self.0.vault.labels(&seen.client.secret_name).await.expect("labels");
            let moved = labels.is_none_or(|labels| labels.current != seen.labels.current);
            assert!(moved, "AWSCURRENT of {name} gets no token");
        }
    }

    /// Fails the test unless one secret is left and is current, and nothing is under way.
    pub async fn check_settled(&self, name: &str) {
        let seen = self.must_see(name).await;
        let Credential { current, candidate, previous, .. } = &seen.credential;
        assert_eq!((candidate, previous), (&None, &None), "{name}");
        assert_eq!(seen.secrets, std::slice::from_ref(&current.secret), "{name} has secrets that are nobody's");
        let labels = Labels { current: Some(current.version.clone()), pending: None, previous: None };
        assert_eq!(seen.labels, labels, "{name}");
        self.check_current_works(name).await;
    }
}

/// One client as the registry, the user pools and the vault know it.
#[derive(Debug)]
pub struct Seen {
    pub client: Client,
    pub credential: Credential,
    pub pool: MadePool,
    pub secrets: Vec<SecretId>,
    pub labels: Labels,
}

/// Where a client's records are kept.
pub fn key(name: &str) -> String {
    let name = ClientName::parse("name", name).expect("a client's name");
    format!("{}/{}", name.tenant, name.client)
}
