//! The rules of the trade: what a valid name is, what a scope covers, what is left of a rotation, what makes a token
//! believable.
//!
//! Nothing here does I/O, waits or reads a clock: `now` is an argument.

pub mod audit;
pub mod authorizer;
pub mod caller;
pub mod chain;
pub mod claims;
pub mod client;
pub mod credential;
pub mod drift;
pub mod error;
pub mod form;
pub mod grant;
pub mod hosted_domain;
pub mod id;
pub mod interactive;
pub mod journal;
pub mod jws;
pub mod lease;
pub mod moving;
pub mod partition;
pub mod person;
pub mod pool;
pub mod provider;
pub mod quota;
pub mod reason;
pub mod revocation;
pub mod rotation;
pub mod scope;
pub mod secret;
pub mod share;
pub mod sign_in;
pub mod spiffe;
pub mod tenant;
pub mod token;
pub mod trust;
pub mod verifying_key;

pub use error::{Error, Kind, Result};
