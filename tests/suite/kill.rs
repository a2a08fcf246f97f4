//! The real program, killed with SIGKILL in the middle of things, and started again on the same file.
