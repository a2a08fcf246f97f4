//! `MatchTenant` and `/login` on the strict fake of AWS: what they answer is what is there, and Cognito takes it.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use keyward::config::Config;
use keyward::domain::id::AppClientId;
use keyward::domain::pool::MadePool;
use keyward::domain::scope::ScopeSet;
use keyward::domain::secret::ClientSecret;
use keyward::proto::match_tenant_request::Hint;
use keyward::proto::saml_provider::Metadata;
use keyward::proto::{self, Isolation, SignInDomainKind, TenantMoveState};
use serde_json::Value;
use tonic::Code;

use super::page::with_page;
use super::{CALLBACK, SECOND, about, domains, email, named, record};
use crate::aws::domains::{Platform, custom, prefix};
use crate::fake::{After, Fault, REGION};
use crate::harness::rotations::eventually;
use crate::harness::{Daemon, SCOPES, create_tenant, mask, refusal};
use crate::moving::{move_request, start, state_of, tenant};
use crate::peers::NameServer;
use crate::people::new_interactive;
use crate::people::providers::{oidc, put, saml};

const DAY: Duration = Duration::from_secs(86_400);
const SECOND_OF_TIME: Duration = Duration::from_secs(1);
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A daemon with the page, on the fake, and names that are proven.
struct Site {
    platform: Platform,
    names: NameServer,
    zone: Mutex<String>,
}

impl Site {
    async fn set() -> Self {
        let names = NameServer::start().await;
        let resolvers = vec![names.address()];
        let edit = |config: &mut Config| {
            with_page(config);
            config.sign_in.resolvers = resolvers;
        };
        let platform = Platform::set_with(edit, |_| {}).await;
        Site { platform, names, zone: Mutex::default() }
    }

    fn daemon(&self) -> &Daemon {
        &self.platform.stage.daemon
    }

    /// Has the tenant claim the email domain `name`.
    async fn claim(&self, tenant: &str, name: &str) {
        let request = proto::UpdateTenantRequest {
            tenant: Some(proto::Tenant {
                sign_in_domains: domains(&[(name, SignInDomainKind::Email)]),
                ..named(tenant)
            }),
            update_mask: mask(&["sign_in_domains"]),
            ..Default::default()
        };
        let claimed = self.daemon().tenants().update_tenant(request).await.expect("claimed").into_inner();
        let mut zone = self.zone.lock().expect("alone");
        claimed.sign_in_domains.iter().for_each(|name| zone.push_str(&record(name)));
    }

    /// Has whatever is claimed by now be found for the tenant.
    async fn prove(&self, tenant: &str) {
        self.names.knows(&self.zone.lock().expect("alone"));
        let request = proto::UpdateTenantRequest {
            tenant: Some(proto::Tenant { display_name: tenant.to_uppercase(), ..named(tenant) }),
            update_mask: mask(&["display_name"]),
            ..Default::default()
        };
        let seen = self.daemon().tenants().update_tenant(request).await.expect("changed").into_inner();
        assert!(seen.sign_in_domains.iter().all(|name| name.verified), "{seen:?}");
    }

    /// A client for people by the name `web`, of a tenant that is there.
    async fn create_web(&self, tenant: &str, edit: impl FnOnce(&mut proto::InteractiveSettings)) {
        let mut request = new_interactive(tenant, "web");
        let client = request.client.as_mut().expect("set");
        client.scopes.push("email".to_owned());
        let settings = client.interactive.as_mut().expect("set");
        settings.callback_urls = vec![CALLBACK.to_owned(), SECOND.to_owned()];
        edit(settings);
        self.daemon().clients().create_client(request).await.expect("created");
    }

    async fn delete_web(&self, tenant: &str) {
        let request =
            proto::DeleteClientRequest { name: format!("tenants/{tenant}/clients/web"), ..Default::default() };
        self.daemon().clients().delete_client(request).await.expect("deleted");
    }

    async fn ask(&self, request: proto::MatchTenantRequest) -> proto::MatchTenantResponse {
        self.daemon().tenants().match_tenant(request).await.expect("answered").into_inner()
    }

    /// Whom an address of `{tenant}.example` leads to.
    async fn find(&self, tenant: &str) -> proto::MatchTenantResponse {
        self.ask(about(email(&format!("ann@{tenant}.example")))).await
    }

