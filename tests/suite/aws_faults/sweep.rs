//! Tries everything that can go wrong at every call of an operation.
//!
//! The whole of it takes minutes, so that only `KEYWARD_TEST_ALL_FAULTS=1` has it. Otherwise a lost answer, the fault that
//! says least, comes at every call of a long operation, and the others take turns: each call meets some of them, and each
//! of them comes at some calls of each operation.
//!
//! The fake lives on a runtime of its own; every broker has another, which ends with it. So a broker that is killed is
//! gone with all that it had under way, and the next one has nothing but the registry file and what AWS says.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward::aws::Aws;
use keyward::broker::ports::Shelf;
use keyward::domain::client::Client;
use keyward::domain::scope::ScopeSet;
use keyward::runtime::clock::ManualClock;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::fake::{After, Fake, Fault, Propagation};
use crate::harness::aws_bench::{AwsBench, Image, memory_folder};
use crate::harness::brokers::{Working, call};
use crate::harness::start_time;

/// What is tried.
pub struct Operation {
    pub name: &'static str,
    /// It makes at least so many calls, so that the sweep does not shrink to nothing unnoticed.
    pub calls: usize,
    /// At least so many of them fetch a token.
    pub fetches: usize,
    /// The client, if there is one, whose current secret authenticates all the time.
    pub serves: Option<&'static str>,
    /// Whether a crash may leave what only a reconciliation takes away.
    pub leaves_orphans: bool,
}

impl Operation {
    pub fn new(name: &'static str, calls: usize, fetches: usize) -> Self {
        Operation { name, calls, fetches, serves: None, leaves_orphans: false }
    }
}

/// What goes wrong at a call, and how the broker ends then.
#[derive(Clone, Copy)]
struct Trouble {
    name: &'static str,
    fault: Fault,
    /// Only calls of this operation of AWS.
    of: Option<&'static str>,
    /// The broker is killed when it meets the fault. Else it sees what comes of the fault, and is stopped.
    kills: bool,
    /// Whether changes take a while to be seen by the token endpoint.
    is_slow: bool,
}

impl Trouble {
    const fn of(name: &'static str, fault: Fault) -> Self {
        Trouble { name, fault, of: None, kills: false, is_slow: false }
    }
}

/// Every fault of the fake.
const TROUBLES: [Trouble; 15] = [
    Trouble::of("throttled", Fault::Throttled),
    Trouble::of("internal", Fault::Internal),
    Trouble::of("http 500", Fault::Status(500)),
    Trouble::of("http 503", Fault::Status(503)),
    Trouble::of("hang", Fault::Hang),
    Trouble::of("done, hang", Fault::HangAfter),
    Trouble::of("reset", Fault::ResetBefore),
    Trouble::of("done, reset", Fault::ResetAfter),
    Trouble::of("done, torn", Fault::TornBody),
    Trouble::of("done, lost", Fault::LostAnswer),
    Trouble { kills: true, ..Trouble::of("killed", Fault::Hang) },
    Trouble { kills: true, ..Trouble::of("done, killed", Fault::HangAfter) },
    Trouble { is_slow: true, ..Trouble::of("slow, lost", Fault::LostAnswer) },
    Trouble { of: Some("Token"), ..Trouble::of("400 rate", Fault::RateExceeded) },
    Trouble { of: Some("Token"), ..Trouble::of("bad client", Fault::Error("invalid_client")) },
];

/// The one that comes at every call, whatever else does.
const EVERYWHERE: &str = "done, lost";
/// How many troubles take turns, and how many of them come at one call.
const TAKE_TURNS: usize = 13;
const AT_A_TIME: usize = 1;
/// Set, it has everything tried everywhere.
const WHOLE: &str = "KEYWARD_TEST_ALL_FAULTS";

