//! Tokens that are taken apart: `domain::jws`, `domain::claims`, `callers::Unproven`.
//!
//! The input is a token as it is, and, split at its first two line feeds, a token's parts before they are encoded, so that
//! JSON can be changed without a thought for base64. What is read is held against a reading of this file's own.
#![no_main]

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward::callers::Unproven;
use keyward::domain::claims::{Claims, Rule, Unverified, token_id_of};
use keyward::domain::jws::{Jws, MAX_TOKEN_BYTES};
use keyward::domain::person::{MAX_GROUPS, MAX_NAME, Person, TokenUse};
use libfuzzer_sys::fuzz_target;
use serde::Deserializer as _;
use serde_json::Value;
use serde_json::value::RawValue;

fuzz_target!(|input: &[u8]| {
    if let Ok(token) = std::str::from_utf8(input) {
        check(token);
    }
    check(&input.splitn(3, |&byte| byte == b'\n').map(encoded).collect::<Vec<_>>().join("."));
});

fn check(token: &str) {
    let expected = Expected::of(token);
    match (Jws::read(token), &expected) {
        (Ok(jws), Some(expected)) => check_jws(token, &jws, expected),
        (Err(problem), Some(_)) => panic!("refused, and is a JWT: {problem}"),
        (Ok(_), None) => panic!("accepted, and is no JWT"),
        (Err(_), None) => {}
    }
    match (Unverified::read(token), &expected) {
        (Ok(token_of_ours), Some(expected)) => check_ours(token, token_of_ours, expected),
        (Ok(_), None) => panic!("believed to be a JWT"),
        (Err(rejection), _) => {
            let rules = [Rule::Malformed, Rule::UnsupportedAlgorithm, Rule::UnsupportedHeader, Rule::UnknownIssuer];
            assert!(rules.contains(&rejection.rule), "{:?} needs more than the token", rejection.rule);
            let detail = rejection.detail;
            assert!(
                detail.len() <= 120 && detail.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()),
                "{detail:?}"
            );
        }
    }
    match (Unproven::read(token), &expected) {
        (Ok(_), Some(expected)) => check_callers(expected),
        (Ok(_), None) => panic!("believed to be a caller's JWT"),
        (Err(_), _) => {}
    }
}

fn check_jws(token: &str, jws: &Jws<'_>, expected: &Expected) {
    let Expected { header, payload } = expected;
    assert_eq!(token, format!("{}.{}", jws.signed, jws.signature));
    assert_eq!(URL_SAFE_NO_PAD.encode(&jws.signature_bytes), jws.signature);
    assert_eq!(header.text("alg").as_deref(), Some(jws.alg.as_str()));
    let kid = header.text("kid").filter(|kid| (1..=256).contains(&kid.len()));
    assert_eq!((jws.kid.as_deref(), jws.typ.as_deref()), (kid.as_deref(), header.text("typ").as_deref()));
    assert_eq!(jws.chooses, expected.chooses());
    let again = Object::read(&jws.payload).expect("an object");
    assert!(
        again.0.iter().map(|(name, raw)| (name, raw.get())).eq(payload.0.iter().map(|(name, raw)| (name, raw.get())))
    );
}

fn check_ours(token: &str, read: Unverified<'_>, expected: &Expected) {
    let Expected { header, payload } = expected;
    assert_eq!(header.get("alg"), "RS256");
    assert!(!expected.chooses() && header.text("typ").is_none_or(|typ| typ.eq_ignore_ascii_case("JWT")));
    assert_eq!(token, format!("{}.{}", read.signed, URL_SAFE_NO_PAD.encode(&read.signature)));
    assert!(read.kid.is_none() || read.kid.as_deref() == header.text("kid").as_deref());
    assert_eq!(payload.text("iss").as_deref(), Some(read.issuer().as_str()));

    let Claims { issuer, app_client, token_id, token_use, scopes, person, issue_time, not_before, expire_time } =
        read.into_claims();
    let is_id = payload.get("token_use") == "id";
    assert_eq!(payload.text("iss").as_deref(), Some(issuer.as_str()));
    let whose = if is_id { "aud" } else { "client_id" };
    assert_eq!(payload.text(whose).as_deref(), Some(app_client.as_str()));
    assert_eq!(payload.text("jti").as_deref(), token_id.as_ref().map(|id| id.as_str()));
    assert_eq!(token_id_of(token), token_id);
    let said = payload.text("token_use").expect("a use");
    assert_eq!(token_use.as_str(), if ["access", "id"].contains(&said.as_str()) { said.as_str() } else { "" });
    assert_eq!(token_use == TokenUse::Id, is_id);
    check_person(payload, is_id, person.as_deref());
    let scope = if is_id { String::new() } else { payload.text("scope").unwrap_or_default() };
    let said: BTreeSet<&str> = scope.split(' ').filter(|s| !s.is_empty()).collect();
    assert_eq!(scopes.iter().map(|scope| scope.as_str()).collect::<BTreeSet<_>>(), said);
    assert_eq!(payload.get("iat").as_i64(), Some(issue_time.as_second()));
    assert_eq!(payload.get("nbf").as_i64(), not_before.map(|time| time.as_second()));
    assert_eq!(payload.get("exp").as_i64(), Some(expire_time.as_second()));
}

