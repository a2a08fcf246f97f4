//! The providers that somebody asks for, as the tenant's record will have them: with what it has already, where they
//! leave that out.

use aws_lc_rs::digest;

use super::providers::{Providers, StagedSecret, secret_name};
use crate::broker::api::{NewMetadata, NewOidc, NewProtocol, NewProvider, NewSaml};
use crate::broker::clients::interactive::interactive_clients;
use crate::broker::pools::Place;
use crate::broker::ports::{SecretDocument, Wanted};
use crate::broker::records::shelves::{ProviderDocument, document_key};
use crate::broker::records::{Change, Versioned};
use crate::domain::chain::Digest;
use crate::domain::client::ClientState;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::VersionId;
use crate::domain::provider::{
    IdentityProvider, MAX_PROVIDERS_PER_POOL, OidcProvider, ProviderId, ProviderName, ProviderProtocol, SamlMetadata,
    SamlProvider,
};
use crate::domain::tenant::{Isolation, Tenant};

/// What a tenant's record will say, and what has to be there for that.
#[derive(Default)]
pub struct WantedProviders {
    pub providers: Vec<IdentityProvider>,
    /// To be staged before the record is written.
    pub secrets: Vec<StagedSecret>,
    /// To be written with the record.
    pub documents: Vec<ProviderDocument>,
}

impl WantedProviders {
    pub fn differ_from(&self, tenant: &Tenant) -> bool {
        self.providers != tenant.identity_providers
    }
}

impl Providers {
    /// The same for a tenant that is there, in the pool where it is or, where that is given, goes. Fails where a client
    /// names what is to go.
    pub async fn change_of(
        &self,
        tenant: &Tenant,
        new: &[NewProvider],
        moved: Option<&Place>,
        call: &str,
    ) -> Result<WantedProviders> {
        let region = match moved {
            Some(place) => place.pool().region.clone(),
            None => self.pools.pool(&tenant.pool).await?.value.region,
        };
        let wanted = self.wanted(tenant, new, &region, call).await?;
        self.check_unused(tenant, &wanted.providers).await?;
        Ok(wanted)
    }

    /// Where the tenant goes to have these providers; `None` where it stays. One that people sign in to stays where it is.
    /// What is new needs room beside what is to go, which is taken away last. The caller holds its turn
    /// ([`Pools::place_in_turn`](crate::broker::pools::Pools::place_in_turn)) until the place is
    /// written down.
    pub async fn place_for(&self, tenant: &Tenant, new: &[NewProvider]) -> Result<Option<Place>> {
        let has = |new: &&NewProvider| tenant.identity_providers.iter().any(|provider| provider.id == new.id);
        let more = new.iter().filter(|new| !has(new)).count();
        if tenant.isolation == Isolation::UserPool || more == 0 {
            return Ok(None);
        }
        let place = self.place_shared(Some(&tenant.pool), more).await?;
        if place.pool().id == tenant.pool {
            return Ok(None);
        }
        if !tenant.identity_providers.is_empty() || !interactive_clients(&self.world, &tenant.id).await?.is_empty() {
            let message = format!("{} takes no more identity providers", tenant.pool.name());
            let error = Error::new(Reason::QuotaExceeded, message).about(tenant.pool.name());
            return Err(error.with("quota", "identity providers in a pool").with("limit", MAX_PROVIDERS_PER_POOL));
        }
        Ok(Some(place))
    }

    /// Puts the documents that are wanted, and takes away those that are wanted no more.
    pub async fn change_documents(
        &self,
        mut change: Change,
        tenant: &Tenant,
        wanted: &WantedProviders,
    ) -> Result<Change> {
        for document in &wanted.documents {
            let key = document_key(&document.tenant, &document.provider);
            let seen: Option<Versioned<ProviderDocument>> = self.world.records.get(&key).await?;
            change = change.put(document, seen.map(|seen| seen.version));
        }
        let has_document = |provider: &&IdentityProvider| match &provider.protocol {
            ProviderProtocol::Saml(saml) => matches!(saml.metadata, SamlMetadata::Document(_)),
            ProviderProtocol::Oidc(_) => false,
        };
        for gone in tenant.identity_providers.iter().filter(has_document) {
            if wanted.providers.iter().filter(has_document).any(|kept| kept.id == gone.id) {
                continue;
            }
            let key = document_key(&tenant.id, &gone.id);
            let seen: Option<Versioned<ProviderDocument>> = self.world.records.get(&key).await?;
            change = seen.iter().fold(change, |change, seen| change.delete(seen));
        }
        Ok(change)
    }

