//! A tenant of the platform, in one of Cognito's two tenancy models.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::{Error, Reason, Result};
use super::form::Form;
use super::id::{PoolId, TenantId};
use super::moving::TenantMove;
use super::provider::IdentityProvider;
use super::sign_in::SignInDomain;

/// How a tenant is kept apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// App clients in a user pool that tenants share.
    AppClient,
    /// A user pool of its own.
    UserPool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TenantState {
    /// Onboarding: its pool is being made ready.
    Creating,
    Active,
    /// Gets no tokens, and those it has do not verify.
    Suspended,
    /// Offboarding. Everything is refused.
    Deleting,
}

/// Labels of an operator's own choice.
pub type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    pub id: TenantId,
    /// Unique for ever, also when the id is given again after a deletion.
    pub uid: String,
    pub display_name: String,
    pub isolation: Isolation,
    pub state: TenantState,
    /// Why it is suspended, in the operator's words.
    pub state_reason: String,
    pub labels: Labels,
    /// What a pool of its own looks like; `None` for a tenant in a shared pool.
    pub user_pool: Option<UserPoolSettings>,
    /// Where its app clients go first.
    pub pool: PoolId,
    /// Tokens issued before this moment are refused.
    pub revoked_before: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identity_providers: Vec<IdentityProvider>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sign_in_domains: Vec<SignInDomain>,
    /// The move that is under way, or that ended last; `None` for a tenant that was never moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<TenantMove>,
    pub create_time: Timestamp,
    pub update_time: Timestamp,
}

impl Tenant {
    /// Fails unless the tenant is in use: what a token, a new client or a secret asks for.
    pub fn check_active(&self) -> Result<()> {
        self.check_settled()?;
        if self.state == TenantState::Suspended {
            return Err(self.wrong_state(Reason::TenantSuspended, "is suspended"));
        }
        Ok(())
    }

    /// Fails while the tenant is coming or going. A suspended one can be changed.
    pub fn check_settled(&self) -> Result<()> {
        if self.state == TenantState::Creating {
            return Err(self.wrong_state(Reason::TenantNotReady, "is still being created"));
        }
        self.check_not_deleting()
    }

    pub fn check_not_deleting(&self) -> Result<()> {
        if self.state == TenantState::Deleting {
            return Err(self.wrong_state(Reason::TenantDeleting, "is being deleted"));
        }
        Ok(())
    }

    /// The move that is under way.
    pub fn moving(&self) -> Option<&TenantMove> {
        self.moved.as_ref().filter(|moved| !moved.is_over())
    }

    /// Whether it is about to move: what is changed in its old home now would not be in the new one.
    pub fn is_leaving(&self) -> bool {
        self.moving().is_some_and(|moved| moved.target != self.isolation)
    }

    /// Fails while a move is about to change its home.
    pub fn check_not_leaving(&self) -> Result<()> {
        if self.is_leaving() {
            return Err(self.wrong_state(Reason::MoveRunning, "is being moved"));
        }
        Ok(())
    }

    /// Fails while a move is not over.
    pub fn check_not_moving(&self) -> Result<()> {
        match self.moving() {
            Some(_) => Err(self.wrong_state(Reason::MoveRunning, "is being moved")),
            None => Ok(()),
        }
    }

    /// What a pool of its own is to be like; `None` for one that is not, or is no more, its home. A place that it moves to is
    /// not protected before it is the home: until then a deletion of the tenant takes it away unasked.
    pub fn settings_of(&self, pool: &PoolId) -> Option<UserPoolSettings> {
        if self.pool == *pool {
            return Some(self.user_pool.clone().unwrap_or_default());
        }
        let moved = self.moving().filter(|moved| moved.to == *pool)?;
        let settings = moved.user_pool.clone().unwrap_or_default();
        Some(UserPoolSettings { deletion_protection: false, ..settings })
    }

    /// Every pool that it lives in, or did before a move that is not over.
    pub fn homes(&self) -> Vec<PoolId> {
        let moving = self.moving().into_iter().flat_map(|moved| [&moved.from, &moved.to]);
        let homes: BTreeSet<PoolId> = moving.chain([&self.pool]).cloned().collect();
        homes.into_iter().collect()
    }

