//! Figures: what they mean, how a fact becomes sums, what is reported, and the recount that proves them.
//!
//! Every figure is a sum of facts. One fact is one ended attempt with its dimensions as they were at dial time;
//! [`rollup`] turns it into sums, `store::attempts::close` adds them in the transaction that ends the attempt,
//! [`report`] divides sums, and [`check`] counts again from the attempts. [`definitions`] says in words what is shown.

pub mod check;
pub mod definitions;
pub mod report;
pub mod rollup;
