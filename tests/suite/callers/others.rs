//! Unix users, and tenants' clients by their own secrets.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward::broker::background::Background;
use keyward::callers::{Callers, ClientSecrets, Options};
use keyward::domain::error::{Error, Reason};
use keyward::domain::grant::{Grant, Grants};
use keyward::domain::id::ClientName;
use keyward::net::{Connection, Source};
use keyward::runtime::clock::ManualClock;
use tokio_util::task::TaskTracker;

use super::told;
use crate::harness::start_time;

fn unix(uid: u32) -> Connection {
    Connection::new(Source::Unix { uid, gid: 1, pid: Some(1) }, Vec::new())
}

fn basic(pair: &str) -> Vec<u8> {
    format!("Basic {}", STANDARD.encode(pair)).into_bytes()
}

/// One client with one secret, and an id of which nobody can tell.
struct One;

#[async_trait]
impl ClientSecrets for One {
    async fn check(&self, id: &str, secret: &str) -> keyward::domain::Result<Option<ClientName>> {
        match (id, secret) {
            ("1h57kf5cpq17m0eml12EXAMPLE", "se+cret") => {
                ClientName::parse("name", "tenants/acme/clients/orders").map(Some)
            }
            ("lost", _) => Err(Error::new(Reason::VaultUnavailable, "the vault does not answer")),
            _ => Ok(None),
        }
    }
}

fn callers(options: Options, secrets: Option<Arc<dyn ClientSecrets>>) -> Callers {
    let clock = Arc::new(ManualClock::new(start_time()));
    Callers::by_proof(options, secrets, clock, Background::here(TaskTracker::new())).expect("callers")
}

#[tokio::test]
async fn a_unix_user_is_a_caller_where_the_configuration_says_so() {
    let granted = Grants::new(vec![Grant::new("unix:1000", Some("operator"), None, None).expect("a grant")]);
    let on = callers(Options { unix: true, grants: granted.clone(), ..Options::default() }, None);
    let off = callers(Options { grants: granted, ..Options::default() }, None);
    let eve = on.resolve(Some(&unix(1000)), &[]).await.expect("a caller");
    assert_eq!((eve.principal.to_string().as_str(), eve.roles.len()), ("unix:1000", 1));
    let root = on.resolve(Some(&unix(0)), &[]).await.expect("a caller");
    assert_eq!(
        (root.principal.to_string().as_str(), root.roles.len()),
        ("unix:0", 0),
        "nobody is anything by themselves"
    );
    assert_eq!(told(off.resolve(Some(&unix(1000)), &[]).await), Err(Reason::CredentialsMissing));
    assert_eq!(told(on.resolve(None, &[]).await), Err(Reason::CredentialsMissing));
    assert_eq!(told(on.resolve(Some(&unix(1000)), &[b"Bearer a.b.c"]).await), Err(Reason::CredentialsAmbiguous));
    assert_eq!(told(off.resolve(Some(&unix(1000)), &[b"Bearer a.b.c"]).await), Err(Reason::CredentialsInvalid));
}

#[tokio::test]
async fn a_tenants_client_is_itself_by_its_own_secret() {
    let on = callers(Options::default(), Some(Arc::new(One)));
    let off = callers(Options::default(), None);
    let good = basic("1h57kf5cpq17m0eml12EXAMPLE:se%2Bcret");
    let caller = on.resolve(None, &[&good]).await.expect("a caller");
    assert_eq!(caller.principal.to_string(), "client:tenants/acme/clients/orders");
    assert_eq!(caller.tenant.as_ref().map(|id| id.as_str()), Some("acme"));
    assert_eq!((caller.client.as_ref().map(|id| id.as_str()), caller.roles.len()), (Some("orders"), 0));
    assert_eq!(told(off.resolve(None, &[&good]).await), Err(Reason::CredentialsInvalid));

    let refused = async |value: &[u8]| on.resolve(None, &[value]).await.expect_err("refused");
    let mut messages = Vec::new();
    on.resolve(None, &[&basic("1h57kf5cpq17m0eml12EXAMPLE:se+cret")]).await.expect("as many libraries write it");
    for pair in
        ["1h57kf5cpq17m0eml12EXAMPLE:other", "nobody:se%2Bcret", "1h57kf5cpq17m0eml12EXAMPLE:se%20cret", "x", ":"]
    {
        let error = refused(&basic(pair)).await;
        assert_eq!(error.reason(), Reason::CredentialsInvalid, "{pair}");
        messages.push(error.message().to_owned());
    }
    messages.dedup();
    assert_eq!(messages.len(), 1, "what was wrong is told: {messages:?}");
    assert_eq!(refused(&basic("lost:x")).await.reason(), Reason::VaultUnavailable, "that is no refusal");
    assert_eq!(refused(b"Basic ****").await.reason(), Reason::CredentialsInvalid);
    assert_eq!(refused(b"Basic \xff").await.reason(), Reason::CredentialsInvalid);
}
