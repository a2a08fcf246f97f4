//! The rules that hang on whose a token is: its tenant, its client, its app client, and what of them is revoked.
//!
//! The broker asks them of its records, and a service that follows `WatchTrust` of what it was sent. Both ask them here, so
//! that they give one answer. What is missing is passed as missing; nothing here guesses.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::claims::{Claims, Rejection, Rule};
use super::client::ClientState;
use super::id::{AppClientId, ClientName, Issuer, TenantId};
use super::interactive::ClientKind;
use super::person::Accepted;
use super::revocation::TokenId;
use super::scope::ScopeSet;
use super::tenant::TenantState;
use super::verifying_key::VerifyingKey;

/// How the owner of an app client stands.
#[derive(Clone, Copy, Debug)]
pub struct Ownership<'a> {
    /// The tenant that the app client belongs to.
    pub owner: &'a TenantId,
    /// That tenant; `None` where there is none any more.
    pub tenant: Option<Party<TenantState>>,
    /// The client that the app client is or was one of; `None` where there is none any more, another of its name included.
    pub client: Option<Party<ClientState>>,
    /// What kind of client that is; `None` where there is none any more, and the token's word has to do.
    pub kind: Option<ClientKind>,
    /// Whether the app client is compromised.
    pub revoked: bool,
}

/// A tenant or a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party<S> {
    pub state: S,
    /// Tokens issued before this moment are refused.
    pub revoked_before: Option<Timestamp>,
}

impl Ownership<'_> {
    /// Fails with the first rule that does not hold. `demanded`: the tenant that the token must belong to. `accepted`: which tokens are.
    pub fn check(&self, claims: &Claims, demanded: Option<&TenantId>, accepted: Accepted) -> Result<(), Rejection> {
        if demanded.is_some_and(|tenant| tenant != self.owner) {
            return Err(Rejection::new(Rule::WrongTenant, "the token belongs to another tenant"));
        }
        check_kind(claims.kind(), self.kind, accepted)?;
        let Some(tenant) = self.tenant.filter(|tenant| tenant.state != TenantState::Deleting) else {
            return Err(Rejection::new(Rule::TenantDeleted, "the tenant is deleted"));
        };
        let Some(client) = self.client.filter(|client| client.state != ClientState::Deleting) else {
            return Err(Rejection::new(Rule::ClientDeleted, "the client is deleted"));
        };
        if tenant.state == TenantState::Suspended {
            return Err(Rejection::new(Rule::TenantSuspended, "the tenant is suspended"));
        }
        if self.revoked {
            return Err(Rejection::new(Rule::Revoked, "the app client was compromised and is replaced"));
        }
        let revoked_before = tenant.revoked_before.max(client.revoked_before);
        if revoked_before.is_some_and(|revoked_before| claims.issue_time < revoked_before) {
            return Err(Rejection::new(Rule::Revoked, "tokens issued so early are revoked"));
        }
        Ok(())
    }
}

/// Fails where the token, or its client, is of a kind that is not accepted, and where they are not of one kind: no sign-in of
/// people is on a machine's app client, unless somebody has changed that behind the broker's back.
fn check_kind(token: ClientKind, client: Option<ClientKind>, accepted: Accepted) -> Result<(), Rejection> {
    let client = client.unwrap_or(token);
    let detail = match (token, client) {
        _ if !accepted.takes(client) || !accepted.takes(token) => match accepted {
            Accepted::Machines => "only tokens of machine clients are accepted",
            Accepted::Access | Accepted::Id => "only tokens of interactive clients are accepted",
        },
        (ClientKind::Interactive, ClientKind::Machine) => "the token is a person's, and its client is a machine's",
        (ClientKind::Machine, ClientKind::Interactive) => {
            "the token names no person, and people sign in with its client"
        }
        _ => return Ok(()),
    };
    Err(Rejection::new(Rule::WrongClientKind, detail))
}

