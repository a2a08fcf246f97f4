//! The names by which a person who wants to sign in is told to be of a tenant.

use serde::{Deserialize, Serialize};

/// A name that a tenant claims. Whether the claim is proven is told by the claim itself, which is kept by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SignInDomain {
    /// In lower case, internationalised names in their ASCII form.
    pub domain: String,
    pub kind: SignInDomainKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SignInDomainKind {
    /// What follows the `@` of email addresses.
    Email,
    /// A host at which the tenant's people reach the platform.
    Host,
}
