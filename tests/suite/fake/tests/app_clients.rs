//! App clients and their secrets.

use std::collections::BTreeSet;

use aws_sdk_cognitoidentityprovider::types::{
    ExplicitAuthFlowsType, OAuthFlowType, TimeUnitsType, TokenValidityUnitsType,
};

use super::{SECOND, SECOND_VALUE, Stage, VALUE, machine, put_api};
use crate::fake::Ceilings;
use crate::peers::refusal;

#[tokio::test]
async fn an_app_client_is_as_it_was_asked_for_and_an_update_resets_what_it_does_not_give() {
    let stage = Stage::set().await;
    let cognito = &stage.sdk.cognito;
    let pool = stage.pool().await;
    put_api(&stage.sdk, &pool).await;
    let units = TokenValidityUnitsType::builder().access_token(TimeUnitsType::Minutes).build();
    let made = machine(&stage.sdk, &pool, "orders").client_secret(VALUE).access_token_validity(10);
    let made = made.token_validity_units(units).send().await.expect("made").user_pool_client.expect("an app client");
    let id = made.client_id().expect("an id");
    let seen = cognito.describe_user_pool_client().user_pool_id(&pool).client_id(id).send().await.expect("described");
    let seen = seen.user_pool_client.expect("an app client");
    assert_eq!(seen.client_name(), Some("orders"));
    assert_eq!(seen.access_token_validity(), Some(10));
    assert_eq!(seen.allowed_o_auth_scopes(), ["orders/read", "orders/write"]);
    assert_eq!(seen.client_secret(), Some(VALUE), "with one secret the value is described");

    let update = || cognito.update_user_pool_client().user_pool_id(&pool).client_id(id);
    let seen = update().send().await.expect("updated").user_pool_client.expect("an app client");
    assert_eq!(seen.client_name(), Some("orders"));
    assert_eq!(seen.access_token_validity(), None);
    assert_eq!(seen.allowed_o_auth_flows_user_pool_client(), Some(false));
    assert!(seen.allowed_o_auth_flows().is_empty() && seen.allowed_o_auth_scopes().is_empty());
    let half = update().allowed_o_auth_flows(OAuthFlowType::ClientCredentials).send().await;
    assert_eq!(refusal(half), "InvalidParameterException");

    let delete = || cognito.delete_user_pool_client().user_pool_id(&pool).client_id(id).send();
    delete().await.expect("deleted");
    assert_eq!(refusal(delete().await), "ResourceNotFoundException");
    let gone = cognito.describe_user_pool_client().user_pool_id(&pool).client_id(id).send().await;
    assert_eq!(refusal(gone), "ResourceNotFoundException");
}

#[tokio::test]
async fn client_credentials_have_rules_of_their_own() {
    let stage = Stage::set().await;
    let pool = stage.pool().await;
    put_api(&stage.sdk, &pool).await;
    let machine = || machine(&stage.sdk, &pool, "orders");
    assert_eq!(refusal(machine().send().await), "InvalidOAuthFlowException", "it has no secret");
    let both = machine().client_secret(VALUE).generate_secret(true).send().await;
    assert_eq!(refusal(both), "InvalidParameterException");
    let flows = machine().client_secret(VALUE).allowed_o_auth_flows(OAuthFlowType::Code).send().await;
    assert_eq!(refusal(flows), "InvalidOAuthFlowException");
    let unknown = machine().client_secret(VALUE).allowed_o_auth_scopes("orders/none").send().await;
    assert_eq!(refusal(unknown), "ScopeDoesNotExistException");
    let openid = machine().client_secret(VALUE).allowed_o_auth_scopes("openid").send().await;
    assert_eq!(refusal(openid), "InvalidOAuthFlowException");
    let flow = |name: &str| ExplicitAuthFlowsType::from(name);
    let mixed = machine().client_secret(VALUE).explicit_auth_flows(flow("ALLOW_CLIENT_TOKEN_AUTH"));
    let mixed = mixed.explicit_auth_flows(flow("ALLOW_USER_SRP_AUTH")).send().await;
    assert_eq!(refusal(mixed), "InvalidParameterException");
    for (number, unit) in [(299, TimeUnitsType::Seconds), (25, TimeUnitsType::Hours), (4, TimeUnitsType::Minutes)] {
        let units = TokenValidityUnitsType::builder().access_token(unit).build();
        let made = machine().client_secret(VALUE).access_token_validity(number).token_validity_units(units);
        assert_eq!(refusal(made.send().await), "InvalidParameterException", "{number}");
    }
    assert_eq!(stage.fake.inventory().app_clients, []);
}

