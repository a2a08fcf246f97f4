//! App clients that people sign in with: without a secret, with the authorization-code grant alone, changed by reading and
//! writing back the whole.
//!
//! The list of identity providers says what the hosted sign-in offers. It does not keep accounts of the pool from
//! signing in through the API (`CreateUserPoolClient`, `SupportedIdentityProviders`). So where they are not offered, the
//! app client has no flow of the API but the refreshing of tokens.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_cognitoidentityprovider::operation::update_user_pool_client::builders::UpdateUserPoolClientFluentBuilder;
use aws_sdk_cognitoidentityprovider::types::{
    ExplicitAuthFlowsType, FeatureType, OAuthFlowType, PreventUserExistenceErrorTypes, RefreshTokenRotationType,
    TimeUnitsType, TokenValidityUnitsType, UserPoolClientType,
};
use zeroize::Zeroizing;

use super::app_clients::app_client_id;
use super::cognito::{Cognito, asking};
use super::faults::Asking;
use crate::broker::ports::{Fault, InteractiveSeen, InteractiveSpec, PortResult};
use crate::domain::client::{DEFAULT_TOKEN_VALIDITY, check_token_validity};
use crate::domain::id::AppClientId;
use crate::domain::interactive::{
    DEFAULT_ID_TOKEN_VALIDITY, DEFAULT_REFRESH_TOKEN_VALIDITY, MAX_REDIRECT_URLS, MAX_REFRESH_TOKEN_VALIDITY,
    MIN_REFRESH_TOKEN_VALIDITY, StandardScope,
};
use crate::domain::pool::MadePool;
use crate::domain::scope::{MAX_SCOPES_PER_CLIENT, ScopeSet};

/// What Cognito calls the accounts of the pool itself, among identity providers.
const NATIVE: &str = "COGNITO";

impl Cognito {
    pub(super) async fn create_interactive(&self, pool: &MadePool, spec: &InteractiveSpec) -> PortResult<AppClientId> {
        let asking = asking("create an app client");
        check(asking, spec)?;
        let region = self.regions.get(asking, &pool.region)?;
        let request = region
            .cognito
            .create_user_pool_client()
            .user_pool_id(pool.user_pool.as_str())
            .client_name(&spec.marker)
            .set_generate_secret(Some(false))
            .allowed_o_auth_flows(OAuthFlowType::Code)
            .allowed_o_auth_flows_user_pool_client(true)
            .set_allowed_o_auth_scopes(Some(scopes_of(spec)))
            .set_callback_urls(Some(list(&spec.callback_urls)))
            .set_logout_urls(Some(list(&spec.sign_out_urls)))
            .set_supported_identity_providers(Some(providers_of(spec)))
            .set_explicit_auth_flows(Some(flows_of(spec)))
            .access_token_validity(seconds(spec.access_token_validity))
            .id_token_validity(seconds(spec.id_token_validity))
            .refresh_token_validity(seconds(spec.refresh_token_validity))
            .token_validity_units(units())
            .prevent_user_existence_errors(PreventUserExistenceErrorTypes::Enabled)
            .enable_token_revocation(true);
        let answer = self.calls.make(asking, &region.name, Some(&pool.user_pool), request.send()).await?;
        let made = answer.user_pool_client.as_ref().and_then(UserPoolClientType::client_id);
        app_client_id(asking, made)
    }

    pub(super) async fn describe_interactive(
        &self,
        pool: &MadePool,
        client: &AppClientId,
    ) -> PortResult<Option<InteractiveSeen>> {
        let asking = asking("describe an app client");
        let seen = self.see_whole(asking, pool, client).await?;
        Ok(seen.map(|(seen, has_secret)| seen_of(&seen, has_secret)))
    }

