//! Retries, dry runs and etags: calls that may come twice, and calls that may do nothing.

mod dry_runs;

use std::time::Duration;

use keyward::proto::{self, TenantState};
use tonic::Code;

use crate::harness::{
    Answer, Daemon, Mutation, State, assert_invalid, events, get_tenant, mask, new_client, new_resource_server,
    new_tenant, refusal,
};

const DAY: Duration = Duration::from_secs(86_400);

/// A world in which every mutation of [`mutations`] has something to do.
pub async fn world(daemon: &Daemon) {
    daemon.put_orders_api().await;
    daemon.catalog().put_resource_server(new_resource_server("spare", &["read"])).await.expect("put");
    for id in ["acme", "calm", "idle", "doomed"] {
        daemon.create_tenant(id).await;
    }
    daemon.create_client("acme", "orders").await;
    daemon.create_client("acme", "doomed").await;
    suspend("idle", "").send(&daemon.channel).await.expect("suspended");
}

/// One of each kind, and one of its kind that is not the same.
pub fn mutations() -> Vec<(Mutation, Mutation)> {
    let create_tenant = |name: &str| {
        let mut request = new_tenant("fresh", proto::Isolation::AppClient);
        request.tenant.as_mut().expect("set").display_name = name.to_owned();
        Mutation::CreateTenant(request)
    };
    let create_client = |name: &str| {
        let mut request = new_client("acme", "fresh");
        request.client.as_mut().expect("set").display_name = name.to_owned();
        Mutation::CreateClient(request)
    };
    let update_client = |display_name: &str| {
        let name = "tenants/acme/clients/orders".to_owned();
        let client = proto::Client { name, display_name: display_name.to_owned(), ..Default::default() };
        let request = proto::UpdateClientRequest { client: Some(client), ..Default::default() };
        Mutation::UpdateClient(request)
    };
    let rotate = |reason: &str| {
        let (name, reason) = ("tenants/acme/clients/orders".to_owned(), reason.to_owned());
        Mutation::RotateClientSecret(proto::RotateClientSecretRequest { name, reason, ..Default::default() })
    };
    let put = |scopes: &[&str]| Mutation::PutResourceServer(new_resource_server("billing", scopes));
    let delete_server = |name: &str| {
        let name = name.to_owned();
        Mutation::DeleteResourceServer(proto::DeleteResourceServerRequest { name, ..Default::default() })
    };
    vec![
        (create_tenant("One"), create_tenant("Two")),
        (rename("acme", "One"), rename("acme", "Two")),
        (suspend("calm", "one"), suspend("calm", "two")),
        (resume("idle"), resume("acme")),
        (create_client("One"), create_client("Two")),
        (update_client("One"), update_client("Two")),
        (rotate("one"), rotate("two")),
        (revoke("one"), revoke("two")),
        (delete_client("tenants/acme/clients/doomed"), delete_client("tenants/acme/clients/orders")),
        (delete_tenant("doomed"), delete_tenant("acme")),
        (put(&["read"]), put(&["write"])),
        (delete_server("resourceServers/spare"), delete_server("resourceServers/orders")),
    ]
}

fn rename(tenant: &str, name: &str) -> Mutation {
    let tenant =
        proto::Tenant { name: format!("tenants/{tenant}"), display_name: name.to_owned(), ..Default::default() };
    let update_mask = mask(&["display_name"]);
    Mutation::UpdateTenant(proto::UpdateTenantRequest { tenant: Some(tenant), update_mask, ..Default::default() })
}

fn suspend(tenant: &str, reason: &str) -> Mutation {
    let (name, reason) = (format!("tenants/{tenant}"), reason.to_owned());
    Mutation::SuspendTenant(proto::SuspendTenantRequest { name, reason, ..Default::default() })
}

fn resume(tenant: &str) -> Mutation {
    Mutation::ResumeTenant(proto::ResumeTenantRequest { name: format!("tenants/{tenant}"), ..Default::default() })
}

fn delete_tenant(tenant: &str) -> Mutation {
    Mutation::DeleteTenant(proto::DeleteTenantRequest { name: format!("tenants/{tenant}"), ..Default::default() })
}

fn delete_client(name: &str) -> Mutation {
    Mutation::DeleteClient(proto::DeleteClientRequest { name: name.to_owned(), ..Default::default() })
}

fn revoke(reason: &str) -> Mutation {
    let target = Some(proto::revoke_tokens_request::Target::Client("tenants/acme/clients/orders".to_owned()));
    Mutation::RevokeTokens(proto::RevokeTokensRequest { target, reason: reason.to_owned(), ..Default::default() })
}

