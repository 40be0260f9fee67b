//! What finishing a note does to bars and agreements.

use super::{Error, Result, Tx, notes::Note};
use crate::{
    ids::{CaseId, ContactPointId, RecordingId},
    policy::Week,
};

/// A bar that stands until somebody lifts it.
#[derive(Debug, Clone, Copy)]
pub struct Bar<'a> {
    /// Why, as the rules see it.
    pub kind: &'static str,
    /// Why, in words; no number and no name.
    pub reason: &'a str,
    /// Who enters it.
    pub actor: &'a str,
    /// Now.
    pub now_ms: i64,
}

statements! {
    BAR("enter a bar") =
        "INSERT INTO bars (scope, subject_id, kind, reason, from_ms, actor)
         SELECT $1, CAST($2 AS BIGINT), $3, $4, CAST($5 AS BIGINT), $6 WHERE NOT EXISTS (
             SELECT 1 FROM bars WHERE scope = $1 AND subject_id = $2 AND kind = $3 AND client_id IS NULL
                                  AND lifted_at_ms IS NULL AND from_ms <= $5 AND until_ms IS NULL)";
    PERSON("look up who owes") =
        "SELECT d.person_id FROM cases c JOIN debtors d ON d.id = c.debtor_id WHERE c.id = $1";
    POINT("look up a number") = "SELECT number_id, contact_id FROM contact_points WHERE id = $1";
    PROPOSE("propose an agreement") =
        "INSERT INTO agreements (client_id, case_id, contact_id, hours, from_ms, until_ms, proof, recording_id, offset_ms,
                                 state, proposed_by, proposed_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, 'recording', $7, $8, 'waiting', $9, $5) RETURNING id";
    NUMBER("name the number of an agreement") =
        "INSERT INTO agreement_numbers (agreement_id, number_id) VALUES ($1, $2)";
}

async fn enter(tx: &mut Tx, scope: &str, subject: i64, bar: &Bar<'_>) -> Result<()> {
    let args = args![scope, subject, bar.kind, bar.reason, bar.now_ms, bar.actor];
    tx.execute(&BAR, args).await.map(drop)
}

async fn point(tx: &mut Tx, id: ContactPointId) -> Result<(i64, i64)> {
    let row = tx.fetch_optional(&POINT, args![id]).await?;
    let row = row.ok_or(Error::NotFound {
        what: "such contact point",
    })?;
    Ok((row.get("number_id")?, row.get("contact_id")?))
}

/// Bars the number of a contact point, everywhere.
pub async fn bar_number(tx: &mut Tx, at: ContactPointId, bar: &Bar<'_>) -> Result<()> {
    let (number, _) = point(tx, at).await?;
    enter(tx, "number", number, bar).await
}

/// Bars the person who owes a case, in all of that person's cases.
pub async fn bar_person(tx: &mut Tx, case: CaseId, bar: &Bar<'_>) -> Result<()> {
    let person = tx.fetch_one(&PERSON, args![case]).await?.get("person_id")?;
    enter(tx, "person", person, bar).await
}

/// Bars a case.
pub async fn bar_case(tx: &mut Tx, case: CaseId, bar: &Bar<'_>) -> Result<()> {
    enter(tx, "case", case.get(), bar).await
}

/// Hours that were asked for in a call.
#[derive(Debug, Clone, Copy)]
pub struct Proposal<'a> {
    /// The note of the call.
    pub note: &'a Note,
    /// Which number of which person.
    pub contact_point: ContactPointId,
    /// The hours of each weekday, local to the person.
    pub hours: &'a Week,
    /// Until when.
    pub until_ms: i64,
    /// The recording in which it was said.
    pub recording: RecordingId,
    /// Where in it.
    pub offset_ms: i64,
    /// Who enters it.
    pub actor: &'a str,
    /// Now.
    pub now_ms: i64,
}

/// Proposes an agreement, which waits for a second person; returns its id.
pub async fn propose(tx: &mut Tx, p: &Proposal<'_>) -> Result<i64> {
    let (number, contact) = point(tx, p.contact_point).await?;
    let hours = serde_json::to_string(p.hours)
        .map_err(|_| Error::unknown("propose an agreement", "agreements.hours"))?;
    let args = args![
        p.note.client,
        p.note.case,
        contact,
        hours,
        p.now_ms,
        p.until_ms,
        p.recording,
        p.offset_ms,
        p.actor
    ];
    let id: i64 = tx.fetch_one(&PROPOSE, args).await?.get("id")?;
    tx.execute(&NUMBER, args![id, number]).await?;
    Ok(id)
}
