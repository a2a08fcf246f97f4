//! People who want to sign in, at the page and by `MatchTenant`, on a program that logs all it can.

use keyward::proto;
use keyward::proto::match_tenant_request::Hint;
use keyward::proto::tenant_service_client::TenantServiceClient;

use super::needles::Needles;
use super::{assert_clean, assert_files_are_clean};
use crate::harness::{Binary, events, folder};

const ADDRESS: &str = "ann.example.of.nowhere@unheard-of-company.example";
const STATE: &str = "the-state-of-the-application-0123456789";

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_to_sign_in_is_in_no_log_no_event_and_no_file() {
    let (_folder, path) = folder();
    keyward::embedded::MasterKey::generate_file(&path.join("master.key")).expect("a master key");
    let config = format!(
        "listen = '127.0.0.1:0'\ndata_dir = '{0}/data'\nembedded.master_key_file = '{0}/master.key'\n\
         oauth.listen = '127.0.0.1:0'\noauth.login.enabled = true\naudit.file = '{0}/audit.jsonl'\n\
         sign_in.fallback_url = 'https://signin.keyward.test/'\ncallers.trust_loopback = true\n",
        path.display()
    );
    std::fs::write(path.join("keyward.toml"), config).expect("written");
    let mut command = Binary::command();
    command.args(["serve", "--config"]).arg(path.join("keyward.toml")).env("RUST_LOG", "trace");
    let broker = Binary::start(&mut command);
    let said = "serving OAuth 2.0 on ";
    let log = broker.logs(said).await;
    let address = log.split_once(said).expect("said").1.split_whitespace().next().expect("an address").to_owned();

    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
    let http = http.expect("an HTTP client");
    let page = http.get(format!("http://{address}/login?state={STATE}")).send().await.expect("answered");
    assert_eq!(page.status().as_u16(), 200);
    let post = async |body: String| {
        let request =
            http.post(format!("http://{address}/login")).header("content-type", "application/x-www-form-urlencoded");
        request.body(body).send().await.expect("answered").status().as_u16()
    };
    assert_eq!(post(format!("email={ADDRESS}&state={STATE}")).await, 303);
    assert_eq!(post(format!("email={ADDRESS}&state={STATE}&code_challenge=short")).await, 400);
    assert_eq!(post(format!("email={ADDRESS}%&state={STATE}")).await, 400);

    let channel = broker.channel().await;
    let ask = async |email: String| {
        let request =
            proto::MatchTenantRequest { hint: Some(Hint::Email(email)), state: STATE.to_owned(), ..Default::default() };
        TenantServiceClient::new(channel.clone()).match_tenant(request).await
    };
    ask(ADDRESS.to_owned()).await.expect("answered");
    let refused = ask(format!("{ADDRESS}..")).await.expect_err("malformed");

    let mut needles = Needles::default();
    needles.add_secret(ADDRESS);
    needles.add_secret(STATE);
    assert_clean(&needles, "a refusal", format!("{refused:?}").as_bytes());
    assert_clean(&needles, "an event", format!("{:?}", events(&channel).await).as_bytes());
    assert_clean(&needles, "the audit file", &std::fs::read(path.join("audit.jsonl")).expect("the audit file"));
    assert_files_are_clean(&needles, &path.join("data"));
    drop(channel);
    broker.signal("TERM");
    let (status, log) = broker.wait();
    assert!(status.success(), "{log}");
    assert!(log.contains("login") && log.contains("TenantService/MatchTenant"), "{log}");
    for line in log.lines() {
        assert_eq!(needles.first_in(line.as_bytes()), None, "in a log line about {line:.120}");
    }
}
