use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};

use super::*;
use crate::domain::error::Reason;

fn domains() -> Vec<Believed> {
    believed(false)
}

fn believed(has_own_authorities: bool) -> Vec<Believed> {
    vec![Believed { domain: TrustDomain::parse("example.org").expect("a trust domain"), has_own_authorities }]
}

/// By an authority of no domain.
fn common(domain: Option<&str>) -> bool {
    domain.is_none()
}

fn text(text: &str) -> Ia5String {
    Ia5String::try_from(text.to_owned()).expect("ASCII")
}

fn uri(name: &str) -> SanType {
    SanType::URI(text(name))
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(text(name))
}

/// A certificate for clients with these names.
fn certificate(names: Vec<SanType>, edit: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_after = rcgen::date_time_ymd(2030, 1, 2);
    edit(&mut params);
    params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").der().to_vec()
}

fn holder_of(names: Vec<SanType>) -> Result<Option<String>> {
    holder(&certificate(names, |_| {}), &domains(), common)
        .map(|holder| holder.map(|holder| holder.principal.to_string()))
}

fn refusal(der: &[u8]) -> Option<Reason> {
    holder(der, &domains(), common).err().map(|error| error.reason())
}

const ORDERS: &str = "spiffe://example.org/tenants/acme/orders";

#[test]
fn a_certificate_is_its_spiffe_ids_or_else_its_one_hosts() {
    assert_eq!(holder_of(vec![uri(ORDERS)]).expect("a holder").as_deref(), Some(ORDERS));
    assert_eq!(holder_of(vec![dns("orders.acme.svc")]).expect("a holder").as_deref(), Some("dns:orders.acme.svc"));
    let both = vec![dns("orders.acme.svc"), dns("other"), uri(ORDERS)];
    assert_eq!(holder_of(both).expect("a holder").as_deref(), Some(ORDERS));
    let address = SanType::IpAddress("192.0.2.1".parse().expect("an address"));
    assert_eq!(holder_of(vec![address.clone()]).expect("nobody"), None);
    assert_eq!(holder_of(vec![address, dns("orders")]).expect("a holder").as_deref(), Some("dns:orders"));
    assert_eq!(holder_of(Vec::new()).expect("nobody"), None, "a common name is no name");

    let der = certificate(vec![uri(ORDERS)], |_| {});
    let holder = holder(&der, &domains(), common).expect("a holder").expect("somebody");
    assert_eq!(holder.valid_until.to_string(), "2030-01-02T00:00:00Z");
}

#[test]
fn more_than_one_name_that_counts_is_ambiguous() {
    for names in [
        vec![uri(ORDERS), uri("spiffe://example.org/other")],
        vec![uri(ORDERS), uri(ORDERS)],
        vec![uri(ORDERS), uri("https://example.org")],
        vec![dns("orders"), dns("other")],
    ] {
        assert_eq!(refusal(&certificate(names.clone(), |_| {})), Some(Reason::CredentialsAmbiguous), "{names:?}");
    }
}

#[test]
fn a_uri_that_is_not_a_believed_workloads_is_refused_whatever_else_there_is() {
    for name in [
        "spiffe://example.com/tenants/acme/orders",
        "spiffe://example.org.evil/tenants/acme/orders",
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe://EXAMPLE.org/a",
        "spiffe://example.org/a\0",
        "spiffe://example.org/a\0/b",
        "spiffe://example.org/%61",
        "https://example.org/a",
        "",
    ] {
        let names = vec![uri(name), dns("orders.acme.svc")];
        assert_eq!(refusal(&certificate(names, |_| {})), Some(Reason::CredentialsInvalid), "{name:?}");
    }
}

#[test]
fn a_name_counts_by_the_authorities_that_may_give_it() {
    let (workload, host) = (certificate(vec![uri(ORDERS)], |_| {}), certificate(vec![dns("orders")], |_| {}));
    let own = |domain: Option<&str>| domain == Some("example.org");
    let others = |domain: Option<&str>| domain == Some("example.com");
    assert!(holder(&workload, &believed(true), own).is_ok());
    assert!(holder(&workload, &believed(false), common).is_ok() && holder(&host, &believed(true), common).is_ok());
    let refused = |der: &[u8], has_own: bool, is_by: fn(Option<&str>) -> bool| {
        holder(der, &believed(has_own), is_by).err().map(|error| error.reason()) == Some(Reason::CredentialsInvalid)
    };
    assert!(refused(&workload, true, common) && refused(&workload, true, others));
    assert!(refused(&workload, false, own) && refused(&host, true, own) && refused(&host, false, others));
}

#[test]
fn a_host_is_one_host_in_lower_case() {
    for name in [
        "*",
        "*.acme.svc",
        "Orders.acme.svc",
        "orders.acme.svc.",
        "orders\0.evil",
        "orders_1",
        "-a",
        "a-",
        "a..b",
        "",
        "a b",
        "a/b",
    ] {
        assert_eq!(refusal(&certificate(vec![dns(name)], |_| {})), Some(Reason::CredentialsInvalid), "{name:?}");
    }
    assert_eq!(refusal(&certificate(vec![dns(&"a.".repeat(127))], |_| {})), Some(Reason::CredentialsInvalid));
}

#[test]
fn an_authority_is_never_a_caller() {
    for names in [vec![uri(ORDERS)], vec![dns("orders")]] {
        let authority = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        assert_eq!(refusal(&certificate(names.clone(), authority)), Some(Reason::CredentialsInvalid));
        for usage in [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign] {
            let der = certificate(names.clone(), |params| params.key_usages.push(usage));
            assert_eq!(refusal(&der), Some(Reason::CredentialsInvalid), "{usage:?}");
        }
        let der = certificate(names.clone(), |params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
        assert_eq!(refusal(&der), Some(Reason::CredentialsInvalid), "no digitalSignature");
        let der = certificate(names, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
        assert_eq!(refusal(&der), Some(Reason::CredentialsInvalid), "for servers");
    }
    let without = |params: &mut CertificateParams| params.key_usages = Vec::new();
    assert_eq!(refusal(&certificate(vec![uri(ORDERS)], without)), Some(Reason::CredentialsInvalid));
    assert_eq!(refusal(&certificate(vec![dns("orders")], without)), None, "the standard is that of SPIFFE alone");
}

#[test]
fn what_is_not_a_certificate_is_refused() {
    let mut der = certificate(vec![uri(ORDERS)], |_| {});
    assert_eq!(refusal(&[]), Some(Reason::CredentialsInvalid));
    assert_eq!(refusal(&der[..der.len() - 1]), Some(Reason::CredentialsInvalid));
    der.push(0);
    assert_eq!(refusal(&der), Some(Reason::CredentialsInvalid));
}

#[test]
fn a_name_that_is_not_text_is_not_left_out() {
    let mut der = certificate(vec![uri(ORDERS), dns("marker-of-the-test")], |_| {});
    let at = der.windows(6).position(|bytes| bytes == b"marker").expect("the name");
    der[at] = 0xff;
    assert_eq!(refusal(&der), Some(Reason::CredentialsInvalid));
}
