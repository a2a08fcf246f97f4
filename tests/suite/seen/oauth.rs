//! Every request by OAuth 2.0 is counted once, under its endpoint and how it ended.

use keyward::config::Listen;
use keyward::proto;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::told;
use crate::harness::ports::{Stage, in_time};
use crate::harness::{Daemon, metrics};

const NAME: &str = "keyward_oauth_request_duration_seconds_count";
const FORM: &str = "application/x-www-form-urlencoded";

/// How many requests to `endpoint` there were that ended so, and how many requests in all.
async fn counted(daemon: &Daemon, endpoint: &str, outcome: &str) -> (f64, f64) {
    let metrics = metrics(daemon.status_address().expect("it tells its status")).await;
    let series = format!("{NAME}{{endpoint=\"{endpoint}\",outcome=\"{outcome}\"}}");
    (metrics.value(&series).unwrap_or_default(), metrics.sum(NAME))
}

async fn stage() -> Stage {
    Stage::set_with(|config| {
        told(config);
        config.oauth.listen = Some(Listen(vec!["127.0.0.1:0".parse().expect("an address")]));
        config.secrets.reveal = true;
    })
    .await
}

/// The client's own login.
async fn login(stage: &Stage) -> (String, String) {
    let name = stage.client.name.clone();
    let request = proto::RevealClientSecretRequest { name, reason: "a test".to_owned() };
    let mut clients = proto::client_service_client::ClientServiceClient::new(stage.daemon.channel.clone());
    let secret = clients.reveal_client_secret(request).await.expect("revealed").into_inner().client_secret;
    (stage.client.app_client_id.clone(), secret)
}

#[tokio::test]
async fn each_request_is_counted_once_whatever_becomes_of_it() {
    let stage = stage().await;
    let daemon = &stage.daemon;
    let url = format!("http://{}", daemon.oauth_address());
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let (id, secret) = login(&stage).await;
    let post = async |path: &str, secret: &str, body: &str| {
        let request = http.post(format!("{url}{path}")).basic_auth(&id, Some(secret));
        request.header("content-type", FORM).body(body.to_owned()).send().await.expect("answered")
    };
    let mut all = 0.0;
    let mut one_more = async |endpoint: &str, outcome: &str| {
        all += 1.0;
        let (so, now) = counted(daemon, endpoint, outcome).await;
        assert_eq!((so, now), (1.0, all), "{endpoint}, {outcome}");
    };

    let token = "/oauth2/token";
    let grant = "grant_type=client_credentials";
    assert!(post(token, &secret, grant).await.status().is_success());
    one_more("oauth2/token", "ok").await;
    for (secret, body, outcome) in [
        (&*secret, "", "invalid_request"),
        (&secret, "grant_type=password", "unsupported_grant_type"),
        ("guessed", grant, "invalid_client"),
        (&secret, "grant_type=client_credentials&scope=x", "invalid_scope"),
    ] {
        assert!(post(token, secret, body).await.status().is_client_error());
        one_more("oauth2/token", outcome).await;
    }
    let suspend = proto::SuspendTenantRequest { name: "tenants/acme".into(), ..Default::default() };
    daemon.tenants().suspend_tenant(suspend).await.expect("suspended");
    post(token, &secret, grant).await;
    one_more("oauth2/token", "unauthorized_client").await;

    // Everybody on this machine may ask, and it is an answer that a token is none.
    let introspect = http.post(format!("{url}/oauth2/introspect")).header("content-type", FORM).body("token=x");
    assert!(introspect.send().await.expect("answered").status().is_success());
    one_more("oauth2/introspect", "ok").await;
    let get = async |path: &str| http.get(format!("{url}{path}")).send().await.expect("answered");
    get("/.well-known/oauth-authorization-server").await;
    one_more("oauth2/metadata", "ok").await;
    get("/pools/nobodys/.well-known/jwks.json").await;
    one_more("oauth2/jwks", "invalid_request").await;
    get("/a-path-that-somebody-has-made-up").await;
    one_more("oauth2", "invalid_request").await;
    drop(http);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_request_whose_caller_gives_up_is_counted_as_that() {
    let stage = stage().await;
    let address = stage.daemon.oauth_address();
    let mut stream = TcpStream::connect(&address).await.expect("connected");
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nhost: {address}\r\ncontent-type: {FORM}\r\ncontent-length: 9\r\n\r\ngrant"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    drop(stream);
    // Of a body that breaks off it is either: the reading of it may have failed before the connection was given up.
    let ended = async || {
        let cancelled = counted(&stage.daemon, "oauth2/token", "cancelled").await;
        cancelled.0 + counted(&stage.daemon, "oauth2/token", "invalid_request").await.0
    };
    in_time(async { while ended().await != 1.0 {} }).await;

    let gate = stage.fetches.hold_next();
    let (id, secret) = login(&stage).await;
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let asked = http.post(format!("http://{address}/oauth2/token")).basic_auth(id, Some(secret));
    let asked = asked.header("content-type", FORM).body("grant_type=client_credentials").send();
    let asked = tokio::spawn(asked);
    stage.fetches.wait_for(1).await;
    asked.abort();
    assert!(asked.await.is_err_and(|lost| lost.is_cancelled()));
    drop(http);
    in_time(async { while counted(&stage.daemon, "oauth2/token", "cancelled").await.0 < 1.0 {} }).await;
    gate.open();
    stage.daemon.stop().await;
}