    /// The least form in which it can be stored.
    pub fn form(&self) -> Form {
        let is_plain = self.identity_providers.is_empty()
            && self.sign_in_domains.is_empty()
            && self.moved.is_none()
            && self.user_pool.as_ref().is_none_or(UserPoolSettings::is_of_first_form);
        if is_plain { Form::FIRST } else { Form::SECOND }
    }

    fn wrong_state(&self, reason: Reason, what: &str) -> Error {
        let name = self.id.name();
        Error::new(reason, format!("{name} {what}")).about(name)
    }
}

/// Settings of a dedicated user pool (Cognito's `CreateUserPool`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPoolSettings {
    /// An AWS Region; empty for the broker's own. Cannot change once the pool exists.
    pub region: String,
    pub password_policy: PasswordPolicy,
    pub mfa: Mfa,
    /// While it is on, Cognito refuses to delete the pool, and so `DeleteTenant` is refused.
    pub deletion_protection: bool,
    pub feature_plan: FeaturePlan,
    pub issuer_type: IssuerType,
    pub tags: BTreeMap<String, String>,
    /// The factors that count where `mfa` is not off. Empty means time-based codes alone.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub mfa_factors: BTreeSet<MfaFactor>,
    /// The domain of the hosted sign-in and of the token endpoint; `None` for a prefix of the broker's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<HostedDomain>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordPolicy {
    /// 6 to 99 characters (Cognito, `PasswordPolicyType`).
    pub minimum_length: u32,
    pub require_lowercase: bool,
    pub require_uppercase: bool,
    pub require_numbers: bool,
    pub require_symbols: bool,
    /// How long a temporary password lives, in days: 1 to 365. `None` for Cognito's default of 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temporary_validity_days: Option<u32>,
    /// How many earlier passwords may not be used again: 0 to 24.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub history_size: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl PasswordPolicy {
    /// How long a temporary password lives, in days.
    pub fn temporary_days(&self) -> u32 {
        self.temporary_validity_days.unwrap_or(7)
    }
}

