//! The daemon from outside: over real gRPC, on real files; and the real binary, started, asked, killed.
//!
//! One test program, so that the daemon is linked once.

mod harness;
mod smoke;
