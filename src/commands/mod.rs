//! Subcommands that work on the database alone: their arguments, and what they do and print.
//!
//! `main.rs` reads the configuration, opens the database and hands it in. What is printed goes to a writer, errors go
//! up to `main`, so that tests see both.

pub mod cases;
pub mod stats;
pub mod users;

/// The account under which commands write to the access log.
const ACTOR: &str = "command line";
