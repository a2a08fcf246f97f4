//! Bad input names its field and changes nothing.
