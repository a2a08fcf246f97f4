//! Requests that are repeated, dry runs and etags.
