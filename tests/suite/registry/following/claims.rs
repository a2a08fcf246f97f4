//! Names that tenants claim, and whom they lead to, where several brokers share a table.

use std::collections::BTreeMap;

use keyward::broker::api::{Hint, PassedOn, SignInQuestion};
use keyward::broker::ports::{Registry as _, Shelf};
use keyward::dns::{Dns, Options as DnsOptions};
use keyward::domain::sign_in::Claim;
use keyward::proto::SignInDomainKind;
use tonic::Status;

use super::*;
use crate::harness::{create_tenant, refusal};
use crate::peers::NameServer;
use crate::people::new_interactive;
use crate::sign_in::{about, domains, email, named, record};

/// A name server, and what was asked of it: names of records.
struct Asking {
    names: NameServer,
    dns: Dns,
    asked: Mutex<Vec<String>>,
}

impl Asking {
    async fn start() -> Arc<Asking> {
        let names = NameServer::start().await;
        let resolvers = vec![names.address().parse().expect("an address")];
        Arc::new(Asking {
            names,
            dns: Dns::new(DnsOptions { resolvers, ..Default::default() }),
            asked: Mutex::default(),
        })
    }

    /// How often each name was asked for since this was asked last.
    fn take(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for name in std::mem::take(&mut *self.asked.lock().expect("alone")) {
            *counts.entry(name).or_default() += 1;
        }
        counts
    }
}

#[async_trait]
impl DomainProofs for Asking {
    async fn has_txt(&self, name: &str, value: &str) -> PortResult<bool> {
        self.asked.lock().expect("alone").push(name.to_owned());
        self.dns.has_txt(name, value).await
    }
}

/// One that is asked and never answers.
#[derive(Default)]
struct Deaf(AtomicBool);

#[async_trait]
impl DomainProofs for Deaf {
    async fn has_txt(&self, _name: &str, _value: &str) -> PortResult<bool> {
        self.0.store(true, Ordering::SeqCst);
        std::future::pending().await
    }
}

async fn claim(daemon: &Daemon, tenant: &str, names: &[String]) -> Result<proto::Tenant, Status> {
    let names: Vec<_> = names.iter().map(|name| (name.as_str(), SignInDomainKind::Email)).collect();
    let request = proto::UpdateTenantRequest {
        tenant: Some(proto::Tenant { sign_in_domains: domains(&names), ..named(tenant) }),
        update_mask: mask(&["sign_in_domains"]),
        ..Default::default()
    };
    Ok(daemon.tenants().update_tenant(request).await?.into_inner())
}

async fn touch(daemon: &Daemon, tenant: &str) -> proto::Tenant {
    let request = proto::UpdateTenantRequest {
        tenant: Some(proto::Tenant { display_name: tenant.to_uppercase(), ..named(tenant) }),
        update_mask: mask(&["display_name"]),
        ..Default::default()
    };
    daemon.tenants().update_tenant(request).await.expect("changed").into_inner()
}

fn zone(tenant: &proto::Tenant) -> String {
    tenant.sign_in_domains.iter().map(record).collect()
}

async fn create_for_people(daemon: &Daemon, tenant: &str, client: &str) {
    let made = daemon.clients().create_client(new_interactive(tenant, client)).await.expect("created").into_inner();
    // Another broker may have taken up the work.
    until(async || get_client(&daemon.channel, &made.name).await.state() == proto::ClientState::Active).await;
}

/// The client to which an address of this domain leads.
async fn find(daemon: &Daemon, domain: &str) -> String {
    let answer = daemon.tenants().match_tenant(about(email(domain))).await.expect("answered").into_inner();
    assert_eq!(answer.client.is_empty(), answer.authorize_url.is_empty(), "{answer:?}");
    answer.client
}

