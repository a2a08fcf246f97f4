//! User pools, MFA, tags, domains, resource servers.

use std::collections::BTreeSet;

use aws_sdk_cognitoidentityprovider::types::{
    CustomDomainConfigType, DeletionProtectionType, EmailConfigurationType, EmailMfaConfigType,
    EmailSendingAccountType, IssuerConfigurationType, IssuerType, PasswordPolicyType, SmsConfigurationType,
    SmsMfaConfigType, SoftwareTokenMfaConfigType, UserPoolMfaType, UserPoolPolicyType, UserPoolTierType,
};

use super::{DAY, Stage, pool, put_api, scope, sdk_in};
use crate::fake::{Ceilings, OTHER_REGION};
use crate::peers::refusal;

#[tokio::test]
async fn a_pool_is_as_it_was_asked_for_and_an_update_resets_what_it_does_not_give() {
    let stage = Stage::set().await;
    let cognito = &stage.sdk.cognito;
    let policy = PasswordPolicyType::builder().minimum_length(14).require_symbols(true).build();
    let made = cognito
        .create_user_pool()
        .pool_name("acme")
        .policies(UserPoolPolicyType::builder().password_policy(policy).build())
        .deletion_protection(DeletionProtectionType::Active)
        .user_pool_tier(UserPoolTierType::Plus)
        .issuer_configuration(IssuerConfigurationType::builder().r#type(IssuerType::Updated).build())
        .user_pool_tags("keyward", "tenant-acme");
    let made = made.send().await.expect("a pool").user_pool.expect("a pool");
    let id = made.id().expect("an id");
    assert!(id.starts_with("eu-central-1_"), "{id}");

    let describe = || async {
        let found = cognito.describe_user_pool().user_pool_id(id).send().await.expect("described");
        found.user_pool.expect("a pool")
    };
    let seen = describe().await;
    let policy = seen.policies().and_then(|policies| policies.password_policy()).expect("a policy");
    assert_eq!((policy.minimum_length(), policy.require_symbols()), (Some(14), true));
    assert_eq!(seen.deletion_protection(), Some(&DeletionProtectionType::Active));
    assert_eq!(seen.user_pool_tier(), Some(&UserPoolTierType::Plus));
    assert_eq!(seen.user_pool_tags().expect("tags")["keyward"], "tenant-acme");

    let deletion = || cognito.delete_user_pool().user_pool_id(id).send();
    assert_eq!(refusal(deletion().await), "InvalidParameterException", "it is protected");
    cognito.update_user_pool().user_pool_id(id).send().await.expect("updated");
    let seen = describe().await;
    assert_eq!(seen.name(), Some("acme"));
    assert_eq!(seen.deletion_protection(), Some(&DeletionProtectionType::Inactive));
    assert_eq!(seen.user_pool_tier(), Some(&UserPoolTierType::Essentials));
    assert!(seen.user_pool_tags().expect("tags").is_empty());
    let policy = seen.policies().and_then(|policies| policies.password_policy()).expect("a policy");
    assert_eq!(policy.minimum_length(), Some(8));

    deletion().await.expect("deleted");
    assert_eq!(refusal(deletion().await), "ResourceNotFoundException");
    assert_eq!(refusal(cognito.describe_user_pool().user_pool_id(id).send().await), "ResourceNotFoundException");
}

#[tokio::test]
async fn a_pool_is_seen_in_its_own_region_only() {
    let stage = Stage::set().await;
    let here = stage.pool().await;
    let there = sdk_in(&stage.fake, OTHER_REGION);
    assert_eq!(
        refusal(there.cognito.describe_user_pool().user_pool_id(&here).send().await),
        "ResourceNotFoundException"
    );
    assert!(pool(&there, "there").await.starts_with("us-east-1_"));
    let listed = stage.sdk.cognito.list_user_pools().max_results(60).send().await.expect("listed");
    assert_eq!(listed.user_pools().len(), 1);
}

#[tokio::test]
async fn pools_are_listed_in_pages_each_once_and_only_so_many_can_be_made() {
    let stage = Stage::set().await;
    stage.fake.set_ceilings(Ceilings { user_pools: 7, ..Ceilings::default() });
    let mut made = BTreeSet::new();
    for number in 0..7 {
        made.insert(pool(&stage.sdk, &format!("pool {number}")).await);
    }
    let another = stage.sdk.cognito.create_user_pool().pool_name("one more").send().await;
    assert_eq!(refusal(another), "LimitExceededException");
    let mut pages = stage.sdk.cognito.list_user_pools().max_results(3).into_paginator().send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.expect("a page");
        sizes.push(page.user_pools().len());
        for pool in page.user_pools() {
            assert!(made.remove(pool.id().expect("an id")), "seen twice");
        }
    }
    assert_eq!((sizes, made.len()), (vec![3, 3, 1], 0));
    let bad = stage.sdk.cognito.list_user_pools().max_results(3).next_token("zz").send().await;
    assert_eq!(refusal(bad), "InvalidParameterException");
}

