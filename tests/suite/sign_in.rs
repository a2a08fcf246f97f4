//! Telling whose a person is who wants to sign in: names that tenants claim, `MatchTenant`, and the page at `/login`.

mod browser;
mod claims;
mod dns;
mod looking;
mod looks;
mod matching;
mod on_aws;
mod page;
mod permission;

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use keyward::broker::Ports;
use keyward::broker::ports::{Action, ChangeSet, Registry, Shelf, Write};
use keyward::config::Config;
use keyward::domain::form::Form;
use keyward::proto::match_tenant_request::Hint;
use keyward::proto::{self, Isolation, SignInDomainKind};
use keyward::runtime::clock::ManualClock;
use serde_json::{Value, json};
use tonic::Status;

use crate::harness::{Daemon, create_tenant, mask, start_time};
use crate::peers::NameServer;
use crate::people::new_interactive;

/// Where the hosted sign-in of every pool is, in these tests.
const SIGN_IN: &str = "https://signin.keyward.test";
const CALLBACK: &str = "https://app.example.com/signed-in?of=acme";
const SECOND: &str = "https://app.example.com/second";

/// A daemon at rest that asks a name server of its own.
struct Stage {
    daemon: Daemon,
    clock: Arc<ManualClock>,
    names: NameServer,
    registry: Arc<dyn Registry>,
}

impl Stage {
    async fn set() -> Self {
        Stage::set_with(|_| {}).await
    }

    async fn set_with(edit: impl FnOnce(&mut Config)) -> Self {
        Stage::set_through(edit, |ports| ports).await
    }

    async fn set_through(edit: impl FnOnce(&mut Config), through: impl FnOnce(Ports) -> Ports) -> Self {
        let names = NameServer::start().await;
        let clock = Arc::new(ManualClock::new(start_time()));
        let asks = |config: &mut Config| {
            config.sign_in.resolvers = vec![names.address()];
            // A machine may be busy.
            config.sign_in.timeout = Duration::from_secs(30);
            edit(config);
        };
        let mut registry = None;
        let watched = |ports: Ports| {
            registry = Some(ports.registry.clone());
            through(ports)
        };
        let daemon = Daemon::start_through(clock.clone(), asks, watched).await;
        daemon.put_orders_api().await;
        Stage { daemon, clock, names, registry: registry.expect("it has started") }
    }

    /// Two tenants that people sign in to, each with what it claims proven: `acme` in a shared pool, `globex` in its own.
    async fn with_people(self) -> Self {
        let mut zone = String::new();
        for (tenant, isolation) in [("acme", Isolation::AppClient), ("globex", Isolation::UserPool)] {
            create_tenant(&self.daemon.channel, tenant, isolation).await;
            self.create_for_people(tenant, "web").await;
            let names = [
                (format!("{tenant}.example"), SignInDomainKind::Email),
                (format!("app.{tenant}.example"), SignInDomainKind::Host),
            ];
            let names: Vec<_> = names.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
            let claimed = self.claim(tenant, &names).await.expect("claimed");
            claimed.sign_in_domains.iter().for_each(|name| zone.push_str(&record(name)));
        }
        self.names.knows(&zone);
        for tenant in ["acme", "globex"] {
            let seen = self.touch(tenant).await;
            assert!(seen.sign_in_domains.iter().all(|name| name.verified), "{seen:?}");
        }
        for pool in crate::harness::pools(&self.daemon.channel).await {
            let id = pool.name.trim_start_matches("pools/").to_owned();
            self.store(Shelf::Pool, &id, |pool| {
                pool["made"]["token_endpoint"] = json!(format!("{SIGN_IN}/oauth2/token"))
            })
            .await;
        }
        self.restarted().await
    }