/// Fails where the token of these claims is revoked by its id. `revoked`: for whose tokens there is a revocation of that id.
pub fn check_token_id(claims: &Claims, revoked: Option<&RevokedFor>) -> Result<(), Rejection> {
    match revoked {
        Some(issuer) if issuer.as_ref().is_none_or(|issuer| *issuer == claims.issuer) => {
            Err(Rejection::new(Rule::Revoked, "the token is revoked"))
        }
        _ => Ok(()),
    }
}

/// Whose tokens a revocation by id is of: an issuer's, or every issuer's.
pub type RevokedFor = Option<Issuer>;

/// The keys of an issuer by their `kid`.
pub type KeySet = Arc<HashMap<String, VerifyingKey>>;

/// Something that verification looks at, as it is now. `None` where it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustChange {
    Issuer(Issuer, Option<TrustedKeys>),
    Tenant(TenantId, Option<Party<TenantState>>),
    Client(ClientName, Option<TrustedClient>),
    /// By issuer and app client id: whose it is.
    AppClient(Issuer, AppClientId, Option<TrustedOwner>),
    /// A revocation by id. No token of it can be valid after the instant.
    RevokedToken(TokenId, RevokedFor, Timestamp),
}

/// An issuer's keys as they were read last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKeys {
    pub keys: KeySet,
    /// Whether the last reading succeeded, so that there are no others.
    pub are_read: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedClient {
    /// Tells it from others that have had its name.
    pub uid: Arc<str>,
    pub party: Party<ClientState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedOwner {
    pub client: ClientName,
    /// Which of the clients that have had this name. Empty where that is none of today's.
    pub client_uid: Arc<str>,
    /// Whether the app client is compromised.
    pub revoked: bool,
}

impl TrustedOwner {
    /// Whether the app client is or was one of `client`, and not of another one that had its name.
    pub fn is_of(&self, client: &TrustedClient) -> bool {
        !self.client_uid.is_empty() && self.client_uid == client.uid
    }
}

/// Fails where the token lacks a scope.
pub fn check_scopes(claims: &Claims, required: &ScopeSet) -> Result<(), Rejection> {
    match required.first_missing_in(&claims.scopes) {
        Some(scope) => Err(Rejection::new(Rule::InsufficientScope, format!("the token lacks {scope}"))),
        None => Ok(()),
    }
}

pub fn unknown_issuer() -> Rejection {
    Rejection::new(Rule::UnknownIssuer, "iss is not the issuer of a pool of this broker")
}

pub fn no_key_id() -> Rejection {
    Rejection::new(Rule::UnknownKey, "the header names no kid")
}

pub fn unknown_key() -> Rejection {
    Rejection::new(Rule::UnknownKey, "the issuer publishes no key of this kid")
}

pub fn bad_signature() -> Rejection {
    Rejection::new(Rule::BadSignature, "the signature is not the issuer's")
}

pub fn unknown_client() -> Rejection {
    Rejection::new(Rule::UnknownClient, "it was issued to no app client of this broker")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::person::{Person, TokenUse};
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn claims() -> Claims {
        Claims {
            issuer: Issuer::parse("iss", "https://issuer.example/pool").expect("valid"),
            app_client: AppClientId::parse("client_id", "abc123").expect("valid"),
            token_id: None,
            token_use: TokenUse::Access,
            scopes: ScopeSet::default(),
            person: None,
            issue_time: at(100),
            not_before: None,
            expire_time: at(200),
        }
    }

    #[test]
    fn the_first_rule_that_does_not_hold_is_the_answer() {
        let acme = TenantId::parse("tenant", "acme").expect("valid");
        let other = TenantId::parse("tenant", "globex").expect("valid");
        let tenant = |state, revoked_before: Option<i64>| Party { state, revoked_before: revoked_before.map(at) };
        let client = |state, revoked_before: Option<i64>| Party { state, revoked_before: revoked_before.map(at) };
        // Everything is wrong at first; then one thing after the other is mended.
        let mut ownership = Ownership { owner: &acme, tenant: None, client: None, kind: None, revoked: true };
        let mut rules = Vec::new();
        let mut note = |ownership: &Ownership<'_>, demanded| {
            rules.push(
                ownership.check(&claims(), Some(demanded), Accepted::Machines).expect_err("something is wrong").rule,
            );
        };
        note(&ownership, &other);
        note(&ownership, &acme);
        ownership.tenant = Some(tenant(TenantState::Deleting, Some(101)));
        note(&ownership, &acme);
        ownership.tenant = Some(tenant(TenantState::Suspended, Some(101)));
        note(&ownership, &acme);
        ownership.client = Some(client(ClientState::Deleting, Some(101)));
        note(&ownership, &acme);
        ownership.client = Some(client(ClientState::Active, Some(101)));
        note(&ownership, &acme);
        ownership.tenant = Some(tenant(TenantState::Active, Some(101)));
        note(&ownership, &acme);
        ownership.revoked = false;
        note(&ownership, &acme);
        ownership.tenant = Some(tenant(TenantState::Active, Some(100)));
        note(&ownership, &acme);
        use Rule::{ClientDeleted, Revoked, TenantDeleted, TenantSuspended, WrongTenant};
        assert_eq!(
            rules,
            [
                WrongTenant,
                TenantDeleted,
                TenantDeleted,
                ClientDeleted,
                ClientDeleted,
                TenantSuspended,
                Revoked,
                Revoked,
                Revoked
            ]
        );
        ownership.client = Some(client(ClientState::Creating, Some(100)));
        assert_eq!(ownership.check(&claims(), Some(&acme), Accepted::Machines), Ok(()));
        assert_eq!(ownership.check(&claims(), None, Accepted::Machines), Ok(()));
        // Each of these alone is enough.
        for alone in [
            Ownership { revoked: true, ..ownership },
            Ownership { tenant: Some(tenant(TenantState::Active, Some(101))), ..ownership },
            Ownership { client: Some(client(ClientState::Active, Some(101))), ..ownership },
        ] {
            let refused = alone.check(&claims(), None, Accepted::Machines).expect_err("something is wrong");
            assert_eq!(refused.rule, Revoked, "{alone:?}");
        }
        assert_eq!(rules.into_iter().collect::<HashSet<_>>().len(), 5);
    }

    #[test]
    fn a_token_its_client_and_what_is_accepted_are_of_one_kind() {
        use ClientKind::{Interactive, Machine};
        let acme = TenantId::parse("tenant", "acme").expect("valid");
        let person = Person { subject: "s".to_owned(), username: "ada".to_owned(), groups: Vec::new() };
        // What the token says, what the client is, and who accepts that.
        for (token, client, accepts) in [
            (Machine, Some(Machine), &[Accepted::Machines, Accepted::Access][..]),
            (Machine, None, &[Accepted::Machines, Accepted::Access]),
            (Machine, Some(Interactive), &[]),
            (Interactive, Some(Interactive), &[Accepted::Access, Accepted::Id]),
            (Interactive, None, &[Accepted::Access, Accepted::Id]),
            (Interactive, Some(Machine), &[]),
        ] {
            let claims = Claims { person: (token == Interactive).then(|| Box::new(person.clone())), ..claims() };
            for accepted in [Accepted::Machines, Accepted::Access, Accepted::Id] {
                // The tenant is gone, which is the next thing that is looked at.
                let ownership = Ownership { owner: &acme, tenant: None, client: None, kind: client, revoked: false };
                let rule = ownership.check(&claims, None, accepted).expect_err("something is wrong").rule;
                let expected = if accepts.contains(&accepted) { Rule::TenantDeleted } else { Rule::WrongClientKind };
                assert_eq!(rule, expected, "{token:?}, {client:?}, {accepted:?}");
            }
        }
    }
}
