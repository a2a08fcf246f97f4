//! The domain of a tenant's own pool: what is asked for, what is in force meanwhile, and what is left in the end.

use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_cognitoidentityprovider::types::CustomDomainConfigType;
use keyward::aws::Options;
use keyward::broker::ports::{Clock as _, Shelf};
use keyward::config::Config;
use keyward::domain::pool::{MadePool, Pool};
use keyward::domain::tenant::Tenant;
use keyward::proto::hosted_domain::Form;
use keyward::proto::{self, DriftKind};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fake::signing::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use crate::fake::{After, Ceilings, Fault, OTHER_REGION, REGION};
use crate::harness::backend::Backend;
use crate::harness::on_aws::AwsStage;
use crate::harness::rotations::eventually;
use crate::harness::{get_tenant, mask, new_tenant_with_pool, refusal};
use crate::peers::Sdk;

const MINE: &str = "login.acme.example";
const CLIENT: &str = "tenants/acme/clients/checkout";

/// A domain of somebody's own, with a certificate that the fake takes.
pub fn custom(domain: &str) -> proto::HostedDomain {
    with_certificate(domain, "0aa0")
}

fn with_certificate(domain: &str, id: &str) -> proto::HostedDomain {
    let custom = proto::CustomHostedDomain {
        domain: domain.to_owned(),
        certificate_arn: certificate(id),
        cname_target: String::new(),
    };
    proto::HostedDomain { form: Some(Form::Custom(custom)) }
}

fn certificate(id: &str) -> String {
    format!("arn:aws:acm:us-east-1:123456789012:certificate/{id}")
}

pub fn prefix(prefix: &str) -> proto::HostedDomain {
    proto::HostedDomain { form: Some(Form::Prefix(prefix.to_owned())) }
}

pub struct Platform {
    pub stage: AwsStage,
    pub backend: Backend,
    /// Past the broker.
    sdk: Sdk,
}

impl Platform {
    pub async fn set() -> Self {
        Platform::set_with(|_| {}, |_| {}).await
    }

    pub async fn set_with(edit: impl FnOnce(&mut Config), tune: impl FnOnce(&mut Options)) -> Self {
        let kept = Mutex::new(None);
        let stage = AwsStage::set_through(edit, tune, |ports| {
            *kept.lock().expect("alone") = Some(ports.clone());
            ports
        })
        .await;
        let backend = Backend(kept.into_inner().expect("alone").expect("seen"));
        let sdk = Sdk::new(&stage.fake.endpoint(), REGION, ACCESS_KEY_ID, SECRET_ACCESS_KEY);
        Platform { stage, backend, sdk }
    }

    /// With the tenant `acme`, its domain, and its client.
    async fn with(domain: Option<proto::HostedDomain>) -> Self {
        let platform = Platform::set().await;
        platform.create("acme", domain).await.expect("created");
        platform.stage.daemon.create_client("acme", "checkout").await;
        platform
    }

    pub async fn create(&self, id: &str, domain: Option<proto::HostedDomain>) -> Result<proto::Tenant, Status> {
        let settings = proto::UserPoolSettings { domain, ..Default::default() };
        let request = new_tenant_with_pool(id, settings);
        Ok(self.stage.daemon.tenants().create_tenant(request).await?.into_inner())
    }

    pub async fn change(&self, id: &str, domain: Option<proto::HostedDomain>) -> Result<proto::Tenant, Status> {
        let tenant = proto::Tenant {
            name: format!("tenants/{id}"),
            user_pool: Some(proto::UserPoolSettings { domain, ..Default::default() }),
            ..Default::default()
        };
        let update_mask = mask(&["user_pool.domain"]);
        let request = proto::UpdateTenantRequest { tenant: Some(tenant), update_mask, ..Default::default() };
        Ok(self.stage.daemon.tenants().update_tenant(request).await?.into_inner())
    }

    pub async fn delete(&self, id: &str) {
        let request = proto::DeleteTenantRequest { name: format!("tenants/{id}"), ..Default::default() };
        self.stage.daemon.tenants().delete_tenant(request).await.expect("deleted");
        let gone = async || get_tenant(&self.stage.daemon.channel, id).await.is_err();
        self.until("the tenant is gone", gone).await;
    }

