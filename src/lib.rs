//! Keyward.
pub mod broker;
pub mod domain;
pub mod embedded;
