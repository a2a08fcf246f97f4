//! The catalogue of resource servers, and the pools that it is applied to.
