//! What the methods that only read do not take.

use keyward::proto;

use super::{
    Case, assert_all_refused, bad_client_names, bad_durations, bad_ids, bad_tenant_names, bad_timestamps, bad_words,
    daemon,
};

const CLIENT: &str = "tenants/acme/clients/orders";

#[tokio::test]
async fn a_name_that_is_none_is_refused_by_every_read() {
    let daemon = daemon().await;
    let mut cases = Vec::new();
    for name in bad_tenant_names() {
        let (mut tenants, request) = (daemon.tenants(), proto::GetTenantRequest { name: name.clone() });
        cases.push(Case::new(&name, "name", async move { tenants.get_tenant(request).await.map(drop) }));
        if !name.is_empty() {
            let request =
                proto::VerifyTokenRequest { token: "x".to_owned(), tenant: name.clone(), ..Default::default() };
            let mut verification = daemon.verification();
            cases.push(Case::new(&name, "tenant", async move { verification.verify_token(request).await.map(drop) }));
        }
        if name != "tenants/-" {
            let request = proto::ListClientsRequest { parent: name.clone(), ..Default::default() };
            let mut clients = daemon.clients();
            cases.push(Case::new(&name, "parent", async move { clients.list_clients(request).await.map(drop) }));
        }
    }
    for name in bad_client_names() {
        let (mut clients, request) = (daemon.clients(), proto::GetClientRequest { name: name.clone() });
        cases.push(Case::new(&name, "name", async move { clients.get_client(request).await.map(drop) }));
        let request = proto::ListRotationsRequest { parent: name.clone(), ..Default::default() };
        let mut clients = daemon.clients();
        cases.push(Case::new(&name, "parent", async move { clients.list_rotations(request).await.map(drop) }));
        let request = proto::GetTokenRequest { name: name.clone(), ..Default::default() };
        let mut tokens = daemon.tokens();
        cases.push(Case::new(&name, "name", async move { tokens.get_token(request).await.map(drop) }));
        let request = proto::WatchTokenRequest { name: name.clone(), ..Default::default() };
        let mut tokens = daemon.tokens();
        cases.push(Case::new(&name, "name", async move { tokens.watch_token(request).await.map(drop) }));
    }
    for id in bad_ids() {
        let name = format!("{CLIENT}/rotations/{id}");
        let (mut clients, request) = (daemon.clients(), proto::GetRotationRequest { name: name.clone() });
        cases.push(Case::new(&name, "name", async move { clients.get_rotation(request).await.map(drop) }));
    }
    assert_all_refused(&daemon, cases).await;
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_asked_of_tokens_must_be_well_formed() {
    let daemon = daemon().await;
    let mut cases = Vec::new();
    let get = |edit: &dyn Fn(&mut proto::GetTokenRequest), field: &str| {
        let mut request = proto::GetTokenRequest { name: CLIENT.to_owned(), ..Default::default() };
        edit(&mut request);
        let (mut tokens, what) = (daemon.tokens(), format!("{request:?}"));
        Case::new(what, field, async move { tokens.get_token(request).await.map(drop) })
    };
    let more_than_half = prost_types::Duration { seconds: 1_801, nanos: 0 };
    for min_remaining in bad_durations().into_iter().chain([more_than_half]) {
        cases.push(get(&|request| request.min_remaining = Some(min_remaining), "min_remaining"));
    }
    for scope in ["", "orders", "orders/", "/read", "orders/ä", "orders/re ad"] {
        cases.push(get(&|request| request.scopes = vec![scope.to_owned()], "scopes"));
    }
    cases.push(get(&|request| request.scopes = vec!["orders/read".to_owned(); 51], "scopes"));

    let verify = |edit: &dyn Fn(&mut proto::VerifyTokenRequest), field: &str| {
        let mut request = proto::VerifyTokenRequest { token: "x".to_owned(), ..Default::default() };
        edit(&mut request);
        let (mut verification, what) = (daemon.verification(), format!("{request:.99?}"));
        Case::new(what, field, async move { verification.verify_token(request).await.map(drop) })
    };
    for token in [String::new(), "x".repeat(16_385), "ä".repeat(8_193), "x".repeat(10 << 20)] {
        cases.push(verify(&|request| request.token.clone_from(&token), "token"));
    }
    for token_use in [3, -1, i32::MAX] {
        cases.push(verify(&|request| request.token_use = token_use, "token_use"));
    }
    cases.push(verify(&|request| request.required_scopes = vec!["orders/read".to_owned(); 51], "required_scopes"));
    cases.push(verify(&|request| request.required_scopes = vec!["orders".to_owned()], "required_scopes"));
    assert_all_refused(&daemon, cases).await;
    daemon.stop().await;
}

#[tokio::test]
async fn filters_that_are_none_are_refused() {
    let daemon = daemon().await;
    let mut filters = Vec::new();
    let none = proto::AuditEventFilter::default;
    for text in bad_words(1_024) {
        filters.push((proto::AuditEventFilter { resource_prefix: text, ..none() }, "filter.resource_prefix"));
    }
    for text in bad_words(256) {
        filters.push((proto::AuditEventFilter { principal: text.clone(), ..none() }, "filter.principal"));
        filters.push((proto::AuditEventFilter { method: text, ..none() }, "filter.method"));
    }
    for outcome in [4, -1] {
        filters.push((proto::AuditEventFilter { outcome, ..none() }, "filter.outcome"));
    }
    for time in bad_timestamps() {
        filters.push((proto::AuditEventFilter { start_time: Some(time), ..none() }, "filter.start_time"));
        filters.push((proto::AuditEventFilter { end_time: Some(time), ..none() }, "filter.end_time"));
    }
    let mut cases = Vec::new();
    for (filter, field) in filters {
        let what = format!("{filter:?}");
        let request = proto::ListAuditEventsRequest { filter: Some(filter.clone()), ..Default::default() };
        let mut audit = daemon.audit();
        cases.push(Case::new(&what, field, async move { audit.list_audit_events(request).await.map(drop) }));
        let request = proto::TailAuditEventsRequest { filter: Some(filter), ..Default::default() };
        let mut audit = daemon.audit();
        cases.push(Case::new(&what, field, async move { audit.tail_audit_events(request).await.map(drop) }));
    }
    for state in [5, -1] {
        let (mut tenants, request) = (daemon.tenants(), proto::ListTenantsRequest { state, ..Default::default() });
        cases.push(Case::new(state, "state", async move { tenants.list_tenants(request).await.map(drop) }));
        let (mut catalog, request) = (daemon.catalog(), proto::ListPoolsRequest { kind: state, ..Default::default() });
        cases.push(Case::new(state, "kind", async move { catalog.list_pools(request).await.map(drop) }));
    }
    for region in ["eu central", "ü", "a/b", &"x".repeat(33)] {
        let request = proto::ListPoolsRequest { region: region.to_owned(), ..Default::default() };
        let mut catalog = daemon.catalog();
        cases.push(Case::new(region, "region", async move { catalog.list_pools(request).await.map(drop) }));
    }
    for reason in ["".to_owned(), "  ".to_owned()].into_iter().chain(bad_words(512)) {
        let request = proto::RevealClientSecretRequest { name: CLIENT.to_owned(), reason: reason.clone() };
        let mut clients = daemon.clients();
        cases.push(Case::new(reason, "reason", async move { clients.reveal_client_secret(request).await.map(drop) }));
    }
    assert_all_refused(&daemon, cases).await;
    daemon.stop().await;
}