/// Events but those of the catalogue on its way to the pools, which nobody waits for.
async fn done(daemon: &Daemon) -> usize {
    events(&daemon.channel).await.iter().filter(|event| event.method != "keyward.catalog/apply").count()
}

#[tokio::test]
async fn the_same_request_again_does_nothing_twice_and_another_under_its_id_is_refused() {
    let (daemon, _clock) = Daemon::start_at_rest().await;
    world(&daemon).await;
    for (i, (mutation, other)) in mutations().into_iter().enumerate() {
        let id = format!("Request_{i}.a");
        let (mutation, other) = (mutation.with_request_id(&id), other.with_request_id(&id));
        let first = mutation.done(&daemon.channel).await;
        let before = done(&daemon).await;
        for _ in 0..2 {
            assert_eq!(mutation.send(&daemon.channel).await.expect("again"), first, "{}", mutation.method());
        }
        assert_invalid(other.send(&daemon.channel).await, "REQUEST_ID_REUSED", "request_id");
        assert_eq!(done(&daemon).await, before, "{}", mutation.method());
    }
    // An id belongs to one request, whatever the method.
    let other = rename("acme", "Three").with_request_id("Request_0.a");
    assert_invalid(other.send(&daemon.channel).await, "REQUEST_ID_REUSED", "request_id");
    daemon.stop().await;
}

#[tokio::test]
async fn a_request_id_still_holds_after_a_restart() {
    let (daemon, _clock) = Daemon::start_at_rest().await;
    world(&daemon).await;
    let mut answers = Vec::new();
    for (i, (mutation, _)) in mutations().into_iter().enumerate() {
        let mutation = mutation.with_request_id(&format!("request-{i}"));
        mutation.done(&daemon.channel).await;
    }
    // What each answers when all are done.
    for (i, (mutation, other)) in mutations().into_iter().enumerate() {
        let id = format!("request-{i}");
        let (mutation, other) = (mutation.with_request_id(&id), other.with_request_id(&id));
        answers.push((mutation.send(&daemon.channel).await.expect("again"), mutation, other));
    }
    let daemon = daemon.restart().await;
    let before = done(&daemon).await;
    for (answer, mutation, other) in answers {
        assert_eq!(mutation.send(&daemon.channel).await.expect("again"), answer, "{}", mutation.method());
        assert_invalid(other.send(&daemon.channel).await, "REQUEST_ID_REUSED", "request_id");
    }
    assert_eq!(done(&daemon).await, before);
    daemon.stop().await;
}

