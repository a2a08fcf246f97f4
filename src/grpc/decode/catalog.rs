//! Resource servers and pools.

use jiff::Timestamp;

use crate::broker::api::{NewResourceServer, PoolFilter};
use crate::domain::error::{Error, Result};
use crate::domain::scope::{Identifier, ResourceServer, ScopeDefinition};
use crate::proto;

use super::{enumeration, etag, required};

const MAX_REGION: usize = 32;

/// A resource server to store, and the version that the caller's etag stands for.
pub fn new(given: Option<proto::ResourceServer>) -> Result<(NewResourceServer, Option<u64>)> {
    let given = required("resource_server", given)?;
    let identifier = Identifier::parse("resource_server.identifier", &given.identifier)?;
    let version = etag(identifier.name(), &given.etag)?;
    let display_name = match given.display_name {
        name if name.is_empty() => shown(&identifier),
        name => name,
    };
    if !display_name.chars().all(is_allowed_in_display_name) {
        let rule = "must be letters, digits, spaces and _+=,.@-";
        return Err(Error::invalid("resource_server.display_name", rule));
    }
    let scope = |given: proto::ResourceServerScope| ScopeDefinition {
        description: if given.description.is_empty() { given.scope_name.clone() } else { given.description },
        scope_name: given.scope_name,
    };
    let scopes: Vec<_> = given.scopes.into_iter().map(scope).collect();
    // The domain has its rule on the whole; the times do not count for it.
    let (create_time, update_time) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
    let server = ResourceServer { identifier, display_name, scopes, catalog_version: 0, create_time, update_time };
    server.check().map_err(|error| error.within("resource_server"))?;
    let ResourceServer { identifier, display_name, scopes, .. } = server;
    Ok((NewResourceServer { identifier, display_name, scopes }, version))
}

/// The identifier as a display name: with a hyphen for what Cognito does not allow in one.
fn shown(identifier: &Identifier) -> String {
    identifier.as_str().chars().map(|c| if is_allowed_in_display_name(c) { c } else { '-' }).collect()
}

fn is_allowed_in_display_name(c: char) -> bool {
    c.is_alphanumeric() || " _+=,.@-".contains(c)
}

/// Which pools to list.
pub fn pool_filter(request: &proto::ListPoolsRequest) -> Result<PoolFilter> {
    let dedicated = match enumeration("kind", request.kind)? {
        proto::PoolKind::Unspecified => None,
        proto::PoolKind::Shared => Some(false),
        proto::PoolKind::Dedicated => Some(true),
    };
    let region = request.region.as_str();
    if region.len() > MAX_REGION || !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(Error::invalid("region", "must be an AWS Region such as eu-central-1"));
    }
    Ok(PoolFilter { dedicated, region: (!region.is_empty()).then(|| region.to_owned()) })
}