impl Default for PasswordPolicy {
    /// Cognito's own defaults.
    fn default() -> Self {
        PasswordPolicy {
            minimum_length: 8,
            require_lowercase: true,
            require_uppercase: true,
            require_numbers: true,
            require_symbols: true,
            temporary_validity_days: None,
            history_size: 0,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mfa {
    #[default]
    Off,
    Optional,
    On,
}

/// A second factor (Cognito's `SetUserPoolMfaConfig`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MfaFactor {
    /// Time-based codes (RFC 6238).
    Totp,
    Sms,
    Email,
}

/// The domain of a pool's hosted sign-in (Cognito's `CreateUserPoolDomain`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostedDomain {
    /// The first label of a domain of Cognito's.
    Prefix(String),
    /// A domain of the tenant's own, with its certificate in AWS Certificate Manager.
    Custom { domain: String, certificate_arn: String },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeaturePlan {
    Lite,
    #[default]
    Essentials,
    Plus,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IssuerType {
    /// `https://cognito-idp.<region>.amazonaws.com/<pool id>`.
    #[default]
    Original,
    /// `https://issuer-cognito-idp.<region>.amazonaws.com/<pool id>`.
    Updated,
}

impl UserPoolSettings {
    fn is_of_first_form(&self) -> bool {
        let passwords = &self.password_policy;
        self.mfa_factors.is_empty()
            && self.domain.is_none()
            && passwords.temporary_validity_days.is_none()
            && passwords.history_size == 0
    }

    /// The factors that count: none where `mfa` is off.
    pub fn factors(&self) -> BTreeSet<MfaFactor> {
        match self.mfa {
            Mfa::Off => BTreeSet::new(),
            Mfa::Optional | Mfa::On if self.mfa_factors.is_empty() => BTreeSet::from([MfaFactor::Totp]),
            Mfa::Optional | Mfa::On => self.mfa_factors.clone(),
        }
    }

    /// Each field by itself, and what must hold between them. Field paths are relative to `user_pool`.
    pub fn check(&self) -> Result<()> {
        self.check_fields()?;
        self.check_together()
    }

    /// What must hold between the fields.
    ///
    /// Source: `PasswordPolicyType` and `EmailMfaConfigType` of Cognito's API, which name the plans.
    pub fn check_together(&self) -> Result<()> {
        const PLAN: &str = "needs the feature plan ESSENTIALS or PLUS";
        if !self.mfa_factors.is_empty() && self.mfa == Mfa::Off {
            return Err(Error::invalid("mfa_factors", "are only for mfa_mode OPTIONAL or REQUIRED"));
        }
        if self.feature_plan == FeaturePlan::Lite && self.mfa_factors.contains(&MfaFactor::Email) {
            return Err(Error::invalid("mfa_factors", format!("MFA_FACTOR_EMAIL {PLAN}")));
        }
        if self.feature_plan == FeaturePlan::Lite && self.password_policy.history_size > 0 {
            return Err(Error::invalid("password_policy.history_size", PLAN));
        }
        self.domain.as_ref().map_or(Ok(()), |domain| domain.check_partition(&self.region))
    }

    /// Each field by itself.
    pub fn check_fields(&self) -> Result<()> {
        let region_fits =
            self.region.len() <= 32 && self.region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !region_fits {
            return Err(Error::invalid("region", "must be an AWS Region such as eu-central-1"));
        }
        if !(6..=99).contains(&self.password_policy.minimum_length) {
            return Err(Error::invalid("password_policy.minimum_length", "must be 6 to 99"));
        }
        if self.password_policy.temporary_validity_days.is_some_and(|days| !(1..=365).contains(&days)) {
            let rule = "must be 1 to 365 whole days";
            return Err(Error::invalid("password_policy.temporary_password_validity", rule));
        }
        if self.password_policy.history_size > 24 {
            return Err(Error::invalid("password_policy.history_size", "must be 0 to 24"));
        }
        if let Some(domain) = &self.domain {
            domain.check()?;
        }
        if self.tags.len() > 50 {
            return Err(Error::invalid("tags", "at most 50 tags"));
        }
        for (key, value) in &self.tags {
            let (key_length, value_length) = (key.chars().count(), value.chars().count());
            let is_plain = !key.chars().chain(value.chars()).any(char::is_control);
            if !(1..=128).contains(&key_length) || value_length > 256 || key.starts_with("aws:") || !is_plain {
                let rule = "a key is 1 to 128 characters and does not start with aws:, a value at most 256; none of them \
                            is a control character";
                return Err(Error::invalid(format!("tags[{key:.32}]"), rule));
            }
        }
        Ok(())
    }
}

/// At most 256 characters, none of them a control character.
pub fn check_display_name(name: &str) -> Result<()> {
    if name.chars().count() > 256 || name.chars().any(char::is_control) {
        let rule = "must be at most 256 characters, none of them a control character";
        return Err(Error::invalid("display_name", rule));
    }
    Ok(())
}

/// At most 1,024 characters of an operator's words, none of them a control character.
pub fn check_reason(reason: &str) -> Result<()> {
    if reason.chars().count() > 1024 || reason.chars().any(char::is_control) {
        let rule = "must be at most 1,024 characters, none of them a control character";
        return Err(Error::invalid("reason", rule));
    }
    Ok(())
}

/// At most 32 labels; a key is 1 to 63 of `[a-z0-9._/-]`, a value at most 255 characters.
pub fn check_labels(field: &str, labels: &Labels) -> Result<()> {
    if labels.len() > 32 {
        return Err(Error::invalid(field, "at most 32 labels"));
    }
    for (key, value) in labels {
        let key_fits = (1..=63).contains(&key.len())
            && key
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'/' | b'-'));
        if !key_fits {
            return Err(Error::invalid(field, "a key is 1 to 63 characters of [a-z0-9._/-]"));
        }
        if value.chars().count() > 255 || value.chars().any(char::is_control) {
            let rule = "a value is at most 255 characters, none of them a control character";
            return Err(Error::invalid(format!("{field}[{key}]"), rule));
        }
    }
    Ok(())
}
