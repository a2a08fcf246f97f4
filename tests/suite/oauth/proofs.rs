//! Over TLS, with nobody trusted for being on this machine: who may introspect, what a certificate is at each endpoint, and
//! that TLS is that of gRPC.

use std::path::PathBuf;
use std::sync::Arc;

use keyward::broker::ports::Clock;
use keyward::config::{CallerGrant, Config, Demand, SpiffeDomain};
use keyward::runtime::clock::ManualClock;
use serde_json::json;

use super::{Answer, CHECKOUT, FORM, basic, post, reveal, serve_oauth};
use crate::harness::pki::{Authority, Identity, Leaf, handshake, trusting};
use crate::harness::rotations::eventually;
use crate::harness::{Daemon, folder, start_time};

const OPERATOR: &str = "spiffe://example.org/operators/alice";
const BILLING: &str = "tenants/globex/clients/billing";
const GRANT: &str = "grant_type=client_credentials";

/// A daemon that is reached over TLS alone, with `acme` and `globex` and a client of each; that of `globex` is a verifier.
pub(super) struct Fort {
    pub daemon: Daemon,
    servers: Authority,
    clients: Authority,
    pub path: PathBuf,
    pub login: (String, String),
    pub verifier: (String, String),
    /// Of the client of `acme`.
    pub pool: String,
    _files: tempfile::TempDir,
}

impl Fort {
    async fn set(edit: impl FnOnce(&mut Config)) -> Self {
        Fort::set_at(Arc::new(ManualClock::new(start_time())), edit).await
    }

    pub async fn set_at(clock: Arc<dyn Clock>, edit: impl FnOnce(&mut Config)) -> Self {
        let (files, path) = folder();
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        let (certificate, key) = servers.issue(Leaf::server()).write(&path, "tls");
        std::fs::write(path.join("clients.pem"), clients.pem()).expect("written");
        std::fs::write(path.join("servers.pem"), servers.pem()).expect("written");
        let operator = clients.issue(Leaf::client().uri(OPERATOR));
        let grant = |caller: &str, role: &str| CallerGrant {
            caller: caller.to_owned(),
            role: Some(role.to_owned()),
            ..CallerGrant::default()
        };
        let authorities = path.join("clients.pem");
        let configure = |config: &mut Config| {
            (config.tls.certificate_file, config.tls.key_file) = (Some(certificate), Some(key));
            config.tls.client_ca_file = Some(authorities);
            config.callers.client_secrets = true;
            let domain = SpiffeDomain { trust_domain: "example.org".to_owned(), ..SpiffeDomain::default() };
            config.callers.spiffe = vec![domain];
            config.callers.grant = vec![
                grant("spiffe://example.org/operators/*", "operator"),
                grant("dns:gateway.internal", "verifier"),
                grant(&format!("client:{BILLING}"), "verifier"),
            ];
            serve_oauth(config);
            edit(config);
        };
        let reach = trusting(&servers, Some(&operator));
        let daemon = Daemon::start_with_tls(clock, reach, configure).await;
        daemon.put_orders_api().await;
        let (mut logins, mut pools) = (Vec::new(), Vec::new());
        for (tenant, client) in [("acme", "checkout"), ("globex", "billing")] {
            daemon.create_tenant(tenant).await;
            let made = daemon.create_client(tenant, client).await;
            logins.push((made.app_client_id, reveal(&daemon.channel, &made.name).await));
            pools.push(made.pool);
        }
        let [login, verifier] = logins.try_into().expect("two");
        Fort { daemon, servers, clients, path, login, verifier, pool: pools.remove(0), _files: files }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.daemon.oauth_address())
    }

    fn http(&self, identity: Option<&Identity>) -> reqwest::Client {
        self.http_of(&self.servers, identity)
    }

    fn http_of(&self, servers: &Authority, identity: Option<&Identity>) -> reqwest::Client {
        let authority = reqwest::Certificate::from_pem(servers.pem().as_bytes()).expect("a certificate");
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([authority]);
        let identity = identity.map(|identity| {
            let pem = format!("{}{}", identity.certificate_pem, identity.key_pem());
            reqwest::Identity::from_pem(pem.as_bytes()).expect("an identity")
        });
        let http = identity.into_iter().fold(http, |http, identity| http.identity(identity));
        http.build().expect("an HTTP client")
    }

    async fn post(&self, identity: Option<&Identity>, path: &str, authorization: Option<&str>, body: &str) -> Answer {
        let headers = authorization.iter().map(|value| ("authorization", *value)).chain([("content-type", FORM)]);
        post(&self.http(identity), &format!("{}{path}", self.url()), headers, body).await
    }
}

