//! An app client to take over.

use zeroize::Zeroizing;

use crate::broker::api::{NewImport, SecretSource};
use crate::domain::error::{Error, Result};
use crate::domain::id::{AppClientId, ClientId, TenantId};
use crate::domain::interactive::ClientKind;
use crate::domain::scope::ScopeSet;
use crate::domain::secret::ClientSecret;
use crate::proto::{self, import_client_request};

use super::client::{rotation_policy, secret_readers, validity};
use super::tenant::{MAX_DISPLAY_NAME, labels};
use super::{interactive, not_offered, pool, words};

/// The longest name or ARN of a secret in Secrets Manager.
const MAX_SECRET_NAME: usize = 2048;

pub fn new(request: proto::ImportClientRequest) -> Result<NewImport> {
    // Wiped also when something else is found to be wrong.
    let source = request.secret_source.map(|source| match source {
        import_client_request::SecretSource::ClientSecret(secret) => Source::Given(Zeroizing::new(secret)),
        import_client_request::SecretSource::SecretName(name) => Source::Named(name),
    });
    let tenant = TenantId::from_name("parent", &request.parent)?;
    let id = ClientId::parse("client_id", &request.client_id)?;
    let client = request.client.unwrap_or_default();
    not_offered("client.interactive", client.interactive.is_some())?;
    not_offered("client.kind", interactive::kind(&client)? == ClientKind::Interactive)?;
    words("client.display_name", &client.display_name, MAX_DISPLAY_NAME)?;
    let scopes = ScopeSet::parse("client.scopes", &client.scopes)?;
    Ok(NewImport {
        tenant,
        id,
        pool: pool(&request.pool)?,
        app_client: AppClientId::parse("app_client_id", &request.app_client_id)?,
        secret: secret(source)?,
        scopes: (!scopes.is_empty()).then_some(scopes),
        access_token_validity: validity(&client)?,
        rotation: client.rotation_policy.map(rotation_policy).transpose()?,
        secret_readers: secret_readers(client.secret_readers)?,
        labels: labels(client.labels, "client")?,
        display_name: client.display_name,
    })
}

enum Source {
    Given(Zeroizing<String>),
    Named(String),
}

fn secret(source: Option<Source>) -> Result<SecretSource> {
    match source {
        None => Err(Error::invalid("secret_source", "one of client_secret and secret_name is required")),
        Some(Source::Given(secret)) => ClientSecret::parse_foreign("client_secret", &secret).map(SecretSource::Given),
        Some(Source::Named(name)) => {
            if (1..=MAX_SECRET_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()) {
                Ok(SecretSource::Named(name))
            } else {
                let rule = format!("must be 1 to {MAX_SECRET_NAME} printable ASCII characters without spaces");
                Err(Error::invalid("secret_name", rule))
            }
        }
    }
}
