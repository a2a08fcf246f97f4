//! The AWS backend: its credentials, clients' secrets and tokens are neither in the data folder nor in a log.

use std::sync::Arc;

use keyward::aws::Credentials;
use keyward::runtime::clock::SystemClock;

use super::life::live;
use super::needles::Needles;
use super::{assert_clean, assert_files_are_clean, assert_life_is_clean};
use crate::fake::{Fake, OTHER_REGION, REGION};
use crate::harness::{Binary, folder};

#[tokio::test(flavor = "multi_thread")]
async fn on_aws_nothing_is_given_away_at_trace_and_no_secret_is_in_the_data_folder() {
    let (_folder, path) = folder();
    let fake = Fake::start(Arc::new(SystemClock)).await;
    let Credentials::Fixed { access_key_id, secret_access_key } = fake.credentials() else {
        panic!("the fake knows one pair");
    };
    let (data, endpoint) = (path.join("data"), fake.endpoint());
    let config = format!(
        "listen = '127.0.0.1:0'\nbackend = 'aws'\ndata_dir = {data:?}\ncallers.trust_loopback = true\n\
         secrets.reveal = true\n[aws]\nregion = '{REGION}'\nregions = ['{OTHER_REGION}']\n\
         [aws.endpoints]\ncognito = '{endpoint}'\nsecrets_manager = '{endpoint}'\ntoken = '{endpoint}/oauth2/token'\n\
         jwks = '{endpoint}/{{user_pool}}/.well-known/jwks.json'\n",
    );
    std::fs::write(path.join("keyward.toml"), config).expect("written");
    let mut command = Binary::command();
    command.args(["serve", "--config"]).arg(path.join("keyward.toml")).env("RUST_LOG", "trace");
    command.env("AWS_ACCESS_KEY_ID", access_key_id).env("AWS_SECRET_ACCESS_KEY", &secret_access_key);
    // Nobody is there: whatever went through a proxy would be lost.
    for proxy in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(proxy, "http://127.0.0.1:1");
    }
    let broker = Binary::start(&mut command);

    let life = live(&broker.channel().await).await;
    let mut needles = Needles::default();
    needles.add_secret(&secret_access_key);
    life.secrets.iter().for_each(|secret| needles.add_secret(secret));
    life.tokens.iter().for_each(|token| needles.add_token(token));
    for client in fake.inventory().app_clients {
        client.secrets.iter().for_each(|secret| needles.add_secret(secret));
    }
    assert_life_is_clean(&needles, &life);
    assert_files_are_clean(&needles, &data);
    broker.signal("TERM");
    let (status, log) = broker.wait();
    assert!(status.success(), "{log}");
    assert_files_are_clean(&needles, &data);
    assert_clean(&needles, "the log", log.as_bytes());
    assert!(log.contains("AddUserPoolClientSecret"), "calls of AWS are in the log: {log}");
}
