//! Answers of `GetToken` and `VerifyToken` that were given before are given again for as long as they hold, and to nobody
//! else. Each question is asked so often that the last answer is one that was kept.

use std::time::Duration;

use keyward::config::{CallerGrant, Callers, Config};
use keyward::proto::revoke_tokens_request::Target;
use keyward::proto::verify_token_response::Verdict;
use keyward::proto::{self, RejectionReason};
use tonic::{Code, Request, Status};

use crate::callers::issuer::Issuer;
use crate::callers::{operator, trusted};
use crate::harness::{Daemon, claims, details, folder, mask, start_time};
use crate::permission::{until, with_policies};

const ORDERS: &str = "tenants/acme/clients/orders";
/// The first may have to make it, the second keeps it, the third is given what was kept.
const TIMES: usize = 3;
const HOUR: Duration = Duration::from_secs(3_600);

async fn get(daemon: &Daemon) -> Result<String, Code> {
    let mut token = Err(Code::Unknown);
    for _ in 0..TIMES {
        let request = proto::GetTokenRequest { name: ORDERS.to_owned(), ..Default::default() };
        let answer = daemon.tokens().get_token(request).await;
        token = answer.map(|token| token.into_inner().access_token).map_err(|status| status.code());
    }
    token
}

async fn verify(daemon: &Daemon, token: &str) -> Result<(), RejectionReason> {
    let mut verdict = Ok(());
    for _ in 0..TIMES {
        verdict = match daemon.verify(token).await {
            Verdict::Verified(_) => Ok(()),
            Verdict::Rejected(rejected) => Err(rejected.reason()),
        };
    }
    verdict
}

async fn acme(daemon: &Daemon) -> String {
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    daemon.create_client("acme", "orders").await;
    let token = get(daemon).await.expect("a token");
    assert_eq!(verify(daemon, &token).await, Ok(()));
    token
}

async fn revoke(daemon: &Daemon, target: Target) {
    let request = proto::RevokeTokensRequest { target: Some(target), ..Default::default() };
    daemon.clients().revoke_tokens(request).await.expect("revoked");
}

