//! The pictures of the dashboard in README: a real run, a real Prometheus, and `picture/draw.py`, which draws what the
//! dashboard's JSON says.
//!
//! Two brokers as an operator would have them, on the fake of AWS with their records in one table, serve callers for six
//! minutes in which things happen (see [`happen`]). Nothing is asserted but that it went on: what metrics say is held by the
//! tests beside this one. What the program does not know of dashboards is told by a test that is always run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keyward::broker::ports::Clock as _;
use keyward::proto;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::revoke_tokens_request::Target;
use keyward::proto::tenant_service_client::TenantServiceClient;
use keyward::proto::token_service_client::TokenServiceClient;
use keyward::proto::verification_service_client::VerificationServiceClient;
use keyward::runtime::clock::SystemClock;
use keyward::sealing::MasterKey;
use tokio::sync::watch;
use tokio::time::{Interval, interval};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::fake::{After, Fake, Fault, REGION, signing};
use crate::harness::rotations::{eventually, rotate, try_rotate};
use crate::harness::{Binary, SCOPES, create_tenant, folder, put_orders_api};
use crate::peers::{Peer, python, run};
use crate::registry::tables::{self, Layout, TABLE};

const DRAW: &str = "tests/suite/seen/picture/draw.py";
const DASHBOARD: &str = "deploy/grafana-dashboard.json";
const PICTURES: [&str; 2] = ["deploy/dashboard-calls.png", "deploy/dashboard-work.png"];
const REQUIREMENTS: &str = include_str!("picture/requirements.txt");

const SCRAPE_SECONDS: u64 = 2;
const RUN: Duration = Duration::from_secs(360);
const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const CLIENTS_OF_EACH: usize = 8;
/// The client that an OAuth library gets tokens for.
const LIBRARYS: &str = "tenants/globex/clients/backend-1";
/// As short as Cognito allows, so that tokens are renewed within the run.
const TOKENS_LAST: prost_types::Duration = prost_types::Duration { seconds: 300, nanos: 0 };

