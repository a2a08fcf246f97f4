//! Secrets Manager.

use std::collections::BTreeMap;

use aws_sdk_secretsmanager::error::SdkError;
use aws_sdk_secretsmanager::operation::get_secret_value::{GetSecretValueError, GetSecretValueOutput};
use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, Tag};

use super::{DAY, Stage, sdk_in};
use crate::fake::OTHER_REGION;
use crate::peers::refusal;

const NAME: &str = "keyward/tenants/acme/clients/orders";
const ONE: &str = "11111111111111111111111111111111";
const TWO: &str = "22222222222222222222222222222222";
const THREE: &str = "33333333333333333333333333333333";

type ReadError = SdkError<GetSecretValueError>;

#[tokio::test]
async fn a_request_token_makes_writes_idempotent_and_never_changes_a_version() {
    let stage = Stage::set().await;
    let secrets = &stage.sdk.secrets;
    let create = |token: &str, text: &str| {
        secrets.create_secret().name(NAME).client_request_token(token).secret_string(text).send()
    };
    let first = create(ONE, "a").await.expect("created");
    assert_eq!(first.version_id(), Some(ONE));
    assert_eq!(create(ONE, "a").await.expect("again").arn(), first.arn());
    assert_eq!(refusal(create(ONE, "b").await), "ResourceExistsException");
    assert_eq!(refusal(create(TWO, "a").await), "ResourceExistsException");

    let put = |token: &str, text: &str| {
        let put = secrets.put_secret_value().secret_id(NAME).client_request_token(token).secret_string(text);
        put.version_stages("AWSPENDING").send()
    };
    put(TWO, "b").await.expect("put");
    put(TWO, "b").await.expect("again");
    assert_eq!(refusal(put(TWO, "c").await), "ResourceExistsException");
    put(ONE, "a").await.expect("a version that is there");
    assert_eq!(stage.labels().await, labels(&[(ONE, &["AWSCURRENT"]), (TWO, &["AWSPENDING"])]));
    let elsewhere = sdk_in(&stage.fake, OTHER_REGION).secrets.get_secret_value().secret_id(NAME).send().await;
    assert_eq!(refusal(elsewhere), "ResourceNotFoundException");
}

#[tokio::test]
async fn the_first_version_is_current_whatever_it_is_called() {
    let stage = Stage::set().await;
    stage.sdk.secrets.create_secret().name(NAME).send().await.expect("created, empty");
    assert_eq!(refusal(stage.read(None, None).await), "ResourceNotFoundException");
    stage.put(ONE, "AWSPENDING").await;
    assert_eq!(stage.labels().await, labels(&[(ONE, &["AWSCURRENT", "AWSPENDING"])]));
    assert_eq!(stage.read(None, None).await.expect("read").secret_string(), Some(ONE));
    assert_eq!(stage.read(Some(ONE), Some("AWSPENDING")).await.expect("read").version_id(), Some(ONE));
    assert_eq!(refusal(stage.read(Some(ONE), Some("AWSPREVIOUS")).await), "ResourceNotFoundException");
    assert_eq!(refusal(stage.read(Some(TWO), None).await), "ResourceNotFoundException");
}

#[tokio::test]
async fn a_label_is_moved_by_compare_and_swap_and_previous_follows_current() {
    let stage = Stage::set().await;
    stage.sdk.secrets.create_secret().name(NAME).send().await.expect("created");
    stage.put(ONE, "AWSCURRENT").await;
    stage.put(TWO, "AWSPENDING").await;
    let promote = |from, to| stage.move_label("AWSCURRENT", from, to);
    assert_eq!(promote(None, Some(TWO)).await, Err("InvalidParameterException".to_owned()), "it is attached");
    assert_eq!(promote(Some(TWO), Some(TWO)).await, Err("InvalidParameterException".to_owned()), "to another");
    assert_eq!(promote(Some(ONE), Some(THREE)).await, Err("ResourceNotFoundException".to_owned()));
    assert_eq!(promote(Some(ONE), None).await, Err("InvalidParameterException".to_owned()), "it only moves");
    assert_eq!(promote(None, None).await, Err("InvalidParameterException".to_owned()));
    promote(Some(ONE), Some(TWO)).await.expect("moved");
    assert_eq!(stage.labels().await, labels(&[(ONE, &["AWSPREVIOUS"]), (TWO, &["AWSCURRENT", "AWSPENDING"])]));
    stage.move_label("AWSPENDING", Some(TWO), None).await.expect("taken off");
    let again = stage.move_label("AWSPENDING", Some(TWO), None).await;
    assert_eq!(again, Err("InvalidParameterException".to_owned()), "it is on none");
    stage.put(THREE, "AWSCURRENT").await;
    assert_eq!(stage.labels().await, labels(&[(TWO, &["AWSPREVIOUS"]), (THREE, &["AWSCURRENT"])]));

    let list = |all| stage.sdk.secrets.list_secret_version_ids().secret_id(NAME).include_deprecated(all).max_results(2);
    assert_eq!(list(false).send().await.expect("listed").versions().len(), 2);
    let first = list(true).send().await.expect("listed");
    let rest = list(true).next_token(first.next_token().expect("more")).send().await.expect("listed");
    assert_eq!((first.versions().len(), rest.versions().len(), rest.next_token()), (2, 1, None));
}

