//! What becomes of providers when a call in the middle of their making fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use keyward::broker::ports::{Fault, Peer, PortError, PortResult};
use keyward::domain::id::SecretName;
use keyward::proto::{self, Isolation};
use keyward::runtime::clock::SystemClock;

use super::providers::{oidc, put};
use super::{create, daemon_through, new_interactive, settings, with};
use crate::harness::tolls::{Toll, tolled};
use crate::harness::{details, get_tenant, mask, new_tenant};

/// Fails the commit after a secret was staged, with a fault, before its effect or after it.
struct Trap {
    fault: Fault,
    is_after: bool,
    is_set: AtomicBool,
}

impl Trap {
    fn spring(&self) -> PortResult<()> {
        match self.is_set.swap(false, Ordering::SeqCst) {
            true => Err(PortError::new(Peer::Registry, self.fault, "commit", "a test")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Toll for Trap {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        if call == "commit" && !self.is_after { self.spring() } else { Ok(()) }
    }

    async fn after(&self, call: &'static str) -> PortResult<()> {
        match call {
            "stage" => self.is_set.store(true, Ordering::SeqCst),
            "commit" if self.is_after => return self.spring(),
            _ => {}
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_secret_is_taken_back_only_where_it_is_known_that_nothing_came_of_its_tenant() {
    for (fault, is_after, is_left) in [
        (Fault::Throttled, false, false),
        // Whether it was written down is not known.
        (Fault::Unavailable, false, true),
        (Fault::Unavailable, true, true),
        // It was.
        (Fault::Throttled, true, true),
    ] {
        let trap = Arc::new(Trap { fault, is_after, is_set: AtomicBool::new(false) });
        let (daemon, backend) = daemon_through(Arc::new(SystemClock), |ports| tolled(ports, trap)).await;
        let mut request = new_tenant("globex", Isolation::AppClient);
        request.tenant.as_mut().expect("set").identity_providers = vec![oidc("okta")];
        daemon.tenants().create_tenant(request).await.expect_err("not known to be there");
        let secret = SecretName::parse("name", "keyward/tenants/globex/providers/okta").expect("a name");
        let labels = backend.0.vault.labels(&secret).await.expect("read");
        assert_eq!(labels.is_some(), is_left, "{fault:?}, {is_after}");
        assert_eq!(get_tenant(&daemon.channel, "globex").await.is_ok(), is_after);
        daemon.stop().await;
    }
}

/// Never does this.
struct Refusing(&'static str);

#[async_trait]
impl Toll for Refusing {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        match call == self.0 {
            true => Err(PortError::new(Peer::UserPools, Fault::Unavailable, self.0, "a test")),
            false => Ok(()),
        }
    }

    async fn after(&self, _call: &'static str) -> PortResult<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_client_that_is_on_its_way_out_keeps_no_provider_in_use() {
    let refusing = Arc::new(Refusing("delete_app_client"));
    let (daemon, backend) = daemon_through(Arc::new(SystemClock), |ports| tolled(ports, refusing)).await;
    let acme = put(&daemon, "acme", &[oidc("okta")]).await.expect("put");
    let portal = with(new_interactive("acme", "portal"), |client| {
        settings(client).identity_provider_ids = vec!["okta".to_owned()];
    });
    let portal = create(&daemon, portal).await;
    let nothing = || proto::UpdateTenantRequest {
        tenant: Some(proto::Tenant { name: "tenants/acme".to_owned(), ..Default::default() }),
        update_mask: mask(&["identity_providers"]),
        ..Default::default()
    };
    let refused = daemon.tenants().update_tenant(nothing()).await.expect_err("it names it");
    assert_eq!(details(&refused).reason, "PROVIDER_IN_USE");
    let request = proto::DeleteClientRequest { name: portal.name, ..Default::default() };
    daemon.clients().delete_client(request).await.expect("refused everything from now on");
    daemon.tenants().update_tenant(nothing()).await.expect("nobody can use it");
    let pool = backend.made(&acme.pool).await;
    let there = backend.0.user_pools.list_identity_providers(&pool, None).await.expect("listed");
    assert_eq!(there.items, Vec::<String>::new());
    daemon.stop().await;
}
