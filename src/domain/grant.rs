//! What principals are to Keyward: grants, by patterns over a principal's text.
//!
//! A pattern says whose word it takes: its scheme, and the trust domain, issuer or AWS account after it, are literal, so that
//! a `*` never reaches over to another authority. Matching reads a principal once, from left to right, and there is one
//! way to read it: a placeholder ends where its characters end.

use super::caller::{Caller, Principal, Role};
use super::id::{ClientId, TenantId};

/// The longest pattern, in bytes.
const MAX_BYTES: usize = 2_048;

/// A pattern over principals, such as `spiffe://example.org/tenants/{tenant}/{client}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// A tenant's id, all of it.
    Tenant,
    /// A client's id, all of it.
    Client,
    /// At least one character, whatever they are, up to the end.
    Rest,
}

/// What the placeholders of a pattern stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    pub tenant: Option<TenantId>,
    pub client: Option<ClientId>,
}

impl Pattern {
    /// Fails with what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !(1..=MAX_BYTES).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must be 1 to 2048 printable ASCII characters without spaces");
        }
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let part = if let Some(after) = rest.strip_prefix("{tenant}") {
                rest = after;
                Part::Tenant
            } else if let Some(after) = rest.strip_prefix("{client}") {
                rest = after;
                Part::Client
            } else if rest == "*" {
                rest = "";
                Part::Rest
            } else {
                let end = rest[1..].find(['{', '}', '*']).map_or(rest.len(), |at| at + 1);
                let literal = &rest[..end];
                if literal.contains(['{', '}', '*']) {
                    return Err("may have {tenant}, {client} and, at the very end, *; no other braces or stars");
                }
                rest = &rest[end..];
                Part::Literal(literal.to_owned())
            };
            let follows = matches!(parts.last(), Some(Part::Tenant | Part::Client));
            if follows && !matches!(&part, Part::Literal(literal) if !literal.starts_with(is_of_an_id)) {
                return Err("must have a character that no id has after {tenant} and after {client}, such as / or :");
            }
            if part != Part::Rest && parts.contains(&part) && matches!(part, Part::Tenant | Part::Client) {
                return Err("must have {tenant} and {client} once each at the most");
            }
            parts.push(part);
        }
        match parts.first() {
            Some(Part::Literal(start)) if names_an_authority(start, parts.len() == 1) => Ok(Pattern(parts)),
            _ => Err(
                "must begin with spiffe://<trust domain>/, dns:, token:<issuer>#, aws:arn:<partition>:<service>::<account>:, \
                      client:tenants/ or unix:",
            ),
        }
    }

    pub fn has_tenant(&self) -> bool {
        self.0.contains(&Part::Tenant)
    }

    pub fn has_client(&self) -> bool {
        self.0.contains(&Part::Client)
    }

    /// What the placeholders stand for where `principal` is one that this is about. Reads it once.
    pub fn captures(&self, principal: &str) -> Option<Captured> {
        let mut captured = Captured::default();
        let mut rest = principal;
        for part in &self.0 {
            rest = match part {
                Part::Literal(literal) => rest.strip_prefix(literal.as_str())?,
                Part::Tenant | Part::Client => {
                    let end = rest.find(|c| !is_of_an_id(c)).unwrap_or(rest.len());
                    let (id, after) = rest.split_at(end);
                    match part {
                        Part::Tenant => captured.tenant = Some(TenantId::parse("tenant", id).ok()?),
                        _ => captured.client = Some(ClientId::parse("client", id).ok()?),
                    }
                    after
                }
                Part::Rest => (!rest.is_empty()).then_some("")?,
            };
        }
        rest.is_empty().then_some(captured)
    }
}