/// The same, of a broker without a daemon around it.
async fn find_at(broker: &Working, domain: &str) -> String {
    let question = SignInQuestion {
        hint: Hint::Email(domain.to_owned()),
        client: None,
        redirect_uri: None,
        scopes: Vec::new(),
        passed: PassedOn::default(),
    };
    let matched = broker.matching.find(&question).await.expect("answered");
    matched.found.map(|found| found.client.to_string()).unwrap_or_default()
}

async fn stored(registry: &DynamoDb, name: &str) -> Claim {
    let stored = registry.get(Shelf::Claim, &format!("email/{name}")).await.expect("read").expect("there");
    serde_json::from_slice(&stored.body).expect("a claim")
}

const WEB: &str = "tenants/acme/clients/web";
const DESK: &str = "tenants/acme/clients/desk";

#[tokio::test(flavor = "multi_thread")]
async fn what_one_broker_has_verified_or_given_back_counts_so_at_the_others_within_a_second() {
    let asking = Asking::start().await;
    let pair = Pair::start_with(Some(asking.clone())).await;
    let (third, third_line) = pair.broker_with(asking.clone()).await;
    create_for_people(&pair.one, "acme", "web").await;
    let name = "acme.example".to_owned();
    let claimed = claim(&pair.one, "acme", std::slice::from_ref(&name)).await.expect("claimed");
    let heard = async || {
        let begun = pair.clock.now();
        pair.until_heard(&pair.line).await;
        pair.until_heard(&third_line).await;
        assert!(pair.clock.now().duration_since(begun) <= jiff::SignedDuration::from_secs(1));
    };
    heard().await;
    let everybody_says = async |client: &str| {
        assert_eq!(find(&pair.one, &name).await, client);
        assert_eq!(find(&pair.other, &name).await, client);
        assert_eq!(find_at(&third, &name).await, client);
    };
    everybody_says("").await;
    asking.names.knows(&zone(&claimed));
    assert!(touch(&pair.one, "acme").await.sign_in_domains[0].verified);
    heard().await;
    everybody_says(WEB).await;

    // Which client it is follows too, kept as it is at each.
    create_for_people(&pair.one, "acme", "desk").await;
    heard().await;
    everybody_says("").await;
    let gone = proto::DeleteClientRequest { name: WEB.to_owned(), ..Default::default() };
    pair.one.clients().delete_client(gone).await.expect("deleted");
    heard().await;
    everybody_says(DESK).await;

    claim(&pair.one, "acme", &[]).await.expect("given back");
    heard().await;
    everybody_says("").await;
    third.stop().await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_tenants_that_claim_one_name_at_two_brokers_at_one_time_one_has_it() {
    let pair = Pair::start().await;
    create_tenant(&pair.one.channel, "globex", proto::Isolation::AppClient).await;
    for round in 0..12 {
        let name = format!("n{round}.example");
        let names = std::slice::from_ref(&name);
        let (acme, globex) = tokio::join!(claim(&pair.one, "acme", names), claim(&pair.other, "globex", names));
        let (winner, late) = match (acme, globex) {
            (Ok(_), Err(late)) => ("acme", late),
            (Err(late), Ok(_)) => ("globex", late),
            both => panic!("{name}: {both:?}"),
        };
        assert_eq!(refusal::<()>(Err(late)), (Code::AlreadyExists, "DOMAIN_CLAIMED".to_owned()));
        assert_eq!(stored(&pair.line.feed, &name).await.tenant.as_str(), winner);
        for tenant in ["acme", "globex"] {
            let listed = crate::harness::get_tenant(&pair.one.channel, tenant).await.expect("there").sign_in_domains;
            assert_eq!(listed.iter().any(|listed| listed.domain == name), tenant == winner, "{tenant}: {listed:?}");
        }
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_looked_for_by_one_broker_each_time_however_many_there_are() {
    let asking = Asking::start().await;
    let pair = Pair::start_with(Some(asking.clone())).await;
    let (third, _) = pair.broker_with(asking.clone()).await;
    let names: Vec<_> = (0..12).map(|at| format!("n{at}.example")).collect();
    let claimed = claim(&pair.one, "acme", &names).await.expect("claimed");
    asking.names.knows(&zone(&claimed));
    asking.take();
    let once: BTreeMap<_, _> = claimed.sign_in_domains.iter().map(|name| (name.txt_record_name.clone(), 1)).collect();
    for wait in [Duration::from_secs(61), Duration::from_secs(6 * 3_600), Duration::from_secs(6 * 3_600)] {
        let due = pair.clock.now() + jiff::SignedDuration::try_from(wait).expect("short");
        pair.clock.advance(wait);
        for name in &names {
            until(async || stored(&pair.line.feed, name).await.verify_time.is_some_and(|time| time >= due)).await;
        }
        // Whoever came too late has looked for what is due meanwhile, and found nothing.
        pair.until_heard(&pair.line).await;
        assert_eq!(asking.take(), once);
    }
    third.stop().await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_over_which_a_broker_has_died_is_done_by_another() {
    let pair = Pair::start().await;
    let name = "acme.example".to_owned();
    let claimed = claim(&pair.one, "acme", std::slice::from_ref(&name)).await.expect("claimed");
    let Pair { one, other, clock, line, between, aws, .. } = pair;
    one.stop().await;
    other.stop().await;
    let deaf = Arc::new(Deaf::default());
    let (dying, _) = working(&between, &aws, &clock, deaf.clone()).await;
    clock.advance(Duration::from_secs(61));
    until(async || deaf.0.load(Ordering::SeqCst)).await;
    let taken = stored(&line.feed, &name).await;
    dying.kill();

    let asking = Asking::start().await;
    asking.names.knows(&zone(&claimed));
    let (heir, _) = working(&between, &aws, &clock, asking.clone()).await;
    let left = taken.look_time.duration_since(clock.now()).as_secs();
    assert!((1..=60).contains(&left), "{taken:?}");
    clock.set(taken.look_time - MILLISECOND);
    between.calls_of("Query");
    until(async || between.calls_of("Query") > 0).await;
    assert_eq!(asking.take(), BTreeMap::new(), "the other may be at it");
    clock.advance(MILLISECOND);
    until(async || stored(&line.feed, &name).await.verified).await;
    assert_eq!(asking.take().into_values().collect::<Vec<_>>(), [1]);
    heir.stop().await;
    assert_eq!(between.complaints(), Vec::<String>::new());
}

/// Claim, tenant, its clients for people, client, pool.
const READS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_costs_the_table_the_same_at_every_broker_whether_it_is_known_or_not() {
    let asking = Asking::start().await;
    let pair = Pair::start_with(Some(asking.clone())).await;
    create_for_people(&pair.one, "acme", "web").await;
    let claimed = claim(&pair.one, "acme", &["acme.example".to_owned()]).await.expect("claimed");
    asking.names.knows(&zone(&claimed));
    touch(&pair.one, "acme").await;
    let (third, line) = pair.broker_with(asking.clone()).await;
    pair.until_heard(&pair.line).await;
    pair.until_heard(&line).await;
    let reads = || pair.between.calls_of("GetItem") + pair.between.calls_of("Query");
    let question = std::cell::Cell::new(0);
    let nobodys = || {
        question.set(question.get() + 1);
        format!("n{}.example", question.get())
    };
    // What the clock has set going ends first.
    for at in ["one", "other", "third"] {
        let ask = async |domain: &str| match at {
            "one" => find(&pair.one, domain).await,
            "other" => find(&pair.other, domain).await,
            _ => find_at(&third, domain).await,
        };
        until(async || {
            let domain = nobodys();
            reads();
            assert_eq!(ask(&domain).await, "", "{at}");
            let first = reads();
            assert_eq!(ask(&domain).await, "", "{at}");
            (first, reads()) == (READS, 0)
        })
        .await;
        reads();
        assert_eq!(ask("acme.example").await, WEB, "{at}");
        if at == "third" {
            assert_eq!(reads(), READS, "it knew nothing of it");
        }
    }
    third.stop().await;
    pair.stop().await;
}