    /// Where the browser goes from what is answered to people of the tenant, which is held against what there is at Cognito. With
    /// the host of the sign-in.
    async fn follow(&self, tenant: &str) -> (String, String) {
        let answer = self.find(tenant).await;
        assert_eq!(answer.tenant, format!("tenants/{tenant}"));
        self.check(&answer).await
    }

    async fn check(&self, answer: &proto::MatchTenantResponse) -> (String, String) {
        let fake = &self.platform.stage.fake;
        let url = reqwest::Url::parse(&answer.authorize_url).expect("a URL");
        let value =
            |name: &str| url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
        let client = fake.app_client(&answer.app_client_id);
        let texts = |name: &str| -> BTreeSet<String> {
            let list = client[name].as_array().into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let inventory = fake.inventory().app_clients;
        let pool = inventory.iter().find(|of| of.id == answer.app_client_id).expect("there").user_pool.clone();
        assert!(answer.issuer.ends_with(&format!("/{pool}")), "{answer:?}");
        let host = url.host_str().expect("a host").to_owned();
        let of_pool =
            fake.domains().into_iter().filter(|(_, of)| *of == pool).map(|(name, _)| match name.contains('.') {
                true => name,
                false => format!("{name}.auth.{REGION}.amazoncognito.com"),
            });
        assert!(of_pool.collect::<Vec<_>>().contains(&host), "{host} is not the pool's");
        assert_eq!(value("client_id").as_ref(), Some(&answer.app_client_id));
        assert!(texts("CallbackURLs").contains(&value("redirect_uri").expect("it has one")), "{url}");
        let scopes = value("scope").expect("it has them");
        let scopes: BTreeSet<_> = scopes.split(' ').map(str::to_owned).collect();
        assert!(scopes.is_subset(&texts("AllowedOAuthScopes")), "{scopes:?}");
        let provider = value("identity_provider");
        assert_eq!(provider.clone().unwrap_or_default(), answer.provider_name);
        let supported = texts("SupportedIdentityProviders");
        assert!(provider.is_none_or(|provider| supported == BTreeSet::from([provider])), "{supported:?}");
        let (status, place) = fake.follow(&answer.authorize_url).await;
        assert!(status == 302 && !place.contains("error="), "{status} {place}");
        (host, place)
    }

    /// Returns once people of the tenant are sent to where Cognito takes them, or nowhere. What is under way may just have taken
    /// away what was answered a moment before.
    async fn sends_nobody_wrong(&self, tenant: &str) {
        eventually("people are sent to where they can sign in, or nowhere", async || {
            let url = self.find(tenant).await.authorize_url;
            url.is_empty() || {
                let (status, place) = self.platform.stage.fake.follow(&url).await;
                status == 302 && !place.contains("error=")
            }
        })
        .await;
    }

    /// In a box, since it holds a daemon.
    fn strike(self) -> LocalBoxFuture<'static, ()> {
        Box::pin(self.platform.stage.strike())
    }
}

