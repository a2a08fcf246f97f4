//! Access tokens, and verdicts on them.

use prost::Message;
use prost::bytes::{BufMut as _, Bytes};
use prost::encoding::encode_varint;
use prost::length_delimiter_len;
use zeroize::Zeroizing;

use super::{scopes, timestamp};
use crate::broker::api::Verdict;
use crate::domain::claims::Rule;
use crate::domain::interactive::ClientKind;
use crate::domain::person::TokenUse;
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

/// The same, encoded and with gRPC's prefix: the token is copied once, into what is sent, and wiped when that is dropped.
pub fn framed_access_token(token: &AccessToken) -> Bytes {
    let text = token.expose();
    let rest = proto::AccessToken {
        access_token: String::new(),
        token_type: "Bearer".to_owned(),
        expire_time: Some(timestamp(token.expire_time)),
        scopes: scopes(&token.scopes),
    };
    let length = 1 + length_delimiter_len(text.len()) + text.len() + rest.encoded_len();
    let mut message = start_of_frame(length);
    // Field 1, of bytes whose number follows.
    message.put_u8(1 << 3 | 2);
    encode_varint(text.len() as u64, &mut message);
    message.put_slice(text.as_bytes());
    rest.encode_raw(&mut message);
    Bytes::from_owner(Zeroizing::new(message))
}

/// A message with gRPC's prefix.
pub fn framed(message: &impl Message) -> Bytes {
    let mut framed = start_of_frame(message.encoded_len());
    message.encode_raw(&mut framed);
    framed.into()
}

/// Not compressed, and so long. A message of 4 GiB does not exist: requests are limited, and answers are short.
fn start_of_frame(length: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(5 + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame
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
                token_use: token_use(claims.token_use).into(),
                client_kind: client_kind(claims.kind()).into(),
                subject: claims.subject().to_owned(),
                username: claims.person.as_ref().map(|person| person.username.clone()).unwrap_or_default(),
                groups: claims.person.as_ref().map(|person| person.groups.clone()).unwrap_or_default(),
            })
        }
        Verdict::Rejected(rejection) => verify_token_response::Verdict::Rejected(proto::RejectedToken {
            reason: rejection_reason(rejection.rule).into(),
            detail: rejection.detail,
        }),
    }
}

fn token_use(token_use: TokenUse) -> proto::TokenUse {
    match token_use {
        TokenUse::Access => proto::TokenUse::Access,
        TokenUse::Id => proto::TokenUse::Id,
        // Nobody accepts one.
        TokenUse::Other => proto::TokenUse::Unspecified,
    }
}

fn client_kind(kind: ClientKind) -> proto::ClientKind {
    match kind {
        ClientKind::Machine => proto::ClientKind::Machine,
        ClientKind::Interactive => proto::ClientKind::Interactive,
    }
}

pub fn rejection_reason(rule: Rule) -> proto::RejectionReason {
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
        Rule::WrongClientKind => proto::RejectionReason::WrongClientKind,
        Rule::WrongTenant => proto::RejectionReason::WrongTenant,
        Rule::Revoked => proto::RejectionReason::Revoked,
        Rule::InsufficientScope => proto::RejectionReason::InsufficientScope,
    }
}
