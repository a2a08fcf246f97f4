//! Tokens of people: accepted by whoever asks for them and by nobody else, and held against every rule that a machine's is.

use keyward::proto;
use keyward::proto::revoke_tokens_request::Target;
use keyward::proto::verify_token_response::Verdict;
use keyward::proto::{RejectionReason, TokenUse, verify_tokens_response};
use serde_json::{Value, json};

use super::{ask, court, reason, reason_of, sign, verified};
use crate::harness::forge::{Fields, PERSON, claims, decoded, id_claims, persons_access_claims, with, without};
use crate::harness::on_aws::AwsStage;
use crate::harness::ports::{Stage, in_time};
use crate::harness::{create_interactive, create_tenant, start_time};

/// A court with a client of the tenant's that people sign in with.
async fn portal() -> (Stage, proto::Client) {
    let stage = court().await;
    let portal = create_interactive(&stage.daemon.channel, "acme", "portal").await;
    (stage, portal)
}

fn request(claims: &Fields, token_use: TokenUse) -> proto::VerifyTokenRequest {
    proto::VerifyTokenRequest { token: sign(claims), token_use: token_use.into(), ..Default::default() }
}

/// What is said the third time, when it may have been said before.
async fn asked(stage: &Stage, request: proto::VerifyTokenRequest) -> Result<proto::VerifiedToken, RejectionReason> {
    let mut verdict = ask(stage, request.clone()).await;
    for _ in 0..2 {
        verdict = ask(stage, request.clone()).await;
    }
    match verdict {
        Verdict::Verified(verified) => Ok(verified),
        rejected @ Verdict::Rejected(_) => Err(reason_of(rejected, &request.token)),
    }
}

async fn judged(stage: &Stage, claims: &Fields, token_use: TokenUse) -> Result<(), RejectionReason> {
    asked(stage, request(claims, token_use)).await.map(drop)
}

#[tokio::test]
async fn an_access_token_of_a_person_says_who_they_are_and_what_it_grants() {
    let (stage, portal) = portal().await;
    let said = persons_access_claims(&portal, start_time());
    let second = |second: i64| Some(prost_types::Timestamp { seconds: start_time().as_second() + second, nanos: 0 });
    let expected = proto::VerifiedToken {
        tenant: "tenants/acme".to_owned(),
        client: portal.name.clone(),
        app_client_id: portal.app_client_id.clone(),
        issuer: portal.issuer.clone(),
        scopes: ["openid", "orders/read"].map(str::to_owned).to_vec(),
        token_id: said["jti"].as_str().expect("a jti").to_owned(),
        issue_time: second(0),
        expire_time: second(3_600),
        token_use: TokenUse::Access.into(),
        client_kind: proto::ClientKind::Interactive.into(),
        subject: PERSON.to_owned(),
        username: "ada".to_owned(),
        groups: ["readers", "writers"].map(str::to_owned).to_vec(),
    };
    assert_eq!(asked(&stage, request(&said, TokenUse::Access)).await, Ok(expected));
    stage.daemon.stop().await;
}

#[tokio::test]
async fn an_id_token_says_who_they_are_and_grants_nothing() {
    let (stage, portal) = portal().await;
    let said = id_claims(&portal, start_time());
    let verified = asked(&stage, request(&said, TokenUse::Id)).await.expect("it is good");
    assert_eq!((&verified.client, &verified.app_client_id), (&portal.name, &portal.app_client_id));
    assert_eq!((verified.token_use(), verified.client_kind()), (TokenUse::Id, proto::ClientKind::Interactive));
    assert_eq!((verified.subject.as_str(), verified.username.as_str()), (PERSON, "ada"));
    assert_eq!((verified.groups, verified.scopes), (vec!["readers".to_owned(), "writers".to_owned()], Vec::new()));

    // What a trigger of the pool may write into an ID token is not Cognito's word.
    let embellished = with(&with(&said, "scope", "orders/write"), "client_id", "nobody");
    let embellished = with(&embellished, "username", "eve");
    let verified = asked(&stage, request(&embellished, TokenUse::Id)).await.expect("it is good");
    assert_eq!((verified.app_client_id, verified.username), (portal.app_client_id.clone(), "ada".to_owned()));
    let demanding = proto::VerifyTokenRequest {
        required_scopes: vec!["orders/write".to_owned()],
        ..request(&embellished, TokenUse::Id)
    };
    assert_eq!(asked(&stage, demanding).await, Err(RejectionReason::InsufficientScope));
    stage.daemon.stop().await;
}

