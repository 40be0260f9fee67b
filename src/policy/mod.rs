//! The gate: may this contact point be called now? Data and pure code, no IO, no clock of its own.
//!
//! [`decide`] takes everything it looks at as arguments and gives one [`Decision`]: allow or deny, every
//! reason, and a receipt from which [`replay`] comes to the same decision years later without database
//! or time-zone files. What is not known is refused. Read next: `facts.rs` (what is looked at), `rules.rs`
//! (what the rules can say), then one rule a file: `window.rs`, `holiday.rs`, `agreement.rs`, `bars.rs`, `caps.rs`,
//! `rest.rs`, `third_party.rs`. A number leaves this module only inside a [`Permit`], which `permit.rs` alone makes.

mod against;
mod agreement;
mod bars;
mod caps;
mod decide;
mod explain;
mod facts;
mod holiday;
mod permit;
mod reason;
mod receipt;
mod rest;
mod retention;
mod rules;
mod stricter;
#[cfg(test)]
pub(crate) mod tests;
mod third_party;
mod window;
mod wording;
mod zone;

pub use against::{Against, Comparison, replay_against};
pub use agreement::{AgreementFacts, AgreementRules};
pub use bars::{BarFacts, BarKind, BarScope};
pub use caps::{Cap, Measure, Period, Scope};
pub use decide::{Decision, Verdict, decide};
pub use explain::{ExplainLine, Outcome, explain};
pub use facts::{
    CaseFacts, CaseState, ContactPointFacts, Count, CountNeeded, Facts, Now, NumberFacts,
    NumberState, OwnNumbers, Relation,
};
pub use holiday::{SpecialDate, SpecialDay, dates_around, regions_of};
pub use permit::{
    Bounds, Destination, Extension, ExtensionError, Extensions, Permit, PermitExpired,
};
pub use reason::{Reason, Refusal};
pub use receipt::{EVALUATOR_VERSION, Receipt, ReplayError, Subject, replay};
pub use rest::{After, Gap, Last, LastNeeded, Pause};
pub use retention::RetentionRules;
pub use rules::{Preset, RingRules, RuleError, RuleSet};
pub use stricter::{FaultKind, RuleFault, RuleFaults};
pub use third_party::ThirdPartyRules;
pub use window::{Span, Week, WindowRules};
pub use zone::{ZoneSource, ZoneTimes, Zones};
