//! Who may ask: whoever may verify tokens, and nobody else.

use keyward::proto::AuditOutcome;
use tonic::Code;

use super::{CHECK, Told, check, question};
use crate::harness::{Daemon, details, events, folder};

#[tokio::test]
async fn who_may_not_verify_may_not_ask_and_that_is_on_record_without_the_token() {
    let (_folder, path) = folder();
    let policies = path.join("mine.cedar");
    let text = "permit (principal, action, resource);\n\
                forbid (principal, action == Keyward::Action::\"VerifyToken\", resource)\n\
                unless { resource == Keyward::Tenant::\"tenants/acme\" };\n";
    std::fs::write(&policies, text).expect("written");
    let edit = |config: &mut keyward::config::Config| config.permission.policies = Some(policies);
    let (daemon, _) = Daemon::start_at_rest_with(edit).await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "checkout").await;
    let token = daemon.token(&client.name).await.access_token;
    let header = format!("Bearer {token}");
    let ask = |rule: &[(&str, &str)]| question(rule, &[("authorization", &header)]);

    let permitted = check(&daemon.channel, ask(&[("keyward.scopes", ""), ("keyward.tenant", "tenants/acme")])).await;
    assert!(matches!(Told::of(&permitted.expect("permitted")), Told::GoOn { .. }));
    for rule in [
        &[("keyward.scopes", "")][..],
        &[("keyward.scopes", ""), ("keyward.tenant", "tenants/globex")],
        // Written there by mistake.
        &[("keyward.scopes", ""), ("keyward.tenant", token.as_str())],
        &[],
    ] {
        let status = check(&daemon.channel, ask(rule)).await.expect_err("denied");
        assert_eq!((status.code(), details(&status).reason.as_str()), (Code::PermissionDenied, "PERMISSION_DENIED"));
    }
    let events = events(&daemon.channel).await;
    let denials: Vec<_> = events.iter().filter(|event| event.method == CHECK).collect();
    assert_eq!(denials.len(), 4, "only denials are events");
    for event in denials {
        assert_eq!((event.outcome(), event.reason.as_str()), (AuditOutcome::Denied, "PERMISSION_DENIED"));
        assert!(!format!("{event:?}").contains(&token[..40]), "{event:?}");
    }
    daemon.stop().await;
}