#[tokio::test]
async fn of_twelve_who_move_a_label_one_wins() {
    let stage = Stage::set().await;
    stage.sdk.secrets.create_secret().name(NAME).send().await.expect("created");
    stage.put(ONE, "AWSCURRENT").await;
    let candidates: Vec<String> = (10..22).map(|number| number.to_string().repeat(16)).collect();
    for candidate in &candidates {
        stage.put(candidate, "AWSPENDING").await;
    }
    let racing = candidates.iter().map(|candidate| stage.move_label("AWSCURRENT", Some(ONE), Some(candidate)));
    let outcomes = futures::future::join_all(racing).await;
    let winners: Vec<_> = candidates.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err("InvalidParameterException".to_owned())).count(), 11);
    assert_eq!(stage.read(None, None).await.expect("read").version_id(), Some(winners[0].0.as_str()));
}

#[tokio::test]
async fn a_deleted_secret_can_be_restored_in_its_window_and_is_gone_after_it() {
    let stage = Stage::set().await;
    let secrets = &stage.sdk.secrets;
    secrets.create_secret().name(NAME).client_request_token(ONE).secret_string("a").send().await.expect("created");
    let delete = |days| secrets.delete_secret().secret_id(NAME).recovery_window_in_days(days).send();
    assert_eq!(refusal(delete(6).await), "InvalidParameterException");
    assert_eq!(refusal(delete(31).await), "InvalidParameterException");
    let both = secrets.delete_secret().secret_id(NAME).recovery_window_in_days(7).force_delete_without_recovery(true);
    assert_eq!(refusal(both.send().await), "InvalidParameterException");
    delete(7).await.expect("scheduled");
    assert_eq!(refusal(delete(7).await), "InvalidRequestException");
    assert_eq!(refusal(stage.read(None, None).await), "InvalidRequestException");
    let create = || secrets.create_secret().name(NAME).client_request_token(ONE).secret_string("a").send();
    assert_eq!(refusal(create().await), "InvalidRequestException");
    let seen = secrets.describe_secret().secret_id(NAME).send().await.expect("still described");
    assert_eq!(seen.deleted_date().map(|date| date.secs()), Some(1_767_225_600 + 7 * 86_400));
    let listed = |planned| secrets.list_secrets().include_planned_deletion(planned).send();
    assert_eq!(listed(false).await.expect("listed").secret_list().len(), 0);
    assert_eq!(listed(true).await.expect("listed").secret_list().len(), 1);

    secrets.restore_secret().secret_id(NAME).send().await.expect("restored");
    assert_eq!(stage.read(None, None).await.expect("read").secret_string(), Some("a"));
    delete(7).await.expect("scheduled");
    stage.clock.advance(7 * DAY);
    assert_eq!(refusal(secrets.restore_secret().secret_id(NAME).send().await), "ResourceNotFoundException");
    create().await.expect("its name is free");
    let force = secrets.delete_secret().secret_id(NAME).force_delete_without_recovery(true);
    force.send().await.expect("deleted");
    assert_eq!(refusal(secrets.describe_secret().secret_id(NAME).send().await), "ResourceNotFoundException");
}