    /// `region` is that of the tenant's pool. `call` makes versions of secrets differ from those of other calls: the same
    /// for every attempt of one call.
    pub async fn wanted(
        &self,
        tenant: &Tenant,
        new: &[NewProvider],
        region: &str,
        call: &str,
    ) -> Result<WantedProviders> {
        let mut wanted = WantedProviders::default();
        for (i, new) in new.iter().enumerate() {
            let field = format!("tenant.identity_providers[{i}]");
            let has = tenant.identity_providers.iter().find(|provider| provider.id == new.id).map(|has| &has.protocol);
            let protocol = match (&new.protocol, has) {
                (NewProtocol::Oidc(_), Some(ProviderProtocol::Saml(_)))
                | (NewProtocol::Saml(_), Some(ProviderProtocol::Oidc(_))) => {
                    return Err(Error::invalid(field, "cannot change from one protocol to the other"));
                }
                (NewProtocol::Oidc(oidc), Some(ProviderProtocol::Oidc(has))) => ProviderProtocol::Oidc(
                    self.oidc(&mut wanted, tenant, &new.id, oidc, Some(has), region, call).await?,
                ),
                (NewProtocol::Oidc(oidc), None) => {
                    if oidc.client_secret.is_none() {
                        return Err(Error::invalid(format!("{field}.oidc.client_secret"), "is required"));
                    }
                    ProviderProtocol::Oidc(self.oidc(&mut wanted, tenant, &new.id, oidc, None, region, call).await?)
                }
                (NewProtocol::Saml(saml), has) => {
                    let has = has.and_then(|has| match has {
                        ProviderProtocol::Saml(has) => Some(has),
                        ProviderProtocol::Oidc(_) => None,
                    });
                    let saml = self.saml(&mut wanted, tenant, &new.id, saml, has);
                    ProviderProtocol::Saml(saml.map_err(|error| error.within(&field))?)
                }
            };
            let name = ProviderName::of(&tenant.id, &tenant.uid, &new.id).to_string();
            if wanted.providers.iter().any(|other| other.name == name) {
                return Err(Error::invalid(format!("{field}.provider_id"), "is too like another one; take another"));
            }
            let (id, attribute_mapping) = (new.id.clone(), new.attribute_mapping.clone());
            wanted.providers.push(IdentityProvider { id, name, protocol, attribute_mapping });
        }
        Ok(wanted)
    }

    #[expect(clippy::too_many_arguments, reason = "it is one part of a loop")]
    async fn oidc(
        &self,
        wanted: &mut WantedProviders,
        tenant: &Tenant,
        id: &ProviderId,
        new: &NewOidc,
        has: Option<&OidcProvider>,
        region: &str,
        call: &str,
    ) -> Result<OidcProvider> {
        let name = secret_name(&self.world.settings.secret_prefix, &tenant.id, id, region)?;
        let secret = match (&new.client_secret, has) {
            (None, Some(has)) => has.secret.clone(),
            (Some(secret), has) => {
                // One that is sent again needs no version of its own.
                let known = match has {
                    Some(has) => self.world.vault.read(&name, Wanted::Version(&has.secret)).await?,
                    None => None,
                };
                match (has, known) {
                    (Some(has), Some(known)) if known.client_secret == *secret => has.secret.clone(),
                    _ => {
                        let text = format!("keyward provider secret\n{}\n{id}\n{call}", tenant.uid);
                        let digest = hex::encode(digest::digest(&digest::SHA256, text.as_bytes()));
                        let version = VersionId::from_digest(&digest);
                        let document = SecretDocument {
                            client_id: None,
                            client_secret: secret.clone(),
                            token_endpoint: new.token_url.clone(),
                            issuer: new.issuer.clone(),
                            scopes: new.scopes.join(" "),
                        };
                        wanted.secrets.push(StagedSecret { name, version: version.clone(), document });
                        version
                    }
                }
            }
            (None, None) => return Err(Error::internal("making an identity provider", "it has no secret")),
        };
        Ok(OidcProvider {
            issuer: new.issuer.clone(),
            client_id: new.client_id.clone(),
            secret,
            scopes: new.scopes.clone(),
            authorize_url: new.authorize_url.clone(),
            token_url: new.token_url.clone(),
            user_info_url: new.user_info_url.clone(),
            jwks_uri: new.jwks_uri.clone(),
        })
    }

    /// Field paths are relative to the provider.
    fn saml(
        &self,
        wanted: &mut WantedProviders,
        tenant: &Tenant,
        id: &ProviderId,
        new: &NewSaml,
        has: Option<&SamlProvider>,
    ) -> Result<SamlProvider> {
        let metadata = match (&new.metadata, has.map(|has| &has.metadata)) {
            (NewMetadata::Url(url), _) => SamlMetadata::Url(url.clone()),
            (NewMetadata::Kept, Some(SamlMetadata::Document(digest))) => SamlMetadata::Document(digest.clone()),
            (NewMetadata::Kept, _) => return Err(Error::invalid("saml.metadata_xml", "is required")),
            (NewMetadata::Document(document), has) => {
                let digest = Digest::of(document.as_bytes()).to_string();
                let metadata = SamlMetadata::Document(digest.clone());
                if has != Some(&metadata) {
                    let (tenant, provider, document) = (tenant.id.clone(), id.clone(), document.clone());
                    wanted.documents.push(ProviderDocument { tenant, provider, digest, document });
                }
                metadata
            }
        };
        Ok(SamlProvider { metadata, sign_out: new.sign_out, encrypted_responses: new.encrypted_responses })
    }

    /// Fails where a client names a provider that the tenant is not to have any more.
    pub async fn check_unused(&self, tenant: &Tenant, wanted: &[IdentityProvider]) -> Result<()> {
        let is_going = |id: &ProviderId| !wanted.iter().any(|provider| provider.id == *id);
        if !tenant.identity_providers.iter().any(|provider| is_going(&provider.id)) {
            return Ok(());
        }
        for client in interactive_clients(&self.world, &tenant.id).await? {
            let mut named = client.interactive.iter().flat_map(|settings| &settings.identity_providers);
            if let Some(id) = named.find(|id| is_going(id))
                && client.state != ClientState::Deleting
            {
                let message = format!("{} names the identity provider {id}", client.name);
                let error = Error::new(Reason::ProviderInUse, message).about(tenant.id.name());
                return Err(error.with("client", &client.name));
            }
        }
        Ok(())
    }
}
