//! `keyward check --live`: against the strict fake, with the program's own way to credentials.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyward::aws::{Aws, Credentials, OPERATIONS};
use keyward::domain::id::PoolId;
use keyward::domain::tenant::UserPoolSettings;
use keyward::runtime::clock::SystemClock;

use super::{Ran, configure, run};
use crate::fake::{After, Fake, Fault, Inventory, OTHER_REGION, REGION};
use crate::harness::{Binary, folder};

/// What would have its effect, or can be tried only on something that is there.
const NOT_TRIED: [&str; 6] = [
    "cognito-idp:CreateUserPool",
    "cognito-idp:DeleteUserPool",
    "cognito-idp:TagResource",
    "cognito-idp:UntagResource",
    "secretsmanager:CreateSecret",
    "secretsmanager:TagResource",
];

/// The table and the key of what is shared there are tried where there is one: see `tests/suite/registry/brokers.rs`.
fn is_not_of_the_table(action: &&&str) -> bool {
    !action.starts_with("dynamodb:") && !action.starts_with("kms:")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_permission_is_tried_in_each_region_and_nothing_is_changed() {
    let (_folder, path) = folder();
    let fake = Fake::start(Arc::new(SystemClock)).await;
    let ran = check(&config(&path, &fake.endpoint(), ""), &fake);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    for region in [REGION, OTHER_REGION] {
        for action in OPERATIONS.iter().flat_map(|operation| operation.actions).filter(is_not_of_the_table) {
            let verdict = if NOT_TRIED.contains(action) { "not tried" } else { "ok" };
            assert_eq!(ran.of(&format!("{action} in {region}")), [verdict], "{}", ran.out);
        }
        for service in ["cognito-idp", "secretsmanager"] {
            assert_eq!(ran.of(&format!("the endpoint of {service} in {region}")), ["ok"], "{}", ran.out);
        }
    }
    assert_eq!(ran.of("credentials"), ["ok"]);
    assert_eq!(fake.inventory(), Inventory::default());
    assert!(!path.join("data").exists(), "the data folder was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_permission_is_missing_by_its_name() {
    let (_folder, path) = folder();
    let fake = Fake::start(Arc::new(SystemClock)).await;
    let config = config(&path, &fake.endpoint(), "");
    let tried = OPERATIONS.iter().filter_map(|operation| operation.actions.first()).filter(is_not_of_the_table);
    let tried: Vec<_> = tried.copied().filter(|action| !NOT_TRIED.contains(action)).collect();
    // One alone, and all at once.
    for denied in [&["cognito-idp:AddUserPoolClientSecret"][..], &["secretsmanager:PutSecretValue"], &tried] {
        fake.heal();
        for action in denied {
            fake.fail(After::calls(0).of(action).for_ever(), Fault::Error("AccessDeniedException"));
        }
        let ran = check(&config, &fake);
        assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
        let missing: Vec<_> = ran.out.lines().filter(|line| line.starts_with("missing")).collect();
        assert_eq!(missing.len(), 2 * denied.len(), "{missing:?}");
        for (action, region) in denied.iter().flat_map(|action| [(action, REGION), (action, OTHER_REGION)]) {
            let begins = format!("missing    {action} in {region}: AccessDeniedException");
            let ends = format!("the role's policy must allow {action}");
            let is_it = |line: &&&str| line.starts_with(&begins) && line.ends_with(&ends);
            assert_eq!(missing.iter().filter(is_it).count(), 1, "{action} in {region}: {missing:?}");
        }
    }
    assert_eq!(fake.inventory(), Inventory::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_nobody_answers_at_is_named_with_its_setting() {
    let (_folder, path) = folder();
    let fake = Fake::start(Arc::new(SystemClock)).await;
    // Nobody listens there any more.
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let config = config(&path, &format!("http://{nobody}"), "");
    let ran = check(&config, &fake);
    assert_eq!(ran.code, 1, "{}", ran.out);
    for (service, setting) in
        [("cognito-idp", "aws.endpoints.cognito"), ("secretsmanager", "aws.endpoints.secrets_manager")]
    {
        let subject = format!("the endpoint of {service} in {REGION}");
        let line = ran.out.lines().find(|line| line.contains(&subject)).expect("a line");
        assert!(line.starts_with("missing") && line.contains(setting), "{line}");
        assert_eq!(ran.of(&format!("every operation of {service} in {REGION}")), ["not tried"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_that_is_all_it_says() {
    let (_folder, path) = folder();
    let fake = Fake::start(Arc::new(SystemClock)).await;
    let ran = run(&mut command(&config(&path, &fake.endpoint(), "")));
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    let line = ran.out.lines().find(|line| line.contains("credentials: ")).expect("a line");
    assert!(line.starts_with("missing") && line.contains("AWS_ACCESS_KEY_ID"), "{line}");
    assert_eq!(ran.of("everything else"), ["not tried"]);
    assert_eq!(fake.calls(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_aws_does_not_take_are_missing() {
    let (_folder, path) = folder();
    let fake = Fake::start(Arc::new(SystemClock)).await;
    let mut command = command(&config(&path, &fake.endpoint(), ""));
    let ran = run(command.env("AWS_ACCESS_KEY_ID", "AKIASOMEBODYELSE").env("AWS_SECRET_ACCESS_KEY", "of somebody"));
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert_eq!(ran.of(&format!("cognito-idp:ListUserPools in {REGION}")), ["missing"], "{}", ran.out);
    assert!(ran.out.contains("UnrecognizedClientException") && !ran.out.contains("of somebody"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn adopted_pools_must_be_there_and_in_a_configured_region() {
    let (_folder, path) = folder();
    let fake = Fake::start(Arc::new(SystemClock)).await;
    let clock = Arc::new(SystemClock);
    let aws = Aws::connect(fake.options(), clock).await.expect("clients are made");
    let id = PoolId::parse("pool", "shared-0001").expect("an id");
    let made = aws.user_pools().ensure_pool(&id, &UserPoolSettings::default()).await.expect("a pool");

    let here = made.user_pool.to_string();
    let (gone, elsewhere) = (format!("{REGION}_AbCdEf123"), "eu-west-3_AbCdEf123");
    let adopted = format!("adopted_pools = [{here:?}, {gone:?}, {elsewhere:?}]\n");
    let ran = check(&config(&path, &fake.endpoint(), &adopted), &fake);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert_eq!(ran.of(&format!("the adopted pool {here}")), ["ok"], "{}", ran.out);
    for (pool, setting) in [(gone.as_str(), "aws.adopted_pools"), (elsewhere, "aws.regions")] {
        let line = ran.out.lines().find(|line| line.contains(&format!("the adopted pool {pool}"))).expect("a line");
        assert!(line.starts_with("missing") && line.contains(setting), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_source_of_tokens_is_asked_where_it_is_chosen() {
    let (_folder, path) = folder();
    let fake = Fake::start(Arc::new(SystemClock)).await;
    let subject = format!("GetClientToken in {REGION}");
    let ran = check(&config(&path, &fake.endpoint(), ""), &fake);
    assert_eq!(ran.of(&subject), ["not tried"], "{}", ran.out);
    let config = config(&path, &fake.endpoint(), "token_source = \"get_client_token\"\nkms_key = \"alias/keyward\"\n");
    let ran = check(&config, &fake);
    assert_eq!((ran.code, ran.of(&subject)), (0, vec!["ok"]), "{}", ran.out);
    assert_eq!(ran.of("kms:GenerateDataKey and kms:Decrypt of secrets on alias/keyward"), ["not tried"], "{}", ran.out);
    fake.fail(After::calls(0).of("GetClientToken").for_ever(), Fault::Status(503));
    let ran = check(&config, &fake);
    assert_eq!((ran.code, ran.of(&subject)), (1, vec!["missing"]), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_from_the_environment_is_not_asked() {
    let (_folder, path) = folder();
    let fake = Fake::start(Arc::new(SystemClock)).await;
    let config = config(&path, &fake.endpoint(), "");
    let mut command = signed(&config, &fake);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        // Nobody listens there.
        command.env(name, "http://127.0.0.1:1");
    }
    for name in ["NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    let ran = run(&mut command);
    assert_eq!((ran.code, ran.of("credentials")), (0, vec!["ok"]), "{}{}", ran.out, ran.err);
}

#[test]
fn the_embedded_backend_needs_its_master_key_and_its_folder() {
    let (_folder, path) = folder();
    let live = |config: &Path| run(Binary::command().arg("check").arg("--live").arg("--config").arg(config));
    let config = configure(&path, "");
    let ran = live(&config);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(ran.of("the master key"), ["ok"]);
    assert_eq!(ran.of("anything else"), ["not tried"]);
    assert!(!path.join("data").exists(), "the data folder was made");

    std::fs::write(path.join("master.key"), "not a key").expect("written");
    std::fs::write(path.join("data"), "not a folder").expect("written");
    let ran = live(&config);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert_eq!(ran.of("the master key"), ["missing"], "{}", ran.out);
    assert_eq!(ran.of(&format!("the data folder {}", path.join("data").display())), ["missing"], "{}", ran.out);
    assert!(!ran.out.contains("not a key"), "{}", ran.out);
}

impl Ran {
    /// The verdicts of the lines about `subject`.
    fn of(&self, subject: &str) -> Vec<&str> {
        let verdict = |line| ["ok", "missing", "not tried"].into_iter().find(|it| str::starts_with(line, it));
        let is_about = |line: &&str| {
            let rest = line.get(11..).unwrap_or_default();
            rest.strip_prefix(subject).is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
        };
        self.out.lines().filter(is_about).filter_map(verdict).collect()
    }
}

/// For the AWS backend at `endpoint`, with `more` below `[aws]`.
fn config(path: &Path, endpoint: &str, more: &str) -> PathBuf {
    let text = format!(
        "data_dir = {:?}\nbackend = \"aws\"\ncallers.trust_loopback = true\n\n\
         [aws]\nregion = {REGION:?}\nregions = [{OTHER_REGION:?}]\n{more}\n\
         [aws.endpoints]\ncognito = {endpoint:?}\nsecrets_manager = {endpoint:?}\n",
        path.join("data")
    );
    let config = path.join("aws.toml");
    std::fs::write(&config, text).expect("written");
    config
}

/// Without credentials, and without a look at where this machine may have some.
fn command(config: &Path) -> std::process::Command {
    let mut command = Binary::command();
    command.arg("check").arg("--live").arg("--config").arg(config);
    let nowhere = config.with_file_name("nothing");
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"] {
        command.env_remove(name);
    }
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_CONFIG_FILE", &nowhere).env("AWS_SHARED_CREDENTIALS_FILE", &nowhere);
    command
}

fn check(config: &Path, fake: &Fake) -> Ran {
    run(&mut signed(config, fake))
}

/// With the credentials that the fake knows.
fn signed(config: &Path, fake: &Fake) -> std::process::Command {
    let Credentials::Fixed { access_key_id, secret_access_key } = fake.credentials() else {
        panic!("the fake knows one pair");
    };
    let mut command = command(config);
    command.env("AWS_ACCESS_KEY_ID", access_key_id).env("AWS_SECRET_ACCESS_KEY", secret_access_key);
    command
}
