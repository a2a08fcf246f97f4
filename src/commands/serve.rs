//! `keyward serve`, and the running of a daemon from its start to its end that `keyward dev` shares.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use keyward::config::Config;
use keyward::daemon::{self, Running};
use keyward::net::Address;
use keyward::net::Inherited;
use keyward::runtime::clock::SystemClock;
use keyward::runtime::hygiene;
use keyward::runtime::service_manager::ServiceManager;
use keyward::runtime::shutdown::{self, Drained};
use keyward::runtime::{descriptors, telemetry};
use tokio_util::sync::CancellationToken;

use super::ready_file::{self, Written};
use super::{Outcome, ReadyFile, Sockets};

/// Run a broker as a configuration file says.
///
/// It answers until SIGTERM or SIGINT; then health says NOT_SERVING, calls under way are finished, for
/// shutdown.drain_deadline at the longest, and it exits. It speaks plaintext on loopback addresses and Unix sockets only;
/// anywhere else the file must have `[tls]`. It does not start before the file names a way for callers to prove who they
/// are, or says `trust_loopback = true`, under `[callers]`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The least configuration:\n  [callers]\n  trust_loopback = true\n\n  \
                        [embedded]\n  master_key_file = \"/etc/keyward/master.key\"    # openssl rand -base64 32\n\n\
                        Examples:\n  keyward serve --config keyward.toml\n  \
                        RUST_LOG=info,keyward::broker=debug keyward serve --config keyward.toml")]
pub(super) struct Args {
    /// The configuration, in TOML; `keyward check` explains it
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    ready: ReadyFile,
}

pub(super) async fn run(args: Args, sockets: Sockets) -> anyhow::Result<Outcome> {
    let config = Config::load(&args.config)?;
    config.master_key_source().map_err(|error| error.in_file(&args.config))?;
    run_daemon(config, sockets?, args.ready.ready_file.as_deref(), |_| {}).await
}

/// Starts the daemon, tells `announce` where it listens, and waits until it was asked to end or ended by itself.
pub(super) async fn run_daemon(
    config: Config,
    sockets: Inherited,
    ready_file: Option<&Path>,
    announce: impl FnOnce(&Address),
) -> anyhow::Result<Outcome> {
    telemetry::init(config.log.format, &config.log.filter).context("cannot set up logs")?;
    let hygiene::Protection { core_dumps, inspection, swap } = hygiene::protect();
    tracing::info!(%core_dumps, %inspection, %swap, "the process is protected");
    let fronts = if config.oauth.listen.is_some() { 2 } else { 1 };
    let most = config.limits.max_connections.saturating_mul(fronts);
    if let Some(room) = descriptors::make_room(most) {
        tracing::warn!(room, most, "the system lets the process have fewer connections than limits.max_connections");
    }
    let asked = shutdown::on_signals().context("cannot listen for signals")?;
    let manager = ServiceManager::from_env();
    manager.starts().await;
    let mut running = tokio::select! {
        started = daemon::start_on(config, Arc::new(SystemClock), sockets) => started.context("the daemon did not start")?,
        () = asked.cancelled() => return Ok(Outcome::Done),
    };
    announce(running.local_addr());
    if let Some(address) = running.status_address() {
        tracing::info!("status at {address}");
    }
    for address in running.addresses() {
        tracing::info!("listening on {address}");
    }
    for address in running.oauth_addresses() {
        tracing::info!("serving OAuth 2.0 on {address}");
    }
    let written = until_asked(&mut running, ready_file, &manager, &asked).await;
    manager.ends(running.longest_stop()).await;
    let drained = running.stop().await;
    match (written?, drained) {
        (_written, Drained::Clean) => {
            tracing::info!("ended");
            Ok(Outcome::Done)
        }
        (_written, Drained::Late(calls)) => {
            tracing::warn!(calls, "ended with calls under way");
            Ok(Outcome::Late)
        }
    }
}

/// Fails when the server ends although nobody asked it to.
async fn until_asked(
    running: &mut Running,
    ready_file: Option<&Path>,
    manager: &ServiceManager,
    asked: &CancellationToken,
) -> anyhow::Result<Option<Written>> {
    let addresses = running.addresses().to_vec();
    let readiness = running.readiness().clone();
    tokio::select! {
        () = readiness.wait_ready() => {}
        () = asked.cancelled() => return Ok(None),
        () = running.wait() => anyhow::bail!("the server ended before it was ready"),
    }
    let written = match ready_file {
        Some(path) => {
            let written = ready_file::write(path, &addresses);
            Some(written.with_context(|| format!("cannot write the ready file {}", path.display()))?)
        }
        None => None,
    };
    manager.serves(&addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(", ")).await;
    manager.keep_saying_that_it_lives(running.runtimes());
    tokio::select! {
        () = asked.cancelled() => Ok(written),
        () = running.wait() => anyhow::bail!("the server ended by itself"),
    }
}
