//! What each request of the contract tells before it is decoded: its method, what it is about, whether it is a retry.
//!
//! One table, so that no handler can name the wrong method or forget a `request_id`. A test holds it against the
//! descriptors.

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::domain::Result;
use crate::domain::audit::IdempotentRequest;
use crate::domain::id::RequestId;
use crate::domain::scope::Identifier;
use crate::proto::{self, revoke_tokens_request::Target};

/// A request of the contract. Each belongs to one method.
pub trait Asked: prost::Message + Default + 'static {
    /// `keyward.v1.TenantService/CreateTenant`.
    const METHOD: &'static str;

    /// Whether the method changes something.
    const CHANGES: bool;

    /// What policies call it: the method's own name, for nearly all.
    fn action() -> &'static str {
        Self::METHOD.split_once('/').unwrap_or_default().1
    }

    /// What it is about, as a resource name in the caller's words; empty where that is not known before the call.
    /// Never a token.
    fn resource(&self) -> String {
        String::new()
    }

    /// The scopes that are asked for, or that a client is to have, as the caller wrote them; none where the method has none.
    fn scopes(&self) -> &[String] {
        &[]
    }

    /// Takes `request_id` out. Reads have none.
    fn take_request_id(&mut self) -> String {
        String::new()
    }

    /// Sets `validate_only` and tells what it was.
    fn replace_validate_only(&mut self, _now: bool) -> bool {
        false
    }

    /// Takes out the caller's promise that a repeated mutation is the same one. `None` when it made none.
    ///
    /// The fingerprint covers the method and every field but `request_id` and `validate_only`, so that a dry run of
    /// a call that was made answers as the call would.
    fn take_promise(&mut self) -> Result<Option<IdempotentRequest>> {
        let id = self.take_request_id();
        if id.is_empty() {
            return Ok(None);
        }
        let id = RequestId::parse("request_id", &id)?;
        let validate_only = self.replace_validate_only(false);
        // It may hold a secret. Of its whole size from the beginning, so that none is left behind where it grows.
        let mut text = Zeroizing::new(Vec::with_capacity(Self::METHOD.len() + 1 + self.encoded_len()));
        text.extend_from_slice(Self::METHOD.as_bytes());
        text.push(0);
        // A vector takes as much as there is.
        let _ = self.encode(&mut *text);
        self.replace_validate_only(validate_only);
        Ok(Some(IdempotentRequest { id, fingerprint: hex::encode(digest(&SHA256, &text)) }))
    }
}

/// Changes nothing.
macro_rules! read {
    () => {
        const CHANGES: bool = false;
    };
}

/// Changes something, and can be repeated.
macro_rules! repeatable {
    () => {
        const CHANGES: bool = true;

        fn take_request_id(&mut self) -> String {
            std::mem::take(&mut self.request_id)
        }
    };
}

/// The same, and can be tried without being done.
macro_rules! dry_runnable {
    () => {
        repeatable!();

        fn replace_validate_only(&mut self, now: bool) -> bool {
            std::mem::replace(&mut self.validate_only, now)
        }
    };
}

/// The scopes that a client is to have.
fn scopes_of(client: Option<&proto::Client>) -> &[String] {
    client.map_or(&[], |client| &client.scopes)
}

/// Each line: the request, its method, whether it can be repeated, what it is about, the scopes that it asks for.
macro_rules! asked {
    ($($request:ident: $method:literal, $kind:ident, $resource:expr $(, scopes $scopes:expr)?;)*) => {
        $(impl Asked for proto::$request {
            const METHOD: &'static str = concat!("keyward.v1.", $method);

            fn resource(&self) -> String {
                let resource: fn(&Self) -> String = $resource;
                resource(self)
            }

            $(fn scopes(&self) -> &[String] {
                let scopes: fn(&Self) -> &[String] = $scopes;
                scopes(self)
            })?

            $kind!();
        })*

        /// Every method in the table.
        pub const METHODS: &[&str] = &[$(concat!("keyward.v1.", $method)),*];

        /// Every method in the table with its request, for the test against the descriptors.
        #[cfg(test)]
        pub const TABLE: &[(&str, &str)] = &[$((concat!("keyward.v1.", $method), stringify!($request))),*];

        /// Whether each changes something, for the test against the groups that policies speak of.
        #[cfg(test)]
        pub const CHANGES: &[(&str, bool)] = &[$((concat!("keyward.v1.", $method), proto::$request::CHANGES)),*];
    };
}

