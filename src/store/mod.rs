//! The store: what the floor knows and must not forget, in SQLite (default) or PostgreSQL.
//!
//! One file a noun, each with free functions over `&mut `[`Tx`] (writes) or a read transaction, so that the caller
//! decides what belongs into one transaction. The nouns themselves are explained in `migrations/sqlite/`.
//!
//! What it never does: decide whether a call is allowed (that is `policy`), read the clock or draw random numbers
//! (times, ids and secrets are arguments), or put a phone number or a name into an error or a log line.
//!
//! Read next: [`db`] (the facade over both databases), then [`attempts`] (the fact every figure is a sum of).

#[macro_use]
pub(crate) mod sql;
pub mod access;
pub mod agent_days;
pub mod agent_states;
pub mod agents;
pub mod agreements;
pub mod allocations;
pub mod attempts;
pub mod bars;
pub mod batches;
mod bulk;
pub mod callbacks;
pub mod case_bulk;
pub mod case_changes;
pub mod case_states;
pub mod cases;
pub(crate) mod claims;
pub mod clients;
mod closer;
pub mod contact_points;
pub mod contracts;
pub mod corrections;
pub mod db;
pub mod dialogs;
pub mod dispositions;
mod error;
pub mod events;
pub mod facts;
pub mod figures;
pub mod foreign;
pub mod guards;
pub mod idempotency;
pub mod imports;
pub mod major_matters;
pub(crate) mod many;
pub mod notes;
pub mod number_faults;
pub mod outside_counts;
pub mod persons;
pub mod promises;
pub mod receipts;
pub mod recordings;
pub mod recovery;
pub mod repayments;
pub mod report_schedules;
pub mod rollups;
pub mod rule_lists;
pub mod rules;
pub mod sealed_days;
pub mod selection;
pub mod special_days;
pub mod tallies;
pub mod teams;
pub mod templates;
pub mod users;
pub mod work_clocks;

#[cfg(test)]
pub(crate) mod tests;

pub use db::{Db, Location, Options, Row, Tx, WorkLock};
pub use error::{ConstraintKind, Error, Result};
pub use sql::Dialect;
