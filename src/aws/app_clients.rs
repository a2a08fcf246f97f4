//! App clients: made with a secret of our own, changed by reading and writing back the whole.
//!
//! Cognito takes our secret. What does not is found out by its answer to the first creation, which is deleted again;
//! from then on app clients are made there with a secret that the backend chooses.

use std::time::Duration;

use aws_sdk_cognitoidentityprovider::operation::update_user_pool_client::builders::UpdateUserPoolClientFluentBuilder;
use aws_sdk_cognitoidentityprovider::types::{
    ExplicitAuthFlowsType, OAuthFlowType, TimeUnitsType, TokenValidityUnitsType, UserPoolClientType,
};
use zeroize::Zeroizing;

use super::TokenSource;
use super::cognito::{Cognito, PAGE, asking};
use super::faults::{Asking, if_there};
use super::regions::Region;
use crate::broker::ports::{AppClientSeen, AppClientSpec, Fault, NewAppClient, PortError, PortPage, PortResult};
use crate::domain::client::{DEFAULT_TOKEN_VALIDITY, check_token_validity};
use crate::domain::id::AppClientId;
use crate::domain::pool::MadePool;
use crate::domain::scope::{MAX_SCOPES_PER_CLIENT, ScopeSet};
use crate::domain::secret::ClientSecret;

/// The flow of `GetClientToken`, which is newer than the SDK's list of flows.
const CLIENT_TOKEN_AUTH: &str = "ALLOW_CLIENT_TOKEN_AUTH";

impl Cognito {
    pub(super) async fn create_client(
        &self,
        pool: &MadePool,
        spec: &AppClientSpec,
        secret: &ClientSecret,
    ) -> PortResult<NewAppClient> {
        let asking = asking("create an app client");
        check(asking, spec)?;
        let region = self.regions.get(asking, &pool.region)?;
        if region.assigns_secrets() {
            return self.create_with_assigned(asking, region, pool, spec).await;
        }
        let (id, returned) = self.create_with(asking, region, pool, spec, Some(secret)).await?;
        if self.is_ours(asking, pool, &id, returned, secret).await.map_err(made_already)? {
            return Ok(NewAppClient { id, assigned: None });
        }
        // It would never authenticate with the secret that is in the vault.
        self.delete_client(asking, pool, &id).await.map_err(made_already)?;
        region.has_assigned_a_secret();
        self.create_with_assigned(asking, region, pool, spec).await
    }

    async fn create_with_assigned(
        &self,
        asking: Asking,
        region: &Region,
        pool: &MadePool,
        spec: &AppClientSpec,
    ) -> PortResult<NewAppClient> {
        let (id, returned) = self.create_with(asking, region, pool, spec, None).await?;
        let assigned = returned.and_then(|text| ClientSecret::parse_foreign("client_secret", &text).ok());
        if assigned.is_none() {
            self.delete_client(asking, pool, &id).await.map_err(made_already)?;
            let detail =
                "the backend neither gives app clients the secret that it is told nor tells the one that it chose";
            return Err(asking.error(Fault::Unsupported, detail));
        }
        Ok(NewAppClient { id, assigned })
    }

    /// Makes the app client with this secret, or with one that is generated there; with what the answer says it is.
    async fn create_with(
        &self,
        asking: Asking,
        region: &Region,
        pool: &MadePool,
        spec: &AppClientSpec,
        secret: Option<&ClientSecret>,
    ) -> PortResult<(AppClientId, Option<Zeroizing<String>>)> {
        let (validity, unit) = validity_of(spec.access_token_validity);
        let auth_flows = match self.token_source {
            TokenSource::TokenEndpoint => None,
            TokenSource::GetClientToken => Some(vec![ExplicitAuthFlowsType::from(CLIENT_TOKEN_AUTH)]),
        };
        let request = region
            .cognito
            .create_user_pool_client()
            .user_pool_id(pool.user_pool.as_str())
            .client_name(&spec.marker)
            .set_client_secret(secret.map(|secret| secret.expose().to_owned()))
            .set_generate_secret(secret.is_none().then_some(true))
            .allowed_o_auth_flows(OAuthFlowType::ClientCredentials)
            .allowed_o_auth_flows_user_pool_client(true)
            .set_allowed_o_auth_scopes(Some(scopes_of(spec)))
            .access_token_validity(validity)
            .token_validity_units(TokenValidityUnitsType::builder().access_token(unit).build())
            .set_explicit_auth_flows(auth_flows);
        let answer = self.calls.make(asking, &region.name, Some(&pool.user_pool), request.send()).await?;
        let no_client = || asking.error(Fault::Unavailable, "CreateUserPoolClient answered without an app client");
        let mut made = answer.user_pool_client.ok_or_else(no_client)?;
        let returned = made.client_secret.take().map(Zeroizing::new);
        Ok((app_client_id(asking, made.client_id())?, returned))
    }

