//! The whole daemon on the AWS backend, over gRPC: against the strict fake, and against programs of others as far as
//! they go.

mod domains;
mod factors;
pub mod life;
mod peers;
mod region;
mod second_secrets;
