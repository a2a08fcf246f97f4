//! What README.md says works as printed.
