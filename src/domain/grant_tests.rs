use proptest::prelude::*;

use super::*;
use crate::domain::id::ClientName;

fn spiffe(text: &str) -> Principal {
    Principal::Spiffe(text.into())
}

fn captures(pattern: &str, principal: &str) -> Option<(String, String)> {
    let text = |id: Option<String>| id.unwrap_or_default();
    let captured = Pattern::parse(pattern).expect(pattern).captures(principal)?;
    Some((
        text(captured.tenant.map(|id| id.as_str().to_owned())),
        text(captured.client.map(|id| id.as_str().to_owned())),
    ))
}

#[test]
fn placeholders_take_one_id_and_a_star_the_rest() {
    let both = "spiffe://example.org/tenants/{tenant}/{client}";
    let found = |tenant: &str, client: &str| Some((tenant.to_owned(), client.to_owned()));
    for (pattern, principal, expected) in [
        (both, "spiffe://example.org/tenants/acme/orders", found("acme", "orders")),
        (both, "spiffe://example.org/tenants/acme/orders/x", None),
        (both, "spiffe://example.org/tenants/acme", None),
        (both, "spiffe://example.org/tenants/acme/", None),
        (both, "spiffe://example.org/tenants/Acme/orders", None),
        (both, "spiffe://example.org/tenants/ac/orders", None),
        (both, "spiffe://example.org/tenants/acme/orders-", None),
        (both, "xspiffe://example.org/tenants/acme/orders", None),
        ("spiffe://example.org/operators/*", "spiffe://example.org/operators/eve", found("", "")),
        ("spiffe://example.org/operators/*", "spiffe://example.org/operators/eve/laptop", found("", "")),
        ("spiffe://example.org/operators/*", "spiffe://example.org/operators/", None),
        ("spiffe://example.org/operators/*", "spiffe://example.org/operators", None),
        ("spiffe://example.org/op", "spiffe://example.org/ops", None),
        (
            "token:https://k8s.local#system:serviceaccount:{tenant}:{client}",
            "token:https://k8s.local#system:serviceaccount:acme:orders",
            found("acme", "orders"),
        ),
        ("dns:{client}.{tenant}.svc", "dns:orders.acme.svc", found("acme", "orders")),
        ("dns:{client}.{tenant}.svc", "dns:a.orders.acme.svc", None),
        ("unix:1000", "unix:10001", None),
    ] {
        assert_eq!(captures(pattern, principal), expected, "{pattern} on {principal}");
    }
}

