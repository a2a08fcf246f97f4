//! What another program needs to verify machines' access tokens by itself, and how much of it each program can hold.
//!
//! Such a program knows the tokens' issuers, the app clients, and which scopes a route needs. It knows nothing else: not that a
//! tenant is suspended, not what is revoked. So what is written for it lets in whoever is named and nobody else, and whatever
//! cannot be written for it as it was asked is refused.
//!
//! A route of Envoy or Istio is a path and all that is below it. The longest that a request is in decides alone: the
//! scopes of `/` open nothing below `/orders` where that is a route too.

use std::collections::BTreeSet;

use super::error::{Error, Reason, Result};
use super::id::{AppClientId, Issuer};
use super::scope::{MAX_SCOPES_PER_CLIENT, ScopeSet};

/// Characters of a route at the most.
const MAX_ROUTE: usize = 512;

/// The program that is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JWT authorizer of an HTTP API.
    ApiGateway,
    /// The filters `jwt_authn` and `rbac`.
    Envoy,
    /// `RequestAuthentication` and `AuthorizationPolicy`.
    Istio,
}

/// How much a format takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub issuers: usize,
    /// App clients, of all issuers together.
    pub audiences: usize,
    pub routes: usize,
    pub scopes_per_route: usize,
}

impl Format {
    /// API Gateway's are its quotas (Amazon API Gateway Developer Guide, "Quotas for configuring and running an HTTP API"): a
    /// route has one authorizer, and that one issuer. The others' are what a proxy can compare with each request, and a
    /// Kubernetes object hold.
    pub const fn limits(self) -> Limits {
        match self {
            Format::ApiGateway => Limits { issuers: 1, audiences: 50, routes: 300, scopes_per_route: 10 },
            Format::Envoy | Format::Istio => {
                Limits { issuers: 100, audiences: 1_000, routes: 100, scopes_per_route: MAX_SCOPES_PER_CLIENT }
            }
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Format::ApiGateway => "an authorizer of API Gateway",
            Format::Envoy => "a configuration for Envoy",
            Format::Istio => "a configuration for Istio",
        }
    }

    /// There is more than it takes.
    pub fn too_large(self) -> Error {
        let Limits { issuers, audiences, .. } = self.limits();
        let holds = format!("{issuers} issuers and {audiences} app clients");
        Error::new(Reason::ExportTooLarge, format!("{} holds at most {holds}, and there are more", self.name()))
            .with("issuers", issuers)
            .with("audiences", audiences)
    }

    /// What was written is too long to be read.
    pub fn too_long(self, bytes: usize) -> Error {
        let rule =
            format!("{} would be longer than {bytes} bytes: ask for fewer routes or a tenant alone", self.name());
        Error::new(Reason::ExportTooLarge, rule).with("bytes", bytes)
    }
}

/// An issuer of machines' tokens, and whose of them to accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedPool {
    pub issuer: Issuer,
    pub jwks_uri: String,
    /// At least one.
    pub app_clients: BTreeSet<AppClientId>,
}

/// A route, and the scopes that a token must have there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// A path, as in `/orders`; for API Gateway a route key, as in `GET /orders`.
    pub route: String,
    pub scopes: ScopeSet,
}

impl Route {
    /// Field paths are relative to the route.
    pub fn parse(format: Format, route: &str, scopes: &[String]) -> Result<Self> {
        let is_well = match format {
            Format::ApiGateway => is_route_key(route),
            Format::Envoy | Format::Istio => route == "/" || is_path(route, is_plain),
        };
        if !is_well || route.len() > MAX_ROUTE {
            return Err(Error::invalid("route", rule(format)));
        }
        let most = format.limits().scopes_per_route;
        if scopes.is_empty() || scopes.len() > most {
            return Err(Error::invalid("scopes", format!("must be 1 to {most}")));
        }
        Ok(Route { route: route.to_owned(), scopes: ScopeSet::parse("scopes", scopes)? })
    }

    /// Whether `other` is a path below this one, so that it decides there.
    pub fn is_above(&self, other: &Route) -> bool {
        let rest = other.route.strip_prefix(self.route.trim_end_matches('/'));
        self.route != other.route && rest.is_some_and(|rest| rest.starts_with('/'))
    }
}

