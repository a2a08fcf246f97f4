//! Onboarding who is under load, and what must hold of them when all is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keyward::broker::ports::{Registry as _, Shelf};
use keyward::proto::tenant_service_client::TenantServiceClient;
use keyward::proto::{self, Isolation};
use tokio::task::JoinSet;

use crate::harness::{create_client, create_tenant, details, put_orders_api};
use crate::holder::Holder;
use crate::progress::Progress;
use crate::tables::TABLE;
use crate::world::{World, command};

const CLIENTS_PER_TENANT: usize = 10;
const AT_A_TIME: usize = 12;

fn tenant(client: usize) -> String {
    format!("tenant-{:02}", client / CLIENTS_PER_TENANT)
}

fn tenants(clients: usize) -> impl Iterator<Item = String> {
    (0..clients).step_by(CLIENTS_PER_TENANT).map(tenant)
}

/// So many clients, over all brokers. Answers with their resource names.
pub async fn onboard(world: &World, clients: usize) -> Vec<String> {
    let channels: Vec<_> = world.sites.iter().map(|site| site.channel()).collect();
    put_orders_api(&channels[0]).await;
    for id in tenants(clients) {
        create_tenant(&channels[0], &id, Isolation::AppClient).await;
    }
    let next = Arc::new(AtomicUsize::new(0));
    let mut operators = JoinSet::new();
    for operator in 0..AT_A_TIME {
        let (channel, next) = (channels[operator % channels.len()].clone(), next.clone());
        operators.spawn(async move {
            let mut names = Vec::new();
            loop {
                let client = next.fetch_add(1, Ordering::SeqCst);
                if client >= clients {
                    return names;
                }
                let id = format!("client-{client:04}");
                names.push(create_client(&channel, &tenant(client), &id).await.name);
            }
        });
    }
    let mut names: Vec<_> = operators.join_all().await.concat();
    // Where another broker was faster to take a client's work, that was not waited for.
    settle(world).await;
    names.sort();
    names
}

/// Waits until no work is left that was begun. Fails the test when it does not come on.
pub async fn settle(world: &World) {
    let registry = world.aws().await.open_registry(TABLE).await.expect("the table");
    let mut progress = Progress::new();
    let mut looks = tokio::time::interval(Duration::from_millis(200));
    loop {
        looks.tick().await;
        let left = registry.scan(Shelf::Journal, "", None, 1_000).await.expect("the registry reads");
        if left.is_empty() {
            return;
        }
        let texts: Vec<_> = left.iter().map(|record| String::from_utf8_lossy(&record.body)).collect();
        assert!(!progress.stands_still(left.len()), "journals are left: {texts:?}");
    }
}

/// One secret each, which is current in the vault and gets a token; nothing that is nobody's; an audit log that is whole.
pub async fn check(world: &World, names: &[String]) {
    let app_clients = world.fake.inventory().app_clients;
    assert_eq!(app_clients.len(), names.len(), "app clients");
    for name in names {
        let holder = Holder::of(&world.fake, name).await;
        let app_client = app_clients.iter().find(|client| client.id == holder.id);
        let secrets = &app_client.unwrap_or_else(|| panic!("{name} has no app client")).secrets;
        assert_eq!(*secrets, [holder.secret.as_str()], "{name} has one secret, the current one");
        holder.fetch().await.unwrap_or_else(|error| panic!("{name} gets no token: {error}"));
    }
    for id in tenants(names.len()) {
        assert_eq!(reconcile(world, &id).await, proto::ReconcileTenantResponse::default(), "{id}");
    }
    let mut verify = command(&["audit", "verify"], &world.sites[0].config);
    let ran = tokio::task::spawn_blocking(move || verify.output().expect("keyward runs")).await.expect("ran");
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
}

/// A broker that was started last has no share of the quotas at first, says so, and is asked again.
async fn reconcile(world: &World, tenant: &str) -> proto::ReconcileTenantResponse {
    let mut progress = Progress::new();
    let mut pace = tokio::time::interval(Duration::from_millis(200));
    loop {
        pace.tick().await;
        let request = proto::ReconcileTenantRequest { name: format!("tenants/{tenant}"), ..Default::default() };
        match TenantServiceClient::new(world.sites[0].channel()).reconcile_tenant(request).await {
            Ok(answer) => return answer.into_inner(),
            Err(status) => assert!(details(&status).retry && !progress.stands_still(1), "{tenant}: {status:?}"),
        }
    }
}
