//! Keyward keeps the machine-to-machine credentials of a multi-tenant platform on Amazon Cognito.
//!
//! The program is the product; this library is how its parts see each other and how tests see them. `ARCHITECTURE.md`
//! has the map.

pub mod audit_file;
pub mod aws;
pub mod broker;
pub mod callers;
pub mod config;
pub mod counts;
pub mod daemon;
pub mod domain;
pub mod embedded;
pub mod grpc;
pub mod http;
pub mod net;
pub mod permission;
pub mod proto;
pub mod runtime;
pub mod sealing;
pub mod tour;
pub mod traces;
