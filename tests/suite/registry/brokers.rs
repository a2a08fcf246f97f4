//! The program itself with its records in a table: it starts, works, is followed by another, and is looked at from outside.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use keyward::aws::OPERATIONS;
use keyward::proto::Isolation;
use keyward::runtime::clock::SystemClock;
use keyward::sealing::MasterKey;

use super::between::{Between, Fate};
use super::tables::{self, Layout, TABLE};
use crate::fake::{Fake, REGION, signing};
use crate::harness::{Binary, create_client, create_tenant, folder, last_event, put_orders_api, token};
use crate::peers::Peer;

fn configure(folder: &Path, name: &str, fake: &Fake, between: &Between) -> PathBuf {
    let (aws, jwks) = (fake.endpoint(), format!("{}/{{user_pool}}/.well-known/jwks.json", fake.endpoint()));
    let table = between.endpoint();
    let text = format!(
        "listen = \"127.0.0.1:0\"\ncallers.trust_loopback = true\nbackend = \"aws\"\ndata_dir = {:?}\n\
         registry.table = {TABLE:?}\n[aws]\nregion = {REGION:?}\n[aws.endpoints]\ncognito = {aws:?}\n\
         secrets_manager = {aws:?}\ndynamodb = {table:?}\nkms = {table:?}\ntoken = \"{aws}/oauth2/token\"\njwks = {jwks:?}\n",
        folder.join(name)
    );
    let config = folder.join(format!("{name}.toml"));
    std::fs::write(&config, text).expect("written");
    config
}

fn command(arguments: &[&str], config: &Path) -> Command {
    let mut command = Binary::command();
    command.args(arguments).arg("--config").arg(config);
    command.env("AWS_ACCESS_KEY_ID", signing::ACCESS_KEY_ID);
    command.env("AWS_SECRET_ACCESS_KEY", signing::SECRET_ACCESS_KEY);
    command
}

async fn run(mut command: Command) -> (i32, String) {
    let output = tokio::task::spawn_blocking(move || command.output().expect("keyward runs")).await.expect("ran");
    let Output { status, stdout, stderr } = output;
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().expect("not killed"), said)
}

