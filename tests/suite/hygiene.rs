//! No secret and no token in any log at any level, in any error, in any event.