#[tokio::test]
async fn a_suspension_ends_them_and_its_end_brings_them_back() {
    let (daemon, _) = Daemon::start_at_rest().await;
    let token = acme(&daemon).await;
    let name = "tenants/acme".to_owned();
    for _ in 0..2 {
        let suspend = proto::SuspendTenantRequest { name: name.clone(), ..Default::default() };
        daemon.tenants().suspend_tenant(suspend).await.expect("suspended");
        assert_eq!(get(&daemon).await, Err(Code::FailedPrecondition));
        assert_eq!(verify(&daemon, &token).await, Err(RejectionReason::TenantSuspended));
        let resume = proto::ResumeTenantRequest { name: name.clone(), ..Default::default() };
        daemon.tenants().resume_tenant(resume).await.expect("resumed");
        assert_eq!(get(&daemon).await.as_ref(), Ok(&token));
        assert_eq!(verify(&daemon, &token).await, Ok(()));
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_revocation_ends_them_whatever_it_is_of() {
    let (daemon, clock) = Daemon::start_at_rest().await;
    let mut token = acme(&daemon).await;
    let id = claims(&token)["jti"].as_str().expect("an id").to_owned();
    let of_one = [Target::TokenId(id)];
    let of_all = [Target::Client(ORDERS.to_owned()), Target::Tenant("tenants/acme".to_owned())];
    for target in of_one.into_iter().chain(of_all) {
        clock.advance(Duration::from_secs(1));
        revoke(&daemon, target.clone()).await;
        clock.advance(Duration::from_secs(1));
        let next = get(&daemon).await.expect("a token");
        assert_ne!(next, token, "{target:?}");
        assert_eq!(verify(&daemon, &token).await, Err(RejectionReason::Revoked), "{target:?}");
        assert_eq!(verify(&daemon, &next).await, Ok(()), "{target:?}");
        token = next;
    }
    daemon.stop().await;
}

#[tokio::test]
async fn other_scopes_and_a_deletion_end_them() {
    let (daemon, _) = Daemon::start_at_rest().await;
    let token = acme(&daemon).await;
    let client =
        proto::Client { name: ORDERS.to_owned(), scopes: vec!["orders/read".to_owned()], ..Default::default() };
    let update =
        proto::UpdateClientRequest { client: Some(client), update_mask: mask(&["scopes"]), ..Default::default() };
    daemon.clients().update_client(update).await.expect("updated");
    let next = get(&daemon).await.expect("a token");
    assert_eq!(claims(&next)["scope"], "orders/read");
    assert_eq!(verify(&daemon, &token).await, Ok(()), "it was issued before");

    let delete = proto::DeleteClientRequest { name: ORDERS.to_owned(), ..Default::default() };
    daemon.clients().delete_client(delete).await.expect("deleted");
    assert!(get(&daemon).await.is_err());
    assert_eq!(verify(&daemon, &next).await, Err(RejectionReason::ClientDeleted));
    daemon.stop().await;
}

#[tokio::test]
async fn time_ends_them() {
    let (daemon, clock) = Daemon::start_at_rest().await;
    let token = acme(&daemon).await;
    // Past 75 % of its life it is still given, and its successor is seen to.
    clock.advance(HOUR * 4 / 5);
    until(async || get(&daemon).await.is_ok_and(|next| next != token)).await;
    assert_eq!(verify(&daemon, &token).await, Ok(()));
    clock.advance(HOUR / 5 + Duration::from_secs(4));
    assert_eq!(verify(&daemon, &token).await, Ok(()), "within the leeway");
    clock.advance(Duration::from_secs(1));
    assert_eq!(verify(&daemon, &token).await, Err(RejectionReason::Expired));
    clock.advance(HOUR);
    let next = get(&daemon).await.expect("a token");
    assert_eq!(verify(&daemon, &next).await, Ok(()));
    daemon.stop().await;
}

#[tokio::test]
async fn other_policies_and_other_labels_end_them() {
    let (_folder, path) = folder();
    let barred = "forbid (principal, action == Keyward::Action::\"GetToken\", resource) when { \
                  resource.hasTag(\"barred\") };";
    std::fs::write(path.join("labels.cedar"), barred).expect("written");
    let (daemon, _) = Daemon::start_at_rest_with(with_policies(&path)).await;
    let token = acme(&daemon).await;
    let label = async |labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let client = proto::Client { name: ORDERS.to_owned(), labels, ..Default::default() };
        let update =
            proto::UpdateClientRequest { client: Some(client), update_mask: mask(&["labels"]), ..Default::default() };
        daemon.clients().update_client(update).await.expect("updated");
    };
    label(&[("barred", "yes")]).await;
    assert_eq!(get(&daemon).await, Err(Code::PermissionDenied));
    label(&[]).await;
    assert_eq!(get(&daemon).await.as_ref(), Ok(&token));

    assert_eq!(verify(&daemon, &token).await, Ok(()));
    std::fs::write(path.join("all.cedar"), "forbid (principal, action, resource);").expect("written");
    until(async || get(&daemon).await == Err(Code::PermissionDenied)).await;
    let request = proto::VerifyTokenRequest { token, ..Default::default() };
    let denied = daemon.verification().verify_token(request).await.expect_err("denied");
    assert_eq!(denied.code(), Code::PermissionDenied);
    daemon.stop().await;
}

const ISSUER: &str = "https://issuer.example.org";

/// `boss` is an operator, `eve` belongs to another tenant, each by a token of an issuer.
fn two_callers(issuer: &Issuer) -> impl FnOnce(&mut Config) {
    let of_eve = CallerGrant {
        caller: format!("token:{ISSUER}#eve"),
        tenant: Some("umbrella".to_owned()),
        ..Default::default()
    };
    let callers = Callers {
        issuer: vec![trusted(issuer)],
        grant: vec![operator(&format!("token:{ISSUER}#boss")), of_eve],
        ..Default::default()
    };
    |config| {
        config.callers = callers;
        config.limits.calls_per_second = 1;
        config.limits.calls_burst = 20;
    }
}

#[tokio::test]
async fn they_are_for_who_asked_as_long_as_the_proof_holds_and_not_too_often() {
    let issuer = Issuer::new(ISSUER);
    let (daemon, clock) = Daemon::start_at_rest().await;
    acme(&daemon).await;
    let daemon = daemon.restart_with(two_callers(&issuer)).await;
    let (boss, eve) = (issuer.token("boss", start_time()), issuer.token("eve", start_time()));
    let get = async |proof: &str| -> Result<String, Status> {
        let mut request = Request::new(proto::GetTokenRequest { name: ORDERS.to_owned(), ..Default::default() });
        request.metadata_mut().append("authorization", format!("Bearer {proof}").parse().expect("a header"));
        Ok(daemon.tokens().get_token(request).await?.into_inner().access_token)
    };
    for _ in 0..TIMES {
        get(&boss).await.expect("a token");
    }
    for _ in 0..TIMES {
        assert_eq!(get(&eve).await.expect_err("another tenant's").code(), Code::PermissionDenied);
    }

    // Also what was kept counts as a call.
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(get(&boss).await);
    }
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 20 - TIMES);
    let limited = answers.into_iter().find_map(Result::err).expect("too often");
    assert_eq!(details(&limited).reason, "RATE_LIMITED");

    clock.advance(Duration::from_secs(TIMES as u64));
    for _ in 0..TIMES {
        get(&boss).await.expect("a token");
    }
    clock.advance(2 * HOUR);
    assert_eq!(details(&get(&boss).await.expect_err("its proof has expired")).reason, "CREDENTIALS_INVALID");
    daemon.stop().await;
}
