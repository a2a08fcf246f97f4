//! Starts that fail: each says which key or file is wrong. Exit code 2 where the configuration is at fault, 1 where
//! what it finds on the machine is.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use keyward::embedded::MasterKey;

use super::{configure, run, serve};
use crate::harness::{Binary, folder};

#[test]
fn a_key_that_is_unknown_or_out_of_range_is_named() {
    let (_folder, path) = folder();
    for (wrong, key) in
        [("grpc.timeout = \"1s\"", "grpc.timeout"), ("grpc.request_timeout = \"1h\"", "grpc.request_timeout")]
    {
        expect(&path, wrong, 2, &["keyward.toml:5", key]);
        assert!(!path.join("data").exists(), "something was started");
    }
}

#[test]
fn only_a_loopback_address_is_listened_on_and_only_knowingly() {
    let (_folder, path) = folder();
    let config = configure(&path, "");
    let least = std::fs::read_to_string(&config).expect("read");
    for address in ["0.0.0.0:0", "192.0.2.1:7443", "[::]:7443"] {
        std::fs::write(&config, least.replace("127.0.0.1:0", address)).expect("written");
        expect_of(&config, 2, &["keyward.toml:1", "listen", "loopback"]);
    }
    std::fs::write(&config, least.replace("callers.trust_loopback = true", "")).expect("written");
    expect_of(&config, 2, &["keyward.toml", "callers.trust_loopback"]);
    assert!(!path.join("data").exists(), "something was started");
}

#[test]
fn without_a_master_key_it_says_where_one_is_looked_for() {
    let (_folder, path) = folder();
    let config = path.join("keyward.toml");
    std::fs::write(&config, "callers.trust_loopback = true\n").expect("written");
    expect_of(&config, 2, &["keyward.toml", "embedded.master_key_file", "KEYWARD_MASTER_KEY", "openssl rand"]);
}

#[test]
fn a_master_key_file_that_cannot_be_used_is_named() {
    let (_folder, path) = folder();
    let (config, key) = (configure(&path, ""), path.join("master.key"));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    expect_of(&config, 1, &["master.key", "644", "chmod 600"]);

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    std::fs::write(&key, "hunter2hunter2hunter2").expect("written");
    let err = expect_of(&config, 1, &["master.key", "base64 of 32 bytes"]);
    assert!(!err.contains("hunter2"), "{err}");

    std::fs::remove_file(&key).expect("removed");
    expect_of(&config, 1, &["master.key"]);
}

#[test]
fn data_under_another_master_key_is_refused_and_left_as_it_is() {
    let (_folder, path) = folder();
    let config = configure(&path, "");
    start_and_stop(&config);
    let (key, kept) = (path.join("master.key"), path.join("kept.key"));
    std::fs::rename(&key, &kept).expect("renamed");
    MasterKey::generate_file(&key).expect("another key");
    expect_of(&config, 1, &["keyward.db", "another master key"]);

    std::fs::rename(&kept, &key).expect("renamed");
    start_and_stop(&config);
}

#[test]
fn a_file_of_another_program_is_refused_and_left_as_it_is() {
    let (_folder, path) = folder();
    let config = configure(&path, "");
    let file = data_file(&path);
    std::fs::write(&file, "this is a text, and was here before".repeat(99)).expect("written");
    let before = std::fs::read(&file).expect("read");
    expect_of(&config, 1, &["keyward.db", "not one of Keyward's"]);
    assert_eq!(std::fs::read(&file).expect("read"), before);

    std::fs::remove_file(&file).expect("removed");
    let foreign = rusqlite::Connection::open(&file).expect("a database");
    foreign.execute_batch("CREATE TABLE notes (text TEXT)").expect("made");
    drop(foreign);
    expect_of(&config, 1, &["keyward.db", "not one of Keyward's"]);
}

#[test]
fn a_file_of_a_newer_keyward_is_refused() {
    let (_folder, path) = folder();
    let config = configure(&path, "");
    start_and_stop(&config);
    let database = rusqlite::Connection::open(data_file(&path)).expect("the database");
    database.pragma_update(None, "user_version", 4_711).expect("updated");
    drop(database);
    expect_of(&config, 1, &["keyward.db", "schema 4711", "newer"]);
}

#[test]
fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (_folder, path) = folder();
    let config = configure(&path, "");
    let least = std::fs::read_to_string(&config).expect("read");
    std::fs::write(&config, least.replace("127.0.0.1:0", &address)).expect("written");
    expect_of(&config, 1, &["listen", &address, "in use"]);
}

#[test]
fn a_data_folder_has_one_broker() {
    let (_folder, path) = folder();
    let config = configure(&path, "");
    let broker = Binary::start(&mut serve(&config));
    expect_of(&config, 1, &["another keyward", path.join("data").to_str().expect("UTF-8")]);
    broker.signal("TERM");
    assert!(broker.wait().0.success());
    start_and_stop(&config);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let (_folder, path) = folder();
    let config = configure(&path, "");
    std::fs::write(path.join("data"), "a file").expect("written");
    expect_of(&config, 1, &[path.join("data").to_str().expect("UTF-8")]);
}

fn expect(folder: &Path, more: &str, code: i32, words: &[&str]) {
    expect_of(&configure(folder, more), code, words);
}

/// Fails the test unless the start fails with this code and says all of this in one line.
fn expect_of(config: &Path, code: i32, words: &[&str]) -> String {
    let ran = run(&mut serve(config));
    assert_eq!(ran.code, code, "{}", ran.err);
    let line = ran.err.lines().last().unwrap_or_default();
    assert!(line.starts_with("keyward: "), "{}", ran.err);
    for word in words {
        assert!(line.contains(word), "{word:?} is not in {}", ran.err);
    }
    ran.err
}

fn start_and_stop(config: &Path) {
    let broker = Binary::start(&mut serve(config));
    broker.signal("TERM");
    let (status, log) = broker.wait();
    assert!(status.success(), "{log}");
}

fn data_file(folder: &Path) -> std::path::PathBuf {
    let data = folder.join("data");
    std::fs::create_dir_all(&data).expect("made");
    data.join("keyward.db")
}
