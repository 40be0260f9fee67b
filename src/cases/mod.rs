//! The case store's own verbs: bringing cases in from files, and what their cells mean.
//!
//! What a case is stands in `store::cases`; whether it may be called is decided by `policy`.

pub mod allocate;
pub mod allocation;
pub mod bind;
pub mod bucket;
pub mod bulk;
pub mod entry;
pub mod fields;
pub mod foreign;
pub mod identity;
pub mod import;
pub mod marks;
pub mod matters;
pub mod money;
pub mod note_export;
pub mod note_filter;
pub mod note_template;
pub mod notes;
pub mod numbers;
pub mod overdue;
pub mod sheet;
pub mod template;