/// A username, under the name that the use has for it, is what makes a token a person's.
fn check_person(payload: &Object, is_id: bool, person: Option<&Person>) {
    assert_eq!(person.is_some(), is_id || !payload.get("username").is_null());
    let Some(person) = person else { return };
    let name = if is_id { "cognito:username" } else { "username" };
    assert_eq!(payload.text(name).as_deref(), Some(person.username.as_str()));
    assert_eq!(payload.text("sub").as_deref(), Some(person.subject.as_str()));
    let groups = match payload.get("cognito:groups") {
        Value::Array(groups) => groups,
        other => {
            assert!(other.is_null());
            Vec::new()
        }
    };
    assert!(groups.len() <= MAX_GROUPS);
    let groups: BTreeSet<_> = groups.iter().map(|group| group.as_str().expect("a name")).collect();
    assert!(person.groups.iter().eq(groups.iter()), "sorted, and each once");
    for name in groups.into_iter().chain([person.username.as_str()]) {
        let length = name.chars().count();
        assert!((1..=MAX_NAME).contains(&length) && !name.chars().any(char::is_control));
    }
}

fn check_callers(expected: &Expected) {
    let Expected { header, payload } = expected;
    let types = ["jwt", "at+jwt", "application/at+jwt", "jose"];
    assert!(header.text("typ").is_none_or(|typ| types.contains(&typ.to_ascii_lowercase().as_str())));
    assert!(!expected.chooses());
    let sub = payload.text("sub").expect("nobody without a name");
    assert!((1..=1_024).contains(&sub.len()) && sub.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
}

/// What a token says, by a reading that shares no code of Keyward's.
struct Expected {
    header: Object,
    payload: Object,
}

impl Expected {
    /// `None` for what is no JWT.
    fn of(token: &str) -> Option<Self> {
        let parts: Vec<&str> = token.split('.').collect();
        let &[header, payload, signature] = parts.as_slice() else { return None };
        decoded(signature)?;
        let (header, payload) = (Object::read(&decoded(header)?)?, Object::read(&decoded(payload)?)?);
        let is_text_or_absent = |name: &str| header.get(name).is_null() || header.get(name).is_string();
        let fits = header.get("alg").is_string() && is_text_or_absent("kid") && is_text_or_absent("typ");
        (fits && token.len() <= MAX_TOKEN_BYTES).then_some(Expected { header, payload })
    }

    fn chooses(&self) -> bool {
        ["crit", "jku", "jwk", "x5u", "x5c"].iter().any(|name| self.header.has(name))
    }
}

/// The members of a JSON object, each as it was written.
struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    /// `None` for what is no JSON object in UTF-8 whose names are distinct.
    fn read(json: &[u8]) -> Option<Self> {
        struct Members;

        impl<'de> serde::de::Visitor<'de> for Members {
            type Value = Vec<(String, Box<RawValue>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                std::iter::from_fn(|| map.next_entry().transpose()).collect()
            }
        }

        let mut reader = serde_json::Deserializer::from_str(std::str::from_utf8(json).ok()?);
        let members = reader.deserialize_map(Members).ok()?;
        reader.end().ok()?;
        let distinct: BTreeSet<&String> = members.iter().map(|(name, _)| name).collect();
        (distinct.len() == members.len()).then_some(Object(members))
    }

    /// Null where it is not there; `false`, which nothing may be, where it is written well and cannot be held, as 1e400.
    fn get(&self, name: &str) -> Value {
        let member = self.0.iter().find(|(known, _)| known == name);
        member.map_or(Value::Null, |(_, raw)| serde_json::from_str(raw.get()).unwrap_or(Value::Bool(false)))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).as_str().map(str::to_owned)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64url without padding (RFC 4648, section 5).
fn encoded(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        let sextets = [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize]);
        text.extend(sextets[..=group.len()].iter().map(|&byte| char::from(byte)));
    }
    text
}

/// `None` for whatever [`encoded`] would not have written.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.bytes() {
        let sextet = ALPHABET.iter().position(|&known| known == letter)? as u32;
        (bits, count) = (bits << 6 | sextet, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (encoded(&bytes) == text).then_some(bytes)
}
