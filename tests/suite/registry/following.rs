//! Two daemons on one table: what one changes the other feels, and what it says while it cannot hear of changes.

mod claims;
mod watched;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::BoxFuture;
use jiff::Timestamp;
use keyward::aws::{Aws, DynamoDb};
use keyward::broker::api::{Hint, PassedOn, SignInQuestion};
use keyward::broker::ports::{
    ChangeFeed, Clock, DomainProofs, Fault, LoggedChange, Peer as Side, PortError, PortResult, ShareInForce, Wanted,
};
use keyward::broker::{Ports, Shared};
use keyward::config::Config;
use keyward::domain::error::Reason;
use keyward::domain::id::SecretName;
use keyward::domain::share::Share;
use keyward::proto::revoke_tokens_request::Target;
use keyward::proto::verify_token_response::Verdict;
use keyward::proto::{self, RejectionReason};
use keyward::runtime::clock::ManualClock;
use tonic::Code;

use super::between::Between;
use super::tables::TABLE;
use crate::fake::{Fake, REGION};
use crate::harness::brokers::Working;
use crate::harness::flowing::Flowing;
use crate::harness::on_aws::over_aws;
use crate::harness::rotations::get_client;
use crate::harness::{Daemon, claims, details, mask, metrics, start_time};
use crate::peers::Peer;
use crate::permission::until;

const ORDERS: &str = "tenants/acme/clients/orders";
/// The first answer may have to be made, the second is kept, the third is the one that was kept.
const TIMES: usize = 3;
const INTERVAL: Duration = Duration::from_millis(250);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A feed that can be cut off.
struct Line {
    feed: Arc<DynamoDb>,
    is_cut: AtomicBool,
    clock: Arc<ManualClock>,
    /// When it was asked last, and let it be.
    asked: Mutex<Timestamp>,
}

impl Line {
    fn to(feed: Arc<DynamoDb>, clock: Arc<ManualClock>) -> Arc<Line> {
        Arc::new(Line { feed, is_cut: AtomicBool::new(false), asked: Mutex::new(start_time()), clock })
    }

    fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }

    fn check(&self) -> PortResult<()> {
        let cut = || PortError::new(Side::Registry, Fault::Unavailable, "reading the feed", "cut off");
        if self.is_cut.load(Ordering::SeqCst) { Err(cut()) } else { Ok(()) }
    }
}

#[async_trait]
impl ChangeFeed for Line {
    async fn last_change(&self) -> PortResult<u64> {
        self.check()?;
        *self.asked.lock().expect("alone") = self.clock.now();
        self.feed.last_change().await
    }

    async fn changes(&self, after: u64, limit: usize) -> PortResult<Vec<LoggedChange>> {
        self.check()?;
        self.feed.changes(after, limit).await
    }
}

fn sharing(registry: &Arc<DynamoDb>, feed: Arc<dyn ChangeFeed>) -> Shared {
    Shared { feed, members: registry.clone(), share: Arc::new(ShareInForce::new(Share::Whole)), tokens: None }
}

/// Two daemons.
struct Pair {
    one: Daemon,
    other: Daemon,
    clock: Arc<ManualClock>,
    line: Arc<Line>,
    between: Between,
    aws: Aws,
    _fake: Fake,
}

impl Pair {
    async fn start() -> Pair {
        Pair::start_with(None).await
    }

    /// With these for both to look for records of DNS through.
    async fn start_with(proofs: Option<Arc<dyn DomainProofs>>) -> Pair {
        let (one, other, between) = super::pair(Peer::ministack().await).await;
        let clock = Arc::new(ManualClock::new(start_time()));
        let fake = Fake::start(clock.clone()).await;
        // Waiting under quotas moves the clock.
        let flowing: Arc<dyn Clock> = Arc::new(Flowing::new((*clock).clone()));
        let aws = Aws::connect(fake.options(), flowing).await.expect("connected");
        let (one, other) = (Arc::new(one), Arc::new(other));
        let line = Line::to(other.clone(), clock.clone());
        let on = async |registry: Arc<DynamoDb>, feed: Arc<dyn ChangeFeed>| {
            let shared = sharing(&registry, feed);
            let through = |ports: Ports| {
                let domain_proofs = proofs.clone().unwrap_or(ports.domain_proofs.clone());
                Ports { registry, shared: Some(shared), domain_proofs, ..over_aws(&aws, ports) }
            };
            let edit = |config: &mut Config| {
                // What AWS calls the broker's own.
                config.embedded.region = REGION.to_owned();
                config.registry.table = Some(TABLE.to_owned());
                config.status.listen = Some("127.0.0.1:0".parse().expect("an address"));
            };
            Daemon::start_through(clock.clone(), edit, through).await
        };
        let one = on(one.clone(), one).await;
        let other = on(other, line.clone()).await;
        one.put_orders_api().await;
        // The other one may take up the work first; then the answer does not wait for it.
        one.create_tenant("acme").await;
        let tenant = || proto::GetTenantRequest { name: "tenants/acme".to_owned() };
        until(async || {
            let tenant = one.tenants().get_tenant(tenant()).await.expect("a tenant").into_inner();
            tenant.state() == proto::TenantState::Active
        })
        .await;
        one.create_client("acme", "orders").await;
        until(async || get_client(&one.channel, ORDERS).await.state() == proto::ClientState::Active).await;
        Pair { one, other, clock, line, between, aws, _fake: fake }
    }

