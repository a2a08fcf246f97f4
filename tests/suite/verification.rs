//! Whose token is this: every rule, each with the reason of its own.
