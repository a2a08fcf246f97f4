//! Scopes and the resource servers that define them, with the limits that Cognito sets.
//!
//! A full scope is `<resource server identifier>/<scope name>`. Limits: 100 scopes a resource server, 50 a client
//! (Amazon Cognito Developer Guide, "Quotas"); characters as in Cognito's `ResourceServerType`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::{Error, Result};

/// Scopes of one app client at the most.
pub const MAX_SCOPES_PER_CLIENT: usize = 50;
/// Scopes of one resource server at the most.
pub const MAX_SCOPES_PER_RESOURCE_SERVER: usize = 100;
/// Resource servers of one user pool, and so of the catalogue, at the most: Cognito's quota, raised as far as it goes. How
/// many an account may have is [`Ceilings`](super::quota::Ceilings).
pub const MAX_RESOURCE_SERVERS: usize = 300;

/// Printable ASCII but the space, the quotation mark and the backslash: Cognito's pattern for identifiers, and with
/// the slash taken out its pattern for scope names (the same as RFC 6749, appendix A.4).
fn is_scope_character(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)
}

/// The identifier of a resource server: 1 to 256 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identifier(Arc<str>);

impl Identifier {
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        if (1..=256).contains(&text.len()) && text.bytes().all(is_scope_character) {
            Ok(Identifier(Arc::from(text)))
        } else {
            Err(Error::invalid(field, "must be 1 to 256 printable ASCII characters but space, \" and \\"))
        }
    }

    /// Reads `resourceServers/{identifier}`; a slash in the identifier is written `%2F`, a percent sign `%25`.
    pub fn from_name(field: &str, name: &str) -> Result<Self> {
        let encoded = name
            .strip_prefix("resourceServers/")
            .filter(|rest| !rest.contains('/'))
            .ok_or_else(|| Error::invalid(field, "must be resourceServers/{identifier}, a slash written as %2F"))?;
        // Slashes first: `%252F` is the identifier's own `%2F`, and keeps its percent sign until the end.
        let decoded = encoded.split("%25").map(|part| part.replace("%2F", "/").replace("%2f", "/"));
        Identifier::parse(field, &decoded.collect::<Vec<_>>().join("%"))
    }

    pub fn name(&self) -> String {
        format!("resourceServers/{}", self.0.replace('%', "%25").replace('/', "%2F"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Identifier {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Identifier::parse("identifier", &text)
    }
}

impl From<Identifier> for String {
    fn from(identifier: Identifier) -> String {
        identifier.0.to_string()
    }
}

/// A full scope, `<identifier>/<scope name>`. The scope name holds no slash, so the last one divides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(Arc<str>);

impl Scope {
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let (identifier, name) =
            text.rsplit_once('/').ok_or_else(|| Error::invalid(field, "must be <identifier>/<scope name>"))?;
        Identifier::parse(field, identifier)?;
        check_scope_name(field, name)?;
        Ok(Scope(Arc::from(text)))
    }

    pub fn of(identifier: &Identifier, scope_name: &str) -> Self {
        Scope(Arc::from(format!("{identifier}/{scope_name}")))
    }

    pub fn identifier(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(identifier, _)| identifier)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_scope_name(field: &str, name: &str) -> Result<()> {
    if (1..=256).contains(&name.len()) && name.bytes().all(|b| is_scope_character(b) && b != b'/') {
        Ok(())
    } else {
        Err(Error::invalid(field, "a scope name is 1 to 256 printable ASCII characters but space, \", \\ and /"))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Scope {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Scope::parse("scope", &text)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.0.to_string()
    }
}

/// A set of scopes in canonical order, so that the same scopes asked for in any order are the same key. Copies share it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ScopeSet(Arc<BTreeSet<Scope>>);

impl ScopeSet {
    /// At most 50 scopes; a repeated one counts once.
    pub fn parse<S: AsRef<str>>(field: &str, texts: &[S]) -> Result<Self> {
        if texts.len() > MAX_SCOPES_PER_CLIENT {
            return Err(Error::invalid(field, format!("at most {MAX_SCOPES_PER_CLIENT} scopes")));
        }
        let parse = |(i, text): (usize, &S)| Scope::parse(&format!("{field}[{i}]"), text.as_ref());
        texts.iter().enumerate().map(parse).collect()
    }

    /// Reads the `scope` of a token: space separated (RFC 6749, section 3.3).
    pub fn from_claim(claim: &str) -> Self {
        claim.split(' ').filter(|s| !s.is_empty()).map(|s| Scope(Arc::from(s))).collect()
    }

    /// The scopes of `part`, sharing what is here too: so what is kept for long is kept once.
    pub fn share(&self, part: &ScopeSet) -> ScopeSet {
        if self == part {
            return self.clone();
        }
        part.iter().map(|scope| self.0.get(scope).unwrap_or(scope).clone()).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    /// The first scope of ours that `granted` lacks.
    pub fn first_missing_in(&self, granted: &ScopeSet) -> Option<&Scope> {
        self.0.iter().find(|scope| !granted.0.contains(scope))
    }

    /// The identifiers of the resource servers that define these scopes.
    pub fn identifiers(&self) -> BTreeSet<&str> {
        self.0.iter().map(Scope::identifier).collect()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, scope) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        ScopeSet(Arc::new(scopes.into_iter().collect()))
    }
}

/// A scope as its resource server defines it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeDefinition {
    pub scope_name: String,
    /// 1 to 256 characters; what a person reads.
    pub description: String,
}

/// An API of the platform and the scopes it knows. One catalogue of these is applied to every pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceServer {
    pub identifier: Identifier,
    /// 1 to 256 characters.
    pub display_name: String,
    pub scopes: Vec<ScopeDefinition>,
    /// The version of the catalogue that brought it as it is.
    pub catalog_version: u64,
    pub create_time: Timestamp,
    pub update_time: Timestamp,
}

impl ResourceServer {
    /// Checks what Cognito checks: lengths, characters, 1 to 100 scopes, no scope twice.
    pub fn check(&self) -> Result<()> {
        check_text("display_name", &self.display_name)?;
        if self.scopes.is_empty() || self.scopes.len() > MAX_SCOPES_PER_RESOURCE_SERVER {
            let rule = format!("must hold 1 to {MAX_SCOPES_PER_RESOURCE_SERVER} scopes");
            return Err(Error::invalid("scopes", rule));
        }
        let mut seen = BTreeSet::new();
        for (i, scope) in self.scopes.iter().enumerate() {
            check_scope_name(&format!("scopes[{i}].scope_name"), &scope.scope_name)?;
            check_text(&format!("scopes[{i}].description"), &scope.description)?;
            if !seen.insert(&scope.scope_name) {
                return Err(Error::invalid(format!("scopes[{i}].scope_name"), "is there twice"));
            }
        }
        Ok(())
    }

    pub fn full_scopes(&self) -> impl Iterator<Item = Scope> {
        self.scopes.iter().map(|scope| Scope::of(&self.identifier, &scope.scope_name))
    }
}

fn check_text(field: &str, text: &str) -> Result<()> {
    if text.is_empty() || text.chars().count() > 256 || text.chars().any(char::is_control) {
        return Err(Error::invalid(field, "must be 1 to 256 characters, none of them a control character"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_do_not_make_another_set() {
        let one = ScopeSet::parse("scopes", &["a/x", "b/y", "a/x"]).expect("valid");
        let other = ScopeSet::parse("scopes", &["b/y", "a/x"]).expect("valid");
        assert_eq!(one, other);
        assert_eq!(one.to_string(), "a/x b/y");
    }

    #[test]
    fn an_identifier_may_be_a_url() {
        let scope = Scope::parse("scope", "https://api.example.com/orders/read").expect("valid");
        assert_eq!(scope.identifier(), "https://api.example.com/orders");
        let identifier = Identifier::parse("identifier", "https://api.example.com/100%").expect("valid");
        assert_eq!(identifier.name(), "resourceServers/https:%2F%2Fapi.example.com%2F100%25");
        assert_eq!(Identifier::from_name("name", &identifier.name()).expect("valid"), identifier);
    }

    #[test]
    fn a_percent_sign_before_a_slash_code_stays_itself() {
        let identifier = Identifier::parse("identifier", "a%2Fb").expect("valid");
        assert_eq!(Identifier::from_name("name", &identifier.name()).expect("valid"), identifier);
    }

    #[test]
    fn bad_scopes_are_named_by_index() {
        for bad in ["", "plain", "a/", "/b", "a /b", "a/b\"", "a/b\u{e9}"] {
            let error = ScopeSet::parse("scopes", &["ok/ok", bad]).expect_err(bad);
            assert_eq!(error.fields()[0].field, "scopes[1]");
        }
    }
}
