//! Somebody who follows `WatchTrust` and keeps what it says, by the words of the contract and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use keyward::proto::trust_change::Change;
use keyward::proto::watch_trust_response::Event;
use keyward::proto::{
    TrustAppClient, TrustClient, TrustIssuer, TrustRevokedToken, TrustSynced, TrustTenant, WatchTrustRequest,
    WatchTrustResponse,
};
use tonic::{Status, Streaming};

use crate::harness::Daemon;
use crate::harness::ports::in_time;

/// The most changes that the contract allows in one message.
const MOST: usize = 200;

pub struct Mirror {
    stream: Streaming<WatchTrustResponse>,
    pub issuers: BTreeMap<String, TrustIssuer>,
    pub tenants: BTreeMap<String, TrustTenant>,
    pub clients: BTreeMap<String, TrustClient>,
    pub app_clients: BTreeMap<(String, String), TrustAppClient>,
    pub revoked_tokens: BTreeMap<String, TrustRevokedToken>,
    pub synced: Option<TrustSynced>,
    pub resume_token: String,
    /// How often it began with everything.
    pub resets: usize,
    /// Messages with changes.
    pub batches: usize,
}

impl Mirror {
    pub async fn of(daemon: &Daemon) -> Self {
        Mirror::asking(daemon, WatchTrustRequest::default()).await.expect("a stream")
    }

    pub async fn asking(daemon: &Daemon, request: WatchTrustRequest) -> Result<Self, Status> {
        let stream = daemon.verification().watch_trust(request).await?.into_inner();
        Ok(Mirror {
            stream,
            issuers: BTreeMap::new(),
            tenants: BTreeMap::new(),
            clients: BTreeMap::new(),
            app_clients: BTreeMap::new(),
            revoked_tokens: BTreeMap::new(),
            synced: None,
            resume_token: String::new(),
            resets: 0,
            batches: 0,
        })
    }

    /// With everything there is.
    pub async fn whole(daemon: &Daemon) -> Self {
        let mut mirror = Mirror::of(daemon).await;
        mirror.until(|mirror| mirror.synced.is_some()).await;
        mirror
    }

    /// Takes messages in until `done`, which is asked before the first, too.
    pub async fn until(&mut self, done: impl Fn(&Mirror) -> bool) {
        in_time(async {
            while !done(self) {
                self.take().await.expect("a message");
            }
        })
        .await;
    }

    /// Whether nothing comes, for a moment that nothing on this machine needs.
    pub async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(200), self.stream.message()).await.is_err()
    }

    /// The same, if there is one soon.
    pub async fn take_soon(&mut self) -> Option<Result<(), Status>> {
        tokio::time::timeout(Duration::from_millis(5), self.take()).await.ok()
    }

    /// One message, or how the stream ends.
    pub async fn take(&mut self) -> Result<(), Status> {
        let message = in_time(self.stream.message()).await?.expect("it ends with a status");
        match message.event.expect("one of the three") {
            Event::Reset(_) => {
                self.resets += 1;
                self.issuers.clear();
                self.tenants.clear();
                self.clients.clear();
                self.app_clients.clear();
                self.revoked_tokens.clear();
                self.synced = None;
                assert_eq!(message.resume_token, "", "nobody can resume here");
            }
            Event::Changes(changes) => {
                assert!((1..=MOST).contains(&changes.changes.len()), "{} changes", changes.changes.len());
                self.batches += 1;
                changes.changes.into_iter().for_each(|change| self.change(change.change.expect("one is set")));
                let is_whole = self.synced.is_some() || self.resets == 0;
                assert!(is_whole || message.resume_token.is_empty(), "nobody can resume here");
            }
            Event::Synced(synced) => self.synced = Some(synced),
        }
        self.resume_token = message.resume_token;
        Ok(())
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Issuer(issuer) => drop(self.issuers.insert(issuer.issuer.clone(), issuer)),
            Change::RemovedIssuer(issuer) => drop(self.issuers.remove(&issuer)),
            Change::Tenant(tenant) => drop(self.tenants.insert(tenant.tenant.clone(), tenant)),
            Change::RemovedTenant(tenant) => drop(self.tenants.remove(&tenant)),
            Change::Client(client) => drop(self.clients.insert(client.client.clone(), client)),
            Change::RemovedClient(client) => drop(self.clients.remove(&client)),
            Change::AppClient(app_client) => {
                let key = (app_client.issuer.clone(), app_client.app_client_id.clone());
                self.app_clients.insert(key, app_client);
            }
            Change::RemovedAppClient(gone) => drop(self.app_clients.remove(&(gone.issuer, gone.app_client_id))),
            Change::RevokedToken(token) => drop(self.revoked_tokens.insert(token.token_id.clone(), token)),
        }
    }

    /// How the stream ends that has nothing more to send.
    pub async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.take().await {
                return status;
            }
        }
    }
}
