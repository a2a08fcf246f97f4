//! What reflection says of Envoy's service is what `envoy-types` was made from.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use serde_json::Value;

use crate::harness::{Binary, folder, grpcurl};

const SERVICE: &str = "envoy/service/auth/v3/external_auth.proto";

/// Without comments, and with the files that it needs and no others.
#[test]
fn the_descriptors_are_those_of_the_crate() {
    let all = std::fs::read(crate_folder().join("src/generated/types.bin")).expect("the crate's descriptors");
    let all = FileDescriptorSet::decode(all.as_slice()).expect("descriptors");
    let all: HashMap<_, _> = all.file.into_iter().map(|file| (file.name().to_owned(), file)).collect();
    let mut file = Vec::new();
    collect(SERVICE, &all, &mut file);
    let expected = FileDescriptorSet { file }.encode_to_vec();
    let ours = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/src/grpc/envoy.bin")).expect("ours");
    if ours != expected {
        let made = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("envoy.bin");
        std::fs::write(&made, expected).expect("written");
        panic!("src/grpc/envoy.bin is not what the crate has: take {}", made.display());
    }
}

/// As somebody would who looks why a route lets nobody through.
#[test]
fn grpcurl_describes_the_service_and_asks_it() {
    let (_folder, path) = folder();
    let broker = Binary::dev(&path.join("data"));
    let grpcurl = |arguments: &[&str]| {
        let output = Command::new(grpcurl().join("grpcurl")).arg("-plaintext").args(arguments).output();
        let output = output.expect("grpcurl runs");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let described = grpcurl(&[&broker.address, "describe", "envoy.service.auth.v3.Authorization"]);
    assert!(described.contains("Check") && described.contains("CheckRequest"), "{described}");
    let described = grpcurl(&[&broker.address, "describe", "envoy.service.auth.v3.AttributeContext"]);
    assert!(described.contains("context_extensions"), "{described}");
    for (rule, reason) in [("keyward.scopes", "CREDENTIALS_MISSING"), ("keyward.scope", "FIELD_INVALID")] {
        let question = format!("{{\"attributes\": {{\"context_extensions\": {{\"{rule}\": \"orders/read\"}}}}}}");
        let answer = grpcurl(&["-d", &question, &broker.address, super::CHECK]);
        assert!(answer.contains(reason), "{answer}");
    }
}

/// The file after everything that it needs.
fn collect(name: &str, all: &HashMap<String, FileDescriptorProto>, files: &mut Vec<FileDescriptorProto>) {
    if files.iter().any(|file| file.name() == name) {
        return;
    }
    let mut file = all.get(name).unwrap_or_else(|| panic!("there is no {name}")).clone();
    file.dependency.iter().for_each(|needed| collect(needed, all, files));
    file.source_code_info = None;
    files.push(file);
}

fn crate_folder() -> PathBuf {
    // Packages of other platforms are not there.
    let rustc = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let rustc = String::from_utf8(rustc.stdout).expect("text");
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let metadata = ["metadata", "--format-version", "1", "--locked", "--filter-platform", host];
    let output = Command::new(env!("CARGO")).args(metadata).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == "envoy-types").expect("envoy-types");
    let manifest = PathBuf::from(package["manifest_path"].as_str().expect("a path"));
    manifest.parent().expect("a folder").to_owned()
}