    pub(super) async fn update_interactive(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        spec: &InteractiveSpec,
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
}

/// What can be checked without Cognito.
pub(super) fn check(asking: Asking, spec: &InteractiveSpec) -> PortResult<()> {
    let refused = |rule: &str| Err(asking.error(Fault::Refused, rule));
    let validities = [spec.access_token_validity, spec.id_token_validity];
    if validities.into_iter().any(|validity| check_token_validity(validity).is_err()) {
        return refused("a token is valid for 5 minutes to 1 day, in whole seconds");
    }
    let refresh = spec.refresh_token_validity;
    if !(MIN_REFRESH_TOKEN_VALIDITY..=MAX_REFRESH_TOKEN_VALIDITY).contains(&refresh) || refresh.subsec_nanos() != 0 {
        return refused("a refresh token is valid for 1 hour to 3,650 days, in whole seconds");
    }
    if !(1..=MAX_SCOPES_PER_CLIENT).contains(&(spec.scopes.len() + spec.standard_scopes.len())) {
        return refused("an app client has 1 to 50 scopes");
    }
    if !(1..=MAX_REDIRECT_URLS).contains(&spec.callback_urls.len()) || spec.sign_out_urls.len() > MAX_REDIRECT_URLS {
        return refused("an app client has 1 to 100 URLs to come back to, and at most 100 to sign out to");
    }
    Ok(())
}

/// The app client as it was seen, with everything that the spec says: `UpdateUserPoolClient` resets what it is not given.
pub(super) fn update_of(
    request: UpdateUserPoolClientFluentBuilder,
    seen: UserPoolClientType,
    spec: &InteractiveSpec,
) -> UpdateUserPoolClientFluentBuilder {
    // One that is not among the URLs to come back to would have all of it refused.
    let redirect = seen.default_redirect_uri.filter(|url| spec.callback_urls.contains(url));
    let (flows, rotation) = flows_beside(seen.refresh_token_rotation, spec);
    request
        .set_user_pool_id(seen.user_pool_id)
        .set_client_id(seen.client_id)
        .set_client_name(seen.client_name)
        .refresh_token_validity(seconds(spec.refresh_token_validity))
        .access_token_validity(seconds(spec.access_token_validity))
        .id_token_validity(seconds(spec.id_token_validity))
        .token_validity_units(units())
        .set_read_attributes(seen.read_attributes)
        .set_write_attributes(seen.write_attributes)
        .set_explicit_auth_flows(Some(flows))
        .set_supported_identity_providers(Some(providers_of(spec)))
        .set_callback_urls(Some(list(&spec.callback_urls)))
        .set_logout_urls(Some(list(&spec.sign_out_urls)))
        .set_default_redirect_uri(redirect)
        .allowed_o_auth_flows(OAuthFlowType::Code)
        .set_allowed_o_auth_scopes(Some(scopes_of(spec)))
        .allowed_o_auth_flows_user_pool_client(true)
        .set_analytics_configuration(seen.analytics_configuration)
        .prevent_user_existence_errors(PreventUserExistenceErrorTypes::Enabled)
        .enable_token_revocation(true)
        .set_enable_propagate_additional_user_context_data(seen.enable_propagate_additional_user_context_data)
        .set_auth_session_validity(seen.auth_session_validity)
        .set_refresh_token_rotation(rotation)
}

pub(super) fn seen_of(seen: &UserPoolClientType, has_secret: bool) -> InteractiveSeen {
    let units = seen.token_validity_units();
    let lasts = |number: Option<i32>, unit: Option<&TimeUnitsType>, own: u64, default: Duration| {
        let unit = match unit {
            Some(TimeUnitsType::Seconds) => 1,
            Some(TimeUnitsType::Minutes) => 60,
            Some(TimeUnitsType::Hours) => 60 * 60,
            Some(TimeUnitsType::Days) => 24 * 60 * 60,
            _ => own,
        };
        let number = number.and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0);
        number.map_or(default, |number| Duration::from_secs(number * unit))
    };
    // The units where none is named.
    const HOUR: u64 = 60 * 60;
    const DAY: u64 = 24 * HOUR;
    let access = units.and_then(TokenValidityUnitsType::access_token);
    let id = units.and_then(TokenValidityUnitsType::id_token);
    let refresh = units.and_then(TokenValidityUnitsType::refresh_token);
    let scopes = seen.allowed_o_auth_scopes();
    let is_standard = |scope: &&String| StandardScope::parse(scope).is_some();
    let others: Vec<_> = scopes.iter().filter(|scope| !is_standard(scope)).map(String::as_str).collect();
    let providers: BTreeSet<_> = seen.supported_identity_providers().iter().cloned().collect();
    let spec = InteractiveSpec {
        marker: seen.client_name().unwrap_or_default().to_owned(),
        scopes: ScopeSet::from_claim(&others.join(" ")),
        standard_scopes: scopes.iter().filter_map(|scope| StandardScope::parse(scope)).collect(),
        access_token_validity: lasts(seen.access_token_validity(), access, HOUR, DEFAULT_TOKEN_VALIDITY),
        id_token_validity: lasts(seen.id_token_validity(), id, HOUR, DEFAULT_ID_TOKEN_VALIDITY),
        refresh_token_validity: lasts(
            Some(seen.refresh_token_validity()),
            refresh,
            DAY,
            DEFAULT_REFRESH_TOKEN_VALIDITY,
        ),
        callback_urls: seen.callback_urls().iter().cloned().collect(),
        sign_out_urls: seen.logout_urls().iter().cloned().collect(),
        native_accounts: providers.contains(NATIVE),
        providers: providers.into_iter().filter(|provider| provider != NATIVE).collect(),
    };
    let is_interactive = !has_secret
        && has_flows_of(seen, &spec)
        && seen.allowed_o_auth_flows() == [OAuthFlowType::Code]
        && seen.allowed_o_auth_flows_user_pool_client() == Some(true);
    InteractiveSeen { spec, is_interactive }
}

