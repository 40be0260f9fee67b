//! The case store's own verbs: bringing cases in from files, and what their cells mean.
//!
//! What a case is stands in `store::cases`; whether it may be called is decided by `policy`.

pub mod bind;
pub mod bucket;
pub mod entry;
pub mod fields;
pub mod foreign;
pub mod identity;
pub mod import;
pub mod money;
pub mod sheet;
pub mod template;
