//! Second factors and passwords of a tenant's own pool, as Cognito is told them.

use std::time::Duration;

use aws_sdk_cognitoidentityprovider::operation::get_user_pool_mfa_config::GetUserPoolMfaConfigOutput;
use aws_sdk_cognitoidentityprovider::types::{
    EmailSendingAccountType, SmsConfigurationType, SmsMfaConfigType, SoftwareTokenMfaConfigType, UserPoolMfaType,
    UserPoolType,
};
use keyward::aws::Messages;
use keyward::proto::{self, MfaFactor};
use serde_json::json;

use crate::fake::signing::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use crate::fake::{OTHER_REGION, REGION};
use crate::harness::on_aws::AwsStage;
use crate::harness::{assert_invalid, mask, new_tenant_with_pool};
use crate::peers::Sdk;

const ROLE: &str = "arn:aws:iam::123456789012:role/keyward-sms";
const IDENTITY: &str = "arn:aws:ses:{region}:123456789012:identity/login@example.com";

async fn stage() -> AwsStage {
    let messages = Messages {
        sms_role: ROLE.to_owned(),
        sms_external_id: "keyward".to_owned(),
        email_identity: IDENTITY.to_owned(),
    };
    AwsStage::set_with(|_| {}, |options| options.messages = messages).await
}

fn settings(region: &str, mode: proto::MfaMode, factors: &[MfaFactor]) -> proto::UserPoolSettings {
    proto::UserPoolSettings {
        region: region.to_owned(),
        mfa_mode: mode.into(),
        mfa_factors: factors.iter().map(|factor| (*factor).into()).collect(),
        ..Default::default()
    }
}

async fn change(stage: &AwsStage, settings: proto::UserPoolSettings) {
    let tenant = proto::Tenant { name: "tenants/acme".to_owned(), user_pool: Some(settings), ..Default::default() };
    let update_mask = mask(&["user_pool"]);
    let request = proto::UpdateTenantRequest { tenant: Some(tenant), update_mask, ..Default::default() };
    stage.daemon.tenants().update_tenant(request).await.expect("updated");
}

/// The one pool that there is.
async fn seen(stage: &AwsStage, sdk: &Sdk) -> (UserPoolType, GetUserPoolMfaConfigOutput) {
    // It asks under the quotas of the broker, which come anew each second.
    stage.clock.advance(Duration::from_secs(2));
    let pools = sdk.cognito.list_user_pools().max_results(60).send().await.expect("listed");
    let id = pools.user_pools()[0].id().expect("an id").to_owned();
    let pool = sdk.cognito.describe_user_pool().user_pool_id(&id).send().await.expect("described");
    let mfa = sdk.cognito.get_user_pool_mfa_config().user_pool_id(&id).send().await.expect("read");
    (pool.user_pool.expect("a pool"), mfa)
}

fn factors(mfa: &GetUserPoolMfaConfigOutput) -> (Option<&UserPoolMfaType>, [bool; 3]) {
    let has_totp = mfa.software_token_mfa_configuration().is_some_and(SoftwareTokenMfaConfigType::enabled);
    let has_sms = mfa.sms_mfa_configuration().is_some();
    (mfa.mfa_configuration(), [has_totp, has_sms, mfa.email_mfa_configuration().is_some()])
}

