//! Tokens: fetched once, served to everybody, fresh; what a failing endpoint changes and what it does not.
