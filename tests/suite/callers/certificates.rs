//! Client certificates, as a connection has verified them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use keyward::broker::background::Background;
use keyward::callers::{Callers, Options, SpiffeOptions};
use keyward::domain::caller::Role;
use keyward::domain::error::Reason;
use keyward::domain::grant::{Grant, Grants};
use keyward::domain::spiffe::TrustDomain;
use keyward::net::{Connection, Source};
use keyward::runtime::clock::ManualClock;
use tokio_util::task::TaskTracker;

use super::told;
use crate::harness::pki::{Authority, DNS_NAME, Leaf, URI};
use crate::harness::start_time;

const ORDERS: &str = "spiffe://example.org/tenants/acme/orders";

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(start_time()))
}

fn callers(clock: Arc<ManualClock>) -> Callers {
    let grant = |caller, role| Grant::new(caller, role, None, None).expect(caller);
    let options = Options {
        spiffe: vec![SpiffeOptions {
            trust_domain: TrustDomain::parse("example.org").expect("a domain"),
            has_own_authorities: false,
            jwt: None,
        }],
        grants: Grants::new(vec![
            grant("spiffe://example.org/tenants/{tenant}/{client}", None),
            grant("dns:verifier.svc", Some("verifier")),
        ]),
        ..Options::default()
    };
    Callers::by_proof(options, None, clock, Background::here(TaskTracker::new())).expect("callers")
}

fn connection(leaf: Leaf) -> Connection {
    let source = Source::Tcp(SocketAddr::from(([192, 0, 2, 1], 1)));
    Connection::new(source, vec![Authority::new("clients").issue(leaf).der().to_vec()])
}

#[tokio::test]
async fn a_certificate_is_a_caller_until_it_expires() {
    let clock = clock();
    let callers = callers(clock.clone());
    let end = start_time() + Duration::from_secs(60);
    let connection = connection(Leaf::client().uri(ORDERS).dns("orders.svc").valid(Timestamp::UNIX_EPOCH, end));
    let caller = callers.resolve(Some(&connection), &[]).await.expect("a caller");
    assert_eq!(caller.principal.to_string(), ORDERS);
    assert_eq!(caller.tenant.as_ref().map(|id| id.as_str()), Some("acme"));
    assert_eq!((caller.client.as_ref().map(|id| id.as_str()), caller.valid_until), (Some("orders"), Some(end)));
    let again = callers.resolve(Some(&connection.clone()), &[]).await.expect("a caller");
    assert!(Arc::ptr_eq(&caller, &again), "a certificate is read once for each connection");
    clock.advance(Duration::from_secs(60));
    let error = callers.resolve(Some(&connection), &[]).await.expect_err("expired");
    assert_eq!((error.reason(), error.message()), (Reason::CredentialsInvalid, "the client certificate has expired"));
}

#[tokio::test]
async fn a_host_is_a_caller_too() {
    let callers = callers(clock());
    let caller = callers.resolve(Some(&connection(Leaf::client().dns("verifier.svc"))), &[]).await.expect("a caller");
    assert_eq!(
        (caller.principal.to_string().as_str(), caller.roles.as_slice()),
        ("dns:verifier.svc", &[Role::Verifier][..])
    );
}

#[tokio::test]
async fn strange_names_are_refused() {
    let callers = callers(clock());
    let invalid = Err(Reason::CredentialsInvalid);
    let ambiguous = Err(Reason::CredentialsAmbiguous);
    for (leaf, expected) in [
        (Leaf::client(), &invalid),
        (Leaf::client().uri("spiffe://example.com/tenants/acme/orders"), &invalid),
        (Leaf::client().uri("spiffe://example.com/tenants/acme/orders").dns("verifier.svc"), &invalid),
        (Leaf::client().name(URI, b"spiffe://example.org/tenants/acme\0/orders"), &invalid),
        (Leaf::client().name(URI, b"spiffe://example.org\0.example.com/tenants/acme/orders"), &invalid),
        (Leaf::client().name(URI, [b"spiffe://example.org/".as_slice(), &[0xff]].concat()), &invalid),
        (Leaf::client().name(URI, "spiffe://example.org/\u{0430}cme"), &invalid),
        (Leaf::client().name(DNS_NAME, b"verifier.svc\0.evil.example"), &invalid),
        (Leaf::client().dns("Verifier.svc"), &invalid),
        (Leaf::client().dns("*.svc"), &invalid),
        (Leaf::client().uri(ORDERS).uri("spiffe://example.org/tenants/acme/other"), &ambiguous),
        (Leaf::client().dns("verifier.svc").dns("other.svc"), &ambiguous),
    ] {
        assert_eq!(&told(callers.resolve(Some(&connection(leaf)), &[]).await), expected);
    }
    let server = Leaf::server();
    assert_eq!(told(callers.resolve(Some(&connection(server)), &[]).await), invalid, "a server's is not a client's");
}

/// Who has a certificate that names them and a header as well is two. A certificate that names nobody is only the transport's.
#[tokio::test]
async fn a_certificate_and_a_header_are_two_credentials_unless_it_names_nobody() {
    let callers = callers(clock());
    let with = async |leaf: Leaf, header: &[u8]| told(callers.resolve(Some(&connection(leaf)), &[header]).await);
    let ambiguous = Err(Reason::CredentialsAmbiguous);
    assert_eq!(with(Leaf::client().uri(ORDERS), b"Bearer a.b.c").await, ambiguous);
    assert_eq!(with(Leaf::client().dns("nobody.svc"), b"Basic YTpi").await, ambiguous);
    assert_eq!(with(Leaf::client().uri("spiffe://example.com/x"), b"Bearer a.b.c").await, ambiguous);
    let error = callers.resolve(Some(&connection(Leaf::client())), &[b"Bearer a.b.c"]).await.expect_err("not a token");
    assert!(error.message().starts_with("the token cannot be accepted"), "{error}: the header was not looked at");
}
