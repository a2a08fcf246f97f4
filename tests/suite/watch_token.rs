//! `WatchToken`: a token that is always fresh.
