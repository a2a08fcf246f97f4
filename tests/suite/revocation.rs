//! Revocation, suspension and deletion: what they make of tokens that are out.
