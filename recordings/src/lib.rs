//! The vault: recordings encrypted while they are written.
