//! What the crate brings along for those who want the client alone.

use std::process::Command;

/// In no tree of a service that only wants to verify. Of what begins with `aws-` it has the cryptography, `aws-lc-rs`.
const FOREIGN: [&str; 12] = [
    "axum",
    "cedar-policy",
    "clap",
    "jsonwebtoken",
    "moka",
    "prometheus-client",
    "reqwest",
    "rusqlite",
    "rustls",
    "tonic-health",
    "tonic-reflection",
    "tracing-subscriber",
];

#[test]
fn the_client_alone_brings_neither_aws_nor_the_server() {
    let tree = |features: &[&str]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"]).args(features);
        let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect::<Vec<_>>()
    };
    let is_foreign =
        |name: &&String| FOREIGN.contains(&name.as_str()) || name.starts_with("aws-") && !name.starts_with("aws-lc-");
    let alone = tree(&["--no-default-features", "--features", "client"]);
    assert!(alone.iter().any(|name| name == "tonic"));
    assert_eq!(alone.iter().filter(is_foreign).collect::<Vec<_>>(), Vec::<&String>::new());
    // Or the names above were wrong.
    let whole = tree(&[]);
    assert!(FOREIGN.iter().all(|foreign| whole.iter().any(|name| name == foreign)));
}
