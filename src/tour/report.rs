//! What the tour expected and what it found.

/// One expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was expected, as a sentence without its full stop.
    pub expectation: String,
    /// What was found instead. `None` when it was met.
    pub found: Option<String>,
}

/// Every expectation, in the order in which they were checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether every expectation was met, and there were any.
    pub fn is_good(&self) -> bool {
        !self.checks.is_empty() && self.failures().next().is_none()
    }

    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.found.is_some())
    }
}
