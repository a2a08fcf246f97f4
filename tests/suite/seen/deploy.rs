//! The alerts and the dashboard in `deploy/` ask for metrics that there are, and Prometheus takes them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use keyward::runtime::clock::SystemClock;
use serde_json::Value;

use super::table::{Rows, all};
use super::told;
use crate::harness::Daemon;
use crate::harness::rotations::eventually;
use crate::peers::{Peer, promtool};

const RULES: &str = include_str!("../../../deploy/prometheus-rules.yaml");
const DASHBOARD: &str = include_str!("../../../deploy/grafana-dashboard.json");
/// What Prometheus makes by itself of each thing that it asks.
const OF_PROMETHEUS: &str = "up";
/// Words of expressions that are no metrics. Functions have a parenthesis behind them, which aggregations need not have.
const WORDS: [&str; 12] =
    ["sum", "min", "max", "count", "by", "on", "or", "and", "unless", "without", "ignoring", "offset"];

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_dashboard_ask_for_metrics_and_labels_that_there_are() {
    let rows = all().await;
    let expressions = [alerts(), panels()].concat();
    assert!(expressions.len() > 30, "only {} expressions were found", expressions.len());
    for expression in &expressions {
        let metrics = metrics_of(expression);
        assert!(!metrics.is_empty(), "no metric in {expression}");
        for name in metrics {
            assert!(name == OF_PROMETHEUS || is_told(&rows, &name), "{name} is not told: {expression}");
        }
    }
    // What is told is also shown.
    let shown: BTreeSet<_> = panels().iter().flat_map(|expression| metrics_of(expression)).collect();
    let is_shown = |name: &String| shown.iter().any(|shown| without_part(shown) == *name);
    let missing: Vec<_> = rows.keys().filter(|name| !is_shown(name)).collect();
    assert_eq!(missing, Vec::<&String>::new(), "the dashboard shows nothing of these");
}

#[test]
fn metrics_are_found_in_an_expression() {
    let text = "sum by (instance, le) (rate(keyward_a_total{b=\"c_d(\",e!~\"f\"}[5m])) > 0.1 * 1e3 * on (g) up or \
                histogram_quantile(0.99, rate(rpc_x_bucket[$__rate_interval] offset 5m))";
    let found: Vec<_> = metrics_of(text).into_iter().collect();
    assert_eq!(found, ["keyward_a_total", "rpc_x_bucket", "up"]);
}

#[test]
fn prometheus_takes_the_alerts_and_each_fires_when_it_should_and_not_before() {
    let rules = root().join("deploy/prometheus-rules.yaml");
    let checked = promtool_says(&["check", "rules"], &rules);
    assert!(checked.contains(&format!("{} rules found", alerts().len())), "{checked}");
    let tests = root().join("tests/suite/seen/alerts.yaml");
    promtool_says(&["test", "rules"], &tests);
    let tried = std::fs::read_to_string(&tests).expect("the tests");
    let names = RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for name in names {
        let fires = tried.matches(&format!("alertname: {name}\n")).count();
        assert!(fires >= 2, "{name} is tried {fires} times: it must be seen to fire, and not to");
    }
}

/// A real Prometheus reads a real daemon, and every expression of alerts and dashboard is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_reads_the_daemon_and_answers_what_is_asked() {
    let daemon = Daemon::start_with(Arc::new(SystemClock), told).await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "orders").await.name;
    for _ in 0..3 {
        daemon.token(&client).await;
    }
    let target = daemon.status_address().expect("it tells its status");
    let rules = root().join("deploy/prometheus-rules.yaml");
    let prometheus = Peer::prometheus(&format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{rules:?}]\n\
         scrape_configs: [{{job_name: keyward, static_configs: [{{targets: ['{target}']}}]}}]\n"
    ))
    .await;
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let ask = async |expression: &str| -> Vec<Value> {
        let url = format!("{}/api/v1/query", prometheus.endpoint);
        let mut url = reqwest::Url::parse(&url).expect("a URL");
        url.query_pairs_mut().append_pair("query", expression);
        let answer = http.get(url).send().await.expect("answered").text().await.expect("read");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().expect("a list").clone()
    };
    eventually("Prometheus has read the daemon", async || ask("keyward_ready == 1").await.len() == 1).await;
    let requests = ask("sum(keyward_token_requests_total)").await;
    assert_eq!(requests[0]["value"][1], "3", "{requests:?}");
    let calls = ask("sum(rpc_server_call_duration_seconds_bucket{le=\"+Inf\"})").await;
    assert_eq!(calls.len(), 1);
    for expression in [alerts(), panels()].concat() {
        ask(&expression.replace("$__rate_interval", "1m").replace("$instance", ".*")).await;
    }
    daemon.stop().await;
}

fn promtool_says(arguments: &[&str], file: &Path) -> String {
    let output = Command::new(promtool()).args(arguments).arg(file).output().expect("promtool runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn is_told(rows: &Rows, name: &str) -> bool {
    rows.get(without_part(name)).is_some_and(|row| name == without_part(name) || row.kind == "histogram")
}

/// Without what the parts of a histogram end in.
fn without_part(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)
}

/// The alerts' expressions. What is read here is the file as it is written, and not YAML: promtool reads that.
fn alerts() -> Vec<String> {
    let mut expressions = Vec::new();
    let mut lines = RULES.lines().peekable();
    while let Some(line) = lines.next() {
        match line.trim_start().strip_prefix("expr: ") {
            Some("|") => {
                let mut text = String::new();
                while let Some(more) = lines.next_if(|line| line.starts_with("          ")) {
                    text.push_str(more.trim());
                    text.push(' ');
                }
                expressions.push(text);
            }
            Some(text) => expressions.push(text.to_owned()),
            None => {}
        }
    }
    expressions
}

/// What the dashboard's panels ask for.
fn panels() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect()
}

/// The metrics that an expression names: words that are neither labels nor functions, numbers, texts or periods.
fn metrics_of(expression: &str) -> BTreeSet<String> {
    let mut metrics = BTreeSet::new();
    let plain = without_groups(&without_texts(expression));
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_:.$".contains(c);
    let mut rest = plain.as_str();
    while let Some(start) = rest.find(is_part) {
        let word: String = rest[start..].chars().take_while(|c| is_part(*c)).collect();
        rest = &rest[start + word.len()..];
        let is_function = rest.trim_start().starts_with('(');
        let is_name = word.starts_with(|c: char| c.is_ascii_alphabetic());
        if is_name && !is_function && !WORDS.contains(&word.as_str()) {
            metrics.insert(word);
        }
    }
    metrics
}

fn without_texts(expression: &str) -> String {
    expression.split('"').step_by(2).collect()
}

/// Without labels in braces, periods in brackets, and the lists of labels behind `by` and `on`.
fn without_groups(text: &str) -> String {
    let mut kept = String::new();
    let mut skipped_until = None;
    for c in text.chars() {
        let is_list = || ["by ", "on ", "without ", "ignoring "].iter().any(|word| kept.ends_with(word));
        match (skipped_until, c) {
            (Some(end), c) if c == end => skipped_until = None,
            (Some(_), _) => {}
            (None, '{') => skipped_until = Some('}'),
            (None, '[') => skipped_until = Some(']'),
            (None, '(') if is_list() => skipped_until = Some(')'),
            (None, c) => kept.push(c),
        }
    }
    kept
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