/// Less than a call may take, so that a hang does not hide it.
const SLOW: Propagation = Propagation { appears: Duration::from_secs(4), lingers: Duration::from_secs(4) };
/// How long the daemon is away when it is started anew.
const AWAY: Duration = Duration::from_secs(1);

/// From what `prepare` leaves, `act` is tried once for each trouble at each call, and `check` looks at the end, with what
/// `act` has answered unless it was cut short.
pub fn sweep<T>(
    operation: &Operation,
    prepare: impl AsyncFn(&AwsBench, &Working),
    act: impl AsyncFn(&AwsBench, &Working) -> T,
    check: impl AsyncFn(&AwsBench, T),
) {
    let start = Instant::now();
    let stage = Stage::set();
    let image = stage.prepare(prepare);
    let (usual, slow) = (stage.calls(&image, false, &act), stage.calls(&image, true, &act));
    let (mut row, mut points) = (String::new(), 0);
    for (number, trouble) in TROUBLES.iter().enumerate() {
        let made = if trouble.is_slow { &slow } else { &usual };
        let is_of = |action: &&String| trouble.of.is_none_or(|of| action.ends_with(of));
        let calls = made.iter().filter(is_of).count();
        let takes_turns = calls >= TAKE_TURNS && trouble.of.is_none() && trouble.name != EVERYWHERE;
        let is_whole = !takes_turns || std::env::var_os(WHOLE).is_some();
        let has_its_turn = |call: &usize| is_whole || (call + number) % TAKE_TURNS < AT_A_TIME;
        let wanted: Vec<usize> = (0..calls).filter(has_its_turn).collect();
        let is_met = |call: &&usize| stage.fail(operation, &image, trouble, **call, &act, &check);
        let tried = wanted.iter().filter(is_met).count();
        let least = if trouble.of.is_some() { operation.fetches } else { operation.calls };
        assert!(calls >= least, "{}, {}: only {calls} calls", operation.name, trouble.name);
        assert_eq!(tried, wanted.len(), "{}, {}: calls that were not made", operation.name, trouble.name);
        points += tried;
        row += &format!(" {tried:>w$}", w = trouble.name.len());
    }
    tell(&format!("{:<36}{row} {points:>6} {:>6.1} s", operation.name, start.elapsed().as_secs_f64()));
}

/// Says it in the test's output, whether the test fails or not.
fn tell(row: &str) {
    static HEAD: std::sync::Once = std::sync::Once::new();
    let mut out = std::io::stdout().lock();
    HEAD.call_once(|| {
        let names: Vec<_> = TROUBLES.iter().map(|trouble| trouble.name).collect();
        let _ = writeln!(out, "\n{:<36} {} points", "points tried", names.join(" "));
    });
    let _ = writeln!(out, "{row}");
}

struct Stage {
    fake: Arc<Fake>,
    clock: Arc<ManualClock>,
    /// Some hundred milliseconds' work. All that it remembers is how often it has called.
    aws: Aws,
    _runtime: Runtime,
}

