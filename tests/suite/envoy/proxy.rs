//! A real Envoy with the configuration that README gives, between real requests and a service that tells what it got.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keyward::config::{CallerGrant, Config, SpiffeDomain};
use keyward::proto;
use keyward::runtime::clock::ManualClock;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::Channel;

use super::CHECK;
use super::upstream::Upstream;
use crate::harness::pki::{Authority, Leaf, connect_tls, trusting};
use crate::harness::ports::{Stage, in_time};
use crate::harness::{Binary, Daemon, create_client, create_tenant, events, folder, put_orders_api, start_time, token};
use crate::peers::Peer;

const CONFIGURATION: &str = include_str!("../../../deploy/envoy.yaml");
const ENVOY: &str = "spiffe://example.org/envoy";
const OPERATOR: &str = "spiffe://example.org/operators/alice";
const CLIENT: &str = "tenants/acme/clients/checkout";

/// A broker, a service, and the files that an Envoy between them needs.
struct Scene {
    daemon: Daemon,
    clock: Arc<ManualClock>,
    upstream: Upstream,
    files: TempDir,
}

impl Scene {
    async fn set() -> Self {
        Scene::set_with(ENVOY).await
    }

    /// With an Envoy of this name.
    async fn set_with(envoy: &str) -> Self {
        let (files, path) = folder();
        let pki = Pki::new(&path, envoy);
        let clock = Arc::new(ManualClock::new(start_time()));
        let edit = |config: &mut Config| {
            (config.tls.certificate_file, config.tls.key_file) =
                (Some(path.join("tls.crt")), Some(path.join("tls.key")));
            config.tls.client_ca_file = Some(path.join("clients.pem"));
            let domain = SpiffeDomain { trust_domain: "example.org".to_owned(), ..SpiffeDomain::default() };
            config.callers.spiffe = vec![domain];
            let grant = |caller: &str, role: &str| CallerGrant {
                caller: caller.to_owned(),
                role: Some(role.to_owned()),
                ..CallerGrant::default()
            };
            config.callers.grant = vec![grant(OPERATOR, "operator"), grant(ENVOY, "verifier")];
        };
        let daemon = Daemon::start_with_tls(clock.clone(), pki.operator, edit).await;
        onboard(&daemon.channel).await;
        Scene { daemon, clock, upstream: Upstream::start().await, files }
    }

    /// An Envoy with the configuration that is given, changed like this.
    async fn envoy(&self, edit: impl Fn(String) -> String) -> Peer {
        let keyward = self.daemon.address();
        Peer::envoy(self.files.path(), |port| edit(configuration(port, &keyward, &self.upstream))).await
    }

    async fn token(&self, client: &str) -> String {
        self.daemon.token(client).await.access_token
    }
}

struct Pki {
    operator: rustls::ClientConfig,
}

impl Pki {
    /// What a broker and an Envoy of this name need, as files.
    fn new(folder: &Path, envoy: &str) -> Self {
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        servers.issue(Leaf::server()).write(folder, "tls");
        clients.issue(Leaf::client().uri(envoy)).write(folder, "envoy");
        std::fs::write(folder.join("servers.pem"), servers.pem()).expect("written");
        std::fs::write(folder.join("clients.pem"), clients.pem()).expect("written");
        Pki { operator: trusting(&servers, Some(&clients.issue(Leaf::client().uri(OPERATOR)))) }
    }
}

async fn onboard(channel: &Channel) {
    put_orders_api(channel).await;
    for tenant in ["acme", "globex"] {
        create_tenant(channel, tenant, proto::Isolation::AppClient).await;
        create_client(channel, tenant, "checkout").await;
    }
}

/// The one that README gives, with other ports.
fn configuration(port: u16, keyward: &str, upstream: &Upstream) -> String {
    let (_, keyward) = keyward.rsplit_once(':').expect("a port");
    let mut text = CONFIGURATION.to_owned();
    for (given, here) in
        [("10000", port.to_string()), ("7444", keyward.to_owned()), ("8080", upstream.address.port().to_string())]
    {
        text = replaced(&text, &format!("port_value: {given}"), &format!("port_value: {here}"));
    }
    text
}

/// What is there exactly once.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to)
}

/// Without all from one line to before another.
fn cut(text: &str, from: &str, to: &str) -> String {
    let (before, rest) = text.split_once(from).expect(from);
    let (_, after) = rest.split_once(to).expect(to);
    format!("{before}{to}{after}")
}