#[tokio::test]
async fn the_sign_in_that_is_answered_is_one_that_cognito_has_and_takes() {
    let site = Site::set().await;
    let metadata = Metadata::MetadataUrl("https://idp.example.com/metadata".to_owned());
    for tenant in ["acme", "hooli"] {
        create_tenant(&site.daemon().channel, tenant, Isolation::AppClient).await;
    }
    site.platform.create("globex", Some(prefix("globex-people"))).await.expect("created");
    site.platform.create("initech", Some(custom("login.initech.example"))).await.expect("created");
    put(site.daemon(), "globex", &[oidc("entra")]).await.expect("put");
    put(site.daemon(), "initech", &[saml("okta", metadata.clone())]).await.expect("put");
    put(site.daemon(), "hooli", &[oidc("entra"), saml("okta", metadata)]).await.expect("put");
    for tenant in ["acme", "globex", "initech", "hooli"] {
        site.create_web(tenant, |settings| settings.allow_native_accounts = tenant == "hooli").await;
        site.claim(tenant, &format!("{tenant}.example")).await;
        site.prove(tenant).await;
    }
    // CloudFront takes its time; meanwhile people sign in at the prefix.
    let (host, _) = site.follow("initech").await;
    assert!(host.starts_with("keyward-tenant-"), "{host}");
    site.platform.until_settled().await;

    let below_cognitos = |prefix: &str| format!("{prefix}.auth.{REGION}.amazoncognito.com");
    let login = |host: &str| format!("https://{host}/login?response_type=code&client_id=");
    let (shared, place) = site.follow("acme").await;
    assert!(shared.starts_with("keyward-shared-") && place.starts_with(&login(&shared)), "{place}");
    assert_eq!(site.follow("hooli").await.0, shared, "one pool, and a choice of three");
    let (host, place) = site.follow("globex").await;
    assert_eq!(host, below_cognitos("globex-people"));
    assert!(place.starts_with("https://login.example.com/authorize?client_id=keyward&"), "{place}");
    let (host, place) = site.follow("initech").await;
    assert_eq!(host, "login.initech.example");
    assert!(place.starts_with("https://saml.example/initech."), "{place}");

    let url = format!("http://{}/login", site.daemon().oauth_address());
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("HTTP");
    for tenant in ["acme", "globex", "initech", "hooli"] {
        let request = proto::MatchTenantRequest {
            redirect_uri: SECOND.to_owned(),
            scopes: vec!["openid".to_owned(), "orders/read".to_owned()],
            state: "a state, & more".to_owned(),
            nonce: "n".to_owned(),
            code_challenge: CHALLENGE.to_owned(),
            ..about(email(&format!("{tenant}.example")))
        };
        let answer = site.ask(request).await;
        site.check(&answer).await;
        let form = [
            ("email", format!("ann@{tenant}.example")),
            ("redirect_uri", SECOND.to_owned()),
            ("scope", "openid orders/read".to_owned()),
            ("state", "a state, & more".to_owned()),
            ("nonce", "n".to_owned()),
            ("code_challenge", CHALLENGE.to_owned()),
            ("code_challenge_method", "S256".to_owned()),
        ];
        let form = reqwest::Url::parse_with_params("http://x", form).expect("a URL").query().map(str::to_owned);
        let asked = http.post(&url).header("content-type", "application/x-www-form-urlencoded");
        let sent = asked.body(form.expect("parameters")).send().await.expect("answered");
        let sent = sent.headers().get("location").expect("it leads somewhere").to_str().expect("text").to_owned();
        assert_eq!(sent, answer.authorize_url);
    }
    site.strike().await;
}

#[tokio::test]
async fn people_are_sent_to_a_domain_that_their_pool_has_or_nowhere() {
    let site = Site::set().await;
    site.platform.create("globex", None).await.expect("created");
    site.create_web("globex", |_| {}).await;
    site.claim("globex", "globex.example").await;
    site.prove("globex").await;
    let (first, _) = site.follow("globex").await;
    let below_cognitos = |prefix: &str| format!("{prefix}.auth.{REGION}.amazoncognito.com");
    for (domain, host) in [
        (Some(prefix("globex-in")), below_cognitos("globex-in")),
        (Some(custom("login.globex.example")), "login.globex.example".to_owned()),
        (Some(custom("auth.globex.example")), "auth.globex.example".to_owned()),
        (Some(prefix("globex-in")), below_cognitos("globex-in")),
        (None, first),
    ] {
        site.platform.change("globex", domain).await.expect("changed");
        site.platform
            .until("it is in force", async || {
                site.sends_nobody_wrong("globex").await;
                site.platform.backend.journals().await.is_empty()
            })
            .await;
        assert_eq!(site.follow("globex").await.0, host);
    }

    // Cognito has no way from one prefix to another; here it stops in the middle, and the old one is anybody's.
    let fake = &site.platform.stage.fake;
    fake.fail(After::calls(0).of("CreateUserPoolDomain"), Fault::Internal);
    site.platform.change("globex", Some(prefix("globex-out"))).await.expect_err("not yet");
    let nowhere = site.find("globex").await;
    assert_eq!(
        (nowhere.tenant.as_str(), nowhere.authorize_url.as_str()),
        ("tenants/globex", ""),
        "{:?}",
        fake.domains()
    );
    // Tokens are a matter of time, too.
    let made = MadePool { token_endpoint: String::new(), ..site.platform.made("globex").await };
    let app_client = AppClientId::parse("id", &nowhere.app_client_id).expect("an id");
    let secret = ClientSecret::parse_foreign("secret", "whichever-it-is-nobody-asks").expect("a secret");
    let scopes = ScopeSet::parse("scopes", &SCOPES).expect("scopes");
    let endpoint = &site.platform.backend.0.token_endpoint;
    let error = endpoint.fetch(&made, &app_client, &secret, &scopes).await.expect_err("nowhere");
    assert!(error.is(keyward::broker::ports::Fault::Unavailable), "{error:?}");
    site.daemon().create_client("globex", "orders").await;
    site.platform.until_settled().await;
    assert_eq!(site.follow("globex").await.0, below_cognitos("globex-out"));
    site.platform.backend.check_current_works("tenants/globex/clients/orders").await;
    site.strike().await;
}

