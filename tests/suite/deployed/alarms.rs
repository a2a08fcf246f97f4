//! What the stack tells somebody of, and whom it lets take its role.

use std::collections::BTreeSet;

use keyward::aws::OPERATIONS;
use serde_json::{Value, json};

use super::STACK;

/// A resource of the stack, from its name to the empty line.
fn resource(name: &str) -> &'static str {
    let (_, text) = STACK.split_once(&format!("\n  {name}:\n")).unwrap_or_else(|| panic!("there is no {name}"));
    text.split("\n\n").next().unwrap_or_default()
}

#[test]
fn errors_of_every_operation_on_the_table_are_counted() {
    let alarm = resource("TableFails");
    let counted = alarm.lines().filter_map(|line| line.trim().strip_prefix("- { Name: Operation, Value: "));
    let counted: BTreeSet<_> = counted.map(|operation| operation.trim_end_matches(" }")).collect();
    let is_on_table = |actions: &[&str]| actions.iter().any(|action| action.starts_with("dynamodb:"));
    let used = OPERATIONS.iter().filter(|operation| is_on_table(operation.actions)).map(|operation| operation.name);
    // Asked once, at a start, which says what came of it.
    let used: BTreeSet<_> = used.filter(|name| *name != "DescribeTable").collect();
    assert_eq!(counted, used);
    let (_, sum) = alarm.split_once("Expression: SUM([").expect("the sum");
    let summed = sum.split(']').next().unwrap_or_default().matches("FILL(").count();
    assert_eq!((summed, alarm.matches("MetricName: SystemErrors").count()), (used.len(), used.len()));
}

#[test]
fn every_alarm_tells_somebody_and_is_quiet_where_nothing_is_measured() {
    let alarms = ["TableWritesThrottled", "TableReadsThrottled", "TableFails"];
    assert_eq!(STACK.matches("Type: AWS::CloudWatch::Alarm").count(), alarms.len());
    for name in alarms {
        let alarm = resource(name);
        for line in
            ["Condition: HasTableAlarms", "TreatMissingData: notBreaching", "AlarmActions:", "- !Ref AlarmTopic"]
        {
            assert!(alarm.lines().any(|other| other.trim() == line), "{line} is not in {name}");
        }
        assert_eq!(alarm.matches("Value: !Ref Table }").count(), alarm.matches("Name: TableName").count(), "{name}");
    }
    let topic = resource("AlarmTopicPolicy");
    assert!(topic.contains("cloudwatch.amazonaws.com") && topic.contains("events.amazonaws.com"));
    assert!(topic.contains("\"aws:SourceAccount\": !Ref AWS::AccountId"), "others could write to it");
}

#[test]
fn somebody_is_told_when_the_key_is_disabled_or_about_to_be_deleted() {
    let rule = resource("KeyGoes");
    for line in ["- DisableKey", "- ScheduleKeyDeletion", "- !GetAtt Key.Arn", "Arn: !Ref AlarmTopic"] {
        assert!(rule.lines().any(|other| other.trim() == line), "{line} is not in\n{rule}");
    }
}

#[test]
fn in_a_cluster_one_service_account_takes_the_role_and_nobody_else() {
    let (_, text) = STACK.split_once("- !Sub |\n").expect("who takes the role");
    let (text, _) = text.split_once("\n        - Version").expect("the other form");
    let text = text.replace("${AWS::Partition}", "aws").replace("${AWS::AccountId}", "1");
    let text = text.replace("${OidcProvider}", "oidc/id").replace("${ServiceAccount}", "a:b");
    let policy: Value = serde_json::from_str(&text).expect("JSON");
    let statement = json!([{
        "Effect": "Allow",
        "Principal": { "Federated": "arn:aws:iam::1:oidc-provider/oidc/id" },
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {
            "StringEquals": { "oidc/id:aud": "sts.amazonaws.com", "oidc/id:sub": "system:serviceaccount:a:b" },
        },
    }]);
    assert_eq!(policy["Statement"], statement);
}
