//! Health, reflection, the end of a daemon, what its log says.