fn rule(format: Format) -> String {
    match format {
        Format::ApiGateway => {
            format!("must be $default or a method and a path, as in GET /orders; at most {MAX_ROUTE} characters")
        }
        Format::Envoy | Format::Istio => format!(
            "must be / or a path as in /orders/new, without an escape, an empty or dotted part or a slash at its end; at most \
             {MAX_ROUTE} characters"
        ),
    }
}

/// What stands for itself in a path (RFC 3986, section 3.3), less `*`, which is a pattern elsewhere.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@".contains(&byte)
}

fn is_path(path: &str, is_allowed: impl Fn(u8) -> bool) -> bool {
    let parts = path.strip_prefix('/').into_iter().flat_map(|rest| rest.split('/'));
    let is_part = |part: &str| !["", ".", ".."].contains(&part) && part.bytes().all(&is_allowed);
    path.starts_with('/') && parts.into_iter().all(is_part)
}

/// A part in braces is a variable of API Gateway's (Developer Guide, "Create routes for HTTP APIs").
fn is_route_key(key: &str) -> bool {
    const METHODS: [&str; 8] = ["ANY", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
    let is_allowed = |byte: u8| is_plain(byte) || b"{}+".contains(&byte);
    let is_known = |method: &str, path: &str| METHODS.contains(&method) && (path == "/" || is_path(path, is_allowed));
    key == "$default" || key.split_once(' ').is_some_and(|(method, path)| is_known(method, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(format: Format, route: &str) -> Result<Route> {
        Route::parse(format, route, &["orders/read".to_owned()])
    }

    #[test]
    fn a_route_is_what_its_program_takes_for_one() {
        for route in ["/", "/orders", "/orders/new", "/a.b/..c/~x@1", "/orders/(all)"] {
            assert!(parse(Format::Envoy, route).is_ok() && parse(Format::Istio, route).is_ok(), "{route}");
        }
        for route in [
            "",
            "orders",
            "//",
            "/orders/",
            "/orders//new",
            "/orders/../new",
            "/./x",
            "/orders*",
            "/a b",
            "/a%2Fb",
            "/a?b",
            "/a#b",
            "/{id}",
            "/\u{e9}",
            "GET /orders",
        ] {
            assert!(parse(Format::Envoy, route).is_err() && parse(Format::Istio, route).is_err(), "{route}");
        }
        assert!(parse(Format::Envoy, &format!("/{}", "x".repeat(MAX_ROUTE))).is_err());
        for route in ["$default", "GET /", "ANY /orders/{id}", "POST /{proxy+}"] {
            assert!(parse(Format::ApiGateway, route).is_ok(), "{route}");
        }
        for route in
            ["", "/orders", "get /orders", "GET  /orders", "GET orders", "TRACE /orders", "default", "GET /a b"]
        {
            assert!(parse(Format::ApiGateway, route).is_err(), "{route}");
        }
    }

    #[test]
    fn a_route_needs_scopes_and_no_more_than_its_program_takes() {
        let scopes = |count: usize| (0..count).map(|number| format!("orders/{number}")).collect::<Vec<_>>();
        for (format, route, most) in
            [(Format::ApiGateway, "GET /", 10), (Format::Envoy, "/", 50), (Format::Istio, "/", 50)]
        {
            assert!(Route::parse(format, route, &scopes(most)).is_ok());
            for count in [0, most + 1] {
                let error = Route::parse(format, route, &scopes(count)).expect_err("too many or none");
                assert_eq!(error.fields()[0].field, "scopes");
            }
        }
    }

    #[test]
    fn a_path_is_above_what_is_below_it_by_whole_parts() {
        let is_above = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|route| parse(Format::Envoy, route).expect("a route"));
            one.is_above(&other)
        };
        for (one, other) in [("/", "/orders"), ("/orders", "/orders/new"), ("/orders", "/orders/new/x")] {
            assert!(is_above(one, other) && !is_above(other, one), "{one} {other}");
        }
        for (one, other) in [("/", "/"), ("/orders", "/orders"), ("/orders", "/ordersnew"), ("/a", "/b/a")] {
            assert!(!is_above(one, other) && !is_above(other, one), "{one} {other}");
        }
    }
}
