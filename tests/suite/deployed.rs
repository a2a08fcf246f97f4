//! `deploy/`: what an operator gives to AWS allows what the program does there, and nothing else. And what runs
//! the program elsewhere agrees with it.

mod alarms;
mod container;
mod manifests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use keyward::aws::{Aws, OPERATIONS};
use keyward::broker::Ports;
use keyward::proto;
use keyward::proto::hosted_domain::Form;
use keyward::runtime::clock::SystemClock;
use serde_json::Value;

use crate::fake::Fake;
use crate::harness::rotations::{rotate, rotate_at_once};
use crate::harness::{Daemon, mask, new_client, new_resource_server, new_tenant_with_pool};

const POLICY: &str = include_str!("../../deploy/iam-policy.json");
const STACK: &str = include_str!("../../deploy/cloudformation.yaml");
const READER: &str = "arn:aws:iam::123456789012:role/orders";

#[test]
fn the_policy_allows_exactly_what_the_operations_need() {
    let allowed: Vec<_> = policy().into_values().flatten().collect();
    let needed = OPERATIONS.iter().flat_map(|operation| operation.actions).map(|action| (*action).to_owned());
    assert_eq!(allowed.iter().cloned().collect::<BTreeSet<_>>(), needed.collect());
    assert_eq!(allowed.len(), allowed.iter().collect::<BTreeSet<_>>().len(), "an action is allowed twice");
}

#[test]
fn only_what_aws_cannot_narrow_is_allowed_on_everything() {
    let is_wide = |statement: &&Value| statement["Resource"] == "*";
    let wide: Vec<_> = statements().iter().filter(is_wide).flat_map(actions).collect();
    let expected = [
        "cognito-idp:ListUserPools",
        // It names a domain, and no pool.
        "cognito-idp:DescribeUserPoolDomain",
        "cognito-idp:CreateUserPool",
        "secretsmanager:ListSecrets",
    ];
    assert_eq!(wide, expected);
    for statement in statements() {
        let service = actions(&statement)[0].split(':').next().expect("a service").to_owned();
        let narrow = match service.as_str() {
            "cognito-idp" => "arn:aws:cognito-idp:*:*:userpool/*",
            "dynamodb" => "arn:aws:dynamodb:*:*:table/keyward",
            "kms" => "arn:aws:kms:*:*:key/*",
            _ => "arn:aws:secretsmanager:*:*:secret:keyward/*",
        };
        let index = "arn:aws:dynamodb:*:*:table/keyward/index/due";
        match &statement["Resource"] {
            Value::String(resource) => assert!(resource == narrow || resource == "*", "{resource}"),
            several => assert_eq!(*several, serde_json::json!([narrow, index]), "{service}"),
        }
    }
}

#[test]
fn the_stack_has_the_same_statements() {
    // Those of the key follow the role's.
    let (role, _) = STACK.split_once("\n  InstanceProfile:\n").expect("the role");
    let stack = role.split("- Sid: ").skip(1).map(|text| {
        let (sid, rest) = text.split_once('\n').expect("a statement");
        let words = rest.split(|c: char| c.is_whitespace() || c == ',').filter(is_action);
        (sid.to_owned(), words.map(str::to_owned).collect::<Vec<_>>())
    });
    let stack: BTreeMap<_, _> = stack.filter(|(_, actions)| !actions.is_empty()).collect();
    assert_eq!(stack, policy());
    for statement in statements() {
        let tags = statement["Condition"]["StringLike"].as_object().into_iter().flatten();
        for (key, values) in tags {
            assert!(STACK.replace(' ', "").contains(&format!("\"{key}\":{values}")), "{key} {values}");
        }
    }
}

#[test]
fn pools_are_made_and_deleted_by_their_tag_alone() {
    let conditions: BTreeMap<_, _> = statements()
        .iter()
        .flat_map(|statement| actions(statement).into_iter().map(|action| (action, statement["Condition"].clone())))
        .collect();
    for (action, tag) in [
        ("cognito-idp:CreateUserPool", "aws:RequestTag/keyward:pool"),
        ("cognito-idp:DeleteUserPool", "aws:ResourceTag/keyward:pool"),
    ] {
        let wanted = serde_json::json!({ "StringLike": { tag: ["shared-*", "tenant-*"] } });
        assert_eq!(conditions[action], wanted, "{action}");
    }
}

