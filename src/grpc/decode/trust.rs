//! What is watched by those who verify by themselves.

use std::collections::BTreeSet;

use crate::broker::api::TrustQuery;
use crate::domain::error::{Error, Result};
use crate::domain::id::TenantId;
use crate::proto::WatchTrustRequest;

/// Tenants of one stream; more are better watched by a stream of all.
const MAX_TENANTS: usize = 100;
/// The longest resume token, in characters.
const MAX_RESUME_TOKEN: usize = 256;

pub fn query(request: WatchTrustRequest) -> Result<TrustQuery> {
    let WatchTrustRequest { resume_token, tenants } = request;
    if resume_token.chars().count() > MAX_RESUME_TOKEN {
        return Err(Error::invalid("resume_token", format!("must be at most {MAX_RESUME_TOKEN} characters")));
    }
    if tenants.len() > MAX_TENANTS {
        return Err(Error::invalid("tenants", format!("must be at most {MAX_TENANTS}")));
    }
    let parse = |(index, name): (usize, &String)| TenantId::from_name(&format!("tenants[{index}]"), name);
    let tenants = tenants.iter().enumerate().map(parse).collect::<Result<BTreeSet<_>>>()?;
    Ok(TrustQuery { tenants, resume: Some(resume_token).filter(|token| !token.is_empty()) })
}
