//! What was found wrong with a number: that it is not the number of a person, or that it is dead. Rows are lifted, never
//! deleted.
//!
//! A wrong number is wrong for the person behind the contact point where that was found, in every case of that person; a
//! dead one is dead for everybody. Either counts only until somebody answers there again: [`super::facts`] reads it so.
//! When a fault is evidence of loss of contact is decided by whoever enters it (`crate::cases::notes`).

use super::{Result, Tx, db::Row};
use crate::ids::{CallId, CaseId, ContactPointId, NoteId};

words! {
    /// What is wrong.
    pub enum FaultKind {
        /// It is not the number of the person.
        WrongNumber = "wrong_number",
        /// It is out of service, whoever is called there.
        NumberDead = "number_dead",
    }
}

/// A fault about to be entered.
#[derive(Debug, Clone, Copy)]
pub struct NewFault<'a> {
    /// Where it was found.
    pub contact_point: ContactPointId,
    /// What is wrong.
    pub kind: FaultKind,
    /// Whether it is evidence of loss of contact.
    pub counts: bool,
    /// The note that says so.
    pub note: Option<NoteId>,
    /// The call on which it was found.
    pub call: Option<CallId>,
    /// When it was found.
    pub at_ms: i64,
    /// Who says so.
    pub actor: &'a str,
}

/// A stored fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Our id.
    pub id: i64,
    /// Where it was found.
    pub contact_point: ContactPointId,
    /// What is wrong.
    pub kind: FaultKind,
    /// Whether it is evidence of loss of contact, until somebody answers there.
    pub counts: bool,
    /// The note that says so.
    pub note: Option<NoteId>,
    /// When it was found.
    pub at_ms: i64,
    /// Who says so.
    pub actor: String,
    /// When it was taken back.
    pub lifted_at_ms: Option<i64>,
    /// By whom.
    pub lifted_by: Option<String>,
    /// Why.
    pub lifted_why: Option<String>,
}

/// Who takes a fault back, and why.
#[derive(Debug, Clone, Copy)]
pub struct Lifting<'a> {
    /// Login name, or `system`.
    pub actor: &'a str,
    /// Why; no number and no name.
    pub why: &'a str,
    /// Now.
    pub now_ms: i64,
}

/// An attempt `a` that was answered after fault `f` was found. Two nodes' clocks may disagree by five seconds; then it
/// was after.
macro_rules! answered_since {
    () => {
        "a.answered_at_ms IS NOT NULL AND a.ended_at_ms + 5000 > f.at_ms AND a.id <> COALESCE(f.call_id, '')"
    };
}
pub(super) use answered_since;

