//! Clients, their rotations, and revocations.

use jiff::Timestamp;

use super::{count, display_name, duration, etag, issuer, scopes, timestamp};
use crate::broker::api::{ClientView, Revealed, RotationView};
use crate::domain::client::{Client, ClientState, ReplacedAppClient, RotationPolicy};
use crate::domain::interactive::{ClientKind, InteractiveSettings};
use crate::domain::revocation::{Revocation, RevocationTarget};
use crate::domain::rotation::{Method, Milestone, RotationState, Trigger};
use crate::domain::scope::ScopeSet;
use crate::proto::{self, revocation};

pub fn client(view: ClientView) -> proto::Client {
    let ClientView { client, version, pool, state_reason, shares_accounts } = view;
    let (client_kind, all_scopes) = (client.kind(), all_scopes(&client));
    let is_machine = client_kind == ClientKind::Machine;
    let mut warnings = Vec::new();
    if shares_accounts {
        let detail = "people sign in with accounts of a pool that tenants share, where one sign-in session, of an hour, \
                      counts for every app client that offers such accounts";
        warnings.push(warning("NATIVE_ACCOUNTS_IN_SHARED_POOL", detail));
    }
    if client.rotation.is_short() {
        let detail =
            "the secret is rotated more often than once a day: each rotation fetches a token that Amazon bills";
        warnings.push(warning("SHORT_ROTATION_PERIOD", detail));
    }
    let (pool_issuer, token_endpoint) = pool.map(|pool| (pool.issuer, pool.token_endpoint)).unzip();
    let message = proto::Client {
        name: client.name.to_string(),
        uid: client.uid,
        display_name: display_name(client.display_name, &client.name.client),
        kind: kind(client_kind).into(),
        state: client_state(client.state).into(),
        scopes: all_scopes,
        access_token_validity: Some(duration(client.access_token_validity)),
        rotation_policy: is_machine.then(|| rotation_policy(client.rotation)),
        app_client_id: client.app_client.map(String::from).unwrap_or_default(),
        pool: client.pool.name(),
        issuer: issuer(pool_issuer),
        token_endpoint: token_endpoint.unwrap_or_default(),
        secret_name: if is_machine { client.secret_name.into() } else { String::new() },
        secret_readers: client.secret_readers,
        labels: client.labels,
        rotate_time: client.rotate_time.map(timestamp),
        next_rotate_time: client.next_rotate_time.map(timestamp),
        create_time: Some(timestamp(client.create_time)),
        update_time: Some(timestamp(client.update_time)),
        etag: etag(version),
        interactive: client.interactive.map(interactive),
        replaced_app_clients: client.replaced.into_iter().map(replaced).collect(),
        warnings,
        state_reason,
    };
    if version == 0 { planned(message) } else { message }
}

/// What `validate_only` answers of a client that is not there: without what only its creation fills.
fn planned(client: proto::Client) -> proto::Client {
    proto::Client { uid: String::new(), pool: String::new(), create_time: None, update_time: None, ..client }
}

fn kind(kind: ClientKind) -> proto::ClientKind {
    match kind {
        ClientKind::Machine => proto::ClientKind::Machine,
        ClientKind::Interactive => proto::ClientKind::Interactive,
    }
}

/// In ascending order, whoever defines them.
fn all_scopes(client: &Client) -> Vec<String> {
    let mut all = scopes(&client.scopes);
    let standard = client.interactive.iter().flat_map(|settings| &settings.standard_scopes);
    all.extend(standard.map(|scope| scope.as_str().to_owned()));
    all.sort();
    all
}

fn interactive(settings: InteractiveSettings) -> proto::InteractiveSettings {
    proto::InteractiveSettings {
        callback_urls: settings.callback_urls,
        sign_out_urls: settings.sign_out_urls,
        identity_provider_ids: settings.identity_providers.into_iter().map(String::from).collect(),
        allow_native_accounts: settings.allow_native_accounts,
        confidential: false,
        id_token_validity: Some(duration(settings.id_token_validity)),
        refresh_token_validity: Some(duration(settings.refresh_token_validity)),
        default_sign_in: settings.default_sign_in,
    }
}

fn warning(reason: &str, detail: &str) -> proto::ClientWarning {
    proto::ClientWarning { reason: reason.to_owned(), detail: detail.to_owned() }
}

fn replaced(replaced: ReplacedAppClient) -> proto::ReplacedAppClient {
    proto::ReplacedAppClient {
        app_client_id: replaced.app_client.into(),
        pool: replaced.pool.name(),
        issuer: replaced.issuer.into(),
        retire_time: Some(timestamp(replaced.retire_time)),
        forget_time: Some(timestamp(replaced.forget_time)),
    }
}

