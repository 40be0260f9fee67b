//! The case store's own verbs: for now, bringing cases in from a file.
//!
//! What a case is stands in `store::cases`; whether it may be called is decided by `policy`.

pub mod import;
