//! Whether an honest caller still gets its tokens in time while others do their worst.
//!
//! A test program of its own, so that no other test runs meanwhile. A process of its own serves; one caller over mutual TLS asks it for a token that is in its memory, two hundred times a
//! second. Windows with an attack lie between quiet ones, so that what else the machine does meanwhile weighs on both. What
//! is asserted is how the 99th percentile of all calls under an attack stands to that of all quiet calls beside them: of
//! single windows it is the fourth longest call, which is chance.
//!
//! What this shows is that no attack of these rates gets in the way by the server's own doing: by locks, queues, tasks that
//! do not yield, places and memory that run out. It is no claim about whoever can send more than the processor takes: the
//! attackers run with low priority, as they share two processors with their target.

mod attacks;
mod caller;
#[path = "../suite/harness"]
#[allow(dead_code, reason = "the other test program uses the rest")]
mod harness {
    mod binary;
    mod calls;
    pub mod http2;
    pub mod pki;

    pub use binary::Binary;
    pub use calls::{connect, create_client, create_tenant, folder, put_orders_api, token};
}

use std::path::Path;
use std::time::Duration;

use attacks::{Attack, Attackers};
use caller::{Caller, Calls};

use harness::pki::{Authority, Leaf, connect_tls, trusting};
use harness::{Binary, create_client, create_tenant, folder, put_orders_api};
use keyward::proto::Isolation;

const ROUNDS: usize = 6;
/// The 99th percentile under attack, by the quiet one's.
const MAX_RATIO: f64 = 3.0;
/// Of the serving process, whatever happens: what is resident at most.
const MAX_RESIDENT_MIB: f64 = 256.0;

#[test]
fn an_honest_caller_is_served_in_time_under_siege() {
    keyward::runtime::descriptors::make_room(0);
    let (_files, path) = folder();
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    servers.issue(Leaf::server()).write(&path, "tls");
    std::fs::write(path.join("clients.pem"), clients.pem()).expect("written");
    let broker = serve(&path);
    let operator = clients.issue(Leaf::client().uri("spiffe://example.org/operators/siege"));
    prepare(&broker.address, trusting(&servers, Some(&operator)));
    let orders = clients.issue(Leaf::client().uri("spiffe://example.org/tenants/acme/orders"));
    let caller = Caller::start(broker.address.clone(), trusting(&servers, Some(&orders)));
    // Whoever attacks has no certificate.
    let attackers = Attackers::start(broker.address.clone(), trusting(&servers, None));
    caller.window();

    let server = Process(broker.id());
    let mut rows: Vec<Row> = Attack::ALL.iter().map(|attack| Row::new(*attack)).collect();
    for _ in 0..ROUNDS {
        for row in &mut rows {
            let quiet = caller.window();
            attackers.begin(row.attack);
            let cpu = server.cpu();
            let attacked = caller.window();
            row.cpu.push((server.cpu() - cpu).as_secs_f64() / attacked.length.as_secs_f64());
            row.resident = row.resident.max(server.resident_mib());
            row.done += attackers.end();
            row.quiet.add(quiet);
            row.attacked.add(attacked);
        }
    }
    let peak = server.peak_mib();
    println!("{}", Row::HEAD);
    rows.iter().for_each(|row| println!("{row}"));
    println!("peak of the serving process: {peak:.0} MiB resident");

    for row in &rows {
        assert!(row.done > 0, "{:?} did nothing", row.attack);
        assert_eq!(row.quiet.failed + row.attacked.failed, 0, "calls failed beside or under {:?}", row.attack);
        assert!(
            row.ratio() <= MAX_RATIO,
            "{:?}: the 99th percentile is {:.1} times the quiet one",
            row.attack,
            row.ratio()
        );
    }
    assert!(peak <= MAX_RESIDENT_MIB, "{peak:.0} MiB are resident");
}

fn serve(folder: &Path) -> Binary {
    keyward::embedded::MasterKey::generate_file(&folder.join("master.key")).expect("a master key");
    let config = format!(
        "listen = '127.0.0.1:0'\ndata_dir = '{0}/data'\n[embedded]\nmaster_key_file = '{0}/master.key'\n[tls]\n\
         certificate_file = '{0}/tls.crt'\nkey_file = '{0}/tls.key'\nclient_ca_file = '{0}/clients.pem'\n\
         client_certificates = 'optional'\n[[callers.spiffe]]\ntrust_domain = 'example.org'\n[[callers.grant]]\n\
         caller = 'spiffe://example.org/operators/*'\nrole = 'operator'\n[[callers.grant]]\n\
         caller = 'spiffe://example.org/tenants/{{tenant}}/{{client}}'\n[log]\nfilter = 'warn,keyward::commands=info,keyward=info'\n",
        folder.display()
    );
    std::fs::write(folder.join("keyward.toml"), config).expect("written");
    Binary::start(Binary::command().arg("serve").arg("--config").arg(folder.join("keyward.toml")))
}

fn prepare(address: &str, operator: rustls::ClientConfig) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let channel = connect_tls(address, operator).await.expect("connected");
        put_orders_api(&channel).await;
        create_tenant(&channel, "acme", Isolation::AppClient).await;
        create_client(&channel, "acme", "orders").await;
    });
}

/// One attack in all rounds.
struct Row {
    attack: Attack,
    quiet: Calls,
    attacked: Calls,
    /// Processors that the server was busy on under attack.
    cpu: Vec<f64>,
    resident: f64,
    done: usize,
}

impl Row {
    const HEAD: &str = "attack           quiet p50/p99 ms   attacked p50/p99 ms   ratio of p99   server's processors   \
                        resident MiB   attacks made";

    fn new(attack: Attack) -> Self {
        let (quiet, attacked) = (Calls::default(), Calls::default());
        Row { attack, quiet, attacked, cpu: Vec::new(), resident: 0.0, done: 0 }
    }

    fn ratio(&self) -> f64 {
        self.attacked.percentile(99) / self.quiet.percentile(99)
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |calls: &Calls, percent| calls.percentile(percent) * 1e3;
        write!(
            f,
            "{:<16} {:>7.2} / {:<7.2}   {:>8.2} / {:<8.2}   {:>12.2}   {:>19.2}   {:>12.0}   {:>12}",
            format!("{:?}", self.attack),
            ms(&self.quiet, 50),
            ms(&self.quiet, 99),
            ms(&self.attacked, 50),
            ms(&self.attacked, 99),
            self.ratio(),
            self.cpu.iter().sum::<f64>() / self.cpu.len() as f64,
            self.resident,
            self.done,
        )
    }
}

/// The serving process, as the kernel accounts for it.
struct Process(u32);

impl Process {
    fn resident_mib(&self) -> f64 {
        self.status("VmRSS:")
    }

    fn peak_mib(&self) -> f64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.0)).expect("its status");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("there");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
    }

    /// Time on a processor so far, in all its threads: fields 14 and 15 of `proc_pid_stat(5)`, in hundredths of a second.
    fn cpu(&self) -> Duration {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).expect("its state");
        let (_, fields) = text.rsplit_once(')').expect("a name");
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(ticks * 10)
    }
}