    pub(super) async fn client_took(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        secret: &ClientSecret,
    ) -> PortResult<bool> {
        let asking = asking("look whether an app client took its secret");
        let mut seen = self.see_client(asking, pool, client).await?;
        let returned = seen.client_secret.take().map(Zeroizing::new);
        if self.regions.get(asking, &pool.region)?.assigns_secrets() {
            return Ok(false);
        }
        self.is_ours(asking, pool, client, returned, secret).await
    }

    /// Whether an app client's only secret is this one, by what was returned of it.
    async fn is_ours(
        &self,
        asking: Asking,
        pool: &MadePool,
        client: &AppClientId,
        returned: Option<Zeroizing<String>>,
        secret: &ClientSecret,
    ) -> PortResult<bool> {
        match returned {
            Some(returned) => Ok(secret.is(&returned)),
            // Cognito need not repeat what it was given. Who does not know secrets of one's own has made none.
            None => self.knows_secrets(asking, pool, client).await,
        }
    }

    /// The first of that name. There is no index of names, so this may read every page.
    pub(super) async fn find_client(&self, pool: &MadePool, marker: &str) -> PortResult<Option<AppClientId>> {
        let asking = asking("find an app client");
        let mut after = None;
        loop {
            let page = self.list_clients(asking, pool, after.as_deref()).await?;
            if let Some((client, _)) = page.items.into_iter().find(|(_, name)| name == marker) {
                return Ok(Some(client));
            }
            after = page.next;
            if after.is_none() {
                return Ok(None);
            }
        }
    }

    pub(super) async fn describe_client(
        &self,
        pool: &MadePool,
        client: &AppClientId,
    ) -> PortResult<Option<AppClientSeen>> {
        let asking = asking("describe an app client");
        let seen = self.see_whole(asking, pool, client).await?;
        Ok(seen.map(|(seen, has_secret)| seen_of(&seen, has_secret)))
    }

    /// The app client without the secret that may be told of it, and whether it has one; `None` when there is none.
    pub(super) async fn see_whole(
        &self,
        asking: Asking,
        pool: &MadePool,
        client: &AppClientId,
    ) -> PortResult<Option<(UserPoolClientType, bool)>> {
        let Some(mut seen) = if_there(self.see_client(asking, pool, client).await)? else { return Ok(None) };
        let returned = seen.client_secret.take().map(Zeroizing::new);
        // Which of two secrets is returned is not documented, and whether one is.
        let has_secret = returned.is_some() || self.has_listed_secret(asking, pool, client).await?;
        Ok(Some((seen, has_secret)))
    }

    pub(super) async fn list_clients(
        &self,
        asking: Asking,
        pool: &MadePool,
        after: Option<&str>,
    ) -> PortResult<PortPage<(AppClientId, String)>> {
        let region = self.regions.get(asking, &pool.region)?;
        let request = region.cognito.list_user_pool_clients().user_pool_id(pool.user_pool.as_str());
        let request = request.max_results(PAGE).set_next_token(after.map(str::to_owned));
        let page = self.calls.make(asking, &region.name, Some(&pool.user_pool), request.send()).await?;
        let items = page.user_pool_clients().iter().map(|client| {
            Ok((app_client_id(asking, client.client_id())?, client.client_name().unwrap_or_default().to_owned()))
        });
        Ok(PortPage { items: items.collect::<PortResult<_>>()?, next: page.next_token().map(str::to_owned) })
    }

    pub(super) async fn update_client(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        spec: &AppClientSpec,
    ) -> PortResult<()> {
        let asking = asking("update an app client");
        check(asking, spec)?;
        let region = self.regions.get(asking, &pool.region)?;
        let mut seen = self.see_client(asking, pool, client).await?;
        drop(seen.client_secret.take().map(Zeroizing::new));
        let request = update_of(region.cognito.update_user_pool_client(), seen, spec);
        self.calls.make(asking, &region.name, Some(&pool.user_pool), request.send()).await?;
        Ok(())
    }

    pub(super) async fn delete_client(&self, asking: Asking, pool: &MadePool, client: &AppClientId) -> PortResult<()> {
        let region = self.regions.get(asking, &pool.region)?;
        let request = region.cognito.delete_user_pool_client();
        let request = request.user_pool_id(pool.user_pool.as_str()).client_id(client.as_str());
        if_there(self.calls.make(asking, &region.name, Some(&pool.user_pool), request.send()).await)?;
        Ok(())
    }

    pub(super) async fn see_client(
        &self,
        asking: Asking,
        pool: &MadePool,
        client: &AppClientId,
    ) -> PortResult<UserPoolClientType> {
        let region = self.regions.get(asking, &pool.region)?;
        let request = region.cognito.describe_user_pool_client();
        let request = request.user_pool_id(pool.user_pool.as_str()).client_id(client.as_str());
        let answer = self.calls.make(asking, &region.name, Some(&pool.user_pool), request.send()).await?;
        let no_client = || asking.error(Fault::Unavailable, "DescribeUserPoolClient answered without an app client");
        answer.user_pool_client.ok_or_else(no_client)
    }
}

