//! An issuer of JWTs with a key of each kind, its key set in a file, and on request over HTTP.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::AUDIENCE;
use crate::fake::http::{Answer, Asked, Reply, Server, Service};
use crate::harness::forge::{Fields, SigningKey, TEST_KEY, fields, signing_input, text, with_signature};

pub struct Issuer {
    pub name: String,
    pub file: PathBuf,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    _folder: TempDir,
}

impl Issuer {
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let ed = Ed25519KeyPair::generate().expect("a key");
        let file = folder.path().join("jwks.json");
        let issuer = Issuer { name: name.to_owned(), file, ec, ed, _folder: folder };
        issuer.publish(&issuer.key_set());
        issuer
    }

    pub fn publish(&self, set: &Value) {
        std::fs::write(&self.file, set.to_string()).expect("written");
    }

    /// All three keys, as RFC 7517 has them.
    pub fn key_set(&self) -> Value {
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let rsa = TEST_KEY.public();
        let point = self.ec.public_key().as_ref();
        let ed = self.ed.public_key().as_ref();
        json!({ "keys": [
            { "kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256", "n": rsa.modulus, "e": rsa.exponent },
            { "kty": "EC", "kid": "ec", "crv": "P-256", "x": encoded(&point[1..33]), "y": encoded(&point[33..]) },
            { "kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": encoded(ed) },
        ] })
    }

    /// What a token of an hour says that is as it should be.
    pub fn claims(&self, subject: &str, now: Timestamp) -> Fields {
        let second = now.as_second();
        fields(json!({
            "iss": self.name, "sub": subject, "aud": AUDIENCE, "iat": second, "nbf": second, "exp": second + 3600,
        }))
    }

    pub fn token(&self, subject: &str, now: Timestamp) -> String {
        self.signed("rsa", &self.claims(subject, now))
    }

    /// Signed with the key of this `kid`, by its own algorithm.
    pub fn signed(&self, kid: &str, claims: &Fields) -> String {
        let alg = match kid {
            "ec" => "ES256",
            "ed" => "EdDSA",
            _ => "RS256",
        };
        self.signed_as(kid, &fields(json!({ "alg": alg, "kid": kid })), claims)
    }

    /// Signed with the key `with`, whatever the header says.
    pub fn signed_as(&self, with: &str, header: &Fields, claims: &Fields) -> String {
        let signed = signing_input(&text(header), &text(claims));
        match with {
            "ec" => {
                let signature = self.ec.sign(&SystemRandom::new(), signed.as_bytes()).expect("signed");
                with_signature(&signed, signature.as_ref())
            }
            "ed" => with_signature(&signed, self.ed.sign(signed.as_bytes()).as_ref()),
            "other" => SigningKey::generate().sign(header, claims),
            _ => TEST_KEY.sign(header, claims),
        }
    }
}

/// Serves documents by path, and counts.
#[derive(Default)]
pub struct Documents {
    at: Mutex<HashMap<String, Answer>>,
    pub asked: AtomicUsize,
    /// The `authorization` of the last request.
    pub shown: Mutex<String>,
}

impl Documents {
    pub async fn start() -> (Arc<Self>, Server) {
        let documents = Arc::new(Documents::default());
        let server = Server::start(documents.clone()).await;
        (documents, server)
    }

    pub fn put(&self, path: &str, document: &Value) {
        self.put_answer(path, 200, Vec::new(), document.to_string().into_bytes());
    }

    pub fn put_answer(&self, path: &str, status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8>) {
        self.at.lock().expect("unharmed").insert(path.to_owned(), Answer { status, headers, body });
    }

    pub fn count(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Service for Documents {
    async fn answer(&self, asked: Asked) -> Reply {
        self.asked.fetch_add(1, Ordering::SeqCst);
        *self.shown.lock().expect("unharmed") = asked.header("authorization").to_owned();
        let found = self.at.lock().expect("unharmed").get(&asked.path).cloned();
        Reply::Whole(found.unwrap_or(Answer { status: 404, headers: Vec::new(), body: Vec::new() }))
    }
}
