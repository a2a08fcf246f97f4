//! What those are told who verify by themselves.

use super::tenant::tenant_state;
use super::{client::client_state, duration, timestamp};
use crate::broker::api::{TrustEvent, TrustMessage, TrustSynced, TrustTerms};
use crate::domain::trust::{TrustChange, TrustedKeys};
use crate::proto::{self, trust_change::Change, watch_trust_response::Event};

pub fn trust(message: TrustMessage) -> proto::WatchTrustResponse {
    let event = match message.event {
        TrustEvent::Reset(TrustTerms { heartbeat, max_staleness, leeway }) => Event::Reset(proto::TrustReset {
            heartbeat_interval: Some(duration(heartbeat)),
            max_staleness: Some(duration(max_staleness)),
            leeway: Some(duration(leeway)),
        }),
        TrustEvent::Changes(changes) => {
            let changes = changes.into_iter().map(|change| proto::TrustChange { change: Some(of(change)) });
            Event::Changes(proto::TrustChanges { changes: changes.collect() })
        }
        TrustEvent::Synced(TrustSynced { fresh_time, now, fresh_until }) => Event::Synced(proto::TrustSynced {
            fresh_time: Some(timestamp(fresh_time)),
            broker_time: Some(timestamp(now)),
            fresh_until: Some(timestamp(fresh_until)),
        }),
    };
    proto::WatchTrustResponse { event: Some(event), resume_token: message.resume.unwrap_or_default() }
}

fn of(change: TrustChange) -> Change {
    match change {
        TrustChange::Issuer(issuer, None) => Change::RemovedIssuer(issuer.into()),
        TrustChange::Issuer(issuer, Some(TrustedKeys { keys, are_read })) => {
            let key = |(kid, key): (&String, &crate::domain::verifying_key::VerifyingKey)| proto::TrustKey {
                key_id: kid.clone(),
                modulus: key.modulus().to_vec(),
                exponent: key.exponent().to_vec(),
            };
            let keys = keys.iter().map(key).collect();
            Change::Issuer(proto::TrustIssuer { issuer: issuer.into(), keys, keys_read: are_read })
        }
        TrustChange::Tenant(tenant, None) => Change::RemovedTenant(tenant.name()),
        TrustChange::Tenant(tenant, Some(party)) => Change::Tenant(proto::TrustTenant {
            tenant: tenant.name(),
            state: tenant_state(party.state).into(),
            revoked_before: party.revoked_before.map(timestamp),
        }),
        TrustChange::Client(client, None) => Change::RemovedClient(client.to_string()),
        TrustChange::Client(client, Some(trusted)) => Change::Client(proto::TrustClient {
            client: client.to_string(),
            client_uid: trusted.uid.to_string(),
            state: client_state(trusted.party.state).into(),
            revoked_before: trusted.party.revoked_before.map(timestamp),
        }),
        TrustChange::AppClient(issuer, app_client, owner) => {
            let (issuer, app_client_id) = (issuer.into(), app_client.into());
            let app_client = proto::TrustAppClient { issuer, app_client_id, ..Default::default() };
            match owner {
                None => Change::RemovedAppClient(app_client),
                Some(owner) => Change::AppClient(proto::TrustAppClient {
                    client: owner.client.to_string(),
                    client_uid: owner.client_uid.to_string(),
                    revoked: owner.revoked,
                    ..app_client
                }),
            }
        }
        TrustChange::RevokedToken(token, issuer, expire_time) => Change::RevokedToken(proto::TrustRevokedToken {
            token_id: token.into(),
            issuer: issuer.map(String::from).unwrap_or_default(),
            expire_time: Some(timestamp(expire_time)),
        }),
    }
}
