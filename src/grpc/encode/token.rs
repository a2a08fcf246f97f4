//! Access tokens, and verdicts on them.

use super::{scopes, timestamp};
use crate::broker::api::Verdict;
use crate::domain::claims::Rule;
use crate::domain::token::AccessToken;
use crate::proto::{self, verify_token_response};

pub fn access_token(token: &AccessToken) -> proto::AccessToken {
    proto::AccessToken {
        access_token: token.expose().to_owned(),
        token_type: "Bearer".to_owned(),
        expire_time: Some(timestamp(token.expire_time)),
        scopes: scopes(&token.scopes),
    }
}

pub fn verdict(verdict: Verdict) -> verify_token_response::Verdict {
    match verdict {
        Verdict::Verified(verified) => {
            let claims = verified.claims;
            verify_token_response::Verdict::Verified(proto::VerifiedToken {
                tenant: verified.client.tenant.name(),
                client: verified.client.to_string(),
                app_client_id: claims.app_client.to_string(),
                issuer: claims.issuer.to_string(),
                scopes: scopes(&claims.scopes),
                token_id: claims.token_id.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
                issue_time: Some(timestamp(claims.issue_time)),
                expire_time: Some(timestamp(claims.expire_time)),
                token_use: proto::TokenUse::Access.into(),
                client_kind: proto::ClientKind::Machine.into(),
                subject: claims.app_client.to_string(),
                username: String::new(),
                groups: Vec::new(),
            })
        }
        Verdict::Rejected(rejection) => verify_token_response::Verdict::Rejected(proto::RejectedToken {
            reason: rejection_reason(rejection.rule).into(),
            detail: rejection.detail,
        }),
    }
}

fn rejection_reason(rule: Rule) -> proto::RejectionReason {
    match rule {
        Rule::Malformed => proto::RejectionReason::Malformed,
        Rule::UnsupportedAlgorithm => proto::RejectionReason::UnsupportedAlgorithm,
        Rule::UnsupportedHeader => proto::RejectionReason::UnsupportedHeader,
        Rule::UnknownIssuer => proto::RejectionReason::UnknownIssuer,
        Rule::UnknownKey => proto::RejectionReason::UnknownKey,
        Rule::BadSignature => proto::RejectionReason::BadSignature,
        Rule::WrongTokenUse => proto::RejectionReason::WrongTokenUse,
        Rule::Expired => proto::RejectionReason::Expired,
        Rule::NotYetValid => proto::RejectionReason::NotYetValid,
        Rule::IssuedInFuture => proto::RejectionReason::IssuedInFuture,
        Rule::UnknownClient => proto::RejectionReason::UnknownClient,
        Rule::ClientDeleted => proto::RejectionReason::ClientDeleted,
        Rule::TenantSuspended => proto::RejectionReason::TenantSuspended,
        Rule::TenantDeleted => proto::RejectionReason::TenantDeleted,
        Rule::WrongTenant => proto::RejectionReason::WrongTenant,
        Rule::Revoked => proto::RejectionReason::Revoked,
        Rule::InsufficientScope => proto::RejectionReason::InsufficientScope,
    }
}
