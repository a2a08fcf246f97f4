//! A `RequestAuthentication`, by which a token is verified where there is one, and an `AuthorizationPolicy`, by which there must be one,
//! of these app clients. Both are for the whole namespace that they are applied to, unless a selector is added.
//!
//! The policy allows, and so denies what it does not name: another path, and a request without a token. Of the values of a
//! condition one is enough, so each scope is a condition. Istio reads `scope` as words separated by spaces (Istio, "RequestAuthentication",
//! `spaceDelimitedClaims`).

use serde_json::{Value, json};

use super::{audiences, list, paths, scopes};
use crate::domain::authorizer::{Route, TrustedPool};

pub fn document(name: &str, pools: &[TrustedPool], routes: &[Route]) -> Value {
    let jwt_rule = |pool: &TrustedPool| {
        json!({
            "issuer": pool.issuer.as_str(),
            "jwksUri": pool.jwks_uri,
            // Where tokens are looked for: not in the URL, which is Istio's default beside this.
            "fromHeaders": [{ "name": "Authorization", "prefix": "Bearer " }],
            "forwardOriginalToken": true,
        })
    };
    let rules = match routes {
        [] => list(pools, |pool| rule(pool, None, routes)),
        routes => Value::Array(
            routes.iter().flat_map(|route| pools.iter().map(|pool| rule(pool, Some(route), routes))).collect(),
        ),
    };
    let object = |kind: &str, spec: Value| {
        let metadata = json!({ "name": name });
        json!({ "apiVersion": "security.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec })
    };
    let items = [
        object("RequestAuthentication", json!({ "jwtRules": list(pools, jwt_rule) })),
        object("AuthorizationPolicy", json!({ "action": "ALLOW", "rules": rules })),
    ];
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

fn rule(pool: &TrustedPool, route: Option<&Route>, routes: &[Route]) -> Value {
    let claim = |name: &str, values: Value| json!({ "key": format!("request.auth.claims[{name}]"), "values": values });
    let mut when = vec![claim("client_id", list(audiences(pool), Value::from)), claim("token_use", json!(["access"]))];
    when.extend(route.into_iter().flat_map(scopes).map(|scope| claim("scope", json!([scope]))));
    // A principal is the issuer and the subject.
    let from = json!([{ "source": { "requestPrincipals": [format!("{}/*", pool.issuer)] } }]);
    match route {
        None => json!({ "from": from, "when": when }),
        Some(route) => {
            let (path, others) = paths(route, routes);
            let not_paths: Vec<_> = others.flat_map(patterns).collect();
            let mut operation = json!({ "paths": patterns(path) });
            if !not_paths.is_empty() {
                operation["notPaths"] = not_paths.into();
            }
            json!({ "from": from, "to": [{ "operation": operation }], "when": when })
        }
    }
}

/// A path and all that is below it.
fn patterns(path: &str) -> Vec<String> {
    match path {
        "/" => vec!["/*".to_owned()],
        path => vec![path.to_owned(), format!("{path}/*")],
    }
}
