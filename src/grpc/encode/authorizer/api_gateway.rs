//! Requests to API Gateway, by the names of its operations (`apigatewayv2`), without the ids that it gives: of the API, and
//! of the authorizer for its routes.
//!
//! An authorizer has one issuer, whose keys API Gateway finds by itself, and compares `client_id` with its audiences where there
//! is no `aud`. A token needs one of a route's scopes (Developer Guide, "Control access to HTTP APIs with JWT authorizers").

use serde_json::{Value, json};

use super::{audiences, list, scopes};
use crate::domain::authorizer::{Route, TrustedPool};

pub fn document(name: &str, pools: &[TrustedPool], routes: &[Route]) -> Value {
    let authorizer = |pool: &TrustedPool| {
        json!({
            "Name": name,
            "AuthorizerType": "JWT",
            "IdentitySource": ["$request.header.Authorization"],
            "JwtConfiguration": { "Issuer": pool.issuer.as_str(), "Audience": list(audiences(pool), Value::from) },
        })
    };
    let route = |route: &Route| {
        json!({
            "RouteKey": route.route,
            "AuthorizationType": "JWT",
            "AuthorizationScopes": list(scopes(route), Value::from),
        })
    };
    let routes = match routes {
        [] => json!([{ "RouteKey": "$default", "AuthorizationType": "JWT" }]),
        routes => list(routes, route),
    };
    // The format holds one pool.
    json!({ "CreateAuthorizer": pools.first().map(authorizer), "CreateRoute": routes })
}
