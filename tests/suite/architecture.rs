//! The arrows and invariants of ARCHITECTURE.md, held against the source.
