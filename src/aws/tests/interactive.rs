use std::time::Duration;

use aws_sdk_cognitoidentityprovider::types::{
    AnalyticsConfigurationType, ExplicitAuthFlowsType, FeatureType, OAuthFlowType, RefreshTokenRotationType,
    TimeUnitsType, TokenValidityUnitsType, UserPoolClientType,
};

use super::{absent_members, cognito_client};
use crate::aws::cognito::asking;
use crate::aws::interactive::{check, seen_of, update_of};
use crate::broker::ports::{Fault, InteractiveSpec};
use crate::domain::interactive::StandardScope;
use crate::domain::scope::ScopeSet;

fn spec() -> InteractiveSpec {
    InteractiveSpec {
        marker: "keyward-acme.portal-1".into(),
        scopes: ScopeSet::parse("scopes", &["orders/read"]).expect("scopes"),
        standard_scopes: [StandardScope::OpenId].into_iter().collect(),
        access_token_validity: Duration::from_secs(301),
        id_token_validity: Duration::from_secs(302),
        refresh_token_validity: Duration::from_secs(86_400),
        callback_urls: ["https://example.com/back".to_owned()].into_iter().collect(),
        sign_out_urls: ["https://example.com/out".to_owned()].into_iter().collect(),
        providers: ["kw-0123".to_owned()].into_iter().collect(),
        native_accounts: false,
    }
}

/// An app client in which everything is set that others may have set.
fn seen() -> UserPoolClientType {
    UserPoolClientType::builder()
        .user_pool_id("eu-central-1_AbCdEf123")
        .client_id("7abc")
        .client_name("named by hand")
        .read_attributes("email")
        .write_attributes("name")
        .default_redirect_uri("https://example.com/back")
        .analytics_configuration(AnalyticsConfigurationType::builder().application_id("app").build())
        .enable_propagate_additional_user_context_data(true)
        .auth_session_validity(3)
        .refresh_token_rotation(
            RefreshTokenRotationType::builder().feature(FeatureType::Enabled).build().expect("a rotation"),
        )
        .build()
}

#[test]
fn an_update_for_people_gives_every_member_that_update_user_pool_client_takes() {
    let request = update_of(cognito_client().update_user_pool_client(), seen(), &spec());
    let input = request.as_input().clone().build().expect("a request");
    assert_eq!(absent_members(&format!("{input:#?}")), Vec::<String>::new());
    assert_eq!(input.client_name(), Some("named by hand"));
    assert_eq!(input.explicit_auth_flows(), [ExplicitAuthFlowsType::AllowRefreshTokenAuth]);
    assert_eq!(input.supported_identity_providers(), ["kw-0123"]);
}

/// Cognito takes the flow by which the API refreshes tokens only where they are not rotated. Without a flow that is
/// named there are three, among them one past the providers; so where no other is left, rotation goes.
#[test]
fn rotation_of_refresh_tokens_stays_where_an_app_client_has_another_flow_than_their_refreshing() {
    let update = |native_accounts: bool| {
        let spec = InteractiveSpec { native_accounts, ..spec() };
        let request = update_of(cognito_client().update_user_pool_client(), seen(), &spec);
        let input = request.as_input().clone().build().expect("a request");
        let feature = input.refresh_token_rotation().map(|rotation| rotation.feature().clone());
        (input.explicit_auth_flows().to_vec(), feature)
    };
    let (refresh, srp) = (ExplicitAuthFlowsType::AllowRefreshTokenAuth, ExplicitAuthFlowsType::AllowUserSrpAuth);
    assert_eq!(update(true), (vec![srp], Some(FeatureType::Enabled)));
    assert_eq!(update(false), (vec![refresh], Some(FeatureType::Disabled)));
}

#[test]
fn a_default_redirect_that_is_no_longer_allowed_is_dropped() {
    let spec = InteractiveSpec { callback_urls: ["https://example.com".to_owned()].into_iter().collect(), ..spec() };
    let request = update_of(cognito_client().update_user_pool_client(), seen(), &spec);
    assert_eq!(request.as_input().clone().build().expect("a request").default_redirect_uri(), None);
}

#[test]
fn only_what_has_no_secret_one_flow_and_no_way_past_the_sign_in_is_for_people() {
    let client = |flows: &[OAuthFlowType], ways: &[ExplicitAuthFlowsType], providers: &[&str]| {
        let units = TokenValidityUnitsType::builder().refresh_token(TimeUnitsType::Days).build();
        let providers = providers.iter().map(|provider| (*provider).to_owned()).collect();
        UserPoolClientType::builder()
            .set_allowed_o_auth_flows(Some(flows.to_vec()))
            .set_explicit_auth_flows(Some(ways.to_vec()))
            .set_supported_identity_providers(Some(providers))
            .allowed_o_auth_flows_user_pool_client(true)
            .refresh_token_validity(2)
            .token_validity_units(units)
            .build()
    };
    let (code, implicit) = (OAuthFlowType::Code, OAuthFlowType::Implicit);
    let (refresh, srp) = (ExplicitAuthFlowsType::AllowRefreshTokenAuth, ExplicitAuthFlowsType::AllowUserSrpAuth);
    let right = client(std::slice::from_ref(&code), std::slice::from_ref(&refresh), &["kw-0123"]);
    assert!(seen_of(&right, false).is_interactive);
    assert_eq!(seen_of(&right, false).spec.refresh_token_validity, Duration::from_secs(2 * 86_400));
    assert!(!seen_of(&right, true).is_interactive, "it has a secret");
    let mut off = right;
    off.allowed_o_auth_flows_user_pool_client = Some(false);
    assert!(!seen_of(&off, false).is_interactive, "its flows are off");
    assert!(!seen_of(&client(&[code.clone(), implicit], std::slice::from_ref(&refresh), &[]), false).is_interactive);
    assert!(!seen_of(&client(std::slice::from_ref(&code), &[], &[]), false).is_interactive, "three flows by default");
    let both = [refresh, srp];
    assert!(!seen_of(&client(std::slice::from_ref(&code), &both, &["kw-0123"]), false).is_interactive, "past it");
    let native = seen_of(&client(&[code], &both, &["COGNITO", "kw-0123"]), false);
    assert!(native.is_interactive && native.spec.native_accounts);
    assert_eq!(native.spec.providers, ["kw-0123".to_owned()].into_iter().collect());
}

