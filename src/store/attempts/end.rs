//! The end of an attempt: what came of it, its roll-ups, its event, and what becomes known of it later.
//!
//! [`close_many`] ends a group in one transaction and writes each row of the roll-ups once; [`correct`] and
//! [`set_disposition`] write f(new) - f(old). Where the day is sealed already, a dated correction row says so.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{super::many::Many, Attempt, by_id, columns, read};
use crate::{
    call::{Cause, Outcome, Party},
    ids::CallId,
    stats::rollup::Changes,
    store::{Error, Result, Tx, corrections, events, notes, rollups, sealed_days, sql::Value},
};

/// How an attempt ended, in wall-clock time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Why.
    pub cause: Cause,
    /// Who ended it.
    pub ended_by: Party,
    /// Final SIP status of the leg that failed.
    pub sip_status: Option<u16>,
    /// Its Q.850 cause.
    pub q850: Option<u8>,
    /// When the customer INVITE left; `None` if none did, whatever was marked.
    pub seized_at_ms: Option<i64>,
    /// First ringing or early media of the customer.
    pub rang_at_ms: Option<i64>,
    /// Customer's 200 OK.
    pub answered_at_ms: Option<i64>,
    /// When it was over.
    pub ended_at_ms: i64,
    /// Talk time behind the closing hour.
    pub overrun_ms: i64,
}

impl Closing {
    /// The end that the call's machine reported. `began_ms` is the wall clock at the machine's beginning, to which its
    /// marks are relative.
    pub fn of(outcome: &Outcome, began_ms: i64) -> Closing {
        let at = |mark: Option<u64>| {
            mark.map(|ms| began_ms.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
        };
        let marks = &outcome.marks;
        let last = [
            marks.bridged_ms,
            marks.customer_answered_ms,
            marks.customer_ringing_ms,
            marks.invited_ms,
        ];
        let ended = marks.ended_ms.or_else(|| last.into_iter().flatten().max());
        Closing {
            cause: outcome.cause,
            ended_by: outcome.ended_by,
            sip_status: outcome.sip_status,
            q850: outcome.q850,
            seized_at_ms: at(marks.invited_ms).filter(|_| outcome.seized),
            rang_at_ms: at(marks.customer_ringing_ms),
            answered_at_ms: at(marks.customer_answered_ms).filter(|_| outcome.connected),
            ended_at_ms: at(ended).unwrap_or(began_ms),
            overrun_ms: i64::try_from(outcome.overrun_ms).unwrap_or(i64::MAX),
        }
    }

    /// The same end with times that follow each other from `started_at_ms` on. Nothing rings or answers without an
    /// INVITE, so a missing seizure time is filled from what came after it.
    fn in_order(&self, started_at_ms: i64) -> Closing {
        let ended = self.ended_at_ms.max(started_at_ms);
        let answered = self.answered_at_ms.map(|at| at.clamp(started_at_ms, ended));
        let latest_ring = answered.unwrap_or(ended);
        let rang = self
            .rang_at_ms
            .map(|at| at.clamp(started_at_ms, latest_ring));
        let latest_seizure = rang.unwrap_or(latest_ring);
        let seized = self
            .seized_at_ms
            .or(rang)
            .or(answered)
            .map(|at| at.clamp(started_at_ms, latest_seizure));
        Closing {
            seized_at_ms: seized,
            rang_at_ms: rang,
            answered_at_ms: answered,
            ended_at_ms: ended,
            overrun_ms: self.overrun_ms.max(0),
            ..self.clone()
        }
    }
}

impl Closing {
    /// The end of an attempt of which nothing is known but what was stored: seized if it was marked (the INVITE may
    /// have left, so it counts), and not connected, because an answer is stored with the end only.
    /// `connected` overrules that where the recording or the dialog journal shows an answer: its instant and the
    /// last instant of talk that is known.
    pub fn after_crash(
        attempt: &Attempt,
        cause: Cause,
        now_ms: i64,
        connected: Option<(i64, i64)>,
    ) -> Closing {
        Closing {
            cause: if connected.is_some() {
                Cause::Answered
            } else {
                cause
            },
            ended_by: Party::System,
            sip_status: None,
            q850: None,
            seized_at_ms: attempt.seized_at_ms,
            rang_at_ms: None,
            answered_at_ms: connected.map(|(answered, _)| answered),
            ended_at_ms: connected.map_or(now_ms, |(_, ended)| ended),
            overrun_ms: 0,
        }
    }
}

/// What [`close_many`] did with one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It was open and has ended now.
    Now,
    /// It had ended before; nothing changed.
    Before,
    /// There is no such attempt.
    Unknown,
}

