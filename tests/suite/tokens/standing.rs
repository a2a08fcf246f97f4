//! Who may have tokens: not the suspended, not the deleted; and rotation is nobody's concern.

use futures::future::join_all;
use keyward::proto;
use tonic::Code;

use super::look;
use crate::harness::ports::Stage;
use crate::harness::{details, token};

#[tokio::test]
async fn a_suspended_tenant_gets_no_token_until_it_is_resumed() {
    let stage = Stage::set().await;
    let old = stage.daemon.token(&stage.client.name).await;
    suspend(&stage).await;
    let error = details(&token(&stage.daemon.channel, &stage.client.name).await.expect_err("suspended"));
    assert_eq!((error.code, error.reason.as_str()), (Code::FailedPrecondition, "TENANT_SUSPENDED"));
    let request = proto::ResumeTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    stage.daemon.tenants().resume_tenant(request).await.expect("resumed");
    assert_eq!(stage.daemon.token(&stage.client.name).await, old);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_suspension_refuses_all_who_wait_for_a_fetch() {
    let stage = Stage::set().await;
    let gate = stage.fetches.hold_next();
    let suspension = async {
        stage.fetches.wait_for(1).await;
        look(&stage).await;
        suspend(&stage).await;
        gate.open();
    };
    let callers = join_all((0..20).map(|_| token(&stage.daemon.channel, &stage.client.name)));
    let (answers, ()) = tokio::join!(callers, suspension);
    for answer in answers {
        assert_eq!(details(&answer.expect_err("suspended")).reason, "TENANT_SUSPENDED");
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_deleted_client_gets_no_token_once_its_deletion_is_answered() {
    let stage = Stage::set().await;
    stage.daemon.token(&stage.client.name).await;
    let request = proto::DeleteClientRequest { name: stage.client.name.clone(), ..Default::default() };
    stage.daemon.clients().delete_client(request).await.expect("deleted");
    let error = details(&token(&stage.daemon.channel, &stage.client.name).await.expect_err("deleted"));
    let (deleting, gone) = ((Code::FailedPrecondition, "CLIENT_DELETING"), (Code::NotFound, "RESOURCE_NOT_FOUND"));
    assert!([deleting, gone].contains(&(error.code, error.reason.as_str())), "{error:?}");
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_client_of_a_deleted_tenant_gets_no_token_once_the_deletion_is_answered() {
    let stage = Stage::set().await;
    stage.daemon.token(&stage.client.name).await;
    let request = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    stage.daemon.tenants().delete_tenant(request).await.expect("deleted");
    let error = details(&token(&stage.daemon.channel, &stage.client.name).await.expect_err("deleted"));
    let (deleting, gone) = ((Code::FailedPrecondition, "TENANT_DELETING"), (Code::NotFound, "RESOURCE_NOT_FOUND"));
    assert!([deleting, gone].contains(&(error.code, error.reason.as_str())), "{error:?}");
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_rotation_changes_no_token_and_the_next_fetch_uses_the_new_secret() {
    let stage = Stage::set().await;
    let old = stage.daemon.token(&stage.client.name).await;
    let request =
        proto::RotateClientSecretRequest { name: stage.client.name.clone(), immediate: true, ..Default::default() };
    stage.daemon.clients().rotate_client_secret(request).await.expect("rotated");
    assert_eq!(stage.daemon.token(&stage.client.name).await, old);
    stage.at_second(3600);
    assert_ne!(stage.daemon.token(&stage.client.name).await, old);
    stage.daemon.stop().await;
}

async fn suspend(stage: &Stage) {
    let request = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    stage.daemon.tenants().suspend_tenant(request).await.expect("suspended");
}
