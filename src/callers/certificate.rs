//! Whose a client certificate is. Its chain was verified when the connection was made; here it is only read.
//!
//! A certificate with a URI name is judged by that alone, and must be an X.509-SVID (github.com/spiffe/spiffe,
//! standards/X509-SVID.md, sections 4 and 5.2). One without is its one DNS name's. One with neither names nobody: it is
//! the transport's, and says nothing of who calls. Common names are never looked at (RFC 9525, section 2).

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use super::refusals::{ambiguous, invalid};
use crate::domain::caller::Principal;
use crate::domain::error::{Error, Result};
use crate::domain::spiffe::{SpiffeId, TrustDomain};

/// What a certificate proves.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub principal: Principal,
    /// `notAfter`.
    pub valid_until: Timestamp,
}

/// A trust domain that is believed.
pub(super) struct Believed {
    pub domain: TrustDomain,
    pub has_own_authorities: bool,
}

/// Whose the certificate is; `None` where it names nobody. `der` is the leaf. `is_by`: whether its chain leads to an
/// authority of this trust domain, or of none. A trust domain's authorities can name its own workloads and nobody else
/// (standards/SPIFFE_Trust_Domain_and_Bundle.md; X509-SVID.md, section 5).
///
/// Fails with CREDENTIALS_INVALID, or CREDENTIALS_AMBIGUOUS where it has more than one name that counts.
pub(super) fn holder(
    der: &[u8],
    believed: &[Believed],
    is_by: impl Fn(Option<&str>) -> bool,
) -> Result<Option<Holder>> {
    let malformed = || invalid("the client certificate cannot be read");
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| malformed())?;
    if !rest.is_empty() {
        return Err(malformed());
    }
    let usage = Usage::of(&certificate).ok_or_else(malformed)?;
    let (mut uris, mut hosts) = (Vec::new(), Vec::new());
    let names = certificate.subject_alternative_name().map_err(|_| malformed())?;
    for name in names.map(|names| &names.value.general_names).into_iter().flatten() {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            GeneralName::DNSName(host) => hosts.push(*host),
            // Not even text: whatever it was meant to be, it is not left out.
            GeneralName::Invalid(..) => return Err(malformed()),
            _ => {}
        }
    }
    let principal = match (uris.as_slice(), hosts.as_slice()) {
        ([], []) => return Ok(None),
        ([uri], _) => workload(uri, &usage, believed, is_by)?,
        ([], [host]) if is_by(None) => host_of(host, &usage)?,
        ([], [_]) => {
            return Err(invalid("the client certificate has a DNS name and is by an authority of a trust domain"));
        }
        ([], _) => return Err(ambiguous("the client certificate has more than one DNS name")),
        (_, _) => return Err(ambiguous("the client certificate has more than one URI")),
    };
    let valid_until = Timestamp::from_second(certificate.validity().not_after.timestamp()).map_err(|_| malformed())?;
    Ok(Some(Holder { principal, valid_until }))
}

fn workload(
    uri: &str,
    usage: &Usage,
    believed: &[Believed],
    is_by: impl Fn(Option<&str>) -> bool,
) -> Result<Principal> {
    let Some(id) = SpiffeId::parse(uri) else {
        return Err(invalid("the URI of the client certificate is not the SPIFFE ID of a workload"));
    };
    let Some(Believed { domain, has_own_authorities }) =
        believed.iter().find(|believed| believed.domain == *id.trust_domain())
    else {
        return Err(invalid("the SPIFFE ID of the client certificate is of a trust domain that is not believed"));
    };
    if !is_by(has_own_authorities.then_some(domain.as_str())) {
        return Err(invalid("the client certificate is not by an authority of its own trust domain"));
    }
    if usage.digital_signature != Some(true) {
        return Err(invalid("the client certificate's key usage lacks digitalSignature"));
    }
    usage.is_for_a_caller()?;
    Ok(Principal::Spiffe(id.text().clone()))
}

fn host_of(host: &str, usage: &Usage) -> Result<Principal> {
    if !is_host(host) {
        return Err(invalid("the DNS name of the client certificate is not one host, in lower case"));
    }
    if usage.digital_signature == Some(false) {
        return Err(invalid("the client certificate's key usage lacks digitalSignature"));
    }
    usage.is_for_a_caller()?;
    Ok(Principal::Dns(host.into()))
}

/// Letters, digits and hyphens in labels of 1 to 63 characters, 253 in all (RFC 1123, section 2.1); in lower case, without a
/// wildcard and without a dot at the end.
fn is_host(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// What the key may be used for.
struct Usage {
    is_authority: bool,
    /// `None` where the extension is not there.
    digital_signature: Option<bool>,
    signs_others: bool,
    /// Also where the extension is not there, which allows everything.
    is_for_clients: bool,
}

impl Usage {
    /// `None` for an extension that cannot be read, or is there twice.
    fn of(certificate: &X509Certificate<'_>) -> Option<Usage> {
        let mut usage =
            Usage { is_authority: false, digital_signature: None, signs_others: false, is_for_clients: true };
        // Fails when one is there twice.
        certificate.extensions_map().ok()?;
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) => usage.is_authority = constraints.ca,
                ParsedExtension::KeyUsage(key) => {
                    usage.digital_signature = Some(key.digital_signature());
                    usage.signs_others = key.key_cert_sign() || key.crl_sign();
                }
                ParsedExtension::ExtendedKeyUsage(purposes) => {
                    usage.is_for_clients = purposes.client_auth || purposes.any;
                }
                ParsedExtension::ParseError { .. } => return None,
                _ => {}
            }
        }
        Some(usage)
    }

    fn is_for_a_caller(&self) -> Result<(), Error> {
        if self.is_authority || self.signs_others {
            return Err(invalid("the client certificate is an authority's, which never is a caller"));
        }
        if !self.is_for_clients {
            return Err(invalid("the client certificate is not for clients"));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