/// Many attempts by their ids.
static READ: Many = Many::new(
    "read attempts",
    concat!("SELECT ", columns!(), " FROM attempts WHERE id IN ("),
    &[""],
    ")",
);
/// The ends of those that are open; gives back what may have been said of them while they were. Without a cause is the
/// same as without an end (a CHECK of the table), but no index has it: PostgreSQL would go through all that is under way.
static CLOSE: Many = Many::new(
    "close attempts",
    "UPDATE attempts SET seized_at_ms = v.column2, rang_at_ms = v.column3, answered_at_ms = v.column4,
            ended_at_ms = v.column5, cause = v.column6, class = v.column7, sip_status = v.column8, q850 = v.column9,
            ended_by = v.column10, overrun_ms = v.column11, settled = v.column12
     FROM (VALUES ",
    &[
        "TEXT", "BIGINT", "BIGINT", "BIGINT", "BIGINT", "TEXT", "TEXT", "BIGINT", "BIGINT", "TEXT", "BIGINT", "BIGINT",
    ],
    ") AS v WHERE attempts.id = v.column1 AND attempts.cause IS NULL
     RETURNING attempts.id, attempts.disposition, attempts.right_party",
);
/// For the test that prepares every statement.
#[cfg(test)]
pub(crate) static MANY: [&Many; 2] = [&READ, &CLOSE];

statements! {
    LOCK("begin to change an attempt") = "UPDATE attempts SET settled = settled WHERE id = $1";
    CORRECT("correct the end of an attempt") =
        "UPDATE attempts SET seized_at_ms = $2, rang_at_ms = $3, answered_at_ms = $4, ended_at_ms = $5, cause = $6,
                class = $7, sip_status = $8, q850 = $9, ended_by = $10, overrun_ms = $11, settled = $12
         WHERE id = $1";
    DISPOSE("note what came of an attempt") = "UPDATE attempts SET disposition = $2, right_party = $3 WHERE id = $1";
}

/// Closes an attempt: its end, the roll-ups and the event, all or nothing. Returns whether it was open; closing again
/// changes nothing. The daemon closes through [`crate::store::Db::close_attempt`], which makes groups.
///
/// # Errors
/// [`Error::NotFound`] if there is no such attempt.
pub async fn close(tx: &mut Tx, id: CallId, closing: &Closing) -> Result<bool> {
    let (closed, _) = close_all(tx, &[(id, closing.clone())], false).await?;
    match closed.first() {
        Some(Closed::Now) => Ok(true),
        Some(Closed::Before) => Ok(false),
        Some(Closed::Unknown) | None => Err(Error::NotFound { what: "such call" }),
    }
}

/// Closes a group of attempts, each as [`close`] does, and says for each what was done. The rows of the roll-ups that
/// they share are written once. An attempt that stands twice in the group is ended by the first.
pub async fn close_many(tx: &mut Tx, closings: &[(CallId, Closing)]) -> Result<Vec<Closed>> {
    Ok(close_all(tx, closings, false).await?.0)
}

/// Closes what a crash of this node left open; returns those attempts as they are now. `end` says, for each, how it
/// ended: [`Closing::after_crash`] is what the store alone can know. Twice does no harm.
pub async fn settle_leftovers(
    tx: &mut Tx,
    node: &str,
    mut end: impl FnMut(&Attempt) -> Closing,
) -> Result<Vec<Attempt>> {
    let open = super::open_on(tx, node).await?;
    let closings: Vec<(CallId, Closing)> = open.iter().map(|a| (a.id, end(a))).collect();
    let (_, ended) = close_all(tx, &closings, true).await?;
    Ok(ended)
}

/// Closes, in the same way, the attempt of one call whose task broke off; `None` if it was closed already.
///
/// # Errors
/// [`Error::NotFound`] if there is no such attempt.
pub async fn settle(
    tx: &mut Tx,
    id: CallId,
    end: impl FnOnce(&Attempt) -> Closing,
) -> Result<Option<Attempt>> {
    let attempt = lock(tx, id).await?;
    if attempt.ended_at_ms.is_some() {
        return Ok(None);
    }
    let (_, ended) = close_all(tx, &[(id, end(&attempt))], true).await?;
    Ok(ended.into_iter().next())
}

/// Corrects the end of an attempt that was closed before, and the roll-ups with it: f(new) - f(old).
///
/// # Errors
/// [`Error::NotFound`] if there is no such attempt, or it is still under way.
pub async fn correct(tx: &mut Tx, id: CallId, closing: &Closing) -> Result<()> {
    let old = lock(tx, id).await?;
    if old.ended_at_ms.is_none() {
        return Err(Error::NotFound {
            what: "such ended call",
        });
    }
    let new = old.ended(closing, old.settled);
    tx.execute(&CORRECT, end_values(&new)).await?;
    let now_ms = closing.ended_at_ms;
    notes::draft(tx, std::iter::once(&new)).await?;
    figure(tx, &[(old, new)], "system", now_ms).await
}

/// Stores what the agent says came of a call, and whether the right person was spoken to. On a call that has ended the
/// roll-ups get f(new) - f(old); on one still under way the end counts it. Saying it again replaces what was said.
///
/// # Errors
/// [`Error::NotFound`] if there is no such attempt.
pub async fn set_disposition(
    tx: &mut Tx,
    id: CallId,
    code: &str,
    right_party: bool,
    actor: &str,
    now_ms: i64,
) -> Result<()> {
    let old = lock(tx, id).await?;
    if old.disposition == code && old.right_party == right_party {
        return Ok(());
    }
    tx.execute(&DISPOSE, args![id, code, right_party]).await?;
    let new = Attempt {
        disposition: code.to_owned(),
        right_party,
        ..old.clone()
    };
    figure(tx, &[(old, new)], actor, now_ms).await
}

impl Attempt {
    /// The attempt as it is with this end.
    fn ended(&self, closing: &Closing, settled: bool) -> Attempt {
        let end = closing.in_order(self.started_at_ms);
        Attempt {
            seized_at_ms: end.seized_at_ms,
            rang_at_ms: end.rang_at_ms,
            answered_at_ms: end.answered_at_ms,
            ended_at_ms: Some(end.ended_at_ms),
            cause: Some(end.cause),
            class: Some(end.cause.class()),
            sip_status: end.sip_status,
            q850: end.q850,
            ended_by: Some(end.ended_by.as_str().to_owned()),
            overrun_ms: end.overrun_ms,
            settled,
            ..self.clone()
        }
    }
}

/// The values of [`CLOSE`] and [`CORRECT`].
fn end_values(new: &Attempt) -> Vec<Value> {
    args![
        new.id,
        new.seized_at_ms,
        new.rang_at_ms,
        new.answered_at_ms,
        new.ended_at_ms,
        new.cause.map(Cause::as_str),
        new.class.map(crate::call::Class::as_str),
        new.sip_status,
        new.q850,
        new.ended_by.as_deref(),
        new.overrun_ms,
        new.settled
    ]
}

/// Reads the attempt and makes others that want to change it wait.
async fn lock(tx: &mut Tx, id: CallId) -> Result<Attempt> {
    tx.execute(&LOCK, args![id]).await?;
    by_id(tx, id)
        .await?
        .ok_or(Error::NotFound { what: "such call" })
}

/// Ends what is open of the group; says for each what was done, and returns those that have ended now, by their ids.
async fn close_all(
    tx: &mut Tx,
    closings: &[(CallId, Closing)],
    settled: bool,
) -> Result<(Vec<Closed>, Vec<Attempt>)> {
    let mut known: HashMap<CallId, Attempt> = HashMap::with_capacity(closings.len());
    let ids = closings.iter().map(|(id, _)| args![*id]).collect();
    for row in READ.run(tx, ids).await? {
        let attempt = read(&row)?;
        known.insert(attempt.id, attempt);
    }
    // What an attempt starts from never changes, so that it needs no lock; whether it is still open, CLOSE finds out.
    let mut ends: HashMap<CallId, Attempt> = HashMap::with_capacity(closings.len());
    let mut order = Vec::with_capacity(closings.len());
    for (id, closing) in closings {
        if let Some(attempt) = known.get(id)
            && attempt.ended_at_ms.is_none()
            && !ends.contains_key(id)
        {
            ends.insert(*id, attempt.ended(closing, settled));
            order.push(*id);
        }
    }
    // Sorted, so that two groups that share attempts take them in the same order.
    order.sort_unstable();
    let values = order.iter().map(|id| end_values(&ends[id])).collect();
    let mut closed = HashSet::with_capacity(order.len());
    let mut changed = Vec::with_capacity(order.len());
    for row in CLOSE.run(tx, values).await? {
        let id: CallId = row.parse("id")?;
        let (Some(old), Some(mut new)) = (known.get(&id), ends.remove(&id)) else {
            continue;
        };
        new.disposition = row.get("disposition")?;
        new.right_party = row.flag("right_party")?;
        closed.insert(id);
        changed.push((old.clone(), new));
    }
    changed.sort_by_key(|(old, _)| old.id);
    let now_ms = changed.iter().filter_map(|(_, new)| new.ended_at_ms).max();
    figure(tx, &changed, "system", now_ms.unwrap_or(0)).await?;
    notes::draft(tx, changed.iter().map(|(_, ended)| ended)).await?;
    let told: Vec<(&Attempt, String)> = changed
        .iter()
        .map(|(_, ended)| (ended, told(ended)))
        .collect();
    events::insert_many(
        tx,
        told.iter().map(|(ended, body)| events::New {
            at_ms: ended.ended_at_ms.unwrap_or(ended.started_at_ms),
            kind: "call.ended",
            client: Some(ended.client),
            subject: ended.id.to_string(),
            body,
        }),
    )
    .await?;
    // The first of an attempt that stands twice ended it.
    let done = closings
        .iter()
        .map(|(id, _)| match known.contains_key(id) {
            false => Closed::Unknown,
            true if closed.remove(id) => Closed::Now,
            true => Closed::Before,
        })
        .collect();
    Ok((done, changed.into_iter().map(|(_, ended)| ended).collect()))
}

/// Body of the event of an end.
fn told(ended: &Attempt) -> String {
    serde_json::json!({
        "call": ended.id,
        "case": ended.case,
        "agent": ended.agent,
        "cause": ended.cause,
        "class": ended.class,
        "talk_ms": ended.talk_ms().unwrap_or(0),
        "settled": ended.settled,
    })
    .to_string()
}

/// Adds f(new) - f(old) to the roll-ups; where a day is sealed, a dated correction row for each attempt beside it.
async fn figure(
    tx: &mut Tx,
    changed: &[(Attempt, Attempt)],
    actor: &str,
    now_ms: i64,
) -> Result<()> {
    let mut changes = Changes::default();
    for (old, new) in changed {
        changes.change(old.fact().as_ref(), new.fact().as_ref());
    }
    rollups::add(tx, &changes).await?;
    // Asked after the rows are held: a day that is being sealed is sealed by now, or not before this commits.
    for date in changes.dates() {
        let Some(sealed_at_ms) = sealed_days::sealed_at(tx, date).await? else {
            continue;
        };
        for (old, new) in changed.iter().filter(|(old, _)| old.local_date == date) {
            corrections::insert(tx, old, new, actor, now_ms.max(sealed_at_ms)).await?;
        }
    }
    Ok(())
}
