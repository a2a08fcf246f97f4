//! Everything, in pieces, and then each change.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward::broker::ports::{Action, ChangeSet, Shelf, Write};
use keyward::domain::client::Owner;
use keyward::domain::form::Form;
use keyward::domain::id::{AppClientId, ClientName, Issuer};
use keyward::proto::revoke_tokens_request::Target;
use keyward::proto::{self, ClientState, TenantState, WatchTrustRequest};

use super::mirror::Mirror;
use crate::harness::forge::TEST_KEY;
use crate::harness::ports::{Stage, in_time};
use crate::harness::{create_interactive, create_tenant, start_time};

#[tokio::test]
async fn everything_that_verification_looks_at_is_there_and_nothing_is_told_before_it_is() {
    let stage = Stage::set().await;
    stage.keys.publish(TEST_KEY.public());
    create_tenant(&stage.daemon.channel, "umbrella", proto::Isolation::UserPool).await;
    let own = stage.daemon.create_client("umbrella", "billing").await;
    revoke(&stage, Target::TokenId("some-id".to_owned())).await;
    let mirror = Mirror::whole(&stage.daemon).await;

    assert_eq!(mirror.resets, 1);
    let issuers = [&stage.client.issuer, &own.issuer];
    assert!(issuers.iter().all(|issuer| mirror.issuers.contains_key(*issuer)) && mirror.issuers.len() == 2);
    for issuer in mirror.issuers.values() {
        let key = issuer.keys.iter().find(|key| key.key_id == TEST_KEY.kid).expect("the test's own key");
        assert_eq!(URL_SAFE_NO_PAD.encode(&key.modulus), TEST_KEY.public().modulus);
        assert!(issuer.keys_read && issuer.keys.len() == 2, "{issuer:?}");
    }
    let tenants: Vec<_> = mirror.tenants.iter().map(|(name, tenant)| (name.as_str(), tenant.state())).collect();
    assert_eq!(tenants, [("tenants/acme", TenantState::Active), ("tenants/umbrella", TenantState::Active)]);
    for client in [&stage.client, &own] {
        let sent = &mirror.clients[&client.name];
        assert_eq!((sent.client_uid.as_str(), sent.state()), (client.uid.as_str(), ClientState::Active));
        let whose = &mirror.app_clients[&(client.issuer.clone(), client.app_client_id.clone())];
        assert_eq!((whose.client.as_str(), whose.client_uid.as_str()), (client.name.as_str(), client.uid.as_str()));
        assert!(!whose.revoked && sent.revoked_before.is_none());
    }
    assert_eq!((mirror.clients.len(), mirror.app_clients.len()), (2, 2));
    assert_eq!(mirror.revoked_tokens["some-id"].issuer, "");
    let synced = mirror.synced.as_ref().expect("all was told");
    let (fresh, until) = (synced.fresh_time.expect("set"), synced.fresh_until.expect("set"));
    assert_eq!((fresh.seconds, until.seconds), (start_time().as_second(), start_time().as_second() + 10));
    drop(mirror);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn of_clients_that_people_sign_in_with_it_is_not_told_that_they_are_there() {
    let stage = Stage::set().await;
    let before = create_interactive(&stage.daemon.channel, "acme", "portal").await;
    for tenants in [vec![], vec!["tenants/acme".to_owned()]] {
        let request = WatchTrustRequest { tenants, ..Default::default() };
        let mut mirror = Mirror::asking(&stage.daemon, request).await.expect("a stream");
        mirror.until(|mirror| mirror.synced.is_some()).await;
        let id = format!("later-{}", mirror.app_clients.len());
        let after = create_interactive(&stage.daemon.channel, "acme", &id).await;
        for portal in [&before, &after] {
            // By this their tokens are told from those of a stranger.
            let key = (portal.issuer.clone(), portal.app_client_id.clone());
            mirror.until(|mirror| mirror.app_clients.contains_key(&key)).await;
            assert!(!mirror.clients.contains_key(&portal.name));
        }
        assert!(mirror.clients.contains_key(&stage.client.name));
        let delete = proto::DeleteClientRequest { name: after.name, ..Default::default() };
        stage.daemon.clients().delete_client(delete).await.expect("deleted");
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn each_change_is_told_once_its_answer_is() {
    let stage = Stage::set().await;
    let mut mirror = Mirror::whole(&stage.daemon).await;

    let request = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    stage.daemon.tenants().suspend_tenant(request).await.expect("suspended");
    mirror.until(|mirror| mirror.tenants["tenants/acme"].state() == TenantState::Suspended).await;
    let request = proto::ResumeTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    stage.daemon.tenants().resume_tenant(request).await.expect("resumed");
    mirror.until(|mirror| mirror.tenants["tenants/acme"].state() == TenantState::Active).await;

    revoke(&stage, Target::TokenId("some-id".to_owned())).await;
    mirror.until(|mirror| mirror.revoked_tokens.contains_key("some-id")).await;
    revoke(&stage, Target::Client(stage.client.name.clone())).await;
    mirror.until(|mirror| mirror.clients[&stage.client.name].revoked_before.is_some()).await;
    revoke(&stage, Target::Tenant("tenants/acme".to_owned())).await;
    mirror.until(|mirror| mirror.tenants["tenants/acme"].revoked_before.is_some()).await;

    create_tenant(&stage.daemon.channel, "umbrella", proto::Isolation::UserPool).await;
    let own = stage.daemon.create_client("umbrella", "billing").await;
    let key = (own.issuer.clone(), own.app_client_id.clone());
    mirror.until(|mirror| mirror.app_clients.contains_key(&key)).await;
    mirror.until(|mirror| mirror.issuers.get(&own.issuer).is_some_and(|issuer| issuer.keys_read)).await;

    let request = proto::DeleteTenantRequest { name: "tenants/umbrella".to_owned(), ..Default::default() };
    stage.daemon.tenants().delete_tenant(request).await.expect("deleted");
    mirror.until(|mirror| !mirror.tenants.contains_key("tenants/umbrella")).await;
    mirror.until(|mirror| !mirror.issuers.contains_key(&own.issuer)).await;
    mirror.until(|mirror| !mirror.clients.contains_key(&own.name)).await;
    // Its tokens are told apart from a stranger's until the last of them has expired.
    assert!(mirror.app_clients.contains_key(&key));
    // A day is the longest life of a token, and an hour is added to it.
    stage.clock.advance(Duration::from_secs(26 * 3_600));
    mirror.until(|mirror| !mirror.app_clients.contains_key(&key)).await;
    assert_eq!(mirror.resets, 1);
    drop(mirror);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn an_app_client_that_was_replaced_stays_and_one_that_was_compromised_is_told_as_that() {
    let stage = Stage::set().await;
    let mut mirror = Mirror::whole(&stage.daemon).await;
    let key = |client: &proto::Client| (client.issuer.clone(), client.app_client_id.clone());
    let mut last = stage.client.clone();
    for immediate in [false, true] {
        let before = key(&last);
        let request = proto::ReplaceClientRequest { name: last.name.clone(), immediate, ..Default::default() };
        stage.daemon.clients().replace_client(request).await.expect("replaced");
        let request = proto::GetClientRequest { name: last.name.clone() };
        last = stage.daemon.clients().get_client(request).await.expect("the client").into_inner();
        assert_ne!(key(&last), before);
        mirror.until(|mirror| mirror.app_clients.contains_key(&key(&last))).await;
        mirror.until(|mirror| mirror.app_clients[&before].revoked == immediate).await;
        assert_eq!(mirror.app_clients[&before].client_uid, last.uid);
    }
    drop(mirror);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_large_platform_comes_in_pieces_and_whole() {
    let stage = Stage::set().await;
    let owners = 450;
    let issuer = Issuer::parse("issuer", &stage.client.issuer).expect("valid");
    let client = ClientName::parse("name", &stage.client.name).expect("valid");
    let mut writes = Vec::new();
    for number in 0..owners {
        let app_client = AppClientId::parse("app_client", &format!("made{number:05}")).expect("valid");
        let owner = Owner {
            issuer: issuer.clone(),
            app_client,
            client: client.clone(),
            client_uid: stage.client.uid.clone(),
            revoked: false,
            purge_time: None,
        };
        let key = format!("{} {issuer}", owner.app_client);
        let body = serde_json::to_vec(&owner).expect("JSON");
        let action = Action::Put { body, form: Form::FIRST, due_time: None };
        writes.push(Write { shelf: Shelf::Owner, key, expected: None, action });
    }
    while !writes.is_empty() {
        let rest = writes.split_off(writes.len().min(90));
        let changes = ChangeSet { writes: std::mem::replace(&mut writes, rest), events: Vec::new() };
        stage.backend.registry.commit(changes).await.expect("kept");
    }
    let mirror = Mirror::whole(&stage.daemon).await;
    assert_eq!(mirror.app_clients.len(), owners + 1);
    assert!(mirror.batches >= 3 + 3, "{} messages", mirror.batches);
    drop(mirror);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn whoever_comes_back_is_told_what_was_missed_and_no_more() {
    let stage = Stage::set().await;
    let mirror = Mirror::whole(&stage.daemon).await;
    let resume_token = mirror.resume_token.clone();
    drop(mirror);
    revoke(&stage, Target::TokenId("missed".to_owned())).await;

    let again = |resume_token: String, tenants: &[&str]| {
        let tenants = tenants.iter().map(|tenant| (*tenant).to_owned()).collect();
        Mirror::asking(&stage.daemon, WatchTrustRequest { resume_token, tenants })
    };
    let mut mirror = again(resume_token.clone(), &[]).await.expect("a stream");
    mirror.until(|mirror| mirror.synced.is_some()).await;
    assert_eq!((mirror.resets, mirror.tenants.len(), mirror.revoked_tokens.len()), (0, 0, 1));

    // What the broker does not know, or was said about something else, begins with everything.
    for (token, tenants) in [("made.1.up", vec![]), ("x", vec![]), (resume_token.as_str(), vec!["tenants/acme"])] {
        let mut mirror = again(token.to_owned(), &tenants).await.expect("a stream");
        mirror.until(|mirror| mirror.synced.is_some()).await;
        assert_eq!((mirror.resets, mirror.tenants.len()), (1, 1), "{token}");
    }
    drop(mirror);
    let daemon = stage.daemon.restart().await;
    let request = WatchTrustRequest { resume_token, ..Default::default() };
    let mut mirror = Mirror::asking(&daemon, request).await.expect("a stream");
    mirror.until(|mirror| mirror.synced.is_some()).await;
    assert_eq!((mirror.resets, mirror.tenants.len()), (1, 1));
    drop(mirror);
    daemon.stop().await;
}

#[tokio::test]
async fn who_asks_for_some_tenants_is_told_of_no_others() {
    let stage = Stage::set().await;
    for tenant in ["globex", "initech"] {
        stage.daemon.create_tenant(tenant).await;
        stage.daemon.create_client(tenant, "orders").await;
    }
    let tenants = ["tenants/acme", "tenants/globex", "tenants/later"].map(str::to_owned).to_vec();
    let request = WatchTrustRequest { tenants, ..Default::default() };
    let mut mirror = Mirror::asking(&stage.daemon, request).await.expect("a stream");
    mirror.until(|mirror| mirror.synced.is_some()).await;
    let names = |mirror: &Mirror| mirror.clients.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&mirror), ["tenants/acme/clients/checkout", "tenants/globex/clients/orders"]);
    assert_eq!((mirror.tenants.len(), mirror.app_clients.len(), mirror.issuers.len()), (2, 2, 1));

    stage.daemon.create_tenant("other").await;
    stage.daemon.create_client("other", "orders").await;
    stage.daemon.create_tenant("later").await;
    let later = stage.daemon.create_client("later", "orders").await;
    let key = (later.issuer.clone(), later.app_client_id.clone());
    mirror.until(|mirror| mirror.app_clients.contains_key(&key)).await;
    mirror.until(|mirror| mirror.clients.contains_key(&later.name)).await;
    assert_eq!((mirror.tenants.len(), mirror.clients.len(), mirror.app_clients.len()), (3, 3, 3));
    drop(mirror);
    stage.daemon.stop().await;
}

/// Its new app client was nobody's yet when those were told of that clients had.
#[tokio::test]
async fn who_comes_for_some_tenants_in_the_middle_of_a_replacement_is_told_of_the_new_app_client() {
    let stage = Stage::set().await;
    let gate = stage.fetches.hold_next();
    let replaced = tokio::spawn({
        let (mut clients, name) = (stage.daemon.clients(), stage.client.name.clone());
        async move { clients.replace_client(proto::ReplaceClientRequest { name, ..Default::default() }).await }
    });
    stage.fetches.wait_for(1).await;
    let request = WatchTrustRequest { tenants: vec!["tenants/acme".to_owned()], ..Default::default() };
    let mut mirror = Mirror::asking(&stage.daemon, request).await.expect("a stream");
    mirror.until(|mirror| mirror.synced.is_some()).await;
    gate.open();
    crate::harness::ports::in_time(replaced).await.expect("asked").expect("replaced");
    let request = proto::GetClientRequest { name: stage.client.name.clone() };
    let now = stage.daemon.clients().get_client(request).await.expect("the client").into_inner();
    assert_ne!(now.app_client_id, stage.client.app_client_id);
    mirror.until(|mirror| mirror.app_clients.contains_key(&(now.issuer.clone(), now.app_client_id.clone()))).await;
    drop(mirror);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn keys_that_cannot_be_read_are_told_as_that_and_come_when_they_can() {
    let stage = Stage::set().await;
    stage.keys.fail(true);
    let mut mirror = Mirror::whole(&stage.daemon).await;
    let issuer = stage.client.issuer.clone();
    assert!(!mirror.issuers[&issuer].keys_read && mirror.issuers[&issuer].keys.is_empty());
    stage.keys.fail(false);
    in_time(async {
        for second in (60..).step_by(60) {
            stage.at_second(second);
            mirror.take().await.expect("a message");
            if mirror.issuers[&issuer].keys_read {
                return;
            }
        }
    })
    .await;
    assert_eq!(mirror.issuers[&issuer].keys.len(), 1);
    drop(mirror);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn while_somebody_watches_keys_are_read_anew_and_others_are_told() {
    let stage = Stage::set().await;
    stage.keys.publish(TEST_KEY.public());
    let mut mirror = Mirror::whole(&stage.daemon).await;
    let issuer = stage.client.issuer.clone();
    assert_eq!(mirror.issuers[&issuer].keys.len(), 2);
    stage.keys.withdraw(&TEST_KEY.kid);
    in_time(async {
        // The default of `verification.key_max_age` is an hour.
        for second in (600..).step_by(600) {
            stage.at_second(second);
            mirror.take().await.expect("a message");
            if mirror.issuers[&issuer].keys.len() == 1 {
                return assert!(second >= 3_600, "at second {second}");
            }
        }
    })
    .await;
    drop(mirror);
    stage.daemon.stop().await;
}

async fn revoke(stage: &Stage, target: Target) {
    let request = proto::RevokeTokensRequest { target: Some(target), ..Default::default() };
    stage.daemon.clients().revoke_tokens(request).await.expect("revoked");
}
