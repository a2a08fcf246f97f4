//! Bytes that nobody meant anything by, to every method that is not a stream.

use std::time::Duration;

use proptest::prelude::{ProptestConfig, any};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use tonic::Code;

use super::daemon;
use crate::harness::{last_event, methods, send_bytes};

/// A run always sends the same bytes.
const SEED: [u8; 32] = *b"the same bytes each time, please";

/// Mostly what decodes: fields of numbers that requests have, with numbers, text and messages in them.
fn fields() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    let text = proptest::prop_oneof![
        proptest::string::string_regex("tenants/(acme|-|[a-z]{3}|.{0,8})(/clients/(orders|.{0,6}))?")
            .expect("a pattern"),
        any::<String>(),
    ];
    let leaf = proptest::prop_oneof![
        (1u8..8, any::<u64>()).prop_map(|(number, value)| {
            let mut bytes = vec![number << 3];
            prost::encoding::encode_varint(value, &mut bytes);
            bytes
        }),
        (1u8..16, text).prop_map(|(number, text)| field(number, text.as_bytes())),
        (1u8..16, proptest::collection::vec(any::<u8>(), 0..24)).prop_map(|(number, bytes)| field(number, &bytes)),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        (1u8..16, proptest::collection::vec(inner, 1..6)).prop_map(|(number, parts)| field(number, &parts.concat()))
    })
}

/// A field with a length.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend(content);
    bytes
}

#[tokio::test]
async fn random_bytes_are_never_the_brokers_fault_and_always_answered() {
    let daemon = daemon().await;
    let config = ProptestConfig::default();
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED));
    let messages = proptest::prop_oneof![
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        4 => proptest::collection::vec(fields(), 0..6).prop_map(|parts| parts.concat()),
    ];
    let unary: Vec<_> =
        methods().into_iter().filter(|it| !it.is_client_streaming() && !it.is_server_streaming()).collect();
    assert!(unary.len() > 25, "{unary:?}");
    for method in &unary {
        for _ in 0..150 {
            let message = messages.new_tree(&mut runner).expect("a message").current();
            let what = format!("{} {}", method.full_name(), hex::encode(&message));
            let answer = tokio::time::timeout(Duration::from_secs(20), send_bytes(&daemon.channel, method, message));
            if let Err(status) = answer.await.unwrap_or_else(|_| panic!("no answer: {what}")) {
                let faults =
                    [Code::Internal, Code::Unknown, Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled];
                assert!(!faults.contains(&status.code()), "{status:?}: {what}");
            }
        }
    }
    // And it is as well as before.
    daemon.token("tenants/acme/clients/orders").await;
    assert!(last_event(&daemon.channel).await > 0);
    daemon.stop().await;
}
