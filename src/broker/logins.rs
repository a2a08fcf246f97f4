//! Telling whether somebody has a client's own app client id and secret: the credential of RFC 6749, section 2.3.1, that the
//! client would show to the token endpoint, shown to the broker instead.
//!
//! No copy of a secret is kept for it. What is held in memory is a keyed digest, under a key that this process made for
//! nothing else, of each secret that authenticates at Cognito now: the current one, the one on its way out, the one on its
//! way in. It holds until the client's credential record changes, so the step of a rotation that takes a secret out
//! of that record takes it out of here, and a wrong secret costs the vault nothing.
//!
//! It must never say yes to a secret that Cognito would refuse, once this broker has recorded that, or heard that another
//! one has; nor tell by its answer, or by how long comparing takes, what was wrong. It fails when registry or vault cannot
//! be read: then nobody knows. A broker that has not heard of changes for as long as a verdict may go without answers
//! nobody either: another one may have rotated the secret out, or in.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{constant_time, hmac};

use super::api::Page;
use super::background::Background;
use super::basis::Basis;
use super::flights::Flights;
use super::ports::Wanted;
use super::records::shelves::{client_key, owner_prefix};
use super::records::{Record as _, Versioned};
use super::world::World;
use crate::domain::client::{Client, Owner};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::{AppClientId, ClientName};
use crate::domain::rotation::{Candidate, Credential};
use crate::domain::secret::ClientSecret;

/// How often an app client is looked up that somebody else is rotating.
const LOOKS: usize = 3;

pub struct Logins {
    world: Arc<World>,
    /// What is known of an app client id, also that it is nobody's.
    held: moka::sync::Cache<AppClientId, Option<Arc<Login>>>,
    readings: Flights<AppClientId, Option<Arc<Login>>>,
    key: hmac::Key,
}

/// Who has an app client id, and what their secrets digest to.
struct Login {
    client: ClientName,
    /// The credential. Whatever takes a secret out of use changes it, and so does whatever takes the client away.
    basis: Basis,
    digests: Vec<hmac::Tag>,
}

impl Logins {
    /// Fails when there is no randomness.
    pub fn new(world: Arc<World>, background: Background) -> Result<Self> {
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(bytes.as_mut_slice()).map_err(|e| Error::internal("making a key for digests", e))?;
        let held = moka::sync::Cache::new(world.settings.tokens.max_cached);
        let key = hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice());
        Ok(Logins { held, readings: Flights::new(background), key, world })
    }

    /// The client whose app client id and secret these are; `None` for everything else, whatever is wrong with it.
    ///
    /// Fails with UNAVAILABLE when the registry or the vault cannot be read, or changes to the registry have not been heard
    /// of for too long.
    pub async fn check(self: &Arc<Self>, app_client: &str, secret: &str) -> Result<Option<ClientName>> {
        let (Ok(app_client), Ok(secret)) =
            (AppClientId::parse("client_id", app_client), ClientSecret::parse_foreign("client_secret", secret))
        else {
            return Ok(None);
        };
        let login = match self.held.get(&app_client) {
            Some(Some(login)) if self.world.records.stands(&login.basis) => Some(login),
            _ => self.read_now(&app_client).await?,
        };
        // Also before a no: that would tell which ids are somebody's.
        self.world.may_say_verified()?;
        let Some(login) = login else { return Ok(None) };
        let given = hmac::sign(&self.key, secret.expose().as_bytes());
        // Every one of them is compared.
        let fits = login.digests.iter().fold(false, |fits, digest| {
            constant_time::verify_slices_are_equal(digest.as_ref(), given.as_ref()).is_ok() | fits
        });
        Ok(fits.then(|| login.client.clone()))
    }

    /// As it is now. A reading that was under way may be of before what whoever asks was told of; then another one follows.
    async fn read_now(self: &Arc<Self>, app_client: &AppClientId) -> Result<Option<Arc<Login>>> {
        for _ in 0..LOOKS {
            let login = self.read(app_client).await?;
            if login.as_ref().is_none_or(|login| self.world.records.stands(&login.basis)) {
                return Ok(login);
            }
        }
        let (message, wait) = ("the secrets of this client are being changed", Duration::from_secs(1));
        Err(Error::unavailable(Reason::RegistryUnavailable, message, wait))
    }

    /// Reads it anew; one reading serves all who ask meanwhile.
    async fn read(self: &Arc<Self>, app_client: &AppClientId) -> Result<Option<Arc<Login>>> {
        let (this, wanted) = (self.clone(), app_client.clone());
        let reading = self.readings.join(app_client.clone(), move || async move {
            let login = this.look_up(&wanted).await?;
            match &login {
                Some(_) => this.held.insert(wanted, login.clone()),
                // It may be issued the next moment.
                None => this.held.invalidate(&wanted),
            }
            Ok(login)
        });
        reading.await
    }

    async fn look_up(&self, app_client: &AppClientId) -> Result<Option<Arc<Login>>> {
        let page = Page { after: None, size: 2 };
        let owners = self.world.records.list::<Owner>(&owner_prefix(app_client), &page).await?;
        // Cognito's ids are unique; of two owners nobody could say which is meant.
        let [found] = owners.items.as_slice() else { return Ok(None) };
        let key = client_key(&found.client);
        let mut basis = Basis::default();
        self.world.records.note::<Credential>(&key, &mut basis);
        let credential: Option<Versioned<Credential>> = self.world.records.get(&key).await?;
        let client: Option<Versioned<Client>> = self.world.records.get(&key).await?;
        // Last: whoever revokes it changes the credential with it. So it is revoked here, or the credential is of before that
        // and does not hold for long.
        let owner: Option<Versioned<Owner>> = self.world.records.get(&found.key()).await?;
        let owner = owner.filter(|owner| !owner.revoked && owner.purge_time.is_none());
        let (Some(credential), Some(client), Some(owner)) = (credential, client, owner) else { return Ok(None) };
        if (&client.name, &client.uid) != (&owner.client, &owner.client_uid) {
            return Ok(None);
        }
        let registered = |candidate: &&Candidate| candidate.secret.is_some();
        let versions = std::iter::once(&credential.current.version)
            .chain(credential.previous.as_ref().map(|previous| &previous.held.version))
            .chain(credential.candidate.as_ref().filter(registered).map(|candidate| &candidate.version));
        let mut digests = Vec::new();
        for version in versions {
            let document = self.world.vault.read(&client.secret_name, Wanted::Version(version)).await?;
            let document = document.filter(|document| document.client_id.as_ref() == Some(app_client));
            digests.extend(document.map(|it| hmac::sign(&self.key, it.client_secret.expose().as_bytes())));
        }
        Ok(Some(Arc::new(Login { client: client.name.clone(), basis, digests })))
    }
}
