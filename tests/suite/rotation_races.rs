//! Two brokers on one world, rotating the same client.