    /// The same after a start, which has nothing in memory.
    async fn restarted(self) -> Self {
        let Stage { daemon, clock, names, .. } = self;
        let mut registry = None;
        let daemon = daemon
            .restart_through(|ports| {
                registry = Some(ports.registry.clone());
                ports
            })
            .await;
        Stage { daemon, clock, names, registry: registry.expect("it has started") }
    }

    /// A client for people, with two places to come back to.
    async fn create_for_people(&self, tenant: &str, client: &str) -> proto::Client {
        let mut request = new_interactive(tenant, client);
        let client = request.client.as_mut().expect("set");
        client.scopes.push("email".to_owned());
        client.interactive.as_mut().expect("set").callback_urls = vec![CALLBACK.to_owned(), SECOND.to_owned()];
        self.daemon.clients().create_client(request).await.expect("created").into_inner()
    }

    /// Changes a record past the daemon.
    async fn store(&self, shelf: Shelf, key: &str, change: impl FnOnce(&mut Value)) {
        let stored = self.registry.get(shelf, key).await.expect("read").unwrap_or_else(|| panic!("no {key}"));
        let mut body: Value = serde_json::from_slice(&stored.body).expect("JSON");
        change(&mut body);
        let body = serde_json::to_vec(&body).expect("JSON");
        let action = Action::Put { body, form: Form::SECOND, due_time: stored.due_time };
        let write = Write { shelf, key: key.to_owned(), expected: Some(stored.version), action };
        self.registry.commit(ChangeSet { writes: vec![write], events: Vec::new() }).await.expect("written");
    }

    /// Makes these all the names that a tenant claims.
    async fn claim(&self, tenant: &str, names: &[(&str, SignInDomainKind)]) -> Result<proto::Tenant, Status> {
        let request = proto::UpdateTenantRequest {
            tenant: Some(proto::Tenant { sign_in_domains: domains(names), ..named(tenant) }),
            update_mask: mask(&["sign_in_domains"]),
            ..Default::default()
        };
        Ok(self.daemon.tenants().update_tenant(request).await?.into_inner())
    }

    /// Changes something else of a tenant.
    async fn touch(&self, tenant: &str) -> proto::Tenant {
        let request = proto::UpdateTenantRequest {
            tenant: Some(proto::Tenant { display_name: tenant.to_uppercase(), ..named(tenant) }),
            update_mask: mask(&["display_name"]),
            ..Default::default()
        };
        self.daemon.tenants().update_tenant(request).await.expect("changed").into_inner()
    }

    async fn ask(&self, request: proto::MatchTenantRequest) -> Result<proto::MatchTenantResponse, Status> {
        Ok(self.daemon.tenants().match_tenant(request).await?.into_inner())
    }

    async fn find(&self, hint: Hint) -> proto::MatchTenantResponse {
        self.ask(about(hint)).await.expect("answered")
    }

    fn at(&self, since_start: SignedDuration) {
        self.clock.set(start_time() + since_start);
    }

    async fn stop(self) {
        drop(self.registry);
        self.daemon.stop().await;
    }
}

pub fn named(tenant: &str) -> proto::Tenant {
    proto::Tenant { name: format!("tenants/{tenant}"), ..Default::default() }
}

pub fn domains(names: &[(&str, SignInDomainKind)]) -> Vec<proto::SignInDomain> {
    let domain = |(name, kind): &(&str, SignInDomainKind)| proto::SignInDomain {
        domain: (*name).to_owned(),
        kind: (*kind).into(),
        ..Default::default()
    };
    names.iter().map(domain).collect()
}

/// What whoever has the name puts into its zone.
pub fn record(name: &proto::SignInDomain) -> String {
    format!("{}. 60 IN TXT \"{}\"\n", name.txt_record_name, name.txt_record_value)
}

pub fn email(email: &str) -> Hint {
    Hint::Email(email.to_owned())
}

pub fn about(hint: Hint) -> proto::MatchTenantRequest {
    proto::MatchTenantRequest { hint: Some(hint), ..Default::default() }
}
