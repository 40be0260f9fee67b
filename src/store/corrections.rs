//! Corrections: what changed in the figures of a day after it was sealed, one dated row per attempt and change.
//!
//! The roll-ups hold every correction at once, so that all reports agree; what was sealed is the roll-ups less the
//! corrections, and `ringfence stats check` proves it by the sealed hash.

use serde::{Deserialize, Serialize};

use super::{Error, Result, Tx, attempts, attempts::Attempt, db::Row};
use crate::{call::Cause, ids::CallId, stats::rollup::Changes};

/// What of an attempt can change after its day was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changeable {
    /// Why it ended.
    pub cause: Cause,
    /// When the customer INVITE left.
    pub seized_at_ms: Option<i64>,
    /// When the customer's phone first rang.
    pub rang_at_ms: Option<i64>,
    /// When the customer answered.
    pub answered_at_ms: Option<i64>,
    /// When it was over.
    pub ended_at_ms: i64,
    /// What the agent said came of it.
    pub disposition: String,
    /// Whether the right person was spoken to.
    pub right_party: bool,
}

/// One correction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// The sealed day that was corrected.
    pub date: String,
    /// The attempt that changed.
    pub attempt: CallId,
    /// Before; `None` if it had not ended.
    pub before: Option<Changeable>,
    /// Afterwards.
    pub after: Option<Changeable>,
    /// Who changed it.
    pub actor: String,
    /// When.
    pub made_at_ms: i64,
}

statements! {
    COUNT("count corrections") = "SELECT COUNT(*) AS n FROM corrections WHERE local_date BETWEEN $1 AND $2";
    INSERT("store a correction") =
        "INSERT INTO corrections (local_date, attempt_id, before, after, actor, made_at_ms) VALUES ($1, $2, $3, $4, $5, $6)";
    LIST("list the corrections") =
        "SELECT local_date, attempt_id, before, after, actor, made_at_ms FROM corrections
         WHERE local_date BETWEEN $1 AND $2 ORDER BY local_date, id";
}

impl Changeable {
    /// `None` while the attempt is under way.
    fn of(attempt: &Attempt) -> Option<Changeable> {
        Some(Changeable {
            cause: attempt.cause?,
            seized_at_ms: attempt.seized_at_ms,
            rang_at_ms: attempt.rang_at_ms,
            answered_at_ms: attempt.answered_at_ms,
            ended_at_ms: attempt.ended_at_ms?,
            disposition: attempt.disposition.clone(),
            right_party: attempt.right_party,
        })
    }

    /// The attempt as it was then.
    fn put_into(self, attempt: &Attempt) -> Attempt {
        Attempt {
            cause: Some(self.cause),
            class: Some(self.cause.class()),
            seized_at_ms: self.seized_at_ms,
            rang_at_ms: self.rang_at_ms,
            answered_at_ms: self.answered_at_ms,
            ended_at_ms: Some(self.ended_at_ms),
            disposition: self.disposition,
            right_party: self.right_party,
            ..attempt.clone()
        }
    }
}

/// Stores that an attempt of a sealed day changed. A test call, which is in no figure, leaves nothing.
pub(crate) async fn insert(
    tx: &mut Tx,
    old: &Attempt,
    new: &Attempt,
    actor: &str,
    now_ms: i64,
) -> Result<()> {
    if old.fact() == new.fact() {
        return Ok(());
    }
    let json = |attempt: &Attempt| {
        serde_json::to_string(&Changeable::of(attempt))
            .map_err(|_| Error::unknown("write a correction", "corrections"))
    };
    let args = args![
        &old.local_date,
        old.id,
        json(old)?,
        json(new)?,
        actor,
        now_ms
    ];
    tx.execute(&INSERT, args).await.map(drop)
}

/// The corrections of the days from `from` to `to`, both included, in the order in which they were made.
pub async fn list(tx: &mut Tx, from: &str, to: &str) -> Result<Vec<Correction>> {
    tx.fetch_all(&LIST, args![from, to])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// How many corrections the days from `from` to `to` have, both included.
pub async fn count(tx: &mut Tx, from: &str, to: &str) -> Result<i64> {
    tx.fetch_one(&COUNT, args![from, to]).await?.get("n")
}

/// What the corrections of a day changed in its roll-ups: sum of f(after) - f(before).
pub(crate) async fn changes(tx: &mut Tx, date: &str) -> Result<Changes> {
    let mut changes = Changes::default();
    for correction in list(tx, date, date).await? {
        let attempt = attempts::by_id(tx, correction.attempt)
            .await?
            .ok_or(Error::NotFound { what: "such call" })?;
        let fact = |then: Option<Changeable>| then.and_then(|c| c.put_into(&attempt).fact());
        changes.change(
            fact(correction.before).as_ref(),
            fact(correction.after).as_ref(),
        );
    }
    Ok(changes)
}

fn read(row: &Row) -> Result<Correction> {
    let then = |column| -> Result<Option<Changeable>> {
        serde_json::from_str(&row.get::<String>(column)?)
            .map_err(|_| Error::unknown("read a correction", column))
    };
    Ok(Correction {
        date: row.get("local_date")?,
        attempt: row.parse("attempt_id")?,
        before: then("before")?,
        after: then("after")?,
        actor: row.get("actor")?,
        made_at_ms: row.get("made_at_ms")?,
    })
}