#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    /// What the service got under this name.
    fn came(&self, name: &str) -> Vec<String> {
        assert_eq!(self.status, 200, "{self:?}");
        let told: Value = serde_json::from_str(&self.body).expect("what the service tells");
        let values = told["headers"][name].as_array().cloned().unwrap_or_default();
        values.iter().map(|value| value.as_str().expect("a text").to_owned()).collect()
    }

    fn reason(&self) -> (u16, &str) {
        assert_eq!(self.headers.get("content-type").map(String::as_str), Some("application/json"), "{self:?}");
        (self.status, &self.body)
    }
}

/// Sends this line and these headers as they are.
pub(super) async fn ask(envoy: &Peer, line: &str, headers: &[(&str, &str)]) -> Answer {
    let address = envoy.endpoint.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("{line} HTTP/1.1\r\nhost: orders.example.org\r\n{headers}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    in_time(stream.read_to_end(&mut answer)).await.expect("an answer");
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_owned(), value.to_owned()));
    Answer { status: status.expect("a status"), headers: headers.collect(), body: body.to_owned() }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test]
async fn a_request_goes_on_in_the_name_of_whose_token_it_shows() {
    let scene = Scene::set().await;
    let envoy = scene.envoy(|text| text).await;
    let token = bearer(&scene.token(CLIENT).await);
    let spoofed = [
        ("authorization", token.as_str()),
        ("x-keyward-tenant", "tenants/globex"),
        ("X-Keyward-Tenant", "tenants/globex"),
        ("x-keyward-client", "tenants/globex/clients/checkout"),
        ("x-keyward-scopes", "orders/admin"),
        ("x-keyward-admin", "true"),
    ];
    for line in ["GET /orders", "GET /orders/7?x=1", "POST /orders", "GET /acme", "GET //orders", "GET /x/../orders"] {
        let answer = ask(&envoy, line, &spoofed).await;
        assert_eq!(answer.came("x-keyward-tenant"), ["tenants/acme"], "{line}");
        assert_eq!(answer.came("x-keyward-client"), [CLIENT], "{line}");
        assert_eq!(answer.came("x-keyward-scopes"), ["orders/read orders/write"], "{line}");
        assert_eq!(answer.came("x-keyward-admin"), Vec::<String>::new(), "{line}");
        assert_eq!(answer.came("authorization"), [token.as_str()], "{line}");
    }
    // What is named in `connection` is for the next on the way alone, and is not to take away what Keyward says.
    let named = [("authorization", token.as_str()), ("connection", "x-keyward-tenant, x-keyward-client")];
    assert_eq!(ask(&envoy, "GET /orders", &named).await.came("x-keyward-tenant"), ["tenants/acme"]);
    // Nobody is asked about this one, and nobody says who it is from.
    let open = ask(&envoy, "GET /healthz", &spoofed).await;
    for name in ["x-keyward-tenant", "x-keyward-client", "x-keyward-scopes", "x-keyward-admin"] {
        assert_eq!(open.came(name), Vec::<String>::new());
    }
    let underscores = [("authorization", token.as_str()), ("x_keyward_tenant", "tenants/globex")];
    assert_eq!(ask(&envoy, "GET /orders", &underscores).await.status, 400);
    assert_eq!(ask(&envoy, "GET /healthz/..%2Forders", &spoofed).await.status, 400);
    scene.daemon.stop().await;
}

