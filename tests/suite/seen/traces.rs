//! Traces, as a collector gets them.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyward::config::Config;
use keyward::proto;
use keyward::runtime::clock::SystemClock;

use super::told;
use crate::harness::on_aws::AwsStage;
use crate::harness::rotations::eventually;
use crate::harness::{Daemon, metrics, new_client};
use crate::peers::Peer;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A span as the collector prints it: what is said of it, by name.
#[derive(Debug, Default)]
struct Seen(BTreeMap<String, String>);

impl Seen {
    fn all(log: &str) -> Vec<Seen> {
        let spans = log.split("\nSpan #").skip(1);
        let pair = |line: &str| {
            let (name, value) = line.trim().trim_start_matches("-> ").split_once(':')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        spans.map(|text| Seen(text.lines().filter_map(pair).collect())).collect()
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

fn request<M>(message: M, traceparent: Option<&str>) -> tonic::Request<M> {
    let mut request = tonic::Request::new(message);
    if let Some(header) = traceparent {
        request.metadata_mut().insert("traceparent", header.parse().expect("a header"));
    }
    request.metadata_mut().insert("x-request-id", "call-7".parse().expect("a header"));
    request
}

async fn start(collector: &Peer, percent: u32) -> (Daemon, String) {
    let daemon = Daemon::start_with(Arc::new(SystemClock), |config| {
        told(config);
        config.traces.endpoint = Some(collector.endpoint.clone());
        config.traces.percent = percent;
    })
    .await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "orders").await.name;
    (daemon, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_a_part_of_its_callers_trace_with_what_it_waited_for() {
    let collector = Peer::rotel().await;
    let (daemon, client) = start(&collector, 0).await;
    let get = || proto::GetTokenRequest { name: client.clone(), ..Default::default() };
    let sampled = format!("00-{TRACE}-{CALLER}-01");
    let token = daemon.tokens().get_token(request(get(), Some(&sampled))).await.expect("a token").into_inner();
    // Held by now, and still made anew for whoever has it traced.
    for _ in 0..3 {
        daemon.tokens().get_token(request(get(), Some(&sampled))).await.expect("a token");
    }
    let nobody = proto::GetTenantRequest { name: "tenants/nobody".into() };
    daemon.tenants().get_tenant(request(nobody, Some(&sampled))).await.expect_err("nobody");
    // Not by these: a caller that does not want it, one that says nothing, one that says nonsense.
    for other in [Some(format!("00-{}-{CALLER}-00", TRACE.replace('0', "1"))), None, Some("nonsense".to_owned())] {
        daemon.tokens().get_token(request(get(), other.as_deref())).await.expect("a token");
    }
    daemon.stop().await;

    // It has them all, and prints them in its own time.
    eventually("the spans are printed", async || Seen::all(&collector.log()).len() >= 6).await;
    let log = collector.log();
    let spans = Seen::all(&log);
    let of = |name: &str| spans.iter().filter(|span| span.get("Name") == name).collect::<Vec<_>>();
    assert!(spans.iter().all(|span| span.get("Trace ID") == TRACE), "{log}");
    let calls = of("keyward.v1.TokenService/GetToken");
    assert_eq!((spans.len(), calls.len()), (6, 4), "{log}");
    for call in &calls {
        assert_eq!((call.get("Parent ID"), call.get("Kind")), (CALLER, "SPAN_KIND_SERVER"), "{call:?}");
        let said = ["rpc.system.name", "rpc.method", "rpc.response.status_code", "keyward.call_id"];
        let said = said.map(|name| call.get(name));
        assert_eq!(said, ["Str(grpc)", "Str(keyward.v1.TokenService/GetToken)", "Str(OK)", "Str(call-7)"]);
    }
    let [fetch] = of("fetch a token")[..] else { panic!("one fetch: {log}") };
    let parents: Vec<_> = calls.iter().map(|call| call.get("ID")).collect();
    assert!(parents.contains(&fetch.get("Parent ID")), "{log}");
    let [refused] = of("keyward.v1.TenantService/GetTenant")[..] else { panic!("one refusal: {log}") };
    let said = ["rpc.response.status_code", "keyward.call_id", "error.type"].map(|name| refused.get(name));
    assert_eq!(said, ["Str(NOT_FOUND)", "Str(call-7)", ""]);
    // Whose it was, and what was given, is nobody's who reads traces.
    for unwanted in [&*token.access_token, "acme", "orders", "dev"] {
        assert!(!log.contains(unwanted), "{unwanted} is in {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_whose_callers_decide_nothing_are_traced_as_configured() {
    let collector = Peer::rotel().await;
    let (daemon, client) = start(&collector, 100).await;
    let get = || proto::GetTokenRequest { name: client.clone(), ..Default::default() };
    daemon.tokens().get_token(request(get(), None)).await.expect("a token");
    let unwanted = format!("00-{TRACE}-{CALLER}-00");
    daemon.tokens().get_token(request(get(), Some(&unwanted))).await.expect("a token");
    let address = daemon.status_address().expect("it tells its status");
    eventually("spans were sent", async || {
        metrics(address).await.value("keyward_spans_total{outcome=\"sent\"}") >= Some(4.0)
    })
    .await;
    daemon.stop().await;
    eventually("the spans are printed", async || Seen::all(&collector.log()).len() >= 4).await;
    let spans = Seen::all(&collector.log());
    let traced = spans.iter().filter(|span| span.get("Name") == "keyward.v1.TokenService/GetToken").count();
    assert_eq!(traced, 1, "{spans:?}");
    let roots = spans.iter().filter(|span| span.get("Kind") == "SPAN_KIND_SERVER");
    assert!(roots.clone().count() >= 4 && roots.clone().all(|span| span.get("Parent ID").is_empty()), "{spans:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_to_aws_are_in_the_trace_of_the_call_that_needs_them() {
    let collector = Peer::rotel().await;
    let endpoint = Some(collector.endpoint.clone());
    let edit = |config: &mut Config| (config.traces.endpoint, config.traces.percent) = (endpoint, 0);
    let stage = AwsStage::set_with(edit, |_| {}).await;
    stage.daemon.create_tenant("acme").await;
    let sampled = format!("00-{TRACE}-{CALLER}-01");
    let client = new_client("acme", "orders");
    stage.daemon.clients().create_client(request(client, Some(&sampled))).await.expect("a client");
    stage.strike().await;

    let named = |spans: &[Seen], name: &str| spans.iter().any(|span| span.get("Name") == name);
    let wanted = ["keyward.v1.ClientService/CreateClient", "CreateUserPoolClient", "CreateSecret", "TokenEndpoint"];
    eventually("the spans are printed", async || {
        let spans = Seen::all(&collector.log());
        wanted.iter().all(|name| named(&spans, name))
    })
    .await;
    let log = collector.log();
    for span in Seen::all(&log) {
        assert_eq!(span.get("Trace ID"), TRACE, "{span:?}");
        let is_call = span.get("Name") == wanted[0];
        assert_eq!(span.get("Parent ID") == CALLER, is_call, "{span:?}");
    }
    for unwanted in ["acme", "orders"] {
        assert!(!log.contains(unwanted), "{unwanted} is in {log}");
    }
}

/// A collector that is away costs spans and nothing else: neither calls nor a stop wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let collector = Peer::rotel().await;
    let endpoint = collector.endpoint.clone();
    drop(collector);
    let daemon = Daemon::start_with(Arc::new(SystemClock), |config| {
        told(config);
        config.traces.endpoint = Some(endpoint);
        config.traces.percent = 100;
    })
    .await;
    daemon.create_tenant("acme").await;
    let address = daemon.status_address().expect("it tells its status");
    eventually("spans have failed", async || {
        metrics(address).await.value("keyward_spans_total{outcome=\"failed\"}") >= Some(1.0)
    })
    .await;
    let get = proto::GetTenantRequest { name: "tenants/acme".into() };
    daemon.tenants().get_tenant(get).await.expect("the tenant");
    daemon.stop().await;
}