#[test]
fn the_program_that_draws_the_dashboard_knows_all_that_is_in_it() {
    let check = |dashboard: &Path| {
        let output = Command::new("python3").arg(root().join(DRAW)).arg(dashboard).arg("--check").output();
        let output = output.expect("Python runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let dashboard = root().join(DASHBOARD);
    assert_eq!(check(&dashboard), (true, String::new()));

    let text = std::fs::read_to_string(&dashboard).expect("the dashboard");
    let (_folder, path) = folder();
    for (known, other, said) in [
        ("\"type\": \"stat\"", "\"type\": \"gauge\"", "panels of type gauge are not known"),
        ("\"unit\": \"percentunit\"", "\"unit\": \"bytes\"", "the unit bytes is not known"),
        ("\"unit\": \"percentunit\"", "\"thresholds\": {}, \"unit\": \"none\"", "the setting thresholds is not known"),
        ("\"overrides\": []", "\"overrides\": [{}]", "overrides are not known"),
        ("\"options\": {}", "\"options\": {\"legend\": {}}", "the option legend is not known"),
        ("\"name\": \"instance\"", "\"name\": \"tenant\"", "the variable tenant is not known"),
        ("\"legendFormat\": \"hits\"", "\"legendFormat\": \"hits\", \"hide\": true", "hide of a query is not known"),
    ] {
        assert!(text.contains(known), "the dashboard has no {known}");
        let file = path.join("other.json");
        std::fs::write(&file, text.replacen(known, other, 1)).expect("written");
        let (is_known, problems) = check(&file);
        assert!(!is_known && problems.contains(said), "{problems}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and draws README's pictures: cargo test --test suite -- --ignored the_dashboard_is_drawn"]
async fn the_dashboard_is_drawn_from_what_a_real_prometheus_has_seen() {
    let python = python("pictures", REQUIREMENTS);
    let site = Site::set().await;
    let prometheus = Peer::prometheus(&site.scraping()).await;
    let start = SystemClock.now().as_second();

    let stop = CancellationToken::new();
    let callers: Vec<_> = (0..CALLERS.len()).map(|number| tokio::spawn(site.calls(number, stop.clone()))).collect();
    let site = happen(site).await;
    let end = SystemClock.now().as_second();
    let mut draw = Command::new(python);
    draw.arg(root().join(DRAW)).arg(root().join(DASHBOARD)).args(["--prometheus", &prometheus.endpoint]);
    draw.args(["--start", &start.to_string(), "--end", &end.to_string()]);
    draw.args(["--scrape-interval", &SCRAPE_SECONDS.to_string(), "--out"]);
    draw.args(PICTURES.map(|picture| root().join(picture)));
    tokio::task::spawn_blocking(move || run(&mut draw)).await.expect("drawn");
    stop.cancel();
    for caller in callers {
        caller.await.expect("it went on calling");
    }
    assert!(site.made.load(Ordering::Relaxed) > 10_000, "{} calls were made", site.made.load(Ordering::Relaxed));
}

/// What happens in the run, by the second.
async fn happen(mut site: Site) -> Site {
    let mut seconds = every(Duration::from_secs(1));
    let of = |tenant: &str, number: usize| format!("tenants/{tenant}/clients/backend-{number}");
    for second in 0..RUN.as_secs() {
        seconds.tick().await;
        let channel = site.channels[0].clone();
        let mut tenants = TenantServiceClient::new(channel.clone());
        let mut clients = ClientServiceClient::new(channel.clone());
        let initech = || "tenants/initech".to_owned();
        match second {
            // Secrets are rotated, and nobody notices.
            30..45 => {
                let number = usize::try_from(second - 30).expect("small");
                rotate(&channel, &of(TENANTS[number % 2], number / 2)).await;
            }
            80 => {
                let request = proto::SuspendTenantRequest { name: initech(), ..Default::default() };
                tenants.suspend_tenant(request).await.expect("suspended");
            }
            115 => {
                let request = proto::ResumeTenantRequest { name: initech(), ..Default::default() };
                tenants.resume_tenant(request).await.expect("resumed");
            }
            // All tokens of a tenant are void, and everybody needs another one.
            150 => {
                let target = Some(Target::Tenant("tenants/acme".to_owned()));
                clients
                    .revoke_tokens(proto::RevokeTokensRequest { target, ..Default::default() })
                    .await
                    .expect("revoked");
            }
            // Deployed anew: callers go to the other broker meanwhile.
            185 => {
                let broker = site.brokers.pop().expect("the second one");
                broker.signal("TERM");
                tokio::task::spawn_blocking(move || broker.wait()).await.expect("ended");
            }
            195 => site.brokers.push(start(site.configs[1].clone()).await),
            // Cognito's token endpoint has a bad half minute, and somebody needs another token just then.
            240 => site.fake.fail(After::calls(0).of("Token").for_ever(), Fault::Internal),
            245 => {
                let target = Some(Target::Client(of("globex", 0)));
                clients
                    .revoke_tokens(proto::RevokeTokensRequest { target, ..Default::default() })
                    .await
                    .expect("revoked");
            }
            270 => site.fake.heal(),
            // A secret was seen by somebody. Its client learns of the new one later.
            300 => {
                let name = LIBRARYS.to_owned();
                let request = proto::RotateClientSecretRequest { name, immediate: true, ..Default::default() };
                try_rotate(&channel, request).await.expect("rotated");
            }
            320 => drop(site.login.send_replace(login(&channel).await)),
            335 => {
                let request = proto::DeleteClientRequest { name: of("initech", 7), ..Default::default() };
                clients.delete_client(request).await.expect("deleted");
            }
            _ => {}
        }
    }
    site
}

/// Two brokers, and what they stand on.
struct Site {
    configs: Vec<PathBuf>,
    brokers: Vec<Binary>,
    channels: Vec<Channel>,
    status: Vec<u16>,
    oauth: Vec<u16>,
    /// App client id and secret of one client.
    login: watch::Sender<(String, String)>,
    made: Arc<AtomicUsize>,
    fake: Fake,
    _collector: Peer,
    _table: Peer,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn set() -> Self {
        let (folder, path) = folder();
        let fake = Fake::start(Arc::new(SystemClock)).await;
        let (table, collector) = (Peer::ministack().await, Peer::rotel().await);
        tables::make(&super::table::sdk(&table.endpoint), TABLE, Layout::default()).await;
        let key = path.join("token.key");
        MasterKey::generate_file(&key).expect("a key");
        let ports: Vec<u16> = (0..6).map(|_| crate::readme::quiet_port()).collect();
        let (aws, dynamodb) = (fake.endpoint(), &table.endpoint);
        let configs: Vec<_> = (0..2)
            .map(|number| {
                let data = path.join(format!("broker-{number}"));
                std::fs::create_dir(&data).expect("made");
                let audit = data.join("audit.jsonl");
                let [listen, status, oauth] = [0, 2, 4].map(|first| ports[first + number]);
                let text = format!(
                    "listen = '127.0.0.1:{listen}'\nbackend = 'aws'\ndata_dir = {data:?}\n\
                     callers.trust_loopback = true\nsecrets.reveal = true\n\
                     registry.table = '{TABLE}'\nregistry.token_key_file = {key:?}\naudit.file = {audit:?}\n\
                     oauth.listen = '127.0.0.1:{oauth}'\ntraces.endpoint = '{}'\ntraces.percent = 1\n\
                     [status]\nlisten = '127.0.0.1:{status}'\ntenants = ['acme', 'globex']\n\
                     [aws]\nregion = '{REGION}'\n[aws.endpoints]\ncognito = '{aws}'\nsecrets_manager = '{aws}'\n\
                     dynamodb = '{dynamodb}'\ntoken = '{aws}/oauth2/token'\n\
                     jwks = '{aws}/{{user_pool}}/.well-known/jwks.json'\n",
                    collector.endpoint
                );
                let config = path.join(format!("broker-{number}.toml"));
                std::fs::write(&config, text).expect("written");
                config
            })
            .collect();
        let mut brokers = Vec::new();
        for config in &configs {
            brokers.push(start(config.clone()).await);
        }
        // Each makes its connection when it is needed, and another one when that has ended.
        let channels: Vec<_> = ports[..2]
            .iter()
            .map(|port| Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("an address").connect_lazy())
            .collect();
        let channel = &channels[0];
        // It may call AWS once it has its share of the quotas.
        eventually("it has its share", async || {
            let catalogue = proto::ListPoolsRequest::default();
            proto::catalog_service_client::CatalogServiceClient::new(channel.clone())
                .list_pools(catalogue)
                .await
                .is_ok()
        })
        .await;
        put_orders_api(channel).await;
        for tenant in TENANTS {
            create_tenant(channel, tenant, proto::Isolation::AppClient).await;
            for number in 0..CLIENTS_OF_EACH {
                let client = proto::Client {
                    scopes: SCOPES.map(str::to_owned).to_vec(),
                    access_token_validity: Some(TOKENS_LAST),
                    ..Default::default()
                };
                let request = proto::CreateClientRequest {
                    parent: format!("tenants/{tenant}"),
                    client_id: format!("backend-{number}"),
                    client: Some(client),
                    ..Default::default()
                };
                ClientServiceClient::new(channel.clone()).create_client(request).await.expect("created");
            }
        }
        let login = watch::Sender::new(login(channel).await);
        Site {
            configs,
            brokers,
            channels,
            status: ports[2..4].to_vec(),
            oauth: ports[4..6].to_vec(),
            login,
            made: Arc::default(),
            fake,
            _collector: collector,
            _table: table,
            _folder: folder,
        }
    }

    /// Prometheus' configuration. It calls brokers by names, as an operator would have it.
    fn scraping(&self) -> String {
        let target = |(number, port): (usize, &u16)| {
            format!("{{targets: ['127.0.0.1:{port}'], labels: {{instance: keyward-{number}}}}}")
        };
        let targets: Vec<_> = self.status.iter().enumerate().map(target).collect();
        format!(
            "global: {{scrape_interval: {SCRAPE_SECONDS}s, scrape_timeout: {SCRAPE_SECONDS}s}}\n\
             scrape_configs: [{{job_name: keyward, static_configs: [{}]}}]\n",
            targets.join(", ")
        )
    }

    /// One kind of caller, who goes on until stopped.
    fn calls(&self, number: usize, stop: CancellationToken) -> impl Future<Output = ()> + use<> {
        let (pause, kind) = CALLERS[number];
        let mut caller = Caller {
            kind,
            turn: 0,
            channels: self.channels.clone(),
            oauth: self.oauth.clone(),
            login: self.login.subscribe(),
            http: reqwest::Client::builder().no_proxy().build().expect("an HTTP client"),
            tokens: Vec::new(),
        };
        let made = self.made.clone();
        async move {
            let mut pauses = every(pause);
            while stop.run_until_cancelled(pauses.tick()).await.is_some() {
                // How it ends is for the picture to show.
                let _ = tokio::time::timeout(Duration::from_secs(5), caller.call()).await;
                caller.turn += 1;
                made.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// What the library's secret is now, and whose.
async fn login(channel: &Channel) -> (String, String) {
    let name = LIBRARYS.to_owned();
    let mut clients = ClientServiceClient::new(channel.clone());
    let client = clients.get_client(proto::GetClientRequest { name: name.clone() }).await.expect("there").into_inner();
    let reveal = proto::RevealClientSecretRequest { name, reason: "a picture".to_owned() };
    (client.app_client_id, clients.reveal_client_secret(reveal).await.expect("revealed").into_inner().client_secret)
}

async fn start(config: PathBuf) -> Binary {
    let mut command = Binary::command();
    command.args(["serve", "--config"]).arg(config);
    command.env("AWS_ACCESS_KEY_ID", signing::ACCESS_KEY_ID);
    command.env("AWS_SECRET_ACCESS_KEY", signing::SECRET_ACCESS_KEY);
    tokio::task::spawn_blocking(move || Binary::start(&mut command)).await.expect("started")
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A backend that needs its token.
    Backend,
    /// A service that is shown tokens, most of them good.
    Service,
    /// Somebody who asks for what is not theirs, or not there.
    Mistaken,
    /// An OAuth library.
    Library,
    /// An operator who looks.
    Operator,
}

/// How often, and who.
const CALLERS: [(Duration, Kind); 7] = [
    (Duration::from_millis(10), Kind::Backend),
    (Duration::from_millis(12), Kind::Backend),
    (Duration::from_millis(9), Kind::Service),
    (Duration::from_millis(15), Kind::Service),
    (Duration::from_millis(400), Kind::Mistaken),
    (Duration::from_millis(60), Kind::Library),
    (Duration::from_millis(700), Kind::Operator),
];

struct Caller {
    kind: Kind,
    turn: usize,
    channels: Vec<Channel>,
    oauth: Vec<u16>,
    login: watch::Receiver<(String, String)>,
    http: reqwest::Client,
    /// Those that it was given last.
    tokens: Vec<String>,
}

impl Caller {
    async fn call(&mut self) {
        let turn = self.turn;
        match self.kind {
            Kind::Backend => drop(self.token(self.client(turn)).await),
            Kind::Service => {
                // Tokens are shown for some seconds, also when their client has others meanwhile.
                if self.tokens.len() < 24 || turn.is_multiple_of(20) {
                    self.tokens.extend(self.token(self.client(turn)).await);
                }
                let kept = self.tokens.len().saturating_sub(48);
                self.tokens.drain(..kept);
                let Some(token) = self.tokens.get(turn % self.tokens.len().max(1)).cloned() else { return };
                let mut question = proto::VerifyTokenRequest { token, ..Default::default() };
                match turn % 200 {
                    7 => question.tenant = "tenants/umbrella".to_owned(),
                    57 => question.token = "not-a-token".to_owned(),
                    107 => question.required_scopes = vec!["orders/refund".to_owned()],
                    _ => {}
                }
                self.verify(question).await;
            }
            Kind::Mistaken => match turn % 3 {
                0 => drop(self.token("tenants/umbrella/clients/backend-0".to_owned()).await),
                1 => drop(self.token("no name".to_owned()).await),
                _ => {
                    let name = self.client(turn);
                    let scopes = vec!["orders/refund".to_owned()];
                    let request = proto::GetTokenRequest { name, scopes, ..Default::default() };
                    let _ = TokenServiceClient::new(self.channels[turn % 2].clone()).get_token(request).await;
                }
            },
            Kind::Library => self.library().await,
            Kind::Operator => {
                let request = proto::GetTenantRequest { name: format!("tenants/{}", TENANTS[turn % 3]) };
                let _ = TenantServiceClient::new(self.channels[turn % 2].clone()).get_tenant(request).await;
                let request = proto::ListClientsRequest { parent: "tenants/acme".to_owned(), ..Default::default() };
                let _ = ClientServiceClient::new(self.channels[turn % 2].clone()).list_clients(request).await;
            }
        }
    }

    fn client(&self, turn: usize) -> String {
        let (tenant, number) = (TENANTS[turn % TENANTS.len()], turn / TENANTS.len() % CLIENTS_OF_EACH);
        format!("tenants/{tenant}/clients/backend-{number}")
    }

    /// From one broker, and from the other where that one is away.
    async fn token(&self, name: String) -> Option<String> {
        for number in 0..self.channels.len() {
            let request = proto::GetTokenRequest { name: name.clone(), ..Default::default() };
            let channel = self.channels[(self.turn + number) % self.channels.len()].clone();
            match TokenServiceClient::new(channel).get_token(request).await {
                Ok(token) => return Some(token.into_inner().access_token),
                Err(error) if error.code() == tonic::Code::Unavailable => {}
                Err(_) => return None,
            }
        }
        None
    }

    async fn verify(&self, question: proto::VerifyTokenRequest) {
        for number in 0..self.channels.len() {
            let channel = self.channels[(self.turn + number) % self.channels.len()].clone();
            if VerificationServiceClient::new(channel).verify_token(question.clone()).await.is_ok() {
                return;
            }
        }
    }

    async fn library(&mut self) {
        let url = format!("http://127.0.0.1:{}/oauth2/", self.oauth[self.turn % self.oauth.len()]);
        let (id, secret) = self.login.borrow().clone();
        let asks = |path: &str, body: String| {
            let request = self.http.post(format!("{url}{path}"));
            request.header("content-type", "application/x-www-form-urlencoded").body(body).send()
        };
        match self.turn % 20 {
            0 => {
                let login = format!("&client_id={id}&client_secret={secret}");
                if let Ok(answer) = asks("token", format!("grant_type=client_credentials{login}")).await
                    && let Ok(text) = answer.text().await
                    && let Ok(answer) = serde_json::from_str::<serde_json::Value>(&text)
                {
                    self.tokens = answer["access_token"].as_str().map(str::to_owned).into_iter().collect();
                }
            }
            1..15 => {
                let login = format!("&client_id={id}&client_secret={secret}");
                drop(asks("token", format!("grant_type=client_credentials{login}")).await);
            }
            19 => drop(asks("token", "grant_type=password".to_owned()).await),
            _ => {
                let token = self.tokens.first().cloned().unwrap_or_default();
                drop(asks("introspect", format!("token={token}")).await);
            }
        }
    }
}

fn every(pause: Duration) -> Interval {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
