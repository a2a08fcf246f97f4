//! Configurations: `config::Config`.
//!
//! Wherever the input says `@KEY@`, a master key is put: somebody has pasted it where it does not belong. No error shows it.
#![no_main]

use std::path::Path;

use keyward::config::{Backend, Config};
use libfuzzer_sys::fuzz_target;

/// Base64 of 32 bytes, as a master key is.
const KEY: &str = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=";

fuzz_target!(|input: &[u8]| {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let text = input.replace("@KEY@", KEY);
    let path = Path::new("keyward.toml");
    let read = Config::parse(&text, path);
    assert_eq!(Config::parse(&text, path), read, "the same text is read as the same");
    let config = match read {
        Ok(config) => config,
        Err(error) => {
            let lines = text.bytes().filter(|&byte| byte == b'\n').count() + 1;
            assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{error}");
            let shown = error.to_string();
            assert!(!shown.contains(KEY.trim_end_matches('=')), "{shown}");
            assert!(!shown.contains(char::is_control), "{shown:?}");
            return;
        }
    };

    // Limits that are documented, and that a start relies on.
    let callers = &config.callers;
    assert!((1..=8).contains(&config.listen.0.len()));
    assert!(callers.spiffe.len() <= 64 && callers.issuer.len() <= 64 && callers.grant.len() <= 1_000);
    assert!(callers.grant.iter().all(|grant| grant.read().is_ok()));
    let named = callers.unix || callers.client_secrets || config.tls.client_ca_file.is_some();
    let trusted = !callers.spiffe.is_empty() || !callers.issuer.is_empty() || !callers.aws.accounts.is_empty();
    assert_ne!(callers.trust_loopback, named || trusted, "one way in, and one alone that trusts everybody");
    assert!(config.tls.certificate_file.is_some() == config.tls.key_file.is_some());
    assert!(config.backend != Backend::Aws || !config.aws.region.is_empty());
    assert!(config.permission.policies.is_some() || !config.permission.replace_defaults);

    // What is explained can be used as it is.
    let explained = config.explain();
    match Config::parse(&explained, path) {
        Ok(again) => assert_eq!(again, config, "{explained}"),
        Err(error) => panic!("{error}\n{explained}"),
    }
});
