//! What a broker still does while DynamoDB is away from it, for how long, and that all is well afterwards.

use std::time::{Duration, Instant};

use keyward::proto;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::revoke_tokens_request::Target;
use keyward::proto::tenant_service_client::TenantServiceClient;
use keyward::proto::verification_service_client::VerificationServiceClient;
use keyward::proto::verify_token_response::Verdict;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::TURNS;
use crate::fleet;
use crate::harness::{ErrorDetails, details, token};
use crate::holder::Holder;
use crate::line::Cut;
use crate::world::{Site, World};

/// `registry.verdicts_without_feed` and `registry.tokens_without_feed`.
const VERDICTS: Duration = Duration::from_secs(3);
const TOKENS: Duration = Duration::from_secs(6);
/// A broker counts from the last time that it heard of changes: `registry.feed_interval` before the cut, and what a read
/// takes.
const EARLY: Duration = Duration::from_millis(750);
/// What the answer that tells may be late by.
const LATE: Duration = Duration::from_millis(750);
const ASKING: Duration = Duration::from_millis(50);
/// What the machine had no time for is allowed for.
const STARVED: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_its_table_goes_on_for_as_long_as_is_stated() {
    let _among_others = TURNS.read().await;
    let world = World::start(&format!(
        "registry.verdicts_without_feed = '{}s'\nregistry.tokens_without_feed = '{}s'\n",
        VERDICTS.as_secs(),
        TOKENS.as_secs()
    ))
    .await;
    let names = fleet::onboard(&world, 2).await;
    let pulse = CancellationToken::new();
    tokio::join!(
        async {
            let _over = pulse.clone().drop_guard();
            go_without(&world, &names).await;
        },
        world.feel_pulse(STARVED, pulse.clone())
    );
    fleet::settle(&world).await;
    fleet::check(&world, &names).await;
    assert_eq!(world.end(), Vec::<String>::new());
}

async fn go_without(world: &World, names: &[String]) {
    let (site, other) = (&world.sites[0], &world.sites[1]);
    let holder = Holder::of(&world.fake, &names[0]).await;
    for cut in [Cut::Broken, Cut::Silent] {
        // What it has still to hear of could cost it what it holds.
        heard_of_all(site, other, &holder).await;
        let (good, stolen) = (holder.fetch().await.expect("a token"), holder.fetch().await.expect("a token"));
        assert!(
            is_verified(site, &good).await.expect("a verdict") && is_verified(site, &stolen).await.expect("a verdict")
        );
        let held = token(&site.channel(), &names[1]).await.expect("a token");

        site.cut_table(cut);
        let away = Instant::now();
        let request = proto::RevokeTokensRequest { target: Some(Target::Token(stolen.clone())), ..Default::default() };
        let revoked = ClientServiceClient::new(other.channel()).revoke_tokens(request).await;
        revoked.expect("the others go on");
        let revoked = Instant::now();

        let (verdicts, tokens, changes) = tokio::join!(
            until_refused(away, async || is_verified(site, &good).await.map(|is_good| assert!(is_good))),
            until_refused(away, async || {
                token(&site.channel(), &names[1]).await.map(|token| assert_eq!(token.access_token, held.access_token))
            }),
            refused_at_once(site, &names[0]),
        );
        println!("{cut:?}: verdicts for {verdicts:.1?}, tokens for {tokens:.1?}, no change after {changes:.1?}");
        let starved = world.starved();
        for (lasted, stated) in [(verdicts, VERDICTS), (tokens, TOKENS)] {
            let is_so = lasted + EARLY + starved >= stated && lasted <= stated + LATE + starved;
            assert!(is_so, "{lasted:?} and not {stated:?}; the machine had no time for {starved:?}");
        }
        // It was good for as long as is stated, and nobody is told so any more.
        assert!(revoked.elapsed() > VERDICTS);
        told(is_verified(site, &stolen).await.expect_err("nobody can tell"));

        site.mend_table();
        let mended = Instant::now();
        while is_verified(site, &good).await.is_err() {
            assert!(mended.elapsed() < PATIENCE, "it does not come back");
            tokio::time::interval_at((Instant::now() + ASKING).into(), ASKING).tick().await;
        }
        println!("{cut:?}: verdicts {:.1?} after it was mended", mended.elapsed());
        assert!(!is_verified(site, &stolen).await.expect("a verdict"), "it has heard what it missed");
        token(&site.channel(), &names[1]).await.expect("a token");
        // One that nobody holds.
        assert!(is_verified(site, &holder.fetch().await.expect("a token")).await.expect("a verdict"));
        let request =
            proto::RotateClientSecretRequest { name: names[1].clone(), immediate: true, ..Default::default() };
        ClientServiceClient::new(site.channel()).rotate_client_secret(request).await.expect("it is changed again");
    }
}

/// Returns once the first has heard of all that has changed until now, by whichever broker.
async fn heard_of_all(site: &Site, other: &Site, holder: &Holder) {
    let last = holder.fetch().await.expect("a token");
    // From now on it is held, and only the change makes another answer of it.
    assert!(is_verified(site, &last).await.expect("a verdict"));
    let request = proto::RevokeTokensRequest { target: Some(Target::Token(last.clone())), ..Default::default() };
    ClientServiceClient::new(other.channel()).revoke_tokens(request).await.expect("revoked");
    let mut asking = tokio::time::interval(ASKING);
    while is_verified(site, &last).await.expect("a verdict") {
        asking.tick().await;
    }
}

async fn is_verified(site: &Site, token: &str) -> Result<bool, Status> {
    let request = proto::VerifyTokenRequest { token: token.to_owned(), ..Default::default() };
    let answer = VerificationServiceClient::new(site.channel()).verify_token(request).await?;
    Ok(matches!(answer.into_inner().verdict.expect("a verdict"), Verdict::Verified(_)))
}

/// Asks until it is refused, and once more: how long after `away` it was answered.
async fn until_refused(away: Instant, ask: impl AsyncFn() -> Result<(), Status>) -> Duration {
    let mut asking = tokio::time::interval(ASKING);
    loop {
        asking.tick().await;
        let asked = Instant::now();
        if let Err(status) = ask().await {
            told(status);
            told(ask().await.expect_err("it does not change its mind"));
            return asked - away;
        }
        assert!(away.elapsed() < PATIENCE, "it is never refused");
    }
}

/// Whatever would have to be written down: how long the refusals took.
async fn refused_at_once(site: &Site, client: &str) -> Duration {
    let begun = Instant::now();
    let rotation = proto::RotateClientSecretRequest { name: client.to_owned(), ..Default::default() };
    let target = Some(Target::Client(client.to_owned()));
    let revocation = proto::RevokeTokensRequest { target, ..Default::default() };
    let suspension = proto::SuspendTenantRequest { name: "tenants/tenant-00".to_owned(), ..Default::default() };
    let mut clients = ClientServiceClient::new(site.channel());
    let mut others = clients.clone();
    let mut tenants = TenantServiceClient::new(site.channel());
    let (rotated, revoked, suspended) = tokio::join!(
        clients.rotate_client_secret(rotation),
        others.revoke_tokens(revocation),
        tenants.suspend_tenant(suspension)
    );
    told(rotated.expect_err("no rotation"));
    told(revoked.expect_err("no revocation"));
    told(suspended.expect_err("no suspension"));
    begun.elapsed()
}

/// The registry is at fault, and it helps to come back.
fn told(status: Status) {
    let ErrorDetails { code, reason, retry, .. } = details(&status);
    assert_eq!((code, reason.as_str(), retry), (Code::Unavailable, "REGISTRY_UNAVAILABLE", true), "{status:?}");
}