#[tokio::test]
async fn a_tenant_that_is_suspended_moves_or_goes_is_matched_rightly_or_not_at_all() {
    let site = Site::set().await;
    let nothing = proto::MatchTenantResponse::default();
    create_tenant(&site.daemon().channel, "acme", Isolation::AppClient).await;
    site.create_web("acme", |_| {}).await;
    site.claim("acme", "acme.example").await;
    site.prove("acme").await;
    let first = site.find("acme").await;
    site.check(&first).await;
    let name = "tenants/acme".to_owned();
    let suspend = proto::SuspendTenantRequest { name: name.clone(), ..Default::default() };
    site.daemon().tenants().suspend_tenant(suspend).await.expect("suspended");
    assert_eq!(site.find("acme").await, nothing);
    let resume = proto::ResumeTenantRequest { name: name.clone(), ..Default::default() };
    site.daemon().tenants().resume_tenant(resume).await.expect("resumed");
    assert_eq!(site.find("acme").await, first);

    let refused = start(site.daemon(), move_request("acme", Isolation::UserPool)).await;
    assert_eq!(refusal(refused), (Code::FailedPrecondition, "CLIENT_KIND_MISMATCH".to_owned()));
    assert_eq!(site.find("acme").await, first, "people stay where they are");
    let mut own_issuer = String::new();
    for (target, kind) in [(Isolation::UserPool, "pools/tenant-"), (Isolation::AppClient, "pools/shared-")] {
        site.delete_web("acme").await;
        assert_eq!(site.find("acme").await, nothing);
        start(site.daemon(), move_request("acme", target)).await.expect("started");
        eventually("the move is over", async || {
            assert_eq!(site.find("acme").await, nothing, "nobody signs in meanwhile");
            site.platform.stage.is_at_rest().await;
            let is_waiting = state_of(&tenant(site.daemon(), "acme").await) == TenantMoveState::Overlap;
            site.platform.stage.clock.advance(if is_waiting { DAY } else { SECOND_OF_TIME });
            state_of(&tenant(site.daemon(), "acme").await) == TenantMoveState::Succeeded
        })
        .await;
        site.create_web("acme", |_| {}).await;
        let answer = site.find("acme").await;
        site.check(&answer).await;
        assert!(answer.pool.starts_with(kind) && answer.app_client_id != first.app_client_id, "{answer:?}");
        let by_issuer = site.ask(about(Hint::Issuer(answer.issuer.clone()))).await;
        match target {
            Isolation::UserPool => {
                assert_eq!(by_issuer, answer);
                own_issuer = answer.issuer;
            }
            _ => assert_eq!(by_issuer, nothing, "others are there too"),
        }
        assert_eq!(site.ask(about(Hint::AppClientId(first.app_client_id.clone()))).await, nothing, "it is gone");
    }
    assert_eq!(site.ask(about(Hint::Issuer(own_issuer))).await, nothing, "its pool is gone");

    let delete = proto::DeleteTenantRequest { name: name.clone(), ..Default::default() };
    site.daemon().tenants().delete_tenant(delete).await.expect("deleted");
    assert_eq!(site.find("acme").await, nothing);
    // The name is free, and its old record proves nothing.
    create_tenant(&site.daemon().channel, "umbrella", Isolation::AppClient).await;
    site.create_web("umbrella", |_| {}).await;
    site.claim("umbrella", "acme.example").await;
    assert_eq!(site.find("acme").await, nothing);
    site.prove("umbrella").await;
    let answer = site.find("acme").await;
    assert_eq!(answer.tenant, "tenants/umbrella");
    site.check(&answer).await;
    site.strike().await;
}
