//! `validate_only`: the answer of the call, without the call.

use keyward::proto;
use tonic::Code;

use super::{mutations, rename, world};
use crate::harness::{Answer, Daemon, Mutation, Outage, State, mask, new_client, new_tenant, refusal};

#[tokio::test]
async fn a_dry_run_answers_as_the_call_would_and_changes_nothing() {
    let (daemon, _clock) = Daemon::start_at_rest().await;
    world(&daemon).await;
    for (i, (mutation, _)) in mutations().into_iter().enumerate() {
        // With a request id, which it does not use up.
        let id = format!("request-{i}");
        let Some(dry_run) = mutation.clone().with_request_id(&id).dry_run() else { continue };
        let before = State::of(&daemon.channel).await;
        let foretold = dry_run.done(&daemon.channel).await;
        assert_eq!(dry_run.send(&daemon.channel).await.expect("again"), foretold, "{}", mutation.method());
        assert_eq!(State::of(&daemon.channel).await, before, "{}", mutation.method());
        let done = mutation.with_request_id(&id).send(&daemon.channel).await.expect("done");
        assert_eq!(without_what_only_the_change_fills(foretold), without_what_only_the_change_fills(done));
    }
    daemon.stop().await;
}

#[tokio::test]
async fn what_only_the_change_could_fill_is_empty_in_a_dry_run() {
    let daemon = Daemon::start().await;
    daemon.put_orders_api().await;
    for isolation in [proto::Isolation::AppClient, proto::Isolation::UserPool] {
        let dry_run = proto::CreateTenantRequest { validate_only: true, ..new_tenant("acme", isolation) };
        let tenant = daemon.tenants().create_tenant(dry_run).await.expect("valid").into_inner();
        assert_eq!((tenant.name.as_str(), tenant.isolation()), ("tenants/acme", isolation));
        let filled = [&tenant.uid, &tenant.etag, &tenant.issuer, &tenant.pool];
        assert_eq!(filled, [""; 4], "there is no pool yet");
        assert_eq!((tenant.create_time, tenant.update_time), (None, None));
    }
    daemon.create_tenant("acme").await;
    let dry_run = proto::CreateClientRequest { validate_only: true, ..new_client("acme", "orders") };
    let client = daemon.clients().create_client(dry_run).await.expect("valid").into_inner();
    assert_eq!(client.name, "tenants/acme/clients/orders");
    assert_eq!([&client.uid, &client.etag, &client.app_client_id], [""; 3]);
    assert_eq!((client.create_time, client.rotate_time, client.next_rotate_time), (None, None, None));
    daemon.stop().await;
}

#[tokio::test]
async fn a_dry_run_fails_where_the_call_would() {
    let (daemon, _clock) = Daemon::start_at_rest().await;
    world(&daemon).await;
    let rotation =
        proto::RotateClientSecretRequest { name: "tenants/acme/clients/orders".to_owned(), ..Default::default() };
    daemon.clients().rotate_client_secret(rotation.clone()).await.expect("rotated");
    let mut unknown_scope = new_client("acme", "fresh");
    unknown_scope.client.as_mut().expect("set").scopes.push("nothing/read".to_owned());
    let stale = proto::Tenant { name: "tenants/acme".to_owned(), etag: "v999".to_owned(), ..Default::default() };
    let stale =
        proto::UpdateTenantRequest { tenant: Some(stale), update_mask: mask(&["display_name"]), ..Default::default() };
    let calls = [
        (Mutation::CreateTenant(new_tenant("acme", proto::Isolation::AppClient)), "RESOURCE_EXISTS"),
        (rename("nobody", "x"), "RESOURCE_NOT_FOUND"),
        (Mutation::UpdateTenant(stale), "ETAG_MISMATCH"),
        (super::delete_tenant("nobody"), "RESOURCE_NOT_FOUND"),
        (Mutation::CreateClient(new_client("acme", "orders")), "RESOURCE_EXISTS"),
        (Mutation::CreateClient(new_client("idle", "orders")), "TENANT_SUSPENDED"),
        (Mutation::CreateClient(unknown_scope), "SCOPE_UNKNOWN"),
        (Mutation::RotateClientSecret(rotation), "ROTATION_RUNNING"),
    ];
    for (call, reason) in calls {
        let dry_run = call.clone().dry_run().expect("it has one");
        assert_eq!(refusal(dry_run.send(&daemon.channel).await).1, reason, "{}", call.method());
        assert_eq!(refusal(call.send(&daemon.channel).await).1, reason, "{}", call.method());
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_dry_run_asks_nothing_of_the_backend() {
    let outage = Outage::default();
    let clock = std::sync::Arc::new(keyward::runtime::clock::SystemClock);
    let daemon = Daemon::start_through(clock, |_| {}, |ports| outage.of_changes(ports)).await;
    world(&daemon).await;
    outage.begin();
    for (mutation, _) in mutations() {
        if let Some(dry_run) = mutation.clone().dry_run() {
            dry_run.done(&daemon.channel).await;
        }
        let refused = refusal(mutation.send(&daemon.channel).await);
        assert_eq!(refused, (Code::Unavailable, "REGISTRY_UNAVAILABLE".into()), "{}", mutation.method());
    }
    outage.end();
    daemon.stop().await;
}

fn without_what_only_the_change_fills(answer: Answer) -> Answer {
    match answer {
        Answer::Tenant(tenant) => Answer::Tenant(proto::Tenant {
            uid: String::new(),
            state: 0,
            pool: String::new(),
            issuer: String::new(),
            etag: String::new(),
            create_time: None,
            update_time: None,
            ..tenant
        }),
        Answer::Client(client) => Answer::Client(proto::Client {
            uid: String::new(),
            state: 0,
            app_client_id: String::new(),
            pool: String::new(),
            issuer: String::new(),
            token_endpoint: String::new(),
            etag: String::new(),
            rotate_time: None,
            next_rotate_time: None,
            create_time: None,
            update_time: None,
            ..client
        }),
        // The steps until the new secret is current, which is when the call answers.
        Answer::Rotation(rotation) => {
            let steps = rotation.steps.iter().chain(&rotation.planned_steps).take(4);
            let kinds = steps.map(|step| proto::RotationStep { time: None, ..*step }).collect();
            Answer::Rotation(proto::Rotation {
                planned_steps: kinds,
                trigger: rotation.trigger,
                method: rotation.method,
                reason: rotation.reason,
                app_client_id: rotation.app_client_id,
                ..Default::default()
            })
        }
        Answer::ResourceServer(server) => Answer::ResourceServer(proto::ResourceServer {
            create_time: None,
            update_time: None,
            etag: String::new(),
            ..server
        }),
        Answer::Nothing | Answer::Revocation(_) => answer,
    }
}
