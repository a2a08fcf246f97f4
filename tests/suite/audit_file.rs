//! The audit file of a real daemon: a line for every event, token and secret, before it leaves; full disks, kills.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use keyward::config::Config;
use keyward::proto::token_service_client::TokenServiceClient;
use keyward::proto::{self, Isolation};
use keyward::runtime::clock::SystemClock;
use serde_json::Value;
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::Channel;

use crate::harness::audit_lines::{audit_lines, event_numbers, handed_out};
use crate::harness::rotations::eventually;
use crate::harness::{
    Binary, Daemon, connect, create_client, create_tenant, folder, last_event, put_orders_api, refusal, token,
};

const ORDERS: &str = "tenants/acme/clients/orders";

fn with_file(path: &Path, required: bool) -> impl FnOnce(&mut Config) {
    let path = path.to_owned();
    move |config| {
        config.audit.file = Some(path);
        config.audit.required = required;
        config.secrets.reveal = true;
    }
}

async fn acme(channel: &Channel) {
    put_orders_api(channel).await;
    create_tenant(channel, "acme", Isolation::AppClient).await;
    create_client(channel, "acme", "orders").await;
}

/// Waits until every event of the registry so far is in the file.
async fn followed(channel: &Channel, path: &Path) -> Vec<Value> {
    let last = last_event(channel).await;
    eventually("the events are in the file", || async {
        event_numbers(&audit_lines(path)).last().is_some_and(|number| *number >= last)
    })
    .await;
    audit_lines(path)
}

async fn reveal(daemon: &Daemon) -> Result<proto::RevealClientSecretResponse, tonic::Status> {
    let request = proto::RevealClientSecretRequest { name: ORDERS.to_owned(), reason: "a look".to_owned() };
    Ok(daemon.clients().reveal_client_secret(request).await?.into_inner())
}

#[tokio::test]
async fn every_event_token_and_secret_has_a_line_and_none_has_the_token_or_the_secret() {
    let (_folder, path) = folder();
    let path = path.join("audit.jsonl");
    let daemon = Daemon::start_with(Arc::new(SystemClock), with_file(&path, true)).await;
    acme(&daemon.channel).await;
    let mut request = tonic::Request::new(proto::GetTokenRequest {
        name: ORDERS.to_owned(),
        scopes: vec!["orders/read".to_owned()],
        ..Default::default()
    });
    request.metadata_mut().insert("x-request-id", "my-call".parse().expect("ASCII"));
    let got = daemon.tokens().get_token(request).await.expect("a token").into_inner();
    let watch = proto::WatchTokenRequest { name: ORDERS.to_owned(), ..Default::default() };
    let mut watched = daemon.tokens().watch_token(watch).await.expect("a stream").into_inner();
    let first = watched.message().await.expect("no error").expect("a token");
    let secret = reveal(&daemon).await.expect("revealed").client_secret;
    // What has been answered is in the file already.
    let lines = audit_lines(&path);
    let outs = handed_out(&lines);
    let methods: Vec<_> = outs.iter().map(|line| line["method"].as_str().expect("a method")).collect();
    assert_eq!(
        methods,
        [
            "keyward.v1.TokenService/GetToken",
            "keyward.v1.TokenService/WatchToken",
            "keyward.v1.ClientService/RevealClientSecret"
        ]
    );
    for out in &outs {
        assert_eq!((&out["principal"], &out["resource"]), (&"operator:dev".into(), &ORDERS.into()));
        assert_eq!(out["outcome"], "SUCCEEDED");
    }
    assert_eq!((&outs[0]["call_id"], &outs[0]["scopes"]), (&"my-call".into(), &serde_json::json!(["orders/read"])));
    let expires = outs[0]["expire_time"].as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
    assert_eq!(expires.as_second(), got.expire_time.expect("set").seconds);
    assert_eq!(outs[1]["scopes"], serde_json::json!(["orders/read", "orders/write"]));
    assert_eq!(outs[2]["detail"], "a look");

    let events = crate::harness::events(&daemon.channel).await;
    let lines = followed(&daemon.channel, &path).await;
    assert_eq!(event_numbers(&lines), events.iter().map(|event| event.sequence).collect::<Vec<_>>());
    for (line, event) in lines.iter().filter(|line| line["kind"] == "event").zip(&events) {
        assert_eq!(line["method"], event.method);
        assert_eq!(line["call_id"].as_str().unwrap_or_default(), event.call_id);
        let digest = line["previous_digest"].as_str().unwrap_or_default();
        assert_eq!(digest, hex::encode(&event.previous_digest));
    }
    let text = std::fs::read_to_string(&path).expect("read");
    for needle in [&got.access_token, &first.access_token, &secret] {
        assert!(!text.contains(&needle[needle.len() - 40..]), "it is in the file");
    }
    drop(watched);
    daemon.stop().await;
}

