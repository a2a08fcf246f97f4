//! Parts of an Envoy's configuration: what to put into the HTTP connection manager, in front of its router, and the clusters by which
//! the issuers' keys are read.
//!
//! `jwt_authn` believes a token: issuer, key, signature, time. Its `audiences` are for `aud`, so that a first `rbac` compares
//! `client_id`, with the issuer that it is of, and a second the scopes. Both allow, and so deny what they do not name. A path is
//! compared as the connection manager has made it, so this says how.

use serde_json::{Map, Value, json};
use tonic::codegen::http::Uri;

use super::{audiences, list, paths, scopes};
use crate::domain::authorizer::{Route, TrustedPool};
use crate::domain::error::{Error, Result};

const JWT_AUTHN: &str = "envoy.filters.http.jwt_authn";
/// Under which the claims are among the metadata of a request.
const CLAIMS: &str = "keyward";
const TYPE: &str = "type.googleapis.com/envoy.extensions";
/// Where most systems have the authorities that they trust.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

pub fn document(pools: &[TrustedPool], routes: &[Route]) -> Result<Value> {
    let (mut providers, mut clusters) = (Map::new(), Map::new());
    for (number, pool) in pools.iter().enumerate() {
        let (name, cluster) = cluster(&pool.jwks_uri)?;
        providers.insert(provider_name(number), provider(pool, &name));
        clusters.entry(name).or_insert(cluster);
    }
    let required = |number: usize| json!({ "provider_name": provider_name(number) });
    let requires = match pools.len() {
        1 => required(0),
        count => json!({ "requires_any": { "requirements": list(0..count, required) } }),
    };
    let mut filters = vec![
        filter(
            JWT_AUTHN,
            "filters.http.jwt_authn.v3.JwtAuthentication",
            json!({
                "providers": providers,
                "rules": [{ "match": { "prefix": "/" }, "requires": requires }],
            }),
        ),
        rbac(
            "keyward.clients",
            json!({
                "clients": { "permissions": [{ "any": true }], "principals": list(pools, client_of) },
            }),
        ),
    ];
    if !routes.is_empty() {
        let policies = routes.iter().map(|route| (route.route.clone(), policy(route, routes))).collect();
        filters.push(rbac("keyward.scopes", Value::Object(policies)));
    }
    Ok(json!({
        "http_connection_manager": {
            "normalize_path": true,
            "merge_slashes": true,
            "path_with_escaped_slashes_action": "REJECT_REQUEST",
            "http_filters": filters,
        },
        "clusters": clusters.into_iter().map(|(_, cluster)| cluster).collect::<Vec<_>>(),
    }))
}

fn provider_name(number: usize) -> String {
    format!("keyward-{number}")
}

fn provider(pool: &TrustedPool, cluster: &str) -> Value {
    json!({
        "issuer": pool.issuer.as_str(),
        // Where tokens are looked for: not in the URL, which is Envoy's default beside this.
        "from_headers": [{ "name": "Authorization", "value_prefix": "Bearer " }],
        "forward": true,
        "require_expiration": true,
        "payload_in_metadata": CLAIMS,
        "normalize_payload_in_metadata": { "space_delimited_claims": ["scope"] },
        "remote_jwks": {
            "http_uri": { "uri": pool.jwks_uri, "cluster": cluster, "timeout": "5s" },
            "cache_duration": "300s",
        },
    })
}

fn filter(name: &str, of_type: &str, mut config: Value) -> Value {
    config["@type"] = format!("{TYPE}.{of_type}").into();
    json!({ "name": name, "typed_config": config })
}

fn rbac(name: &str, policies: Value) -> Value {
    filter(name, "filters.http.rbac.v3.RBAC", json!({ "rules": { "action": "ALLOW", "policies": policies } }))
}

/// Whoever has an access token that this issuer gave one of these app clients.
fn client_of(pool: &TrustedPool) -> Value {
    let ids = list(audiences(pool), exactly);
    let client_id = match pool.app_clients.len() {
        1 => ids[0].clone(),
        _ => json!({ "or_match": { "value_matchers": ids } }),
    };
    let ids = [
        claim("iss", exactly(pool.issuer.as_str())),
        claim("client_id", client_id),
        claim("token_use", exactly("access")),
    ];
    json!({ "and_ids": { "ids": ids } })
}

fn policy(route: &Route, routes: &[Route]) -> Value {
    let (path, others) = paths(route, routes);
    let mut rules = vec![below(path)];
    rules.extend(others.map(|other| json!({ "not_rule": below(other) })));
    let has = |scope| claim("scope", json!({ "list_match": { "one_of": exactly(scope) } }));
    json!({
        "permissions": [{ "and_rules": { "rules": rules } }],
        "principals": [{ "and_ids": { "ids": list(scopes(route), has) } }],
    })
}

/// A path and all that is below it.
fn below(path: &str) -> Value {
    let matches = |how: &str, text: &str| json!({ "url_path": { "path": { how: text } } });
    match path {
        "/" => matches("prefix", "/"),
        path => json!({ "or_rules": { "rules": [matches("exact", path), matches("prefix", &format!("{path}/"))] } }),
    }
}

fn claim(name: &str, value: Value) -> Value {
    let path = json!([{ "key": CLAIMS }, { "key": name }]);
    json!({ "sourced_metadata": { "metadata_matcher": { "filter": JWT_AUTHN, "path": path, "value": value } } })
}

fn exactly(text: &str) -> Value {
    json!({ "string_match": { "exact": text } })
}

/// The cluster of the host that keys are read from, by its name.
fn cluster(jwks_uri: &str) -> Result<(String, Value)> {
    let uri: Uri = jwks_uri.parse().map_err(|error| Error::internal("reading the URL of a key set", error))?;
    let is_tls = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let name = format!("keyward-keys-{host}-{port}");
    let address = json!({ "socket_address": { "address": host, "port_value": port } });
    let mut cluster = json!({
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
        },
    });
    if is_tls {
        cluster["transport_socket"] = filter(
            "envoy.transport_sockets.tls",
            "transport_sockets.tls.v3.UpstreamTlsContext",
            json!({
                "sni": host,
                "auto_sni_san_validation": true,
                "common_tls_context": { "validation_context": { "trusted_ca": { "filename": AUTHORITIES } } },
            }),
        );
    }
    Ok((name, cluster))
}