/// An error that comes after an app client was made. It may still be there, so the error must not read as if nothing
/// had happened.
fn made_already(error: PortError) -> PortError {
    PortError { fault: Fault::Unavailable, ..error }
}

/// What can be checked without Cognito.
fn check(asking: Asking, spec: &AppClientSpec) -> PortResult<()> {
    check_token_validity(spec.access_token_validity).map_err(|error| asking.error(Fault::Refused, error.message()))?;
    if !(1..=MAX_SCOPES_PER_CLIENT).contains(&spec.scopes.len()) {
        return Err(asking.error(Fault::Refused, format_args!("an app client has 1 to {MAX_SCOPES_PER_CLIENT} scopes")));
    }
    Ok(())
}

/// The app client as it was seen, with our scopes and validity: `UpdateUserPoolClient` resets what it is not given.
pub(super) fn update_of(
    request: UpdateUserPoolClientFluentBuilder,
    seen: UserPoolClientType,
    spec: &AppClientSpec,
) -> UpdateUserPoolClientFluentBuilder {
    let (validity, unit) = validity_of(spec.access_token_validity);
    let units = seen.token_validity_units.as_ref();
    let units = TokenValidityUnitsType::builder()
        .access_token(unit)
        .set_id_token(units.and_then(|units| units.id_token().cloned()))
        .set_refresh_token(units.and_then(|units| units.refresh_token().cloned()));
    request
        .set_user_pool_id(seen.user_pool_id)
        .set_client_id(seen.client_id)
        .set_client_name(seen.client_name)
        // Zero is no value of Cognito's, but what the SDK says for none.
        .set_refresh_token_validity(Some(seen.refresh_token_validity).filter(|validity| *validity > 0))
        .access_token_validity(validity)
        .set_id_token_validity(seen.id_token_validity)
        .token_validity_units(units.build())
        .set_read_attributes(seen.read_attributes)
        .set_write_attributes(seen.write_attributes)
        .set_explicit_auth_flows(seen.explicit_auth_flows)
        .set_supported_identity_providers(seen.supported_identity_providers)
        .set_callback_urls(seen.callback_urls)
        .set_logout_urls(seen.logout_urls)
        .set_default_redirect_uri(seen.default_redirect_uri)
        .set_allowed_o_auth_flows(seen.allowed_o_auth_flows)
        .set_allowed_o_auth_scopes(Some(scopes_of(spec)))
        .set_allowed_o_auth_flows_user_pool_client(seen.allowed_o_auth_flows_user_pool_client)
        .set_analytics_configuration(seen.analytics_configuration)
        .set_prevent_user_existence_errors(seen.prevent_user_existence_errors)
        .set_enable_token_revocation(seen.enable_token_revocation)
        .set_enable_propagate_additional_user_context_data(seen.enable_propagate_additional_user_context_data)
        .set_auth_session_validity(seen.auth_session_validity)
        .set_refresh_token_rotation(seen.refresh_token_rotation)
}

pub(super) fn seen_of(seen: &UserPoolClientType, has_secret: bool) -> AppClientSeen {
    let unit = seen.token_validity_units().and_then(TokenValidityUnitsType::access_token);
    // Cognito's own unit for access tokens, where none is named, is the hour.
    let seconds = match unit {
        Some(TimeUnitsType::Seconds) => 1,
        Some(TimeUnitsType::Minutes) => 60,
        Some(TimeUnitsType::Days) => 24 * 60 * 60,
        _ => 60 * 60,
    };
    let validity = seen.access_token_validity().and_then(|validity| u64::try_from(validity).ok());
    let validity = validity.filter(|validity| *validity > 0).map(|validity| Duration::from_secs(validity * seconds));
    AppClientSeen {
        name: seen.client_name().unwrap_or_default().to_owned(),
        scopes: ScopeSet::from_claim(&seen.allowed_o_auth_scopes().join(" ")),
        access_token_validity: validity.unwrap_or(DEFAULT_TOKEN_VALIDITY),
        is_machine: has_secret && seen.allowed_o_auth_flows() == [OAuthFlowType::ClientCredentials],
    }
}

/// In minutes where that says it, else in seconds. At most a day, so either fits.
pub(super) fn validity_of(validity: Duration) -> (i32, TimeUnitsType) {
    let seconds = i32::try_from(validity.as_secs()).unwrap_or(i32::MAX);
    match seconds % 60 {
        0 => (seconds / 60, TimeUnitsType::Minutes),
        _ => (seconds, TimeUnitsType::Seconds),
    }
}

fn scopes_of(spec: &AppClientSpec) -> Vec<String> {
    spec.scopes.iter().map(ToString::to_string).collect()
}

pub(super) fn app_client_id(asking: Asking, id: Option<&str>) -> PortResult<AppClientId> {
    AppClientId::parse("app_client", id.unwrap_or_default())
        .map_err(|error| asking.error(Fault::Unavailable, format_args!("an app client's id {}", error.message())))
}
