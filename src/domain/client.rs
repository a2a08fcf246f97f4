//! A tenant's app client, and who an app client id belongs to.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::credential::AppClient;
use super::error::{Error, Reason, Result};
use super::id::{AppClientId, ClientName, Issuer, PoolId, RotationId, SecretName, TenantId};
use super::interactive::{ClientKind, InteractiveSettings};
use super::scope::ScopeSet;
use super::tenant::Labels;

/// Cognito's bounds for the validity of an access token (`CreateUserPoolClient`).
pub const MIN_TOKEN_VALIDITY: Duration = Duration::from_secs(5 * 60);
pub const MAX_TOKEN_VALIDITY: Duration = Duration::from_secs(24 * 60 * 60);
pub const DEFAULT_TOKEN_VALIDITY: Duration = Duration::from_secs(60 * 60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientState {
    Creating,
    Active,
    Deleting,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    pub name: ClientName,
    /// Unique for ever; part of the app client's name at Cognito, which is how a crash finds it again.
    pub uid: String,
    pub display_name: String,
    pub state: ClientState,
    pub labels: Labels,
    pub scopes: ScopeSet,
    /// How often `scopes` have changed. Cached tokens belong to one number.
    pub scopes_version: u32,
    pub access_token_validity: Duration,
    pub rotation: RotationPolicy,
    pub pool: PoolId,
    pub secret_name: SecretName,
    /// IAM principals that may read the secret in Secrets Manager by themselves.
    pub secret_readers: Vec<String>,
    /// The id at Cognito; `None` until it has one.
    pub app_client: Option<AppClientId>,
    /// App clients that this one was before and whose tokens may still be about, newest first.
    #[serde(default)]
    pub replaced: Vec<ReplacedAppClient>,
    /// Goes up when tokens that are held are not to be served any more, since their app client was compromised.
    #[serde(default)]
    pub token_epoch: u32,
    /// Whether the app client was there before the client and was taken over, whatever its name.
    #[serde(default)]
    pub imported: bool,
    /// Whether scopes and validity as above, and what follows, are what the backend has.
    pub applied: bool,
    /// How people sign in with it; `None` for a machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interactive: Option<InteractiveSettings>,
    /// Tokens issued before this moment are refused.
    pub revoked_before: Option<Timestamp>,
    /// When the current secret became current.
    pub rotate_time: Option<Timestamp>,
    /// When the next scheduled rotation starts; `None` while the policy is off or a rotation runs.
    pub next_rotate_time: Option<Timestamp>,
    pub create_time: Timestamp,
    pub update_time: Timestamp,
}

impl Client {
    /// The app client's name at Cognito, unique by `uid`. 128 characters of `[\w\s+=,.@-]` at the most there, so
    /// the readable part is cut.
    pub fn marker(&self) -> String {
        let readable = format!("{}.{}", self.name.tenant, self.name.client);
        format!("keyward-{readable:.90}-{}", self.uid)
    }

    /// The same for an app client that a rotation makes in place of the first: no two creations have one name.
    pub fn marker_of(&self, rotation: &RotationId, attempt: u32) -> String {
        let (_, tail) = rotation.as_str().rsplit_once('-').unwrap_or(("", rotation.as_str()));
        format!("{}-{tail:.8}.{attempt}", self.marker())
    }

    pub fn kind(&self) -> ClientKind {
        if self.interactive.is_some() { ClientKind::Interactive } else { ClientKind::Machine }
    }

    /// Fails for a client that people sign in with: it has no secret, and gets no token by itself.
    pub fn check_machine(&self) -> Result<()> {
        match self.kind() {
            ClientKind::Machine => Ok(()),
            ClientKind::Interactive => {
                let message = format!("{} is a client that people sign in with: it has no secret", self.name);
                Err(Error::new(Reason::ClientKindMismatch, message).about(&self.name))
            }
        }
    }

    /// Fails unless the client is in use.
    pub fn check_active(&self) -> Result<()> {
        let (reason, what) = match self.state {
            ClientState::Active => return Ok(()),
            ClientState::Creating => (Reason::ClientNotReady, "is still being created"),
            ClientState::Deleting => (Reason::ClientDeleting, "is being deleted"),
        };
        Err(Error::new(reason, format!("{} {what}", self.name)).about(&self.name))
    }
}

/// An app client that was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedAppClient {
    pub app_client: AppClientId,
    pub pool: PoolId,
    pub issuer: Issuer,
    /// When it is or was deleted at Cognito.
    pub retire_time: Timestamp,
    /// When its last token has expired.
    pub forget_time: Timestamp,
}

impl ReplacedAppClient {
    pub fn new(app_client: &AppClient, issuer: &Issuer, retire_time: Timestamp) -> Self {
        let mut replaced = ReplacedAppClient {
            app_client: app_client.id.clone(),
            pool: app_client.pool.clone(),
            issuer: issuer.clone(),
            retire_time,
            forget_time: retire_time,
        };
        replaced.retire_at(retire_time);
        replaced
    }

    /// Deleted now or later, at `retire_time`. Tokens of a longer validity than the client now has may be about, so the
    /// longest counts.
    pub fn retire_at(&mut self, retire_time: Timestamp) {
        self.retire_time = retire_time;
        self.forget_time = retire_time + MAX_TOKEN_VALIDITY;
    }
}

