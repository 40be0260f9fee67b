//! A network on virtual time for tests: endpoints as nodes, datagrams lost, doubled, delayed and reordered by a seed.
//!
//! Compiled for the tests of this crate and, under the feature `testing`, for its fuzz targets. Never in the daemon.

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod held;
mod net;
pub mod operations;
#[cfg(test)]
mod storms;

pub use net::{Net, SentInvite, Weather, description, name_addr};
pub use operations::fuzz_operations;
