//! A life with everything in it that has to do with secrets and tokens, and what was seen of it.

use envoy_types::ext_authz::v3::pb::CheckRequest;
use keyward::proto;
use keyward::proto::catalog_service_client::CatalogServiceClient;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::revoke_tokens_request::Target;
use keyward::proto::tenant_service_client::TenantServiceClient;
use keyward::proto::token_service_client::TokenServiceClient;
use keyward::proto::verification_service_client::VerificationServiceClient;
use tonic::Status;
use tonic::transport::Channel;

use crate::envoy::{check, question};
use crate::harness::{create_client, create_tenant, events, mask, new_client, put_orders_api, token, verify};

#[derive(Default)]
pub struct Life {
    pub secrets: Vec<String>,
    pub tokens: Vec<String>,
    /// Message, details and metadata of each, also those that must not say what was sent.
    pub errors: Vec<String>,
    pub events: Vec<proto::AuditEvent>,
    /// Of the clients that are left.
    pub secret_names: Vec<String>,
}

impl Life {
    fn fail<T: std::fmt::Debug>(&mut self, answer: Result<T, Status>) {
        let status = answer.expect_err("an error");
        let details = String::from_utf8_lossy(status.details()).into_owned();
        self.errors.push(format!("{} {details} {:?}", status.message(), status.metadata()));
    }

    async fn reveal(&mut self, channel: &Channel, name: &str) {
        let request = proto::RevealClientSecretRequest { name: name.to_owned(), reason: "a look".to_owned() };
        let revealed = ClientServiceClient::new(channel.clone()).reveal_client_secret(request).await.expect("revealed");
        self.secrets.push(revealed.into_inner().client_secret);
    }

    async fn take_token(&mut self, channel: &Channel, name: &str) -> String {
        let token = token(channel, name).await.expect("a token").access_token;
        self.tokens.push(token.clone());
        token
    }
}

pub async fn live(channel: &Channel) -> Life {
    let mut life = Life::default();
    put_orders_api(channel).await;
    for (tenant, isolation) in [("acme", proto::Isolation::AppClient), ("globex", proto::Isolation::UserPool)] {
        create_tenant(channel, tenant, isolation).await;
        let gone = create_client(channel, tenant, "gone").await;
        life.reveal(channel, &gone.name).await;
        life.take_token(channel, &gone.name).await;
        let request = proto::DeleteClientRequest { name: gone.name, ..Default::default() };
        ClientServiceClient::new(channel.clone()).delete_client(request).await.expect("deleted");

        let client = create_client(channel, tenant, "orders").await;
        life.secret_names.push(client.secret_name.clone());
        life.reveal(channel, &client.name).await;
        let token = life.take_token(channel, &client.name).await;
        rotate(channel, &client.name, false).await;
        life.reveal(channel, &client.name).await;
        rotate(channel, &client.name, true).await;
        life.reveal(channel, &client.name).await;
        rotate_all(channel, tenant).await;
        life.reveal(channel, &client.name).await;
        verified_and_forged(channel, &mut life, &token).await;
        mistakes(channel, &mut life, &client.name, &token).await;
        revoked(channel, &token).await;
        life.take_token(channel, &client.name).await;
        denied(channel, &mut life, tenant, &client.name).await;
    }
    life.secrets.sort();
    let revealed = life.secrets.len();
    life.secrets.dedup();
    assert_eq!(life.secrets.len(), revealed, "every secret is another");
    life.events = events(channel).await;
    life
}

async fn rotate(channel: &Channel, name: &str, immediate: bool) {
    let request = proto::RotateClientSecretRequest { name: name.to_owned(), immediate, ..Default::default() };
    let rotation = ClientServiceClient::new(channel.clone()).rotate_client_secret(request).await.expect("rotated");
    assert!(rotation.into_inner().promote_time.is_some());
}

async fn rotate_all(channel: &Channel, tenant: &str) {
    let parent = format!("tenants/{tenant}");
    let request = proto::RotateClientSecretsRequest { parent, immediate: true, ..Default::default() };
    let mut told = ClientServiceClient::new(channel.clone()).rotate_client_secrets(request).await.expect("rotated");
    while let Some(message) = told.get_mut().message().await.expect("rotated") {
        assert_eq!(message.error_reason, "");
    }
}