#[tokio::test]
async fn who_may_not_is_told_why() {
    let scene = Scene::set().await;
    let envoy = scene.envoy(|text| text).await;
    let narrow = proto::GetTokenRequest {
        name: CLIENT.to_owned(),
        scopes: vec!["orders/read".to_owned()],
        ..Default::default()
    };
    let narrow = scene.daemon.tokens().get_token(narrow).await.expect("a token").into_inner().access_token;
    let (narrow, foreign) = (bearer(&narrow), bearer(&scene.token("tenants/globex/clients/checkout").await));
    let forged = format!("{narrow}AAAA");
    let invalid = "Bearer error=\"invalid_token\"";
    let two = [("authorization", narrow.as_str()), ("authorization", narrow.as_str())];
    for (line, headers, status, challenge, reason) in [
        ("GET /orders", &[][..], 401, "Bearer realm=\"keyward\"", "CREDENTIALS_MISSING"),
        ("GET //healthz/../orders", &[], 401, "Bearer realm=\"keyward\"", "CREDENTIALS_MISSING"),
        ("GET /orders", &[("authorization", "Basic eDp5")], 401, "Bearer realm=\"keyward\"", "CREDENTIALS_MISSING"),
        ("GET /orders", &two, 400, "Bearer error=\"invalid_request\"", "CREDENTIALS_AMBIGUOUS"),
        ("GET /orders", &[("authorization", "Bearer x")], 401, invalid, "MALFORMED"),
        ("GET /orders", &[("authorization", &forged)], 401, invalid, "BAD_SIGNATURE"),
        ("GET /acme", &[("authorization", &foreign)], 401, invalid, "WRONG_TENANT"),
        (
            "POST /orders",
            &[("authorization", &narrow)],
            403,
            "Bearer error=\"insufficient_scope\", scope=\"orders/read orders/write\"",
            "INSUFFICIENT_SCOPE",
        ),
    ] {
        let answer = ask(&envoy, line, headers).await;
        assert_eq!(answer.reason(), (status, format!("{{\"reason\":\"{reason}\"}}").as_str()), "{line} {answer:?}");
        assert_eq!(answer.headers["www-authenticate"], challenge, "{line}");
    }
    ask(&envoy, "GET /orders", &[("authorization", &narrow)]).await.came("x-keyward-scopes");
    scene.clock.advance(Duration::from_secs(7_200));
    let late = ask(&envoy, "GET /orders", &[("authorization", &narrow)]).await;
    assert_eq!(late.reason(), (401, "{\"reason\":\"EXPIRED\"}"));
    scene.daemon.stop().await;
}

/// What Keyward answers is enough by itself, however Envoy is configured.
#[tokio::test]
async fn names_that_came_are_gone_also_where_envoy_does_not_take_them_away_before() {
    let scene = Scene::set().await;
    let envoy = scene
        .envoy(|text| cut(&text, "          early_header_mutation_extensions:\n", "          http_filters:\n"))
        .await;
    let token = bearer(&scene.token(CLIENT).await);
    let spoofed = [
        ("x-keyward-tenant", "tenants/globex"),
        ("authorization", token.as_str()),
        ("X-Keyward-Tenant", "tenants/globex"),
        ("x-keyward-client", "tenants/globex/clients/checkout"),
        ("x-keyward-scopes", "orders/admin"),
        ("x-keyward-scopes", "orders/admin"),
        ("x-keyward-admin", "true"),
    ];
    let answer = ask(&envoy, "GET /orders", &spoofed).await;
    assert_eq!(answer.came("x-keyward-tenant"), ["tenants/acme"]);
    assert_eq!(answer.came("x-keyward-client"), [CLIENT]);
    assert_eq!(answer.came("x-keyward-scopes"), ["orders/read orders/write"]);
    assert_eq!(answer.came("x-keyward-admin"), Vec::<String>::new());
    // So that the above has shown something.
    assert_eq!(ask(&envoy, "GET /healthz", &spoofed).await.came("x-keyward-admin"), ["true"]);
    scene.daemon.stop().await;
}

#[tokio::test]
async fn a_misspelt_rule_opens_no_route_even_where_envoy_lets_pass_what_failed() {
    let scene = Scene::set().await;
    let misspelt = |text: String| {
        let text = replaced(&text, "failure_mode_allow: false", "failure_mode_allow: true");
        replaced(
            &text,
            "{ keyward.scopes: orders/read }",
            "{ keyward.scopes: orders/read, keyward.tenants: tenants/globex }",
        )
    };
    let envoy = scene.envoy(misspelt).await;
    let token = bearer(&scene.token(CLIENT).await);
    let headers = [("authorization", token.as_str())];
    let answer = ask(&envoy, "GET /orders", &headers).await;
    assert_eq!(answer.reason(), (500, "{\"reason\":\"FIELD_INVALID\"}"));
    assert_eq!(ask(&envoy, "POST /orders", &headers).await.status, 200, "another route");
    scene.daemon.stop().await;
}

