use aws_sdk_cognitoidentityprovider::primitives::DateTime;
use aws_sdk_cognitoidentityprovider::types::ClientSecretDescriptorType;
use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;

use crate::aws::client_secrets::oldest_first;
use crate::aws::faults::Asking;
use crate::aws::secret_names::{client_of, region_of, region_of_foreign};
use crate::aws::staging::{labels_of, text_of};
use crate::broker::ports::{Peer, SecretDocument};
use crate::domain::id::{AppClientId, SecretName};
use crate::domain::secret::ClientSecret;

fn name(text: &str) -> SecretName {
    SecretName::parse("name", text).expect("a name")
}

#[test]
fn a_name_tells_the_region_of_its_secret() {
    assert_eq!(region_of(&name("keyward/tenants/acme/clients/orders@eu-west-1")), "eu-west-1");
    assert_eq!(region_of(&name("keyward/tenants/acme/clients/orders")), "");
    // A prefix may hold an @; what follows it is no Region as long as it has a slash.
    assert_eq!(region_of(&name("team@example/tenants/acme/clients/orders")), "");
    assert_eq!(region_of(&name("team@example/tenants/acme/clients/orders@us-east-1")), "us-east-1");
}

#[test]
fn a_name_tells_whose_secret_it_is() {
    assert_eq!(client_of(&name("keyward/tenants/acme/clients/orders")), "tenants/acme/clients/orders");
    assert_eq!(client_of(&name("keyward/tenants/acme/clients/orders@eu-west-1")), "tenants/acme/clients/orders");
    assert_eq!(client_of(&name("our/tenants/tenants/acme/clients/orders")), "tenants/acme/clients/orders");
}

#[test]
fn a_foreign_secret_is_where_its_arn_says() {
    let arn = "arn:aws:secretsmanager:ap-south-1:123456789012:secret:legacy/orders-AbCdEf";
    assert_eq!(region_of_foreign(arn), "ap-south-1");
    assert_eq!(region_of_foreign("legacy/orders"), "");
    assert_eq!(region_of_foreign("arn:aws:s3:::bucket"), "");
}

#[test]
fn labels_are_read_from_the_versions_that_carry_them() {
    let stages = |stages: &[&str]| stages.iter().map(|stage| (*stage).to_owned()).collect::<Vec<_>>();
    let seen = DescribeSecretOutput::builder()
        .version_ids_to_stages("v1", stages(&["AWSPREVIOUS"]))
        .version_ids_to_stages("v2", stages(&["somebody's own", "AWSCURRENT", "AWSPENDING"]))
        .build();
    let labels = labels_of(&seen);
    let on = |version: Option<crate::domain::id::VersionId>| version.map(|version| version.to_string());
    assert_eq!(on(labels.current).as_deref(), Some("v2"));
    assert_eq!(on(labels.pending).as_deref(), Some("v2"));
    assert_eq!(on(labels.previous).as_deref(), Some("v1"));
}

#[test]
fn a_document_is_the_json_that_a_backend_reads() {
    let document = SecretDocument {
        client_id: Some(AppClientId::parse("client", "7abc").expect("an id")),
        client_secret: ClientSecret::parse("secret", &"s".repeat(24)).expect("a secret"),
        token_endpoint: "https://x.example/oauth2/token".into(),
        issuer: "https://issuer.example/\"quoted\"".into(),
        scopes: "orders/read orders/write".into(),
    };
    let text = text_of(&document).expect("JSON");
    let parsed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let expected = serde_json::json!({
        "client_id": "7abc",
        "client_secret": "ssssssssssssssssssssssss",
        "token_endpoint": "https://x.example/oauth2/token",
        "issuer": "https://issuer.example/\"quoted\"",
        "scopes": "orders/read orders/write",
    });
    assert_eq!(parsed, expected);
    assert_eq!(serde_json::from_str::<SecretDocument>(&text).expect("a document"), document);
}

#[test]
fn secrets_are_listed_oldest_first_whatever_order_they_come_in() {
    let secret = |id: &str, second| {
        let created = DateTime::from_secs(second);
        ClientSecretDescriptorType::builder().client_secret_id(id).client_secret_create_date(created).build()
    };
    let asking = Asking { peer: Peer::UserPools, doing: "list client secrets" };
    let sorted = oldest_first(asking, vec![secret("c--200", 200), secret("c--99", 99)]).expect("ids");
    assert_eq!(sorted.iter().map(ToString::to_string).collect::<Vec<_>>(), ["c--99", "c--200"]);
}
