//! Figures: what they mean, how a fact becomes sums, what is reported, and the recount that proves them.
//!
//! Every figure is a sum of facts. One fact is one ended attempt with its dimensions as they were at dial time;
//! [`rollup`] turns it into sums, `store::attempts::close` adds them in the transaction that ends the attempt,
//! [`report`] divides sums, [`check`] counts again from the attempts, [`seal`] closes a day, [`rebuild`] makes the
//! roll-ups anew. [`definitions`] says in words what is shown; `docs/figures.md` tells the whole.

pub mod caller_id_watch;
pub mod check;
pub mod day_sheets;
pub mod definitions;
pub mod keeper;
pub mod rebuild;
pub mod repaid;
pub mod report;
pub mod reports;
pub mod rollup;
pub mod scheduled;
pub mod seal;
pub mod timetable;