#[tokio::test]
async fn every_factor_is_in_force_from_the_beginning_and_after_every_change() {
    use MfaFactor::{Email, Sms, Totp};
    use proto::MfaMode::{Off, Optional, Required};
    let stage = stage().await;
    let sdk = Sdk::new(&stage.fake.endpoint(), OTHER_REGION, ACCESS_KEY_ID, SECRET_ACCESS_KEY);
    let all = settings(OTHER_REGION, Required, &[Totp, Sms, Email]);
    stage.daemon.tenants().create_tenant(new_tenant_with_pool("acme", all)).await.expect("created");
    let (pool, mfa) = seen(&stage, &sdk).await;
    assert_eq!(factors(&mfa), (Some(&UserPoolMfaType::On), [true; 3]));
    let sms = mfa.sms_mfa_configuration().and_then(|sms| sms.sms_configuration()).expect("how they are sent");
    assert_eq!((sms.sns_caller_arn(), sms.external_id()), (ROLE, Some("keyward")));
    let email = pool.email_configuration().expect("where email comes from");
    assert_eq!(email.email_sending_account(), Some(&EmailSendingAccountType::Developer));
    assert_eq!(email.source_arn(), Some(IDENTITY.replace("{region}", OTHER_REGION).as_str()), "in the pool's Region");

    let lite = |mut settings: proto::UserPoolSettings| {
        settings.feature_plan = proto::FeaturePlan::Lite.into();
        settings
    };
    for (wanted, mode, there) in [
        // Lite has no codes by email: they go first.
        (lite(settings("", Optional, &[Sms])), UserPoolMfaType::Optional, [false, true, false]),
        (settings("", Optional, &[Email]), UserPoolMfaType::Optional, [false, false, true]),
        (settings("", Required, &[]), UserPoolMfaType::On, [true, false, false]),
        (settings("", Optional, &[]), UserPoolMfaType::Optional, [true, false, false]),
        (settings("", Off, &[]), UserPoolMfaType::Off, [false; 3]),
        (lite(settings("", Required, &[Totp, Sms])), UserPoolMfaType::On, [true, true, false]),
    ] {
        change(&stage, wanted.clone()).await;
        let (_, mfa) = seen(&stage, &sdk).await;
        assert_eq!(factors(&mfa), (Some(&mode), there), "{wanted:?}");
        let request = proto::ReconcileTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
        let found = stage.daemon.tenants().reconcile_tenant(request).await.expect("reconciled").into_inner();
        assert_eq!(found.drifts, [], "{wanted:?}");
    }
    stage.strike().await;
}

#[tokio::test]
async fn a_factor_that_was_changed_by_hand_is_told_and_put_back() {
    let stage = stage().await;
    let sdk = Sdk::new(&stage.fake.endpoint(), REGION, ACCESS_KEY_ID, SECRET_ACCESS_KEY);
    let wanted = settings("", proto::MfaMode::Required, &[MfaFactor::Sms]);
    stage.daemon.tenants().create_tenant(new_tenant_with_pool("acme", wanted)).await.expect("created");
    let (pool, mfa) = seen(&stage, &sdk).await;
    let by_hand = sdk.cognito.set_user_pool_mfa_config().user_pool_id(pool.id().expect("an id"));
    let by_hand = by_hand.mfa_configuration(UserPoolMfaType::On).set_sms_mfa_configuration(mfa.sms_mfa_configuration);
    let totp = SoftwareTokenMfaConfigType::builder().enabled(true).build();
    by_hand.software_token_mfa_configuration(totp).send().await.expect("set");
    for mend in [false, true] {
        let request = proto::ReconcileTenantRequest { name: "tenants/acme".to_owned(), mend, ..Default::default() };
        let found = stage.daemon.tenants().reconcile_tenant(request).await.expect("reconciled").into_inner();
        let fields: Vec<_> = found.drifts.iter().map(|drift| (drift.field.as_str(), drift.mended)).collect();
        assert_eq!(fields, [("user_pool.mfa_factors", mend)]);
    }
    let (_, mfa) = seen(&stage, &sdk).await;
    assert_eq!(factors(&mfa), (Some(&UserPoolMfaType::On), [false, true, false]));
    stage.strike().await;
}