#[tokio::test]
async fn mfa_needs_a_factor() {
    let stage = Stage::set().await;
    let cognito = &stage.sdk.cognito;
    let direct = cognito.create_user_pool().pool_name("acme").mfa_configuration(UserPoolMfaType::On).send().await;
    assert_eq!(refusal(direct), "InvalidParameterException");
    let id = stage.pool().await;
    let set = |mfa| cognito.set_user_pool_mfa_config().user_pool_id(&id).mfa_configuration(mfa);
    assert_eq!(refusal(set(UserPoolMfaType::On).send().await), "InvalidParameterException");
    let totp = SoftwareTokenMfaConfigType::builder().enabled(true).build();
    let off = set(UserPoolMfaType::Off).software_token_mfa_configuration(totp.clone()).send().await;
    assert_eq!(refusal(off), "InvalidParameterException");
    let on = set(UserPoolMfaType::On).software_token_mfa_configuration(totp);
    on.send().await.expect("set");
    let seen = cognito.get_user_pool_mfa_config().user_pool_id(&id).send().await.expect("read");
    assert_eq!(seen.mfa_configuration(), Some(&UserPoolMfaType::On));
    assert!(seen.software_token_mfa_configuration().expect("TOTP").enabled());
    let kept = cognito.update_user_pool().user_pool_id(&id).mfa_configuration(UserPoolMfaType::Optional);
    kept.send().await.expect("a factor is there");
}

#[tokio::test]
async fn tags_are_put_listed_and_taken_off() {
    let stage = Stage::set().await;
    let cognito = &stage.sdk.cognito;
    let id = stage.pool().await;
    let seen = cognito.describe_user_pool().user_pool_id(&id).send().await.expect("described");
    let arn = seen.user_pool().and_then(|pool| pool.arn()).expect("an ARN").to_owned();
    for (key, value) in [("a", "1"), ("b", "2")] {
        cognito.tag_resource().resource_arn(&arn).tags(key, value).send().await.expect("tagged");
    }
    cognito.untag_resource().resource_arn(&arn).tag_keys("a").send().await.expect("untagged");
    let tags = cognito.list_tags_for_resource().resource_arn(&arn).send().await.expect("listed");
    let tags = tags.tags().expect("tags");
    assert_eq!((tags.len(), tags["b"].as_str()), (1, "2"));
    let reserved = cognito.tag_resource().resource_arn(&arn).tags("aws:x", "1").send().await;
    assert_eq!(refusal(reserved), "InvalidParameterException");
}

