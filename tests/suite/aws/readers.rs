//! `secret_readers` at Secrets Manager: who may read a secret that is brought back.

use keyward::proto;

use super::domains::Platform;
use crate::fake::{After, Fault};
use crate::harness::SCOPES;
use crate::harness::outside::{import, secret};

const ONE: &str = "arn:aws:iam::123456789012:role/one";
const NAME: &str = "tenants/acme/clients/orders";
const SECRET: &str = "keyward/tenants/acme/clients/orders";

fn request(readers: &[&str]) -> proto::CreateClientRequest {
    let client = proto::Client {
        scopes: SCOPES.map(str::to_owned).to_vec(),
        secret_readers: readers.iter().map(|reader| (*reader).to_owned()).collect(),
        ..Default::default()
    };
    proto::CreateClientRequest {
        parent: "tenants/acme".to_owned(),
        client_id: "orders".to_owned(),
        client: Some(client),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_secret_that_is_brought_back_for_a_new_client_is_not_for_the_readers_of_the_old_one() {
    let platform = Platform::set().await;
    let (daemon, fake) = (&platform.stage.daemon, &platform.stage.fake);
    daemon.create_tenant("acme").await;
    // Also where the broker is broken off between the two steps that this takes.
    for interrupted in [None, Some("GetResourcePolicy"), Some("DeleteResourcePolicy")] {
        daemon.clients().create_client(request(&[ONE])).await.expect("created");
        assert!(fake.secret_policy(SECRET).expect("a policy").contains(ONE));
        let delete = proto::DeleteClientRequest { name: NAME.to_owned(), ..Default::default() };
        daemon.clients().delete_client(delete.clone()).await.expect("deleted");
        platform.until_settled().await;

        if let Some(operation) = interrupted {
            fake.fail(After::calls(0).of(operation), Fault::Internal);
        }
        fake.fail(After::calls(0).of("CreateUserPoolClient"), Fault::Hang);
        let mut clients = daemon.clients();
        let creating = tokio::spawn(async move { clients.create_client(request(&[])).await });
        platform.until("the new secret is stored, and an app client asked for", async || fake.hanging() > 0).await;
        assert!(fake.inventory().secrets.contains(&SECRET.to_owned()), "it is brought back");
        assert_eq!(fake.secret_policy(SECRET), None, "{interrupted:?}");
        fake.release();
        // Where it was broken off, the broker goes on by itself.
        drop(creating.await.expect("ran"));
        platform.until_settled().await;
        fake.heal();
        assert_eq!(fake.secret_policy(SECRET), None);
        daemon.clients().delete_client(delete).await.expect("deleted");
        platform.until_settled().await;
    }
    platform.stage.strike().await;
}

#[tokio::test]
async fn nor_is_one_that_is_brought_back_for_a_client_that_is_taken_over() {
    let platform = Platform::set().await;
    let (daemon, fake) = (&platform.stage.daemon, &platform.stage.fake);
    let pool = daemon.create_tenant("acme").await.pool;
    daemon.clients().create_client(request(&[ONE])).await.expect("created");
    let delete = proto::DeleteClientRequest { name: NAME.to_owned(), ..Default::default() };
    daemon.clients().delete_client(delete).await.expect("deleted");
    platform.until_settled().await;
    assert!(fake.secret_policy(SECRET).expect("a policy").contains(ONE));

    let app_client = platform.backend.app_client(&platform.backend.made(&pool).await, "legacy", &secret(1)).await;
    // The first version is stored then, and the whole one is not.
    fake.fail(After::calls(1).of("PutSecretValue"), Fault::Hang);
    let request = import(NAME, &pool, &app_client, secret(1).expose());
    let mut clients = daemon.clients();
    let importing = tokio::spawn(async move { clients.import_client(request).await });
    platform.until("the secret is stored", async || fake.hanging() > 0).await;
    assert_eq!(fake.secret_policy(SECRET), None);
    fake.release();
    importing.await.expect("ran").expect("imported");
    platform.stage.strike().await;
}
