//! The floor: who may call whom, what happens in a call, who may hear it.
//!
//! `main.rs` is the command line; everything it does is here, so that tests can reach it.

pub mod agent;
pub mod call;
pub mod cases;
pub mod clock;
pub mod commands;
pub mod ids;
pub mod phone;
pub mod policy;
pub mod stats;
pub mod store;