    /// Moves the clock to whatever is due next until it holds. No call is given up for that: what is under way is due
    /// already.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, holds: impl Fn() -> F) {
        eventually(what, async || {
            if holds().await {
                return true;
            }
            let next = self.backend.journals().await.into_iter().map(|journal| journal.due_time).min();
            if let Some(next) = next.filter(|next| *next > self.stage.clock.now()) {
                self.stage.clock.set(next);
            }
            false
        })
        .await;
    }

    pub async fn until_settled(&self) {
        self.until("no journal is left", async || self.backend.journals().await.is_empty()).await;
    }

    pub async fn made(&self, id: &str) -> MadePool {
        let tenant: Tenant = self.backend.record(Shelf::Tenant, id).await.expect("a tenant");
        let pool: Pool = self.backend.record(Shelf::Pool, tenant.pool.as_str()).await.expect("its pool");
        pool.made.expect("made")
    }

    /// The names of all domains that are there.
    fn domains(&self) -> Vec<String> {
        self.stage.fake.domains().into_iter().map(|(name, _)| name).collect()
    }

    /// How often an operation was carried out on a domain, by the last calls.
    fn calls(&self, operation: &str) -> usize {
        self.stage.fake.calls().iter().filter(|call| call.action.ends_with(&format!(":{operation}"))).count()
    }

    /// Custom domains of the Region, as `ListPools` tells.
    async fn domains_used(&self) -> i64 {
        let request = proto::ListPoolsRequest::default();
        let listed = self.stage.daemon.catalog().list_pools(request).await.expect("listed").into_inner();
        let is_it = |usage: &&proto::QuotaUsage| usage.quota == "Custom domains per Region" && usage.region == REGION;
        listed.quotas.iter().find(is_it).expect("told").used
    }

    pub async fn reconcile(&self, id: &str, mend: bool) -> Vec<proto::Drift> {
        let request = proto::ReconcileTenantRequest { name: format!("tenants/{id}"), mend, ..Default::default() };
        self.stage.daemon.tenants().reconcile_tenant(request).await.expect("reconciled").into_inner().drifts
    }
}

fn cname_of(tenant: &proto::Tenant) -> String {
    match tenant.user_pool.clone().and_then(|pool| pool.domain).and_then(|domain| domain.form) {
        Some(Form::Custom(custom)) => custom.cname_target,
        _ => String::new(),
    }
}

