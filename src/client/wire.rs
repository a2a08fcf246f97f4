//! Messages of the trust stream as the domain's own. Strict: what is not understood would be a change that is missed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::client::ClientState;
use crate::domain::error::Error;
use crate::domain::id::{AppClientId, ClientName, Issuer, TenantId};
use crate::domain::revocation::TokenId;
use crate::domain::tenant::TenantState;
use crate::domain::trust::{Party, TrustChange, TrustedClient, TrustedKeys, TrustedOwner};
use crate::domain::verifying_key::{MAX_KEYS, VerifyingKey};
use crate::proto::{self, trust_change::Change};

/// What cannot be understood.
#[derive(Debug)]
pub(super) struct Strange(pub &'static str);

impl From<Error> for Strange {
    fn from(_: Error) -> Self {
        Strange("a name or an id that is none")
    }
}

pub(super) fn timestamp(given: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    given.and_then(|given| Timestamp::new(given.seconds, given.nanos).ok())
}

pub(super) fn duration(given: Option<prost_types::Duration>) -> Option<Duration> {
    given.and_then(|given| Duration::try_from(given).ok())
}

pub(super) fn change(message: proto::TrustChange) -> Result<TrustChange, Strange> {
    let issuer = |text: &str| Issuer::parse("issuer", text);
    Ok(match message.change.ok_or(Strange("a change of a kind that is not known here"))? {
        Change::Issuer(message) => {
            let keys = keys(message.keys)?;
            TrustChange::Issuer(issuer(&message.issuer)?, Some(TrustedKeys { keys, are_read: message.keys_read }))
        }
        Change::RemovedIssuer(gone) => TrustChange::Issuer(issuer(&gone)?, None),
        Change::Tenant(message) => {
            let state = match message.state() {
                proto::TenantState::Creating => TenantState::Creating,
                proto::TenantState::Active => TenantState::Active,
                proto::TenantState::Suspended => TenantState::Suspended,
                proto::TenantState::Deleting => TenantState::Deleting,
                proto::TenantState::Unspecified => return Err(Strange("a tenant in a state that is not known here")),
            };
            let party = Party { state, revoked_before: instant(message.revoked_before)? };
            TrustChange::Tenant(TenantId::from_name("tenant", &message.tenant)?, Some(party))
        }
        Change::RemovedTenant(gone) => TrustChange::Tenant(TenantId::from_name("tenant", &gone)?, None),
        Change::Client(message) => {
            let state = match message.state() {
                proto::ClientState::Creating => ClientState::Creating,
                proto::ClientState::Active => ClientState::Active,
                proto::ClientState::Deleting => ClientState::Deleting,
                proto::ClientState::Unspecified => return Err(Strange("a client in a state that is not known here")),
            };
            let party = Party { state, revoked_before: instant(message.revoked_before)? };
            let client = TrustedClient { uid: message.client_uid.into(), party };
            TrustChange::Client(ClientName::parse("client", &message.client)?, Some(client))
        }
        Change::RemovedClient(gone) => TrustChange::Client(ClientName::parse("client", &gone)?, None),
        Change::AppClient(message) => {
            let client = ClientName::parse("client", &message.client)?;
            let owner = TrustedOwner { client, client_uid: message.client_uid.into(), revoked: message.revoked };
            let app_client = AppClientId::parse("app_client_id", &message.app_client_id)?;
            TrustChange::AppClient(issuer(&message.issuer)?, app_client, Some(owner))
        }
        Change::RemovedAppClient(gone) => {
            let app_client = AppClientId::parse("app_client_id", &gone.app_client_id)?;
            TrustChange::AppClient(issuer(&gone.issuer)?, app_client, None)
        }
        Change::RevokedToken(message) => {
            let of = if message.issuer.is_empty() { None } else { Some(issuer(&message.issuer)?) };
            let expire_time = instant(message.expire_time)?.ok_or(Strange("a revocation that does not expire"))?;
            TrustChange::RevokedToken(TokenId::parse("token_id", &message.token_id)?, of, expire_time)
        }
    })
}

/// Absent, or an instant.
fn instant(given: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, Strange> {
    let is_given = given.is_some();
    match timestamp(given) {
        None if is_given => Err(Strange("an instant that is none")),
        instant => Ok(instant),
    }
}

fn keys(keys: Vec<proto::TrustKey>) -> Result<crate::domain::trust::KeySet, Strange> {
    if keys.len() > MAX_KEYS {
        return Err(Strange("more keys than an issuer has"));
    }
    let key = |key: proto::TrustKey| {
        Ok((key.key_id, VerifyingKey::parse(key.modulus, key.exponent).map_err(|_| Strange("a key that is none"))?))
    };
    keys.into_iter().map(key).collect::<Result<_, Strange>>().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_no_change() {
        let change_of = |given| change(proto::TrustChange { change: given });
        let tenant = |tenant: &str, state: i32| {
            Some(Change::Tenant(proto::TrustTenant { tenant: tenant.to_owned(), state, revoked_before: None }))
        };
        let active = proto::TenantState::Active.into();
        assert!(change_of(tenant("tenants/acme", active)).is_ok());
        let endless = proto::TrustRevokedToken { token_id: "id".to_owned(), ..Default::default() };
        for strange in [
            None,
            tenant("acme", active),
            tenant("tenants/acme", 0),
            // A state of a later release.
            tenant("tenants/acme", 99),
            Some(Change::RevokedToken(endless)),
            Some(Change::Issuer(proto::TrustIssuer {
                issuer: "https://issuer.example".to_owned(),
                keys: vec![proto::TrustKey { key_id: "k".to_owned(), modulus: vec![1; 128], exponent: vec![1, 0, 1] }],
                keys_read: true,
            })),
        ] {
            assert!(change_of(strange.clone()).is_err(), "{strange:?}");
        }
    }
}