/// Over loopback, without TLS: the broker's keys are the test's to take away.
#[tokio::test]
async fn when_the_broker_cannot_tell_nothing_goes_on_even_where_envoy_lets_pass_what_failed() {
    let (stage, upstream, (files, _)) = (Stage::set().await, Upstream::start().await, folder());
    let keyward = stage.daemon.address();
    let plain = |port| {
        let text = cut(
            &configuration(port, &keyward, &upstream),
            "    transport_socket:\n",
            "  - name: orders\n    connect_timeout",
        );
        replaced(&text, "failure_mode_allow: false", "failure_mode_allow: true")
    };
    let envoy = Peer::envoy(files.path(), plain).await;
    let token = bearer(&stage.daemon.token(&stage.client.name).await.access_token);
    stage.keys.fail(true);
    let answer = ask(&envoy, "GET /orders", &[("authorization", &token)]).await;
    assert_eq!(answer.reason(), (503, "{\"reason\":\"KEYS_UNAVAILABLE\"}"));
    assert!(answer.headers["retry-after"].parse::<u32>().is_ok_and(|seconds| seconds >= 1), "{answer:?}");
    drop(envoy);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn an_envoy_that_may_not_ask_lets_nothing_through_and_its_asking_is_on_record() {
    let scene = Scene::set_with("spiffe://example.org/laptop").await;
    let envoy = scene.envoy(|text| text).await;
    let token = bearer(&scene.token(CLIENT).await);
    let answer = ask(&envoy, "GET /orders", &[("authorization", &token)]).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, ""));
    let events = events(&scene.daemon.channel).await;
    let denied = events.iter().find(|event| event.method == CHECK).expect("a denial");
    assert_eq!(
        (denied.principal.as_str(), denied.reason.as_str()),
        ("spiffe://example.org/laptop", "PERMISSION_DENIED")
    );
    // Of Envoy's own making: a UUID.
    assert_eq!((denied.call_id.len(), denied.call_id.matches('-').count()), (36, 4), "{}", denied.call_id);
    drop(envoy);
    scene.daemon.stop().await;
}

#[tokio::test]
async fn without_a_broker_nothing_goes_on_and_with_one_again() {
    let ((_files, path), (_home, home)) = (folder(), folder());
    let (pki, upstream, port) = (Pki::new(&path, ENVOY), Upstream::start().await, quiet_port());
    keyward::sealing::MasterKey::generate_file(&home.join("master.key")).expect("a key");
    let text = format!(
        "listen = \"127.0.0.1:{port}\"\ndata_dir = \"{1}/data\"\n[embedded]\nmaster_key_file = \"{1}/master.key\"\n\
         [tls]\ncertificate_file = \"{0}/tls.crt\"\nkey_file = \"{0}/tls.key\"\nclient_ca_file = \"{0}/clients.pem\"\n\
         client_certificates = \"required\"\n[[callers.spiffe]]\ntrust_domain = \"example.org\"\n\
         [[callers.grant]]\ncaller = \"{OPERATOR}\"\nrole = \"operator\"\n\
         [[callers.grant]]\ncaller = \"{ENVOY}\"\nrole = \"verifier\"\n",
        path.display(),
        home.display()
    );
    let settings = home.join("keyward.toml");
    std::fs::write(&settings, text).expect("written");
    let start = || Binary::start(Binary::command().arg("serve").arg("--config").arg(&settings));

    let broker = start();
    let channel = connect_tls(&broker.address, pki.operator.clone()).await.expect("connected");
    onboard(&channel).await;
    let token = bearer(&token(&channel, CLIENT).await.expect("a token").access_token);
    let headers = [("authorization", token.as_str())];
    let envoy = Peer::envoy(&path, |own| configuration(own, &broker.address, &upstream)).await;
    assert_eq!(ask(&envoy, "GET /orders", &headers).await.came("x-keyward-tenant"), ["tenants/acme"]);

    drop(channel);
    broker.kill();
    for _ in 0..3 {
        let answer = ask(&envoy, "GET /orders", &headers).await;
        assert_eq!((answer.status, answer.body.as_str()), (503, ""), "{answer:?}");
    }
    assert_eq!(ask(&envoy, "GET /healthz", &headers).await.status, 200, "this one asks nobody");

    let _broker = start();
    let mut looks = crate::harness::pauses(Duration::from_millis(20));
    let answer = in_time(async {
        loop {
            looks.tick().await;
            let answer = ask(&envoy, "GET /orders", &headers).await;
            if answer.status != 503 {
                return answer;
            }
        }
    });
    assert_eq!(answer.await.came("x-keyward-tenant"), ["tenants/acme"]);
}

/// Nobody listens there, and the system gives it to nobody who asks for any port.
fn quiet_port() -> u16 {
    let first = 23_000 + u16::try_from(std::process::id() % 8_000).expect("small");
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..first + 1_000).find(is_free).expect("a port")
}

#[test]
fn readme_shows_the_configuration_that_is_tested() {
    let readme = include_str!("../../../README.md");
    assert!(
        readme.contains(&format!("```yaml\n{CONFIGURATION}```\n")),
        "README shows another one than deploy/envoy.yaml"
    );
}