#[tokio::test]
async fn verifiers_introspect_by_certificate_and_by_secret_and_nobody_else_does() {
    let fort = Fort::set(|_| {}).await;
    let login = basic(&fort.login.0, &fort.login.1);
    let token = fort.post(None, "/oauth2/token", Some(&login), GRANT).await.token().to_owned();
    let question = format!("token={token}");
    let ask = async |identity: Option<&Identity>, authorization: Option<&str>| {
        fort.post(identity, "/oauth2/introspect", authorization, &question).await
    };
    let issue = |leaf: Leaf| fort.clients.issue(leaf);
    let verifier = basic(&fort.verifier.0, &fort.verifier.1);
    let gateway = issue(Leaf::client().dns("gateway.internal"));
    for (identity, authorization) in [(Some(&gateway), None), (None, Some(&*verifier))] {
        let answer = ask(identity, authorization).await;
        assert_eq!((answer.status, &answer.json["keyward_client"]), (200, &json!(CHECKOUT)), "{answer:?}");
    }
    let unknown = issue(Leaf::client().dns("laptop.internal"));
    for (identity, authorization, expected) in [
        (None, None, (401, "invalid_client")),
        (None, Some("Bearer a.b.c"), (401, "invalid_client")),
        (None, Some(&*basic(&fort.verifier.0, "wrong")), (401, "invalid_client")),
        (None, Some(&*login), (403, "unauthorized_client")),
        (Some(&unknown), None, (403, "unauthorized_client")),
        (Some(&gateway), Some(&*verifier), (400, "invalid_request")),
    ] {
        let answer = ask(identity, authorization).await;
        assert_eq!(answer.refusal(), expected, "{answer:?}");
        let is_challenged = answer.header("www-authenticate") == Some("Basic realm=\"keyward\", charset=\"UTF-8\"");
        assert_eq!(is_challenged, expected.0 == 401, "{answer:?}");
        assert!(answer.json.get("active").is_none());
    }
    let metadata = super::answer(fort.http(None).get(format!("{}/.well-known/oauth-authorization-server", fort.url())));
    let metadata = metadata.await.json;
    assert_eq!(metadata["issuer"], fort.url());
    assert_eq!(
        metadata["introspection_endpoint_auth_methods_supported"],
        json!(["client_secret_basic", "tls_client_auth"])
    );
    fort.daemon.stop().await;
}

#[tokio::test]
async fn at_the_token_endpoint_a_certificate_is_the_transports_and_the_secret_says_whose_token_it_is() {
    let fort = Fort::set(|config| config.tls.client_certificates = Demand::Required).await;
    let login = basic(&fort.login.0, &fort.login.1);
    let of_globex = fort.clients.issue(Leaf::client().uri("spiffe://example.org/tenants/globex/billing"));
    let answer = fort.post(Some(&of_globex), "/oauth2/token", Some(&login), GRANT).await;
    let told = fort.daemon.verify(answer.token()).await;
    let keyward::proto::verify_token_response::Verdict::Verified(verified) = told else { panic!("{told:?}") };
    assert_eq!(verified.client, CHECKOUT);
    let operator = fort.clients.issue(Leaf::client().uri(OPERATOR));
    let answer = fort.post(Some(&operator), "/oauth2/token", None, GRANT).await;
    assert_eq!(answer.refusal(), (400, "invalid_client"), "an operator's certificate is no client's secret");
    // Without a certificate there is not even a request.
    let asked = fort.http(None).get(fort.url()).send().await;
    assert!(asked.is_err(), "{asked:?}");
    fort.daemon.stop().await;
}

#[tokio::test]
async fn a_clients_secret_is_taken_at_the_token_endpoint_whether_or_not_it_is_elsewhere() {
    let fort = Fort::set(|config| config.callers.client_secrets = false).await;
    let login = basic(&fort.login.0, &fort.login.1);
    let token = fort.post(None, "/oauth2/token", Some(&login), GRANT).await.token().to_owned();
    let verifier = basic(&fort.verifier.0, &fort.verifier.1);
    let answer = fort.post(None, "/oauth2/introspect", Some(&verifier), &format!("token={token}")).await;
    assert_eq!(answer.refusal(), (401, "invalid_client"));
    fort.daemon.stop().await;
}

/// Introspection takes the proofs of gRPC, and counts as that does.
#[tokio::test]
async fn failures_count_together_whichever_door_they_come_by() {
    let fort = Fort::set(|config| config.limits.failures_per_second = 1).await;
    let wrong = basic(&fort.login.0, "wrong");
    for guess in 0..10 {
        let path = if guess % 2 == 0 { "/oauth2/token" } else { "/oauth2/introspect" };
        assert_eq!(fort.post(None, path, Some(&wrong), GRANT).await.status, 401, "{guess}");
    }
    for path in ["/oauth2/token", "/oauth2/introspect"] {
        let answer = fort.post(None, path, Some(&wrong), GRANT).await;
        assert_eq!(answer.refusal(), (429, "temporarily_unavailable"), "{path}");
    }
    fort.daemon.stop().await;
}

#[tokio::test]
async fn tls_is_that_of_grpc_but_for_the_protocol_in_it() {
    let clock = Arc::new(ManualClock::new(start_time()));
    let fort = Fort::set_at(clock.clone(), |_| {}).await;
    let address = fort.daemon.oauth_address();
    let speaks = async |protocols: &[&[u8]], versions: &[&'static rustls::SupportedProtocolVersion]| {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let mut config = crate::harness::pki::trusting_with(provider, versions, &fort.servers, None);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        match handshake(&address, config).await {
            Ok(stream) => Some(stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)),
            Err(_) => None,
        }
    };
    let newest: &[_] = &[&rustls::version::TLS13];
    assert_eq!(speaks(&[b"h2", b"http/1.1"], newest).await, Some(Some(b"http/1.1".to_vec())));
    assert_eq!(speaks(&[], newest).await, Some(None), "who knows no ALPN speaks HTTP/1.1");
    assert_eq!(speaks(&[b"h2"], newest).await, None);
    assert_eq!(speaks(&[b"http/1.1"], &[&rustls::version::TLS12]).await, None, "tls.min_version is 1.3");
    // Plaintext is not answered.
    let plain = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    assert!(plain.get(format!("http://{address}/.well-known/oauth-authorization-server")).send().await.is_err());

    // New certificates are taken as gRPC takes them.
    let others = Authority::new("other servers");
    others.issue(Leaf::server()).write(&fort.path, "tls");
    let metadata = format!("{}/.well-known/oauth-authorization-server", fort.url());
    eventually("the new certificate is shown", || async {
        clock.advance(std::time::Duration::from_secs(10));
        fort.http_of(&others, None).get(&metadata).send().await.is_ok()
    })
    .await;
    fort.daemon.stop().await;
}