/// The token itself, with another signature, with other claims, and what is no token at all.
async fn verified_and_forged(channel: &Channel, life: &mut Life, token: &str) {
    assert!(matches!(verify(channel, token).await, proto::verify_token_response::Verdict::Verified(_)));
    let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    parts[2] = parts[2].chars().rev().collect();
    let signature = parts.join(".");
    parts[1] = parts[1].replace('A', "B");
    life.tokens.push(signature.clone());
    for forged in [signature, parts.join("."), token[1..].to_owned(), format!("Bearer {token}"), token.repeat(2)] {
        let proto::verify_token_response::Verdict::Rejected(rejected) = verify(channel, &forged).await else {
            panic!("a forged token is accepted");
        };
        life.errors.push(format!("{rejected:?}"));
        let request = proto::RevokeTokensRequest { target: Some(Target::Token(forged.clone())), ..Default::default() };
        life.fail(ClientServiceClient::new(channel.clone()).revoke_tokens(request).await);
        asked_by_envoy(channel, life, question(&[("keyward.scopes", "")], &[("authorization", &forged)])).await;
        let bearer = format!("Bearer {forged}");
        asked_by_envoy(channel, life, question(&[("keyward.scopes", "")], &[("authorization", &bearer)])).await;
    }
    let bearer = format!("Bearer {token}");
    for rule in ["keyward.scopes", "keyward.scope"] {
        asked_by_envoy(channel, life, question(&[(rule, "orders/read")], &[("authorization", &bearer)])).await;
    }
    let request = proto::VerifyTokenRequest { token: token.repeat(30), ..Default::default() };
    life.fail(VerificationServiceClient::new(channel.clone()).verify_token(request).await);
}

async fn asked_by_envoy(channel: &Channel, life: &mut Life, request: CheckRequest) {
    life.errors.push(format!("{:?}", check(channel, request).await.expect("an answer")));
}

/// A token or a secret in a field where none belongs, as a hasty caller may put it.
async fn mistakes(channel: &Channel, life: &mut Life, client: &str, token: &str) {
    let secret = life.secrets.last().expect("one").clone();
    let mut tenants = TenantServiceClient::new(channel.clone());
    let mut clients = ClientServiceClient::new(channel.clone());
    let mut tokens = TokenServiceClient::new(channel.clone());
    for text in [token.to_owned(), secret] {
        let request = proto::GetTokenRequest { name: text.clone(), ..Default::default() };
        life.fail(tokens.get_token(request).await);
        let scopes = vec![text.clone()];
        let request = proto::GetTokenRequest { name: client.to_owned(), scopes, ..Default::default() };
        life.fail(tokens.get_token(request).await);
        life.fail(tenants.get_tenant(proto::GetTenantRequest { name: text.clone() }).await);
        life.fail(tenants.get_tenant(proto::GetTenantRequest { name: format!("tenants/{text}") }).await);
        let request = proto::CreateTenantRequest { tenant_id: text.clone(), ..Default::default() };
        life.fail(tenants.create_tenant(request).await);
        let request = proto::CreateClientRequest { client_id: text.clone(), ..new_client("acme", "") };
        life.fail(clients.create_client(request).await);
        let request = proto::ListTenantsRequest { page_token: text.clone(), ..Default::default() };
        life.fail(tenants.list_tenants(request).await);
        let given = proto::Client { name: client.to_owned(), ..Default::default() };
        let update_mask = mask(&[&text]);
        let request = proto::UpdateClientRequest { client: Some(given), update_mask, ..Default::default() };
        life.fail(clients.update_client(request).await);
        let request = proto::VerifyTokenRequest { token: token.to_owned(), tenant: text.clone(), ..Default::default() };
        life.fail(VerificationServiceClient::new(channel.clone()).verify_token(request).await);
        for rule in ["keyward.scopes", "keyward.tenant"] {
            asked_by_envoy(channel, life, question(&[("keyward.scopes", ""), (rule, &text)], &[])).await;
        }
        let request = proto::DeleteResourceServerRequest { name: text, ..Default::default() };
        life.fail(CatalogServiceClient::new(channel.clone()).delete_resource_server(request).await);
    }
}

async fn revoked(channel: &Channel, token: &str) {
    let target = Some(Target::Token(token.to_owned()));
    let request = proto::RevokeTokensRequest { target, reason: "it leaked".to_owned(), ..Default::default() };
    ClientServiceClient::new(channel.clone()).revoke_tokens(request).await.expect("revoked");
    assert!(matches!(verify(channel, token).await, proto::verify_token_response::Verdict::Rejected(_)));
}

async fn denied(channel: &Channel, life: &mut Life, tenant: &str, client: &str) {
    let name = format!("tenants/{tenant}");
    let request = proto::SuspendTenantRequest { name: name.clone(), ..Default::default() };
    TenantServiceClient::new(channel.clone()).suspend_tenant(request).await.expect("suspended");
    life.fail(token(channel, client).await);
    let request = proto::RevealClientSecretRequest { name: client.to_owned(), reason: "a look".to_owned() };
    life.fail(ClientServiceClient::new(channel.clone()).reveal_client_secret(request).await);
    let request = proto::ResumeTenantRequest { name, ..Default::default() };
    TenantServiceClient::new(channel.clone()).resume_tenant(request).await.expect("resumed");
}