#[test]
fn a_data_key_is_made_and_opened_for_shared_tokens_of_the_table_alone() {
    let share = statements().into_iter().find(|statement| statement["Sid"] == "ShareTokens").expect("the statement");
    let wanted = serde_json::json!({
        "ForAnyValue:StringEquals": { "kms:ResourceAliases": "alias/keyward" },
        "StringEquals": {
            "kms:EncryptionContext:keyward:purpose": "shared-tokens",
            "kms:EncryptionContext:keyward:table": "keyward",
        },
    });
    assert_eq!(share["Condition"], wanted);
    let (_, stack) = STACK.split_once("- Sid: ShareTokens").expect("the statement");
    let (stack, _) = stack.split_once("\n\n").expect("its end");
    let lines: Vec<_> = stack.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| *line == "Condition:").expect("a condition");
    assert_eq!(
        lines[at + 1..],
        [
            "\"ForAnyValue:StringEquals\":",
            "\"kms:ResourceAliases\": !Sub \"alias/${NamePrefix}\"",
            "StringEquals:",
            "\"kms:EncryptionContext:keyward:purpose\": \"shared-tokens\"",
            "\"kms:EncryptionContext:keyward:table\": !Ref TableName",
        ]
    );
    assert!(STACK.lines().any(|line| line.trim() == "EnableKeyRotation: true"));
    assert!(STACK.contains("AliasName: !Sub \"alias/${NamePrefix}\""));
}

#[test]
fn the_stack_keeps_its_key_and_its_policy_lets_the_broker_use_it_through_secrets_manager_alone() {
    let (_, key) = STACK.split_once("\n  Key:\n").expect("the key");
    let (key, _) = key.split_once("\n\n").expect("its end");
    for line in ["    DeletionPolicy: Retain", "    UpdateReplacePolicy: Retain"] {
        assert!(key.lines().any(|other| other == line), "{key}");
    }
    let (_, brokers) = key.split_once("- Sid: TheBrokerOnlyThroughSecretsManager").expect("the broker's statement");
    let (_, condition) = brokers.split_once("Condition:\n              StringEquals:").expect("a condition");
    assert!(condition.contains("kms:ViaService: !Sub \"secretsmanager.${AWS::Region}.${AWS::URLSuffix}\""), "{key}");
    assert!(!brokers.contains("- Sid:"), "another statement follows: {brokers}");
}

#[test]
fn the_stack_makes_the_table_that_a_broker_needs_and_keeps_it() {
    let (_, table) = STACK.split_once("\n  Table:\n").expect("the table");
    let (table, _) = table.split_once("\n\n").expect("its end");
    let lines: Vec<_> = table.lines().map(str::trim).collect();
    for line in [
        "Type: AWS::DynamoDB::Table",
        "DeletionPolicy: Retain",
        "UpdateReplacePolicy: Retain",
        "BillingMode: PAY_PER_REQUEST",
        "DeletionProtectionEnabled: true",
        "- { AttributeName: pk, KeyType: HASH }",
        "- { AttributeName: sk, KeyType: RANGE }",
        "- IndexName: due",
        "- { AttributeName: due_shelf, KeyType: HASH }",
        "- { AttributeName: due, KeyType: RANGE }",
        "PointInTimeRecoveryEnabled: true",
        "SSEType: KMS",
        "KMSMasterKeyId: !If [HasOwnKey, !GetAtt Key.Arn, !Ref \"AWS::NoValue\"]",
        "AttributeName: ttl",
    ] {
        assert!(lines.contains(&line), "{line} is not in\n{table}");
    }
    for attribute in ["pk", "sk", "due_shelf", "due"] {
        let line = format!("- {{ AttributeName: {attribute}, AttributeType: S }}");
        assert!(lines.contains(&line.as_str()), "{line} is not in\n{table}");
    }
}

#[tokio::test]
async fn a_broker_calls_nothing_that_the_policy_does_not_allow() {
    let fake = Fake::start(Arc::new(SystemClock)).await;
    live_through_everything(&fake).await;

    let allowed: BTreeSet<_> = policy().into_values().flatten().collect();
    let called: BTreeSet<_> = fake.calls().into_iter().map(|call| call.action).collect();
    let asks_iam = |action: &&String| !action.starts_with("oauth2:");
    let forbidden: Vec<_> = called.iter().filter(asks_iam).filter(|action| !allowed.contains(*action)).collect();
    assert_eq!(forbidden, Vec::<&String>::new());

    // What such a life has no use for, and arguments that are actions of their own. This broker's registry is SQLite.
    let without = allowed.difference(&called).map(String::as_str).filter(|action| !action.starts_with("dynamodb:"));
    let without = without.filter(|action| !action.starts_with("kms:"));
    let without: Vec<_> = without.collect();
    let expected = [
        "cognito-idp:TagResource",
        "cognito-idp:UntagResource",
        // Of a domain of a tenant's own, which takes longer to be served than this life: see `aws::domains`.
        "cognito-idp:UpdateUserPoolDomain",
        "secretsmanager:TagResource",
    ];
    assert_eq!(without, expected);
}