/// What the name of an app client says of whose it is, where Keyward gave the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    pub tenant: TenantId,
    /// The client's id, or what a name has room for of it.
    pub client: String,
    pub uid: String,
}

impl Marked {
    /// `None` for a name of another form: the app client is not Keyward's.
    pub fn read(name: &str) -> Option<Self> {
        let is_hex = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
        let rest = name.strip_prefix("keyward-")?;
        // One that took the place of another has the attempt at its end, `-<8 hexadecimal digits>.<number>`.
        let is_attempt = |tail: &str| tail.split_once('.').is_some_and(|(start, _)| is_hex(start, 8));
        let rest = rest.rsplit_once('-').filter(|(_, tail)| is_attempt(tail)).map_or(rest, |(start, _)| start);
        let (readable, uid) = rest.rsplit_once('-').filter(|(_, uid)| is_hex(uid, 16))?;
        let (tenant, client) = readable.split_once('.')?;
        let tenant = TenantId::parse("tenant", tenant).ok()?;
        Some(Marked { tenant, client: client.to_owned(), uid: uid.to_owned() })
    }
}

/// When secrets are rotated without anybody asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationPolicy {
    pub disabled: bool,
    pub period: Duration,
    /// How long the old secret works beside the new one.
    pub overlap: Duration,
}

impl RotationPolicy {
    /// Of a client that has no secret.
    pub fn none() -> Self {
        RotationPolicy { disabled: true, ..RotationPolicy::default() }
    }

    /// Whether it is worth a second thought, more often than once a day: each rotation fetches a token, which Amazon
    /// bills, and a program that reads the secret by itself may keep it for hours.
    pub fn is_short(&self) -> bool {
        !self.disabled && self.period < DAY
    }
}

impl Default for RotationPolicy {
    fn default() -> Self {
        RotationPolicy { disabled: false, period: 90 * DAY, overlap: DAY }
    }
}

impl RotationPolicy {
    pub const MIN_PERIOD: Duration = Duration::from_secs(60 * 60);
    pub const MAX_PERIOD: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

    /// Field paths are relative to `rotation_policy`.
    pub fn check(&self) -> Result<()> {
        if !(Self::MIN_PERIOD..=Self::MAX_PERIOD).contains(&self.period) {
            return Err(Error::invalid("period", "must be 1 hour to 3,650 days"));
        }
        if self.overlap > self.period / 2 {
            return Err(Error::invalid("overlap", "must be at most half of the period"));
        }
        Ok(())
    }
}

/// Fails unless `validity` is within Cognito's bounds and whole seconds.
pub fn check_token_validity(validity: Duration) -> Result<()> {
    if !(MIN_TOKEN_VALIDITY..=MAX_TOKEN_VALIDITY).contains(&validity) || validity.subsec_nanos() != 0 {
        return Err(Error::invalid("access_token_validity", "must be 5 minutes to 1 day, in whole seconds"));
    }
    Ok(())
}

/// Who an app client of an issuer belongs to. Outlives the client, so that a deleted client's tokens are told apart
/// from a stranger's for as long as any can be valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub issuer: Issuer,
    pub app_client: AppClientId,
    pub client: ClientName,
    /// Which of the clients that had this name. Empty in a record from before app clients could be replaced.
    #[serde(default)]
    pub client_uid: String,
    /// The app client is compromised: none of its tokens is to be believed, whenever it was issued.
    #[serde(default)]
    pub revoked: bool,
    /// Set when the app client is gone; the record itself goes at this time.
    pub purge_time: Option<Timestamp>,
}

impl Owner {
    pub fn new(issuer: &Issuer, app_client: &AppClientId, client: &Client) -> Self {
        Owner {
            issuer: issuer.clone(),
            app_client: app_client.clone(),
            client: client.name.clone(),
            client_uid: client.uid.clone(),
            revoked: false,
            purge_time: None,
        }
    }

    /// Whether the app client is or was one of `client`, and not of another one that had its name.
    pub fn is_of(&self, client: &Client) -> bool {
        if self.client_uid.is_empty() {
            return client.app_client.as_ref() == Some(&self.app_client);
        }
        self.client_uid == client.uid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_keyward_gave_says_whose_the_app_client_is() {
        let marked = |client: &str| Marked {
            tenant: TenantId::parse("tenant", "acme").expect("valid"),
            client: client.to_owned(),
            uid: "0123456789abcdef".to_owned(),
        };
        for name in ["keyward-acme.orders-0123456789abcdef", "keyward-acme.orders-0123456789abcdef-0a1b2c3d.2"] {
            assert_eq!(Marked::read(name), Some(marked("orders")), "{name}");
        }
        let hyphens = "keyward-acme.or-de-rs-0123456789abcdef";
        assert_eq!(Marked::read(hyphens), Some(marked("or-de-rs")));
        for foreign in
            ["orders", "keyward", "keyward-orders", "keyward-acme.orders", "keyward-acme.orders-0123456789abcde"]
        {
            assert_eq!(Marked::read(foreign), None, "{foreign}");
        }
    }
}
