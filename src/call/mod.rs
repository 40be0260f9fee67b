//! One call: what it does ([`machine`]), what came of it ([`outcome`]), and why it ended ([`cause`]).
//!
//! Those three are pure: inputs and the time in, effects and events out. [`task`] carries effects out.

pub mod cause;
pub mod machine;
#[cfg(test)]
mod machine_random;
#[cfg(test)]
mod machine_tests;
pub mod outcome;
mod signals;
pub mod task;

pub use cause::{Cause, Class, LegFailure};
pub use outcome::{Marks, Outcome, Party, RecordingFate};
