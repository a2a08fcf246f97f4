//! AWS's quotas, by the clock.

use super::{SECOND, Stage, VALUE, pool, sdk_in};
use crate::fake::{OTHER_REGION, Outcome};
use crate::peers::refusal;

#[tokio::test]
async fn a_category_has_its_calls_a_second_and_every_region_its_own() {
    let stage = Stage::set().await;
    stage.fake.enforce_quotas();
    let list = |sdk: &crate::peers::Sdk| sdk.cognito.list_user_pools().max_results(1).send();
    for _ in 0..15 {
        list(&stage.sdk).await.expect("within the quota");
    }
    assert_eq!(refusal(list(&stage.sdk).await), "TooManyRequestsException");
    assert_eq!(stage.fake.calls().last().expect("a call").outcome, Outcome::Throttled);
    list(&sdk_in(&stage.fake, OTHER_REGION)).await.expect("another Region");
    pool(&stage.sdk, "another category").await;

    stage.clock.advance(SECOND / 15 - SECOND / 1_000);
    assert_eq!(refusal(list(&stage.sdk).await), "TooManyRequestsException", "none has come back yet");
    stage.clock.advance(SECOND / 1_000);
    list(&stage.sdk).await.expect("one has");
    assert_eq!(refusal(list(&stage.sdk).await), "TooManyRequestsException");
    stage.clock.advance(100 * SECOND);
    for _ in 0..15 {
        list(&stage.sdk).await.expect("a bucket holds a second's worth");
    }
    assert_eq!(refusal(list(&stage.sdk).await), "TooManyRequestsException");
    assert_eq!(stage.fake.throttled(), 4);
}

#[tokio::test]
async fn an_operation_has_five_calls_a_second_on_one_pool() {
    let stage = Stage::set().await;
    let (mine, client) = stage.client().await;
    let other = pool(&stage.sdk, "other").await;
    stage.fake.enforce_quotas();
    let list = |pool: &str| stage.sdk.cognito.list_user_pool_clients().user_pool_id(pool).send();
    let secrets = || stage.sdk.cognito.list_user_pool_client_secrets().user_pool_id(&mine).client_id(&client).send();
    for _ in 0..5 {
        list(&mine).await.expect("within the quota");
        secrets().await.expect("within the quota");
    }
    assert_eq!(refusal(list(&mine).await), "TooManyRequestsException");
    assert_eq!(refusal(secrets().await), "TooManyRequestsException");
    list(&other).await.expect("another pool");
}

#[tokio::test]
async fn tokens_have_150_calls_a_second_and_writes_of_secrets_50() {
    let stage = Stage::set().await;
    let (_, client) = stage.client().await;
    stage.fake.enforce_quotas();
    for _ in 0..150 {
        // A refusal costs as much as a token.
        assert_eq!(stage.token(&client, VALUE, "orders/none").await.0, 400);
    }
    assert_eq!(stage.token(&client, VALUE, "").await.0, 429);
    for number in 0..50 {
        let create = stage.sdk.secrets.create_secret().name(format!("secret/{number}"));
        create.send().await.expect("within the quota");
    }
    assert_eq!(refusal(stage.sdk.secrets.create_secret().name("one/more").send().await), "ThrottlingException");
    stage.sdk.secrets.list_secrets().send().await.expect("reads have another");
}
