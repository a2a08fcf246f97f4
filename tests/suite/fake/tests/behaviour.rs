//! Faults on command.

use std::time::Duration;

use aws_sdk_cognitoidentityprovider::error::{ProvideErrorMetadata, SdkError};
use serde_json::json;

use super::{SECOND_VALUE, Stage, VALUE, pool};
use crate::fake::{After, Fault, Outcome};
use crate::peers::refusal;

#[tokio::test]
async fn a_fault_comes_after_so_many_calls_of_its_operation_so_many_times() {
    let stage = Stage::set().await;
    let fault = After::calls(1).of("ListUserPools").times(2);
    stage.fake.fail(fault, Fault::Error("InternalErrorException"));
    let list = || stage.sdk.cognito.list_user_pools().max_results(1).send();
    list().await.expect("the first goes well");
    stage.pool().await;
    let error = list().await.expect_err("the second");
    assert_eq!(error.raw_response().map(|answer| answer.status().as_u16()), Some(500));
    assert_eq!(error.code(), Some("InternalErrorException"));
    assert_eq!(refusal(list().await), "InternalErrorException");
    list().await.expect("it is over");

    stage.fake.fail(After::calls(0).for_ever(), Fault::Status(503));
    for _ in 0..3 {
        let error = list().await.expect_err("no service");
        assert_eq!(error.raw_response().map(|answer| answer.status().as_u16()), Some(503));
    }
    stage.fake.heal();
    list().await.expect("healed");
}

#[tokio::test]
async fn throttling_is_said_as_each_endpoint_says_it() {
    let stage = Stage::set().await;
    let (pool, client) = stage.client().await;
    stage.fake.fail(After::calls(0).times(4), Fault::Throttled);
    let list = stage.sdk.cognito.list_user_pools().max_results(1).send().await;
    assert_eq!(refusal(list), "TooManyRequestsException");
    let domain = stage.sdk.cognito.create_user_pool_domain().user_pool_id(&pool).domain("more").send().await;
    assert_eq!(refusal(domain), "ThrottlingException", "the operation has no error of its own for it");
    assert_eq!(refusal(stage.sdk.secrets.list_secrets().send().await), "ThrottlingException");
    assert_eq!(stage.token(&client, VALUE, "").await.0, 429);
    stage.fake.fail(After::calls(0), Fault::RateExceeded);
    assert_eq!(stage.token(&client, VALUE, "").await, (400, json!({ "error": "Rate exceeded" })));
}

#[tokio::test]
async fn an_answer_can_be_lost_reset_or_torn_after_the_effect() {
    let stage = Stage::set().await;
    for (number, fault) in [Fault::LostAnswer, Fault::ResetAfter, Fault::TornBody].into_iter().enumerate() {
        stage.fake.fail(After::calls(0).of("CreateUserPool"), fault);
        let lost = stage.sdk.cognito.create_user_pool().pool_name("acme").send().await.expect_err("no answer");
        assert!(matches!(lost, SdkError::DispatchFailure(_) | SdkError::ResponseError(_)), "{fault:?}: {lost:?}");
        assert_eq!(stage.fake.inventory().user_pools.len(), number + 1, "{fault:?}");
        assert_eq!(stage.fake.calls().last().expect("a call").outcome, Outcome::DoneUnheard);
    }
}

#[tokio::test]
async fn a_torn_body_is_half_an_answer_and_a_reset_is_a_reset() {
    let stage = Stage::set().await;
    let (_, client) = stage.client().await;
    let url = format!("{}/oauth2/token", stage.fake.endpoint());
    let form = format!("grant_type=client_credentials&client_id={client}&client_secret={VALUE}");
    let post = || {
        let request = super::http().post(&url).header("content-type", "application/x-www-form-urlencoded");
        request.body(form.clone()).send()
    };
    stage.fake.fail(After::calls(0), Fault::TornBody);
    let mut torn = post().await.expect("its head is whole");
    assert_eq!(torn.status().as_u16(), 200);
    let announced = torn.content_length().expect("a length") as usize;
    let first = torn.chunk().await.expect("half of it").expect("bytes");
    assert_eq!(first.len(), announced / 2);
    torn.chunk().await.expect_err("the rest is not there");

    stage.fake.fail(After::calls(0), Fault::ResetBefore);
    let mut cause: Option<&dyn std::error::Error> = Some(&post().await.expect_err("a reset"));
    let mut kinds = Vec::new();
    while let Some(error) = cause {
        kinds.extend(error.downcast_ref::<std::io::Error>().map(std::io::Error::kind));
        cause = error.source();
    }
    assert!(kinds.contains(&std::io::ErrorKind::ConnectionReset), "{kinds:?}");
}

