//! Clients, their rotations, and the revocation of what they signed.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::broker::api::{
    ClientPatch, ClientView, FleetRequest, NewClient, NewRevocation, NewRevocationTarget, RotationRequest, WantedScopes,
};
use crate::domain::claims::MAX_TOKEN_BYTES;
use crate::domain::client::{DEFAULT_TOKEN_VALIDITY, RotationPolicy, check_token_validity};
use crate::domain::error::{Error, Result};
use crate::domain::id::{ClientId, ClientName, TenantId};
use crate::domain::interactive::{ClientKind, InteractiveSettings};
use crate::domain::revocation::TokenId;
use crate::domain::tenant::check_labels;
use crate::proto::{self, revoke_tokens_request::Target};

use super::mask::{Fields, Mask};
use super::tenant::{MAX_DISPLAY_NAME, labels};
use super::{duration, etag, interactive, pool, reason, required, timestamp, words};

const MAX_SECRET_READERS: usize = 20;
const MAX_ARN: usize = 2048;

const FIELDS: Fields = Fields {
    mutable: &[
        "display_name",
        "scopes",
        "access_token_validity",
        "rotation_policy",
        "rotation_policy.period",
        "rotation_policy.overlap",
        "rotation_policy.disabled",
        "secret_readers",
        "labels",
        "interactive",
    ],
    fixed: &[
        "name",
        "uid",
        "kind",
        "state",
        "app_client_id",
        "pool",
        "issuer",
        "token_endpoint",
        "secret_name",
        "rotate_time",
        "next_rotate_time",
        "create_time",
        "update_time",
        "etag",
        "replaced_app_clients",
        "warnings",
        "state_reason",
    ],
};

/// A client to create. Output-only fields are ignored.
pub fn new(request: proto::CreateClientRequest) -> Result<NewClient> {
    let tenant = TenantId::from_name("parent", &request.parent)?;
    let id = ClientId::parse("client_id", &request.client_id)?;
    let client = required("client", request.client)?;
    let interactive = interactive::of_kind(&client)?;
    words("client.display_name", &client.display_name, MAX_DISPLAY_NAME)?;
    let scopes = interactive::scopes(&client)?;
    interactive::check_scopes(interactive::kind(&client)?, &scopes)?;
    let WantedScopes { resource, standard: standard_scopes } = scopes;
    Ok(NewClient {
        tenant,
        id,
        interactive: interactive.map(|settings| InteractiveSettings { standard_scopes, ..settings }),
        scopes: resource,
        access_token_validity: validity(&client)?,
        rotation: client.rotation_policy.map(rotation_policy).transpose()?,
        secret_readers: secret_readers(client.secret_readers)?,
        labels: labels(client.labels, "client")?,
        display_name: client.display_name,
    })
}

/// The tenant of a list of clients; `None` for all tenants, `tenants/-`.
pub fn parent(parent: &str) -> Result<Option<TenantId>> {
    if parent == "tenants/-" { Ok(None) } else { TenantId::from_name("parent", parent).map(Some) }
}

/// An `UpdateClient`, which may depend on what the client is now.
#[derive(Debug)]
pub struct Update {
    pub name: ClientName,
    /// The version that the caller's etag stands for.
    pub version: Option<u64>,
    patch: ClientPatch,
    mask: Mask,
}

