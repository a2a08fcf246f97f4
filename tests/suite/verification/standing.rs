//! Whose a token is, and how its tenant and its client stand now.

use keyward::proto;
use keyward::proto::RejectionReason;
use keyward::proto::verify_token_response::Verdict;
use tonic::Code;

use super::{ask, court, reason, reason_of, sign, verified};
use crate::harness::forge::{claims, with};
use crate::harness::ports::{Stage, in_time};
use crate::harness::{create_tenant, start_time};

#[tokio::test]
async fn an_app_client_that_was_never_the_brokers_is_unknown_also_where_another_issuer_has_it() {
    let stage = court().await;
    create_tenant(&stage.daemon.channel, "umbrella", proto::Isolation::UserPool).await;
    let neighbour = stage.daemon.create_client("umbrella", "billing").await;
    let good = claims(&stage.client, start_time());
    for client_id in ["nobody", &neighbour.app_client_id, &stage.client.app_client_id.to_uppercase()] {
        let token = sign(&with(&good, "client_id", client_id));
        assert_eq!(reason(&stage, &token).await, RejectionReason::UnknownClient, "{client_id}");
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_of_another_tenant_is_rejected_and_nothing_is_told_of_that_tenant() {
    let stage = court().await;
    stage.daemon.create_tenant("initech").await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    suspend(&stage).await;
    for tenant in ["tenants/initech", "tenants/unknown"] {
        let request =
            proto::VerifyTokenRequest { token: token.clone(), tenant: tenant.to_owned(), ..Default::default() };
        let verdict = ask(&stage, request).await;
        if let Verdict::Rejected(rejected) = &verdict {
            assert!(!rejected.detail.contains("acme") && !rejected.detail.contains("suspended"), "{rejected:?}");
        }
        assert_eq!(reason_of(verdict, &token), RejectionReason::WrongTenant);
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn the_tokens_of_a_deleted_tenant_are_rejected_once_the_deletion_is_answered() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    verified(&stage, &token).await;
    delete_tenant(&stage, "tenants/acme").await;
    assert_eq!(reason(&stage, &token).await, RejectionReason::TenantDeleted);
    gone(&stage, "tenants/acme").await;
    assert_eq!(reason(&stage, &token).await, RejectionReason::TenantDeleted);

    // A tenant and a client of the same names come after it.
    stage.daemon.create_tenant("acme").await;
    stage.daemon.create_client("acme", "checkout").await;
    assert_eq!(reason(&stage, &token).await, RejectionReason::ClientDeleted);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn the_issuer_of_a_tenants_own_pool_goes_with_the_tenant() {
    let stage = court().await;
    create_tenant(&stage.daemon.channel, "umbrella", proto::Isolation::UserPool).await;
    let own = stage.daemon.create_client("umbrella", "billing").await;
    let token = stage.daemon.token(&own.name).await.access_token;
    verified(&stage, &token).await;
    delete_tenant(&stage, "tenants/umbrella").await;
    let at_once = reason(&stage, &token).await;
    assert!([RejectionReason::TenantDeleted, RejectionReason::UnknownIssuer].contains(&at_once), "{at_once:?}");
    gone(&stage, "tenants/umbrella").await;
    assert_eq!(reason(&stage, &token).await, RejectionReason::UnknownIssuer);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_client_of_the_same_name_does_not_own_the_tokens_of_a_deleted_one() {
    let stage = court().await;
    let old = stage.daemon.token(&stage.client.name).await.access_token;
    verified(&stage, &old).await;
    let request = proto::DeleteClientRequest { name: stage.client.name.clone(), ..Default::default() };
    stage.daemon.clients().delete_client(request).await.expect("deleted");
    assert_eq!(reason(&stage, &old).await, RejectionReason::ClientDeleted);
    in_time(async {
        let request = || proto::GetClientRequest { name: stage.client.name.clone() };
        while stage.daemon.clients().get_client(request()).await.is_ok() {}
    })
    .await;

    let again = stage.daemon.create_client("acme", "checkout").await;
    assert_eq!(again.name, stage.client.name);
    let new = stage.daemon.token(&again.name).await.access_token;
    assert_eq!(verified(&stage, &new).await.app_client_id, again.app_client_id);
    assert_eq!(reason(&stage, &old).await, RejectionReason::ClientDeleted);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_suspension_is_felt_at_once_and_so_is_its_end() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    verified(&stage, &token).await;
    suspend(&stage).await;
    assert_eq!(reason(&stage, &token).await, RejectionReason::TenantSuspended);
    let request = proto::ResumeTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    stage.daemon.tenants().resume_tenant(request).await.expect("resumed");
    verified(&stage, &token).await;
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_from_before_a_rotation_verifies_after_it() {
    let stage = court().await;
    let seen = stage.daemon.token(&stage.client.name).await.access_token;
    verified(&stage, &seen).await;
    let unseen = sign(&claims(&stage.client, start_time()));
    let request =
        proto::RotateClientSecretRequest { name: stage.client.name.clone(), immediate: true, ..Default::default() };
    stage.daemon.clients().rotate_client_secret(request).await.expect("rotated");
    for token in [seen, unseen] {
        verified(&stage, &token).await;
    }
    stage.daemon.stop().await;
}

async fn suspend(stage: &Stage) {
    let request = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    stage.daemon.tenants().suspend_tenant(request).await.expect("suspended");
}

async fn delete_tenant(stage: &Stage, name: &str) {
    let request = proto::DeleteTenantRequest { name: name.to_owned(), ..Default::default() };
    stage.daemon.tenants().delete_tenant(request).await.expect("deleted");
}

/// Returns once the tenant is not there any more.
async fn gone(stage: &Stage, name: &str) {
    in_time(async {
        loop {
            let request = proto::GetTenantRequest { name: name.to_owned() };
            match stage.daemon.tenants().get_tenant(request).await {
                Ok(_) => {}
                Err(status) => return assert_eq!(status.code(), Code::NotFound),
            }
        }
    })
    .await;
}
