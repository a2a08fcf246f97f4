//! Keyward keeps the machine-to-machine credentials of a multi-tenant platform on Amazon Cognito.
//!
//! The program is the product; this library is how its parts see each other and how tests see them. `ARCHITECTURE.md`
//! has the map. Other programs use [`client`]: with `default-features = false` and the feature `client` the crate has that,
//! the contract and the domain, and none of what the daemon needs.

#[cfg(feature = "client")]
pub mod client;
pub mod domain;
pub mod proto;

#[cfg(feature = "server")]
pub mod audit_file;
#[cfg(feature = "server")]
pub mod aws;
#[cfg(feature = "server")]
pub mod broker;
#[cfg(feature = "server")]
pub mod callers;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod counts;
#[cfg(feature = "server")]
pub mod daemon;
#[cfg(feature = "server")]
pub mod dns;
#[cfg(feature = "server")]
pub mod embedded;
#[cfg(feature = "server")]
pub mod gate;
#[cfg(feature = "server")]
pub mod grpc;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod net;
#[cfg(feature = "server")]
pub mod oauth;
#[cfg(feature = "server")]
pub mod permission;
#[cfg(feature = "server")]
pub mod runtime;
#[cfg(feature = "server")]
pub mod sealing;
#[cfg(feature = "server")]
pub mod tour;
#[cfg(feature = "server")]
pub mod traces;
