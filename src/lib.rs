//! The floor: who may call whom, what happens in a call, who may hear it.
//!
//! `main.rs` is the command line; everything it does is here, so that tests can reach it.

pub mod agent;
pub mod api;
pub mod call;
pub mod callbacks;
pub mod cases;
pub mod clock;
pub mod commands;
pub mod config;
pub mod coverage;
pub mod daemon;
pub mod export;
pub mod fact_journal;
pub mod ids;
pub mod library;
pub mod logging;
mod pace;
pub mod phone;
pub mod policy;
pub mod practice;
pub mod random;
pub mod recorder;
pub mod rounds;
pub mod rulebook;
mod settle;
mod sip_socket;
pub mod stats;
pub mod store;
pub mod switchboard;
pub mod trunk;