#[tokio::test]
async fn only_what_the_request_asks_for_is_accepted() {
    let (stage, portal) = portal().await;
    let machines = claims(&stage.client, start_time());
    let access = persons_access_claims(&portal, start_time());
    let id = id_claims(&portal, start_time());
    let (wrong_use, wrong_kind) = (Err(RejectionReason::WrongTokenUse), Err(RejectionReason::WrongClientKind));
    // Twice and in both orders, so that whatever is kept of one question would show in the next.
    for turn in 0..2 {
        let mut questions = vec![
            (&machines, TokenUse::Unspecified, Ok(())),
            (&machines, TokenUse::Access, Ok(())),
            (&machines, TokenUse::Id, wrong_use),
            (&access, TokenUse::Unspecified, wrong_kind),
            (&access, TokenUse::Access, Ok(())),
            (&access, TokenUse::Id, wrong_use),
            (&id, TokenUse::Unspecified, wrong_use),
            (&id, TokenUse::Access, wrong_use),
            (&id, TokenUse::Id, Ok(())),
        ];
        if turn == 1 {
            questions.reverse();
        }
        for (claims, token_use, expected) in questions {
            assert_eq!(judged(&stage, claims, token_use).await, expected, "{token_use:?}: {claims:?}");
        }
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn on_one_stream_each_question_accepts_what_it_says() {
    let (stage, portal) = portal().await;
    let access = persons_access_claims(&portal, start_time());
    let uses = [TokenUse::Access, TokenUse::Unspecified, TokenUse::Id];
    let asked: Vec<_> = (0..30)
        .map(|at| proto::VerifyTokensRequest {
            correlation_id: at.to_string(),
            request: Some(request(&access, uses[at % 3])),
        })
        .collect();
    let answers = stage.daemon.verification().verify_tokens(futures::stream::iter(asked)).await.expect("a stream");
    let mut answers = answers.into_inner();
    let mut count = 0;
    while let Some(answer) = in_time(answers.message()).await.expect("no error") {
        let at: usize = answer.correlation_id.parse().expect("a number");
        let told = match answer.verdict.expect("a verdict") {
            verify_tokens_response::Verdict::Verified(verified) => Ok(verified.username),
            verify_tokens_response::Verdict::Rejected(rejected) => Err(rejected.reason()),
            verify_tokens_response::Verdict::Error(error) => panic!("{error:?}"),
        };
        let expected = match uses[at % 3] {
            TokenUse::Access => Ok("ada".to_owned()),
            TokenUse::Unspecified => Err(RejectionReason::WrongClientKind),
            TokenUse::Id => Err(RejectionReason::WrongTokenUse),
        };
        assert_eq!(told, expected, "number {at}");
        count += 1;
    }
    assert_eq!(count, 30);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_persons_token_of_a_machines_client_is_accepted_by_nobody_nor_is_a_machines_of_theirs() {
    let (stage, portal) = portal().await;
    let wrong_kind = Err(RejectionReason::WrongClientKind);
    for token_use in [TokenUse::Unspecified, TokenUse::Access] {
        let persons = persons_access_claims(&stage.client, start_time());
        assert_eq!(judged(&stage, &persons, token_use).await, wrong_kind, "{token_use:?}");
        assert_eq!(judged(&stage, &claims(&portal, start_time()), token_use).await, wrong_kind, "{token_use:?}");
    }
    assert_eq!(judged(&stage, &id_claims(&stage.client, start_time()), TokenUse::Id).await, wrong_kind);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn people_of_a_pool_of_the_tenants_own_are_told_too() {
    let stage = court().await;
    create_tenant(&stage.daemon.channel, "umbrella", proto::Isolation::UserPool).await;
    let portal = create_interactive(&stage.daemon.channel, "umbrella", "portal").await;
    assert_ne!(portal.issuer, stage.client.issuer);
    for (claims, token_use) in [
        (persons_access_claims(&portal, start_time()), TokenUse::Access),
        (id_claims(&portal, start_time()), TokenUse::Id),
    ] {
        let verified = asked(&stage, request(&claims, token_use)).await.expect("it is good");
        assert_eq!((verified.tenant.as_str(), verified.username.as_str()), ("tenants/umbrella", "ada"));
        // The same under the issuer of another pool is nobody's.
        let elsewhere = with(&claims, "iss", stage.client.issuer.as_str());
        assert_eq!(judged(&stage, &elsewhere, token_use).await, Err(RejectionReason::UnknownClient));
        let demanding = proto::VerifyTokenRequest { tenant: "tenants/acme".to_owned(), ..request(&claims, token_use) };
        assert_eq!(asked(&stage, demanding).await, Err(RejectionReason::WrongTenant));
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn claims_of_a_person_that_are_missing_or_too_much_make_no_token() {
    let (stage, portal) = portal().await;
    let access = persons_access_claims(&portal, start_time());
    let id = id_claims(&portal, start_time());
    let many = |count: usize| (0..count).map(|number| format!("group-{number}")).collect::<Vec<_>>();
    for (claims, token_use) in [(&access, TokenUse::Access), (&id, TokenUse::Id)] {
        let groups = |groups: Value| with(claims, "cognito:groups", groups);
        for good in [without(claims, "cognito:groups"), groups(json!([])), groups(json!(many(100)))] {
            assert_eq!(judged(&stage, &good, token_use).await, Ok(()));
        }
        for bad in [
            without(claims, "sub"),
            with(claims, "sub", 7),
            with(claims, "sub", ""),
            groups(json!("readers")),
            groups(json!([7])),
            groups(json!([""])),
            groups(json!(["g".repeat(129)])),
            groups(json!(many(101))),
        ] {
            assert_eq!(judged(&stage, &bad, token_use).await, Err(RejectionReason::Malformed), "{bad:?}");
        }
    }
    let malformed = Err(RejectionReason::Malformed);
    for bad in [
        without(&id, "cognito:username"),
        without(&id, "aud"),
        with(&id, "aud", json!([portal.app_client_id])),
        with(&without(&id, "aud"), "client_id", portal.app_client_id.as_str()),
        with(&id, "cognito:username", "u".repeat(129)),
    ] {
        assert_eq!(judged(&stage, &bad, TokenUse::Id).await, malformed, "{bad:?}");
    }
    for bad in [
        with(&access, "username", ""),
        with(&access, "username", 7),
        without(&access, "client_id"),
        with(&without(&access, "client_id"), "aud", portal.app_client_id.as_str()),
    ] {
        assert_eq!(judged(&stage, &bad, TokenUse::Access).await, malformed, "{bad:?}");
    }
    // A token that names nobody is not of the people's kind.
    let nobodys = without(&access, "username");
    assert_eq!(judged(&stage, &nobodys, TokenUse::Access).await, Err(RejectionReason::WrongClientKind));
    // An access token may be meant for a resource besides.
    assert_eq!(
        judged(&stage, &with(&access, "aud", json!(["https://api.example.com"])), TokenUse::Access).await,
        Ok(())
    );
    stage.daemon.stop().await;
}

#[tokio::test]
async fn what_cognito_signs_for_one_sign_in_with_two_keys_is_believed_by_both() {
    let stage = AwsStage::set().await;
    create_tenant(&stage.daemon.channel, "acme", proto::Isolation::AppClient).await;
    let portal = create_interactive(&stage.daemon.channel, "acme", "portal").await;
    let signed_in = stage.fake.sign_in(&portal.app_client_id, "ada", &["writers", "readers"]);
    let kid = |token: &str| decoded(token, 0)["kid"].clone();
    assert_ne!(kid(&signed_in.id_token), kid(&signed_in.access_token));
    let ask = async |token: &str, token_use: TokenUse| {
        let request =
            proto::VerifyTokenRequest { token: token.to_owned(), token_use: token_use.into(), ..Default::default() };
        let answer = stage.daemon.verification().verify_token(request).await.expect("an answer");
        match answer.into_inner().verdict.expect("a verdict") {
            Verdict::Verified(verified) => {
                Ok((verified.username, verified.groups.join(" "), verified.scopes.join(" ")))
            }
            Verdict::Rejected(rejected) => Err(rejected.reason()),
        }
    };
    let told = |scopes: &str| Ok(("ada".to_owned(), "readers writers".to_owned(), scopes.to_owned()));
    assert_eq!(ask(&signed_in.access_token, TokenUse::Access).await, told("openid orders/read"));
    assert_eq!(ask(&signed_in.id_token, TokenUse::Id).await, told(""));
    assert_eq!(ask(&signed_in.access_token, TokenUse::Unspecified).await, Err(RejectionReason::WrongClientKind));
    assert_eq!(ask(&signed_in.id_token, TokenUse::Access).await, Err(RejectionReason::WrongTokenUse));
    stage.strike().await;
}

#[tokio::test]
async fn revocation_suspension_and_deletion_hold_for_people_too() {
    let (stage, portal) = portal().await;
    let access = persons_access_claims(&portal, start_time());
    let id = id_claims(&portal, start_time());
    let each = [(&access, TokenUse::Access), (&id, TokenUse::Id)];
    let all_are = async |expected: Result<(), RejectionReason>| {
        for (claims, token_use) in each {
            assert_eq!(judged(&stage, claims, token_use).await, expected, "{token_use:?}");
        }
    };
    let revoke = async |target: Target| {
        let request = proto::RevokeTokensRequest { target: Some(target), ..Default::default() };
        stage.daemon.clients().revoke_tokens(request).await.expect("revoked");
    };
    all_are(Ok(())).await;

    // One token, given whole: the other of the same sign-in has an id of its own.
    revoke(Target::Token(sign(&id))).await;
    assert_eq!(judged(&stage, &id, TokenUse::Id).await, Err(RejectionReason::Revoked));
    assert_eq!(judged(&stage, &access, TokenUse::Access).await, Ok(()));
    revoke(Target::TokenId(access["jti"].as_str().expect("a jti").to_owned())).await;
    all_are(Err(RejectionReason::Revoked)).await;

    let access = with(&access, "jti", "another-1");
    let id = with(&id, "jti", "another-2");
    let each = [(&access, TokenUse::Access), (&id, TokenUse::Id)];
    let all_are = async |expected: Result<(), RejectionReason>| {
        for (claims, token_use) in each {
            assert_eq!(judged(&stage, claims, token_use).await, expected, "{token_use:?}");
        }
    };
    let name = || "tenants/acme".to_owned();
    let suspend = proto::SuspendTenantRequest { name: name(), ..Default::default() };
    stage.daemon.tenants().suspend_tenant(suspend).await.expect("suspended");
    all_are(Err(RejectionReason::TenantSuspended)).await;
    let resume = proto::ResumeTenantRequest { name: name(), ..Default::default() };
    stage.daemon.tenants().resume_tenant(resume).await.expect("resumed");
    all_are(Ok(())).await;
    stage.at_second(1);
    revoke(Target::Client(portal.name.clone())).await;
    all_are(Err(RejectionReason::Revoked)).await;
    let delete = proto::DeleteClientRequest { name: portal.name.clone(), ..Default::default() };
    stage.daemon.clients().delete_client(delete).await.expect("deleted");
    all_are(Err(RejectionReason::ClientDeleted)).await;
    // Nor is it told of a client that is gone to who accepts machines alone.
    assert_eq!(reason(&stage, &sign(&access)).await, RejectionReason::WrongClientKind);
    let machines = stage.daemon.token(&stage.client.name).await.access_token;
    verified(&stage, &machines).await;
    stage.daemon.stop().await;
}
