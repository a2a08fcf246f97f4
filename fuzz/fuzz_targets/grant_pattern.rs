//! Patterns over principals: `domain::grant::Pattern`.
//!
//! The first line of the input is a pattern, the second a principal.
#![no_main]

use keyward::domain::grant::Pattern;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let (text, principal) = input.split_once('\n').unwrap_or((input, ""));
    let Ok(pattern) = Pattern::parse(text) else { return };
    assert!((1..=2_048).contains(&text.len()) && text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
    assert_eq!((pattern.has_tenant(), pattern.has_client()), (text.contains("{tenant}"), text.contains("{client}")));

    // A principal that was made by it is one that it is about, and of the authority that it names.
    let made = filled(text, "acme", "or-ders1", "any/thing#a:b:c:d:e {*}");
    assert_eq!(authority(text), authority(&made), "{text}");
    let captured = pattern.captures(&made).unwrap_or_else(|| panic!("{text} is not about {made}"));
    let (tenant, client) = (captured.tenant.map(String::from), captured.client.map(String::from));
    assert_eq!(tenant.as_deref(), pattern.has_tenant().then_some("acme"));
    assert_eq!(client.as_deref(), pattern.has_client().then_some("or-ders1"));

    // One that it is about could have been made by it, and is of the authority that it names.
    if let Some(captured) = pattern.captures(principal) {
        let (tenant, client) = (captured.tenant.map(String::from), captured.client.map(String::from));
        let (tenant, client) = (tenant.unwrap_or_default(), client.unwrap_or_default());
        let start = filled(text, &tenant, &client, "");
        let rest = principal.strip_prefix(&start).expect("what is literal");
        assert_eq!(rest.is_empty(), !text.ends_with('*'), "{text} is about {principal}");
        assert_eq!(authority(text), authority(principal), "{text} is about {principal}");
    }
});

fn filled(pattern: &str, tenant: &str, client: &str, rest: &str) -> String {
    let filled = pattern.replace("{tenant}", tenant).replace("{client}", client);
    match filled.strip_suffix('*') {
        Some(start) => format!("{start}{rest}"),
        None => filled,
    }
}

/// Whoever vouches for a principal: everything that a placeholder must not reach.
fn authority(text: &str) -> Vec<&str> {
    let (scheme, rest) = text.split_once(':').expect("a scheme");
    let rest: Vec<&str> = match scheme {
        "spiffe" => rest.splitn(4, '/').take(3).collect(),
        "token" => rest.split('#').take(1).collect(),
        "aws" => rest.splitn(6, ':').take(5).collect(),
        "client" => rest.split('/').take(1).collect(),
        "dns" | "unix" => Vec::new(),
        other => panic!("no scheme of ours: {other}"),
    };
    assert!(rest.iter().all(|part| !part.contains(['{', '}', '*'])), "{text}");
    [vec![scheme], rest].concat()
}