#[tokio::test]
async fn app_clients_are_listed_in_pages_names_are_not_unique_and_there_is_a_ceiling() {
    let stage = Stage::set().await;
    stage.fake.set_ceilings(Ceilings { app_clients: 5, ..Ceilings::default() });
    let pool = stage.pool().await;
    put_api(&stage.sdk, &pool).await;
    for _ in 0..5 {
        machine(&stage.sdk, &pool, "same").client_secret(VALUE).send().await.expect("made");
    }
    let another = machine(&stage.sdk, &pool, "same").client_secret(VALUE).send().await;
    assert_eq!(refusal(another), "LimitExceededException");
    let list = stage.sdk.cognito.list_user_pool_clients().user_pool_id(&pool).max_results(2);
    let listed: Vec<_> = list.into_paginator().items().send().collect::<Result<_, _>>().await.expect("listed");
    let ids: BTreeSet<_> = listed.iter().filter_map(|client| client.client_id()).collect();
    assert_eq!((listed.len(), ids.len()), (5, 5));
}

#[tokio::test]
async fn an_app_client_has_one_or_two_secrets_told_apart_by_id_and_never_shown() {
    let stage = Stage::set().await;
    let cognito = &stage.sdk.cognito;
    let (pool, client) = stage.client().await;
    let list = || async {
        let listed = cognito.list_user_pool_client_secrets().user_pool_id(&pool).client_id(&client).send().await;
        let listed = listed.expect("listed").client_secrets.expect("secrets");
        assert!(listed.iter().all(|secret| secret.client_secret_value().is_none()));
        listed.iter().filter_map(|secret| secret.client_secret_id().map(str::to_owned)).collect::<Vec<_>>()
    };
    let add = || cognito.add_user_pool_client_secret().user_pool_id(&pool).client_id(&client);
    let delete = |id: &str| {
        cognito.delete_user_pool_client_secret().user_pool_id(&pool).client_id(&client).client_secret_id(id).send()
    };
    let first = format!("{client}--1767225600");
    assert_eq!(list().await, [first.as_str()]);
    assert_eq!(refusal(delete(&first).await), "InvalidParameterException", "it is the last one");

    stage.clock.advance(60 * SECOND);
    let added = add().client_secret(SECOND_VALUE).send().await.expect("added");
    let added = added.client_secret_descriptor.expect("a descriptor");
    let second = format!("{client}--1767225660");
    assert_eq!(added.client_secret_id(), Some(second.as_str()));
    assert_eq!(added.client_secret_value(), None, "it is ours");
    assert_eq!(list().await, [first.as_str(), second.as_str()]);
    assert_eq!(refusal(add().client_secret(SECOND_VALUE).send().await), "LimitExceededException");
    let seen = cognito.describe_user_pool_client().user_pool_id(&pool).client_id(&client).send().await;
    assert_eq!(seen.expect("described").user_pool_client.expect("an app client").client_secret(), None);

    delete(&first).await.expect("deleted");
    assert_eq!(refusal(delete(&first).await), "ResourceNotFoundException");
    let generated = add().send().await.expect("added").client_secret_descriptor.expect("a descriptor");
    assert!(generated.client_secret_value().is_some_and(|value| (24..=64).contains(&value.len())));
    let third = generated.client_secret_id().expect("an id");
    assert_eq!(list().await, [second.as_str(), third], "two ids of one second differ");
    assert!(third.starts_with(&format!("{client}--")));
}
