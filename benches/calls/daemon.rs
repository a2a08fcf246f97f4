//! The daemon that is measured, on the embedded backend.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use super::server::Server;

/// Whoever calls is an operator.
pub const EVERYBODY: &str = "[callers]\ntrust_loopback = true";

/// Starts the daemon on the folder `name` in `folder`, with a master key and a configuration beside it. `callers` is the part
/// of the configuration that says who may call; `under` goes before the program on its command line.
pub fn start(folder: &Path, name: &str, callers: &str, under: &[OsString]) -> Server {
    let key = folder.join(format!("{name}.master"));
    if !key.exists() {
        keyward::embedded::MasterKey::generate_file(&key).expect("a master key");
    }
    let config = format!(
        "listen = '127.0.0.1:0'\ndata_dir = '{}'\n{callers}\n[embedded]\nmaster_key_file = '{}'\n[limits]\n\
         calls_per_second = 1000000\ncalls_burst = 1000000\n",
        folder.join(name).display(),
        key.display()
    );
    let file = folder.join(format!("{name}.toml"));
    std::fs::write(&file, config).expect("written");
    // Another build of the daemon may be measured with this program: before and after a change.
    let program = std::env::var_os("KEYWARD_BENCH_DAEMON").unwrap_or_else(|| env!("CARGO_BIN_EXE_keyward").into());
    let words: Vec<_> = under.iter().cloned().chain([program]).collect();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env_remove("RUST_LOG").arg("serve").arg("--config").arg(file);
    Server::start(&mut command)
}