/// Whether nobody can sign in past the hosted sign-in who could not sign in there. Where no flow is named there are three.
fn has_flows_of(seen: &UserPoolClientType, spec: &InteractiveSpec) -> bool {
    let (has, may_have) = (seen.explicit_auth_flows(), flows_of(spec));
    !has.is_empty() && has.iter().all(|flow| may_have.contains(flow))
}

/// Whether the hosted sign-in works for accounts of the pool where the app client has none of their flows is not
/// documented, so it has one.
fn flows_of(spec: &InteractiveSpec) -> Vec<ExplicitAuthFlowsType> {
    let native = spec.native_accounts.then_some(ExplicitAuthFlowsType::AllowUserSrpAuth);
    std::iter::once(ExplicitAuthFlowsType::AllowRefreshTokenAuth).chain(native).collect()
}

/// The flows beside the rotation of refresh tokens that others may have turned on. With it Cognito does not take the flow by
/// which the API refreshes them ("You can't authenticate with `REFRESH_TOKEN_AUTH` in app clients with refresh token rotation
/// enabled"). Where none is left, it takes three for named, which lead past the providers: there the rotation goes.
fn flows_beside(
    rotation: Option<RefreshTokenRotationType>,
    spec: &InteractiveSpec,
) -> (Vec<ExplicitAuthFlowsType>, Option<RefreshTokenRotationType>) {
    let flows = flows_of(spec);
    let Some(mut rotation) = rotation else { return (flows, None) };
    if rotation.feature != FeatureType::Enabled {
        return (flows, Some(rotation));
    }
    let refreshes = |flow: &ExplicitAuthFlowsType| *flow == ExplicitAuthFlowsType::AllowRefreshTokenAuth;
    let others: Vec<_> = flows.iter().filter(|flow| !refreshes(flow)).cloned().collect();
    if others.is_empty() {
        (rotation.feature, rotation.retry_grace_period_seconds) = (FeatureType::Disabled, None);
        return (flows, Some(rotation));
    }
    (others, Some(rotation))
}

fn providers_of(spec: &InteractiveSpec) -> Vec<String> {
    spec.providers.iter().cloned().chain(spec.native_accounts.then(|| NATIVE.to_owned())).collect()
}

fn scopes_of(spec: &InteractiveSpec) -> Vec<String> {
    let standard = spec.standard_scopes.iter().map(|scope| scope.as_str().to_owned());
    standard.chain(spec.scopes.iter().map(ToString::to_string)).collect()
}

fn list(texts: &BTreeSet<String>) -> Vec<String> {
    texts.iter().cloned().collect()
}

/// All in one unit, which says each of them; 3,650 days are fewer than 2^31 seconds.
fn seconds(validity: Duration) -> i32 {
    i32::try_from(validity.as_secs()).unwrap_or(i32::MAX)
}

fn units() -> TokenValidityUnitsType {
    let second = TimeUnitsType::Seconds;
    let units = TokenValidityUnitsType::builder().access_token(second.clone()).id_token(second.clone());
    units.refresh_token(second).build()
}
