//! The tour: a daemon's whole life over real gRPC, each call shown as the grpcurl command that does the same.
//!
//! It knows the contract alone, as descriptors: calls are made from JSON, as grpcurl makes them, so what is printed is
//! what was done. It sees nothing of the daemon from inside, and works as well against one on another machine's
//! loopback. Every expectation is checked, and nothing it prints holds a whole token.

mod guide;
mod load;
mod report;
mod screen;
mod story;
mod wire;

use std::io::{self, Write};

use tonic::Status;

use guide::Guide;
pub use report::{Check, Report};
use screen::Screen;
use story::Story;
use wire::Wire;

/// Where the tour goes, and how it is shown.
#[derive(Clone, Debug)]
pub struct Options {
    /// The daemon, such as `http://127.0.0.1:7443` or `127.0.0.1:7443`. Plaintext only.
    pub target: String,
    /// Added to the name of everything that is made, so that the tour can be gone through again on the same daemon.
    /// At most 20 characters of `[a-z0-9]`. Empty adds nothing.
    pub suffix: String,
    /// ANSI colours in what is written.
    pub color: bool,
    /// A moving progress bar on standard error. Without one, or without a terminal, there are plain lines only.
    pub progress: bool,
}

/// Why the tour could not be gone through at all. Expectations that were not met are in the [`Report`].
#[derive(Debug, thiserror::Error)]
pub enum TourError {
    #[error("{target}: must be like http://127.0.0.1:7443; the tour speaks plaintext gRPC")]
    Target { target: String },
    #[error("cannot reach {target}; is a broker running there? `keyward dev` starts one")]
    Connect { target: String, source: tonic::transport::Error },
    #[error("{method} failed with {:?}: {}", status.code(), status.message())]
    Call { method: String, status: Box<Status> },
    #[error("{method}: the contract that is built in does not fit the tour: {detail}")]
    Contract { method: String, detail: String },
    #[error("interrupted")]
    Interrupted,
    #[error("cannot write what the tour shows")]
    Output(#[from] io::Error),
}

/// Goes through the whole tour and writes it to `out`. It ends early, and takes away what it made, when `interrupted`
/// completes; pass [`std::future::pending`] where nobody interrupts.
pub async fn run(
    options: &Options,
    out: &mut (dyn Write + Send),
    interrupted: impl Future<Output = ()>,
) -> Result<Report, TourError> {
    let wire = Wire::connect(&options.target).await?;
    let mut story = Story::new(Guide::new(wire, Screen::new(out, options.color)), options);
    let told = tokio::select! {
        told = story.tell() => told,
        () = interrupted => Err(TourError::Interrupted),
    };
    let mut guide = story.into_guide();
    if let Err(error @ TourError::Call { .. }) = &told {
        guide.record_failure(error)?;
    }
    // A broken pipe or a contract that does not fit must not keep what was made from being taken away.
    let taken = guide.take_away().await;
    match told {
        Ok(()) | Err(TourError::Call { .. }) => taken.and(guide.conclude()),
        Err(other) => Err(other),
    }
}
