//! Trust domains with authorities of their own: each names its own workloads and nobody else. The real program, over TLS.

use std::path::Path;

use keyward::proto;
use keyward::proto::verify_token_response::Verdict;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::assert_refused;
use crate::harness::pki::{Authority, Leaf, connect_tls, trusting};
use crate::harness::{Binary, create_client, create_tenant, folder, put_orders_api, token, verify};

const ALICE: &str = "spiffe://a.example/operators/alice";
const ORDERS: &str = "spiffe://b.example/acme/orders";
const CLIENT: &str = "tenants/acme/clients/orders";

/// The authorities of `a.example`, of `b.example`, and of no trust domain. Their certificates are called the same, so only
/// their keys tell them apart.
struct Platform {
    servers: Authority,
    a: Authority,
    b: Authority,
    common: Authority,
    address: String,
}

impl Platform {
    fn start(path: &Path) -> (Self, Binary) {
        let authority = || Authority::new("authority");
        let (servers, a, b, common) = (authority(), authority(), authority(), authority());
        servers.issue(Leaf::server()).write(path, "tls");
        for (name, authority) in [("a", &a), ("b", &b), ("common", &common)] {
            std::fs::write(path.join(format!("{name}.pem")), authority.pem()).expect("written");
        }
        let bundle = |name: &str| format!("x509_bundle_file = '{}/{name}.pem'", path.display());
        let ca = format!("client_ca_file = '{}/common.pem'", path.display());
        let broker = Binary::start(serve(path, &ca, &bundle("a"), &bundle("b")).env_remove("RUST_LOG"));
        (Platform { servers, a, b, common, address: broker.address.clone() }, broker)
    }

    /// Fails for a connection that is not accepted.
    async fn connect(&self, by: &Authority, leaf: Leaf) -> Channel {
        let identity = by.issue(leaf);
        connect_tls(&self.address, trusting(&self.servers, Some(&identity))).await.expect("connected")
    }

    async fn token_as(&self, by: &Authority, uri: &str) -> Result<proto::AccessToken, Status> {
        token(&self.connect(by, Leaf::client().uri(uri)).await, CLIENT).await
    }
}

fn serve(path: &Path, client_ca: &str, bundle_of_a: &str, bundle_of_b: &str) -> std::process::Command {
    let key = path.join("master.key");
    if !key.exists() {
        keyward::embedded::MasterKey::generate_file(&key).expect("a master key");
    }
    let config = format!(
        "listen = '127.0.0.1:0'\ndata_dir = '{0}/data'\nembedded.master_key_file = '{0}/master.key'\n\
         [tls]\ncertificate_file = '{0}/tls.crt'\nkey_file = '{0}/tls.key'\n{client_ca}\n\
         client_certificates = 'required'\nreload_interval = '1s'\n\
         [[callers.spiffe]]\ntrust_domain = 'a.example'\n{bundle_of_a}\n\
         [[callers.spiffe]]\ntrust_domain = 'b.example'\n{bundle_of_b}\n\
         [[callers.grant]]\ncaller = 'spiffe://a.example/operators/*'\nrole = 'operator'\n\
         [[callers.grant]]\ncaller = 'spiffe://b.example/{{tenant}}/{{client}}'\n\
         [[callers.grant]]\ncaller = 'dns:gateway.internal'\nrole = 'verifier'\n",
        path.display()
    );
    std::fs::write(path.join("keyward.toml"), config).expect("written");
    let mut command = Binary::command();
    command.args(["serve", "--config"]).arg(path.join("keyward.toml"));
    command
}

async fn acme(operator: &Channel) {
    put_orders_api(operator).await;
    create_tenant(operator, "acme", proto::Isolation::AppClient).await;
    create_client(operator, "acme", "orders").await;
}

fn assert_invalid<T: std::fmt::Debug>(answer: Result<T, Status>) {
    assert_refused(answer, Code::Unauthenticated, "CREDENTIALS_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_name_workloads_of_their_own_trust_domain_alone() {
    let (_folder, path) = folder();
    let (platform, _broker) = Platform::start(&path);
    let Platform { a, b, common, .. } = &platform;
    acme(&platform.connect(a, Leaf::client().uri(ALICE)).await).await;
    let own = platform.token_as(b, ORDERS).await.expect("its own token");

    for (by, uri) in [(b, ALICE), (common, ALICE), (a, ORDERS), (common, ORDERS)] {
        assert_invalid(platform.token_as(by, uri).await);
    }
    let gateway = |by| platform.connect(by, Leaf::client().dns("gateway.internal"));
    let Verdict::Verified(verified) = verify(&gateway(common).await, &own.access_token).await else {
        panic!("a good token");
    };
    assert_eq!(verified.client, CLIENT);
    assert_refused(token(&gateway(common).await, CLIENT).await, Code::PermissionDenied, "PERMISSION_DENIED");
    for by in [a, b] {
        assert_invalid(token(&gateway(by).await, CLIENT).await);
    }

    // Whom none of them knows does not get as far as to a call.
    let stranger = Authority::new("authority").issue(Leaf::client().uri(ALICE));
    let refused = match connect_tls(&platform.address, trusting(&platform.servers, Some(&stranger))).await {
        Ok(channel) => token(&channel, CLIENT).await.is_err_and(|status| status.code() != Code::Unauthenticated),
        Err(_refused) => true,
    };
    assert!(refused, "an authority that nobody named is believed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_changes_changes_its_own_trust_domain() {
    let (_folder, path) = folder();
    let (platform, broker) = Platform::start(&path);
    let Platform { a, b, .. } = &platform;
    let operator = platform.connect(a, Leaf::client().uri(ALICE)).await;
    acme(&operator).await;
    let next = Authority::new("authority");

    // What cannot be used changes nothing.
    std::fs::write(path.join("a.pem"), "no PEM").expect("written");
    let log = broker.logs("cannot be used; those from before stay in use").await;
    assert!(log.contains("a.pem: holds no certificate in PEM"), "{log}");
    platform.token_as(a, ALICE).await.expect("as before");

    std::fs::write(path.join("a.pem"), next.pem()).expect("written");
    broker.logs("new connections get the certificates that are in the files now").await;
    platform.token_as(&next, ALICE).await.expect("an operator of the new authority");
    platform.token_as(b, ORDERS).await.expect("the other trust domain is as it was");
    assert_invalid(platform.token_as(&next, ORDERS).await);
    token(&operator, CLIENT).await.expect("a connection that stands goes on");
    let old = a.issue(Leaf::client().uri(ALICE));
    match connect_tls(&platform.address, trusting(&platform.servers, Some(&old))).await {
        Ok(channel) => assert!(token(&channel, CLIENT).await.is_err(), "the old authority is still believed"),
        Err(_refused) => {}
    }
}

#[test]
fn of_several_trust_domains_each_must_have_its_own() {
    let (_folder, path) = folder();
    let ca = format!("client_ca_file = '{}/common.pem'", path.display());
    let bundle = format!("x509_bundle_file = '{}/a.pem'", path.display());
    for (client_ca, of_a, of_b, at) in
        [(ca.as_str(), "", "", 0), (&ca, &bundle, "", 1), ("", &bundle, "", 1), (&ca, "", &bundle, 0)]
    {
        let output = serve(&path, client_ca, of_a, of_b).output().expect("keyward runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        let expected =
            format!("callers.spiffe[{at}].x509_bundle_file: must be set, since there is more than one trust domain");
        assert!(told.contains(&expected), "{told}");
        assert!(!path.join("data").exists(), "something was started");
    }
}