impl Update {
    pub fn read(request: proto::UpdateClientRequest) -> Result<Self> {
        let given = required("client", request.client)?;
        let name = ClientName::parse("client.name", &given.name)?;
        let populated = [
            ("display_name", !given.display_name.is_empty()),
            ("scopes", !given.scopes.is_empty()),
            ("access_token_validity", given.access_token_validity.is_some()),
            ("rotation_policy", given.rotation_policy.is_some()),
            ("secret_readers", !given.secret_readers.is_empty()),
            ("labels", !given.labels.is_empty()),
            ("interactive", given.interactive.is_some()),
        ];
        let mask = Mask::read(request.update_mask, &FIELDS, populated)?;
        let version = etag(&name, &given.etag)?;
        let mut patch = ClientPatch::default();
        if mask.covers("display_name") {
            words("client.display_name", &given.display_name, MAX_DISPLAY_NAME)?;
            patch.display_name = Some(given.display_name.clone());
        }
        if mask.covers("scopes") {
            patch.scopes = Some(interactive::scopes(&given)?);
        }
        if mask.covers("access_token_validity") {
            patch.access_token_validity = Some(validity(&given)?.unwrap_or(DEFAULT_TOKEN_VALIDITY));
        }
        if mask.covers("interactive") {
            patch.interactive = given.interactive.map(interactive::settings).transpose()?;
            if patch.interactive.is_none() && !mask.is_star() {
                return Err(interactive::required());
            }
        }
        if mask.touches("rotation_policy") && !(mask.is_star() && given.rotation_policy.is_none()) {
            patch.rotation = Some(wanted_policy(given.rotation_policy.unwrap_or_default(), &mask)?);
        }
        if mask.covers("secret_readers") {
            patch.secret_readers = Some(secret_readers(given.secret_readers)?);
        }
        if mask.covers("labels") {
            patch.labels = Some(labels(given.labels, "client")?);
        }
        Ok(Update { name, version, patch, mask })
    }

    /// Whether [`Update::against`] must know the client as it is.
    pub fn needs_current(&self) -> bool {
        self.mask.is_star() || (self.mask.touches("rotation_policy") && !self.mask.covers("rotation_policy"))
    }

    /// The patch, given the client as it is where that is needed.
    pub fn against(&self, current: Option<&ClientView>) -> Result<ClientPatch> {
        let mut patch = self.patch.clone();
        if let (Some(current), true) = (current, self.mask.is_star()) {
            // What the other kind has is not meant by everything.
            match current.client.kind() {
                ClientKind::Machine => patch.rotation = Some(patch.rotation.unwrap_or_default()),
                ClientKind::Interactive if patch.interactive.is_none() => return Err(interactive::required()),
                ClientKind::Interactive => {}
            }
        }
        if let (Some(current), Some(wanted)) = (current, patch.rotation) {
            let mut next = current.client.rotation;
            if self.mask.covers("rotation_policy.period") {
                next.period = wanted.period;
            }
            if self.mask.covers("rotation_policy.overlap") {
                next.overlap = wanted.overlap;
            }
            if self.mask.covers("rotation_policy.disabled") {
                next.disabled = wanted.disabled;
            }
            next.check().map_err(|error| error.within("client.rotation_policy"))?;
            patch.rotation = Some(next);
        }
        Ok(patch)
    }
}

pub fn validity(client: &proto::Client) -> Result<Option<Duration>> {
    let validity = duration("client.access_token_validity", client.access_token_validity.as_ref())?;
    if let Some(validity) = validity {
        check_token_validity(validity).map_err(|error| error.within("client"))?;
    }
    Ok(validity)
}

pub fn secret_readers(readers: Vec<String>) -> Result<Vec<String>> {
    if readers.len() > MAX_SECRET_READERS {
        return Err(Error::invalid("client.secret_readers", format!("at most {MAX_SECRET_READERS} principals")));
    }
    for (i, reader) in readers.iter().enumerate() {
        let parts: Vec<&str> = reader.splitn(6, ':').collect();
        let is_principal = matches!(parts.as_slice(), ["arn", _, "iam" | "sts", _, _, rest] if !rest.is_empty());
        if !is_principal || reader.len() > MAX_ARN || !reader.bytes().all(|b| b.is_ascii_graphic()) {
            let rule = "must be the ARN of an IAM principal, such as arn:aws:iam::123456789012:role/orders";
            return Err(Error::invalid(format!("client.secret_readers[{i}]"), rule));
        }
    }
    Ok(readers)
}

/// A policy as a whole, checked.
pub fn rotation_policy(given: proto::RotationPolicy) -> Result<RotationPolicy> {
    let policy = read_policy(&given)?;
    policy.check().map_err(|error| error.within("client.rotation_policy"))?;
    Ok(policy)
}

