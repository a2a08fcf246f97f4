use serde_json::{Value, json};

use crate::aws::policy::{policy_of, says};

const ROLE: &str = "arn:aws:iam::123456789012:role/orders";
const USER: &str = "arn:aws:iam::123456789012:user/anna";

#[test]
fn readers_may_read_and_nothing_else() {
    let policy = policy_of(&[USER.to_owned(), ROLE.to_owned(), USER.to_owned()]).expect("a policy");
    let policy: Value = serde_json::from_str(&policy).expect("JSON");
    let expected = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "KeywardReaders",
            "Effect": "Allow",
            "Principal": { "AWS": [ROLE, USER] },
            "Action": ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
            "Resource": "*",
        }],
    });
    assert_eq!(policy, expected);
}

#[test]
fn nobody_needs_no_policy() {
    assert_eq!(policy_of(&[]), None);
    assert!(!says("{}", &[]));
}

#[test]
fn a_policy_says_the_same_however_iam_writes_it() {
    let as_iam_writes = json!({
        "Version": "2012-10-17",
        "Statement": {
            "Resource": "*",
            "Sid": "KeywardReaders",
            "Effect": "Allow",
            "Principal": { "AWS": ROLE },
            "Action": ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"],
        },
    });
    assert!(says(&as_iam_writes.to_string(), &[ROLE.to_owned()]));
    let both = policy_of(&[USER.to_owned(), ROLE.to_owned()]).expect("a policy");
    assert!(says(&both, &[ROLE.to_owned(), USER.to_owned()]));
}

#[test]
fn a_policy_that_somebody_changed_does_not_say_the_same() {
    let readers = [ROLE.to_owned()];
    let policy = policy_of(&readers).expect("a policy");
    assert!(!says(&policy.replace(ROLE, USER), &readers));
    assert!(!says(&policy.replace("GetSecretValue", "*"), &readers));
    assert!(!says("not JSON", &readers));
}
