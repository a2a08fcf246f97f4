//! `secret_readers`: who may read a client's secret by themselves is brought to the vault, again and again if that fails.

use std::sync::Arc;
use std::time::Duration;

use keyward::broker::ports::Fault;
use keyward::proto;
use keyward::runtime::clock::ManualClock;
use tonic::Code;

use super::NAME;
use crate::harness::backend::Backend;
use crate::harness::outside::{Readers, import, secret, with_readers};
use crate::harness::{Daemon, SCOPES, details, start_time};

const ONE: &str = "arn:aws:iam::123456789012:role/one";
const OTHER: &str = "arn:aws:iam::123456789012:role/other";
const SECRET: &str = "keyward/tenants/acme/clients/orders";

async fn start() -> (Daemon, Backend, Arc<ManualClock>, Arc<Readers>, String) {
    let (clock, readers) = (Arc::new(ManualClock::new(start_time())), Arc::new(Readers::default()));
    let (daemon, backend) = Backend::behind(clock.clone(), |_| {}, |ports| with_readers(ports, &readers)).await;
    daemon.put_orders_api().await;
    let pool = daemon.create_tenant("acme").await.pool;
    (daemon, backend, clock, readers, pool)
}

fn client(readers: &[&str]) -> Option<proto::Client> {
    let scopes = SCOPES.map(str::to_owned).to_vec();
    Some(proto::Client { name: NAME.to_owned(), scopes, secret_readers: owned(readers), ..Default::default() })
}

fn owned(readers: &[&str]) -> Vec<String> {
    readers.iter().map(|reader| (*reader).to_owned()).collect()
}

async fn create(daemon: &Daemon, readers: &[&str]) {
    let request = proto::CreateClientRequest {
        parent: "tenants/acme".to_owned(),
        client_id: "orders".to_owned(),
        client: client(readers),
        ..Default::default()
    };
    daemon.clients().create_client(request).await.expect("created");
}

async fn update(daemon: &Daemon, readers: &[&str]) -> Result<proto::Client, tonic::Status> {
    let update_mask = Some(prost_types::FieldMask { paths: vec!["secret_readers".to_owned()] });
    let request = proto::UpdateClientRequest { client: client(readers), update_mask, ..Default::default() };
    daemon.clients().update_client(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn readers_are_those_of_the_client_from_its_making_on() {
    let (daemon, _, _, readers, _) = start().await;
    create(&daemon, &[ONE]).await;
    assert_eq!(readers.of(SECRET), Some(owned(&[ONE])));
    let updated = update(&daemon, &[OTHER, ONE]).await.expect("updated");
    assert_eq!(updated.secret_readers, owned(&[OTHER, ONE]));
    assert_eq!(readers.of(SECRET), Some(owned(&[OTHER, ONE])));
    update(&daemon, &[]).await.expect("updated");
    assert_eq!(readers.of(SECRET), Some(Vec::new()));

    update(&daemon, &[ONE]).await.expect("updated");
    let request = proto::DeleteClientRequest { name: NAME.to_owned(), ..Default::default() };
    daemon.clients().delete_client(request).await.expect("deleted");
    create(&daemon, &[]).await;
    assert_eq!(readers.of(SECRET), Some(Vec::new()), "not those of the client that had the name before");
    daemon.stop().await;
}

#[tokio::test]
async fn an_imported_clients_secret_has_readers_too() {
    let (daemon, backend, _, readers, pool) = start().await;
    let app_client = backend.app_client(&backend.made(&pool).await, "legacy", &secret(1)).await;
    let request = import(NAME, &pool, &app_client, secret(1).expose());
    let request = proto::ImportClientRequest { client: client(&[ONE]), ..request };
    daemon.clients().import_client(request).await.expect("imported");
    assert_eq!(readers.of(SECRET), Some(owned(&[ONE])));
    daemon.stop().await;
}

#[tokio::test]
async fn readers_that_could_not_be_set_are_set_later() {
    let (daemon, backend, clock, readers, _) = start().await;
    create(&daemon, &[]).await;
    readers.fail(Some(Fault::Unavailable));
    let told = details(&update(&daemon, &[ONE]).await.expect_err("the vault does not answer"));
    assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, "VAULT_UNAVAILABLE"));
    readers.fail(None);
    clock.advance(Duration::from_secs(2));
    let mut looks = crate::harness::pauses(Duration::from_millis(1));
    while !backend.journals().await.is_empty() {
        looks.tick().await;
    }
    assert_eq!(readers.of(SECRET), Some(owned(&[ONE])));
    daemon.stop().await;
}

#[tokio::test]
async fn principals_that_the_vault_does_not_take_are_the_callers_mistake() {
    let (daemon, _, _, readers, _) = start().await;
    create(&daemon, &[]).await;
    readers.fail(Some(Fault::Refused));
    let told = details(&update(&daemon, &[ONE]).await.expect_err("refused"));
    assert_eq!((told.code, told.fields), (Code::InvalidArgument, owned(&["client.secret_readers"])));
    readers.fail(None);
    update(&daemon, &[OTHER]).await.expect("another takes its place");
    assert_eq!(readers.of(SECRET), Some(owned(&[OTHER])));
    daemon.stop().await;
}

#[tokio::test]
async fn what_the_vault_refuses_where_nobody_is_named_is_not_the_callers_mistake() {
    let (daemon, _, _, readers, _) = start().await;
    create(&daemon, &[ONE]).await;
    readers.fail(Some(Fault::Refused));
    let told = details(&update(&daemon, &[]).await.expect_err("refused"));
    assert_eq!((told.code, told.reason.as_str()), (Code::FailedPrecondition, "BACKEND_REFUSED"));
    assert_eq!(told.fields, Vec::<String>::new());
    readers.fail(None);
    daemon.stop().await;
}
