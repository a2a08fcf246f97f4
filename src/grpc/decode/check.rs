//! What Envoy says of a request: what its route asks for, and which headers came.

use std::collections::HashMap;

use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use zeroize::Zeroizing;

use crate::domain::claims::{MAX_TOKEN_BYTES, Rejection, Rule as TokenRule};
use crate::domain::error::{Error, Result};
use crate::domain::id::TenantId;
use crate::domain::person::Accepted;
use crate::domain::scope::ScopeSet;
use crate::grpc::encode::check::{Denial, HEADERS};

/// The key of the scopes that a token must have, separated by spaces.
const SCOPES: &str = "keyward.scopes";
/// The key of the tenant that a token must belong to, as in `tenants/acme`.
pub const TENANT: &str = "keyward.tenant";
/// The key of which tokens are accepted beside machines' access tokens, as in `token_use`: `access`, people's too; `id`, ID tokens and no
/// others.
const TOKEN_USE: &str = "keyward.token_use";
/// A key that begins so, in letters of whatever case, is meant for this broker.
const OURS: &str = "keyward";
/// Characters of an unknown key that are repeated to whoever has to mend it.
const SHOWN: usize = 64;

/// What a route asks of a token.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// All of them. None where any good token will do.
    pub scopes: ScopeSet,
    /// `None` where any tenant's will do.
    pub tenant: Option<TenantId>,
    /// Machines' access tokens where nothing is said.
    pub accepted: Accepted,
}

impl Rule {
    /// From the route's `context_extensions`. Strict, since what is left out of a rule opens a door: the scopes must be
    /// said, if only as an empty text, and no key may be meant for this broker that it does not know. Keys of others do not
    /// count.
    pub fn read(extensions: &HashMap<String, String>) -> Result<Self> {
        let is_ours = |key: &str| key.trim().get(..OURS.len()).is_some_and(|start| start.eq_ignore_ascii_case(OURS));
        let is_known = |key: &str| [SCOPES, TENANT, TOKEN_USE].contains(&key);
        if let Some(key) = extensions.keys().find(|key| is_ours(key) && !is_known(key)) {
            return Err(Error::invalid(field(key), "is no rule that this broker knows"));
        }
        let scopes = extensions
            .get(SCOPES)
            .ok_or_else(|| Error::invalid(field(SCOPES), "is required; an empty text where any good token will do"))?;
        let scopes: Vec<_> = scopes.split_ascii_whitespace().collect();
        let accepted = match extensions.get(TOKEN_USE).map(String::as_str) {
            None => Accepted::Machines,
            Some("access") => Accepted::Access,
            Some("id") => Accepted::Id,
            Some(_) => return Err(Error::invalid(field(TOKEN_USE), "must be access or id")),
        };
        Ok(Rule {
            scopes: ScopeSet::parse(&field(SCOPES), &scopes)?,
            tenant: extensions.get(TENANT).map(|name| TenantId::from_name(&field(TENANT), name)).transpose()?,
            accepted,
        })
    }
}

fn field(key: &str) -> String {
    let key: String = key.chars().take(SHOWN).collect();
    format!("attributes.context_extensions[{}]", key.escape_default())
}

/// The headers of a request that count.
#[derive(Default)]
pub struct Headers {
    /// The values of `authorization`.
    credentials: Vec<Zeroizing<Vec<u8>>>,
    /// The names, in lower case, of those that came and that only this broker may set.
    pub ours: Vec<String>,
}

impl Headers {
    /// As Envoy sends them: one value for each name, those of several headers joined by commas; or with
    /// `encode_raw_headers` each header by itself, but for `authorization`, which Envoy joins before.
    pub fn read(http: HttpRequest) -> Self {
        let joined = http.headers.into_iter().map(|(name, value)| (name, value.into_bytes()));
        let single = http.header_map.into_iter().flat_map(|map| map.headers).map(|header| {
            let value = if header.raw_value.is_empty() { header.value.into_bytes() } else { header.raw_value };
            (header.key, value)
        });
        let mut read = Headers::default();
        for (mut name, value) in joined.chain(single) {
            name.make_ascii_lowercase();
            if name == "authorization" {
                read.credentials.push(Zeroizing::new(value));
            } else if name.starts_with(HEADERS) {
                read.ours.push(name);
            }
        }
        read
    }