    /// A third one without a daemon around it, and its line.
    async fn broker(&self) -> (Working, Arc<Line>) {
        self.broker_with(Arc::new(keyward::dns::Dns::new(Default::default()))).await
    }

    async fn broker_with(&self, proofs: Arc<dyn DomainProofs>) -> (Working, Arc<Line>) {
        working(&self.between, &self.aws, &self.clock, proofs).await
    }

    /// Returns when everything that was changed so far has been taken to heart behind this line.
    async fn until_heard(&self, line: &Line) {
        // Whoever looks a second time has taken the first to heart.
        for _ in 0..2 {
            self.clock.advance(INTERVAL);
            until(async || *line.asked.lock().expect("alone") == self.clock.now()).await;
        }
    }

    /// In a box, since it holds both brokers.
    fn stop(self) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.one.stop().await;
            self.other.stop().await;
            assert_eq!(self.between.complaints(), Vec::<String>::new());
        })
    }

    /// Returns when the other says this of the token, while time goes on.
    async fn until_it_says(&self, token: &str, due: Result<(), RejectionReason>) {
        until(async || {
            self.clock.advance(INTERVAL);
            verify(&self.other, token).await == Ok(due)
        })
        .await;
    }
}

/// A broker at work, without a daemon around it, and its line.
async fn working(
    between: &Between,
    aws: &Aws,
    clock: &Arc<ManualClock>,
    domain_proofs: Arc<dyn DomainProofs>,
) -> (Working, Arc<Line>) {
    let registry = Arc::new(between.open(TABLE).await.expect("opened"));
    let line = Line::to(registry.clone(), clock.clone());
    let ports = Ports {
        user_pools: aws.user_pools(),
        token_endpoint: aws.token_endpoint(),
        key_source: aws.key_source(),
        vault: aws.vault(),
        shared: Some(sharing(&registry, line.clone())),
        registry,
        domain_proofs,
        clock: clock.clone(),
    };
    let broker = Working::open(ports).await.expect("a broker");
    broker.work();
    (broker, line)
}

/// Its silence, and the longest after which it still calls a token good, in seconds.
async fn silence(daemon: &Daemon) -> (f64, f64) {
    let metrics = metrics(daemon.status_address().expect("it serves its metrics")).await;
    let value = |series| metrics.value(series).expect(series);
    (value("keyward_feed_silence_seconds"), value("keyward_revocation_delay_limit_seconds"))
}

async fn get(daemon: &Daemon) -> Result<String, tonic::Status> {
    let mut token = Ok(String::new());
    for _ in 0..TIMES {
        let request = proto::GetTokenRequest { name: ORDERS.to_owned(), ..Default::default() };
        token = daemon.tokens().get_token(request).await.map(|token| token.into_inner().access_token);
    }
    token
}

/// Whether the token is good, or why not; fails where the daemon cannot tell.
async fn verify(daemon: &Daemon, token: &str) -> Result<Result<(), RejectionReason>, (Code, String)> {
    let mut said = Ok(Ok(()));
    for _ in 0..TIMES {
        let request = proto::VerifyTokenRequest { token: token.to_owned(), ..Default::default() };
        said = match daemon.verification().verify_token(request).await {
            Ok(answer) => Ok(match answer.into_inner().verdict.expect("a verdict") {
                Verdict::Verified(_) => Ok(()),
                Verdict::Rejected(rejected) => Err(rejected.reason()),
            }),
            Err(status) => {
                let details = details(&status);
                Err((details.code, details.reason))
            }
        };
    }
    said
}

