//! OAuth 2.0 over HTTP, at an address of its own: by hand, and by the libraries that it is for.

mod connections;
mod discovery;
mod introspection;
mod libraries;
mod proofs;
mod tokens;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward::config::{Config, Listen};
use keyward::proto;
use serde_json::Value;
use tonic::codegen::http::HeaderMap;
use tonic::transport::Channel;

use crate::harness::Daemon;
use crate::harness::ports::Stage;

const CHECKOUT: &str = "tenants/acme/clients/checkout";
const FORM: &str = "application/x-www-form-urlencoded";

/// A daemon at rest behind ports that a test disturbs, with the tenant `acme`, its client `checkout`, and this front.
struct Site {
    stage: Stage,
    url: String,
    http: reqwest::Client,
    id: String,
    secret: String,
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    json: Value,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// Status and `error`.
    fn refusal(&self) -> (u16, &str) {
        // RFC 6749, section 5.2; nothing of a refusal is kept on the way.
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        (self.status, self.json["error"].as_str().unwrap_or_else(|| panic!("no refusal: {self:?}")))
    }

    fn token(&self) -> &str {
        assert_eq!(self.status, 200, "{self:?}");
        self.json["access_token"].as_str().expect("a token")
    }
}

impl Site {
    async fn set() -> Self {
        Site::set_with(|_| {}).await
    }

    async fn set_with(edit: impl FnOnce(&mut Config)) -> Self {
        let stage = Stage::set_with(|config| {
            serve_oauth(config);
            edit(config);
        })
        .await;
        let secret = reveal(&stage.daemon.channel, CHECKOUT).await;
        let url = format!("http://{}", stage.daemon.oauth_address());
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        Site { url, http, id: stage.client.app_client_id.clone(), secret, stage }
    }

    fn daemon(&self) -> &Daemon {
        &self.stage.daemon
    }

    /// The client's own login.
    fn basic(&self) -> String {
        basic(&self.id, &self.secret)
    }

    async fn post(&self, path: &str, authorization: Option<&str>, body: &str) -> Answer {
        let headers = authorization.iter().map(|value| ("authorization", *value)).chain([("content-type", FORM)]);
        post(&self.http, &format!("{}{path}", self.url), headers, body).await
    }

    /// Asks for a token by HTTP Basic.
    async fn ask(&self, more: &str) -> Answer {
        self.post("/oauth2/token", Some(&self.basic()), &format!("grant_type=client_credentials{more}")).await
    }

    async fn introspect(&self, token: &str) -> Answer {
        self.post("/oauth2/introspect", None, &format!("token={token}")).await
    }

    async fn get(&self, path: &str) -> Answer {
        answer(self.http.get(format!("{}{path}", self.url))).await
    }

    async fn stop(self) {
        drop(self.http);
        self.stage.daemon.stop().await;
    }
}

fn serve_oauth(config: &mut Config) {
    config.oauth.listen = Some(Listen(vec!["127.0.0.1:0".parse().expect("an address")]));
    config.secrets.reveal = true;
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

async fn post<'h>(
    http: &reqwest::Client,
    url: &str,
    headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    body: &str,
) -> Answer {
    let request = headers.into_iter().fold(http.post(url), |request, (name, value)| request.header(name, value));
    answer(request.body(body.to_owned())).await
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let answered = request.send().await.expect("answered");
    let (status, headers) = (answered.status().as_u16(), answered.headers().clone());
    let text = answered.text().await.expect("read");
    Answer { status, headers, json: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

/// What a backend would read from the vault.
async fn reveal(channel: &Channel, client: &str) -> String {
    let request = proto::RevealClientSecretRequest { name: client.to_owned(), reason: "a test".to_owned() };
    let mut clients = proto::client_service_client::ClientServiceClient::new(channel.clone());
    clients.reveal_client_secret(request).await.expect("revealed").into_inner().client_secret
}
