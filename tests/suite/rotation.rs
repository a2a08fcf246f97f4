//! Rotation of secrets over days, by a clock that the test moves.
