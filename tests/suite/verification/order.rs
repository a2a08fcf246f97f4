//! A token with several faults gets the reason of the first, in the order of `RejectionReason`.

use keyward::proto;
use keyward::proto::RejectionReason;
use keyward::proto::revoke_tokens_request::Target;
use serde_json::{Value, json};

use super::{ask, court, reason_of, verified};
use crate::harness::forge::{Fields, TEST_KEY, claims, text};
use crate::harness::ports::Stage;
use crate::harness::start_time;

/// A question that is being spoilt.
struct Case {
    header: Fields,
    claims: Fields,
    spoil_signature: bool,
    request: proto::VerifyTokenRequest,
}

type Fault = (RejectionReason, fn(&mut Case));

/// What one question can get wrong by itself, in the order of the contract.
const FAULTS: [Fault; 14] = [
    (RejectionReason::Malformed, |case| claim(case, "jti", json!(7))),
    (RejectionReason::UnsupportedAlgorithm, |case| parameter(case, "alg", json!("none"))),
    (RejectionReason::UnsupportedHeader, |case| parameter(case, "crit", json!(["exp"]))),
    (RejectionReason::UnknownIssuer, |case| claim(case, "iss", json!("https://elsewhere.example"))),
    (RejectionReason::UnknownKey, |case| drop(case.header.remove("kid"))),
    (RejectionReason::BadSignature, |case| case.spoil_signature = true),
    (RejectionReason::WrongTokenUse, |case| claim(case, "token_use", json!("refresh"))),
    (RejectionReason::Expired, |case| claim(case, "exp", json!(start_time().as_second() - 100))),
    (RejectionReason::NotYetValid, |case| claim(case, "nbf", json!(start_time().as_second() + 100))),
    (RejectionReason::IssuedInFuture, |case| claim(case, "iat", json!(start_time().as_second() + 100))),
    (RejectionReason::UnknownClient, |case| claim(case, "client_id", json!("nobody"))),
    (RejectionReason::WrongTenant, |case| case.request.tenant = "tenants/initech".to_owned()),
    (RejectionReason::WrongClientKind, persons),
    (RejectionReason::InsufficientScope, |case| case.request.required_scopes = vec!["orders/delete".to_owned()]),
];

#[tokio::test]
async fn of_any_two_faults_of_a_question_the_first_is_the_reason() {
    let stage = court().await;
    assert!(FAULTS.is_sorted_by_key(|(reason, _)| *reason as i32));
    for (i, (first, spoil)) in FAULTS.iter().enumerate() {
        for (second, spoil_more) in &FAULTS[i..] {
            let mut case = case(&stage.client);
            spoil_more(&mut case);
            spoil(&mut case);
            assert_eq!(judge(&stage, case).await, *first, "{first:?} and {second:?}");
        }
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn what_happened_to_tenant_and_client_comes_after_whose_the_token_is_and_before_its_scopes() {
    let stage = court().await;
    // Every client is revoked; each of these tenants has more against it than the next.
    let deleted = lost_client(&stage, "deleted", &[delete_client, suspend, delete_tenant]).await;
    let retired = lost_client(&stage, "retired", &[delete_client, suspend]).await;
    let suspended = lost_client(&stage, "suspended", &[suspend]).await;
    let revoked = lost_client(&stage, "revoked", &[]).await;
    let standings = [
        (&deleted, RejectionReason::TenantDeleted),
        (&retired, RejectionReason::ClientDeleted),
        (&suspended, RejectionReason::TenantSuspended),
        (&revoked, RejectionReason::Revoked),
    ];
    for (client, standing) in standings {
        for (fault, spoil) in FAULTS {
            let mut case = case(client);
            spoil(&mut case);
            let expected = if (fault as i32) < standing as i32 { fault } else { standing };
            assert_eq!(judge(&stage, case).await, expected, "{standing:?} and {fault:?}");
        }
    }
    stage.daemon.stop().await;
}

fn case(client: &proto::Client) -> Case {
    Case {
        header: TEST_KEY.header(),
        claims: claims(client, start_time()),
        spoil_signature: false,
        request: proto::VerifyTokenRequest::default(),
    }
}

fn claim(case: &mut Case, name: &str, value: Value) {
    case.claims.insert(name.to_owned(), value);
}

/// As if somebody had signed in.
fn persons(case: &mut Case) {
    claim(case, "username", json!("ada"));
}

fn parameter(case: &mut Case, name: &str, value: Value) {
    case.header.insert(name.to_owned(), value);
}

async fn judge(stage: &Stage, case: Case) -> RejectionReason {
    let mut token = TEST_KEY.sign_text(&text(&case.header), &text(&case.claims));
    if case.spoil_signature {
        let at = token.rfind('.').expect("three parts") + 1;
        let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        token.replace_range(at..=at, other);
    }
    let request = proto::VerifyTokenRequest { token: token.clone(), ..case.request };
    reason_of(ask(stage, request).await, &token)
}

/// A client of a tenant of its own whose tokens up to now are revoked, and to which more has happened since.
async fn lost_client(stage: &Stage, tenant: &str, happened: &[fn(&proto::Client) -> Blow]) -> proto::Client {
    stage.daemon.create_tenant(tenant).await;
    let client = stage.daemon.create_client(tenant, "orders").await;
    verified(stage, &TEST_KEY.sign(&TEST_KEY.header(), &claims(&client, start_time()))).await;
    stage.clock.set(start_time() + jiff::SignedDuration::from_millis(500));
    let request =
        proto::RevokeTokensRequest { target: Some(Target::Client(client.name.clone())), ..Default::default() };
    stage.daemon.clients().revoke_tokens(request).await.expect("revoked");
    for blow in happened {
        match blow(&client) {
            Blow::Delete(request) => drop(stage.daemon.clients().delete_client(request).await.expect("deleted")),
            Blow::Suspend(request) => drop(stage.daemon.tenants().suspend_tenant(request).await.expect("suspended")),
            Blow::DeleteTenant(request) => drop(stage.daemon.tenants().delete_tenant(request).await.expect("deleted")),
        }
    }
    client
}

enum Blow {
    Delete(proto::DeleteClientRequest),
    Suspend(proto::SuspendTenantRequest),
    DeleteTenant(proto::DeleteTenantRequest),
}

fn delete_client(client: &proto::Client) -> Blow {
    Blow::Delete(proto::DeleteClientRequest { name: client.name.clone(), ..Default::default() })
}

fn suspend(client: &proto::Client) -> Blow {
    Blow::Suspend(proto::SuspendTenantRequest { name: tenant_of(client), ..Default::default() })
}

fn delete_tenant(client: &proto::Client) -> Blow {
    Blow::DeleteTenant(proto::DeleteTenantRequest { name: tenant_of(client), ..Default::default() })
}

fn tenant_of(client: &proto::Client) -> String {
    client.name.split("/clients/").next().expect("a tenant").to_owned()
}