fn metadata(status: &Status, key: &str) -> String {
    let details = status.get_error_details();
    details.error_info().and_then(|info| info.metadata.get(key)).cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_domain_of_the_tenants_own_comes_beside_the_prefix_that_tokens_come_from() {
    let platform = Platform::set().await;
    let tenant = platform.create("acme", Some(custom(MINE))).await.expect("created");
    assert_eq!(tenant.state(), proto::TenantState::Active, "nobody waits for CloudFront");
    let cname = cname_of(&tenant);
    assert!(cname.ends_with(".cloudfront.net"), "{tenant:?}");
    let first = platform.made("acme").await;
    assert!(first.domain.starts_with("keyward-tenant-"), "people sign in there until the other is served: {first:?}");
    platform.stage.daemon.create_client("acme", "checkout").await;
    platform.backend.check_current_works(CLIENT).await;

    platform.until_settled().await;
    let served = platform.made("acme").await;
    assert_eq!((served.domain.as_str(), served.cname_target), (MINE, cname.clone()));
    assert_eq!(served.token_endpoint, first.token_endpoint);
    platform.backend.check_current_works(CLIENT).await;
    let now = get_tenant(&platform.stage.daemon.channel, "acme").await.expect("there");
    assert_eq!(cname_of(&now), cname);
    assert_eq!(platform.reconcile("acme", false).await, []);
    platform.stage.strike().await;
}

#[tokio::test]
async fn a_domain_of_the_tenants_own_comes_and_goes_without_a_moment_without_tokens() {
    let platform = Platform::with(None).await;
    let before = platform.made("acme").await;
    platform.stage.fake.forget_calls();
    for domain in [Some(custom(MINE)), Some(custom("auth.acme.example")), None] {
        let name = domain.as_ref().map_or(before.domain.clone(), |domain| match domain.form.clone() {
            Some(Form::Custom(custom)) => custom.domain,
            _ => String::new(),
        });
        platform.change("acme", domain).await.expect("changed");
        platform
            .until("it is in force", async || {
                platform.backend.check_current_works(CLIENT).await;
                platform.backend.journals().await.is_empty()
            })
            .await;
        let made = platform.made("acme").await;
        assert_eq!((made.domain, made.token_endpoint), (name, before.token_endpoint.clone()));
    }
    assert_eq!(platform.made("acme").await, before);
    assert_eq!(platform.domains(), [before.domain]);
    platform.stage.strike().await;
}

#[tokio::test]
async fn another_prefix_takes_the_place_of_the_first_once_it_is_known_to_be_free() {
    let platform = Platform::with(None).await;
    let before = platform.made("acme").await;
    platform.create("bigco", Some(prefix("bigco"))).await.expect("created");
    let status = platform.change("acme", Some(prefix("bigco"))).await.expect_err("another's");
    assert_eq!((status.code(), metadata(&status, "domain").as_str()), (Code::AlreadyExists, "bigco"));
    let unchanged = get_tenant(&platform.stage.daemon.channel, "acme").await.expect("there");
    assert_eq!((unchanged.user_pool.expect("settings").domain, platform.made("acme").await), (None, before.clone()));

    platform.change("acme", Some(prefix("acme-login"))).await.expect("changed");
    let after = platform.made("acme").await;
    assert_eq!(after.domain, "acme-login");
    assert_eq!(after.token_endpoint, before.token_endpoint.replace(&before.domain, "acme-login"));
    platform.backend.check_current_works(CLIENT).await;
    assert_eq!(platform.domains(), ["acme-login", "bigco"]);

    platform.change("acme", None).await.expect("changed back");
    assert_eq!(platform.made("acme").await, before);
    platform.backend.check_current_works(CLIENT).await;
    platform.stage.strike().await;
}

#[tokio::test]
async fn a_prefix_that_is_not_to_be_had_after_all_leaves_the_one_before_in_force() {
    for first in [None, Some(prefix("acme-first"))] {
        let platform = Platform::with(first).await;
        let before = platform.made("acme").await;
        let fault = Fault::Error("InvalidParameterException");
        platform.stage.fake.fail(After::calls(0).of("CreateUserPoolDomain"), fault);
        let refused = platform.change("acme", Some(prefix("acme-login"))).await;
        assert_eq!(refusal(refused), (Code::FailedPrecondition, "BACKEND_REFUSED".to_owned()));
        assert_eq!(platform.made("acme").await, before, "it came back");
        platform.backend.check_current_works(CLIENT).await;

        // The broker tries again by itself.
        platform.until_settled().await;
        assert_eq!(platform.made("acme").await.domain, "acme-login");
        platform.backend.check_current_works(CLIENT).await;
        platform.stage.strike().await;
    }
}

#[tokio::test]
async fn a_prefix_that_another_takes_meanwhile_does_not_cost_the_one_that_is_there() {
    let platform = Platform::with(None).await;
    let before = platform.made("acme").await;
    // It was free when it was asked for, and the first is not gone yet.
    platform.stage.fake.fail(After::calls(0).of("DeleteUserPoolDomain"), Fault::Internal);
    platform.change("acme", Some(prefix("wanted"))).await.expect_err("not now");
    platform.create("bigco", Some(prefix("wanted"))).await.expect("free");
    platform.stage.fake.forget_calls();
    platform.until("it is tried again", async || platform.calls("DescribeUserPoolDomain") > 0).await;
    let status = platform.change("acme", Some(prefix("wanted"))).await.expect_err("another's");
    assert_eq!(metadata(&status, "domain"), "wanted");
    assert_eq!((platform.calls("DeleteUserPoolDomain"), platform.made("acme").await), (0, before.clone()));
    platform.change("acme", None).await.expect("as it was");
    platform.until_settled().await;
    assert_eq!(platform.made("acme").await, before);
    platform.stage.strike().await;
}

/// Where it is gone, anybody may have it, and would be sent the ids and secrets of clients.
#[tokio::test]
async fn a_prefix_whose_deletion_nobody_has_heard_of_is_not_in_the_record_any_more() {
    for looks_fail in [false, true] {
        let platform = Platform::with(None).await;
        let before = platform.made("acme").await;
        platform.stage.fake.forget_calls();
        platform.stage.fake.fail(After::calls(0).of("DeleteUserPoolDomain"), Fault::LostAnswer);
        if looks_fail {
            // The first two are of the prefix that is wanted.
            platform.stage.fake.fail(After::calls(2).of("DescribeUserPoolDomain"), Fault::Internal);
        }
        let unheard = platform.change("acme", Some(prefix("acme-login"))).await;
        assert_eq!(refusal(unheard), (Code::Unavailable, "UPSTREAM_UNAVAILABLE".to_owned()));
        let now = platform.made("acme").await;
        assert_eq!((now.domain.as_str(), now.token_endpoint.as_str()), ("", ""), "{looks_fail}: not {before:?}");
        assert_eq!((platform.calls("DescribeUserPoolDomain"), platform.calls("CreateUserPoolDomain")), (3, 0));
        platform.until_settled().await;
        assert_eq!(platform.made("acme").await.domain, "acme-login");
        platform.backend.check_current_works(CLIENT).await;
        platform.stage.strike().await;
    }
}

#[tokio::test]
async fn a_prefix_of_the_tenants_choice_stays_beside_a_domain_of_its_own() {
    let platform = Platform::with(Some(prefix("acme-first"))).await;
    let before = platform.made("acme").await;
    platform.change("acme", Some(custom(MINE))).await.expect("changed");
    platform.until_settled().await;
    let after = platform.made("acme").await;
    assert_eq!((after.domain.as_str(), &after.token_endpoint), (MINE, &before.token_endpoint));
    assert_eq!(platform.domains(), ["acme-first", MINE]);
    platform.backend.check_current_works(CLIENT).await;
    platform.stage.strike().await;
}

#[tokio::test]
async fn a_domain_that_is_anothers_is_refused_before_anything_is_begun() {
    let platform = Platform::set().await;
    platform.create("acme", Some(custom(MINE))).await.expect("created");
    platform.create("bigco", Some(prefix("bigco"))).await.expect("created");
    for (domain, name) in [(custom(MINE), MINE), (prefix("bigco"), "bigco")] {
        let status = platform.create("third", Some(domain)).await.expect_err("another's");
        assert_eq!(metadata(&status, "domain"), name);
        assert_eq!(refusal::<()>(Err(status)), (Code::AlreadyExists, "DOMAIN_CLAIMED".to_owned()));
        assert!(get_tenant(&platform.stage.daemon.channel, "third").await.is_err(), "nothing was begun");
    }
    assert_eq!(platform.stage.fake.inventory().user_pools.len(), 2);

    // What another Region has cannot be seen. Cognito says it when the domain is made, and the tenant says it then.
    let settings =
        proto::UserPoolSettings { region: OTHER_REGION.to_owned(), domain: Some(custom(MINE)), ..Default::default() };
    let request = new_tenant_with_pool("far", settings);
    let tenant = platform.stage.daemon.tenants().create_tenant(request).await.expect("written down").into_inner();
    assert_eq!(tenant.state(), proto::TenantState::Creating);
    assert!(tenant.state_reason.contains("login.acme.example is another's"), "{tenant:?}");
    platform.delete("far").await;
    platform.stage.strike().await;
}

#[tokio::test]
async fn a_region_that_is_full_of_domains_says_which_quota_it_is() {
    let platform = Platform::with(None).await;
    for number in 0..4 {
        let id = format!("other-{number}");
        platform.create(&id, Some(custom(&format!("login.{id}.example")))).await.expect("created");
    }
    platform.stage.fake.forget_calls();
    let status = platform.change("acme", Some(custom(MINE))).await.expect_err("full");
    let told = ["quota", "limit"].map(|key| metadata(&status, key));
    assert_eq!(told, ["Custom domains per Region", "4"]);
    assert_eq!(refusal::<()>(Err(status)), (Code::ResourceExhausted, "QUOTA_EXCEEDED".to_owned()));
    assert_eq!(platform.calls("CreateUserPoolDomain"), 0, "that was known without asking");
    assert_eq!(platform.domains_used().await, 4);
    platform.backend.check_current_works(CLIENT).await;

    platform.delete("other-0").await;
    assert_eq!(platform.domains_used().await, 3);
    platform.change("acme", Some(custom(MINE))).await.expect("there is room");
    platform.until_settled().await;
    assert_eq!(platform.made("acme").await.domain, MINE);
    assert_eq!(platform.domains_used().await, 4);
    platform.change("acme", None).await.expect("changed back");
    assert_eq!(platform.domains_used().await, 3);
    platform.stage.strike().await;
}

/// What others have in the account is not in the registry.
#[tokio::test]
async fn a_region_that_others_have_filled_with_domains_says_the_same_and_the_domain_comes_when_there_is_room() {
    let platform = Platform::with(None).await;
    platform.stage.fake.set_ceilings(Ceilings { custom_domains: 0, ..Ceilings::default() });
    let status = platform.change("acme", Some(custom(MINE))).await.expect_err("full");
    let told = ["quota", "limit"].map(|key| metadata(&status, key));
    assert_eq!(told, ["Custom domains per Region", "4"]);
    assert_eq!(refusal::<()>(Err(status)), (Code::ResourceExhausted, "QUOTA_EXCEEDED".to_owned()));
    platform.backend.check_current_works(CLIENT).await;
    platform.stage.fake.set_ceilings(Ceilings::default());
    platform.until_settled().await;
    assert_eq!(platform.made("acme").await.domain, MINE);
    platform.stage.strike().await;
}

#[tokio::test]
async fn a_domain_that_cognito_refuses_says_what_it_needs_and_comes_when_it_has_it() {
    let platform = Platform::with(None).await;
    let before = platform.made("acme").await;
    platform.stage.fake.resolve("acme.example", false);
    let status = platform.change("acme", Some(custom(MINE))).await.expect_err("refused");
    assert!(status.message().contains("must resolve to an address"), "{status:?}");
    assert_eq!(refusal::<()>(Err(status)), (Code::FailedPrecondition, "BACKEND_REFUSED".to_owned()));
    assert_eq!(platform.made("acme").await, before);
    let creating = platform.create("third", Some(custom("auth.acme.example"))).await.expect("written down");
    assert_eq!(creating.state(), proto::TenantState::Creating);
    assert!(creating.state_reason.contains("must resolve to an address"), "{creating:?}");

    platform.stage.fake.resolve("acme.example", true);
    platform.until_settled().await;
    assert_eq!(platform.made("acme").await.domain, MINE);
    assert_eq!(platform.made("third").await.domain, "auth.acme.example");
    platform.stage.strike().await;
}

#[tokio::test]
async fn a_domain_that_keeps_a_tenant_from_coming_is_given_up_for_another_and_the_tenant_comes() {
    let platform = Platform::set().await;
    let active = |tenant: proto::Tenant| assert_eq!(tenant.state(), proto::TenantState::Active, "{tenant:?}");
    platform.stage.fake.resolve("acme.example", false);
    for id in ["one", "two", "three"] {
        let refused = platform.create(id, Some(custom(&format!("{id}.acme.example")))).await.expect("written down");
        assert_eq!(refused.state(), proto::TenantState::Creating);
    }
    let still = platform.change("one", Some(custom("other.acme.example"))).await;
    assert_eq!(refusal(still), (Code::FailedPrecondition, "BACKEND_REFUSED".to_owned()));
    active(platform.change("one", Some(custom("login.one.example"))).await.expect("it can be had"));
    active(platform.change("two", Some(prefix("two-login"))).await.expect("changed"));
    active(platform.change("three", None).await.expect("changed"));
    platform.until_settled().await;
    assert_eq!(platform.made("one").await.domain, "login.one.example");
    assert_eq!(platform.made("two").await.domain, "two-login");
    assert!(!platform.domains().iter().any(|domain| domain.ends_with("acme.example")), "{:?}", platform.domains());
    for id in ["one", "two", "three"] {
        assert_eq!(platform.reconcile(id, false).await, []);
    }
    platform.stage.strike().await;
}

#[tokio::test]
async fn a_prefix_that_keeps_a_pool_from_being_made_is_given_up_for_another() {
    let platform = Platform::set().await;
    let taken = Fault::Error("InvalidParameterException");
    platform.stage.fake.fail(After::calls(0).of("CreateUserPoolDomain"), taken);
    let refused = platform.create("acme", Some(prefix("acme-login"))).await.expect("written down");
    assert_eq!(refused.state(), proto::TenantState::Creating);
    let changed = platform.change("acme", Some(prefix("acme-signin"))).await.expect("changed");
    assert_eq!(changed.state(), proto::TenantState::Active);
    platform.until_settled().await;
    assert_eq!(platform.domains(), ["acme-signin"]);
    assert_eq!(platform.stage.fake.inventory().user_pools.len(), 1);
    platform.stage.daemon.create_client("acme", "checkout").await;
    platform.backend.check_current_works(CLIENT).await;
    platform.stage.strike().await;
}

#[tokio::test]
async fn a_domain_whose_making_has_failed_is_made_anew() {
    let platform = Platform::with(None).await;
    platform.stage.fake.fail_domain(MINE, true);
    platform.change("acme", Some(custom(MINE))).await.expect("on its way");
    platform.until("it was deleted", async || platform.calls("DeleteUserPoolDomain") > 0).await;
    assert!(platform.made("acme").await.domain.starts_with("keyward-tenant-"));
    platform.stage.fake.fail_domain(MINE, false);
    platform.until_settled().await;
    assert_eq!(platform.made("acme").await.domain, MINE);
    assert_eq!(platform.calls("CreateUserPoolDomain"), 3, "the prefix, and twice the other");
    platform.stage.strike().await;
}

#[tokio::test]
async fn another_certificate_is_given_to_the_domain_that_is_there() {
    let platform = Platform::with(Some(custom(MINE))).await;
    platform.until_settled().await;
    platform.stage.fake.forget_calls();
    platform.change("acme", Some(with_certificate(MINE, "0bb0"))).await.expect("changed");
    platform
        .until("it is in force", async || {
            assert_eq!(platform.made("acme").await.domain, MINE, "it is served all the while");
            platform.backend.journals().await.is_empty()
        })
        .await;
    let changes = ["Create", "Update", "Delete"].map(|verb| platform.calls(&format!("{verb}UserPoolDomain")));
    assert_eq!(changes, [0, 1, 0]);
    assert_eq!(platform.reconcile("acme", false).await, []);
    platform.stage.strike().await;
}

#[tokio::test]
async fn offboarding_takes_both_domains_before_the_pool_and_waits_until_they_are_gone() {
    let platform = Platform::with(Some(custom(MINE))).await;
    platform.until_settled().await;
    platform.stage.fake.forget_calls();
    let request = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    platform.stage.daemon.tenants().delete_tenant(request).await.expect("deleted");
    let waiting = get_tenant(&platform.stage.daemon.channel, "acme").await.expect("there until the domain is gone");
    assert_eq!(waiting.state_reason, "the identity backend does not answer", "nobody protects it: it takes time");
    platform.delete("acme").await;
    assert_eq!((platform.domains(), platform.stage.fake.inventory()), (vec![], Default::default()));
    let calls = platform.stage.fake.calls();
    // Who looks whether all is gone may come after it.
    let calls: Vec<_> = calls.into_iter().filter(|call| !call.action.contains(":Describe")).collect();
    let of = |operation: &str| calls.iter().rposition(|call| call.action.ends_with(operation)).expect("called");
    assert_eq!(of("DeleteUserPool"), calls.len() - 1, "the pool goes last");
    assert!(of("DeleteUserPoolClient") < of("DeleteUserPoolDomain"));

    // One whose domain is still on its way in.
    platform.create("acme", Some(custom(MINE))).await.expect("the name is free again");
    let request = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    platform.stage.daemon.tenants().delete_tenant(request).await.expect("deleted");
    let waiting = get_tenant(&platform.stage.daemon.channel, "acme").await.expect("there until the domain is gone");
    assert_eq!(waiting.state_reason, "the identity backend does not answer", "nobody protects it: it takes time");
    platform.until("it is gone", async || get_tenant(&platform.stage.daemon.channel, "acme").await.is_err()).await;
    assert_eq!((platform.domains(), platform.stage.fake.inventory()), (vec![], Default::default()));
    platform.stage.strike().await;
}

#[tokio::test]
async fn a_domain_that_was_changed_by_hand_is_told_and_put_back() {
    let platform = Platform::with(Some(custom(MINE))).await;
    platform.until_settled().await;
    let before = platform.made("acme").await;
    let pool = before.user_pool.as_str();
    let cognito = &platform.sdk.cognito;
    let field = async |mended: bool| {
        let drifts = platform.reconcile("acme", mended).await;
        let [drift] = drifts.as_slice() else { panic!("{drifts:?}") };
        assert_eq!((drift.kind(), drift.mended), (DriftKind::ChangedSetting, mended), "{drift:?}");
        drift.field.clone()
    };

    let other = CustomDomainConfigType::builder().certificate_arn(certificate("0cc0")).build().expect("a certificate");
    let update = cognito.update_user_pool_domain().user_pool_id(pool).domain(MINE).custom_domain_config(other);
    update.send().await.expect("updated");
    for mend in [false, true] {
        platform.stage.clock.advance(Duration::from_secs(3_600));
        assert_eq!(field(mend).await, "user_pool.domain.custom.certificate_arn");
    }
    platform.until_settled().await;
    assert_eq!(platform.reconcile("acme", false).await, []);

    cognito.delete_user_pool_domain().user_pool_id(pool).domain(MINE).send().await.expect("deleted");
    platform.stage.clock.advance(Duration::from_secs(3_600));
    for mend in [false, true] {
        assert_eq!(field(mend).await, "user_pool.domain");
    }
    platform.until_settled().await;
    let again = platform.made("acme").await;
    assert_eq!((&again.domain, &again.token_endpoint), (&before.domain, &before.token_endpoint));
    assert_eq!(platform.reconcile("acme", true).await, []);

    // The prefix that its tokens come from.
    platform.change("acme", None).await.expect("changed");
    let before = platform.made("acme").await;
    let delete = cognito.delete_user_pool_domain().user_pool_id(pool).domain(&before.domain);
    delete.send().await.expect("deleted");
    assert_eq!(field(false).await, "user_pool.domain");
    let create = cognito.create_user_pool_domain().user_pool_id(pool).domain("by-hand");
    create.send().await.expect("made");
    for mend in [false, true] {
        assert_eq!(field(mend).await, "user_pool.domain");
    }
    assert_eq!(platform.made("acme").await, before);
    platform.backend.check_current_works(CLIENT).await;
    assert_eq!(platform.reconcile("acme", true).await, []);
    platform.stage.strike().await;
}

#[tokio::test]
async fn what_is_refused_leaves_the_domain_of_its_own_in_force() {
    let platform = Platform::with(Some(custom(MINE))).await;
    platform.until_settled().await;
    let before = platform.made("acme").await;
    for (operation, wanted) in
        [("UpdateUserPoolDomain", with_certificate(MINE, "0bb0")), ("CreateUserPoolDomain", prefix("acme-login"))]
    {
        let fault = Fault::Error("InvalidParameterException");
        platform.stage.fake.fail(After::calls(0).of(operation), fault);
        let refused = platform.change("acme", Some(wanted)).await;
        assert_eq!(refusal(refused), (Code::FailedPrecondition, "BACKEND_REFUSED".to_owned()), "{operation}");
        assert_eq!(platform.made("acme").await, before, "{operation}");
    }
    platform.until_settled().await;
    assert_eq!(platform.made("acme").await.domain, "acme-login");
    platform.stage.strike().await;
}

#[tokio::test]
async fn a_pool_whose_prefixes_are_all_refused_has_the_brokers_choice_and_its_record_says_so() {
    let platform = Platform::with(Some(prefix("acme-first"))).await;
    let fault = Fault::Error("InvalidParameterException");
    platform.stage.fake.fail(After::calls(0).of("CreateUserPoolDomain").times(2), fault);
    let refused = platform.change("acme", Some(prefix("acme-login"))).await;
    assert_eq!(refusal(refused), (Code::FailedPrecondition, "BACKEND_REFUSED".to_owned()));
    let instead = platform.made("acme").await.domain;
    assert!(instead.starts_with("keyward-tenant-"), "{instead}");
    assert_eq!(platform.domains(), [instead]);
    platform.backend.check_current_works(CLIENT).await;
    platform.until_settled().await;
    assert_eq!(platform.domains(), ["acme-login"]);
    platform.stage.strike().await;
}

#[tokio::test]
async fn a_domain_of_ones_own_that_a_shared_pool_was_given_is_left_there() {
    let platform = Platform::set().await;
    platform.stage.daemon.create_tenant("acme").await;
    let pool = platform.made("acme").await;
    let config = CustomDomainConfigType::builder().certificate_arn(certificate("0aa0")).build().expect("a certificate");
    let create = platform.sdk.cognito.create_user_pool_domain().user_pool_id(pool.user_pool.as_str()).domain(MINE);
    create.custom_domain_config(config).send().await.expect("made");
    let request = proto::ReconcileTenantRequest { name: "tenants/-".to_owned(), mend: true, ..Default::default() };
    let found = platform.stage.daemon.tenants().reconcile_tenant(request).await.expect("reconciled").into_inner();
    assert_eq!(found.drifts, []);
    assert_eq!(platform.domains().len(), 2);
    platform.stage.strike().await;
}
