//! JWTs as nobody should make them: signed by a key of the test's own, over any header and claims.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use keyward::broker::ports::PublicKey;
use keyward::proto;
use serde_json::{Map, Value, json};

/// Header or claims, to be changed by a test.
pub type Fields = Map<String, Value>;

/// An RSA key of the test's own.
pub struct SigningKey {
    pub kid: String,
    pair: KeyPair,
}

/// Made once: making one takes a while, and tests do not disturb each other by sharing it.
pub static TEST_KEY: LazyLock<SigningKey> = LazyLock::new(SigningKey::generate);

impl SigningKey {
    pub fn generate() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let modulus = PublicKeyComponents::<Vec<u8>>::from(pair.public_key()).n;
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, &modulus));
        SigningKey { kid, pair }
    }

    /// As a JWKS has it.
    pub fn public(&self) -> PublicKey {
        let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(self.pair.public_key());
        let (modulus, exponent) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
        PublicKey { kid: self.kid.clone(), modulus, exponent }
    }

    /// The header of a token that is as it should be.
    pub fn header(&self) -> Fields {
        fields(json!({ "alg": "RS256", "kid": self.kid }))
    }

    /// RS256, whatever the header says.
    pub fn sign(&self, header: &Fields, claims: &Fields) -> String {
        self.sign_text(&text(header), &text(claims))
    }

    /// For what no JSON library would write.
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        self.sign_with(&RSA_PKCS1_SHA256, header, claims)
    }

    pub fn sign_with(&self, encoding: &'static dyn RsaEncoding, header: &str, claims: &str) -> String {
        let signed = signing_input(header, claims);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).expect("signed");
        with_signature(&signed, &signature)
    }
}

/// The claims of an hour's token of this client, issued at `now`, as its issuer would make them.
pub fn claims(client: &proto::Client, now: Timestamp) -> Fields {
    fields(json!({
        "sub": client.app_client_id,
        "token_use": "access",
        "scope": client.scopes.join(" "),
        "auth_time": now.as_second(),
        "iss": client.issuer,
        "exp": now.as_second() + 3600,
        "iat": now.as_second(),
        "version": 2,
        "jti": "5b0a4a5e-8d1c-4b6e-9d0f-0123456789ab",
        "client_id": client.app_client_id,
    }))
}

/// The claims of the access token of somebody who has signed in with this client, as its issuer would make them (Amazon Cognito
/// Developer Guide, "Understanding the access token").
pub fn persons_access_claims(client: &proto::Client, now: Timestamp) -> Fields {
    fields(json!({
        "sub": PERSON,
        "cognito:groups": ["writers", "readers"],
        "iss": client.issuer,
        "version": 2,
        "client_id": client.app_client_id,
        "origin_jti": "7c2e8f3a-4b1d-4c6e-8a9f-2d3e4f5a6b7c",
        "event_id": "1f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b",
        "token_use": "access",
        "scope": "openid orders/read",
        "auth_time": now.as_second(),
        "exp": now.as_second() + 3600,
        "iat": now.as_second(),
        "jti": "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d",
        "username": "ada",
    }))
}

/// The claims of the ID token that came with it ("Understanding the identity (ID) token").
pub fn id_claims(client: &proto::Client, now: Timestamp) -> Fields {
    fields(json!({
        "at_hash": "dGhlIGhhc2ggb2YgYW5vdGhlcg",
        "sub": PERSON,
        "cognito:groups": ["writers", "readers"],
        "email_verified": true,
        "iss": client.issuer,
        "cognito:username": "ada",
        "origin_jti": "7c2e8f3a-4b1d-4c6e-8a9f-2d3e4f5a6b7c",
        "aud": client.app_client_id,
        "event_id": "1f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b",
        "token_use": "id",
        "auth_time": now.as_second(),
        "exp": now.as_second() + 3600,
        "iat": now.as_second(),
        "jti": "d4c3b2a1-f5e4-4b6a-8d7c-1a0f9e2b3c4d",
        "email": "ada@example.com",
    }))
}

/// The id in the pool of whoever signs in here.
pub const PERSON: &str = "973db890-092c-49e4-a9d0-912a4c0a20c7";

/// An object's fields.
pub fn fields(value: Value) -> Fields {
    let Value::Object(fields) = value else { panic!("{value} is not an object") };
    fields
}

/// The same with one field more, or another value for it.
pub fn with(fields: &Fields, name: &str, value: impl Into<Value>) -> Fields {
    let mut fields = fields.clone();
    fields.insert(name.to_owned(), value.into());
    fields
}

pub fn without(fields: &Fields, name: &str) -> Fields {
    let mut fields = fields.clone();
    fields.remove(name).unwrap_or_else(|| panic!("there is no {name}"));
    fields
}

pub fn text(fields: &Fields) -> String {
    serde_json::to_string(fields).expect("JSON")
}

/// Header and claims as they are signed.
pub fn signing_input(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

pub fn with_signature(signed: &str, signature: &[u8]) -> String {
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A part of a token, decoded: 0 is the header, 1 the claims.
pub fn decoded(token: &str, part: usize) -> Fields {
    let part = token.split('.').nth(part).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("a JSON object")
}
