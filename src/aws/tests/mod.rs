//! The pure parts of the AWS backend.
