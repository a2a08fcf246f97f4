//! `keyward tour`: the tour on a daemon of its own, or on one that runs.

use std::hash::{BuildHasher as _, Hasher as _};
use std::io::IsTerminal as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use keyward::config::Config;
use keyward::daemon;
use keyward::runtime::clock::SystemClock;
use keyward::runtime::{shutdown, telemetry};
use keyward::tour::{self, Options, Report};
use tokio_util::sync::CancellationToken;

use super::{Outcome, home};

/// Go through a broker's whole life over gRPC, and check every answer.
///
/// Starts a broker on a free port with a data folder that is thrown away, or uses a running one. Two tenants, one of
/// each model; a client each; tokens and whose they are; a rotation under load; suspension, revocation, the audit log.
/// Each call is printed as the grpcurl command that does the same, with its answer. Exits 1 when an answer is not what
/// was expected.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keyward tour\n  keyward tour --target http://127.0.0.1:7443    \
                        on `keyward dev`; takes away what it made\n  keyward tour | less -R")]
pub(super) struct Args {
    /// A running broker, plaintext; otherwise one is started for the tour
    #[arg(long, value_name = "URL")]
    target: Option<String>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Outcome> {
    telemetry::init(telemetry::Format::Text, "warn").context("cannot set up logs")?;
    let asked = shutdown::on_signals().context("cannot listen for signals")?;
    let report = match args.target {
        Some(target) => go(target, random_suffix(), &asked).await?,
        None => on_a_daemon_of_its_own(&asked).await?,
    };
    if report.is_good() {
        return Ok(Outcome::Done);
    }
    for check in report.failures() {
        eprintln!("keyward: the tour expected that {}", check.expectation);
    }
    Ok(Outcome::Unmet)
}

async fn on_a_daemon_of_its_own(asked: &CancellationToken) -> anyhow::Result<Report> {
    let folder = tempfile::Builder::new().prefix("keyward-tour-").tempdir();
    let folder = folder.context("cannot make a temporary data folder")?;
    let data = home::prepare(folder.path())?;
    let config = Config::dev(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), data)?;
    let mut running = daemon::start(config, Arc::new(SystemClock)).await.context("the daemon did not start")?;
    let readiness = running.readiness().clone();
    let report = tokio::select! {
        () = readiness.wait_ready() => {
            println!("A broker of the tour's own listens on {}; its data goes when the tour ends.", running.local_addr());
            go(format!("http://{}", running.local_addr()), String::new(), asked).await
        }
        () = running.wait() => Err(anyhow::anyhow!("the daemon ended before it was ready")),
    };
    // Calls of an interrupted tour are of no interest any more.
    let _drained = running.stop().await;
    folder.close().context("cannot remove the temporary data folder")?;
    report
}

async fn go(target: String, suffix: String, asked: &CancellationToken) -> anyhow::Result<Report> {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let color = std::io::stdout().is_terminal() && !no_color;
    let options = Options { target, suffix, color, progress: true };
    Ok(tour::run(&options, &mut std::io::stdout(), asked.cancelled()).await?)
}

/// Five letters and digits, so that tours on one broker do not meet; they guard nothing.
fn random_suffix() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bits = std::hash::RandomState::new().build_hasher().finish();
    (0..5).map(|place| char::from(ALPHABET[(bits >> (5 * place)) as usize % ALPHABET.len()])).collect()
}
