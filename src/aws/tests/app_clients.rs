use std::time::Duration;

use aws_sdk_cognitoidentityprovider::types::{
    AnalyticsConfigurationType, ExplicitAuthFlowsType, FeatureType, OAuthFlowType, PreventUserExistenceErrorTypes,
    RefreshTokenRotationType, TimeUnitsType, TokenValidityUnitsType, UserPoolClientType,
};

use super::{absent_members, cognito_client};
use crate::aws::app_clients::{seen_of, update_of, validity_of};
use crate::broker::ports::AppClientSpec;
use crate::domain::scope::ScopeSet;

fn spec() -> AppClientSpec {
    AppClientSpec {
        marker: "keyward-acme.orders-1".into(),
        scopes: ScopeSet::parse("scopes", &["orders/read"]).expect("scopes"),
        access_token_validity: Duration::from_secs(301),
    }
}

/// An app client in which everything that can be set is.
fn whole() -> UserPoolClientType {
    let units = TokenValidityUnitsType::builder()
        .access_token(TimeUnitsType::Hours)
        .id_token(TimeUnitsType::Minutes)
        .refresh_token(TimeUnitsType::Days)
        .build();
    UserPoolClientType::builder()
        .user_pool_id("eu-central-1_AbCdEf123")
        .client_id("7abc")
        .client_name("named by hand")
        .refresh_token_validity(30)
        .access_token_validity(2)
        .id_token_validity(45)
        .token_validity_units(units)
        .read_attributes("email")
        .write_attributes("name")
        .explicit_auth_flows(ExplicitAuthFlowsType::from("ALLOW_CLIENT_TOKEN_AUTH"))
        .supported_identity_providers("COGNITO")
        .callback_urls("https://example.com/back")
        .logout_urls("https://example.com/out")
        .default_redirect_uri("https://example.com/back")
        .allowed_o_auth_flows(OAuthFlowType::ClientCredentials)
        .allowed_o_auth_scopes("orders/write")
        .allowed_o_auth_flows_user_pool_client(true)
        .analytics_configuration(AnalyticsConfigurationType::builder().application_id("app").build())
        .prevent_user_existence_errors(PreventUserExistenceErrorTypes::Enabled)
        .enable_token_revocation(false)
        .enable_propagate_additional_user_context_data(true)
        .auth_session_validity(3)
        .refresh_token_rotation(
            RefreshTokenRotationType::builder().feature(FeatureType::Enabled).build().expect("a rotation"),
        )
        .build()
}

#[test]
fn an_update_gives_every_member_that_update_user_pool_client_takes() {
    let request = update_of(cognito_client().update_user_pool_client(), whole(), &spec());
    let input = request.as_input().clone().build().expect("a request");
    let printed = format!("{input:#?}");
    assert!(printed.contains("client_name"), "{printed}");
    assert_eq!(absent_members(&printed), Vec::<String>::new());
}

#[test]
fn an_update_changes_scopes_and_validity_and_nothing_else() {
    let request = update_of(cognito_client().update_user_pool_client(), whole(), &spec());
    let input = request.as_input().clone().build().expect("a request");
    assert_eq!(input.allowed_o_auth_scopes(), ["orders/read"]);
    assert_eq!(input.access_token_validity(), Some(301));
    let units = input.token_validity_units().expect("units");
    assert_eq!(units.access_token(), Some(&TimeUnitsType::Seconds));
    assert_eq!(units.id_token(), Some(&TimeUnitsType::Minutes));
    assert_eq!(units.refresh_token(), Some(&TimeUnitsType::Days));
    assert_eq!(input.client_name(), Some("named by hand"));
    assert_eq!(input.enable_token_revocation(), Some(false));
    assert_eq!(input.explicit_auth_flows()[0].as_str(), "ALLOW_CLIENT_TOKEN_AUTH");
    assert_eq!(input.id_token_validity(), Some(45));
}

#[test]
fn a_validity_is_in_minutes_where_it_can_be() {
    assert_eq!(validity_of(Duration::from_secs(5 * 60)), (5, TimeUnitsType::Minutes));
    assert_eq!(validity_of(Duration::from_secs(24 * 60 * 60)), (24 * 60, TimeUnitsType::Minutes));
    assert_eq!(validity_of(Duration::from_secs(86_399)), (86_399, TimeUnitsType::Seconds));
}

#[test]
fn a_validity_is_read_in_the_unit_that_it_is_in() {
    let seen = |unit: Option<TimeUnitsType>, validity| {
        let units = TokenValidityUnitsType::builder().set_access_token(unit).build();
        let client = UserPoolClientType::builder().token_validity_units(units).set_access_token_validity(validity);
        seen_of(&client.build(), true).access_token_validity.as_secs()
    };
    assert_eq!(seen(Some(TimeUnitsType::Seconds), Some(301)), 301);
    assert_eq!(seen(Some(TimeUnitsType::Minutes), Some(5)), 300);
    assert_eq!(seen(Some(TimeUnitsType::Days), Some(1)), 86_400);
    // Hours where no unit is named, one hour where nothing is.
    assert_eq!(seen(None, Some(2)), 7_200);
    assert_eq!(seen(None, None), 3_600);
}

#[test]
fn a_machine_has_a_secret_and_client_credentials_as_its_only_flow() {
    assert!(seen_of(&whole(), true).is_machine);
    assert!(!seen_of(&whole(), false).is_machine);
    let mut both = whole();
    both.allowed_o_auth_flows = Some(vec![OAuthFlowType::ClientCredentials, OAuthFlowType::Code]);
    assert!(!seen_of(&both, true).is_machine);
    both.allowed_o_auth_flows = None;
    assert!(!seen_of(&both, true).is_machine);
}