#[test]
fn a_pattern_that_could_be_read_in_two_ways_or_reaches_over_is_none() {
    for bad in [
        "",
        "*",
        "{tenant}",
        "acme",
        "operator:dev",
        "anonymous",
        "keyward",
        "spiffe://example.org",
        "spiffe://example.org*",
        "spiffe://*",
        "spiffe://{tenant}/x",
        "spiffe:///x",
        "token:https://issuer",
        "token:https://issuer*",
        "token:#x",
        "aws:arn:aws:iam::123456789012*",
        "aws:arn:aws:iam::*",
        "dns:",
        "unix:",
        "dns:*.example.org",
        "spiffe://example.org/*/x",
        "spiffe://example.org/{tenant}{client}",
        "spiffe://example.org/{tenant}-{client}",
        "spiffe://example.org/{tenant}x",
        "spiffe://example.org/{tenant}*",
        "spiffe://example.org/{tenant}/{tenant}",
        "spiffe://example.org/{scope}",
        "spiffe://example.org/{tenant",
        "spiffe://example.org/a}",
        "spiffe://example.org/a b",
        "spiffe://example.org/\u{e4}",
        &format!("spiffe://example.org/{}", "a".repeat(2_048)),
    ] {
        assert!(Pattern::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_grant_says_something_and_says_it_once() {
    let key = |caller, role, tenant, client| Grant::new(caller, role, tenant, client).map_err(|(key, _)| key).err();
    assert_eq!(key("unix:1000", Some("operator"), None, None), None);
    assert_eq!(key("unix:1000", None, Some("acme"), Some("orders")), None);
    assert_eq!(key("unix:1000", None, None, None), Some("caller"));
    assert_eq!(key("unix:1000", Some("admin"), None, None), Some("role"));
    assert_eq!(key("unix:1000", None, Some("Acme"), None), Some("tenant"));
    assert_eq!(key("unix:1000", None, Some("acme"), Some("x")), Some("client"));
    assert_eq!(key("unix:1000", Some("operator"), None, Some("orders")), Some("caller"));
    assert_eq!(key("dns:{tenant}", None, Some("acme"), None), Some("tenant"));
    assert_eq!(key("dns:{client}.{tenant}", None, None, Some("orders")), Some("client"));
    assert_eq!(key("dns:{client}.svc", None, None, None), Some("caller"));
    assert_eq!(key("nobody", Some("operator"), None, None), Some("caller"));
}

#[test]
fn roles_add_up_and_tenants_must_agree() {
    let grant = |caller: &str, role, tenant, client| Grant::new(caller, role, tenant, client).expect(caller);
    let grants = Grants::new(vec![
        grant("spiffe://example.org/{tenant}/{client}", None, None, None),
        grant("spiffe://example.org/acme/*", Some("verifier"), None, None),
        grant("spiffe://example.org/acme/orders", Some("operator"), Some("acme"), Some("orders")),
        grant("spiffe://example.org/globex/orders", None, Some("acme"), Some("orders")),
        grant("spiffe://example.org/initech/orders", None, Some("initech"), None),
        grant("client:tenants/acme/*", Some("verifier"), None, None),
        grant("client:tenants/globex/clients/orders", None, Some("acme"), None),
    ]);
    let caller = grants.caller(spiffe("spiffe://example.org/acme/orders")).expect("one tenant");
    assert_eq!(caller.roles, [Role::Operator, Role::Verifier]);
    assert_eq!(caller.tenant.as_ref().map(TenantId::as_str), Some("acme"));
    assert_eq!(caller.client.as_ref().map(ClientId::as_str), Some("orders"));
    assert_eq!(grants.caller(spiffe("spiffe://example.org/globex/orders")), Err(Ambiguous));
    assert_eq!(grants.caller(spiffe("spiffe://example.org/initech/orders")), Err(Ambiguous), "client and no client");
    let nobody = grants.caller(spiffe("spiffe://example.org/x")).expect("nobody");
    assert_eq!(nobody, Caller::of(spiffe("spiffe://example.org/x")));

    let client = |name: &str| Principal::Client(ClientName::parse("name", name).expect("a name"));
    let own = grants.caller(client("tenants/acme/clients/orders")).expect("itself");
    assert_eq!(
        (own.roles.as_slice(), own.tenant.as_ref().map(TenantId::as_str)),
        (&[Role::Verifier][..], Some("acme"))
    );
    assert_eq!(grants.caller(client("tenants/globex/clients/orders")), Err(Ambiguous));
}

proptest! {
    /// Whatever the ids, they come out as they went in, and nothing else does.
    #[test]
    fn a_pattern_reads_back_what_was_filled_in(
        tenant in "[a-z][a-z0-9-]{1,10}[a-z0-9]",
        client in "[a-z][a-z0-9-]{1,10}[a-z0-9]",
        end in "[:/][a-z:/]{0,5}",
    ) {
        let pattern = Pattern::parse(&format!("token:https://i#sa:{{tenant}}:{{client}}{end}")).expect("a pattern");
        let filled = format!("token:https://i#sa:{tenant}:{client}{end}");
        let captured = pattern.captures(&filled).expect("it fits");
        prop_assert_eq!(captured.tenant.as_ref().map(TenantId::as_str), Some(tenant.as_str()));
        prop_assert_eq!(captured.client.as_ref().map(ClientId::as_str), Some(client.as_str()));
        prop_assert_eq!(pattern.captures(&format!("{filled}x")), None);
        prop_assert_eq!(pattern.captures(&filled[1..]), None);
        prop_assert_eq!(pattern.captures(&filled[..filled.len() - 1]), None);
    }

    /// The same as a regular expression says.
    #[test]
    fn matching_agrees_with_a_regular_expression(
        pieces in proptest::collection::vec("[a-c:/-]{1,3}", 0..4),
        kinds in proptest::collection::vec(0..3_u8, 4),
        principal in "dns:[a-c:/-]{0,14}",
    ) {
        let (mut text, mut regex) = ("dns:".to_owned(), "^dns:".to_owned());
        for (piece, kind) in pieces.iter().zip(kinds) {
            text.push_str(piece);
            regex.push_str(piece);
            match kind {
                0 => { text.push_str("{tenant}"); regex.push_str("([a-z][a-z0-9-]{1,61}[a-z0-9])"); }
                1 => { text.push_str("{client}"); regex.push_str("([a-z][a-z0-9-]{1,61}[a-z0-9])"); }
                _ => {}
            }
        }
        let Ok(pattern) = Pattern::parse(&text) else { return Ok(()) };
        let regex = regex_lite::Regex::new(&format!("{regex}$")).expect("a regular expression");
        prop_assert_eq!(pattern.captures(&principal).is_some(), regex.is_match(&principal), "{} on {}", text, principal);
    }

    #[test]
    fn no_text_is_a_panic(pattern in "\\PC{0,40}", principal in "\\PC{0,40}") {
        if let Ok(pattern) = Pattern::parse(&pattern) {
            let _ = pattern.captures(&principal);
        }
    }

    /// A literal pattern is about one principal.
    #[test]
    fn without_placeholders_only_the_same_text_fits(text in "dns:[a-z.]{1,12}", other in "dns:[a-z.]{1,12}") {
        let pattern = Pattern::parse(&text).expect("a pattern");
        prop_assert!(pattern.captures(&text).is_some());
        prop_assert_eq!(pattern.captures(&other).is_some(), text == other);
    }
}
