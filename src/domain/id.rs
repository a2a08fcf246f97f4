//! Names of things. An id that exists is valid: its constructor is the only door.
//!
//! Resource names follow AIP-122 (`tenants/acme/clients/orders`). Ids that Cognito or Secrets Manager give are
//! opaque here, bounded in length, and never built from parts.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::{Error, Result};

/// A text type with a rule of its own, cheap to clone.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Fails with INVALID_ARGUMENT naming `field`.
            pub fn parse(field: &str, text: &str) -> Result<Self> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                match check(text) {
                    Ok(()) => Ok($name(Arc::from(text))),
                    Err(rule) => Err(Error::invalid(field, rule)),
                }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                Self::parse(stringify!($name), &text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.to_string()
            }
        }
    };
}

text!(
    /// A tenant's id: 3 to 63 characters, `[a-z][a-z0-9-]{1,61}[a-z0-9]`.
    TenantId,
    resource_id
);
text!(
    /// An app client's id within its tenant; the same rule as [`TenantId`]. Not the id that Cognito gives.
    ClientId,
    resource_id
);
text!(
    /// An identity provider's id within its tenant; the same rule as [`TenantId`].
    ProviderId,
    resource_id
);
text!(
    /// Keyward's id of a user pool: `shared-…` or `tenant-…`. Known before Cognito has made the pool.
    PoolId,
    resource_id
);
text!(
    /// A rotation's id: its start in UTC and a random tail, so that ids sort by time.
    RotationId,
    resource_id
);
text!(
    /// A revocation's id.
    RevocationId,
    resource_id
);
text!(
    /// A caller's own id of a mutation (AIP-155): 1 to 64 of `[A-Za-z0-9._-]`.
    RequestId,
    |text| {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if fits { Ok(()) } else { Err("must be 1 to 64 characters of [A-Za-z0-9._-]") }
    }
);
text!(
    /// One process of the daemon: 32 hexadecimal digits, drawn anew at every start. So a broker that was started again is
    /// another one, and cannot go on with what it has forgotten.
    BrokerId,
    |text| {
        let fits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if fits { Ok(()) } else { Err("must be 32 hexadecimal digits") }
    }
);
text!(
    /// The id that Cognito gave a user pool, `eu-central-1_AbCdEf123`.
    UserPoolId,
    opaque
);
text!(
    /// The id that Cognito gave an app client: the `client_id` of OAuth 2.0.
    AppClientId,
    opaque
);
text!(
    /// The id that Cognito gave one of an app client's secrets, `<app client id>--<epoch seconds>`.
    SecretId,
    opaque
);
text!(
    /// A version of a secret in the vault; also the request token of the write that made it.
    VersionId,
    opaque
);
text!(
    /// The name of a secret in the vault, `keyward/tenants/acme/clients/orders`.
    SecretName,
    |text| if (1..=512).contains(&text.len()) { Ok(()) } else { Err("must be 1 to 512 characters") }
);
text!(
    /// An issuer: the `iss` of the tokens of one user pool. Taken from the pool's record, compared byte for byte.
    Issuer,
    |text| if (1..=512).contains(&text.len()) { Ok(()) } else { Err("must be 1 to 512 characters") }
);

impl SecretId {
    /// Stands for the one secret of an app client where the backend lists none: `<app client id>--0`, since Cognito gives
    /// no secret the epoch 0.
    pub fn unlisted(of: &AppClientId) -> Result<Self> {
        SecretId::parse("secret", &format!("{of}--0"))
    }

    /// Whether it stands for a secret whose id nobody knows.
    pub fn is_unlisted(&self) -> bool {
        self.as_str().ends_with("--0")
    }
}

fn resource_id(text: &str) -> Result<(), &'static str> {
    const RULE: &str = "must match [a-z][a-z0-9-]{1,61}[a-z0-9]";
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    match bytes {
        [first, middle @ .., last]
            if (3..=63).contains(&bytes.len())
                && first.is_ascii_lowercase()
                && middle.iter().all(inner)
                && *last != b'-'
                && inner(last) =>
        {
            Ok(())
        }
        _ => Err(RULE),
    }
}