#[tokio::test]
async fn secrets_are_listed_by_name_and_tag_in_pages() {
    let stage = Stage::set().await;
    let secrets = &stage.sdk.secrets;
    for number in 0..5 {
        let tag = Tag::builder().key("keyward").value(format!("{}", number % 2)).build();
        let create = secrets.create_secret().name(format!("keyward/{number}")).tags(tag);
        create.send().await.expect("created");
    }
    secrets.create_secret().name("other/1").send().await.expect("created");
    assert_eq!(refusal(secrets.create_secret().name("odd name").send().await), "ValidationException");
    let by = |key, value: &str| {
        let filter = Filter::builder().key(key).values(value).build();
        let pages = secrets.list_secrets().filters(filter).max_results(2).into_paginator().send();
        async move {
            let pages: Vec<_> = pages.collect::<Result<_, _>>().await.expect("listed");
            let items = pages.into_iter().flat_map(|page| page.secret_list.unwrap_or_default());
            items.filter_map(|item| item.name).collect::<Vec<_>>()
        }
    };
    let all = ["keyward/0", "keyward/1", "keyward/2", "keyward/3", "keyward/4"];
    assert_eq!(by(FilterNameStringType::Name, "keyward/").await, all);
    assert_eq!(by(FilterNameStringType::TagKey, "keyward").await, all);
    assert_eq!(by(FilterNameStringType::TagValue, "1").await, ["keyward/1", "keyward/3"]);
    assert_eq!(by(FilterNameStringType::Name, "!keyward/").await, ["other/1"]);

    let tag = Tag::builder().key("more").value("1").build();
    secrets.tag_resource().secret_id("other/1").tags(tag).send().await.expect("tagged");
    assert_eq!(by(FilterNameStringType::TagKey, "more").await, ["other/1"]);
    secrets.untag_resource().secret_id("other/1").tag_keys("more").send().await.expect("untagged");
    assert!(by(FilterNameStringType::TagKey, "more").await.is_empty());
    let update = secrets.update_secret().secret_id("other/1").description("another").kms_key_id("alias/mine");
    update.client_request_token(ONE).secret_string("a").send().await.expect("updated");
    let seen = secrets.describe_secret().secret_id("other/1").send().await.expect("described");
    assert_eq!((seen.description(), seen.kms_key_id()), (Some("another"), Some("alias/mine")));
}

#[tokio::test]
async fn a_policy_is_read_before_it_is_kept() {
    let stage = Stage::set().await;
    let secrets = &stage.sdk.secrets;
    secrets.create_secret().name(NAME).send().await.expect("created");
    let put = |principal: &str, block| {
        let statement = format!(
            r#"{{"Effect":"Allow","Principal":{{"AWS":"{principal}"}},"Action":"secretsmanager:GetSecretValue","Resource":"*"}}"#
        );
        let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
        secrets.put_resource_policy().secret_id(NAME).resource_policy(policy).block_public_policy(block).send()
    };
    let broken = secrets.put_resource_policy().secret_id(NAME).resource_policy("{").send().await;
    assert_eq!(refusal(broken), "MalformedPolicyDocumentException");
    assert_eq!(refusal(put("somebody", true).await), "MalformedPolicyDocumentException");
    assert_eq!(refusal(put("*", true).await), "PublicPolicyException");
    let get = || async {
        let policy = secrets.get_resource_policy().secret_id(NAME).send().await.expect("read");
        policy.resource_policy().map(str::to_owned)
    };
    assert_eq!(get().await, None);
    put("arn:aws:iam::123456789012:role/orders", true).await.expect("put");
    assert!(get().await.expect("a policy").contains("role/orders"));
    secrets.delete_resource_policy().secret_id(NAME).send().await.expect("deleted");
    assert_eq!(get().await, None);
}

impl Stage {
    /// A version whose content is its own id.
    async fn put(&self, version: &str, label: &str) {
        let put = self.sdk.secrets.put_secret_value().secret_id(NAME).client_request_token(version);
        put.secret_string(version).version_stages(label).send().await.expect("put");
    }

    async fn read(&self, version: Option<&str>, label: Option<&str>) -> Result<GetSecretValueOutput, ReadError> {
        let get = self.sdk.secrets.get_secret_value().secret_id(NAME).set_version_id(version.map(str::to_owned));
        get.set_version_stage(label.map(str::to_owned)).send().await
    }

    async fn move_label(&self, label: &str, from: Option<&str>, to: Option<&str>) -> Result<(), String> {
        let update = self.sdk.secrets.update_secret_version_stage().secret_id(NAME).version_stage(label);
        let update = update.set_remove_from_version_id(from.map(str::to_owned));
        let moved = update.set_move_to_version_id(to.map(str::to_owned)).send().await;
        if moved.is_ok() { Ok(()) } else { Err(refusal(moved)) }
    }

    async fn labels(&self) -> BTreeMap<String, Vec<String>> {
        let seen = self.sdk.secrets.describe_secret().secret_id(NAME).send().await.expect("described");
        seen.version_ids_to_stages.expect("versions").into_iter().collect()
    }
}

fn labels(of: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let owned = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
    of.iter().map(|(version, labels)| ((*version).to_owned(), owned(labels))).collect()
}
