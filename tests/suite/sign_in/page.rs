//! The page at `/login`, by hand.

use futures::future::BoxFuture;
use keyward::broker::ports::Shelf;
use keyward::config::{Config, Listen};
use keyward::proto::SignInDomainKind;
use serde_json::json;
use tonic::codegen::http::HeaderMap;

use super::{CALLBACK, SECOND, SIGN_IN, Stage, email};
use crate::harness::{INNER_DETAIL, Outage};

const FORM: &str = "application/x-www-form-urlencoded";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub fn with_page(config: &mut Config) {
    config.oauth.listen = Some(Listen(vec!["127.0.0.1:0".parse().expect("an address")]));
    config.oauth.login.enabled = true;
    config.oauth.login.title = "Sign in to <Orders> & more".to_owned();
}

/// A daemon with the page, as a browser without a mind of its own sees it.
struct Site {
    stage: Stage,
    url: String,
    http: reqwest::Client,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// Where it leads; the test fails where it leads nowhere.
    fn location(&self) -> reqwest::Url {
        assert_eq!((self.status, self.text.as_str()), (303, ""));
        self.assert_guarded();
        reqwest::Url::parse(self.header("location")).expect("a URL")
    }

    fn assert_guarded(&self) {
        let policy = self.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.ends_with("; form-action 'self' https:; frame-ancestors 'none'; base-uri 'none'"), "{policy}");
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("set-cookie", ""),
        ] {
            assert_eq!(self.header(name), value, "{name}");
        }
        assert!(
            !self.text.contains("<script") && !self.text.contains("http://") && !self.text.contains("src="),
            "{}",
            self.text
        );
    }

    /// A page that has the form, or, after an error that ends it here, has none.
    fn assert_page(&self, status: u16, problem: &str, has_form: bool) {
        assert_eq!(self.status, status, "{}", self.text);
        self.assert_guarded();
        let title = "Sign in to &lt;Orders&gt; &amp; more";
        assert!(self.text.contains(&format!("<h1>{title}</h1>")), "{}", self.text);
        assert_eq!(self.text.contains("<form method=\"post\" action=\"/login\">"), has_form, "{}", self.text);
        let of_problem = format!("<p id=\"problem\" role=\"alert\">{problem}");
        assert_eq!(self.text.contains("role=\"alert\""), !problem.is_empty(), "{}", self.text);
        assert!(problem.is_empty() || self.text.contains(&of_problem), "{}", self.text);
        let head = [
            "<html lang=\"en\">",
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
            "<meta name=\"robots\" content=\"noindex\">",
            "<meta name=\"color-scheme\" content=\"light dark\">",
        ];
        // An address is typed on a telephone too, and is not to be corrected into a word.
        let field =
            "required autofocus autocomplete=\"email\" autocapitalize=\"none\" spellcheck=\"false\" maxlength=\"320\"";
        let start = "<input id=\"email\" name=\"email\" type=\"email\" value=\"";
        for part in head.into_iter().chain([start, field].into_iter().filter(|_| has_form)) {
            assert!(self.text.contains(part), "{part}: {}", self.text);
        }
        let error = if problem.is_empty() { "" } else { "Error: " };
        assert!(self.text.contains(&format!("<title>{error}{title}</title>")), "{}", self.text);
    }
}

impl Site {
    async fn set(edit: impl FnOnce(&mut Config)) -> Self {
        let stage = Stage::set_with(|config| {
            with_page(config);
            edit(config);
        });
        Site::on(stage.await.with_people().await)
    }

    fn on(stage: Stage) -> Self {
        let url = format!("http://{}/login", stage.daemon.oauth_address());
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Site { stage, url, http: http.build().expect("an HTTP client") }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answered = request.send().await.expect("answered");
        let (status, headers) = (answered.status().as_u16(), answered.headers().clone());
        Answer { status, headers, text: answered.text().await.expect("read") }
    }

