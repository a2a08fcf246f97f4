//! `MatchTenant`: what a hint leads to, and what it does not.

use keyward::broker::ports::Shelf;
use keyward::proto::match_tenant_request::Hint;
use keyward::proto::{self, SignInDomainKind};
use serde_json::json;

use super::{CALLBACK, SECOND, SIGN_IN, Stage, about, email};
use crate::harness::{assert_invalid, mask};

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
    let stage = Stage::set().await.with_people().await;
    let pool = stage.find(email("acme.example")).await.pool.trim_start_matches("pools/").to_owned();
    let mut stage = stage;
    // The embedded backend's, and one on AWS whose tokens come from the API.
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
    ];
    for (request, field) in cases {
        let refused = stage.ask(request).await;
        let said = format!("{:?}", refused.as_ref().expect_err("refused"));
        assert!(!said.contains("ann.secret"), "{said}");
        assert_invalid(refused, "FIELD_INVALID", field);
    }
    stage.stop().await;
}
