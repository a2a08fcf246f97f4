//! What must be nowhere, and the search for it: any 16 characters in a row of a secret, in whatever form.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

const WINDOW: usize = 16;

#[derive(Default)]
pub struct Needles(HashSet<[u8; WINDOW]>);

impl Needles {
    /// A secret in clear, and as base64 and hexadecimal digits of it, wherever in an encoded text it begins.
    pub fn add_secret(&mut self, secret: &str) {
        self.add(secret.as_bytes());
        self.add_encoded(secret.as_bytes());
    }

    /// The base64 text of a key, and the key.
    pub fn add_key(&mut self, text: &str) {
        self.add_secret(text);
        let key = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
        self.add(&key);
        self.add_encoded(&key);
    }

    /// A token but its header, which says nothing that is secret.
    pub fn add_token(&mut self, token: &str) {
        let (_, rest) = token.split_once('.').expect("three parts");
        self.add(rest.as_bytes());
    }

    fn add(&mut self, text: &[u8]) {
        assert!(text.len() >= WINDOW);
        self.0.extend(text.windows(WINDOW).map(|window| <[u8; WINDOW]>::try_from(window).expect("its length")));
    }

    fn add_encoded(&mut self, text: &[u8]) {
        self.add(hex::encode(text).as_bytes());
        self.add(hex::encode_upper(text).as_bytes());
        for start in 0..3 {
            let whole = &text[start..start + (text.len() - start) / 3 * 3];
            self.add(STANDARD_NO_PAD.encode(whole).as_bytes());
            self.add(URL_SAFE_NO_PAD.encode(whole).as_bytes());
        }
    }

    /// Where the first of them begins.
    pub fn first_in(&self, text: &[u8]) -> Option<usize> {
        text.windows(WINDOW).position(|window| self.0.contains(window))
    }
}

#[test]
fn a_needle_is_found_in_every_form_and_place() {
    let secret = "0123456789abcdefXYZ+_0123456789";
    let mut needles = Needles::default();
    needles.add_secret(secret);
    for before in ["", "a", "ab", "abc"] {
        let text = format!("{before}{secret}");
        for form in [text.clone(), hex::encode(&text), STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
            assert!(needles.first_in(form.as_bytes()).is_some(), "{form}");
        }
    }
    assert_eq!(needles.first_in(b"nothing of the kind, and 0123456789abcde is too short"), None);
}
