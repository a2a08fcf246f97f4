//! Compiles the contract in `proto/` with protox, so that no `protoc` is needed, and keeps the descriptors for
//! reflection.

use std::path::PathBuf;

use prost::Message as _;

const FILES: &[&str] = &[
    "keyward/v1/audit_service.proto",
    "keyward/v1/catalog_service.proto",
    "keyward/v1/client_service.proto",
    "keyward/v1/error_reason.proto",
    "keyward/v1/tenant_service.proto",
    "keyward/v1/token_service.proto",
    "keyward/v1/verification_service.proto",
];

/// Messages that hold a secret or a token, or say who a person is. Their `Debug` is written by hand, censored, in `src/proto.rs`.
const SECRET: &[&str] = &[
    "keyward.v1.AccessToken",
    "keyward.v1.ImportClientRequest",
    "keyward.v1.ImportClientRequest.secret_source",
    "keyward.v1.MatchTenantRequest",
    "keyward.v1.MatchTenantRequest.hint",
    "keyward.v1.OidcProvider",
    "keyward.v1.RevealClientSecretResponse",
    "keyward.v1.RevokeTokensRequest",
    "keyward.v1.RevokeTokensRequest.target",
    "keyward.v1.VerifyTokenRequest",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=proto");

    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    std::fs::write(out.join("keyward.v1.bin"), descriptors.encode_to_vec())?;

    // Maps are ordered, so that one message has one encoding: fingerprints of requests depend on it.
    // Servers are for the daemon alone.
    let has_server = std::env::var_os("CARGO_FEATURE_SERVER").is_some();
    tonic_prost_build::configure()
        .build_server(has_server)
        .btree_map(".")
        .skip_debug(SECRET)
        .compile_fds(descriptors)?;
    Ok(())
}