/// As where more clients ask than tokens are held of, and the one that comes is not the one that stays.
#[tokio::test]
async fn a_token_that_is_not_held_is_put_on_record_once_and_handed_out() {
    let (_folder, path) = folder();
    let path = path.join("audit.jsonl");
    let edit = |config: &mut Config| {
        with_file(&path, true)(config);
        config.tokens.max_cached = 0;
    };
    let daemon = Daemon::start_with(Arc::new(SystemClock), edit).await;
    acme(&daemon.channel).await;
    daemon.token(ORDERS).await;
    assert_eq!(handed_out(&audit_lines(&path)).len(), 1);
    daemon.stop().await;
}

/// A disk that can be filled: a small tmpfs where that may be mounted.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"]).arg(folder.path());
        mount.output().is_ok_and(|output| output.status.success()).then(|| SmallDisk(folder))
    }

    fn fill(&self) -> PathBuf {
        let path = self.0.path().join("filler");
        let mut file = std::fs::File::create(&path).expect("made");
        while std::io::Write::write(&mut file, &[0; 512]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_handed_out_and_it_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("no tmpfs can be mounted here; /dev/full stands in for it in the test below");
        return;
    };
    let path = disk.0.path().join("audit.jsonl");
    let daemon = Daemon::start_with(Arc::new(SystemClock), with_file(&path, true)).await;
    acme(&daemon.channel).await;
    token(&daemon.channel, ORDERS).await.expect("a token");
    let before = handed_out(&followed(&daemon.channel, &path).await).len();
    for _ in 0..3 {
        let filler = disk.fill();
        // What is left of the last block takes some lines yet.
        let mut handed = 0;
        while token(&daemon.channel, ORDERS).await.is_ok() {
            handed += 1;
            assert!(handed < 100, "the disk is not full");
        }
        assert_full(&daemon).await;
        assert!(audit_lines(&path).len() > before, "and what is there is whole");
        std::fs::remove_file(filler).expect("removed");
        token(&daemon.channel, ORDERS).await.expect("a token, at once");
        reveal(&daemon).await.expect("revealed");
    }
    let lines = followed(&daemon.channel, &path).await;
    let numbers = event_numbers(&lines);
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "none is missing, none there twice");
    daemon.stop().await;
}

/// What must be audited is refused with its reason; everything else goes on.
async fn assert_full(daemon: &Daemon) {
    let unavailable = (Code::Unavailable, "AUDIT_UNAVAILABLE".to_owned());
    assert_eq!(refusal(token(&daemon.channel, ORDERS).await), unavailable);
    assert_eq!(refusal(reveal(daemon).await), unavailable);
    let watch = proto::WatchTokenRequest { name: ORDERS.to_owned(), ..Default::default() };
    let mut watched = daemon.tokens().watch_token(watch).await.expect("a stream").into_inner();
    assert_eq!(refusal(watched.message().await), unavailable);
    let request = proto::GetClientRequest { name: ORDERS.to_owned() };
    daemon.clients().get_client(request).await.expect("a read needs no line");
}

#[tokio::test]
async fn where_the_device_is_full_it_is_the_same_and_where_it_is_not_required_calls_go_on() {
    for required in [true, false] {
        let (_folder, folder) = folder();
        let (path, good) = (folder.join("audit"), folder.join("good.jsonl"));
        symlink(&good, &path).expect("linked");
        let daemon = Daemon::start_with(Arc::new(SystemClock), with_file(&path, required)).await;
        acme(&daemon.channel).await;
        token(&daemon.channel, ORDERS).await.expect("a token");
        followed(&daemon.channel, &path).await;

        relink(Path::new("/dev/full"), &path);
        match required {
            true => assert_full(&daemon).await,
            false => {
                token(&daemon.channel, ORDERS).await.expect("a token");
                reveal(&daemon).await.expect("revealed");
            }
        }
        create_tenant(&daemon.channel, "meanwhile", Isolation::AppClient).await;
        relink(&good, &path);
        token(&daemon.channel, ORDERS).await.expect("a token");
        let lines = followed(&daemon.channel, &path).await;
        let numbers = event_numbers(&lines);
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        daemon.stop().await;
    }
}

fn relink(to: &Path, path: &Path) {
    let new = path.with_extension("new");
    symlink(to, &new).expect("linked");
    std::fs::rename(new, path).expect("renamed");
}

#[tokio::test]
async fn a_broker_does_not_start_on_a_file_that_it_cannot_have() {
    let (_folder, folder) = folder();
    std::fs::write(folder.join("diary"), "Dear diary\n").expect("written");
    for (name, why) in [("nowhere/audit", "No such file"), ("diary", "not one of Keyward's"), ("", "directory")] {
        let config = folder.join("keyward.toml");
        let key = folder.join("master.key");
        if !key.exists() {
            keyward::embedded::MasterKey::generate_file(&key).expect("a master key");
        }
        let text = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = \"{0}/data\"\ncallers.trust_loopback = true\n\
             embedded.master_key_file = \"{0}/master.key\"\naudit.file = \"{0}/{name}\"\n",
            folder.display()
        );
        std::fs::write(&config, text).expect("written");
        let output = Binary::command().args(["serve", "--config"]).arg(&config).output().expect("ran");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains("audit.file") && err.contains(why), "{err}");
    }
}

