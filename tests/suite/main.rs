//! The daemon from outside: over real gRPC, on real files; and the real binary, started, asked, killed.
//!
//! One test program, so that the daemon is linked once.

mod adoption;
mod architecture;
mod assigned_secrets;
mod audit;
mod audit_file;
mod aws;
mod aws_faults;
mod aws_outage;
mod background;
mod bad_input;
mod callers;
mod catalog;
mod clients;
mod commands;
mod contract;
mod crash;
mod deployed;
mod fake;
#[path = "fake/tests/mod.rs"]
mod fake_tests;
mod fleet;
mod forms;
mod front;
mod harness;
mod hot;
mod hygiene;
mod isolation;
mod kill;
mod leases;
mod lists;
mod logins;
mod net;
mod operations;
mod peers;
mod permission;
mod readme;
mod ready;
mod reconciling;
mod registry;
mod replacement;
mod requests;
mod revocation;
mod rotation;
mod rotation_races;
mod rotation_schedule;
mod rotation_trouble;
mod seen;
mod shares;
mod smoke;
mod status;
mod tenants;
mod tokens;
mod verification;
mod watch_token;
