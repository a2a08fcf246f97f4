//! What it costs to verify a signature of RS256 with 2,048 bits, and nothing else.

use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};

use super::table::Sample;

pub const NAME: &str = "RS256 by aws-lc-rs alone, with a parsed key";
const MESSAGES: usize = 500;
const TIMES: usize = 6;

pub struct Signature {
    key: ParsedPublicKey,
    signed: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Signature {
    /// Over messages of so many bytes.
    pub fn new(bytes: usize) -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key pair");
        let components = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let key = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).expect("a public key");
        let sign = |number: usize| {
            let mut message = vec![b'x'; bytes];
            message[..8].copy_from_slice(&number.to_be_bytes());
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &message, &mut signature).expect("signed");
            (message, signature)
        };
        Signature { key, signed: (0..MESSAGES).map(sign).collect() }
    }

    pub fn measure(&self) -> Sample {
        let (before, begun) = (cpu_of_this_thread(), Instant::now());
        for _ in 0..TIMES {
            for (message, signature) in &self.signed {
                self.key.verify_sig(message, signature).expect("it is good");
            }
        }
        let checks = (MESSAGES * TIMES) as f64;
        let cost = (cpu_of_this_thread() - before).as_secs_f64() * 1e6 / checks;
        Sample { cost, p99: f64::NAN, rate: checks / begun.elapsed().as_secs_f64() }
    }
}

/// The first field of `schedstat` is nanoseconds on a processor.
fn cpu_of_this_thread() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(text.split_whitespace().next().and_then(|field| field.parse().ok()).expect("nanoseconds"))
}
