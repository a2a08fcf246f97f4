//! Configurations of programs that verify by themselves.
//!
//! All are JSON, which each of these programs reads, and which has one way to write a text: an app client id such as `0123e45`
//! is a number to many a reader of YAML. Texts are escaped by who writes JSON and by nobody else.
//!
//! Cognito's access tokens of machines have no `aud`. So where a program would compare that, it is told to compare `client_id`, together
//! with `iss` and `token_use`.

mod api_gateway;
mod envoy;
mod istio;

use serde_json::Value;

use crate::domain::authorizer::{Format, Route, TrustedPool};
use crate::domain::error::{Error, Result};
use crate::domain::id::TenantId;
use crate::proto;

/// Bytes of a configuration at the most: less than what a Kubernetes object may have (1.5 MiB), and a message of gRPC where
/// nobody said otherwise (4 MiB).
const MAX_BYTES: usize = 1 << 20;

/// Of one tenant, or of all. `pools` are within the format's limits, and there is one.
pub fn authorizer(
    tenant: Option<&TenantId>,
    format: Format,
    pools: &[TrustedPool],
    routes: &[Route],
) -> Result<proto::ExportAuthorizerResponse> {
    let name = tenant.map_or_else(|| "keyward".to_owned(), |tenant| format!("keyward-{tenant}"));
    let document = match format {
        Format::ApiGateway => api_gateway::document(&name, pools, routes),
        Format::Envoy => envoy::document(pools, routes)?,
        Format::Istio => istio::document(&name, pools, routes),
    };
    let mut content =
        serde_json::to_string_pretty(&document).map_err(|error| Error::internal("writing an authorizer", error))?;
    content.push('\n');
    if content.len() > MAX_BYTES {
        return Err(format.too_long(MAX_BYTES));
    }
    Ok(proto::ExportAuthorizerResponse {
        content,
        media_type: "application/json".to_owned(),
        issuers: pools.iter().map(|pool| pool.issuer.to_string()).collect(),
        audiences: pools.iter().flat_map(audiences).map(str::to_owned).collect(),
    })
}

fn audiences(pool: &TrustedPool) -> impl Iterator<Item = &str> {
    pool.app_clients.iter().map(|app_client| app_client.as_str())
}

fn scopes(route: &Route) -> impl Iterator<Item = &str> {
    route.scopes.iter().map(|scope| scope.as_str())
}

/// What one of `routes` matches and what it leaves to longer ones: the paths themselves.
fn paths<'a>(route: &'a Route, routes: &'a [Route]) -> (&'a str, impl Iterator<Item = &'a str>) {
    (&route.route, routes.iter().filter(|other| route.is_above(other)).map(|other| other.route.as_str()))
}

/// A list of what is made of each.
fn list<T>(of: impl IntoIterator<Item = T>, make: impl Fn(T) -> Value) -> Value {
    Value::Array(of.into_iter().map(make).collect())
}
