//! Keyward.
pub mod broker;
pub mod domain;
