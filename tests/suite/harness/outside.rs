//! What is done at the backend behind the broker's back: by hand, by the scripts of former times, by a thief.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use keyward::broker::Ports;
use keyward::broker::ports::{
    AppClientSpec, Fault, Label, Peer, PortError, PortPage, PortResult, SecretDocument, Shelf, Vault, Wanted,
};
use keyward::domain::id::{AppClientId, PoolId, SecretName, VersionId};
use keyward::domain::pool::{MadePool, Pool};
use keyward::domain::rotation::Labels;
use keyward::domain::scope::ScopeSet;
use keyward::domain::secret::ClientSecret;
use keyward::proto;
use zeroize::Zeroizing;

use super::SCOPES;
use super::backend::Backend;

/// A secret as Cognito makes them: lower-case letters and digits.
pub fn secret(number: usize) -> ClientSecret {
    let text = format!("1h57kf5cpq17m0eml12epraaaaaaaaaaaaaaaaaaaaaaaaa{number:05}");
    ClientSecret::parse("secret", &text).expect("a secret")
}

impl Backend {
    /// As the registry has it, by its resource name.
    pub async fn made(&self, pool: &str) -> MadePool {
        let id = pool.strip_prefix("pools/").expect("a pool's name");
        let pool: Pool = self.record(Shelf::Pool, id).await.expect("a pool");
        pool.made.expect("made")
    }

    /// An app client that somebody made by hand, with both scopes of the orders API and tokens of half an hour.
    pub async fn app_client(&self, pool: &MadePool, name: &str, secret: &ClientSecret) -> AppClientId {
        let spec = AppClientSpec {
            marker: name.to_owned(),
            scopes: ScopeSet::parse("scopes", &SCOPES).expect("scopes"),
            access_token_validity: Duration::from_secs(1_800),
        };
        self.0.user_pools.create_app_client(pool, &spec, secret).await.expect("an app client").id
    }

    /// A user pool that is not Keyward's.
    pub async fn user_pool(&self, id: &str) -> MadePool {
        let id = PoolId::parse("pool", id).expect("a pool's id");
        self.0.user_pools.ensure_pool(&id, &Default::default()).await.expect("a pool")
    }

    pub async fn is_there(&self, pool: &MadePool, app_client: &AppClientId) -> bool {
        let seen = self.0.user_pools.describe_app_client(pool, app_client).await;
        seen.expect("the backend answers").is_some()
    }

    /// Every secret under a prefix that is not scheduled for deletion.
    pub async fn secrets(&self, prefix: &str) -> Vec<SecretName> {
        let page = self.0.vault.list(prefix, None).await.expect("the vault lists");
        assert_eq!(page.next, None, "more than a page");
        page.items
    }
}

/// A request to import with a secret that is given.
pub fn import(name: &str, pool: &str, app_client: &AppClientId, secret: &str) -> proto::ImportClientRequest {
    let (parent, client) = name.split_once("/clients/").expect("a client's name");
    proto::ImportClientRequest {
        parent: parent.to_owned(),
        client_id: client.to_owned(),
        pool: pool.to_owned(),
        app_client_id: app_client.to_string(),
        secret_source: Some(proto::import_client_request::SecretSource::ClientSecret(secret.to_owned())),
        ..Default::default()
    }
}

/// A vault with secrets in it that are not Keyward's.
pub fn with_foreign(ports: Ports, secrets: &[(&str, String)]) -> Ports {
    let secrets = secrets.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect();
    Ports { vault: Arc::new(VaultOfOthers { own: ports.vault, secrets, readers: Arc::default() }), ..ports }
}

/// A vault with IAM: it knows who may read what.
pub fn with_readers(ports: Ports, readers: &Arc<Readers>) -> Ports {
    let vault = VaultOfOthers { own: ports.vault, secrets: BTreeMap::new(), readers: readers.clone() };
    Ports { vault: Arc::new(vault), ..ports }
}

/// Who may read each secret.
#[derive(Default)]
pub struct Readers {
    of: Mutex<BTreeMap<String, Vec<String>>>,
    fault: Mutex<Option<Fault>>,
}

impl Readers {
    /// `None` for a secret that nobody has said it of.
    pub fn of(&self, secret: &str) -> Option<Vec<String>> {
        self.of.lock().expect("no panic under it").get(secret).cloned()
    }

    /// What comes of the calls from now on.
    pub fn fail(&self, fault: Option<Fault>) {
        *self.fault.lock().expect("no panic under it") = fault;
    }
}

struct VaultOfOthers {
    own: Arc<dyn Vault>,
    secrets: BTreeMap<String, String>,
    readers: Arc<Readers>,
}

#[async_trait]
impl Vault for VaultOfOthers {
    async fn stage(&self, name: &SecretName, version: &VersionId, document: &SecretDocument) -> PortResult<()> {
        self.own.stage(name, version, document).await
    }

    async fn put(&self, name: &SecretName, version: &VersionId, document: &SecretDocument) -> PortResult<()> {
        self.own.put(name, version, document).await
    }

    async fn labels(&self, name: &SecretName) -> PortResult<Option<Labels>> {
        self.own.labels(name).await
    }

    async fn read(&self, name: &SecretName, version: Wanted<'_>) -> PortResult<Option<SecretDocument>> {
        self.own.read(name, version).await
    }

    async fn promote(&self, name: &SecretName, from: &VersionId, to: &VersionId) -> PortResult<()> {
        self.own.promote(name, from, to).await
    }

    async fn clear(&self, name: &SecretName, label: Label, version: &VersionId) -> PortResult<()> {
        self.own.clear(name, label, version).await
    }

    async fn schedule_deletion(&self, name: &SecretName, window: Duration) -> PortResult<()> {
        self.own.schedule_deletion(name, window).await
    }

    async fn restore(&self, name: &SecretName) -> PortResult<bool> {
        self.own.restore(name).await
    }

    async fn set_readers(&self, name: &SecretName, readers: &[String]) -> PortResult<()> {
        if let Some(fault) = *self.readers.fault.lock().expect("no panic under it") {
            return Err(PortError::new(Peer::Vault, fault, "set readers", "as the test wants it"));
        }
        self.readers.of.lock().expect("no panic under it").insert(name.to_string(), readers.to_vec());
        Ok(())
    }

    async fn read_foreign(&self, name: &str) -> PortResult<Option<Zeroizing<String>>> {
        Ok(self.secrets.get(name).map(|text| Zeroizing::new(text.clone())))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> PortResult<PortPage<SecretName>> {
        self.own.list(prefix, after).await
    }
}
