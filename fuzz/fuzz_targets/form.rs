//! Forms of OAuth 2.0, `callers::Form`, and app client ids with their secrets, `callers::Login`.
//!
//! The input is the body of a request, the credential after `Basic `, and what such a credential encodes.
#![no_main]

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::{Serializer, byte_serialize};
use keyward::callers::{Form, Login};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    check_form(input);
    if let Ok(credential) = std::str::from_utf8(input) {
        check_login(credential);
    }
    check_login(&STANDARD.encode(input));
});

fn check_form(body: &[u8]) {
    let expected = expected(body);
    let form = match (Form::read(body), &expected) {
        (Ok(form), Some(_)) => form,
        (Err(problem), Some(_)) => panic!("refused, and is a form: {problem}"),
        (Ok(_), None) => panic!("accepted, and is no form"),
        (Err(_), None) => return,
    };
    let expected = expected.unwrap_or_default();
    let given: Vec<_> = expected.iter().filter(|(_, value)| !value.is_empty()).collect();
    assert!(form.names().eq(given.iter().map(|(name, _)| name.as_str())));
    for (name, value) in &expected {
        assert_eq!(form.get(name), Some(value.as_str()).filter(|value| !value.is_empty()), "{name}");
    }

    // As a client would write it.
    let written = Serializer::new(String::new()).extend_pairs(given.iter().map(|(name, value)| (name, value))).finish();
    if written.len() <= Form::MAX_BYTES {
        let again = Form::read(written.as_bytes()).expect("a form");
        assert!(again.names().eq(form.names()) && form.names().all(|name| again.get(name) == form.get(name)));
    }
}

/// What a form says, by a lenient reader whose leniency is not needed. `None` where it would be, and over the limits.
fn expected(body: &[u8]) -> Option<Vec<(String, String)>> {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let is_whole = body.is_empty() || body.split(|&byte| byte == b'&').all(|pair| !pair.is_empty() && pair[0] != b'=');
    let names: BTreeSet<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    let fits = body.len() <= Form::MAX_BYTES && pairs.len() <= Form::MAX_PARAMETERS && names.len() == pairs.len();
    let parts = body.split(|byte| b"&=".contains(byte));
    (is_whole && fits && is_escaped(body) && parts.into_iter().all(is_utf8)).then_some(pairs)
}

/// Printable ASCII in which every `%` has two hexadecimal digits after it.
fn is_escaped(text: &[u8]) -> bool {
    let is_good = |(at, byte): (usize, &u8)| match byte {
        b'%' => text.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
        byte => (0x21..=0x7e).contains(byte),
    };
    text.iter().enumerate().all(is_good)
}

fn is_utf8(escaped: &[u8]) -> bool {
    percent_encoding::percent_decode(escaped).decode_utf8().is_ok()
}

fn check_login(credential: &str) {
    let Some(login) = Login::read(credential) else { return };
    assert!(credential.len() <= 4_096 && !login.id.is_empty() && !login.secret.is_empty());
    let text = STANDARD.decode(credential).expect("base64");
    let colon = text.iter().position(|&byte| byte == b':').expect("a colon");
    for (part, read) in [(&text[..colon], &login.id), (&text[colon + 1..], &login.secret)] {
        assert!(is_escaped(part) && is_utf8(part));
        assert_eq!(percent_encoding::percent_decode(part).decode_utf8_lossy(), read.as_str());
    }

    // As a client would write it. Only a space has no way: a form has `+` for it, and no id and no secret has one.
    let form = |text: &str| byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let written = STANDARD.encode(format!("{}:{}", form(&login.id), form(&login.secret)));
    if written.len() <= 4_096 {
        let again = Login::read(&written).expect("an id and a secret");
        assert_eq!((&again.id, &again.secret), (&login.id, &login.secret));
    }
}
