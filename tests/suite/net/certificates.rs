//! The certificates of the tests themselves.

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::harness::pki::{Authority, DNS_NAME, Leaf, URI};

#[test]
fn certificates_of_the_tests_have_the_names_that_they_were_given() {
    let authority = Authority::new("names");
    let leaf = Leaf::client().uri("spiffe://example.org/orders").dns("orders.example.org");
    let identity = authority.issue(leaf.name(URI, b"spiffe://example.org/\0x").name(DNS_NAME, [b'a'; 300]));
    let (_, certificate) = X509Certificate::from_der(identity.der()).expect("a certificate");
    let names = certificate.subject_alternative_name().expect("readable").expect("there");
    let names: Vec<_> = names.value.general_names.iter().collect();
    assert_eq!(names[0], &GeneralName::URI("spiffe://example.org/orders"));
    assert_eq!(names[1], &GeneralName::DNSName("orders.example.org"));
    assert_eq!(names[2], &GeneralName::URI("spiffe://example.org/\0x"));
    assert_eq!(names[3], &GeneralName::DNSName(&"a".repeat(300)));
}
