//! Coming to an end where several change one record at one time.

use crate::domain::error::{Reason, Result};

/// Attempts a read-change-commit again when somebody else was faster, a bounded number of times.
pub async fn settle<T, F>(attempt: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    /// Each failed attempt means that somebody else's succeeded, so this many in a row is a storm on one record.
    const ATTEMPTS: usize = 16;
    let mut result = attempt().await;
    for _ in 1..ATTEMPTS {
        match &result {
            Err(error) if error.reason() == Reason::ConcurrentChange => result = attempt().await,
            _ => break,
        }
    }
    result
}