asked! {
    GetTokenRequest: "TokenService/GetToken", read, |r| r.name.clone(), scopes |r| &r.scopes;
    WatchTokenRequest: "TokenService/WatchToken", read, |r| r.name.clone(), scopes |r| &r.scopes;

    VerifyTokenRequest: "VerificationService/VerifyToken", read, |r| r.tenant.clone();
    VerifyTokensRequest: "VerificationService/VerifyTokens", read, |_| String::new();
    WatchTrustRequest: "VerificationService/WatchTrust", read, |_| String::new();

    CreateTenantRequest: "TenantService/CreateTenant", dry_runnable, |r| format!("tenants/{}", r.tenant_id);
    GetTenantRequest: "TenantService/GetTenant", read, |r| r.name.clone();
    ListTenantsRequest: "TenantService/ListTenants", read, |_| "tenants".to_owned();
    UpdateTenantRequest: "TenantService/UpdateTenant", dry_runnable,
        |r| r.tenant.as_ref().map(|tenant| tenant.name.clone()).unwrap_or_default();
    DeleteTenantRequest: "TenantService/DeleteTenant", dry_runnable, |r| r.name.clone();
    SuspendTenantRequest: "TenantService/SuspendTenant", repeatable, |r| r.name.clone();
    ResumeTenantRequest: "TenantService/ResumeTenant", repeatable, |r| r.name.clone();
    MoveTenantRequest: "TenantService/MoveTenant", dry_runnable, |r| r.name.clone();
    ReconcileTenantRequest: "TenantService/ReconcileTenant", repeatable, |r| r.name.clone();
    MatchTenantRequest: "TenantService/MatchTenant", read, |_| String::new();
    ExportAuthorizerRequest: "TenantService/ExportAuthorizer", read, |r| r.name.clone();

    CreateClientRequest: "ClientService/CreateClient", dry_runnable,
        |r| format!("{}/clients/{}", r.parent, r.client_id), scopes |r| scopes_of(r.client.as_ref());
    GetClientRequest: "ClientService/GetClient", read, |r| r.name.clone();
    ListClientsRequest: "ClientService/ListClients", read, |r| r.parent.clone();
    UpdateClientRequest: "ClientService/UpdateClient", dry_runnable,
        |r| r.client.as_ref().map(|client| client.name.clone()).unwrap_or_default(),
        scopes |r| scopes_of(r.client.as_ref());
    DeleteClientRequest: "ClientService/DeleteClient", repeatable, |r| r.name.clone();
    ImportClientRequest: "ClientService/ImportClient", dry_runnable,
        |r| format!("{}/clients/{}", r.parent, r.client_id), scopes |r| scopes_of(r.client.as_ref());
    RotateClientSecretRequest: "ClientService/RotateClientSecret", dry_runnable, |r| r.name.clone();
    ReplaceClientRequest: "ClientService/ReplaceClient", dry_runnable, |r| r.name.clone();
    RotateClientSecretsRequest: "ClientService/RotateClientSecrets", dry_runnable, |r| r.parent.clone();
    GetRotationRequest: "ClientService/GetRotation", read, |r| r.name.clone();
    ListRotationsRequest: "ClientService/ListRotations", read, |r| r.parent.clone();
    RevokeTokensRequest: "ClientService/RevokeTokens", repeatable, |r| match &r.target {
        Some(Target::Client(name) | Target::Tenant(name)) => name.clone(),
        Some(Target::TokenId(_) | Target::Token(_)) | None => String::new(),
    };
    RevealClientSecretRequest: "ClientService/RevealClientSecret", read, |r| r.name.clone();

    PutResourceServerRequest: "CatalogService/PutResourceServer", dry_runnable,
        |r| match r.resource_server.as_ref().map(|server| Identifier::parse("identifier", &server.identifier)) {
            Some(Ok(identifier)) => identifier.name(),
            Some(Err(_)) | None => String::new(),
        };
    ListResourceServersRequest: "CatalogService/ListResourceServers", read, |_| "resourceServers".to_owned();
    DeleteResourceServerRequest: "CatalogService/DeleteResourceServer", repeatable, |r| r.name.clone();
    ListPoolsRequest: "CatalogService/ListPools", read, |_| "pools".to_owned();

    ListAuditEventsRequest: "AuditService/ListAuditEvents", read, |_| "auditEvents".to_owned();
    TailAuditEventsRequest: "AuditService/TailAuditEvents", read, |_| "auditEvents".to_owned();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{CreateTenantRequest, DeleteTenantRequest, ResumeTenantRequest, Tenant};

    fn promise<M: Asked>(mut request: M) -> IdempotentRequest {
        request.take_promise().expect("valid").expect("given")
    }

    fn create(id: &str, labels: &[(&str, &str)], validate_only: bool) -> CreateTenantRequest {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let tenant = Some(Tenant { labels, ..Default::default() });
        CreateTenantRequest { tenant_id: "acme".into(), tenant, request_id: id.into(), validate_only }
    }

    #[test]
    fn a_fingerprint_is_of_the_content_alone() {
        let once = promise(create("one", &[("a", "1"), ("b", "2")], false));
        assert_eq!(once.id.as_str(), "one");
        assert_eq!(once.fingerprint.len(), 64);
        assert_eq!(once.fingerprint, promise(create("two", &[("b", "2"), ("a", "1")], true)).fingerprint);
        assert_ne!(once.fingerprint, promise(create("one", &[("a", "1"), ("b", "3")], false)).fingerprint);
    }

    #[test]
    fn the_same_content_of_another_method_is_another_promise() {
        let name = || "tenants/acme".to_owned();
        let resume = ResumeTenantRequest { name: name(), request_id: "one".into() };
        let delete = DeleteTenantRequest { name: name(), request_id: "one".into(), ..Default::default() };
        assert_ne!(promise(resume).fingerprint, promise(delete).fingerprint);
    }

    #[test]
    fn taking_the_promise_leaves_the_request_as_it_was() {
        let mut request = create("one", &[], true);
        assert!(request.take_promise().expect("valid").is_some());
        assert_eq!(request, create("", &[], true));
        assert!(request.take_promise().expect("valid").is_none());
    }

    #[test]
    fn a_token_is_no_resource() {
        let target = Some(Target::Token("eyJhbGciOi".into()));
        assert_eq!(proto::RevokeTokensRequest { target, ..Default::default() }.resource(), "");
    }
}
