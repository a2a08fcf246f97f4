//! `MatchTenant`: what a hint leads to, and what it does not.

use keyward::broker::ports::{Action, ChangeSet, Shelf, Write};
use keyward::config::Config;
use keyward::proto::match_tenant_request::Hint;
use keyward::proto::{self, SignInDomainKind};
use serde_json::json;
use tonic::Code;

use super::{CALLBACK, SECOND, SIGN_IN, Stage, about, email};
use crate::harness::{Outage, assert_invalid, mask, refusal};

const FALLBACK: &str = "https://signin.keyward.test/shared?of=all";

fn host(host: &str) -> Hint {
    Hint::Host(host.to_owned())
}

/// The URL without its parameters, and these as they are read.
fn taken_apart(url: &str) -> (String, Vec<(String, String)>) {
    let parsed = reqwest::Url::parse(url).expect("a URL");
    let place = url.split('?').next().unwrap_or_default().to_owned();
    (place, parsed.query_pairs().into_owned().collect())
}

fn value<'p>(pairs: &'p [(String, String)], name: &str) -> Option<&'p str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn every_hint_leads_to_the_tenant_its_client_and_its_sign_in() {
    let stage = Stage::set().await.with_people().await;
    let acme = stage.find(email("Ann.Example@ACME.example")).await;
    assert_eq!((acme.tenant.as_str(), acme.client.as_str()), ("tenants/acme", "tenants/acme/clients/web"));
    assert!(acme.pool.starts_with("pools/shared-") && !acme.app_client_id.is_empty() && !acme.issuer.is_empty());
    assert_eq!(acme.provider_name, "");
    let (place, pairs) = taken_apart(&acme.authorize_url);
    assert_eq!(place, format!("{SIGN_IN}/oauth2/authorize"));
    let expected = [
        ("response_type", "code"),
        ("client_id", &acme.app_client_id),
        ("redirect_uri", CALLBACK),
        ("scope", "openid email orders/read orders/write"),
    ];
    assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));

    for hint in [
        email("acme.example"),
        host("app.acme.example"),
        host("APP.acme.example."),
        Hint::Tenant("tenants/acme".to_owned()),
        Hint::AppClientId(acme.app_client_id.clone()),
    ] {
        assert_eq!(stage.find(hint.clone()).await, acme, "{hint:?}");
    }
    let globex = stage.find(email("b@globex.example")).await;
    assert!(globex.tenant == "tenants/globex" && globex.pool.starts_with("pools/tenant-"));
    assert_eq!(stage.find(Hint::Issuer(globex.issuer.clone())).await, globex);
    stage.stop().await;
}

