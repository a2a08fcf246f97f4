//! Every change and every denial is an event.