/// What ids of tenants and clients are made of.
fn is_of_an_id(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

/// Whether everything that says who vouches for the principal is in `start`. `is_whole`: nothing follows it.
fn names_an_authority(start: &str, is_whole: bool) -> bool {
    let has_more = |rest: &str| is_whole && !rest.is_empty();
    if let Some(rest) = start.strip_prefix("spiffe://") {
        rest.find('/').is_some_and(|at| at > 0)
    } else if let Some(rest) = start.strip_prefix("token:") {
        rest.find('#').is_some_and(|at| at > 0)
    } else if let Some(rest) = start.strip_prefix("aws:arn:") {
        rest.matches(':').count() >= 4
    } else if let Some(rest) = start.strip_prefix("dns:").or_else(|| start.strip_prefix("unix:")) {
        has_more(rest) || !is_whole
    } else {
        start.starts_with("client:tenants/")
    }
}

/// What whoever a pattern is about is to Keyward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pattern: Pattern,
    role: Option<Role>,
    tenant: Option<TenantId>,
    client: Option<ClientId>,
}

impl Grant {
    /// Fails with the key at fault (`caller`, `role`, `tenant`, `client`) and what is wrong with it.
    pub fn new(
        caller: &str,
        role: Option<&str>,
        tenant: Option<&str>,
        client: Option<&str>,
    ) -> Result<Self, (&'static str, &'static str)> {
        const ID: &str = "must match [a-z][a-z0-9-]{1,61}[a-z0-9]";
        let pattern = Pattern::parse(caller).map_err(|problem| ("caller", problem))?;
        let role = match role {
            None => None,
            Some("operator") => Some(Role::Operator),
            Some("verifier") => Some(Role::Verifier),
            Some(_) => return Err(("role", "must be \"operator\" or \"verifier\"")),
        };
        let tenant = tenant.map(|id| TenantId::parse("tenant", id)).transpose().map_err(|_| ("tenant", ID))?;
        let client = client.map(|id| ClientId::parse("client", id)).transpose().map_err(|_| ("client", ID))?;
        let (has_tenant, has_client) = (pattern.has_tenant(), pattern.has_client());
        if tenant.is_some() && has_tenant {
            return Err(("tenant", "must not be set beside {tenant}"));
        }
        if client.is_some() && has_client {
            return Err(("client", "must not be set beside {client}"));
        }
        if (client.is_some() || has_client) && !(tenant.is_some() || has_tenant) {
            return Err(("caller", "must have a tenant where it has a client"));
        }
        if role.is_none() && tenant.is_none() && !has_tenant {
            return Err(("caller", "must give something: a role, a tenant, or {tenant}"));
        }
        Ok(Grant { pattern, role, tenant, client })
    }
}

/// Two grants give one principal different tenants or clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous;

/// All grants.
#[derive(Clone, Debug, Default)]
pub struct Grants(Vec<Grant>);

impl Grants {
    pub fn new(grants: Vec<Grant>) -> Self {
        Grants(grants)
    }

    /// The principal with everything that grants say of it. A tenant's client, by its own secret, is that client whatever
    /// they say; one that says otherwise makes it ambiguous.
    pub fn caller(&self, principal: Principal) -> Result<Caller, Ambiguous> {
        let text = principal.to_string();
        let mut belongs = match &principal {
            Principal::Client(name) => Some((name.tenant.clone(), Some(name.client.clone()))),
            _ => None,
        };
        let mut roles = Vec::new();
        for grant in &self.0 {
            let Some(captured) = grant.pattern.captures(&text) else { continue };
            roles.extend(grant.role);
            let Some(tenant) = captured.tenant.or_else(|| grant.tenant.clone()) else { continue };
            let given = (tenant, captured.client.or_else(|| grant.client.clone()));
            if belongs.as_ref().is_some_and(|before| *before != given) {
                return Err(Ambiguous);
            }
            belongs = Some(given);
        }
        roles.sort_unstable();
        roles.dedup();
        let (tenant, client) = match belongs {
            Some((tenant, client)) => (Some(tenant), client),
            None => (None, None),
        };
        Ok(Caller { roles, tenant, client, ..Caller::of(principal) })
    }
}

#[cfg(test)]
#[path = "grant_tests.rs"]
mod tests;
