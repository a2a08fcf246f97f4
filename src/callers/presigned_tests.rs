use proptest::prelude::*;

use super::*;

const HOST: &str = "https://sts.eu-central-1.amazonaws.com/?";

/// A request that is as it should be, as parameters.
fn parameters() -> Vec<(String, String)> {
    let signature = "0123456789abcdef".repeat(4);
    [
        (ACTION, "GetCallerIdentity"),
        (VERSION, "2011-06-15"),
        (ALGORITHM, "AWS4-HMAC-SHA256"),
        (CREDENTIAL, "TESTACCESSKEYID01%2F20260101%2Feu-central-1%2Fsts%2Faws4_request"),
        (DATE, "20260101T000000Z"),
        (EXPIRES, "900"),
        (SECURITY_TOKEN, "abc%2Fdef%2B%3D%3D"),
        (SIGNED, "host%3Bx-keyward-broker"),
        (SIGNATURE, &signature),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn url(parameters: &[(String, String)]) -> String {
    let query: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{HOST}{}", query.join("&"))
}

fn credential(url: &str) -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(url))
}

fn read(url: &str) -> Result<Presigned, Problem> {
    Presigned::read(&credential(url))
}

/// With another value, or without the parameter.
fn with(name: &str, value: Option<&str>) -> String {
    let mut parameters = parameters();
    parameters.retain_mut(|(known, kept)| {
        if known == name {
            *kept = value.unwrap_or_default().to_owned();
        }
        known != name || value.is_some()
    });
    url(&parameters)
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

#[test]
fn a_request_is_written_anew_in_the_one_order() {
    let presigned = read(&url(&parameters())).expect("good");
    assert_eq!((presigned.region(), presigned.host().as_str()), ("eu-central-1", "sts.eu-central-1.amazonaws.com"));
    let signature = "0123456789abcdef".repeat(4);
    assert_eq!(
        presigned.query(),
        format!(
            "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=\
             TESTACCESSKEYID01%2F20260101%2Feu-central-1%2Fsts%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=900\
             &X-Amz-Security-Token=abc%2Fdef%2B%3D%3D&X-Amz-Signature={signature}&X-Amz-SignedHeaders=host%3Bx-keyward-broker"
        )
    );
    let mut turned = parameters();
    turned.reverse();
    assert_eq!(read(&url(&turned)), Ok(presigned.clone()), "the order does not count");
    assert_eq!(read(&with(EXPIRES, Some("%39%30%30"))), Ok(presigned), "escapes are undone");
    let without = read(&with(SECURITY_TOKEN, None)).expect("not temporary");
    assert!(!without.query().contains("Token"));
}

#[test]
fn a_signature_holds_from_its_date_for_its_life() {
    let presigned = read(&with(EXPIRES, Some("60"))).expect("good");
    let leeway = Duration::from_secs(5);
    let end = at("2026-01-01T00:01:00Z");
    assert_eq!(presigned.valid_until(at("2026-01-01T00:00:00Z"), leeway), Ok(end));
    assert_eq!(presigned.valid_until(at("2025-12-31T23:59:55Z"), leeway), Ok(end));
    assert!(presigned.valid_until(at("2025-12-31T23:59:54Z"), leeway).is_err(), "in the future");
    assert_eq!(presigned.valid_until(at("2026-01-01T00:00:59.9Z"), leeway), Ok(end));
    assert!(presigned.valid_until(end, leeway).is_err(), "expired");
}

#[test]
fn every_part_has_one_form() {
    let good = url(&parameters());
    let swapped = |from: &str, to: &str| good.replacen(from, to, 1);
    let signature = "0123456789abcdef".repeat(4);
    let bad = [
        // The place.
        swapped("https://", "http://"),
        swapped("https://", "HTTPS://"),
        swapped("https://", "https://user@"),
        swapped("sts.eu-central-1.amazonaws.com", "sts.amazonaws.com"),
        swapped("sts.eu-central-1.amazonaws.com", "sts.eu-central-1.amazonaws.com.evil.example"),
        swapped("sts.eu-central-1.amazonaws.com", "sts.eu-central-1.amazonaws.com:443"),
        swapped("sts.eu-central-1.amazonaws.com", "sts.eu-central-1.amazonaws.com@evil.example"),
        swapped("sts.eu-central-1.amazonaws.com", "sts.eu-central-1.amazonaws.com.cn"),
        swapped("sts.eu-central-1.amazonaws.com", "STS.eu-central-1.amazonaws.com"),
        swapped("sts.eu-central-1.amazonaws.com", "sts.evil.amazonaws.com"),
        swapped("sts.eu-central-1.amazonaws.com", "iam.eu-central-1.amazonaws.com"),
        swapped("sts.eu-central-1.amazonaws.com", "evil.example/sts.eu-central-1.amazonaws.com"),
        swapped("sts.eu-central-1.amazonaws.com", "evil.example\\sts.eu-central-1.amazonaws.com"),
        swapped("sts.eu-central-1", "sts.us-east-1"),
        swapped("/?", "?"),
        swapped("/?", "//?"),
        swapped("/?", "/x?"),
        swapped("/?", "/?/?"),
        format!("{good}#"),
        format!("{good}#&Action=AssumeRole"),
        format!("{good} "),
        format!("{good}\n"),
        format!("{good}\0"),
        good[HOST.len()..].to_owned(),
        HOST.to_owned(),
        String::new(),
        // Parameters.
        format!("{good}&"),
        format!("{good}&X-Amz-Expires=900"),
        format!("{good}&x-amz-expires=900"),
        format!("{good}&Action=AssumeRole"),
        format!("{good}&action=AssumeRole"),
        format!("{good}&%41ction=AssumeRole"),
        format!("{good}&Foo=bar"),
        format!("{good}&Foo"),
        swapped("Action=", "action="),
        swapped("Action=", "Action=GetCallerIdentity&Action="),
        swapped("X-Amz-SignedHeaders", "X-Amz-Signedheaders"),
        swapped("&", ";"),
        // Values.
        with(ACTION, Some("AssumeRole")),
        with(ACTION, Some("getcalleridentity")),
        with(ACTION, Some("GetCallerIdentity%00")),
        with(ACTION, Some("GetCallerIdentity%26Action%3DAssumeRole")),
        with(ACTION, Some("GetCallerIdentity=")),
        with(VERSION, Some("2011-06-14")),
        with(ALGORITHM, Some("AWS4-HMAC-SHA1")),
        with(ALGORITHM, Some("AWS4-ECDSA-P256-SHA256")),
        with(SIGNED, Some("host")),
        with(SIGNED, Some("host%3Bx-keyward-broker%3Bx-other")),
        with(SIGNED, Some("x-keyward-broker%3Bhost")),
        with(SIGNED, Some("Host%3BX-Keyward-Broker")),
        with(EXPIRES, Some("0")),
        with(EXPIRES, Some("901")),
        with(EXPIRES, Some("0900")),
        with(EXPIRES, Some("-1")),
        with(EXPIRES, Some("%2B900")),
        with(EXPIRES, Some("900.0")),
        with(EXPIRES, Some("99999999999999999999")),
        with(DATE, Some("20260101T000000")),
        with(DATE, Some("20260101t000000z")),
        with(DATE, Some("20260101T240000Z")),
        with(DATE, Some("20261301T000000Z")),
        with(DATE, Some("20260101T00000%2BZ")),
        with(DATE, Some("20260102T000000Z")),
        with(CREDENTIAL, Some("SHORT%2F20260101%2Feu-central-1%2Fsts%2Faws4_request")),
        with(CREDENTIAL, Some("TESTACCESSKEYID01%2F20260101%2Feu-west-1%2Fsts%2Faws4_request")),
        with(CREDENTIAL, Some("TESTACCESSKEYID01%2F20260101%2Feu-central-1%2Fiam%2Faws4_request")),
        with(CREDENTIAL, Some("TESTACCESSKEYID01%2F2026010%2Feu-central-1%2Fsts%2Faws4_request")),
        with(CREDENTIAL, Some("TESTACCESSKEYID01%2F20260101T%2Feu-central-1%2Fsts%2Faws4_request")),
        with(CREDENTIAL, Some("TESTACCESSKEYID01%2F20260101%2Feu-central-1%2Fsts%2Faws4_request%2F")),
        with(CREDENTIAL, Some("TESTACCESSKEYID01")),
        with(SECURITY_TOKEN, Some("")),
        with(SECURITY_TOKEN, Some("a+b")),
        with(SECURITY_TOKEN, Some("a%2")),
        with(SECURITY_TOKEN, Some("a%zz")),
        with(SECURITY_TOKEN, Some("a%0d%0ahost:evil")),
        with(SIGNATURE, Some(&signature.to_uppercase())),
        with(SIGNATURE, Some(&signature[1..])),
        with(SIGNATURE, Some("")),
    ];
    for bad in bad {
        assert!(read(&bad).is_err(), "{bad}");
    }
    for name in NAMES.iter().filter(|name| **name != SECURITY_TOKEN) {
        assert!(read(&with(name, None)).is_err(), "without {name}");
    }
}

#[test]
fn a_credential_is_its_prefix_and_base64url() {
    let url = url(&parameters());
    let good = credential(&url);
    assert!(Presigned::read(&good).is_ok());
    let standard = base64::engine::general_purpose::STANDARD.encode(&url);
    for bad in [
        String::new(),
        PREFIX.to_owned(),
        good.replacen("keyward", "Keyward", 1),
        good[PREFIX.len()..].to_owned(),
        format!("{good}=="),
        format!("{PREFIX}{url}"),
        format!("{PREFIX}{standard}="),
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([0xff, 0xfe])),
        credential(&with(SECURITY_TOKEN, Some(&"a".repeat(16_384)))),
    ] {
        assert!(Presigned::read(&bad).is_err(), "{bad:.80}");
    }
}