#[tokio::test]
async fn nothing_is_done_before_a_reset_and_the_next_call_is_well() {
    let stage = Stage::set().await;
    stage.fake.fail(After::calls(0), Fault::ResetBefore);
    let lost = stage.sdk.cognito.create_user_pool().pool_name("acme").send().await.expect_err("no answer");
    assert!(matches!(lost, SdkError::DispatchFailure(_)), "{lost:?}");
    assert_eq!(stage.fake.inventory().user_pools, []);
    assert_eq!(stage.fake.calls()[0].outcome, Outcome::Faulted);
    pool(&stage.sdk, "acme").await;
}

#[tokio::test]
async fn a_call_hangs_until_it_is_released_and_one_that_was_given_up_has_no_effect() {
    let stage = Stage::set().await;
    stage.fake.fail(After::calls(0).times(2), Fault::Hang);
    let create = stage.sdk.cognito.create_user_pool().pool_name("given up");
    let given_up = tokio::spawn(create.send());
    stage.fake.wait_for_hanging(1).await;
    given_up.abort();
    assert!(given_up.await.expect_err("aborted").is_cancelled());

    let patient = tokio::spawn(stage.sdk.cognito.create_user_pool().pool_name("patient").send());
    wait_for_calls(&stage, 2).await;
    stage.fake.wait_for_hanging(1).await;
    assert_eq!(stage.fake.inventory().user_pools, []);
    stage.fake.release();
    patient.await.expect("not aborted").expect("made");
    let names: Vec<_> = stage.fake.inventory().user_pools.into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["patient"]);
}

#[tokio::test]
async fn a_call_can_hang_after_its_effect() {
    let stage = Stage::set().await;
    let (pool, client) = stage.client().await;
    stage.fake.fail(After::calls(0), Fault::HangAfter);
    let add = stage.sdk.cognito.add_user_pool_client_secret().user_pool_id(&pool).client_id(&client);
    let hanging = tokio::spawn(add.client_secret(SECOND_VALUE).send());
    stage.fake.wait_for_hanging(1).await;
    assert_eq!(stage.fake.inventory().app_clients[0].secrets, [VALUE, SECOND_VALUE]);
    stage.fake.release();
    hanging.await.expect("not aborted").expect("added");
}

#[tokio::test]
async fn the_log_says_what_was_called_where_when_and_how_it_ended() {
    let stage = Stage::set().await;
    let (pool, client) = stage.client().await;
    stage.fake.forget_calls();
    stage.clock.advance(Duration::from_secs(7));
    stage.token(&client, "wrong", "").await;
    stage.sdk.cognito.describe_user_pool().user_pool_id(&pool).send().await.expect("described");
    let calls = stage.fake.calls();
    let told: Vec<_> =
        calls.iter().map(|call| (call.action.as_str(), call.region.as_str(), call.pool.as_deref())).collect();
    let region = crate::fake::REGION;
    let expected = [("oauth2:Token", region, Some(&*pool)), ("cognito-idp:DescribeUserPool", region, Some(&*pool))];
    assert_eq!(told, expected);
    assert_eq!(calls[0].outcome, Outcome::Refused("invalid_client".to_owned()));
    assert_eq!((&calls[1].outcome, calls[1].time), (&Outcome::Done, super::start_time() + Duration::from_secs(7)));
}

/// The log has no other sign than itself.
async fn wait_for_calls(stage: &Stage, count: usize) {
    while stage.fake.calls().len() < count {
        tokio::task::yield_now().await;
    }
}
