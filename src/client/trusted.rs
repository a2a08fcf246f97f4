//! What verification looks at, as it was sent, and the judgement of a token by it.
//!
//! The rules are `domain::claims` and `domain::trust`; here is only where each finds what it needs. Nothing here knows
//! whether it is fresh.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::verifier::Demand;
use crate::domain::claims::{Claims, Rejection};
use crate::domain::id::{AppClientId, ClientName, Issuer, TenantId};
use crate::domain::interactive::ClientKind;
use crate::domain::person::Accepted;
use crate::domain::revocation::TokenId;
use crate::domain::tenant::TenantState;
use crate::domain::trust::{self, Ownership, Party, RevokedFor, TrustChange, TrustedClient, TrustedKeys, TrustedOwner};

#[derive(Debug, Default)]
pub(super) struct Trusted {
    issuers: HashMap<Issuer, TrustedKeys>,
    tenants: HashMap<TenantId, Party<TenantState>>,
    clients: HashMap<ClientName, TrustedClient>,
    app_clients: HashMap<Issuer, HashMap<AppClientId, TrustedOwner>>,
    revoked: HashMap<TokenId, (RevokedFor, Timestamp)>,
    /// Of all app clients.
    owned: usize,
}

impl Trusted {
    pub fn apply(&mut self, change: TrustChange) {
        match change {
            TrustChange::Issuer(issuer, Some(keys)) => drop(self.issuers.insert(issuer, keys)),
            TrustChange::Issuer(issuer, None) => drop(self.issuers.remove(&issuer)),
            TrustChange::Tenant(tenant, Some(party)) => drop(self.tenants.insert(tenant, party)),
            TrustChange::Tenant(tenant, None) => drop(self.tenants.remove(&tenant)),
            TrustChange::Client(mut client, Some(trusted)) => {
                // What is said often is in memory once.
                if let Some((tenant, _)) = self.tenants.get_key_value(&client.tenant) {
                    client.tenant = tenant.clone();
                }
                self.clients.insert(client, trusted);
            }
            TrustChange::Client(client, None) => drop(self.clients.remove(&client)),
            TrustChange::AppClient(issuer, app_client, Some(mut owner)) => {
                if let Some((name, client)) = self.clients.get_key_value(&owner.client) {
                    owner.client = name.clone();
                    if owner.client_uid == client.uid {
                        owner.client_uid = client.uid.clone();
                    }
                }
                let before = self.app_clients.entry(issuer).or_default().insert(app_client, owner);
                self.owned += usize::from(before.is_none());
            }
            TrustChange::AppClient(issuer, app_client, None) => {
                let of_issuer = self.app_clients.get_mut(&issuer);
                let gone = of_issuer.and_then(|app_clients| app_clients.remove(&app_client));
                self.owned -= usize::from(gone.is_some());
                if self.app_clients.get(&issuer).is_some_and(HashMap::is_empty) {
                    self.app_clients.remove(&issuer);
                }
            }
            TrustChange::RevokedToken(token, of, expire_time) => drop(self.revoked.insert(token, (of, expire_time))),
        }
    }

    /// How much is held.
    pub fn entries(&self) -> usize {
        self.issuers.len() + self.tenants.len() + self.clients.len() + self.owned + self.revoked.len()
    }

    /// Revocations of what has expired anyway.
    pub fn forget_expired(&mut self, now: Timestamp) {
        self.revoked.retain(|_, (_, expire_time)| *expire_time > now);
    }

    /// The keys of an issuer, if it is one of the platform's.
    pub fn keys(&self, issuer: &Issuer) -> Option<&TrustedKeys> {
        self.issuers.get(issuer)
    }

    /// Whose the token of these claims is, whose signature has verified; or the first rule that does not hold.
    pub fn judge(
        &self,
        claims: &Claims,
        demand: &Demand,
        leeway: Duration,
        now: Timestamp,
    ) -> Result<ClientName, Rejection> {
        claims.check(now, leeway, Accepted::Machines)?;
        let app_clients = self.app_clients.get(&claims.issuer);
        let owner = app_clients.and_then(|app_clients| app_clients.get(&claims.app_client));
        let owner = owner.ok_or_else(trust::unknown_client)?;
        let client = self.clients.get(&owner.client).filter(|client| owner.is_of(client));
        let ownership = Ownership {
            owner: &owner.client.tenant,
            tenant: self.tenants.get(&owner.client.tenant).copied(),
            client: client.map(|client| client.party),
            // No others are sent.
            kind: client.map(|_| ClientKind::Machine),
            revoked: owner.revoked,
        };
        ownership.check(claims, demand.tenant.as_ref(), Accepted::Machines)?;
        let revoked = claims.token_id.as_ref().and_then(|id| self.revoked.get(id));
        trust::check_token_id(claims, revoked.map(|(of, _)| of))?;
        trust::check_scopes(claims, &demand.scopes)?;
        Ok(owner.client.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::client::ClientState;
    use crate::domain::id::ClientId;
    use crate::domain::trust::KeySet;

    #[test]
    fn what_is_gone_is_not_held_any_more() {
        let tenant = TenantId::parse("tenant", "acme").expect("an id");
        let client = ClientName::new(tenant.clone(), ClientId::parse("client", "orders").expect("an id"));
        let issuer = Issuer::parse("issuer", "https://issuer.example/pool").expect("an issuer");
        let app_client = AppClientId::parse("app_client", "1example23456789").expect("an id");
        let keys = TrustedKeys { keys: KeySet::default(), are_read: true };
        let owner = TrustedOwner { client: client.clone(), client_uid: "uid".into(), revoked: false };
        let party = Party { state: ClientState::Active, revoked_before: None };

        let mut trusted = Trusted::default();
        trusted.apply(TrustChange::Issuer(issuer.clone(), Some(keys)));
        let of_tenant = Party { state: TenantState::Active, revoked_before: None };
        trusted.apply(TrustChange::Tenant(tenant.clone(), Some(of_tenant)));
        trusted.apply(TrustChange::Client(client.clone(), Some(TrustedClient { uid: "uid".into(), party })));
        trusted.apply(TrustChange::AppClient(issuer.clone(), app_client.clone(), Some(owner)));
        assert_eq!(trusted.entries(), 4);
        let gone = [
            TrustChange::AppClient(issuer.clone(), app_client, None),
            TrustChange::Client(client, None),
            TrustChange::Tenant(tenant, None),
            TrustChange::Issuer(issuer.clone(), None),
        ];
        for (left, gone) in [3, 2, 1, 0].into_iter().zip(gone) {
            trusted.apply(gone.clone());
            assert_eq!(trusted.entries(), left, "{gone:?}");
            trusted.apply(gone);
            assert_eq!(trusted.entries(), left, "nothing goes twice");
        }
        assert!(trusted.keys(&issuer).is_none());
    }
}
