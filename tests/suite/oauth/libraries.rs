//! The front as libraries see it that know nothing of Keyward, over TLS: Python's Authlib and requests-oauthlib, Node's
//! openid-client and AWS's own aws-jwt-verify, which takes our tokens for Cognito's.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use keyward::runtime::clock::SystemClock;
use serde_json::{Value, json};

use super::CHECKOUT;
use super::proofs::Fort;
use crate::harness::SCOPES;
use crate::peers::{node_packages, python};

const REGION: &str = "eu-central-1";
const PACKAGE: &str = include_str!("libraries/package.json");
const LOCK: &str = include_str!("libraries/package-lock.json");
const REQUIREMENTS: &str = include_str!("libraries/requirements.txt");

/// A broker whose pools have the issuers that Cognito's would have.
async fn fort() -> Fort {
    // The libraries look at a clock, too.
    Fort::set_at(Arc::new(SystemClock), |config| {
        config.embedded.region = REGION.to_owned();
        config.embedded.issuer_base = format!("https://cognito-idp.{REGION}.amazonaws.com");
    })
    .await
}

/// What a script needs to know.
fn setting(fort: &Fort) -> Value {
    json!({
        "url": fort.url(), "pool": fort.pool, "authority": fort.path.join("servers.pem"), "scopes": SCOPES,
        "client_id": fort.login.0, "client_secret": fort.login.1,
        "verifier_id": fort.verifier.0, "verifier_secret": fort.verifier.1,
        "client": CHECKOUT,
    })
}

/// What a script says at its end, as JSON. The setting comes by standard input, since it has secrets.
async fn run(mut command: Command, setting: Value) -> Value {
    let run = move || {
        use std::io::Write as _;
        use std::process::Stdio;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        child.stdin.take().expect("piped").write_all(setting.to_string().as_bytes()).expect("told");
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command:?} failed:\n{said}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}:\n{said}"))
    };
    tokio::task::spawn_blocking(run).await.expect("no panic")
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/oauth/libraries").join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn authlib_and_requests_oauthlib_get_tokens_and_authlib_introspects_them() {
    let fort = fort().await;
    let interpreter = tokio::task::spawn_blocking(|| python("oauth", REQUIREMENTS)).await.expect("provisioned");
    let mut command = Command::new(interpreter);
    command.arg(script("clients.py"));
    let held = fort.daemon.token(CHECKOUT).await.access_token;
    let told = run(command, setting(&fort)).await;
    for way in ["authlib_basic", "authlib_post", "requests_oauthlib_basic", "requests_oauthlib_post"] {
        assert_eq!(told[way]["access_token"], held, "{way}");
        assert_eq!(told[way]["token_type"], "Bearer", "{way}");
    }
    assert_eq!(told["authlib_introspected"]["keyward_client"], CHECKOUT);
    assert_eq!(told["authlib_of_nonsense"], json!({ "active": false }));
    assert_eq!(told["authlib_narrowed"], "orders/read");
    assert_eq!(
        told["refusals"],
        json!({
            "authlib_secret": "invalid_client", "authlib_scope": "invalid_scope",
            "requests_oauthlib_secret": "InvalidClientError", "requests_oauthlib_scope": "InvalidScopeError",
        })
    );
    fort.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openid_client_finds_the_endpoints_and_aws_jwt_verify_takes_the_token_for_cognitos() {
    let fort = fort().await;
    let packages = tokio::task::spawn_blocking(|| node_packages("oauth-node", PACKAGE, LOCK, &script("clients.mjs")));
    let program = packages.await.expect("provisioned");
    let held = fort.daemon.token(CHECKOUT).await.access_token;
    let mut command = Command::new("node");
    command.arg(program).env("NODE_EXTRA_CA_CERTS", fort.path.join("servers.pem"));
    let told = run(command, setting(&fort)).await;
    assert_eq!(told["issuer"], fort.url());
    for way in ["basic", "post"] {
        assert_eq!(told[way]["access_token"], held, "{way}");
        assert_eq!(told[way]["token_type"], "bearer", "it writes that in its own way: {way}");
    }
    assert_eq!(told["introspected"]["keyward_client"], CHECKOUT);
    assert_eq!(told["of_nonsense"], json!({ "active": false }));
    assert_eq!(told["refusals"], json!({ "secret": "invalid_client", "scope": "invalid_scope" }));
    let verified = &told["verified"];
    assert_eq!((&verified["client_id"], &verified["scope"]), (&json!(fort.login.0), &json!(SCOPES.join(" "))));
    assert_eq!(
        told["not_verified"],
        json!({
            "changed": "JwtInvalidSignatureError", "of_another_pool": "ParameterValidationError",
            "of_another_client": "CognitoJwtInvalidClientIdError", "for_another_scope": "JwtInvalidScopeError",
        })
    );
    fort.daemon.stop().await;
}
