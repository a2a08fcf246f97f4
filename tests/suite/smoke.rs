//! The main path, once: if this fails, look here first.

use keyward::proto::verify_token_response::Verdict;

use crate::harness::{Daemon, SCOPES};

#[tokio::test]
async fn a_client_is_issued_gets_a_token_and_the_token_is_its_tenants() {
    let daemon = Daemon::start().await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "checkout").await;
    assert_eq!(client.scopes, SCOPES);

    let token = daemon.token(&client.name).await;
    match daemon.verify(&token.access_token).await {
        Verdict::Verified(verified) => {
            assert_eq!(verified.tenant, "tenants/acme");
            assert_eq!(verified.client, client.name);
            assert_eq!(verified.scopes, SCOPES);
        }
        Verdict::Rejected(rejected) => panic!("{rejected:?}"),
    }
    daemon.stop().await;
}
