//! Clients: issued, changed, revealed, deleted.