async fn start(config: &Path) -> Binary {
    let mut command = command(&["serve"], config);
    tokio::task::spawn_blocking(move || Binary::start(&mut command)).await.expect("started")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_goes_on_where_another_has_stopped_on_another_machine() {
    let (_folder, path) = folder();
    let fake = Fake::start(Arc::new(SystemClock)).await;
    let between = Between::before(Peer::ministack().await).await;
    let configs = ["one", "other"].map(|name| configure(&path, name, &fake, &between));

    let (code, said) = run(command(&["serve"], &configs[0])).await;
    assert!(code == 1 && said.contains("registry.table: there is no table keyward"), "{code}: {said}");
    tables::make(&between.sdk(), TABLE, Layout::default()).await;

    let broker = start(&configs[0]).await;
    let channel = broker.channel().await;
    put_orders_api(&channel).await;
    create_tenant(&channel, "acme", Isolation::AppClient).await;
    let last = last_event(&channel).await;
    broker.kill();
    assert!(!path.join("one/keyward.db").exists(), "records are in the data folder");
    // Or the next would wait for half a minute until its membership has lapsed.
    let dead = members(&between).await;
    assert_eq!(dead.len(), 1);
    let dead = between.sdk().delete_item().table_name(TABLE).key("pk", text("member")).key("sk", text(&dead[0]));
    dead.send().await.expect("taken out");

    let broker = start(&configs[1]).await;
    let channel = broker.channel().await;
    assert_eq!(last_event(&channel).await, last);
    create_tenant(&channel, "globex", Isolation::AppClient).await;
    let last = last_event(&channel).await;
    let (code, said) = run(command(&["audit", "verify"], &configs[0])).await;
    assert!(code == 0 && said.starts_with(&format!("ok: {last} events, 1 to {last}")), "{code}: {said}");
    let noted = said.lines().last().expect("the end").to_owned();
    broker.signal("TERM");
    assert!(tokio::task::spawn_blocking(|| broker.wait().0.success()).await.expect("ended"));
    let left = between.sdk().query().table_name(TABLE).key_condition_expression("pk = :pk");
    let left = left.expression_attribute_values(":pk", text("member")).send().await.expect("read");
    assert_eq!(left.count(), 0, "it takes itself out");

    let second = between.sdk().delete_item().table_name(TABLE).key("pk", text("event"));
    second.key("sk", text("00000000000000000002")).send().await.expect("tampered with");
    let (code, said) = run(command(&["audit", "verify", "--expect", &noted], &configs[0])).await;
    assert!(code == 1 && said.contains("broken: event 2 is missing"), "{code}: {said}");
    assert_eq!(between.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_with_one_key_have_one_token_and_a_start_of_all_fetches_no_other() {
    let (_folder, path) = folder();
    let fake = Fake::start(Arc::new(SystemClock)).await;
    let between = Between::before(Peer::ministack().await).await;
    tables::make(&between.sdk(), TABLE, Layout::default()).await;
    let key = path.join("token.key");
    let configs = ["one", "other"].map(|name| {
        let config = configure(&path, name, &fake, &between);
        let text = std::fs::read_to_string(&config).expect("written");
        let with_key =
            format!("registry.table = {TABLE:?}\nregistry.token_key_file = {key:?}\nlog.filter = \"trace\"\n");
        std::fs::write(&config, text.replace(&format!("registry.table = {TABLE:?}\n"), &with_key)).expect("written");
        config
    });
    std::fs::write(&key, "hunter2").expect("written");
    let (code, said) = run(command(&["serve"], &configs[0])).await;
    assert!(code == 1 && said.contains("registry.token_key_file: key file") && !said.contains("hunter2"), "{said}");
    std::fs::remove_file(&key).expect("removed");
    MasterKey::generate_file(&key).expect("a key");

    let (code, said) = run(command(&["check", "--live"], &configs[0])).await;
    assert!(code == 0 && said.contains("ok         the key of shared tokens: its id is "), "{code}: {said}");

    let brokers = [start(&configs[0]).await, start(&configs[1]).await];
    let channel = brokers[0].channel().await;
    put_orders_api(&channel).await;
    create_tenant(&channel, "acme", Isolation::AppClient).await;
    let client = create_client(&channel, "acme", "checkout").await;
    let first = token(&channel, &client.name).await.expect("a token");
    let other = token(&brokers[1].channel().await, &client.name).await.expect("a token");
    assert_eq!(other, first);
    for broker in brokers {
        broker.signal("TERM");
        assert!(tokio::task::spawn_blocking(|| broker.wait().0.success()).await.expect("ended"));
    }
    for config in &configs {
        let broker = start(config).await;
        assert_eq!(token(&broker.channel().await, &client.name).await.expect("a token"), first);
        let log = broker.kill();
        assert!(log.contains("tokens are shared with the other brokers"), "{log}");
        for part in first.access_token.split('.') {
            assert!(!log.contains(part), "a part of the token is in the log");
        }
    }
    assert_eq!(between.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_with_one_kms_key_have_one_token_and_start_without_it_where_it_cannot_be_used() {
    let (_folder, path) = folder();
    let fake = Fake::start(Arc::new(SystemClock)).await;
    let between = Between::before(Peer::ministack().await).await;
    tables::make(&between.sdk(), TABLE, Layout::default()).await;
    let configs = ["one", "other"].map(|name| {
        let config = configure(&path, name, &fake, &between);
        let text = std::fs::read_to_string(&config).expect("written");
        let with_key = "registry.token_key_kms = \"alias/keyward\"\nlog.filter = \"trace\"\nregistry.table =";
        std::fs::write(&config, text.replace("registry.table =", with_key)).expect("written");
        config
    });
    let says = |said: &str, line: &str| assert!(said.contains(line), "{line} is not in\n{said}");
    let check = async || run(command(&["check", "--live"], &configs[0])).await;

    let (code, said) = check().await;
    assert_eq!(code, 1, "{said}");
    says(&said, "missing    the KMS key alias/keyward: NotFoundException; see registry.token_key_kms");
    let one = start(&configs[0]).await;
    let channel = one.channel().await;
    put_orders_api(&channel).await;
    create_tenant(&channel, "acme", Isolation::AppClient).await;
    let client = create_client(&channel, "acme", "checkout").await;
    token(&channel, &client.name).await.expect("a token all the same");
    let log = one.kill();
    says(&log, "there is no key of shared tokens: this broker fetches its own until there is one");
    says(&log, "NotFoundException");

    let kms_key = between.kms().create_key().send().await.expect("a key").key_metadata.expect("said").key_id;
    between.kms().create_alias().alias_name("alias/keyward").target_key_id(kms_key).send().await.expect("an alias");
    let (code, said) = check().await;
    assert_eq!(code, 0, "{said}");
    for line in [
        "ok         the endpoint of kms in eu-central-1\n",
        "ok         the KMS key alias/keyward\n",
        "ok         kms:GenerateDataKeyWithoutPlaintext in eu-central-1\n",
        "ok         kms:Decrypt in eu-central-1\n",
        "ok         the key of shared tokens: there is none yet; the first broker has one made\n",
    ] {
        says(&said, line);
    }
    assert_eq!(data_keys(&between).await.len(), 0, "the check leaves none");

    let brokers = [start(&configs[0]).await, start(&configs[1]).await];
    let first = token(&brokers[0].channel().await, &client.name).await.expect("a token");
    let other = token(&brokers[1].channel().await, &client.name).await.expect("a token");
    assert_eq!(other, first);
    let [kept] = &data_keys(&between).await[..] else { panic!("not one data key") };
    let open = between.kms().decrypt().ciphertext_blob(aws_sdk_kms::primitives::Blob::new(kept.clone()));
    let open = open.encryption_context("keyward:table", TABLE);
    let opened = open.encryption_context("keyward:purpose", "shared-tokens").send().await.expect("opened");
    let data_key = opened.plaintext.expect("a key").into_inner();
    for broker in brokers {
        let log = broker.kill();
        says(&log, "tokens are shared with the other brokers of the table");
        let forms = [hex::encode(&data_key), base64::engine::general_purpose::STANDARD.encode(&data_key)];
        assert!(forms.iter().all(|form| !log.contains(form)), "the data key is in the log");
    }
    let (code, said) = check().await;
    assert_eq!(code, 0, "{said}");
    says(&said, "ok         the key of shared tokens: its id is ");

    between.order("Decrypt", &[Fate::Refused("AccessDeniedException"); 2]);
    let (code, said) = check().await;
    assert_eq!(code, 1, "{said}");
    says(&said, "missing    kms:Decrypt in eu-central-1: AccessDeniedException");
    says(&said, "the role's policy must allow kms:Decrypt\n");
    says(
        &said,
        "missing    the key of shared tokens: open the data key: Decrypt in eu-central-1: AccessDeniedException",
    );
    assert_eq!(between.complaints(), Vec::<String>::new());
}

/// Those that are in the table, as KMS has encrypted them.
async fn data_keys(between: &Between) -> Vec<Vec<u8>> {
    let all = between.sdk().query().table_name(TABLE).key_condition_expression("pk = :pk");
    let all = all.expression_attribute_values(":pk", text("token-key")).send().await.expect("read");
    all.items().iter().map(|item| item["data_key"].as_b().expect("bytes").clone().into_inner()).collect()
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

/// The ids of the brokers that are in the table.
async fn members(between: &Between) -> Vec<String> {
    let all = between.sdk().query().table_name(TABLE).key_condition_expression("pk = :pk");
    let all = all.expression_attribute_values(":pk", text("member")).send().await.expect("read");
    all.items().iter().map(|member| member["sk"].as_s().expect("an id").clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_starts_where_one_was_killed_takes_that_one_out() {
    let (_folder, path) = folder();
    let fake = Fake::start(Arc::new(SystemClock)).await;
    let between = Between::before(Peer::ministack().await).await;
    tables::make(&between.sdk(), TABLE, Layout::default()).await;
    let configs = ["one", "other"].map(|name| configure(&path, name, &fake, &between));

    let broker = start(&configs[0]).await;
    // It has no call to Cognito before it is a member.
    put_orders_api(&broker.channel().await).await;
    create_tenant(&broker.channel().await, "acme", Isolation::AppClient).await;
    let dead = members(&between).await;
    assert_eq!(dead.len(), 1);
    broker.kill();
    let elsewhere = start(&configs[1]).await;
    assert!(members(&between).await.contains(&dead[0]), "another folder tells nothing of it");
    elsewhere.kill();
    let broker = start(&configs[0]).await;
    assert!(!members(&between).await.contains(&dead[0]));
    broker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_needs_of_its_table_is_tried_and_nothing_is_changed() {
    let (_folder, path) = folder();
    let fake = Fake::start(Arc::new(SystemClock)).await;
    let between = Between::before(Peer::ministack().await).await;
    let config = configure(&path, "one", &fake, &between);
    let check = async || run(command(&["check", "--live"], &config)).await;

    let (code, said) = check().await;
    assert!(code == 1 && said.contains("missing    the table keyward: there is no such table"), "{code}: {said}");
    tables::make(&between.sdk(), TABLE, Layout::default()).await;
    let (code, said) = check().await;
    assert_eq!(code, 0, "{said}");
    for subject in ["the endpoint of dynamodb in eu-central-1", "the table keyward"] {
        assert!(said.contains(&format!("ok         {subject}\n")), "{subject}: {said}");
    }
    let actions = OPERATIONS.iter().flat_map(|operation| operation.actions);
    for action in actions.filter(|action| action.starts_with("dynamodb:")) {
        assert!(said.contains(&format!("ok         {action} in {REGION}\n")), "{action}: {said}");
    }
    let all = between.sdk().scan().table_name(TABLE).send().await.expect("read");
    assert_eq!(all.count(), 0);

    for operation in ["TransactWriteItems", "PutItem"] {
        between.order(operation, &[Fate::Refused("AccessDeniedException")]);
    }
    let (code, said) = check().await;
    for action in ["ConditionCheckItem", "PutItem", "DeleteItem"] {
        let due = format!("missing    dynamodb:{action} in {REGION}: AccessDeniedException");
        assert!(code == 1 && said.contains(&due), "{code}: {said}");
    }
}

#[tokio::test]
async fn a_table_and_the_embedded_backend_do_not_go_together() {
    let (_folder, path) = folder();
    let config = path.join("keyward.toml");
    let base = "callers.trust_loopback = true\n";
    for (text, due) in [
        ("registry.table = \"keyward\"\n", "registry.table: must not be set with backend = \"embedded\""),
        ("backend = \"aws\"\naws.region = \"eu-central-1\"\nregistry.table = \"a b\"\n", "registry.table: must be"),
        ("backend = \"aws\"\naws.region = \"eu-central-1\"\nregistry.tables = \"a\"\n", "registry.tables"),
        (
            "backend = \"aws\"\naws.region = \"eu-central-1\"\nregistry.token_key_file = \"token.key\"\n",
            "registry.token_key_file: must not be set without registry.table",
        ),
        (
            "backend = \"aws\"\naws.region = \"eu-central-1\"\nregistry.token_key_kms = \"alias/keyward\"\n",
            "registry.token_key_kms: must not be set without registry.table",
        ),
        (
            "backend = \"aws\"\naws.region = \"eu-central-1\"\n[registry]\ntable = \"keyward\"\n\
             token_key_file = \"token.key\"\ntoken_key_kms = \"alias/keyward\"\n",
            "registry.token_key_kms: must not be set beside registry.token_key_file",
        ),
        (
            "backend = \"aws\"\naws.region = \"eu-central-1\"\n[registry]\ntable = \"keyward\"\n\
             token_key_kms = \"alias keyward\"\n",
            "registry.token_key_kms: must be",
        ),
        (
            "backend = \"aws\"\naws.region = \"eu-central-1\"\n[registry]\ntable = \"keyward\"\n\
             token_key_file = \"not-there.key\"\n",
            "registry.token_key_file: not-there.key",
        ),
        (
            "backend = \"aws\"\naws.region = \"eu-central-1\"\naws.endpoints.dynamodb = \"x\"\n",
            "aws.endpoints.dynamodb",
        ),
    ] {
        std::fs::write(&config, format!("{base}{text}")).expect("written");
        let (code, said) = run(command(&["check"], &config)).await;
        assert!(code == 2 && said.contains(due), "{code}: {said}");
    }
}