#[tokio::test]
async fn a_domain_is_of_one_pool_and_a_pool_with_one_is_not_deleted() {
    let stage = Stage::set().await;
    let cognito = &stage.sdk.cognito;
    let (mine, other) = (stage.pool().await, pool(&stage.sdk, "other").await);
    let create = |pool: &str, domain: &str| cognito.create_user_pool_domain().user_pool_id(pool).domain(domain).send();
    create(&mine, "keyward-a").await.expect("made");
    assert_eq!(refusal(create(&other, "keyward-a").await), "InvalidParameterException", "it is taken");
    assert_eq!(refusal(create(&mine, "keyward-b").await), "InvalidParameterException", "it has one");
    assert_eq!(refusal(create(&other, "my-cognito").await), "InvalidParameterException", "a reserved word");
    let seen = cognito.describe_user_pool_domain().domain("keyward-a").send().await.expect("described");
    assert_eq!(seen.domain_description().and_then(|domain| domain.user_pool_id()), Some(mine.as_str()));
    let nobodys = cognito.describe_user_pool_domain().domain("keyward-z").send().await.expect("described");
    assert_eq!(nobodys.domain_description().and_then(|domain| domain.user_pool_id()), None);

    assert_eq!(refusal(cognito.delete_user_pool().user_pool_id(&mine).send().await), "InvalidParameterException");
    let delete = |pool: &str| cognito.delete_user_pool_domain().user_pool_id(pool).domain("keyward-a").send();
    assert_eq!(refusal(delete(&other).await), "InvalidParameterException");
    delete(&mine).await.expect("deleted");
    cognito.delete_user_pool().user_pool_id(&mine).send().await.expect("deleted");
}

#[tokio::test]
async fn resource_servers_are_made_once_replaced_whole_and_limited() {
    let stage = Stage::set().await;
    let cognito = &stage.sdk.cognito;
    stage.fake.set_ceilings(Ceilings { resource_servers: 2, ..Ceilings::default() });
    let id = stage.pool().await;
    put_api(&stage.sdk, &id).await;
    let create = |identifier: &str| {
        let request = cognito.create_resource_server().user_pool_id(&id).identifier(identifier).name("An API");
        request.scopes(scope("read")).send()
    };
    assert_eq!(refusal(create("orders").await), "InvalidParameterException", "it exists");
    create("https://api.example.com").await.expect("made");
    assert_eq!(refusal(create("third").await), "LimitExceededException");

    let update = || cognito.update_resource_server().user_pool_id(&id).name("Orders 2");
    update().identifier("orders").scopes(scope("admin")).send().await.expect("updated");
    let seen = cognito.describe_resource_server().user_pool_id(&id).identifier("orders").send().await;
    let seen = seen.expect("described").resource_server.expect("a resource server");
    assert_eq!(seen.name(), Some("Orders 2"));
    assert_eq!(seen.scopes().iter().map(|scope| scope.scope_name()).collect::<Vec<_>>(), ["admin"]);
    assert_eq!(refusal(update().identifier("none").send().await), "ResourceNotFoundException");

    let pages = cognito.list_resource_servers().user_pool_id(&id).max_results(1).into_paginator().items();
    let listed: Vec<_> = pages.send().collect::<Result<_, _>>().await.expect("listed");
    assert_eq!(listed.len(), 2);
    let delete = || cognito.delete_resource_server().user_pool_id(&id).identifier("orders").send();
    delete().await.expect("deleted");
    assert_eq!(refusal(delete().await), "ResourceNotFoundException");
}