    async fn get(&self, query: &[(&str, &str)]) -> Answer {
        let url = reqwest::Url::parse_with_params(&self.url, query).expect("a URL");
        self.send(self.http.get(url)).await
    }

    async fn post(&self, parameters: &[(&str, &str)]) -> Answer {
        let url = reqwest::Url::parse_with_params("http://x", parameters).expect("a URL");
        let body = url.query().unwrap_or_default().to_owned();
        self.send(self.http.post(&self.url).header("content-type", FORM).body(body)).await
    }

    fn stop(self) -> BoxFuture<'static, ()> {
        drop(self.http);
        Box::pin(self.stage.stop())
    }
}

const UNKNOWN: &str = "No sign-in could be started with this address.";
const BROKEN: &str = "This link is not complete.";

#[tokio::test]
async fn who_gives_their_work_email_is_sent_to_their_tenants_sign_in() {
    let site = Site::set(|_| {}).await;
    site.get(&[]).await.assert_page(200, "", true);
    for tenant in ["acme", "globex"] {
        let known = site.stage.find(email(&format!("{tenant}.example"))).await;
        let sent = site.post(&[("email", &format!("Ann.Example@{tenant}.example"))]).await.location();
        assert_eq!(sent.as_str(), known.authorize_url);
        assert!(!sent.as_str().to_lowercase().contains("ann"), "the address goes nowhere");
    }
    site.stop().await;
}

