//! A presigned request of an AWS identity: `callers::Presigned`.
//!
//! The input is a credential as it is, and the URL in one, so that the URL can be changed without a thought for base64.
#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use keyward::callers::{AWS_PREFIX, Presigned};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(credential) = std::str::from_utf8(input) {
        check(credential);
    }
    check(&credential(input));
});

fn credential(url: &[u8]) -> String {
    format!("{AWS_PREFIX}{}", URL_SAFE_NO_PAD.encode(url))
}

fn check(text: &str) {
    let Ok(presigned) = Presigned::read(text) else { return };
    assert!(text.len() <= 16_384);
    let url = URL_SAFE_NO_PAD.decode(text.strip_prefix(AWS_PREFIX).expect("the prefix")).expect("base64url");
    let url = String::from_utf8(url).expect("text");

    // The host is AWS's, whatever the URL says.
    let region = presigned.region();
    let domains = ["amazonaws.com", "amazonaws.com.cn", "amazonaws.eu"];
    assert!(domains.iter().any(|domain| presigned.host() == format!("sts.{region}.{domain}")), "{}", presigned.host());
    assert!(region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'), "{region}");
    let query = presigned.query();
    let start = format!("https://{}/?", presigned.host());
    let given = url.strip_prefix(&start).expect("the host that it was signed for, and the path /");

    // What is sent on is what was given, as another reader of queries sees it.
    let pairs =
        |query: &str| -> Vec<(String, String)> { form_urlencoded::parse(query.as_bytes()).into_owned().collect() };
    let mut sorted = pairs(given);
    sorted.sort();
    let written = pairs(&query);
    assert_eq!(written, sorted);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%=&".contains(&byte);
    assert!(query.bytes().all(plain), "{query}");

    // Each parameter is known and there once, and those that count say the one thing.
    let values: BTreeMap<&str, &str> = written.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(values.len(), written.len(), "a parameter twice: {query}");
    let fixed = [
        ("Action", "GetCallerIdentity"),
        ("Version", "2011-06-15"),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-SignedHeaders", "host;x-keyward-broker"),
    ];
    for (name, value) in fixed {
        assert_eq!(values.get(name), Some(&value), "{name}");
    }
    let (date, seconds) = (values["X-Amz-Date"], values["X-Amz-Expires"]);
    let life: u64 = seconds.parse().expect("a number");
    assert!((1..=900).contains(&life) && life.to_string() == seconds, "{seconds}");
    let scope: Vec<&str> = values["X-Amz-Credential"].split('/').collect();
    assert_eq!(scope[1..], [&date[..8], region, "sts", "aws4_request"]);
    assert!((16..=128).contains(&scope[0].len()));
    let signature = values["X-Amz-Signature"];
    assert!(signature.len() == 64 && signature.bytes().all(|byte| b"0123456789abcdef".contains(&byte)), "{signature}");
    assert!(values.get("X-Amz-Security-Token").is_none_or(|token| !token.is_empty()));
    assert_eq!(values.len(), 8 + usize::from(values.contains_key("X-Amz-Security-Token")), "{query}");

    // It holds from its date for its life.
    let with_dashes =
        format!("{}-{}-{}T{}:{}:{}Z", &date[..4], &date[4..6], &date[6..8], &date[9..11], &date[11..13], &date[13..15]);
    let date: Timestamp = with_dashes.parse().expect("an instant");
    let life = Duration::from_secs(life);
    let end = date + life;
    assert_eq!(presigned.valid_until(date, Duration::ZERO), Ok(end));
    assert!(presigned.valid_until(end, Duration::ZERO).is_err());
    let before = date - Duration::from_nanos(1);
    assert!(presigned.valid_until(before, Duration::ZERO).is_err());
    assert_eq!(presigned.valid_until(before, Duration::from_secs(1)), Ok(end));

    // What was written is read as the same, and written as the same.
    let again = Presigned::read(&credential(format!("{start}{query}").as_bytes()));
    assert_eq!(again.as_ref(), Ok(&presigned));
    assert_eq!(again.map(|again| again.query()), Ok(query));
    let printed = format!("{presigned:?}");
    assert!(!printed.contains(signature) && !printed.contains(scope[0]), "{printed}");
}
