//! `keyward dev`: a broker to play with, with one command and no configuration.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use keyward::config::Config;
use keyward::net::Address;
use keyward::runtime::telemetry::Format;

use super::{Outcome, ReadyFile, Sockets, home, serve};

/// Start a broker to play with: embedded backend, no TLS, every caller an operator.
///
/// It listens on a loopback address only and refuses any other. What it keeps is in one folder, with the master key
/// that seals the secrets in it; start it again on the same folder and everything is still there.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  keyward dev\n  keyward dev --listen 127.0.0.1:0 --data /tmp/keyward --log-format json\n  \
                        grpcurl -plaintext 127.0.0.1:7443 keyward.v1.TenantService/ListTenants"
)]
pub(super) struct Args {
    /// Where to listen: a loopback address; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7443")]
    listen: SocketAddr,
    /// The folder of the data; made, with a new master key, where it is missing
    #[arg(long, value_name = "DIR", default_value = "keyward-data")]
    data: PathBuf,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
    #[command(flatten)]
    ready: ReadyFile,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

pub(super) async fn run(args: Args, sockets: Sockets) -> anyhow::Result<Outcome> {
    // Checked before anything is made on disk.
    Config::dev(args.listen, args.data.clone())?;
    let folder = home::prepare(&args.data)?;
    let mut config = Config::dev(args.listen, folder.clone())?;
    config.log.format = match args.log_format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    let announce = |address: &Address| {
        // A closed standard error is no reason not to serve.
        let _ = std::io::stderr().write_all(notice(address, &folder).as_bytes());
    };
    serve::run_daemon(config, sockets?, args.ready.ready_file.as_deref(), announce).await
}

fn notice(address: &Address, folder: &Path) -> String {
    let rule = "=".repeat(100);
    let open = if home::is_open_to_others(folder) {
        "  THE DATA FOLDER IS OPEN TO OTHER USERS OF THIS MACHINE: run chmod 700 on it.\n"
    } else {
        ""
    };
    format!(
        "{rule}\n  keyward dev: FOR DEVELOPMENT. EVERYONE WHO CAN CONNECT TO {address} IS AN OPERATOR.\n  \
         Nobody is authenticated and nothing is encrypted on the way, so only this machine can connect.\n\n  \
         data        {}\n  master key  {}\n{open}\n  \
         Try:  grpcurl -plaintext {address} list\n        \
         grpcurl -plaintext {address} keyward.v1.TenantService/ListTenants\n        \
         keyward tour --target http://{address}\n{rule}\n",
        folder.display(),
        folder.join("master.key").display(),
    )
}
