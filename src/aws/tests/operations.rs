use std::collections::BTreeSet;

use crate::aws::OPERATIONS;
use crate::aws::governor::Category;

#[test]
fn every_operation_needs_its_own_action_and_is_there_once() {
    let names: BTreeSet<_> = OPERATIONS.iter().map(|operation| operation.name).collect();
    assert_eq!(names.len(), OPERATIONS.len());
    for operation in OPERATIONS {
        assert!(!operation.why.is_empty());
        let own = operation.actions.first().and_then(|action| action.split_once(':'));
        match own {
            // IAM knows a transaction by its parts.
            Some(("dynamodb", "ConditionCheckItem")) => assert_eq!(operation.name, "TransactWriteItems"),
            Some((service, action)) => {
                assert!(["cognito-idp", "secretsmanager", "dynamodb", "kms"].contains(&service), "{service}");
                assert_eq!(action, operation.name);
            }
            // It is authenticated by the app client's secret.
            None => assert_eq!(operation.name, "GetClientToken"),
        }
    }
}

#[test]
fn whatever_takes_a_secret_is_marked_so() {
    let marked: Vec<_> = OPERATIONS.iter().filter(|operation| operation.holds_secret).map(|it| it.name).collect();
    let takes = [
        "CreateUserPoolClient",
        "AddUserPoolClientSecret",
        "CreateIdentityProvider",
        "UpdateIdentityProvider",
        "GetClientToken",
        "CreateSecret",
        "PutSecretValue",
    ];
    assert_eq!(marked, takes);
}

/// As the quotas of Cognito say it ("User pools API operation categories": `UserPoolRead`, `UserPoolResourceRead` and so on).
#[test]
fn every_operation_of_cognito_is_counted_where_cognito_counts_it() {
    let of_pools = ["ListUserPools", "DescribeUserPool", "CreateUserPool", "UpdateUserPool", "DeleteUserPool"];
    for operation in
        OPERATIONS.iter().filter(|operation| operation.actions.iter().any(|it| it.starts_with("cognito-idp")))
    {
        let reads = ["List", "Describe", "Get"].iter().any(|verb| operation.name.starts_with(verb));
        let expected = match operation.name {
            name if of_pools.contains(&name) && reads => Category::UserPoolReads,
            name if of_pools.contains(&name) => Category::UserPoolUpdates,
            name if name.contains("ClientSecret") => Category::ClientSecrets,
            name if name.contains("UserPoolClient") && reads => Category::AppClientReads,
            name if name.contains("UserPoolClient") => Category::AppClientUpdates,
            // Domains, resource servers, identity providers, and the factors of a pool.
            _ if reads => Category::ResourceServerReads,
            _ => Category::ResourceServerUpdates,
        };
        assert_eq!(operation.category, expected, "{}", operation.name);
    }
}
