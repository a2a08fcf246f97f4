//! What `keyward serve` and `keyward check` say of `[callers]`.

use std::path::Path;
use std::process::Output;

use crate::harness::{Binary, folder};

fn run(command: &str, path: &Path, callers: &str) -> (Option<i32>, String, String) {
    let key = path.join("master.key");
    if !key.exists() {
        keyward::embedded::MasterKey::generate_file(&key).expect("a master key");
    }
    let config = path.join("keyward.toml");
    let least =
        format!("listen = \"127.0.0.1:0\"\ndata_dir = {:?}\nembedded.master_key_file = {key:?}\n", path.join("data"));
    std::fs::write(&config, format!("{least}{callers}")).expect("written");
    let Output { status, stdout, stderr } =
        Binary::command().arg(command).arg("--config").arg(&config).output().expect("keyward runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn without_a_way_in_nothing_starts() {
    let (_folder, path) = folder();
    for callers in ["", "[callers]\n", "[[callers.grant]]\ncaller = \"unix:0\"\nrole = \"operator\"\n"] {
        let (code, out, err) = run("serve", &path, callers);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{callers}");
        assert!(err.contains("callers.trust_loopback: nobody could call: name a way in"), "{err}");
        assert!(!path.join("data").exists(), "something was started");
    }
}

#[test]
fn a_ca_file_that_cannot_be_used_is_named() {
    let (_folder, path) = folder();
    let bad = path.join("ca.pem");
    for (content, problem) in [(None, "No such file"), (Some("no PEM"), "it holds no certificate in PEM")] {
        if let Some(content) = content {
            std::fs::write(&bad, content).expect("written");
        }
        let issuer = format!("[[callers.issuer]]\nissuer = \"https://i\"\naudience = \"k\"\nca_file = {bad:?}\n");
        let (code, _, err) = run("serve", &path, &issuer);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains("callers: the CA file") && err.contains(problem), "{err}");
    }
}

#[test]
fn check_prints_lists_as_they_are_set() {
    let (_folder, path) = folder();
    let callers = "[callers]\nunix = true\n\n[[callers.grant]]\ncaller = \"unix:0\"\nrole = \"operator\"\n";
    let (code, out, err) = run("check", &path, callers);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("[[callers.grant]]\ncaller = \"unix:0\"\nrole = \"operator\"\n"), "{out}");
    assert!(out.lines().any(|line| line.starts_with("unix = true ") && line.contains("set; default false")), "{out}");
}