/// A policy of which parts may be meant; only as a whole can it be checked before the rest is known.
fn wanted_policy(given: proto::RotationPolicy, mask: &Mask) -> Result<RotationPolicy> {
    if mask.covers("rotation_policy") { rotation_policy(given) } else { read_policy(&given) }
}

fn read_policy(given: &proto::RotationPolicy) -> Result<RotationPolicy> {
    let default = RotationPolicy::default();
    let period = duration("client.rotation_policy.period", given.period.as_ref())?.unwrap_or(default.period);
    let overlap = duration("client.rotation_policy.overlap", given.overlap.as_ref())?;
    let overlap = overlap.unwrap_or_else(|| default.overlap.min(period / 2));
    Ok(RotationPolicy { disabled: given.disabled, period, overlap })
}

/// How to rotate one client's secret.
pub fn rotation(request: &proto::RotateClientSecretRequest) -> Result<RotationRequest> {
    rotation_of(request.immediate, request.overlap.as_ref(), &request.reason)
}

/// How to replace one client's app client.
pub fn replacement(request: &proto::ReplaceClientRequest) -> Result<RotationRequest> {
    let rotation = rotation_of(request.immediate, request.overlap.as_ref(), &request.reason)?;
    Ok(RotationRequest { replace: true, ..rotation })
}

/// Which clients' secrets to rotate, and how.
pub fn fleet(request: proto::RotateClientSecretsRequest) -> Result<FleetRequest> {
    check_labels("match_labels", &request.match_labels)?;
    Ok(FleetRequest {
        tenant: parent(&request.parent)?,
        pool: if request.pool.is_empty() { None } else { Some(pool(&request.pool)?) },
        rotated_before: timestamp("rotated_before", request.rotated_before.as_ref())?,
        rotation: rotation_of(request.immediate, request.overlap.as_ref(), &request.reason)?,
        labels: request.match_labels,
    })
}

fn rotation_of(immediate: bool, overlap: Option<&prost_types::Duration>, why: &str) -> Result<RotationRequest> {
    reason(why)?;
    let overlap = duration("overlap", overlap)?;
    if overlap.is_some_and(|overlap| overlap > RotationPolicy::MAX_PERIOD / 2) {
        return Err(Error::invalid("overlap", "must be at most half of the rotation policy's period"));
    }
    if immediate && overlap.is_some() {
        return Err(Error::invalid("overlap", "must not be given together with immediate"));
    }
    Ok(RotationRequest { immediate, replace: false, overlap, reason: why.to_owned() })
}

/// Why a secret is to be revealed: it must be said.
pub fn reveal_reason(text: &str) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::invalid("reason", "is required"));
    }
    reason(text)
}

/// Which tokens to revoke.
pub fn revocation(request: proto::RevokeTokensRequest) -> Result<NewRevocation> {
    reason(&request.reason)?;
    let issued_before = timestamp("issued_before", request.issued_before.as_ref())?;
    let one_token = |target| match issued_before {
        Some(_) => Err(Error::invalid("issued_before", "is only for a client or a tenant")),
        None => Ok(target),
    };
    let target = match request.target {
        None => return Err(Error::invalid("target", "one of token_id, token, client and tenant is required")),
        Some(Target::TokenId(id)) => one_token(NewRevocationTarget::TokenId(TokenId::parse("token_id", &id)?))?,
        Some(Target::Token(token)) => one_token(NewRevocationTarget::Token(whole_token(token)?))?,
        Some(Target::Client(name)) => NewRevocationTarget::Client(ClientName::parse("client", &name)?),
        Some(Target::Tenant(name)) => NewRevocationTarget::Tenant(TenantId::from_name("tenant", &name)?),
    };
    Ok(NewRevocation { target, issued_before, reason: request.reason })
}

/// A token of a length that is looked at. Wiped when dropped, also when it is refused.
pub fn whole_token(token: String) -> Result<Zeroizing<String>> {
    let token = Zeroizing::new(token);
    if token.is_empty() {
        return Err(Error::invalid("token", "is required"));
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Error::invalid("token", format!("must be at most {MAX_TOKEN_BYTES} bytes")));
    }
    Ok(token)
}
