//! What would be decided, and why: the facts as they stand, the clock set to any instant. Nothing is stored, nothing
//! rings.

use std::sync::Arc;

use super::{Refused, find};
use crate::{
    clock::{ClockOrigin, ClockTrust},
    phone::PhoneNumber,
    policy::{self, Decision, Facts, Now, RuleSet},
    store::{self, Db, contact_points::Target, users::User},
};

/// What would be decided for one person of the case.
#[derive(Debug)]
pub struct Explained {
    /// Whom the call would be to.
    pub target: Target,
    /// Everything that was looked at.
    pub facts: Facts,
    /// What came of it; its permission is taken away.
    pub decision: Decision,
}

/// Explains a call to a number of a case at an instant by the rules of its client: once for each person of the case who has that number.
///
/// # Errors
/// [`Refused`].
pub async fn explain(
    db: &Db,
    rules: &Arc<RuleSet>,
    case: &find::CaseName,
    number: &PhoneNumber,
    at_ms: i64,
    viewer: Option<&User>,
) -> Result<Vec<Explained>, Refused> {
    // A transaction that can only read: whatever goes wrong here, nothing is stored.
    let mut tx = db.read().await?;
    let found = find::case(&mut tx, case, viewer).await?;
    let targets = find::points(&mut tx, &found, number).await?;
    let now = Now {
        wall_ms: at_ms,
        trust: ClockTrust::Trusted { error_ms: 0 },
        origin: ClockOrigin::System,
    };
    let mut explained = Vec::with_capacity(targets.len());
    for target in targets {
        let facts = store::facts::read(&mut tx, &target, rules.clone(), at_ms).await?;
        let mut decision = policy::decide(&facts, &now);
        drop(decision.take_permit());
        explained.push(Explained {
            target,
            facts,
            decision,
        });
    }
    Ok(explained)
}