#[tokio::test]
async fn what_is_passed_on_arrives_untouched_and_decides_nothing() {
    let stage = Stage::set().await.with_people().await;
    let state = "a&redirect_uri=https://evil.example/#\u{e4} %41\"<script>";
    let request = proto::MatchTenantRequest {
        redirect_uri: SECOND.to_owned(),
        state: state.to_owned(),
        nonce: "n=1&client_id=2".to_owned(),
        code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned(),
        scopes: vec!["openid".to_owned(), "orders/read".to_owned()],
        client_id: "web".to_owned(),
        ..about(email("acme.example"))
    };
    let answer = stage.ask(request).await.expect("answered");
    let (place, pairs) = taken_apart(&answer.authorize_url);
    assert_eq!(place, format!("{SIGN_IN}/oauth2/authorize"));
    assert_eq!(value(&pairs, "state"), Some(state));
    assert_eq!(value(&pairs, "nonce"), Some("n=1&client_id=2"));
    assert_eq!(value(&pairs, "redirect_uri"), Some(SECOND));
    assert_eq!(value(&pairs, "scope"), Some("openid orders/read"));
    assert_eq!(value(&pairs, "code_challenge"), Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"));
    assert_eq!(value(&pairs, "code_challenge_method"), Some("S256"));
    assert_eq!(pairs.len(), 8, "each is there once: {pairs:?}");
    stage.stop().await;
}

#[tokio::test]
async fn everything_that_is_not_known_is_one_answer() {
    for fallback in [None, Some(FALLBACK)] {
        let stage = Stage::set_with(|config| config.sign_in.fallback_url = fallback.map(str::to_owned))
            .await
            .with_people()
            .await;
        let expected =
            proto::MatchTenantResponse { authorize_url: fallback.unwrap_or_default().to_owned(), ..Default::default() };
        stage.daemon.create_tenant("umbrella").await;
        stage.daemon.create_client("acme", "backend").await;
        let names = [("acme.example", SignInDomainKind::Email), ("new.example", SignInDomainKind::Email)];
        stage.claim("acme", &names).await.expect("claimed");
        let (acme, globex) = (stage.find(email("acme.example")).await, stage.find(email("globex.example")).await);
        assert!(acme.tenant == "tenants/acme" && globex.tenant == "tenants/globex");
        let of_acme = || about(email("acme.example"));
        let unknown = [
            ("nobody's domain", about(email("ann@nowhere.example"))),
            ("a subdomain", about(email("ann@www.acme.example"))),
            ("the domain above", about(email("ann@example"))),
            ("a claim that is not proven", about(email("ann@new.example"))),
            ("an email domain as a host", about(host("acme.example"))),
            ("a host that was given back", about(host("app.acme.example"))),
            ("a host as an email domain", about(email("app.globex.example"))),
            ("nobody", about(Hint::Tenant("tenants/nobody".to_owned()))),
            ("a tenant without clients", about(Hint::Tenant("tenants/umbrella".to_owned()))),
            ("a shared pool's issuer", about(Hint::Issuer(acme.issuer.clone()))),
            ("nobody's issuer", about(Hint::Issuer("https://issuer.example".to_owned()))),
            ("nobody's app client", about(Hint::AppClientId("nobodys".to_owned()))),
            ("a machine", proto::MatchTenantRequest { client_id: "backend".to_owned(), ..of_acme() }),
            ("nobody's client", proto::MatchTenantRequest { client_id: "nothing".to_owned(), ..of_acme() }),
            (
                "another place",
                proto::MatchTenantRequest { redirect_uri: "https://evil.example/".to_owned(), ..of_acme() },
            ),
            (
                "a place that only begins so",
                proto::MatchTenantRequest { redirect_uri: format!("{CALLBACK}x"), ..of_acme() },
            ),
            ("another scope", proto::MatchTenantRequest { scopes: vec!["orders/delete".to_owned()], ..of_acme() }),
            (
                "another scope beside one of its own",
                proto::MatchTenantRequest {
                    scopes: vec!["openid".to_owned(), "orders/delete".to_owned()],
                    ..of_acme()
                },
            ),
        ];
        for (what, request) in unknown {
            assert_eq!(stage.ask(request).await.expect("answered"), expected, "{what}");
        }
        let globex_is = async |stage: &Stage| stage.find(email("globex.example")).await;
        let name = "tenants/globex".to_owned();
        let suspend = proto::SuspendTenantRequest { name: name.clone(), ..Default::default() };
        stage.daemon.tenants().suspend_tenant(suspend).await.expect("suspended");
        assert_eq!(globex_is(&stage).await, expected, "suspended");
        let resume = proto::ResumeTenantRequest { name, ..Default::default() };
        stage.daemon.tenants().resume_tenant(resume).await.expect("resumed");
        assert_eq!(globex_is(&stage).await, globex);
        stage.stop().await;
    }
}

#[tokio::test]
async fn a_fallback_gets_what_the_application_is_to_have_back() {
    let stage = Stage::set_with(|config| config.sign_in.fallback_url = Some(FALLBACK.to_owned())).await;
    let request = proto::MatchTenantRequest {
        state: "of the application".to_owned(),
        redirect_uri: "https://evil.example/".to_owned(),
        ..about(email("ann@nowhere.example"))
    };
    let answer = stage.ask(request).await.expect("answered");
    assert_eq!(
        answer.authorize_url,
        format!("{FALLBACK}&state=of+the+application"),
        "and nothing that says where to go"
    );
    stage.stop().await;
}

#[tokio::test]
async fn of_several_clients_for_people_the_one_that_is_said_to_be_it_answers() {
    let stage = Stage::set().await.with_people().await;
    stage.daemon.create_client("acme", "backend").await;
    let client = async || stage.find(email("acme.example")).await.client;
    assert_eq!(client().await, "tenants/acme/clients/web", "the only one for people");
    // Also where it is called what is looked for in place of none.
    stage.create_for_people("acme", "nobody").await;
    assert_eq!(client().await, "", "nobody says which");
    let request = proto::DeleteClientRequest { name: "tenants/acme/clients/nobody".to_owned(), ..Default::default() };
    stage.daemon.clients().delete_client(request).await.expect("deleted");
    stage.create_for_people("acme", "desk").await;
    assert_eq!(client().await, "", "nobody says which");
    let named = proto::MatchTenantRequest { client_id: "desk".to_owned(), ..about(email("acme.example")) };
    assert_eq!(stage.ask(named).await.expect("answered").client, "tenants/acme/clients/desk");
    let settings = proto::InteractiveSettings {
        callback_urls: vec![CALLBACK.to_owned()],
        default_sign_in: true,
        ..Default::default()
    };
    let desk = proto::Client {
        name: "tenants/acme/clients/desk".to_owned(),
        interactive: Some(settings),
        ..Default::default()
    };
    let update_mask = mask(&["interactive"]);
    let request = proto::UpdateClientRequest { client: Some(desk), update_mask, ..Default::default() };
    stage.daemon.clients().update_client(request).await.expect("changed");
    assert_eq!(client().await, "tenants/acme/clients/desk");
    for gone in ["desk", "web"] {
        let request = proto::DeleteClientRequest { name: format!("tenants/acme/clients/{gone}"), ..Default::default() };
        stage.daemon.clients().delete_client(request).await.expect("deleted");
        let expected = if gone == "desk" { "tenants/acme/clients/web" } else { "" };
        assert_eq!(client().await, expected, "without {gone}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_client_for_people_is_found_among_a_hundred_and_not_among_more() {
    let stage = Stage::set().await.with_people().await;
    let stored = stage.registry.get(Shelf::Interactive, "acme/web").await.expect("read").expect("an entry");
    // Before the one that is there in the order of the list, and of clients that are not.
    let add = async |numbers: std::ops::Range<usize>| {
        let write = |number: usize| {
            let mut entry: serde_json::Value = serde_json::from_slice(&stored.body).expect("JSON");
            entry["client"]["client"] = json!(format!("m{number:03}"));
            let body = serde_json::to_vec(&entry).expect("JSON");
            let action = Action::Put { body, form: stored.form, due_time: None };
            Write { shelf: Shelf::Interactive, key: format!("acme/m{number:03}"), expected: None, action }
        };
        let changes = ChangeSet { writes: numbers.map(write).collect(), events: Vec::new() };
        stage.registry.commit(changes).await.expect("kept");
    };
    add(0..50).await;
    add(50..99).await;
    assert_eq!(stage.find(email("acme.example")).await.client, "tenants/acme/clients/web");
    add(99..100).await;
    let Stage { daemon, .. } = stage.restarted().await;
    let mut tenants = daemon.tenants();
    let found = tenants.match_tenant(about(email("acme.example"))).await.expect("answered").into_inner();
    assert_eq!(found, proto::MatchTenantResponse::default(), "there are 101");
    let named = proto::MatchTenantRequest { client_id: "web".to_owned(), ..about(email("acme.example")) };
    assert_eq!(tenants.match_tenant(named).await.expect("answered").into_inner().tenant, "tenants/acme");
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_being_made_or_is_going_leads_nowhere() {
    let mut stage = Stage::set().await.with_people().await;
    let pool = stage.find(email("acme.example")).await.pool.trim_start_matches("pools/").to_owned();
    let named = proto::MatchTenantRequest { client_id: "web".to_owned(), ..about(email("acme.example")) };
    for (shelf, key, field, value) in [
        (Shelf::Tenant, "acme", "state", json!("Creating")),
        (Shelf::Tenant, "acme", "state", json!("Suspended")),
        (Shelf::Tenant, "acme", "state", json!("Deleting")),
        (Shelf::Client, "acme/web", "state", json!("Creating")),
        (Shelf::Client, "acme/web", "state", json!("Deleting")),
        (Shelf::Client, "acme/web", "app_client", json!(null)),
        (Shelf::Pool, pool.as_str(), "made", json!(null)),
    ] {
        let mut before = json!(null);
        stage.store(shelf, key, |record| before = std::mem::replace(&mut record[field], value.clone())).await;
        stage = stage.restarted().await;
        for request in [about(email("acme.example")), named.clone()] {
            let found = stage.ask(request).await.expect("answered");
            assert_eq!(found, proto::MatchTenantResponse::default(), "{key}: {field} {value}");
        }
        stage.store(shelf, key, |record| record[field] = before).await;
    }
    stage = stage.restarted().await;
    assert_eq!(stage.ask(named).await.expect("answered").tenant, "tenants/acme", "all is as it was");
    // It is not counted among those that could be meant either.
    stage.create_for_people("acme", "desk").await;
    stage.store(Shelf::Client, "acme/desk", |client| client["state"] = json!("Creating")).await;
    stage = stage.restarted().await;
    assert_eq!(stage.find(email("acme.example")).await.client, "tenants/acme/clients/web");
    stage.stop().await;
}

#[tokio::test]
async fn an_app_client_leads_to_its_tenant_as_long_as_it_is_in_use_and_one_tenants() {
    let stage = Stage::set().await.with_people().await;
    let backend = stage.daemon.create_client("acme", "backend").await;
    let by_backend = async || stage.find(Hint::AppClientId(backend.app_client_id.clone())).await.tenant;
    assert_eq!(by_backend().await, "tenants/acme", "to where its people sign in");
    let key = format!("{} {}", backend.app_client_id, backend.issuer);
    stage.store(Shelf::Owner, &key, |owner| owner["revoked"] = json!(true)).await;
    assert_eq!(by_backend().await, "", "one that is compromised");
    stage.store(Shelf::Owner, &key, |owner| owner["revoked"] = json!(false)).await;
    assert_eq!(by_backend().await, "tenants/acme");
    // No two pools of Cognito have given out one id.
    let other = format!("{} https://issuer.example", backend.app_client_id);
    let stored = stage.registry.get(Shelf::Owner, &key).await.expect("read").expect("an owner");
    let action = Action::Put { body: stored.body, form: stored.form, due_time: None };
    let write = |expected, action| Write { shelf: Shelf::Owner, key: other.clone(), expected, action };
    let commit = async |write| {
        let changes = ChangeSet { writes: vec![write], events: Vec::new() };
        stage.registry.commit(changes).await.expect("written");
    };
    commit(write(None, action)).await;
    assert_eq!(by_backend().await, "", "nobody could say whose");
    let written = stage.registry.get(Shelf::Owner, &other).await.expect("read").expect("an owner");
    commit(write(Some(written.version), Action::Delete)).await;
    assert_eq!(by_backend().await, "tenants/acme");
    let request = proto::DeleteClientRequest { name: "tenants/acme/clients/backend".to_owned(), ..Default::default() };
    stage.daemon.clients().delete_client(request).await.expect("deleted");
    assert_eq!(by_backend().await, "", "one that is gone");
    assert_eq!(stage.find(email("acme.example")).await.tenant, "tenants/acme");
    stage.stop().await;
}

#[tokio::test]
async fn where_nobody_can_read_whose_a_name_is_nobody_is_said_to_be_unknown() {
    let outage = Outage::default();
    let fallback = |config: &mut Config| config.sign_in.fallback_url = Some(FALLBACK.to_owned());
    let stage = Stage::set_through(fallback, |ports| outage.of_registry(ports)).await;
    outage.begin();
    let refused = stage.ask(about(email("acme.example"))).await;
    assert_eq!(refusal(refused), (Code::Unavailable, "REGISTRY_UNAVAILABLE".to_owned()));
    outage.end();
    assert_eq!(stage.find(email("acme.example")).await.authorize_url, FALLBACK);
    stage.stop().await;
}

#[tokio::test]
async fn a_provider_is_named_where_people_have_no_choice() {
    let stage = Stage::set().await.with_people().await;
    let provider = |id: &str| {
        json!({ "id": id, "name": format!("kw-{id}"), "attribute_mapping": {},
            "protocol": { "Saml": { "metadata": { "Url": "https://idp.example" }, "sign_out": false, "encrypted_responses": false } } })
    };
    let mut stage = stage;
    for (providers, named, native, expected) in [
        (vec!["okta"], vec![], false, "kw-okta"),
        (vec!["okta"], vec![], true, ""),
        (vec!["okta", "entra"], vec![], false, ""),
        (vec!["okta", "entra"], vec!["entra"], false, "kw-entra"),
        (vec!["okta"], vec!["okta"], false, "kw-okta"),
        (vec![], vec![], false, ""),
    ] {
        let list: Vec<_> = providers.iter().map(|id| provider(id)).collect();
        stage.store(Shelf::Tenant, "acme", |tenant| tenant["identity_providers"] = json!(list)).await;
        stage
            .store(Shelf::Client, "acme/web", |client| {
                client["interactive"]["identity_providers"] = json!(named);
                client["interactive"]["allow_native_accounts"] = json!(native);
            })
            .await;
        stage = stage.restarted().await;
        let answer = stage.find(email("acme.example")).await;
        assert_eq!(answer.provider_name, expected, "{providers:?} {named:?} {native}");
        let (_, pairs) = taken_apart(&answer.authorize_url);
        assert_eq!(value(&pairs, "identity_provider"), Some(expected).filter(|name| !name.is_empty()));
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_pool_without_a_hosted_sign_in_has_no_url_to_send_anybody_to() {
    let fallback = |config: &mut Config| config.sign_in.fallback_url = Some(FALLBACK.to_owned());
    let stage = Stage::set_with(fallback).await.with_people().await;
    let pool = stage.find(email("acme.example")).await.pool.trim_start_matches("pools/").to_owned();
    let mut stage = stage;
    // The embedded backend's, and one on AWS whose tokens come from the API. The tenant is known all the same, so these people
    // are not sent where those go who are not.
    for endpoint in ["{issuer}/oauth2/token", ""] {
        stage
            .store(Shelf::Pool, &pool, |pool| {
                let issuer = pool["made"]["issuer"].as_str().expect("an issuer").to_owned();
                pool["made"]["token_endpoint"] = json!(endpoint.replace("{issuer}", &issuer));
            })
            .await;
        stage = stage.restarted().await;
        let answer = stage.find(email("acme.example")).await;
        assert_eq!((answer.tenant.as_str(), answer.authorize_url.as_str()), ("tenants/acme", ""), "{endpoint:?}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn what_is_malformed_names_its_field_and_says_nothing_of_the_person() {
    let stage = Stage::set().await;
    let of = |edit: fn(&mut proto::MatchTenantRequest)| {
        let mut request = about(email("ann@acme.example"));
        edit(&mut request);
        request
    };
    let challenge =
        |text: &str| proto::MatchTenantRequest { code_challenge: text.to_owned(), ..about(email("a.example")) };
    let cases = [
        (proto::MatchTenantRequest::default(), "hint"),
        (about(email("")), "email"),
        (about(email("ann.secret@")), "email"),
        (about(email("ann.secret@a..b")), "email"),
        (about(email(&format!("{}@a.example", "x".repeat(1_024)))), "email"),
        (about(host("a.example:443")), "host"),
        (about(host("https://a.example")), "host"),
        (about(Hint::Tenant("acme".to_owned())), "tenant"),
        (about(Hint::Issuer(String::new())), "issuer"),
        (about(Hint::AppClientId("a b".to_owned())), "app_client_id"),
        (of(|request| request.client_id = "Web".to_owned()), "client_id"),
        (of(|request| request.redirect_uri = "x".repeat(1_025)), "redirect_uri"),
        (of(|request| request.state = "x".repeat(2_049)), "state"),
        (of(|request| request.nonce = "x".repeat(513)), "nonce"),
        (challenge(&"x".repeat(42)), "code_challenge"),
        (challenge(&"x".repeat(129)), "code_challenge"),
        (challenge(&"+".repeat(43)), "code_challenge"),
        (of(|request| request.code_challenge_method = "S256".to_owned()), "code_challenge"),
        (
            proto::MatchTenantRequest { code_challenge_method: "plain".to_owned(), ..challenge(&"x".repeat(43)) },
            "code_challenge_method",
        ),
        (of(|request| request.scopes = vec!["openid".to_owned(); 51]), "scopes"),
        (of(|request| request.scopes = vec!["openid".to_owned(), "a b".to_owned()]), "scopes[1]"),
        (of(|request| request.scopes = vec![String::new()]), "scopes[0]"),
        (of(|request| request.scopes = vec!["orders/read".to_owned(), "email".to_owned()]), "scopes"),
        (of(|request| request.scopes = vec!["x".repeat(257)]), "scopes[0]"),
        (of(|request| request.scopes = vec!["a\"b".to_owned()]), "scopes[0]"),
        (of(|request| request.scopes = vec!["a\\b".to_owned()]), "scopes[0]"),
        (of(|request| request.scopes = vec!["\u{e4}".to_owned()]), "scopes[0]"),
    ];
    for (request, field) in cases {
        let refused = stage.ask(request).await;
        let said = format!("{:?}", refused.as_ref().expect_err("refused"));
        assert!(!said.contains("ann.secret"), "{said}");
        assert_invalid(refused, "FIELD_INVALID", field);
    }
    stage.stop().await;
}

#[tokio::test]
async fn what_is_as_long_as_it_may_be_is_taken_and_counted_in_characters() {
    let fallback = |config: &mut Config| config.sign_in.fallback_url = Some(FALLBACK.to_owned());
    let stage = Stage::set_with(fallback).await;
    let (state, nonce, challenge) = ("\u{e4}".repeat(2_048), "\u{20ac}".repeat(512), "-._~".repeat(32));
    let domain = "@nowhere.example";
    let request = proto::MatchTenantRequest {
        client_id: format!("a{}", "b".repeat(62)),
        redirect_uri: "\u{e4}".repeat(1_024),
        state: state.clone(),
        nonce: nonce.clone(),
        code_challenge: challenge.clone(),
        code_challenge_method: "S256".to_owned(),
        scopes: vec!["x".repeat(256); 50],
        ..about(email(&format!("{}{domain}", "x".repeat(1_024 - domain.len()))))
    };
    let answer = stage.ask(request).await.expect("answered");
    let (_, pairs) = taken_apart(&answer.authorize_url);
    assert_eq!(value(&pairs, "state"), Some(state.as_str()));
    assert_eq!(value(&pairs, "nonce"), Some(nonce.as_str()));
    assert_eq!(value(&pairs, "code_challenge"), Some(challenge.as_str()));
    assert_eq!(value(&pairs, "code_challenge_method"), Some("S256"));
    stage.stop().await;
}
