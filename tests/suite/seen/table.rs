//! README's table of metrics is what daemons tell: names, labels and meanings.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyward::aws::Credentials;
use keyward::config::Listen;
use keyward::runtime::clock::SystemClock;

use super::{call_what_is_no_method, told};
use crate::fake::{Fake, REGION};
use crate::harness::{Binary, Daemon, connect, create_client, create_tenant, folder, metrics, put_orders_api, token};
use crate::peers::Peer;
use crate::registry::tables::{self, Layout, TABLE};

const README: &str = include_str!("../../../README.md");

/// What is told of a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    pub kind: String,
    help: String,
    /// In the order in which they come.
    labels: Vec<String>,
}

/// Metrics by the name that they are asked for with; those of durations have their `_bucket`, `_sum` and `_count` besides.
pub type Rows = BTreeMap<String, Row>;

/// What a text of metrics tells.
pub fn rows(text: &str) -> Rows {
    let mut rows = Rows::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            // It has been given a full stop.
            let help = help.strip_suffix('.').unwrap_or(help).to_owned();
            rows.insert(name.to_owned(), Row { help, ..Row::default() });
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let mut row = rows.remove(name).expect("its meaning comes first");
            row.kind = kind.to_owned();
            let ending = if kind == "counter" { "_total" } else { "" };
            rows.insert(format!("{name}{ending}"), row);
        } else if let Some((name, rest)) = line.split_once('{') {
            let name = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
            let (labels, _) = rest.rsplit_once('}').expect("the labels' end");
            let row = rows.get_mut(name).unwrap_or_else(|| panic!("{name} is not announced"));
            for (label, _) in labels.split("\",").filter_map(|label| label.split_once("=\"")) {
                if label != "le" && !row.labels.iter().any(|known| known == label) {
                    row.labels.push(label.to_owned());
                }
            }
        }
    }
    rows
}

/// What daemons tell on the embedded backend and on AWS, with everything that tells something of itself.
pub async fn all() -> Rows {
    let mut all = rows(&of_embedded().await);
    for (name, row) in rows(&of_aws().await) {
        let known = all.entry(name).or_default();
        let more = row.labels.iter().filter(|label| !known.labels.contains(label)).cloned().collect::<Vec<_>>();
        *known = Row { labels: [known.labels.clone(), more].concat(), ..row };
    }
    all
}

async fn of_embedded() -> String {
    let daemon = Daemon::start_with(Arc::new(SystemClock), |config| {
        told(config);
        config.status.tenants = vec!["acme".to_owned()];
        config.audit.file = Some(config.data_dir.join("audit.jsonl"));
        // Nobody is there, and nobody needs to be.
        config.traces.endpoint = Some("http://127.0.0.1:1".to_owned());
        config.oauth.listen = Some(Listen(vec!["127.0.0.1:0".parse().expect("an address")]));
    })
    .await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "orders").await.name;
    let token = daemon.token(&client).await.access_token;
    daemon.verify(&token).await;
    daemon.verify("x").await;
    let nobody = keyward::proto::GetTenantRequest { name: "tenants/nobody".into() };
    daemon.tenants().get_tenant(nobody).await.expect_err("nobody");
    call_what_is_no_method(&daemon.channel).await;
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    http.get(format!("http://{}/", daemon.oauth_address())).send().await.expect("answered");
    let text = metrics(daemon.status_address().expect("it tells its status")).await.0;
    daemon.stop().await;
    text
}

/// The program itself, as only it makes the AWS backend by its configuration.
async fn of_aws() -> String {
    let (_folder, path) = folder();
    let fake = Fake::start(Arc::new(SystemClock)).await;
    let table = Peer::ministack().await;
    tables::make(&sdk(&table.endpoint), TABLE, Layout::default()).await;
    let Credentials::Fixed { access_key_id, secret_access_key } = fake.credentials() else {
        panic!("the fake knows one pair");
    };
    let (data, endpoint, dynamodb) = (path.join("data"), fake.endpoint(), &table.endpoint);
    let config = format!(
        "listen = '127.0.0.1:0'\nbackend = 'aws'\ndata_dir = {data:?}\ncallers.trust_loopback = true\n\
         registry.table = '{TABLE}'\nstatus.listen = '127.0.0.1:0'\n[aws]\nregion = '{REGION}'\n\
         [aws.endpoints]\ncognito = '{endpoint}'\nsecrets_manager = '{endpoint}'\ndynamodb = '{dynamodb}'\n\
         token = '{endpoint}/oauth2/token'\njwks = '{endpoint}/{{user_pool}}/.well-known/jwks.json'\n",
    );
    let file = path.join("keyward.toml");
    std::fs::write(&file, config).expect("written");
    let mut command = Binary::command();
    command.args(["serve", "--config"]).arg(file);
    command.env("AWS_ACCESS_KEY_ID", access_key_id).env("AWS_SECRET_ACCESS_KEY", secret_access_key);
    let broker = Binary::start(&mut command);
    let log = broker.log();
    let (_, address) = log.split_once("status at ").expect("it says where it tells its status");
    let address = address.split_whitespace().next().and_then(|text| text.parse().ok()).expect("an address");

    let channel = connect(&broker.address).await;
    // Until the broker has its share of the quotas, calls are refused and said to be worth another try.
    put_orders_api(&channel).await;
    until_counted(address).await;
    create_tenant(&channel, "acme", keyward::proto::Isolation::AppClient).await;
    let client = create_client(&channel, "acme", "orders").await.name;
    token(&channel, &client).await.expect("a token");
    let metrics = metrics(address).await;
    let made = "keyward_aws_calls_total{operation=\"CreateUserPoolClient\",outcome=\"OK\"}";
    assert_eq!(metrics.value(made), Some(1.0));
    let of_quota = format!("{{quota=\"app_client_updates\",region=\"{REGION}\"}}");
    let [may, left, used, refused] = ["per_second", "left_per_second", "used_total", "refused_total"].map(|of| {
        let series = format!("keyward_aws_quota_{of}{of_quota}");
        metrics.value(&series).unwrap_or_else(|| panic!("no {series}"))
    });
    assert_eq!((may, used, refused), (15.0, 1.0, 0.0), "it is alone, and has made one app client");
    assert!((14.0..=15.0).contains(&left), "{left} are left");
    metrics.0
}

/// Returns once the broker is counted among those that share the quotas.
async fn until_counted(address: std::net::SocketAddr) {
    crate::harness::rotations::eventually("the broker has its share", async || {
        metrics(address).await.sum("keyward_aws_quota_per_second") >= 0.0
    })
    .await;
}

pub fn sdk(endpoint: &str) -> aws_sdk_dynamodb::Client {
    use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"));
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_in_readme_is_what_is_told() {
    let told: String = all().await.iter().map(|(name, row)| shown(name, row)).collect();
    assert!(README.contains(&told), "README's table should be\n{told}");
    let named = README.lines().filter(|line| line.starts_with("| `keyward_") || line.starts_with("| `rpc_")).count();
    assert_eq!(named, told.lines().count(), "README's table has a line that is not told");
}

fn shown(name: &str, Row { kind, help, labels }: &Row) -> String {
    let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "))
}