#[tokio::test]
async fn a_request_id_is_forgotten_after_a_day() {
    let (daemon, clock) = Daemon::start_at_rest().await;
    daemon.create_tenant("acme").await;
    let (one, two) = (rename("acme", "One").with_request_id("id"), rename("acme", "Two").with_request_id("id"));
    one.send(&daemon.channel).await.expect("done");
    clock.advance(DAY - Duration::from_secs(1));
    assert_invalid(two.send(&daemon.channel).await, "REQUEST_ID_REUSED", "request_id");
    one.send(&daemon.channel).await.expect("again");
    // Within a day of the first call, not of the last.
    clock.advance(Duration::from_secs(1));
    two.send(&daemon.channel).await.expect("new");
    assert_eq!(get_tenant(&daemon.channel, "acme").await.expect("there").display_name, "Two");
    assert_invalid(one.send(&daemon.channel).await, "REQUEST_ID_REUSED", "request_id");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_calls_with_one_id_do_it_once() {
    let (daemon, _clock) = Daemon::start_at_rest().await;
    world(&daemon).await;
    for (i, (mutation, _)) in mutations().into_iter().enumerate() {
        let mutation = mutation.with_request_id(&format!("request-{i}"));
        let calls: Vec<_> = (0..32)
            .map(|_| {
                let (mutation, channel) = (mutation.clone(), daemon.channel.clone());
                tokio::spawn(async move { mutation.send(&channel).await })
            })
            .collect();
        let mut names = Vec::new();
        for call in calls {
            names.push(name_of(
                &call.await.expect("not lost").unwrap_or_else(|status| panic!("{}: {status:?}", mutation.method())),
            ));
        }
        names.dedup();
        assert_eq!(names.len(), 1, "{}: {names:?}", mutation.method());
        let done = events(&daemon.channel).await;
        let done = done.iter().filter(|event| event.request_id == format!("request-{i}")).collect::<Vec<_>>();
        assert_eq!(done.len(), 1, "{}: {done:?}", mutation.method());
        assert_eq!(done[0].method, mutation.method());
    }
    daemon.stop().await;
}

/// Which thing was answered, for the rest may still be on its way.
fn name_of(answer: &Answer) -> String {
    match answer {
        Answer::Nothing => String::new(),
        Answer::Tenant(tenant) => format!("{} {}", tenant.name, tenant.uid),
        Answer::Client(client) => format!("{} {}", client.name, client.uid),
        Answer::Rotation(rotation) => rotation.name.clone(),
        Answer::Revocation(revocation) => revocation.name.clone(),
        Answer::ResourceServer(server) => server.name.clone(),
    }
}

#[tokio::test]
async fn a_retry_of_a_call_that_found_nothing_to_do_does_nothing_later_either() {
    let (daemon, _clock) = Daemon::start_at_rest().await;
    daemon.create_tenant("acme").await;
    let resume = resume("acme").with_request_id("first");
    resume.send(&daemon.channel).await.expect("nothing to do");
    suspend("acme", "unpaid").send(&daemon.channel).await.expect("suspended");
    resume.send(&daemon.channel).await.expect("as it now is");
    assert_eq!(get_tenant(&daemon.channel, "acme").await.expect("there").state(), TenantState::Suspended);
    let other = suspend("acme", "x").with_request_id("first");
    assert_invalid(other.send(&daemon.channel).await, "REQUEST_ID_REUSED", "request_id");
    daemon.stop().await;
}

#[tokio::test]
async fn a_deletion_answers_its_own_retry_with_ok_and_everyone_else_with_not_found() {
    let (daemon, _clock) = Daemon::start_at_rest().await;
    world(&daemon).await;
    let client = delete_client("tenants/acme/clients/orders");
    for deletion in [client, delete_tenant("doomed")] {
        let mine = deletion.clone().with_request_id(deletion.method().rsplit('/').next().expect("a name"));
        mine.send(&daemon.channel).await.expect("deleted");
        mine.send(&daemon.channel).await.expect("its own retry");
        let missing = (Code::NotFound, "RESOURCE_NOT_FOUND".to_owned());
        assert_eq!(refusal(deletion.send(&daemon.channel).await), missing);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn an_etag_that_is_out_of_date_stops_every_call_that_takes_one() {
    let (daemon, _clock) = Daemon::start_at_rest().await;
    world(&daemon).await;
    let stale = || "v999".to_owned();
    let tenant = proto::Tenant {
        name: "tenants/acme".to_owned(),
        display_name: "x".to_owned(),
        etag: stale(),
        ..Default::default()
    };
    let client = proto::Client {
        name: "tenants/acme/clients/orders".to_owned(),
        display_name: "x".to_owned(),
        etag: stale(),
        ..Default::default()
    };
    let mut put = new_resource_server("spare", &["write"]);
    put.resource_server.as_mut().expect("set").etag = stale();
    let mut anew = new_resource_server("new", &["write"]);
    anew.resource_server.as_mut().expect("set").etag = stale();
    let name = |name: &str| name.to_owned();
    let calls = [
        Mutation::UpdateTenant(proto::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() }),
        Mutation::DeleteTenant(proto::DeleteTenantRequest {
            name: name("tenants/doomed"),
            etag: stale(),
            ..Default::default()
        }),
        Mutation::UpdateClient(proto::UpdateClientRequest { client: Some(client), ..Default::default() }),
        Mutation::DeleteClient(proto::DeleteClientRequest {
            name: name("tenants/acme/clients/orders"),
            etag: "not one of ours".to_owned(),
            ..Default::default()
        }),
        Mutation::PutResourceServer(put),
        Mutation::PutResourceServer(anew),
        Mutation::DeleteResourceServer(proto::DeleteResourceServerRequest {
            name: name("resourceServers/spare"),
            etag: stale(),
            ..Default::default()
        }),
    ];
    let before = State::of(&daemon.channel).await;
    for call in calls {
        let answer = call.clone().with_request_id("stale").send(&daemon.channel).await;
        assert_eq!(refusal(answer), (Code::Aborted, "ETAG_MISMATCH".into()), "{}", call.method());
    }
    assert_eq!(State::of(&daemon.channel).await, before);
    // What was refused has not used up its id.
    rename("acme", "New").with_request_id("stale").send(&daemon.channel).await.expect("done");
    daemon.stop().await;
}
