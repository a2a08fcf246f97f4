//! The two secrets of an app client: added with values of our own, listed without, deleted by id.
//!
//! A backend that lacks the three operations has one secret for each app client. It is listed as
//! [`SecretId::unlisted`], and nothing can be added to it. The operations may come later, or go.

use aws_sdk_cognitoidentityprovider::types::ClientSecretDescriptorType;
use zeroize::Zeroizing;

use super::cognito::{Cognito, asking};
use super::faults::{Asking, if_there};
use crate::broker::ports::{Fault, PortResult};
use crate::domain::id::{AppClientId, SecretId};
use crate::domain::pool::MadePool;
use crate::domain::secret::ClientSecret;

impl Cognito {
    pub(super) async fn add_client_secret(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        secret: &ClientSecret,
    ) -> PortResult<SecretId> {
        let asking = asking("add a client secret");
        let region = self.regions.get(asking, &pool.region)?;
        let request = region.cognito.add_user_pool_client_secret();
        let request = request.user_pool_id(pool.user_pool.as_str()).client_id(client.as_str());
        let request = request.client_secret(secret.expose());
        let answer = self.calls.make(asking, &region.name, Some(&pool.user_pool), request.send()).await?;
        let no_secret = || asking.error(Fault::Unavailable, "AddUserPoolClientSecret answered without a secret's id");
        let mut added = answer.client_secret_descriptor.ok_or_else(no_secret)?;
        let returned = added.client_secret_value.take().map(Zeroizing::new);
        let id = secret_id(asking, &added)?;
        if returned.is_some_and(|returned| !secret.is(&returned)) {
            self.remove_client_secret(asking, pool, client, &id).await?;
            return Err(asking.error(Fault::Unsupported, "the backend adds a secret of its own making instead of ours"));
        }
        Ok(id)
    }

    /// Oldest first.
    pub(super) async fn client_secrets(
        &self,
        asking: Asking,
        pool: &MadePool,
        client: &AppClientId,
    ) -> PortResult<Vec<SecretId>> {
        match self.listed_secrets(asking, pool, client).await {
            Err(error) if error.is(Fault::Unsupported) => {
                self.see_client(asking, pool, client).await?.client_secret.take().map(Zeroizing::new);
                Ok(vec![only_secret(asking, client)?])
            }
            outcome => outcome,
        }
    }

    /// Whether Cognito lists a secret; not so where it lists none at all.
    pub(super) async fn has_listed_secret(
        &self,
        asking: Asking,
        pool: &MadePool,
        client: &AppClientId,
    ) -> PortResult<bool> {
        match self.listed_secrets(asking, pool, client).await {
            Err(error) if error.is(Fault::Unsupported) => Ok(false),
            outcome => Ok(!outcome?.is_empty()),
        }
    }

    /// Whether the backend has operations for secrets.
    pub(super) async fn knows_secrets(
        &self,
        asking: Asking,
        pool: &MadePool,
        client: &AppClientId,
    ) -> PortResult<bool> {
        match self.listed_secrets(asking, pool, client).await {
            Err(error) if error.is(Fault::Unsupported) => Ok(false),
            outcome => outcome.map(|_| true),
        }
    }

    pub(super) async fn delete_client_secret(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        secret: &SecretId,
    ) -> PortResult<()> {
        let asking = asking("delete a client secret");
        match self.remove_client_secret(asking, pool, client, secret).await {
            // Either it is the last one, or it is gone: which of its errors Cognito has for that is not documented.
            Err(error) if error.is(Fault::Refused) => {
                let left = if_there(self.listed_secrets(asking, pool, client).await)?.unwrap_or_default();
                if left.contains(secret) { Err(error) } else { Ok(()) }
            }
            Err(error) if error.is(Fault::Unsupported) => {
                Err(asking.error(Fault::Refused, format_args!("{secret} is the last secret of {client}")))
            }
            outcome => outcome,
        }
    }

    async fn remove_client_secret(
        &self,
        asking: Asking,
        pool: &MadePool,
        client: &AppClientId,
        secret: &SecretId,
    ) -> PortResult<()> {
        let region = self.regions.get(asking, &pool.region)?;
        let request = region.cognito.delete_user_pool_client_secret();
        let request = request.user_pool_id(pool.user_pool.as_str()).client_id(client.as_str());
        let request = request.client_secret_id(secret.as_str());
        if_there(self.calls.make(asking, &region.name, Some(&pool.user_pool), request.send()).await)?;
        Ok(())
    }

    async fn listed_secrets(&self, asking: Asking, pool: &MadePool, client: &AppClientId) -> PortResult<Vec<SecretId>> {
        let region = self.regions.get(asking, &pool.region)?;
        let (mut listed, mut token) = (Vec::new(), None);
        loop {
            let request = region.cognito.list_user_pool_client_secrets();
            let request = request.user_pool_id(pool.user_pool.as_str()).client_id(client.as_str());
            let request = request.set_next_token(token);
            let page = self.calls.make(asking, &region.name, Some(&pool.user_pool), request.send()).await?;
            listed.extend(page.client_secrets.unwrap_or_default());
            token = page.next_token;
            if token.is_none() {
                return oldest_first(asking, listed);
            }
        }
    }
}

pub(super) fn oldest_first(asking: Asking, mut listed: Vec<ClientSecretDescriptorType>) -> PortResult<Vec<SecretId>> {
    listed.sort_by_key(|secret| secret.client_secret_create_date().map(|date| date.as_nanos()));
    listed.iter().map(|secret| secret_id(asking, secret)).collect()
}

fn only_secret(asking: Asking, client: &AppClientId) -> PortResult<SecretId> {
    SecretId::unlisted(client).map_err(|error| asking.error(Fault::Refused, error.message()))
}

fn secret_id(asking: Asking, secret: &ClientSecretDescriptorType) -> PortResult<SecretId> {
    SecretId::parse("secret", secret.client_secret_id().unwrap_or_default())
        .map_err(|error| asking.error(Fault::Unavailable, format_args!("a secret's id {}", error.message())))
}