/// Whether anything is wrong with the number of contact point `p`, as far as that contact point knows.
macro_rules! faulty {
    () => {
        concat!(
            "EXISTS (
             SELECT 1 FROM number_faults f
             WHERE f.number_id = p.number_id AND f.lifted_at_ms IS NULL
               AND (f.kind = 'number_dead' OR f.contact_point_id = p.id)
               AND NOT EXISTS (SELECT 1 FROM attempts a
                   WHERE a.number_id = f.number_id AND (f.kind = 'number_dead' OR a.contact_point_id = p.id)
                     AND ",
            $crate::store::number_faults::answered_since!(),
            "))"
        )
    };
}
pub(super) use faulty;

statements! {
    INSERT("enter what is wrong with a number") =
        "INSERT INTO number_faults (number_id, contact_point_id, kind, counts, note_id, call_id, at_ms, actor)
         SELECT p.number_id, p.id, $2, CAST($3 AS BIGINT), CAST($4 AS BIGINT), CAST($5 AS TEXT), CAST($6 AS BIGINT), $7
         FROM contact_points p WHERE p.id = $1";
    CONFIRM("let count what a note found wrong with a number") =
        "UPDATE number_faults SET counts = 1 WHERE note_id = $1 AND lifted_at_ms IS NULL AND counts = 0";
    LIFT_OF_NOTE("take back what a note found wrong with a number") =
        "UPDATE number_faults SET lifted_at_ms = $2, lifted_by = $3, lifted_why = $4
         WHERE note_id = $1 AND lifted_at_ms IS NULL";
    /// Of the number itself, and of every contact point with this number of the person behind this one: who owes, if it is
    /// an own number, and whoever has the identity number of the contact.
    LIFT("take back what was found wrong with a number") =
        "UPDATE number_faults SET lifted_at_ms = $2, lifted_by = $3, lifted_why = $4
         WHERE lifted_at_ms IS NULL AND at_ms <= $5
           AND number_id = (SELECT number_id FROM contact_points WHERE id = $1)
           AND (kind = 'number_dead' OR contact_point_id = $1 OR contact_point_id IN (
               SELECT q.id
               FROM (SELECT p.number_id, d.person_id
                     FROM contact_points p JOIN contacts t ON t.id = p.contact_id JOIN cases c ON c.id = p.case_id
                          JOIN debtors d ON d.id = c.debtor_id
                     WHERE p.id = $1 AND t.relation = 'debtor'
                     UNION
                     SELECT p.number_id, h.id
                     FROM contact_points p JOIN contacts t ON t.id = p.contact_id
                          JOIN persons h ON h.identity_hash = t.identity_hash
                     WHERE p.id = $1) AS x
                    JOIN contact_points q ON q.number_id = x.number_id JOIN contacts u ON u.id = q.contact_id
                    JOIN cases k ON k.id = q.case_id JOIN debtors e ON e.id = k.debtor_id
                    LEFT JOIN persons g ON g.identity_hash = u.identity_hash
               WHERE (u.relation = 'debtor' AND e.person_id = x.person_id) OR g.id = x.person_id))";
    OF_CASE("list what is wrong with the numbers of a case") =
        "SELECT f.id, q.id AS contact_point_id, f.kind, f.counts, f.note_id, f.at_ms, f.actor, f.lifted_at_ms, f.lifted_by,
                f.lifted_why
         FROM contact_points q JOIN number_faults f ON f.number_id = q.number_id
         WHERE q.case_id = $1 AND (f.kind = 'number_dead' OR f.contact_point_id = q.id)
         ORDER BY f.id, q.id";
}

/// Enters what is wrong with the number of a contact point.
pub async fn enter(tx: &mut Tx, new: &NewFault<'_>) -> Result<()> {
    let args = args![
        new.contact_point,
        new.kind,
        new.counts,
        new.note,
        new.call,
        new.at_ms,
        new.actor
    ];
    tx.execute(&INSERT, args).await.map(drop)
}

/// Makes evidence of what a note found, now that somebody vouches for it; returns how many faults were none before.
pub async fn confirm(tx: &mut Tx, note: NoteId) -> Result<u64> {
    tx.execute(&CONFIRM, args![note]).await
}

/// Takes back what a note found; returns how many faults that were.
pub async fn lift_of_note(tx: &mut Tx, note: NoteId, by: &Lifting<'_>) -> Result<u64> {
    let args = args![note, by.now_ms, by.actor, by.why];
    tx.execute(&LIFT_OF_NOTE, args).await
}

/// Takes back what was found wrong up to an instant with the number of a contact point: that it is dead, and that it is
/// not the number of the person there, in whatever case of that person; returns how many faults that were.
pub async fn lift(
    tx: &mut Tx,
    point: ContactPointId,
    found_by_ms: i64,
    by: &Lifting<'_>,
) -> Result<u64> {
    let args = args![point, by.now_ms, by.actor, by.why, found_by_ms];
    tx.execute(&LIFT, args).await
}

/// What was found wrong with the numbers of a case, lifted or not, in the order of entry: each once for every contact
/// point of the case that it concerns.
pub async fn of_case(tx: &mut Tx, case: CaseId) -> Result<Vec<Fault>> {
    let rows = tx.fetch_all(&OF_CASE, args![case]).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Fault> {
    Ok(Fault {
        id: row.get("id")?,
        contact_point: ContactPointId::new(row.get("contact_point_id")?),
        kind: row.parse("kind")?,
        counts: row.flag("counts")?,
        note: row.get::<Option<i64>>("note_id")?.map(NoteId::new),
        at_ms: row.get("at_ms")?,
        actor: row.get("actor")?,
        lifted_at_ms: row.get("lifted_at_ms")?,
        lifted_by: row.get("lifted_by")?,
        lifted_why: row.get("lifted_why")?,
    })
}