#[tokio::test]
async fn after_a_rename_lines_go_to_a_new_file_and_the_chain_goes_on() {
    let (_folder, folder) = folder();
    let (path, old) = (folder.join("audit.jsonl"), folder.join("audit.jsonl.1"));
    let daemon = Daemon::start_with(Arc::new(SystemClock), with_file(&path, true)).await;
    acme(&daemon.channel).await;
    followed(&daemon.channel, &path).await;
    std::fs::rename(&path, &old).expect("renamed");
    token(&daemon.channel, ORDERS).await.expect("a token");
    create_tenant(&daemon.channel, "globex", Isolation::AppClient).await;
    let daemon = daemon.restart().await;
    token(&daemon.channel, ORDERS).await.expect("a token");
    let last = last_event(&daemon.channel).await;
    let all = folder.join("all.jsonl");
    eventually("the events are in the files", || async {
        std::fs::write(&all, [std::fs::read(&old).expect("old"), std::fs::read(&path).expect("new")].concat())
            .expect("written");
        event_numbers(&audit_lines(&all)).last() == Some(&last)
    })
    .await;
    let lines = audit_lines(&all);
    assert_eq!(event_numbers(&lines), (1..=last).collect::<Vec<_>>());
    assert_eq!(handed_out(&lines).len(), 2);
    assert_eq!(lines.iter().filter(|line| line["kind"] == "opened").count(), 3);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_leaves_no_token_without_a_line_and_no_event_missing_or_twice() {
    let (_folder, folder) = folder();
    let (config, path) = (folder.join("keyward.toml"), folder.join("audit.jsonl"));
    keyward::embedded::MasterKey::generate_file(&folder.join("master.key")).expect("a master key");
    let text = format!(
        "listen = \"127.0.0.1:0\"\ndata_dir = \"{0}/data\"\ncallers.trust_loopback = true\n\
         embedded.master_key_file = \"{0}/master.key\"\naudit.file = \"{0}/audit.jsonl\"\n",
        folder.display()
    );
    std::fs::write(&config, text).expect("written");
    let start = || Binary::start(Binary::command().args(["serve", "--config"]).arg(&config));
    let keyward = start();
    acme(&keyward.channel().await).await;
    keyward.kill();
    let mut handed = Vec::new();
    for round in 0..6 {
        let keyward = start();
        let calls: Vec<_> =
            (0..8).map(|caller| tokio::spawn(ask_until_it_is_gone(keyward.address.clone(), round, caller))).collect();
        let channel = keyward.channel().await;
        for i in 0..=round {
            create_tenant(&channel, &format!("t-{round}-{i}"), Isolation::AppClient).await;
        }
        drop(channel);
        keyward.kill();
        for call in calls {
            handed.extend(call.await.expect("no panic"));
        }
    }
    let keyward = start();
    let channel = keyward.channel().await;
    let lines = followed(&channel, &path).await;
    let last = last_event(&channel).await;
    assert_eq!(event_numbers(&lines), (1..=last).collect::<Vec<_>>());
    let recorded: std::collections::HashSet<_> =
        handed_out(&lines).iter().map(|line| line["call_id"].as_str().expect("an id").to_owned()).collect();
    assert!(handed.len() > 50, "only {} tokens were handed out", handed.len());
    for call in handed {
        assert!(recorded.contains(&call), "the token of {call} left without a line");
    }
    drop(channel);
    keyward.kill();
}

/// The ids of the calls that were answered with a token.
async fn ask_until_it_is_gone(address: String, round: usize, caller: usize) -> Vec<String> {
    let mut tokens = TokenServiceClient::new(connect(&address).await);
    let mut answered = Vec::new();
    for i in 0.. {
        let call = format!("call-{round}-{caller}-{i}");
        let mut request = tonic::Request::new(proto::GetTokenRequest { name: ORDERS.to_owned(), ..Default::default() });
        request.metadata_mut().insert("x-request-id", call.parse().expect("ASCII"));
        match tokens.get_token(request).await {
            Ok(_) => answered.push(call),
            Err(_) => break,
        }
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_calls_at_once_each_have_their_line() {
    const CALLERS: usize = 100;
    const CALLS: usize = 30;
    let (_folder, path) = folder();
    let path = path.join("audit.jsonl");
    let daemon = Daemon::start_with(Arc::new(SystemClock), with_file(&path, true)).await;
    acme(&daemon.channel).await;
    token(&daemon.channel, ORDERS).await.expect("a token");
    let start = std::time::Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let channel = daemon.channel.clone();
            tokio::spawn(async move {
                for _ in 0..CALLS {
                    token(&channel, ORDERS).await.expect("a token");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no panic");
    }
    let seconds = start.elapsed().max(Duration::from_millis(1)).as_secs_f64();
    eprintln!("{:.0} calls a second, each on the disk before it was answered", (CALLERS * CALLS) as f64 / seconds);
    assert_eq!(handed_out(&audit_lines(&path)).len(), CALLERS * CALLS + 1);
    daemon.stop().await;
}
