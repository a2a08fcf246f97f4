//! SPIFFE IDs and trust domains, as the SPIFFE ID standard has them (github.com/spiffe/spiffe, standards/SPIFFE-ID.md,
//! sections 2.1 to 2.3). Compared byte for byte, since what the standard lets a validator accept is lower case already.

use std::fmt;
use std::sync::Arc;

/// The longest SPIFFE ID, in bytes, and the longest trust domain.
const MAX_BYTES: usize = 2_048;
const MAX_DOMAIN_BYTES: usize = 255;

const SCHEME: &str = "spiffe://";

/// A trust domain: 1 to 255 of `[a-z0-9._-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        let fits = (1..=MAX_DOMAIN_BYTES).contains(&text.len()) && text.bytes().all(allowed);
        fits.then(|| TrustDomain(Arc::from(text)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The SPIFFE ID of a workload: `spiffe://<trust domain>/<path>`, with a path that is not empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    text: Arc<str>,
    domain: TrustDomain,
}

impl SpiffeId {
    /// `None` for everything else: another scheme, a port, user information, a query, an escape, an empty segment, `.`, `..`,
    /// upper case where it counts, any byte outside of `[A-Za-z0-9._-]` in a segment.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(SCHEME).filter(|_| text.len() <= MAX_BYTES)?;
        let (domain, path) = rest.split_once('/')?;
        let domain = TrustDomain::parse(domain)?;
        path.split('/').all(is_segment).then(|| SpiffeId { text: Arc::from(text), domain })
    }

    pub fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// The whole ID.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_segment(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && text != "." && text != ".." && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_has_a_trust_domain_and_a_path() {
        let id = SpiffeId::parse("spiffe://example.org/ns/acme/sa/Orders_1").expect("an id");
        assert_eq!(
            (id.trust_domain().as_str(), id.to_string().as_str()),
            ("example.org", "spiffe://example.org/ns/acme/sa/Orders_1")
        );
        for bad in [
            "",
            "spiffe://",
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe://example.org/a/",
            "spiffe://example.org//a",
            "spiffe://example.org/./a",
            "spiffe://example.org/a/..",
            "spiffe://Example.org/a",
            "SPIFFE://example.org/a",
            "spiffe://example.org:443/a",
            "spiffe://user@example.org/a",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a#b",
            "spiffe://example.org/%61",
            "spiffe://example.org/a\0",
            "spiffe://example.org\0.evil/a",
            "spiffe://exämple.org/a",
            "spiffe://example.org/ä",
            "spiffe:///a",
            " spiffe://example.org/a",
            "https://example.org/a",
        ] {
            assert_eq!(SpiffeId::parse(bad), None, "{bad:?}");
        }
        assert_eq!(SpiffeId::parse(&format!("spiffe://example.org/{}", "a".repeat(2_048))), None);
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_plain_text_that_reads_as_itself(text in "(spiffe://)?[ -~\u{e4}\0]{0,40}") {
            if let Some(id) = SpiffeId::parse(&text) {
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%@:".contains(&byte) || byte == b':'));
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
