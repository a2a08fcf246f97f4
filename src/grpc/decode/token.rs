//! Which token is wanted, and which is to be verified.

use crate::broker::api::Question;
use crate::domain::client::MAX_TOKEN_VALIDITY;
use crate::domain::error::{Error, Result};
use crate::domain::id::{ClientName, TenantId};
use crate::domain::person::Accepted;
use crate::domain::scope::ScopeSet;
pub use crate::gate::Wanted;
use crate::proto;

use super::client::whole_token;
use super::{duration, enumeration};

/// The longest name of an item of `VerifyTokens`, in characters.
const MAX_CORRELATION_ID: usize = 128;

impl Wanted {
    /// From the fields that `GetToken` and `WatchToken` have in common.
    pub fn read(name: &str, scopes: &[String], min_remaining: Option<&prost_types::Duration>) -> Result<Self> {
        let client = ClientName::parse("name", name)?;
        let scopes = ScopeSet::parse("scopes", scopes)?;
        let min_remaining = duration("min_remaining", min_remaining)?.unwrap_or_default();
        if min_remaining > MAX_TOKEN_VALIDITY / 2 {
            return Err(Error::invalid("min_remaining", "must be at most half of the client's access_token_validity"));
        }
        Ok(Wanted { client, scopes, min_remaining })
    }
}

/// A token to verify.
pub fn question(request: proto::VerifyTokenRequest) -> Result<Question> {
    let token = whole_token(request.token)?;
    let required_scopes = ScopeSet::parse("required_scopes", &request.required_scopes)?;
    let tenant = match request.tenant.as_str() {
        "" => None,
        name => Some(TenantId::from_name("tenant", name)?),
    };
    let accepted = match enumeration("token_use", request.token_use)? {
        proto::TokenUse::Unspecified => Accepted::Machines,
        proto::TokenUse::Access => Accepted::Access,
        proto::TokenUse::Id => Accepted::Id,
    };
    Ok(Question { token, required_scopes, tenant, accepted })
}

/// The caller's own name for an item of `VerifyTokens`.
pub fn correlation_id(id: &str) -> Result<()> {
    let length = id.chars().count();
    if !(1..=MAX_CORRELATION_ID).contains(&length) || id.chars().any(char::is_control) {
        let rule = format!("must be 1 to {MAX_CORRELATION_ID} characters, none of them a control character");
        return Err(Error::invalid("correlation_id", rule));
    }
    Ok(())
}