async fn suspend(daemon: &Daemon) {
    let request = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().suspend_tenant(request).await.expect("suspended");
}

async fn revoke(daemon: &Daemon, target: Target) {
    let request = proto::RevokeTokensRequest { target: Some(target), ..Default::default() };
    daemon.clients().revoke_tokens(request).await.expect("revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_broker_changes_the_other_feels() {
    let pair = Pair::start().await;
    let token = get(&pair.other).await.expect("a token");
    assert_eq!(verify(&pair.other, &token).await, Ok(Ok(())));

    suspend(&pair.one).await;
    pair.until_it_says(&token, Err(RejectionReason::TenantSuspended)).await;
    assert_eq!(get(&pair.other).await.expect_err("suspended").code(), Code::FailedPrecondition);
    let resume = proto::ResumeTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    pair.one.tenants().resume_tenant(resume).await.expect("resumed");
    pair.until_it_says(&token, Ok(())).await;

    let id = claims(&token)["jti"].as_str().expect("an id").to_owned();
    revoke(&pair.one, Target::TokenId(id)).await;
    pair.until_it_says(&token, Err(RejectionReason::Revoked)).await;
    let next = get(&pair.other).await.expect("a token");
    assert_ne!(next, token);

    let client =
        proto::Client { name: ORDERS.to_owned(), scopes: vec!["orders/read".to_owned()], ..Default::default() };
    let update =
        proto::UpdateClientRequest { client: Some(client), update_mask: mask(&["scopes"]), ..Default::default() };
    pair.one.clients().update_client(update).await.expect("updated");
    until(async || {
        pair.clock.advance(INTERVAL);
        claims(&get(&pair.other).await.expect("a token"))["scope"] == "orders/read"
    })
    .await;

    let delete = proto::DeleteClientRequest { name: ORDERS.to_owned(), ..Default::default() };
    pair.one.clients().delete_client(delete).await.expect("deleted");
    pair.until_it_says(&next, Err(RejectionReason::ClientDeleted)).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hears_nothing_says_so_after_the_time_it_states() {
    let pair = Pair::start().await;
    let token = get(&pair.other).await.expect("a token");
    pair.until_heard(&pair.line).await;
    pair.line.cut(true);

    pair.clock.advance(Duration::from_secs(5) - INTERVAL);
    assert_eq!(verify(&pair.other, &token).await, Ok(Ok(())));
    pair.clock.advance(INTERVAL + MILLISECOND);
    let unavailable = (Code::Unavailable, "REGISTRY_UNAVAILABLE".to_owned());
    assert_eq!(verify(&pair.other, &token).await, Err(unavailable.clone()));
    assert_eq!(silence(&pair.other).await, (5.001, 5.0));
    assert_eq!(verify(&pair.other, "a.b.c").await, Ok(Err(RejectionReason::Malformed)), "that it can tell");
    assert_eq!(get(&pair.other).await.expect("held"), token);
    assert_eq!(verify(&pair.one, &token).await, Ok(Ok(())), "the other broker hears");

    pair.clock.advance(Duration::from_secs(295));
    assert_eq!(get(&pair.other).await.map_err(|status| status.code()), Err(Code::Unavailable));

    pair.line.cut(false);
    pair.until_it_says(&token, Ok(())).await;
    assert_eq!(get(&pair.other).await.expect("held"), token);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hears_nothing_refuses_nobody_by_what_may_be_over() {
    let pair = Pair::start().await;
    let token = get(&pair.other).await.expect("a token");
    suspend(&pair.one).await;
    pair.until_it_says(&token, Err(RejectionReason::TenantSuspended)).await;
    pair.until_heard(&pair.line).await;
    pair.line.cut(true);
    let resume = proto::ResumeTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    pair.one.tenants().resume_tenant(resume).await.expect("resumed");
    pair.clock.advance(Duration::from_secs(6));
    let unavailable = (Code::Unavailable, "REGISTRY_UNAVAILABLE".to_owned());
    assert_eq!(verify(&pair.other, &token).await, Err(unavailable));
    pair.line.cut(false);
    pair.until_it_says(&token, Ok(())).await;
    pair.stop().await;
}

/// Or a table that is away would cost all the tokens that are held, the moment after anybody's token was revoked.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_held_is_handed_out_without_the_table_after_others_were_revoked() {
    let pair = Pair::start().await;
    let token = get(&pair.other).await.expect("a token");
    // All that are revoked are read once, sooner or later.
    let revocations = std::cell::Cell::new(0);
    until(async || {
        revocations.set(revocations.get() + 1);
        revoke(&pair.one, Target::TokenId(format!("another-{}", revocations.get()))).await;
        for _ in 0..2 {
            pair.clock.advance(INTERVAL);
            until(async || *pair.line.asked.lock().expect("alone") == pair.clock.now()).await;
        }
        pair.between.calls_of("GetItem");
        assert_eq!(get(&pair.other).await.expect("held"), token);
        pair.between.calls_of("GetItem") == 0
    })
    .await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_missed_changes_forgets_everything() {
    let pair = Pair::start().await;
    let token = get(&pair.other).await.expect("a token");
    let id = claims(&token)["jti"].as_str().expect("an id").to_owned();
    pair.until_it_says(&token, Ok(())).await;
    for miss in [Some(Target::TokenId(id)), None] {
        pair.line.cut(true);
        let due = match miss {
            Some(target) => {
                revoke(&pair.one, target).await;
                RejectionReason::Revoked
            }
            // Which is looked at before.
            None => {
                suspend(&pair.one).await;
                RejectionReason::TenantSuspended
            }
        };
        assert_eq!(verify(&pair.other, &token).await.map(|said| said == Err(due)), Ok(false));
        // As DynamoDB does when their time is over.
        let text = |value: String| AttributeValue::S(value);
        let last = pair.line.feed.last_change().await.expect("read");
        for number in 1..=last {
            let line = pair.between.sdk().delete_item().table_name(TABLE).key("pk", text("change".to_owned()));
            line.key("sk", text(format!("{number:020}"))).send().await.expect("deleted");
        }
        pair.line.cut(false);
        pair.until_it_says(&token, Err(due)).await;
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hears_nothing_sends_nobody_to_a_sign_in_after_the_time_it_states() {
    let pair = Pair::start().await;
    let (broker, line) = pair.broker().await;
    let hint = async || {
        let hint = Hint::Email("acme.example".to_owned());
        let passed = PassedOn::default();
        let question = SignInQuestion { hint, client: None, redirect_uri: None, scopes: Vec::new(), passed };
        let said = broker.matching.find(&question).await;
        said.map(|matched| matched.found.is_some()).map_err(|error| error.reason())
    };
    pair.until_heard(&line).await;
    line.cut(true);
    pair.clock.advance(Duration::from_secs(5) - INTERVAL);
    assert_eq!(hint().await, Ok(false), "for so long it may not have heard");
    pair.clock.advance(INTERVAL + MILLISECOND);
    assert_eq!(hint().await, Err(Reason::RegistryUnavailable), "by now the name may be somebody's");
    line.cut(false);
    until(async || {
        pair.clock.advance(INTERVAL);
        hint().await == Ok(false)
    })
    .await;
    broker.stop().await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hears_nothing_takes_nobodys_secret_after_the_time_it_states() {
    let pair = Pair::start().await;
    let (broker, line) = pair.broker().await;
    let name = SecretName::parse("name", "keyward/tenants/acme/clients/orders").expect("a name");
    let current = pair.aws.vault().read(&name, Wanted::Current).await.expect("read").expect("there");
    let id = current.client_id.expect("an id");
    let check = async |secret: &str| {
        let said = broker.logins.check(id.as_str(), secret).await;
        said.map(|client| client.is_some()).map_err(|error| (error.reason(), error.retry_delay()))
    };
    let secret = current.client_secret.expose();
    // The second time from memory.
    for _ in 0..2 {
        assert_eq!(check(secret).await, Ok(true));
    }
    pair.until_heard(&line).await;
    line.cut(true);

    pair.clock.advance(Duration::from_secs(5) - INTERVAL);
    // Waiting under quotas moves the clock as well.
    let rotate = proto::RotateClientSecretRequest { name: ORDERS.to_owned(), immediate: true, ..Default::default() };
    assert_eq!(check(secret).await, Ok(true), "for so long it may not have heard");
    pair.one.clients().rotate_client_secret(rotate).await.expect("rotated");
    pair.clock.advance(INTERVAL + MILLISECOND);
    let nobody_knows = Err((Reason::RegistryUnavailable, Some(INTERVAL)));
    assert_eq!(check(secret).await, nobody_knows);
    assert_eq!(check(&format!("{secret}0")).await, nobody_knows, "nor whether that is the new one");

    line.cut(false);
    until(async || {
        pair.clock.advance(INTERVAL);
        check(secret).await == Ok(false)
    })
    .await;
    broker.stop().await;
    pair.stop().await;
}