#[tokio::test]
async fn what_the_application_gave_is_handed_on_untouched_and_shown_escaped() {
    let site = Site::set(|_| {}).await;
    let state = "\"><script>alert(1)</script>&amp;'\u{e4} +%41";
    let given = [
        ("state", state),
        ("nonce", "n<&1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("redirect_uri", SECOND),
        ("client_id", "web"),
        ("scope", "openid orders/read"),
        ("response_type", "code"),
        ("unheard_of", "x"),
    ];
    let page = site.get(&given).await;
    page.assert_page(200, "", true);
    let hidden = hidden(&page.text);
    let kept: Vec<_> = hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut expected: Vec<_> = given[..7].to_vec();
    expected.sort_by_key(|(name, _)| {
        ["client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method"]
            .iter()
            .position(|known| known == name)
    });
    assert_eq!(kept, expected);

    let filled: Vec<_> = kept.into_iter().chain([("email", "ann@acme.example")]).collect();
    let sent = site.post(&filled).await.location();
    assert!(sent.as_str().starts_with(&format!("{SIGN_IN}/oauth2/authorize?")), "{sent}");
    let pairs: Vec<(String, String)> = sent.query_pairs().into_owned().collect();
    for (name, value) in [
        ("state", state),
        ("nonce", "n<&1"),
        ("redirect_uri", SECOND),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("scope", "openid orders/read"),
    ] {
        let found: Vec<_> = pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
        assert_eq!(found, [value], "{name}");
    }
    assert!(!sent.as_str().contains("unheard_of"));
    let spaced = site.post(&[("email", "ann@acme.example"), ("scope", " openid  orders/read ")]).await.location();
    assert!(spaced.as_str().contains("&scope=openid+orders%2Fread"), "{spaced}");
    site.stop().await;
}

/// Names and values of hidden fields, as a browser would send them.
fn hidden(page: &str) -> Vec<(String, String)> {
    let plain = |text: &str| {
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
        text.replace("&amp;", "&")
    };
    let fields = page.split("<input type=\"hidden\" name=\"").skip(1);
    let read = |field: &str| {
        let (name, rest) = field.split_once("\" value=\"").expect("a value");
        (name.to_owned(), plain(rest.split('"').next().expect("its end")))
    };
    fields.map(read).collect()
}

#[tokio::test]
async fn nobody_is_sent_where_a_parameter_says() {
    let site = Site::set(|_| {}).await;
    let evil = "https://evil.example/";
    for redirect_uri in [
        evil,
        "//evil.example",
        "javascript:alert(1)",
        &format!("{CALLBACK}/../x"),
        &format!("{CALLBACK}@evil.example/"),
        "https://app.example.com@evil.example/",
    ] {
        let answer = site.post(&[("email", "ann@acme.example"), ("redirect_uri", redirect_uri)]).await;
        answer.assert_page(200, UNKNOWN, true);
    }
    // In a header it would end the line.
    let sent =
        site.post(&[("email", "ann@acme.example"), ("state", "a\r\nLocation: https://evil.example/")]).await.location();
    assert_eq!(sent.host_str(), Some("signin.keyward.test"));
    site.stop().await;
}

#[tokio::test]
async fn what_is_not_known_is_one_answer_whatever_is_wrong() {
    let site = Site::set(|_| {}).await;
    let names = [("acme.example", SignInDomainKind::Email), ("new.example", SignInDomainKind::Email)];
    site.stage.claim("acme", &names).await.expect("claimed");
    let suspend = keyward::proto::SuspendTenantRequest { name: "tenants/globex".to_owned(), ..Default::default() };
    site.stage.daemon.tenants().suspend_tenant(suspend).await.expect("suspended");
    let mut texts = std::collections::BTreeSet::new();
    for domain in ["nowhere.example", "new.example", "globex.example", "www.acme.example", "a..b", "a b", "127.0.0.1"] {
        let address = format!("x@{domain}");
        let answer = site.post(&[("email", &address), ("state", "kept")]).await;
        answer.assert_page(200, UNKNOWN, true);
        assert_eq!(hidden(&answer.text), [("state".to_owned(), "kept".to_owned())]);
        let field = format!("value=\"{address}\"");
        assert!(answer.text.contains(&field), "it can be mended: {}", answer.text);
        texts.insert(answer.text.replace(&field, ""));
    }
    assert_eq!(texts.len(), 1, "but for the address all are alike");
    site.post(&[("email", "")]).await.assert_page(200, UNKNOWN, true);
    let long = format!("{}@acme.example", "x".repeat(1_024));
    site.post(&[("email", &long)]).await.assert_page(200, UNKNOWN, true);
    let mark = "\"><b>x@acme";
    assert!(!site.post(&[("email", mark)]).await.text.contains("<b>"));
    site.stop().await;

    let fallback = "https://signin.keyward.test/shared";
    let site = Site::set(|config| config.sign_in.fallback_url = Some(fallback.to_owned())).await;
    for address in ["x@nowhere.example", "x@www.acme.example"] {
        let sent = site
            .post(&[("email", address), ("state", "s"), ("redirect_uri", "https://evil.example/")])
            .await
            .location();
        assert_eq!(sent.as_str(), format!("{fallback}?state=s"));
    }
    // There is nothing else for people whose tenant has no sign-in.
    let Site { stage, .. } = site;
    let pool = stage.find(email("acme.example")).await.pool.trim_start_matches("pools/").to_owned();
    stage.store(Shelf::Pool, &pool, |pool| pool["made"]["token_endpoint"] = json!("")).await;
    let site = Site::on(stage.restarted().await);
    assert_eq!(site.post(&[("email", "ann@acme.example")]).await.location().as_str(), fallback);
    site.stop().await;
}

#[tokio::test]
async fn a_link_that_cannot_be_handed_on_is_said_to_be_broken() {
    let site = Site::set(|_| {}).await;
    let long = "x".repeat(2_049);
    let short = &CHALLENGE[1..];
    let (uri, nonce, beyond, signs) = ("x".repeat(1_025), "x".repeat(513), "x".repeat(129), "+".repeat(43));
    let broken: [&[(&str, &str)]; 14] = [
        &[("state", &long)],
        &[("scope", &long)],
        &[("scope", "orders/read email")],
        &[("redirect_uri", &uri)],
        &[("nonce", &nonce)],
        &[("code_challenge", &beyond), ("code_challenge_method", "S256")],
        &[("code_challenge", &signs), ("code_challenge_method", "S256")],
        &[("state", "a"), ("state", "b")],
        &[("code_challenge", CHALLENGE)],
        &[("code_challenge", CHALLENGE), ("code_challenge_method", "plain")],
        &[("code_challenge", short), ("code_challenge_method", "S256")],
        &[("code_challenge_method", "S256")],
        &[("client_id", "Web")],
        &[("client_id", "../acme")],
    ];
    for parameters in broken {
        site.get(parameters).await.assert_page(400, BROKEN, false);
        let filled: Vec<_> = parameters.iter().copied().chain([("email", "ann@acme.example")]).collect();
        site.post(&filled).await.assert_page(400, BROKEN, false);
        for unknown in ["ann@nowhere.example", "ann@a..b"] {
            let filled: Vec<_> = parameters.iter().copied().chain([("email", unknown)]).collect();
            site.post(&filled).await.assert_page(400, BROKEN, false);
        }
    }
    let (state, nonce, challenge) = ("\u{e4}".repeat(2_048), "\u{20ac}".repeat(512), "-._~".repeat(32));
    let longest = [
        ("state", state.as_str()),
        ("nonce", &nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("email", "ann@acme.example"),
    ];
    let sent = site.post(&longest).await.location();
    assert!(sent.query_pairs().any(|(name, value)| name == "state" && value == state), "{sent}");
    let no_form = site.http.post(&site.url).header("content-type", "application/json").body("{}");
    site.send(no_form).await.assert_page(400, BROKEN, false);
    let in_url = site.http.post(format!("{}?email=ann@acme.example", site.url)).header("content-type", FORM).body("");
    site.send(in_url).await.assert_page(400, BROKEN, false);
    let large = site.http.post(&site.url).header("content-type", FORM).body(format!("email={}", "x".repeat(40_000)));
    site.send(large).await.assert_page(413, BROKEN, false);
    site.stop().await;
}

#[tokio::test]
async fn where_nobody_can_tell_now_the_page_says_so_and_sends_nobody_anywhere() {
    let outage = Outage::default();
    let edit = |config: &mut Config| {
        with_page(config);
        config.sign_in.fallback_url = Some("https://signin.keyward.test/shared".to_owned());
    };
    let site = Site::on(Stage::set_through(edit, |ports| outage.of_registry(ports)).await);
    outage.begin();
    let answer = site.post(&[("email", "ann@acme.example")]).await;
    answer.assert_page(503, "This cannot be done now.", false);
    assert!(!answer.header("retry-after").is_empty() && !answer.text.contains(INNER_DETAIL), "{}", answer.text);
    site.get(&[]).await.assert_page(200, "", true);
    outage.end();
    site.post(&[("email", "ann@acme.example")]).await.location();
    site.stop().await;
}

#[tokio::test]
async fn whoever_tries_out_addresses_is_counted() {
    let site = Site::set(|config| (config.limits.calls_per_second, config.limits.calls_burst) = (1, 2)).await;
    site.get(&[]).await.assert_page(200, "", true);
    site.post(&[("email", "ann@acme.example")]).await.location();
    site.post(&[("email", "ann@acme.example")]).await.assert_page(429, "This cannot be done now.", false);
    let refused = site.get(&[]).await;
    refused.assert_page(429, "This cannot be done now.", false);
    assert_eq!(refused.header("retry-after"), "1");
    site.stop().await;
}

#[tokio::test]
async fn people_sign_in_with_the_client_that_is_configured() {
    let site = Site::set(|config| config.oauth.login.client = Some("desk".to_owned())).await;
    site.post(&[("email", "ann@acme.example")]).await.assert_page(200, UNKNOWN, true);
    site.post(&[("email", "ann@acme.example"), ("client_id", "web")]).await.location();
    site.stop().await;
}

#[tokio::test]
async fn there_is_no_page_unless_it_is_configured() {
    let site = Site::set(|config| config.oauth.login.enabled = false).await;
    assert_eq!(site.get(&[]).await.status, 404);
    assert_eq!(site.post(&[("email", "ann@acme.example")]).await.status, 404);
    site.stop().await;
}
