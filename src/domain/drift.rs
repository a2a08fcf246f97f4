//! What differs between what is registered and what is seen at the backends. Pure comparison: whoever looks and mends
//! is elsewhere.
//!
//! What is under way is no difference: a secret that a rotation may just have added, a setting that is still to be
//! applied, a label that is one step ahead of its record.

use std::time::Duration;

use super::client::Client;
use super::id::SecretId;
use super::rotation::{Credential, Labels};
use super::scope::ScopeSet;
use super::tenant::{HostedDomain, PasswordPolicy, UserPoolSettings};

/// Kinds of differences, as in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DriftKind {
    /// Bears Keyward's mark, and the registry does not know it.
    Orphan,
    /// Is registered, and not there.
    Missing,
    /// Was changed by hand.
    ChangedSetting,
    /// A secret that Keyward did not add: whoever did can impersonate the client.
    ForeignSecret,
    /// The current secret does not authenticate.
    DeadSecret,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    pub kind: DriftKind,
    /// The tenant, client or pool; empty for an orphan of nobody's.
    pub resource: String,
    /// What it is called outside.
    pub external_id: String,
    /// Of a changed setting: the path of the field. Empty otherwise.
    pub field: &'static str,
    /// A sentence without secrets.
    pub detail: String,
    pub mended: bool,
}

impl Drift {
    pub fn new(
        kind: DriftKind,
        resource: impl ToString,
        external_id: impl ToString,
        detail: impl Into<String>,
    ) -> Self {
        let (resource, external_id) = (resource.to_string(), external_id.to_string());
        Drift { kind, resource, external_id, field: "", detail: detail.into(), mended: false }
    }

    #[must_use]
    pub fn of_field(mut self, field: &'static str) -> Self {
        self.field = field;
        self
    }
}

/// A client as the registry has it.
pub struct Registered<'a> {
    pub client: &'a Client,
    pub credential: &'a Credential,
    /// Whether its settings are still to be brought to the backend.
    pub is_applying: bool,
    /// Whether a rotation is at work on its secrets.
    pub is_rotating: bool,
}

/// The same client as the backends have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `None`: there is no such app client.
    pub app_client: Option<SeenAppClient>,
    /// Ids of its secrets.
    pub secrets: Vec<SecretId>,
    /// Of its secret in the vault; `None`: there is none.
    pub labels: Option<Labels>,
    /// Whether the secret under `AWSCURRENT` gets a token; `None` where nobody could tell.
    pub authenticates: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenAppClient {
    pub scopes: ScopeSet,
    pub access_token_validity: Duration,
    pub is_machine: bool,
}

/// The field that says where `AWSCURRENT` is.
pub const CURRENT_VERSION: &str = "secret_name";
/// The field that says what kind of client it is.
pub const KIND: &str = "kind";

