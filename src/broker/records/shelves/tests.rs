//! Which form a record needs.

use std::sync::Arc;

use super::*;
use crate::domain::audit::Call;
use crate::domain::caller::Principal;
use crate::domain::client::RotationPolicy;
use crate::domain::id::{PoolId, SecretName};
use crate::domain::interactive::InteractiveSettings;
use crate::domain::journal::Task;
use crate::domain::scope::ScopeSet;
use crate::domain::sign_in::{SignInDomain, SignInDomainKind};
use crate::domain::tenant::{Isolation, MfaFactor, PasswordPolicy, TenantState, UserPoolSettings};

fn tenant() -> Tenant {
    Tenant {
        id: TenantId::parse("tenant", "acme").expect("valid"),
        uid: "0123456789abcdef".to_owned(),
        display_name: String::new(),
        isolation: Isolation::UserPool,
        state: TenantState::Active,
        state_reason: String::new(),
        labels: Default::default(),
        user_pool: Some(UserPoolSettings::default()),
        pool: PoolId::parse("pool", "tenant-acme").expect("valid"),
        revoked_before: None,
        identity_providers: Vec::new(),
        sign_in_domains: Vec::new(),
        moved: None,
        create_time: Timestamp::UNIX_EPOCH,
        update_time: Timestamp::UNIX_EPOCH,
    }
}

fn client() -> Client {
    Client {
        name: ClientName::parse("name", "tenants/acme/clients/orders").expect("valid"),
        uid: "0123456789abcdef".to_owned(),
        display_name: String::new(),
        state: ClientState::Active,
        labels: Default::default(),
        scopes: ScopeSet::default(),
        scopes_version: 0,
        access_token_validity: Duration::from_secs(3600),
        rotation: RotationPolicy::default(),
        pool: PoolId::parse("pool", "shared-1").expect("valid"),
        secret_name: SecretName::parse("name", "keyward/tenants/acme/clients/orders").expect("valid"),
        secret_readers: Vec::new(),
        app_client: None,
        replaced: Vec::new(),
        token_epoch: 0,
        imported: false,
        applied: true,
        interactive: None,
        revoked_before: None,
        rotate_time: None,
        next_rotate_time: None,
        create_time: Timestamp::UNIX_EPOCH,
        update_time: Timestamp::UNIX_EPOCH,
    }
}

fn call() -> Call {
    Call { principal: Principal::Keyward, method: Arc::from("test"), call_id: Arc::from("1"), request: None }
}

/// What a release that reads the first form alone would drop when it rewrites the record.
fn fields_of_second(record: &impl Record) -> Vec<&'static str> {
    let text = serde_json::to_string(record).expect("JSON");
    let all = [
        "identity_providers",
        "sign_in_domains",
        "moved",
        "mfa_factors",
        "domain\":",
        "temporary_validity_days",
        "history_size",
        "interactive",
    ];
    all.into_iter().filter(|field| text.contains(field)).collect()
}

#[test]
fn what_makes_no_use_of_the_second_form_is_of_the_first_and_has_none_of_its_fields() {
    assert_eq!((tenant().form(), fields_of_second(&tenant())), (Form::FIRST, vec![]));
    assert_eq!((client().form(), fields_of_second(&client())), (Form::FIRST, vec![]));
}

#[test]
fn whatever_makes_use_of_the_second_form_says_so() {
    let own = |settings: UserPoolSettings| Tenant { user_pool: Some(settings), ..tenant() };
    let passwords = |policy| own(UserPoolSettings { password_policy: policy, ..Default::default() });
    let domain = SignInDomain { domain: "example.com".to_owned(), kind: SignInDomainKind::Email };
    let tenants = [
        Tenant { sign_in_domains: vec![domain], ..tenant() },
        own(UserPoolSettings { mfa_factors: [MfaFactor::Totp].into(), ..Default::default() }),
        passwords(PasswordPolicy { temporary_validity_days: Some(7), ..Default::default() }),
        passwords(PasswordPolicy { history_size: 1, ..Default::default() }),
    ];
    for tenant in tenants {
        assert!(tenant.form() == Form::SECOND && !fields_of_second(&tenant).is_empty(), "{tenant:?}");
    }
    let interactive = InteractiveSettings {
        callback_urls: vec!["https://example.com/back".to_owned()],
        sign_out_urls: Vec::new(),
        standard_scopes: Default::default(),
        identity_providers: Default::default(),
        allow_native_accounts: false,
        id_token_validity: Duration::from_secs(3600),
        refresh_token_validity: Duration::from_secs(3600),
        default_sign_in: false,
    };
    assert_eq!(Client { interactive: Some(interactive), ..client() }.form(), Form::SECOND);
    let journal = Journal::new(Task::MoveTenant(tenant().id), &call(), Timestamp::UNIX_EPOCH);
    assert_eq!(journal.form(), Form::SECOND);
}
