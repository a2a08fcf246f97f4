//! The whole daemon on the AWS backend, over gRPC: against the strict fake, and against programs of others as far as
//! they go.

pub mod domains;
mod factors;
mod leftovers;
pub mod life;
mod peers;
mod readers;
mod region;
mod second_secrets;