#[test]
fn a_signature_is_never_printed() {
    let presigned = read(&url(&parameters())).expect("good");
    let printed = format!("{presigned:?}");
    assert!(!printed.contains("abcdef") && !printed.contains("TESTACCESSKEYID01"), "{printed}");
}

proptest! {
    /// Whatever is in the URL, what is sent on is these nine parameters and nothing else.
    #[test]
    fn nothing_but_known_parameters_is_ever_written(extra in "[!-~]{0,20}", place in 0_usize..400) {
        let good = url(&parameters());
        let place = place.min(good.len());
        let changed = format!("{}{extra}{}", &good[..place], &good[place..]);
        if let Ok(presigned) = read(&changed) {
            let query = presigned.query();
            let names: Vec<&str> = query.split('&').filter_map(|part| part.split_once('=')).map(|(name, _)| name).collect();
            prop_assert!(names.iter().all(|name| NAMES.contains(name)) && names.is_sorted());
            prop_assert!(query.starts_with("Action=GetCallerIdentity&Version=2011-06-15&"));
            prop_assert_eq!(presigned.host(), "sts.eu-central-1.amazonaws.com");
        }
    }

    /// What was written is read as the same.
    #[test]
    fn what_is_written_reads_back(token in "[A-Za-z0-9/=~!*'();:@&$,?#%+-]{1,60}") {
        let mut escaped = String::new();
        escape(&token, &mut escaped);
        let presigned = read(&with(SECURITY_TOKEN, Some(&escaped))).expect("good");
        prop_assert_eq!(read(&format!("{HOST}{}", presigned.query())), Ok(presigned));
    }

    #[test]
    fn no_credential_is_a_panic(text in "\\PC{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = Presigned::read(&text);
        let _ = Presigned::read(&credential(&text));
        let _ = Presigned::read(&format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes)));
        let _ = super::super::Login::read(&text);
        let _ = super::super::Unproven::read(&text).map(|_| ());
    }
}
