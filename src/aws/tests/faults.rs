use crate::aws::OPERATIONS;
use crate::aws::faults::{fault_of, fault_of_status, words};
use crate::aws::operations::Operation;
use crate::broker::ports::Fault;

fn operation(name: &str) -> &'static Operation {
    OPERATIONS.iter().find(|operation| operation.name == name).expect("an operation")
}

#[test]
fn every_declared_error_of_the_services_means_something() {
    // The errors that the service models declare for our operations, and those common to all AWS services.
    let meanings = [
        (Fault::Throttled, &["TooManyRequestsException", "ThrottlingException", "Throttling"][..]),
        (Fault::LimitExceeded, &["LimitExceededException"]),
        (Fault::NotFound, &["ResourceNotFoundException", "NotFoundException"]),
        (Fault::Conflict, &["ConcurrentModificationException", "ResourceExistsException"]),
        (
            Fault::Refused,
            &[
                "InvalidParameterException",
                "InvalidRequestException",
                "ScopeDoesNotExistException",
                "InvalidOAuthFlowException",
                "FeatureUnavailableInTierException",
                "TierChangeNotAllowedException",
                "UserImportInProgressException",
                "UserPoolTaggingException",
                "NotAuthorizedException",
                "AccessDeniedException",
                "UnrecognizedClientException",
                "PublicPolicyException",
                "MalformedPolicyDocumentException",
                "DecryptionFailure",
                "EncryptionFailure",
                "InvalidNextTokenException",
                "PreconditionNotMetException",
                "DisabledException",
                "KMSInvalidStateException",
                "InvalidKeyUsageException",
            ],
        ),
        (Fault::Unsupported, &["UnknownOperationException"]),
        (
            Fault::Unavailable,
            &[
                "InternalErrorException",
                "InternalServerException",
                "InternalServiceError",
                "ServiceUnavailable",
                "KMSInternalException",
                "KeyUnavailableException",
                "DependencyTimeoutException",
            ],
        ),
    ];
    for (fault, codes) in meanings {
        for code in codes {
            assert_eq!(fault_of(operation("DescribeUserPool"), code, 400), fault, "{code}");
        }
    }
}

#[test]
fn an_unknown_code_means_what_its_status_means() {
    let operation = operation("DescribeUserPool");
    assert_eq!(fault_of(operation, "NeverHeardOfException", 400), Fault::Refused);
    assert_eq!(fault_of(operation, "NeverHeardOfException", 503), Fault::Unavailable);
    assert_eq!(fault_of(operation, "", 429), Fault::Throttled);
    assert_eq!(fault_of(operation, "", 501), Fault::Unsupported);
    assert_eq!(fault_of_status(302), Fault::Refused);
    assert_eq!(fault_of_status(408), Fault::Unavailable);
    assert_eq!(fault_of_status(200), Fault::Unavailable);
}

#[test]
fn a_wrong_secret_at_get_client_token_is_an_invalid_client_and_not_a_missing_permission() {
    for code in ["NotAuthorizedException", "ResourceNotFoundException"] {
        assert_eq!(fault_of(operation("GetClientToken"), code, 400), Fault::InvalidClient);
    }
    assert_eq!(fault_of(operation("CreateUserPool"), "NotAuthorizedException", 400), Fault::Refused);
}

#[test]
fn a_label_that_is_elsewhere_is_a_conflict() {
    let stage = operation("UpdateSecretVersionStage");
    assert_eq!(fault_of(stage, "InvalidParameterException", 400), Fault::Conflict);
    assert_eq!(fault_of(operation("PutSecretValue"), "InvalidParameterException", 400), Fault::Refused);
}

#[test]
fn an_operator_reads_code_and_message() {
    let message = "User: arn:aws:sts::123456789012:assumed-role/KeywardBrokerExecutionRoleOfProduction/i-0 is not \
                   authorized to perform: cognito-idp:ListUserPools";
    let words = words(operation("ListUserPools"), "AccessDeniedException", 400, message);
    assert_eq!(words, format!("AccessDeniedException: {message}"));
}

#[test]
fn a_message_that_quotes_a_secret_is_censored() {
    let chosen = "aB3/+aB3_/xyzaB3/+aB3_+aB3/+aB==";
    let secrets = ["0123456789abcdef01234567", "aB3_+aB3_+aB3_+aB3_+aB3_+aB3_+", chosen, &"f".repeat(64)];
    for secret in secrets {
        let message = format!("Value '{secret}' at 'clientSecret' failed to satisfy constraint");
        for operation in OPERATIONS.iter().filter(|operation| operation.holds_secret) {
            let words = words(operation, "InvalidParameterException", 400, &message);
            assert!(!words.contains(&secret[..8]), "{words}");
            assert!(words.ends_with("at 'clientSecret' failed to satisfy constraint"), "{words}");
        }
    }
}

#[test]
fn words_are_one_bounded_line() {
    let message = format!("first\nsecond\r\t{}", "x ".repeat(1000));
    let words = words(operation("ListUserPools"), "InvalidParameterException", 400, &message);
    assert!(words.len() < 500 && !words.contains(char::is_control), "{words}");
    assert_eq!(super::super::faults::words(operation("ListUserPools"), "", 503, ""), "HTTP 503");
}