/// Two tenants, one with a pool of its own, their clients, rotations, changes, a reconciliation, and their end.
async fn live_through_everything(fake: &Fake) {
    let clock = Arc::new(SystemClock);
    let aws = Aws::connect(fake.options(), clock.clone()).await.expect("clients are made");
    let daemon = Daemon::start_through(
        clock,
        |_| {},
        |ports| Ports {
            user_pools: aws.user_pools(),
            token_endpoint: aws.token_endpoint(),
            key_source: aws.key_source(),
            shared: None,
            vault: aws.vault(),
            ..ports
        },
    )
    .await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let settings = proto::UserPoolSettings {
        mfa_mode: proto::MfaMode::Optional.into(),
        tags: [("team".to_owned(), "a".to_owned())].into(),
        ..Default::default()
    };
    let request = new_tenant_with_pool("globex", settings);
    daemon.tenants().create_tenant(request).await.expect("a tenant with a pool of its own");

    let mut request = new_client("acme", "orders");
    request.client.as_mut().expect("set").secret_readers = vec![READER.to_owned()];
    let client = daemon.clients().create_client(request).await.expect("a client").into_inner();
    daemon.create_client("globex", "orders").await;
    let token = daemon.token(&client.name).await;
    daemon.verify(&token.access_token).await;
    rotate(&daemon.channel, "tenants/globex/clients/orders").await;
    rotate_at_once(&daemon.channel, &client.name).await;

    let changed =
        proto::Client { secret_readers: Vec::new(), scopes: vec!["orders/read".to_owned()], ..client.clone() };
    let changed = proto::Client { etag: String::new(), ..changed };
    let update_mask = mask(&["secret_readers", "scopes"]);
    let request = proto::UpdateClientRequest { client: Some(changed), update_mask, ..Default::default() };
    daemon.clients().update_client(request).await.expect("changed");
    let changed = proto::Tenant {
        name: "tenants/globex".to_owned(),
        user_pool: Some(proto::UserPoolSettings {
            domain: Some(proto::HostedDomain { form: Some(Form::Prefix("globex".to_owned())) }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let request =
        proto::UpdateTenantRequest { tenant: Some(changed), update_mask: mask(&["user_pool"]), ..Default::default() };
    daemon.tenants().update_tenant(request).await.expect("changed");
    let oidc = proto::OidcProvider {
        issuer: "https://login.example.com".to_owned(),
        client_id: "keyward".to_owned(),
        client_secret: "of-the-provider".to_owned(),
        ..Default::default()
    };
    let provider = proto::IdentityProvider {
        provider_id: "okta".to_owned(),
        protocol: Some(proto::identity_provider::Protocol::Oidc(oidc)),
        ..Default::default()
    };
    let changed =
        proto::Tenant { name: "tenants/acme".to_owned(), identity_providers: vec![provider], ..Default::default() };
    let request = proto::UpdateTenantRequest { tenant: Some(changed), ..Default::default() };
    daemon.tenants().update_tenant(request).await.expect("given a provider");
    let request = new_resource_server("orders", &["read", "write", "refund"]);
    daemon.catalog().put_resource_server(request).await.expect("changed");
    let request = proto::ReconcileTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().reconcile_tenant(request).await.expect("reconciled");

    // The second of this name brings the secret of the first back.
    delete_client(&daemon, &client.name).await;
    daemon.create_client("acme", "orders").await;
    for tenant in ["acme", "globex"] {
        delete_client(&daemon, &format!("tenants/{tenant}/clients/orders")).await;
        let request = proto::DeleteTenantRequest { name: format!("tenants/{tenant}"), ..Default::default() };
        daemon.tenants().delete_tenant(request).await.expect("deleted");
    }
    let name = "resourceServers/orders".to_owned();
    let request = proto::DeleteResourceServerRequest { name, ..Default::default() };
    daemon.catalog().delete_resource_server(request).await.expect("deleted");
    tokio::time::timeout(Duration::from_secs(30), daemon.stop()).await.expect("it ends");
}

async fn delete_client(daemon: &Daemon, name: &str) {
    let request = proto::DeleteClientRequest { name: name.to_owned(), ..Default::default() };
    daemon.clients().delete_client(request).await.expect("deleted");
}

/// The actions of each statement.
fn policy() -> BTreeMap<String, Vec<String>> {
    statements().iter().map(|it| (it["Sid"].as_str().expect("a name").to_owned(), actions(it))).collect()
}

fn statements() -> Vec<Value> {
    let policy: Value = serde_json::from_str(POLICY).expect("JSON");
    policy["Statement"].as_array().expect("statements").clone()
}

fn actions(statement: &Value) -> Vec<String> {
    let actions = statement["Action"].as_array().expect("actions");
    actions.iter().map(|action| action.as_str().expect("a name").to_owned()).collect()
}

fn is_action(word: &&str) -> bool {
    let parts = word.split_once(':');
    parts.is_some_and(|(service, name)| {
        ["cognito-idp", "secretsmanager", "dynamodb", "kms"].contains(&service) && !name.contains(':')
    })
}