#[test]
fn what_cognito_would_refuse_of_a_sign_in_is_not_asked_of_it() {
    let right = spec();
    let asking = asking("create an app client");
    let urls = |count: usize| (0..count).map(|n| format!("https://{n}.example.com")).collect();
    let scopes = |count: usize| {
        let scopes: Vec<_> = (0..count).map(|n| format!("orders/{n}")).collect();
        ScopeSet::parse("scopes", &scopes).expect("scopes")
    };
    let (second, fraction) = (Duration::from_secs(1), Duration::from_millis(1));
    let (hour, decade) = (Duration::from_secs(3_600), 3_650 * Duration::from_secs(86_400));
    for spec in [
        InteractiveSpec { scopes: scopes(49), ..right.clone() },
        InteractiveSpec { scopes: ScopeSet::default(), ..right.clone() },
        InteractiveSpec { callback_urls: urls(100), sign_out_urls: urls(100), ..right.clone() },
        InteractiveSpec { sign_out_urls: urls(0), refresh_token_validity: hour, ..right.clone() },
        InteractiveSpec { refresh_token_validity: decade, ..right.clone() },
    ] {
        assert!(check(asking, &spec).is_ok(), "{spec:?}");
    }
    let none = Default::default();
    for spec in [
        InteractiveSpec { scopes: scopes(50), ..right.clone() },
        InteractiveSpec { scopes: ScopeSet::default(), standard_scopes: none, ..right.clone() },
        InteractiveSpec { callback_urls: urls(0), ..right.clone() },
        InteractiveSpec { callback_urls: urls(101), ..right.clone() },
        InteractiveSpec { sign_out_urls: urls(101), ..right.clone() },
        InteractiveSpec { access_token_validity: Duration::from_secs(299), ..right.clone() },
        InteractiveSpec { id_token_validity: Duration::from_secs(86_401), ..right.clone() },
        InteractiveSpec { refresh_token_validity: hour - second, ..right.clone() },
        InteractiveSpec { refresh_token_validity: hour + fraction, ..right.clone() },
        InteractiveSpec { refresh_token_validity: decade + second, ..right },
    ] {
        assert!(check(asking, &spec).is_err_and(|error| error.is(Fault::Refused)), "{spec:?}");
    }
}

#[test]
fn how_long_tokens_live_is_in_the_unit_that_is_named_or_in_cognitos_own() {
    let seen = |number: i32, unit: Option<TimeUnitsType>| {
        let units = TokenValidityUnitsType::builder()
            .set_access_token(unit.clone())
            .set_id_token(unit.clone())
            .set_refresh_token(unit)
            .build();
        let client = UserPoolClientType::builder()
            .access_token_validity(number)
            .id_token_validity(number)
            .refresh_token_validity(number)
            .token_validity_units(units);
        let spec = seen_of(&client.build(), false).spec;
        [spec.access_token_validity, spec.id_token_validity, spec.refresh_token_validity].map(|life| life.as_secs())
    };
    for (unit, lasts) in [
        (TimeUnitsType::Seconds, 1),
        (TimeUnitsType::Minutes, 60),
        (TimeUnitsType::Hours, 3_600),
        (TimeUnitsType::Days, 86_400),
    ] {
        assert_eq!(seen(7, Some(unit.clone())), [7 * lasts; 3], "{unit}");
    }
    assert_eq!(seen(7, None), [7 * 3_600, 7 * 3_600, 7 * 86_400]);
    // Where none is said: an hour, an hour, thirty days.
    let defaults = [3_600, 3_600, 30 * 86_400];
    assert_eq!(seen(0, None), defaults);
    let spec = seen_of(&UserPoolClientType::builder().build(), false).spec;
    assert_eq!((spec.access_token_validity.as_secs(), spec.id_token_validity.as_secs()), (defaults[0], defaults[1]));
}

#[test]
fn cognitos_own_scopes_are_told_from_those_of_resource_servers() {
    let client = UserPoolClientType::builder();
    let client = ["orders/read", "openid", "orders/openid", "aws.cognito.signin.user.admin"]
        .iter()
        .fold(client, |client, scope| client.allowed_o_auth_scopes(*scope));
    let spec = seen_of(&client.build(), false).spec;
    assert_eq!(spec.scopes, ScopeSet::parse("scopes", &["orders/read", "orders/openid"]).expect("scopes"));
    assert_eq!(spec.standard_scopes, [StandardScope::OpenId, StandardScope::UserAdmin].into_iter().collect());
}