impl Stage {
    fn set() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let clock = Arc::new(ManualClock::new(start_time()));
        let fake = Arc::new(runtime.block_on(Fake::start(clock.clone())));
        fake.enforce_quotas();
        let aws = runtime.block_on(AwsBench::connect(&fake, &clock));
        Stage { fake, clock, aws, _runtime: runtime }
    }

    fn prepare(&self, prepare: impl AsyncFn(&AwsBench, &Working)) -> Image {
        let folder = Arc::new(memory_folder());
        self.live(&folder, async |bench| {
            bench.put_orders_api().await;
            let broker = bench.broker().await;
            prepare(bench, &broker).await;
            bench.settle(|| false).await;
            broker.stop().await;
            self.clock.advance(AWAY);
            bench.image()
        })
    }

    /// What is done on a runtime that ends with it.
    fn live<T>(&self, folder: &Arc<TempDir>, life: impl AsyncFnOnce(&AwsBench) -> T) -> T {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let bench = AwsBench::open(self.fake.clone(), self.aws.clone(), self.clock.clone(), folder.clone()).await;
            life(&bench).await
        })
    }

    /// The calls that the operation makes when all goes well.
    fn calls<T>(&self, image: &Image, is_slow: bool, act: &impl AsyncFn(&AwsBench, &Working) -> T) -> Vec<String> {
        let folder = self.begin(image, is_slow);
        self.live(&folder, async |bench| {
            let broker = bench.broker().await;
            act(bench, &broker).await;
            bench.settle(|| false).await;
            broker.stop().await;
        });
        self.fake.calls().into_iter().map(|call| call.action).collect()
    }

    /// Goes back to the image; the folder of the registry.
    fn begin(&self, image: &Image, is_slow: bool) -> Arc<TempDir> {
        let folder = image.restore(&self.fake, &self.clock);
        self.fake.propagate(if is_slow { SLOW } else { Propagation::default() });
        folder
    }

    /// Whether the operation came to that call.
    fn fail<T>(
        &self,
        operation: &Operation,
        image: &Image,
        trouble: &Trouble,
        point: usize,
        act: &impl AsyncFn(&AwsBench, &Working) -> T,
        check: &impl AsyncFn(&AwsBench, T),
    ) -> bool {
        let folder = self.begin(image, trouble.is_slow);
        if let Some(client) = operation.serves {
            self.fake.watch(&format!("keyward/{client}"));
        }
        let before = self.fake.faults_met();
        let is_met = || self.fake.faults_met() > before;
        let after = After::calls(point);
        self.fake.fail(trouble.of.map_or(after.clone(), |of| after.of(of)), trouble.fault);
        let answered = self.live(&folder, async |bench| {
            let broker = bench.broker().await;
            let life = async {
                let answered = act(bench, &broker).await;
                bench.settle(is_met).await;
                answered
            };
            let answered = tokio::select! {
                biased;
                () = self.wait_for_the_end(trouble) => return None,
                answered = life => answered,
            };
            broker.stop().await;
            Some(answered)
        });
        let met = is_met();
        self.fake.heal();
        self.clock.advance(AWAY);
        let words = format!("{}, {} at call {point}", operation.name, trouble.name);
        self.live(&folder, async |bench| {
            self.check(bench, operation, &words).await;
            if let Some(answered) = answered {
                check(bench, answered).await;
            }
        });
        met
    }

    /// Returns when the broker is to die. One that only waits too long for an answer is helped out of that.
    async fn wait_for_the_end(&self, trouble: &Trouble) {
        loop {
            self.fake.wait_for_hanging(1).await;
            if trouble.kills {
                return;
            }
            self.clock.advance(self.fake.options().call_timeout);
            self.fake.wait_for_none_hanging().await;
        }
    }

    /// The next broker finishes what there is to finish, finds nothing to mend, and serves every client.
    async fn check(&self, bench: &AwsBench, operation: &Operation, point: &str) {
        let broker = bench.broker().await;
        bench.settle(|| false).await;
        let found = broker.reconciling.reconcile(&call(), None, true).await.expect("compared");
        assert!(!found.truncated && found.drifts.iter().all(|drift| drift.mended), "{point}: {found:?}");
        assert!(operation.leaves_orphans || found.drifts.is_empty(), "{point}: {found:?}");
        let clients: Vec<Client> = bench.backend.records(Shelf::Client).await;
        for client in &clients {
            let token = broker.tokens.get(&client.name, &ScopeSet::default(), Duration::ZERO).await;
            assert!(token.is_ok(), "{point}: {} gets {token:?}", client.name);
        }
        broker.stop().await;
        let names: Vec<_> = clients.iter().map(|client| client.name.to_string()).collect();
        bench.check(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(self.fake.complaints(), Vec::<String>::new(), "{point}");
        assert_eq!(self.fake.throttled(), 0, "{point}");
    }
}
