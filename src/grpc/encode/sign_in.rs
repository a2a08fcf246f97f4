//! Claims to names, and where people sign in.

use super::timestamp;
use crate::broker::api::{Matched, SignIn};
use crate::domain::sign_in::{Claim, SignInDomain, SignInDomainKind};
use crate::proto;

/// A name that a tenant lists; without its claim as long as that is not made.
pub fn domain(name: SignInDomain, claims: &[Claim]) -> proto::SignInDomain {
    let claim = claims.iter().find(|claim| claim.name == name);
    let kind = match name.kind {
        SignInDomainKind::Email => proto::SignInDomainKind::Email,
        SignInDomainKind::Host => proto::SignInDomainKind::Host,
    };
    proto::SignInDomain {
        txt_record_name: name.txt_record_name(),
        domain: name.domain,
        kind: kind.into(),
        txt_record_value: claim.map(Claim::txt_record_value).unwrap_or_default(),
        verified: claim.is_some_and(|claim| claim.verified),
        verify_time: claim.and_then(|claim| claim.verify_time).map(timestamp),
    }
}

pub fn matched(matched: Matched) -> proto::MatchTenantResponse {
    let Some(SignIn { client, pool, app_client, issuer, provider, url }) = matched.found else {
        let authorize_url = matched.fallback.unwrap_or_default();
        return proto::MatchTenantResponse { authorize_url, ..Default::default() };
    };
    proto::MatchTenantResponse {
        tenant: client.tenant.name(),
        pool: pool.name(),
        client: client.to_string(),
        app_client_id: app_client.to_string(),
        issuer: issuer.to_string(),
        provider_name: provider,
        authorize_url: url.unwrap_or_default(),
    }
}
