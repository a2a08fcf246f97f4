//! Who may ask: operators, and a platform's web frontend that a policy names.

use std::sync::Arc;

use keyward::config::{CallerGrant, SpiffeDomain};
use keyward::proto::tenant_service_client::TenantServiceClient;
use keyward::proto::{self};
use keyward::runtime::clock::ManualClock;
use tonic::Code;
use tonic::transport::Channel;

use super::{about, email};
use crate::harness::pki::{Authority, Leaf, connect_tls, trusting};
use crate::harness::{Daemon, folder, refusal, start_time};

const POLICY: &str = r#"@id("web-frontend")
permit (principal == Keyward::Caller::"spiffe://example.org/web", action == Keyward::Action::"MatchTenant", resource);
"#;

#[tokio::test]
async fn operators_match_tenants_and_so_does_who_a_policy_names_and_nobody_else() {
    let (_files, path) = folder();
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let (certificate, key) = servers.issue(Leaf::server()).write(&path, "tls");
    std::fs::write(path.join("clients.pem"), clients.pem()).expect("written");
    std::fs::write(path.join("web.cedar"), POLICY).expect("written");
    let identity = |uri: &str| clients.issue(Leaf::client().uri(uri));
    let operator = identity("spiffe://example.org/operators/alice");
    let grant = |caller: &str, role: Option<&str>| CallerGrant {
        caller: caller.to_owned(),
        role: role.map(str::to_owned),
        ..CallerGrant::default()
    };
    let clock = Arc::new(ManualClock::new(start_time()));
    let daemon = Daemon::start_with_tls(clock, trusting(&servers, Some(&operator)), |config| {
        (config.tls.certificate_file, config.tls.key_file) = (Some(certificate), Some(key));
        config.tls.client_ca_file = Some(path.join("clients.pem"));
        let domain = SpiffeDomain { trust_domain: "example.org".to_owned(), ..SpiffeDomain::default() };
        config.callers.spiffe = vec![domain];
        config.callers.grant = vec![
            grant("spiffe://example.org/operators/*", Some("operator")),
            grant("spiffe://example.org/verifier", Some("verifier")),
            grant("spiffe://example.org/tenants/{tenant}/{client}", None),
        ];
        config.permission.policies = Some(path.join("web.cedar"));
    })
    .await;
    let ask = async |channel: Channel| {
        TenantServiceClient::new(channel)
            .match_tenant(about(email("ann@nowhere.example")))
            .await
            .map(|it| it.into_inner())
    };
    let by = async |uri: &str| {
        let identity = identity(uri);
        ask(connect_tls(&daemon.address(), trusting(&servers, Some(&identity))).await.expect("connected")).await
    };
    assert_eq!(ask(daemon.channel.clone()).await.expect("answered"), proto::MatchTenantResponse::default());
    assert_eq!(by("spiffe://example.org/web").await.expect("answered"), proto::MatchTenantResponse::default());
    for other in
        ["spiffe://example.org/verifier", "spiffe://example.org/tenants/acme/web", "spiffe://example.org/stranger"]
    {
        assert_eq!(refusal(by(other).await), (Code::PermissionDenied, "PERMISSION_DENIED".to_owned()), "{other}");
    }
    daemon.stop().await;
}
