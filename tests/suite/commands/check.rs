//! `keyward check`.

use std::path::Path;

use super::{Ran, configure, run};
use crate::harness::{Binary, folder};

#[test]
fn what_it_prints_is_a_configuration_that_means_the_same() {
    let (_folder, path) = folder();
    let config =
        configure(&path, "tokens.max_cached = 7\nsecrets.prefix = \"a/b\"\nrotation.recovery_window = \"8d\"\n");
    let first = check(&config);
    assert_eq!(first.code, 0, "{}", first.err);
    for (key, value) in [("max_cached", "7"), ("prefix", "\"a/b\""), ("recovery_window", "\"8d\"")] {
        let line = first.out.lines().find(|line| line.starts_with(&format!("{key} = {value} ")));
        assert!(line.is_some_and(|line| line.contains("# set; default ")), "{key}: {}", first.out);
    }

    let full = path.join("full.toml");
    std::fs::write(&full, &first.out).expect("written");
    let second = check(&full);
    assert_eq!(second.code, 0, "{}", second.err);
    assert_eq!(body(&first), body(&second));
}

#[test]
fn it_starts_nothing_and_prints_no_secret() {
    let (_folder, path) = folder();
    let config = configure(&path, "");
    let key = std::fs::read_to_string(path.join("master.key")).expect("the key");
    let ran = check(&config);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!path.join("data").exists(), "the data folder was made");
    assert!(!ran.out.contains(key.trim()) && !ran.err.contains(key.trim()));

    let config = path.join("variable.toml");
    std::fs::write(&config, "callers.trust_loopback = true\n").expect("written");
    let ran = run(Binary::command().arg("check").arg("--config").arg(config).env("KEYWARD_MASTER_KEY", key.trim()));
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("KEYWARD_MASTER_KEY") && !ran.out.contains(key.trim()), "{}", ran.out);
}

#[test]
fn what_is_wrong_is_one_line_that_names_the_file_the_line_and_the_key() {
    let (_folder, path) = folder();
    for (wrong, key) in [
        ("tokens.max_cachd = 7", "tokens.max_cachd"),
        ("tokens.max_cached = 0", "tokens.max_cached"),
        ("tokens.max_cached = \"many\"", "tokens.max_cached"),
        ("shutdown.drain_deadline = \"11min\"", "shutdown.drain_deadline"),
        ("journal.poll_interval = \"soon\"", "journal.poll_interval"),
        ("backend = \"gcp\"", "backend"),
        ("aws.region = \"EU\"", "aws.region"),
        ("log.format = \"xml\"", "log.format"),
        ("log.filter = \"keyward=loud\"", "log.filter"),
        ("secrets.prefix = \"//\"", "secrets.prefix"),
        ("embedded.issuer_base = \"ftp://x\"", "embedded.issuer_base"),
    ] {
        let config = configure(&path, wrong);
        let ran = check(&config);
        let start = format!("keyward: {}:5: {key}: ", config.display());
        assert!(ran.err.starts_with(&start) && ran.err.lines().count() == 1, "{wrong}: {}", ran.err);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{wrong}");
    }
}

#[test]
fn a_file_that_is_not_there_or_no_toml_is_named() {
    let (_folder, path) = folder();
    let config = path.join("nowhere.toml");
    let ran = check(&config);
    assert!(ran.code == 2 && ran.err.contains("nowhere.toml"), "{}", ran.err);
    std::fs::write(&config, "callers.trust_loopback = true\n= 7\n").expect("written");
    let ran = check(&config);
    assert!(ran.code == 2 && ran.err.contains("nowhere.toml:2"), "{}", ran.err);
}

fn check(config: &Path) -> Ran {
    run(Binary::command().arg("check").arg("--config").arg(config))
}

/// Without the line that names the file.
fn body(ran: &Ran) -> &str {
    ran.out.split_once("\n\n").expect("a heading").1
}
