//! What any daemon needs around its work: a clock, logs, readiness, word to the service manager, HTTP clients, an end, and
//! a memory that nobody else reads.
//!
//! Nothing here knows of tenants, tokens or gRPC services, nor reads configuration: whoever composes the daemon hands
//! the values in. The one thing taken from the broker is its [`Clock`](crate::broker::ports::Clock) port, which
//! [`clock`] implements.

pub mod behind;
pub mod clock;
pub mod descriptors;
pub mod http;
pub mod hygiene;
pub mod priority;
pub mod readiness;
pub mod service_manager;
pub mod shutdown;
pub mod telemetry;
pub mod wall_clock;
