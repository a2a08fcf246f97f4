//! `WatchTrust`: what is sent to those who verify by themselves, and what is made of it.

mod limits;
pub mod mirror;
mod snapshot;