#[tokio::test]
async fn how_messages_are_sent_stays_as_others_have_set_it_but_for_the_role_and_the_identity() {
    let stage = stage().await;
    let sdk = Sdk::new(&stage.fake.endpoint(), REGION, ACCESS_KEY_ID, SECRET_ACCESS_KEY);
    let both = settings("", proto::MfaMode::Required, &[MfaFactor::Sms, MfaFactor::Email]);
    stage.daemon.tenants().create_tenant(new_tenant_with_pool("acme", both)).await.expect("created");
    let (pool, mfa) = seen(&stage, &sdk).await;
    let id = pool.id().expect("an id");
    let identity = IDENTITY.replace("{region}", REGION);
    let mut email = json!({
        "SourceArn": identity,
        "EmailSendingAccount": "DEVELOPER",
        "From": "Acme <login@example.com>",
        "ReplyToEmailAddress": "help@example.com",
        "ConfigurationSet": "told",
    });
    stage.fake.set_pool(id, "EmailConfiguration", email.clone());
    let sms = mfa.sms_mfa_configuration.and_then(|sms| sms.sms_configuration).expect("how they are sent");
    let by_hand = |sms: SmsConfigurationType| SmsMfaConfigType::builder().sms_configuration(sms).build();
    let mut elsewhere = sms;
    elsewhere.sns_region = Some("eu-west-1".to_owned());
    let change_by_hand = sdk.cognito.set_user_pool_mfa_config().user_pool_id(id);
    let change_by_hand = change_by_hand.mfa_configuration(UserPoolMfaType::On);
    let change_by_hand = change_by_hand.set_email_mfa_configuration(mfa.email_mfa_configuration);
    change_by_hand.sms_mfa_configuration(by_hand(elsewhere.clone())).send().await.expect("set");

    let more = settings("", proto::MfaMode::Required, &[MfaFactor::Totp, MfaFactor::Sms, MfaFactor::Email]);
    change(&stage, more.clone()).await;
    assert_eq!(stage.fake.pool_setting(id, "EmailConfiguration"), email);
    let (_, mfa) = seen(&stage, &sdk).await;
    assert_eq!(factors(&mfa), (Some(&UserPoolMfaType::On), [true; 3]));
    let sends = mfa.sms_mfa_configuration.and_then(|sms| sms.sms_configuration);
    assert_eq!(sends.as_ref(), Some(&elsewhere));

    // Where they come from is Keyward's to say. A sender that belongs to another identity does not stay with this one.
    email["SourceArn"] = json!("arn:aws:ses:eu-central-1:123456789012:identity/other.example.com");
    stage.fake.set_pool(id, "EmailConfiguration", email.clone());
    change(&stage, settings("", proto::MfaMode::Optional, &[MfaFactor::Email])).await;
    email["SourceArn"] = json!(identity);
    email.as_object_mut().expect("an object").remove("From");
    assert_eq!(stage.fake.pool_setting(id, "EmailConfiguration"), email);

    // What the pool itself says of text messages counts where none was a factor before.
    change(&stage, more).await;
    let (_, mfa) = seen(&stage, &sdk).await;
    let sends = mfa.sms_mfa_configuration.and_then(|sms| sms.sms_configuration);
    assert_eq!(sends, Some(elsewhere));
    stage.strike().await;
}

#[tokio::test]
async fn a_factor_that_the_account_is_not_set_up_for_is_refused_before_anything_is_begun() {
    let stage = AwsStage::set().await;
    stage.fake.forget_calls();
    for factor in [MfaFactor::Sms, MfaFactor::Email] {
        let wanted = settings("", proto::MfaMode::Optional, &[MfaFactor::Totp, factor]);
        let refused = stage.daemon.tenants().create_tenant(new_tenant_with_pool("acme", wanted)).await;
        let message = refused.as_ref().expect_err("refused").message().to_owned();
        assert!(message.contains("aws."), "it says which setting of the broker: {message}");
        assert_invalid(refused, "FIELD_INVALID", "tenant.user_pool.mfa_factors");
    }
    assert_eq!(stage.fake.calls(), []);
    stage.strike().await;
}

#[tokio::test]
async fn passwords_are_as_the_tenant_says_and_as_cognito_has_them_where_it_says_nothing() {
    let stage = AwsStage::set().await;
    let sdk = Sdk::new(&stage.fake.endpoint(), REGION, ACCESS_KEY_ID, SECRET_ACCESS_KEY);
    let policy = |days: Option<i64>, history_size| {
        let temporary_password_validity = days.map(|days| prost_types::Duration { seconds: days * 86_400, nanos: 0 });
        let policy = proto::PasswordPolicy { temporary_password_validity, history_size, ..Default::default() };
        proto::UserPoolSettings { password_policy: Some(policy), ..Default::default() }
    };
    let request = new_tenant_with_pool("acme", policy(Some(30), 24));
    stage.daemon.tenants().create_tenant(request).await.expect("created");
    let read = async || {
        let (pool, _) = seen(&stage, &sdk).await;
        let passwords = pool.policies.and_then(|policies| policies.password_policy).expect("a policy");
        (passwords.temporary_password_validity_days, passwords.password_history_size.unwrap_or(0))
    };
    assert_eq!(read().await, (30, 24));
    change(&stage, policy(Some(1), 1)).await;
    assert_eq!(read().await, (1, 1));
    change(&stage, policy(None, 0)).await;
    assert_eq!(read().await, (7, 0));
    stage.strike().await;
}
