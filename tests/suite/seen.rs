//! What is seen of a daemon from outside: its metrics, what README says of them, and what `deploy/` makes of them.

mod calls;
mod deploy;
mod oauth;
mod picture;
mod table;
mod tokens;
mod traces;
mod work;

use keyward::config::Config;

/// Has a daemon tell its status on a free port.
fn told(config: &mut Config) {
    config.status.listen = Some("127.0.0.1:0".parse().expect("an address"));
}