fn rotation_policy(policy: RotationPolicy) -> proto::RotationPolicy {
    proto::RotationPolicy {
        period: Some(duration(policy.period)),
        overlap: Some(duration(policy.overlap)),
        disabled: policy.disabled,
    }
}

pub fn revealed(revealed: Revealed) -> proto::RevealClientSecretResponse {
    let document = revealed.document;
    proto::RevealClientSecretResponse {
        app_client_id: document.client_id.map(String::from).unwrap_or_default(),
        client_secret: document.client_secret.expose().to_owned(),
        token_endpoint: document.token_endpoint,
        issuer: document.issuer,
        scopes: scopes(&ScopeSet::from_claim(&document.scopes)),
        next_rotate_time: revealed.next_rotate_time.map(timestamp),
    }
}

pub fn rotation(view: RotationView) -> proto::Rotation {
    let RotationView { rotation, planned } = view;
    let state = match rotation.state {
        RotationState::Running => proto::RotationState::Running,
        RotationState::Overlap => proto::RotationState::Overlap,
        RotationState::Succeeded => proto::RotationState::Succeeded,
        RotationState::Failed => proto::RotationState::Failed,
    };
    let trigger = match rotation.trigger {
        Trigger::Requested => proto::RotationTrigger::Requested,
        Trigger::Scheduled => proto::RotationTrigger::Scheduled,
        Trigger::Compromise => proto::RotationTrigger::Compromise,
    };
    let method = match rotation.method {
        Method::SecondSecret => proto::RotationMethod::SecondSecret,
        Method::ReplaceAppClient => proto::RotationMethod::ReplaceAppClient,
    };
    let step = |(milestone, time): (Milestone, Option<Timestamp>)| proto::RotationStep {
        kind: step_kind(milestone).into(),
        time: time.map(timestamp),
    };
    proto::Rotation {
        name: rotation.name.to_string(),
        state: state.into(),
        trigger: trigger.into(),
        method: method.into(),
        immediate: rotation.trigger == Trigger::Compromise,
        reason: rotation.reason,
        steps: rotation.milestones.into_iter().map(|(milestone, time)| step((milestone, Some(time)))).collect(),
        planned_steps: planned.into_iter().map(step).collect(),
        create_time: Some(timestamp(rotation.create_time)),
        promote_time: rotation.promote_time.map(timestamp),
        retire_time: rotation.retire_time.map(timestamp),
        end_time: rotation.end_time.map(timestamp),
        attempt_count: count(rotation.failures.saturating_add(1)),
        next_attempt_time: rotation.next_attempt_time.map(timestamp),
        last_error_reason: rotation.last_error_reason,
        last_error_detail: rotation.last_error,
        app_client_id: rotation.app_client.map(String::from).unwrap_or_default(),
        replaced_app_client_id: rotation.replaced.map(String::from).unwrap_or_default(),
    }
}

/// What `validate_only` answers: a rotation that is not one.
pub fn planned_rotation(view: RotationView) -> proto::Rotation {
    proto::Rotation {
        name: String::new(),
        state: proto::RotationState::Unspecified.into(),
        create_time: None,
        ..rotation(view)
    }
}

fn step_kind(milestone: Milestone) -> proto::RotationStepKind {
    match milestone {
        Milestone::Staged => proto::RotationStepKind::Stage,
        Milestone::Registered => proto::RotationStepKind::Register,
        Milestone::Proved => proto::RotationStepKind::Prove,
        Milestone::Promoted => proto::RotationStepKind::Promote,
        Milestone::Retired => proto::RotationStepKind::Retire,
        Milestone::StrayRemoved => proto::RotationStepKind::RemoveStray,
        Milestone::Abandoned => proto::RotationStepKind::Abandon,
    }
}

pub fn revocation(revocation: Revocation) -> proto::Revocation {
    let target = match revocation.target {
        RevocationTarget::Token(token) => revocation::Target::TokenId(token.as_str().to_owned()),
        RevocationTarget::Client(client) => revocation::Target::Client(client.to_string()),
        RevocationTarget::Tenant(tenant) => revocation::Target::Tenant(tenant.name()),
    };
    proto::Revocation {
        name: revocation.id.name(),
        target: Some(target),
        issuer: issuer(revocation.issuer),
        issued_before: revocation.issued_before.map(timestamp),
        reason: revocation.reason,
        create_time: Some(timestamp(revocation.create_time)),
        expire_time: Some(timestamp(revocation.expire_time)),
    }
}

pub fn client_state(state: ClientState) -> proto::ClientState {
    match state {
        ClientState::Creating => proto::ClientState::Creating,
        ClientState::Active => proto::ClientState::Active,
        ClientState::Deleting => proto::ClientState::Deleting,
    }
}
