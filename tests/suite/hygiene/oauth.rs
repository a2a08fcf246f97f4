//! Logins and tokens that pass the OAuth 2.0 front, good and bad, on a program that logs all it can.

use keyward::proto::Isolation;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::{self};

use super::needles::Needles;
use super::{assert_clean, assert_files_are_clean};
use crate::harness::{Binary, create_client, create_tenant, events, folder, put_orders_api};

const ORDERS: &str = "tenants/acme/clients/orders";
const GRANT: &str = "grant_type=client_credentials";

#[tokio::test(flavor = "multi_thread")]
async fn no_login_and_no_token_is_in_a_log_an_error_an_event_or_a_file() {
    let (_folder, path) = folder();
    keyward::embedded::MasterKey::generate_file(&path.join("master.key")).expect("a master key");
    let config = format!(
        "listen = '127.0.0.1:0'\ndata_dir = '{0}/data'\nembedded.master_key_file = '{0}/master.key'\n\
         oauth.listen = '127.0.0.1:0'\naudit.file = '{0}/audit.jsonl'\nsecrets.reveal = true\n\
         limits.failures_per_second = 1000\ncallers.trust_loopback = true\n",
        path.display()
    );
    std::fs::write(path.join("keyward.toml"), config).expect("written");
    let mut command = Binary::command();
    command.args(["serve", "--config"]).arg(path.join("keyward.toml")).env("RUST_LOG", "trace");
    let broker = Binary::start(&mut command);
    let said = "serving OAuth 2.0 on ";
    let log = broker.logs(said).await;
    let address = log.split_once(said).expect("said").1.split_whitespace().next().expect("an address").to_owned();

    let channel = broker.channel().await;
    put_orders_api(&channel).await;
    create_tenant(&channel, "acme", Isolation::AppClient).await;
    let id = create_client(&channel, "acme", "orders").await.app_client_id;
    let request = proto::RevealClientSecretRequest { name: ORDERS.to_owned(), reason: "a look".to_owned() };
    let secret = ClientServiceClient::new(channel.clone()).reveal_client_secret(request).await.expect("revealed");
    let secret = secret.into_inner().client_secret;
    let wrong: String = secret.chars().rev().collect();

    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let post = async |path: &str, login: Option<&str>, body: String| {
        let request = http.post(format!("http://{address}{path}")).body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = match login {
            Some(secret) => request.basic_auth(&id, Some(secret)),
            None => request,
        };
        let answer = request.send().await.expect("answered");
        (answer.status().as_u16(), answer.text().await.expect("read"))
    };
    let (status, given) = post("/oauth2/token", Some(&secret), GRANT.to_owned()).await;
    assert_eq!(status, 200, "{given}");
    let given: serde_json::Value = serde_json::from_str(&given).expect("JSON");
    let token = given["access_token"].as_str().expect("a token").to_owned();
    let (status, told) = post("/oauth2/introspect", None, format!("token={token}")).await;
    assert!(status == 200 && !told.contains(&token), "{told}");

    let mut refusals = Vec::new();
    for (path, login, body) in [
        ("/oauth2/token", Some(&wrong), GRANT.to_owned()),
        ("/oauth2/token", Some(&secret), format!("{GRANT}&client_secret={secret}")),
        ("/oauth2/token", None, format!("{GRANT}&client_id={id}&client_secret={wrong}")),
        ("/oauth2/token", None, format!("{GRANT}&client_id={id}&client_secret={secret}&scope={secret}")),
        ("/oauth2/token", None, format!("{GRANT}&{secret}=%&client_secret={secret}")),
        ("/oauth2/introspect", None, format!("token={token}&token={token}")),
        (&format!("/oauth2/token?client_secret={secret}"), None, GRANT.to_owned()),
        (&format!("/{secret}/{token}"), None, String::new()),
    ] {
        let (status, told) = post(path, login.map(String::as_str), body).await;
        assert!((400..500).contains(&status), "{told}");
        refusals.push(told);
    }

    let mut needles = Needles::default();
    [&secret, &wrong].iter().for_each(|secret| needles.add_secret(secret));
    needles.add_token(&token);
    for told in &refusals {
        assert_clean(&needles, "a refusal", told.as_bytes());
    }
    assert_clean(&needles, "an event", format!("{:?}", events(&channel).await).as_bytes());
    assert_clean(&needles, "the audit file", &std::fs::read(path.join("audit.jsonl")).expect("the audit file"));
    assert_files_are_clean(&needles, &path.join("data"));
    drop(channel);
    broker.signal("TERM");
    let (status, log) = broker.wait();
    assert!(status.success(), "{log}");
    assert!(log.contains("oauth2/token") && log.contains("invalid_client"), "{log}");
    for line in log.lines() {
        assert_eq!(needles.first_in(line.as_bytes()), None, "in a log line about {line:.120}");
    }
}
