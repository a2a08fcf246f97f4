//! No secret, no token and no key is anywhere but where it belongs: not in logs, errors, events, arguments, files.

mod aws;
mod credentials;
mod life;
mod login;
mod needles;
mod oauth;
mod panics;
mod printing;
mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyward::broker::ports::Wanted;
use keyward::domain::id::SecretName;
use keyward::embedded::{Embedded, MasterKey, Options};
use keyward::runtime::clock::SystemClock;

use crate::harness::{Binary, Daemon, folder};
use life::{Life, live};
use needles::Needles;

/// The files of a data folder but the master key's own, with what is in them.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("the data folder").map(|entry| entry.expect("an entry").path());
    let files: Vec<_> = entries
        .filter(|path| path.is_file() && path.file_name().is_some_and(|name| name != "master.key"))
        .map(|path| (path.clone(), fs::read(path).expect("a file")))
        .collect();
    assert!(files.iter().any(|(path, content)| path.ends_with("keyward.db") && !content.is_empty()), "{folder:?}");
    files
}

/// What must be nowhere: every secret and token of this life, and the key that seals them.
fn needles(life: &Life, data: &Path) -> Needles {
    let key = fs::read_to_string(data.join("master.key")).expect("the master key");
    let mut needles = Needles::default();
    needles.add_key(key.trim());
    life.secrets.iter().for_each(|secret| needles.add_secret(secret));
    life.tokens.iter().for_each(|token| needles.add_token(token));
    for secret in &life.secrets {
        assert!(needles.first_in(format!("a log line with {} in it", &secret[20..40]).as_bytes()).is_some());
    }
    needles
}

fn assert_clean(needles: &Needles, of: &str, text: &[u8]) {
    assert_eq!(needles.first_in(text), None, "{of} gives away what is secret");
}

fn assert_life_is_clean(needles: &Needles, life: &Life) {
    assert!(life.errors.len() > 15 && life.events.len() > 30, "too little happened");
    for error in &life.errors {
        assert_clean(needles, "an error", error.as_bytes());
    }
    for event in &life.events {
        assert_clean(needles, "an event", format!("{event:?}").as_bytes());
    }
}

fn assert_files_are_clean(needles: &Needles, data: &Path) {
    for (path, content) in files(data) {
        assert_clean(needles, &path.display().to_string(), &content);
    }
}

#[tokio::test]
async fn a_daemon_gives_nothing_away_in_errors_events_and_files() {
    let daemon = Daemon::start_with(Arc::new(SystemClock), |config| config.secrets.reveal = true).await;
    let life = live(&daemon.channel).await;
    let needles = needles(&life, daemon.data_dir());
    assert_life_is_clean(&needles, &life);
    assert_files_are_clean(&needles, daemon.data_dir());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_gives_nothing_away_at_trace_in_text() {
    program("text").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_gives_nothing_away_at_trace_in_json() {
    program("json").await;
}

async fn program(format: &str) {
    let (_folder, path) = folder();
    let data = path.join("data");
    fs::create_dir(&data).expect("the data folder");
    MasterKey::generate_file(&data.join("master.key")).expect("a master key");
    let config = format!(
        "listen = \"127.0.0.1:0\"\ndata_dir = \"{0}\"\n[callers]\ntrust_loopback = true\n[secrets]\nreveal = true\n[log]\nformat = \
         \"{format}\"\n[embedded]\nmaster_key_file = \"{0}/master.key\"\n",
        data.display()
    );
    let file = path.join("keyward.toml");
    fs::write(&file, config).expect("the configuration");
    let mut command = Binary::command();
    let binary = Binary::start(command.args(["serve", "--config"]).arg(&file).env("RUST_LOG", "trace"));

    let life = live(&binary.channel().await).await;
    let mut needles = needles(&life, &data);
    let process = PathBuf::from(format!("/proc/{}", binary.id()));
    let told = ["cmdline", "environ"].map(|name| match fs::read(process.join(name)) {
        // The process is closed to others of its user, and only root looks into its environment.
        Err(error) if name == "environ" && error.kind() == std::io::ErrorKind::PermissionDenied => b"closed".to_vec(),
        read => read.expect(name),
    });
    // While it runs, the log that SQLite writes ahead is there too.
    assert_files_are_clean(&needles, &data);
    binary.signal("TERM");
    let (status, log) = binary.wait();
    assert!(status.success(), "{log}");
    for secret in stored(&data, &life).await {
        needles.add_secret(&secret);
    }
    assert_life_is_clean(&needles, &life);
    assert_files_are_clean(&needles, &data);
    for text in told {
        assert!(!text.is_empty());
        assert_clean(&needles, "the process", &text);
    }
    assert!(log.lines().count() > 50 && log.contains("keyward.v1.ClientService/RevealClientSecret"), "{log}");
    assert_eq!(log.lines().any(|line| line.starts_with('{')), format == "json");
    for line in log.lines() {
        assert_eq!(needles.first_in(line.as_bytes()), None, "in a log line about {:.120}", line);
    }
}

/// The secrets that the vault has now, each of which was revealed before.
async fn stored(data: &Path, life: &Life) -> Vec<String> {
    let key = MasterKey::from_file(&data.join("master.key")).expect("the master key");
    let clock = Arc::new(SystemClock);
    let embedded = Embedded::open(&data.join("keyward.db"), &key, Options::default(), clock).await.expect("opened");
    let mut secrets = Vec::new();
    for name in &life.secret_names {
        let name = SecretName::parse("name", name).expect("a name");
        let document = embedded.vault().read(&name, Wanted::Current).await.expect("read").expect("there");
        let secret = document.client_secret.expose().to_owned();
        assert!(life.secrets.contains(&secret), "the vault has a secret that was not revealed");
        secrets.push(secret);
    }
    secrets
}
