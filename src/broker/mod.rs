pub mod api;
pub mod ports;
