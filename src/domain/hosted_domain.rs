//! What the domain of a pool's hosted sign-in may be called. A domain that exists may still be another's: only Cognito
//! knows, and says so when it is made.

use super::error::{Error, Result};
use super::partition::Partition;
use super::tenant::HostedDomain;

/// Words that no prefix may have anywhere (Cognito's guide, "Configuring a user pool domain").
const RESERVED: [&str; 3] = ["aws", "amazon", "cognito"];
/// The longest `Domain` of `CreateUserPoolDomain`, of either form.
const MAX_LENGTH: usize = 63;
/// Where the certificate of a domain of one's own is, wherever its pool is: CloudFront asks for it there.
const CERTIFICATES: &str = "us-east-1";

impl HostedDomain {
    /// What is asked of `Domain` at `CreateUserPoolDomain`.
    pub fn name(&self) -> &str {
        match self {
            HostedDomain::Prefix(name) | HostedDomain::Custom { domain: name, .. } => name,
        }
    }

    /// By itself. Field paths are relative to `user_pool`.
    pub fn check(&self) -> Result<()> {
        match self {
            HostedDomain::Prefix(prefix) => {
                if !is_label(prefix) {
                    let rule = "must be 1 to 63 characters of [a-z0-9-], with no hyphen at either end";
                    return Err(Error::invalid("domain.prefix", rule));
                }
                if RESERVED.iter().any(|reserved| prefix.contains(reserved)) {
                    return Err(Error::invalid("domain.prefix", "must not have aws, amazon or cognito in it"));
                }
                Ok(())
            }
            HostedDomain::Custom { domain, certificate_arn } => {
                // What is below a top-level domain alone is refused by Cognito, which resolves the name above.
                let labels: Vec<&str> = domain.split('.').collect();
                if domain.len() > MAX_LENGTH || labels.len() < 3 || !labels.iter().all(|label| is_label(label)) {
                    let rule = "must be a name of at least three labels of [a-z0-9-], such as login.example.com, and of \
                                at most 63 characters";
                    return Err(Error::invalid("domain.custom.domain", rule));
                }
                if partition_of(certificate_arn).is_none() {
                    let rule = "must be the ARN of a certificate of AWS Certificate Manager in us-east-1";
                    return Err(Error::invalid("domain.custom.certificate_arn", rule));
                }
                Ok(())
            }
        }
    }

    /// Whether the certificate is of the partition of the pool's Region, where that is known.
    pub fn check_partition(&self, region: &str) -> Result<()> {
        let HostedDomain::Custom { certificate_arn, .. } = self else { return Ok(()) };
        let Some(partition) = Partition::of(region) else { return Ok(()) };
        if partition_of(certificate_arn) != Some(partition.arn) {
            let rule = format!("must be of the partition {}, as the pool is", partition.arn);
            return Err(Error::invalid("domain.custom.certificate_arn", rule));
        }
        Ok(())
    }
}

fn is_label(text: &str) -> bool {
    (1..=MAX_LENGTH).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The partition of a certificate's ARN; `None` for what is none, or is in another Region.
fn partition_of(arn: &str) -> Option<&str> {
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", partition, "acm", region, account, resource] = parts.as_slice() else { return None };
    let is_partition = partition.starts_with("aws") && partition.len() <= 16 && is_label(partition);
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_id = |id: &str| (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_certificate = resource.strip_prefix("certificate/").is_some_and(is_id);
    (is_partition && *region == CERTIFICATES && is_account && is_certificate).then_some(*partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:acm:us-east-1:123456789012:certificate/0aa0a0aa-0a0a-0a0a-0a0a-0a0a0a0a0a0a";

    fn refused(domain: &HostedDomain) -> Option<String> {
        domain.check().err().map(|error| error.fields()[0].field.clone())
    }

    fn custom(domain: &str, certificate_arn: &str) -> HostedDomain {
        HostedDomain::Custom { domain: domain.to_owned(), certificate_arn: certificate_arn.to_owned() }
    }

    #[test]
    fn a_prefix_is_one_label_without_reserved_words() {
        for good in ["a", "0", "acme-prod", "a--b", &"x".repeat(63)] {
            assert_eq!(refused(&HostedDomain::Prefix(good.to_owned())), None, "{good}");
        }
        let long = "x".repeat(64);
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "\u{e4}", &long, "my-aws", "amazon", "xcognitox"] {
            assert_eq!(refused(&HostedDomain::Prefix(bad.to_owned())).as_deref(), Some("domain.prefix"), "{bad}");
        }
    }

    #[test]
    fn a_domain_of_ones_own_is_below_a_name_that_can_have_an_address() {
        for good in ["login.example.com", "a.b.c.d", "auth.example.co.uk", "xn--bcher-kva.example.com"] {
            assert_eq!(refused(&custom(good, ARN)), None, "{good}");
        }
        let long = format!("{}.example.com", "x".repeat(52));
        for bad in
            ["", "example.com", "login..com", ".example.com", "login.example.com.", "Login.example.com", "*.a.b", &long]
        {
            assert_eq!(refused(&custom(bad, ARN)).as_deref(), Some("domain.custom.domain"), "{bad}");
        }
    }

    #[test]
    fn a_certificate_is_of_certificate_manager_in_us_east_1_and_of_the_pools_partition() {
        for bad in [
            "",
            "arn:aws:acm:eu-central-1:123456789012:certificate/0aa0",
            "arn:aws:iam:us-east-1:123456789012:certificate/0aa0",
            "arn:aws:acm:us-east-1:12345678901:certificate/0aa0",
            "arn:aws:acm:us-east-1:123456789012:certificate/",
            "arn:aws:acm:us-east-1:123456789012:certificate/a:b",
            "arn:aws:acm:us-east-1:123456789012:key/0aa0",
            "arn:x:acm:us-east-1:123456789012:certificate/0aa0",
        ] {
            let field = refused(&custom("login.example.com", bad));
            assert_eq!(field.as_deref(), Some("domain.custom.certificate_arn"), "{bad}");
        }
        let domain = custom("login.example.com", ARN);
        for good in ["", "eu-central-1", "us-east-1", "local"] {
            assert!(domain.check_partition(good).is_ok(), "{good}");
        }
        assert!(domain.check_partition("us-gov-west-1").is_err());
    }
}