    /// The token that is shown, as RFC 6750, section 2.1 has it: the scheme, whose case does not count, one space, the token.
    pub fn token(&self) -> Result<Zeroizing<String>, Denial> {
        let value = match self.credentials.as_slice() {
            [] => return Err(Denial::NoCredential),
            [value] => value,
            [_, _, ..] => return Err(Denial::TwoCredentials),
        };
        let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let (scheme, token) = value.split_at(end);
        let token = token.strip_prefix(b" ").unwrap_or_default();
        if !scheme.eq_ignore_ascii_case(b"bearer") || token.is_empty() {
            return Err(Denial::NoCredential);
        }
        // No token has one, so this was more than one header.
        if token.contains(&b',') {
            return Err(Denial::TwoCredentials);
        }
        let malformed =
            |detail: &str| Denial::Rejected(Rejection::new(TokenRule::Malformed, detail), ScopeSet::default());
        if token.len() > MAX_TOKEN_BYTES {
            return Err(malformed("the token is longer than any that is verified"));
        }
        let token = std::str::from_utf8(token).map_err(|_| malformed("the token is not text"))?;
        Ok(Zeroizing::new(token.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};

    use super::*;

    fn rule(extensions: &[(&str, &str)]) -> Result<Rule> {
        Rule::read(&extensions.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    fn joined(headers: &[(&str, &str)]) -> HttpRequest {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        HttpRequest { headers, ..Default::default() }
    }

    fn single(headers: &[(&str, &[u8])]) -> HttpRequest {
        let header = |(name, value): &(&str, &[u8])| HeaderValue {
            key: (*name).to_owned(),
            raw_value: value.to_vec(),
            ..Default::default()
        };
        HttpRequest {
            header_map: Some(HeaderMap { headers: headers.iter().map(header).collect() }),
            ..Default::default()
        }
    }

    /// What becomes of the token: itself, or why not.
    fn token(http: HttpRequest) -> String {
        match Headers::read(http).token() {
            Ok(token) => token.to_string(),
            Err(Denial::NoCredential) => "none".to_owned(),
            Err(Denial::TwoCredentials) => "two".to_owned(),
            Err(Denial::Rejected(rejection, _)) => format!("{:?}", rejection.rule),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rule_says_scopes_and_may_say_a_tenant() {
        let read = rule(&[("keyward.scopes", "orders/write\n  orders/read"), ("keyward.tenant", "tenants/acme")]);
        let read = read.expect("a rule");
        assert_eq!(read.scopes.to_string(), "orders/read orders/write");
        assert_eq!(read.tenant.expect("a tenant").as_str(), "acme");
        // A scope may have a comma in it, so this is one, and nobody has it.
        let read = rule(&[("keyward.scopes", "orders/read,orders/write")]).expect("a rule");
        assert_eq!(read.scopes.len(), 1);
        let read = rule(&[("keyward.scopes", ""), ("virtual_host", "x"), ("acme.keyward", "x")]).expect("a rule");
        assert_eq!(read, Rule { scopes: ScopeSet::default(), tenant: None, accepted: Accepted::Machines });
        for (token_use, accepted) in [("access", Accepted::Access), ("id", Accepted::Id)] {
            let read = rule(&[("keyward.scopes", ""), ("keyward.token_use", token_use)]).expect("a rule");
            assert_eq!(read.accepted, accepted);
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_by_its_key() {
        for (extensions, at) in [
            (&[][..], "keyward.scopes"),
            (&[("scopes", "orders/read")], "keyward.scopes"),
            (&[("keyward.tenant", "tenants/acme")], "keyward.scopes"),
            (&[("keyward.scopes", ""), ("keyward.scope", "orders/read")], "keyward.scope"),
            (&[("keyward.scopes", ""), ("keyward.", "")], "keyward."),
            (&[("keyward.scopes", ""), ("Keyward.Tenant", "tenants/acme")], "Keyward.Tenant"),
            (&[("keyward.scopes", ""), (" keyward.tenant", "tenants/acme")], " keyward.tenant"),
            (&[("keyward.scopes", ""), ("keyward_tenant", "tenants/acme")], "keyward_tenant"),
            (&[("keyward.scopes", ""), ("keyward.tenant", "")], "keyward.tenant"),
            (&[("keyward.scopes", ""), ("keyward.tenant", "acme")], "keyward.tenant"),
            (&[("keyward.scopes", "orders/read read")], "keyward.scopes"),
            (&[("keyward.scopes", ""), ("keyward.token_use", "")], "keyward.token_use"),
            (&[("keyward.scopes", ""), ("keyward.token_use", "ID")], "keyward.token_use"),
            (&[("keyward.scopes", ""), ("keyward.token_use", "access,id")], "keyward.token_use"),
        ] {
            let error = rule(extensions).expect_err(at);
            let expected = format!("attributes.context_extensions[{at}]");
            assert!(error.fields()[0].field.starts_with(&expected), "{extensions:?}: {error:?}");
        }
        let error = rule(&[(&format!("keyward.\n{}", "x".repeat(300)), "")]).expect_err("too long");
        assert!(error.to_string().len() < 200 && !error.to_string().contains('\n'), "{error}");
    }

    #[test]
    fn there_is_one_bearer_token_or_none() {
        for (value, becomes) in [
            ("Bearer a.b.c", "a.b.c"),
            ("bEARER a.b.c", "a.b.c"),
            ("", "none"),
            ("Bearer", "none"),
            ("Bearer ", "none"),
            ("a.b.c", "none"),
            ("Basic a.b.c", "none"),
            ("Digest a=b, c=d", "none"),
            (" Bearer a.b.c", "none"),
            ("Bearer\ta.b.c", "none"),
            ("Bearer a.b.c,Bearer a.b.c", "two"),
            ("Bearer a.b.c,", "two"),
        ] {
            assert_eq!(token(joined(&[("authorization", value)])), becomes, "{value:?}");
            assert_eq!(token(single(&[("authorization", value.as_bytes())])), becomes, "{value:?}");
        }
        assert_eq!(token(HttpRequest::default()), "none");
        let both = HttpRequest {
            header_map: single(&[("authorization", b"Bearer a")]).header_map,
            ..joined(&[("authorization", "Bearer a")])
        };
        assert_eq!(token(both), "two");
        assert_eq!(token(single(&[("authorization", b"Bearer a"), ("authorization", b"Basic b")])), "two");
        assert_eq!(token(joined(&[("Authorization", "Bearer a"), ("authorization", "Bearer a")])), "two");
        assert_eq!(token(single(&[("authorization", b"Bearer \xff")])), "Malformed");
        assert_eq!(
            token(single(&[("authorization", format!("Bearer {}", "x".repeat(16_385)).as_bytes())])),
            "Malformed"
        );
    }

    #[test]
    fn headers_that_only_the_broker_may_set_are_known_by_how_they_begin() {
        let came = [("X-Keyward-Tenant", "x"), ("x-keyward-", "x"), ("x-keyward", "x"), ("accept", "x-keyward-tenant")];
        let mut ours = Headers::read(joined(&came)).ours;
        ours.sort();
        assert_eq!(ours, ["x-keyward-", "x-keyward-tenant"]);
    }
}