#[tokio::test]
async fn a_domain_of_ones_own_takes_its_time_to_come_and_to_go() {
    let stage = Stage::set().await;
    let cognito = &stage.sdk.cognito;
    let (mine, other) = (stage.pool().await, pool(&stage.sdk, "other").await);
    let config = |arn: &str| CustomDomainConfigType::builder().certificate_arn(arn).build().expect("a certificate");
    let good = || config("arn:aws:acm:us-east-1:123456789012:certificate/0aa0");
    let create = |pool: &str, domain: &str, config: CustomDomainConfigType| {
        let request = cognito.create_user_pool_domain().user_pool_id(pool).domain(domain);
        request.custom_domain_config(config).send()
    };
    let status = async |domain: &str| {
        let seen = cognito.describe_user_pool_domain().domain(domain).send().await.expect("described");
        seen.domain_description().and_then(|seen| seen.status()).map(|status| status.as_str().to_owned())
    };
    let delete = |pool: &str| cognito.delete_user_pool_domain().user_pool_id(pool).domain("login.example.com").send();

    let elsewhere = config("arn:aws:acm:eu-central-1:123456789012:certificate/0aa0");
    assert_eq!(refusal(create(&mine, "login.example.com", elsewhere).await), "InvalidParameterException");
    assert_eq!(refusal(create(&mine, "example.com", good()).await), "InvalidParameterException", "a top-level domain");
    stage.fake.resolve("example.com", false);
    assert_eq!(refusal(create(&mine, "login.example.com", good()).await), "InvalidParameterException", "no address");
    stage.fake.resolve("example.com", true);
    let made = create(&mine, "login.example.com", good()).await.expect("made");
    assert!(made.cloud_front_domain().is_some_and(|name| name.ends_with(".cloudfront.net")));
    assert_eq!(refusal(create(&other, "login.example.com", good()).await), "InvalidParameterException", "taken");
    assert_eq!(refusal(create(&mine, "auth.example.com", good()).await), "InvalidParameterException", "it has one");
    assert_eq!(status("login.example.com").await.as_deref(), Some("CREATING"));
    assert_eq!(refusal(delete(&mine).await), "InvalidParameterException", "not while it is made");
    stage.clock.advance(DAY);
    assert_eq!(status("login.example.com").await.as_deref(), Some("ACTIVE"));

    let update = cognito.update_user_pool_domain().user_pool_id(&mine).domain("login.example.com");
    update.custom_domain_config(good()).send().await.expect("updated");
    assert_eq!(status("login.example.com").await.as_deref(), Some("UPDATING"));
    stage.clock.advance(DAY);
    delete(&mine).await.expect("deleted");
    assert_eq!(status("login.example.com").await.as_deref(), Some("DELETING"));
    assert_eq!(refusal(cognito.delete_user_pool().user_pool_id(&mine).send().await), "InvalidParameterException");
    stage.clock.advance(DAY);
    assert_eq!(status("login.example.com").await, None);

    stage.fake.set_ceilings(Ceilings { custom_domains: 1, ..Ceilings::default() });
    stage.fake.fail_domain("login.example.com", true);
    create(&mine, "login.example.com", good()).await.expect("made again");
    assert_eq!(refusal(create(&other, "auth.example.com", good()).await), "LimitExceededException");
    stage.clock.advance(DAY);
    assert_eq!(status("login.example.com").await.as_deref(), Some("FAILED"));
}

#[tokio::test]
async fn codes_by_text_and_by_email_need_whom_they_come_from_and_email_a_plan() {
    let stage = Stage::set().await;
    let cognito = &stage.sdk.cognito;
    let id = stage.pool().await;
    let on = || cognito.set_user_pool_mfa_config().user_pool_id(&id).mfa_configuration(UserPoolMfaType::On);
    let sms = SmsMfaConfigType::builder();
    assert_eq!(refusal(on().sms_mfa_configuration(sms.clone().build()).send().await), "InvalidParameterException");
    let sending = SmsConfigurationType::builder().sns_caller_arn("arn:aws:iam::123456789012:role/sms").build();
    on().sms_mfa_configuration(sms.sms_configuration(sending).build()).send().await.expect("set");

    let email = || on().email_mfa_configuration(EmailMfaConfigType::builder().build()).send();
    assert_eq!(refusal(email().await), "InvalidParameterException");
    let from = EmailConfigurationType::builder().email_sending_account(EmailSendingAccountType::Developer);
    let from = from.source_arn("arn:aws:ses:eu-central-1:123456789012:identity/login@example.com").build();
    let update = |plan| cognito.update_user_pool().user_pool_id(&id).user_pool_tier(plan);
    update(UserPoolTierType::Lite).email_configuration(from.clone()).send().await.expect("updated");
    assert_eq!(refusal(email().await), "FeatureUnavailableInTierException");
    update(UserPoolTierType::Plus).email_configuration(from.clone()).send().await.expect("updated");
    email().await.expect("set");
    let lite = update(UserPoolTierType::Lite).email_configuration(from).send().await;
    assert_eq!(refusal(lite), "FeatureUnavailableInTierException", "a factor that it does not have is in force");
    let history = PasswordPolicyType::builder().password_history_size(1).build();
    let create = cognito.create_user_pool().pool_name("lite").user_pool_tier(UserPoolTierType::Lite);
    let create = create.policies(UserPoolPolicyType::builder().password_policy(history).build());
    assert_eq!(refusal(create.send().await), "FeatureUnavailableInTierException");
}
