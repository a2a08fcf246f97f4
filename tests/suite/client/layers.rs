//! The tower layers: what a request that goes out bears, and what becomes of one that comes in.

use std::convert::Infallible;
use std::time::Duration;

use keyward::client::{
    BearerLayer, Connection, Demand, Identity, NoToken, TokenRequest, TokenSource, Verifier, VerifierOptions,
    VerifyLayer,
};
use tonic::codegen::http::{HeaderMap, Request, Response};
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::{clock, patient_stage, until, verifier};

/// A server that says whose token it was shown.
async fn whose(request: Request<()>) -> Result<Response<String>, Infallible> {
    let identity = request.extensions().get::<Identity>().expect("somebody");
    Ok(Response::new(identity.client.to_string()))
}

#[tokio::test]
async fn a_request_with_a_good_token_comes_through_and_says_whose_it_is() {
    let stage = patient_stage().await;
    let verifier = verifier(&stage.daemon.channel, clock(&stage.clock)).await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    let ask = async |values: &[String], scopes: &[&str]| {
        let layer = VerifyLayer::new(verifier.clone(), Demand::scopes(scopes).expect("scopes"));
        let mut request = Request::new(());
        for value in values {
            request.headers_mut().append("authorization", value.parse().expect("a header"));
        }
        let response = layer.layer(service_fn(whose)).oneshot(request).await.expect("an answer");
        let said = |headers: &HeaderMap, name: &str| {
            headers.get(name).map(|value| value.to_str().expect("text").to_owned()).unwrap_or_default()
        };
        let challenge = said(response.headers(), "www-authenticate");
        (response.status().as_u16(), challenge, said(response.headers(), "retry-after"), response.into_body())
    };
    let none = String::new;
    let bearer = format!("Bearer {token}");
    let good = (200, none(), none(), stage.client.name.clone());
    assert_eq!(ask(std::slice::from_ref(&bearer), &["orders/read"]).await, good);
    for (values, scopes, status, challenge) in [
        (vec![], &[][..], 401, "Bearer"),
        (vec![format!("Basic {token}")], &[], 401, "Bearer"),
        (vec![bearer.clone(), bearer.clone()], &[], 401, "Bearer"),
        (vec![format!("{bearer}x")], &[], 401, "Bearer error=\"invalid_token\""),
        (vec![bearer.clone()], &["orders/delete"], 403, "Bearer error=\"insufficient_scope\""),
    ] {
        let answer = (status, challenge.to_owned(), none(), none());
        assert_eq!(ask(&values, scopes).await, answer, "{} headers, {scopes:?}", values.len());
    }

    // One that has heard nothing, since nobody is there.
    let nobody = tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
    let deaf = Verifier::start(Connection::new(nobody), VerifierOptions::default());
    let layer = VerifyLayer::new(deaf, Demand::default());
    let request = Request::builder().header("authorization", bearer).body(()).expect("a request");
    let response = layer.layer(service_fn(whose)).oneshot(request).await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
    drop(verifier);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_request_goes_out_with_the_token_of_the_moment_or_not_at_all() {
    let stage = patient_stage().await;
    let request = TokenRequest { wait: Duration::from_millis(50), ..TokenRequest::new(&stage.client.name) };
    let source = |request: TokenRequest| {
        TokenSource::start_with(Connection::new(stage.daemon.channel.clone()), request, clock(&stage.clock))
    };
    let sent = service_fn(|request: Request<()>| async move {
        let values: Vec<_> = request.headers().get_all("authorization").iter().cloned().collect();
        Ok::<_, Infallible>(values)
    });
    let good = source(request.clone());
    until(async || good.current().is_some()).await;
    let token = good.token().await.expect("a token");
    let mut outgoing = Request::new(());
    outgoing.headers_mut().insert("authorization", "Basic abc".parse().expect("a header"));
    let values = BearerLayer::new(good).layer(sent).oneshot(outgoing).await.expect("sent");
    assert_eq!(values, [format!("Bearer {}", token.expose())]);
    assert!(values[0].is_sensitive());

    let unknown = source(TokenRequest { client: "tenants/acme/clients/nobody".to_owned(), ..request });
    let error = BearerLayer::new(unknown).layer(sent).oneshot(Request::new(())).await.expect_err("no token");
    assert!(error.downcast_ref::<NoToken>().is_some(), "{error}");
    stage.daemon.stop().await;
}
