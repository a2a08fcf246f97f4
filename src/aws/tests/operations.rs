use std::collections::BTreeSet;

use crate::aws::OPERATIONS;

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