/// Every difference of one client that is in use, in the order in which they are to be mended.
pub fn compare(registered: &Registered<'_>, seen: &Seen) -> Vec<Drift> {
    let Registered { client, .. } = registered;
    let mut credential = registered.credential.clone();
    credential.recognise(&seen.secrets);
    let id = client.app_client.as_ref().map_or("", |id| id.as_str());
    let drift = |kind, external_id: &str, detail: &str| Drift::new(kind, &client.name, external_id, detail);
    let changed =
        |field, external_id: &str, detail: &str| drift(DriftKind::ChangedSetting, external_id, detail).of_field(field);
    let mut drifts = Vec::new();

    match &seen.app_client {
        None => {
            let detail = "the app client is gone; a new one would have another id, so it is not made by itself";
            drifts.push(drift(DriftKind::Missing, id, detail));
        }
        Some(app_client) => {
            if !app_client.is_machine {
                drifts.push(changed(KIND, id, "client credentials are no longer the app client's only flow"));
            }
            if !registered.is_applying && app_client.scopes != client.scopes {
                drifts.push(changed("scopes", id, &format!("the app client has {}", scopes_in_words(app_client))));
            }
            if !registered.is_applying && app_client.access_token_validity != client.access_token_validity {
                let seconds = app_client.access_token_validity.as_secs();
                let detail = format!("the app client's tokens are valid for {seconds} s");
                drifts.push(changed("access_token_validity", id, &detail));
            }
        }
    }

    let secret_name = client.secret_name.as_str();
    match &seen.labels {
        None => drifts.push(drift(DriftKind::Missing, secret_name, "the secret is not in the vault")),
        Some(labels) => {
            // A promotion moves the label first and is written down then.
            let candidate = credential.candidate.as_ref().map(|candidate| &candidate.version);
            let ours = [Some(&credential.current.version), candidate];
            if !ours.contains(&labels.current.as_ref()) || labels.current.is_none() {
                drifts.push(changed(
                    CURRENT_VERSION,
                    secret_name,
                    "AWSCURRENT is not on Keyward's version of the secret",
                ));
            }
        }
    }

    // A rotation that has not written its secret's id down yet may have added any.
    let may_be_ours = credential.candidate.as_ref().is_some_and(|candidate| candidate.secret.is_none());
    // It is also what removes those that are condemned.
    let is_going = |secret: &SecretId| registered.is_rotating && credential.condemned.contains_key(secret);
    let is_known = |secret: &SecretId| secret.is_unlisted() || credential.keeps(secret) || is_going(secret);
    let is_foreign = |secret: &&SecretId| !may_be_ours && !is_known(secret);
    for secret in seen.secrets.iter().filter(is_foreign) {
        let detail = "the app client has a secret that Keyward did not add; whoever did can act as the client";
        drifts.push(drift(DriftKind::ForeignSecret, secret.as_str(), detail));
    }
    if seen.app_client.is_some() && seen.authenticates == Some(false) {
        drifts.push(drift(DriftKind::DeadSecret, secret_name, "the current secret gets no token"));
    }
    drifts
}

fn scopes_in_words(app_client: &SeenAppClient) -> String {
    match app_client.scopes.is_empty() {
        true => "no scopes".to_owned(),
        false => format!("the scopes {}", app_client.scopes),
    }
}

/// The settings of a user pool that are not as they were set, each with its field and in words. A tag that others have
/// added is no difference, and the Region cannot change.
pub fn compare_settings(wanted: &UserPoolSettings, seen: &UserPoolSettings) -> Vec<(&'static str, String)> {
    let tags_differ = wanted.tags.iter().any(|(key, value)| seen.tags.get(key) != Some(value));
    let domain = match (&wanted.domain, &seen.domain) {
        (Some(HostedDomain::Custom { domain: wanted, .. }), Some(HostedDomain::Custom { domain: seen, .. }))
            if wanted == seen =>
        {
            ("user_pool.domain.custom.certificate_arn", "the certificate of the hosted domain")
        }
        _ => ("user_pool.domain", "the hosted domain"),
    };
    let fields = [
        (
            "user_pool.password_policy",
            are_different(&wanted.password_policy, &seen.password_policy),
            "the password policy",
        ),
        ("user_pool.mfa_mode", wanted.mfa != seen.mfa, "multi-factor authentication"),
        // With the mode they change by themselves.
        (
            "user_pool.mfa_factors",
            wanted.mfa == seen.mfa && wanted.factors() != seen.factors(),
            "the factors of multi-factor authentication",
        ),
        (
            "user_pool.deletion_protection",
            wanted.deletion_protection != seen.deletion_protection,
            "the deletion protection",
        ),
        ("user_pool.feature_plan", wanted.feature_plan != seen.feature_plan, "the feature plan"),
        ("user_pool.issuer_type", wanted.issuer_type != seen.issuer_type, "the issuer type"),
        (domain.0, wanted.domain != seen.domain, domain.1),
        ("user_pool.tags", tags_differ, "a tag"),
    ];
    let differing = fields.into_iter().filter(|(_, differs, _)| *differs);
    differing.map(|(field, _, what)| (field, format!("{what} of the user pool was changed"))).collect()
}

/// Whether a field of the contract is of the hosted domain.
pub fn is_of_domain(field: &str) -> bool {
    field == "user_pool.domain" || field.starts_with("user_pool.domain.")
}

fn are_different(wanted: &PasswordPolicy, seen: &PasswordPolicy) -> bool {
    // What is not said and what is said to be as it is anyway are the same.
    let said = |policy: &PasswordPolicy| PasswordPolicy {
        temporary_validity_days: Some(policy.temporary_days()),
        ..policy.clone()
    };
    said(wanted) != said(seen)
}

#[cfg(test)]
#[path = "drift_tests.rs"]
mod tests;
