//! Programs and data of others that the AWS backend is tested against, and how they come here.
//!
//! They are pinned and brought by the tests themselves on first use: from PyPI into `target/peers/`, from crates.io into
//! `target/tools/`. Nothing here is AWS: what each of them does right and wrong is said at its head.

mod botocore;
mod dynoxide;
mod ministack;
mod moto;
mod process;
mod prometheus;
mod provision;
mod rotel;
mod sdk;
mod tests;

pub use botocore::service_model;
pub use moto::moto_python;
pub use process::Peer;
pub use prometheus::promtool;
pub use sdk::{Sdk, refusal};