fn opaque(text: &str) -> Result<(), &'static str> {
    if (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err("must be 1 to 256 printable ASCII characters without spaces")
    }
}

impl VersionId {
    /// From 64 hexadecimal characters of a digest, which are a valid id by their form.
    pub fn from_digest(hex: &str) -> Self {
        VersionId(Arc::from(hex))
    }
}

impl TenantId {
    /// Reads `tenants/{tenant}`.
    pub fn from_name(field: &str, name: &str) -> Result<Self> {
        match name.split('/').collect::<Vec<_>>().as_slice() {
            ["tenants", tenant] => TenantId::parse(field, tenant),
            _ => Err(Error::invalid(field, "must be tenants/{tenant}")),
        }
    }

    /// The resource name, `tenants/{tenant}`.
    pub fn name(&self) -> String {
        format!("tenants/{self}")
    }
}

impl PoolId {
    /// The resource name, `pools/{pool}`.
    pub fn name(&self) -> String {
        format!("pools/{self}")
    }
}

impl RevocationId {
    /// The resource name, `revocations/{revocation}`.
    pub fn name(&self) -> String {
        format!("revocations/{self}")
    }
}

/// `tenants/{tenant}/clients/{client}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientName {
    pub tenant: TenantId,
    pub client: ClientId,
}

impl ClientName {
    pub fn new(tenant: TenantId, client: ClientId) -> Self {
        ClientName { tenant, client }
    }

    pub fn parse(field: &str, name: &str) -> Result<Self> {
        match name.split('/').collect::<Vec<_>>().as_slice() {
            ["tenants", tenant, "clients", client] => {
                Ok(ClientName { tenant: TenantId::parse(field, tenant)?, client: ClientId::parse(field, client)? })
            }
            _ => Err(Error::invalid(field, "must be tenants/{tenant}/clients/{client}")),
        }
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenants/{}/clients/{}", self.tenant, self.client)
    }
}

/// `tenants/{tenant}/clients/{client}/rotations/{rotation}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RotationName {
    pub client: ClientName,
    pub rotation: RotationId,
}

impl RotationName {
    pub fn parse(field: &str, name: &str) -> Result<Self> {
        match name.split('/').collect::<Vec<_>>().as_slice() {
            ["tenants", tenant, "clients", client, "rotations", rotation] => Ok(RotationName {
                client: ClientName { tenant: TenantId::parse(field, tenant)?, client: ClientId::parse(field, client)? },
                rotation: RotationId::parse(field, rotation)?,
            }),
            _ => Err(Error::invalid(field, "must be tenants/{tenant}/clients/{client}/rotations/{rotation}")),
        }
    }
}

impl fmt::Display for RotationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/rotations/{}", self.client, self.rotation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_id_keeps_its_rule() {
        for good in ["abc", "a-c", "acme", "a1c", &format!("a{}z", "-".repeat(61))] {
            assert!(TenantId::parse("id", good).is_ok(), "{good}");
        }
        for bad in ["", "a", "ab", "Abc", "1bc", "-bc", "ab-", "a_c", "ä-c", "a c", &"a".repeat(64), "a/b"] {
            assert!(TenantId::parse("id", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_broker_is_sixteen_bytes() {
        assert!(BrokerId::parse("broker", &"0af9".repeat(8)).is_ok());
        for bad in ["", "0af9", &"0AF9".repeat(8), &"0afg".repeat(8), &"0".repeat(33)] {
            assert!(BrokerId::parse("broker", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let name = "tenants/acme/clients/orders/rotations/r20260101t000000-0a1b";
        assert_eq!(RotationName::parse("name", name).expect("valid").to_string(), name);
        let error = ClientName::parse("name", "tenants/acme/clients/orders/").expect_err("invalid");
        assert_eq!(error.fields()[0].field, "name");
    }

    #[test]
    fn a_stored_id_is_checked_again() {
        assert!(serde_json::from_str::<TenantId>("\"acme\"").is_ok());
        assert!(serde_json::from_str::<TenantId>("\"ACME\"").is_err());
    }
}
