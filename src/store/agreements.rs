//! Agreements (约定): a customer or third party agreed to be called at hours outside the usual ones.
//!
//! An agreement expires by itself, is used up, revoked or refused, and stays readable in every state. Which decisions it
//! allowed stands in `agreement_uses`, written in the transaction that decided. What it may widen is decided in `policy`.

use super::{Error, Result, Tx, contact_points::Target, db::Row, users::User};
use crate::{
    ids::{AgreementId, CaseId, ClientId, ReceiptId, RecordingId},
    policy::Week,
};

words! {
    /// How far an agreement is, as it is stored. Whether it has expired or is used up follows from its terms.
    pub enum AgreementState {
        /// For a second person's approval.
        Waiting = "waiting",
        /// It counts, within its terms.
        Active = "active",
        /// The second person said no.
        Refused = "refused",
        /// Taken back.
        Revoked = "revoked",
    }
}

/// What proves an agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// It was said in a recorded call.
    Recording {
        /// The recording.
        id: RecordingId,
        /// Where in it, milliseconds from its beginning.
        offset_ms: i64,
    },
    /// A letter.
    Letter {
        /// SHA-256 of the file in hexadecimal.
        sha256: String,
        /// Name of the file.
        name: String,
    },
}

/// An agreement about to be entered.
#[derive(Debug, Clone)]
pub struct NewAgreement<'a> {
    /// For whose cases.
    pub client: ClientId,
    /// For which case.
    pub case: CaseId,
    /// Who agreed: id of the contact.
    pub contact: i64,
    /// The numbers it is for; at least one.
    pub numbers: &'a [i64],
    /// The hours of each weekday, local to the person.
    pub hours: &'a Week,
    /// Since when.
    pub from_ms: i64,
    /// Until when.
    pub until_ms: i64,
    /// So many calls at most; `None`: as many as the caps allow.
    pub uses_most: Option<u32>,
    /// What proves it.
    pub proof: &'a Proof,
    /// The letter itself, encrypted, where that is the proof.
    pub letter_box: Option<&'a str>,
    /// Whether a second person has to approve it.
    pub waits: bool,
    /// Who enters it.
    pub proposed_by: &'a str,
    /// Now.
    pub now_ms: i64,
}

/// A stored agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// Our id.
    pub id: AgreementId,
    /// For whose cases.
    pub client: ClientId,
    /// For which case.
    pub case: CaseId,
    /// Who agreed: id of the contact.
    pub contact: i64,
    /// The numbers it is for.
    pub numbers: Vec<i64>,
    /// The hours of each weekday, local to the person.
    pub hours: Week,
    /// Since when.
    pub from_ms: i64,
    /// Until when.
    pub until_ms: i64,
    /// So many calls at most.
    pub uses_most: Option<u32>,
    /// So many calls it has allowed: those under way, and those whose customer INVITE left.
    pub uses: u32,
    /// What proves it.
    pub proof: Proof,
    /// How far it is.
    pub state: AgreementState,
    /// Who entered it.
    pub proposed_by: String,
    /// When.
    pub proposed_at_ms: i64,
    /// Who approved it, where a second person had to.
    pub approved_by: Option<String>,
    /// When.
    pub approved_at_ms: Option<i64>,
    /// Who refused or revoked it.
    pub ended_by: Option<String>,
    /// When.
    pub ended_at_ms: Option<i64>,
    /// Why.
    pub ended_reason: Option<String>,
}

impl Agreement {
    /// How it stands at an instant: its state, or `not_yet`, `expired` or `used_up` by its own terms. Where the rules ask for
    /// `two_persons`, one that was entered before they did waits like any other that nobody approved.
    #[must_use]
    pub fn standing(&self, at_ms: i64, two_persons: bool) -> &'static str {
        match self.state {
            AgreementState::Active if at_ms >= self.until_ms => "expired",
            AgreementState::Active if two_persons && self.approved_by.is_none() => {
                AgreementState::Waiting.as_str()
            }
            AgreementState::Active if self.uses_most.is_some_and(|most| self.uses >= most) => {
                "used_up"
            }
            AgreementState::Active if at_ms < self.from_ms => "not_yet",
            state => state.as_str(),
        }
    }
}

/// What came of approving, refusing or revoking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Done.
    Done,
    /// Who proposed it cannot approve it.
    OwnProposal,
    /// It is not in a state in which that can be done; which it is in.
    Not(AgreementState),
}

/// Which agreements to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Only those of this case.
    pub case: Option<CaseId>,
    /// Only those in this state.
    pub state: Option<AgreementState>,
    /// Only those entered before this one; for the next page.
    pub before: Option<AgreementId>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT g.id, g.client_id, g.case_id, g.contact_id, g.hours, g.from_ms, g.until_ms, g.uses_most, g.proof,
                    g.recording_id, g.offset_ms, g.letter_sha256, g.letter_name, g.state, g.proposed_by, g.proposed_at_ms,
                    g.approved_by, g.approved_at_ms, g.ended_by, g.ended_at_ms, g.ended_reason,
                    (SELECT COUNT(*) FROM agreement_uses u JOIN attempts a ON a.receipt_id = u.receipt_id
                     WHERE u.agreement_id = g.id AND (a.ended_at_ms IS NULL OR a.seized_at_ms IS NOT NULL)) AS uses
             FROM agreements g ",
            $rest
        )
    };
}

statements! {
    INSERT("enter an agreement") =
        "INSERT INTO agreements (client_id, case_id, contact_id, hours, from_ms, until_ms, uses_most, proof, recording_id,
                                 offset_ms, letter_sha256, letter_name, letter_box, state, proposed_by, proposed_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) RETURNING id";
    ADD_NUMBER("enter a number of an agreement") =
        "INSERT INTO agreement_numbers (agreement_id, number_id) VALUES ($1, $2)";
    APPROVE("approve an agreement") =
        "UPDATE agreements SET state = 'active', approved_by = $2, approved_at_ms = $3
         WHERE id = $1 AND (state = 'waiting' OR (state = 'active' AND approved_by IS NULL)) AND proposed_by <> $2";
    END("end an agreement") =
        "UPDATE agreements SET state = $2, ended_by = $3, ended_at_ms = $4, ended_reason = $5
         WHERE id = $1 AND (($2 = 'refused' AND (state = 'waiting' OR (state = 'active' AND approved_by IS NULL)))
                            OR ($2 = 'revoked' AND state IN ('waiting', 'active')))";
    USE("note what an agreement allowed") =
        "INSERT INTO agreement_uses (receipt_id, agreement_id) VALUES ($1, $2)";
    USES("list what an agreement allowed") =
        "SELECT receipt_id FROM agreement_uses WHERE agreement_id = $1 ORDER BY receipt_id";
    NUMBERS("list the numbers of an agreement") =
        "SELECT number_id FROM agreement_numbers WHERE agreement_id = $1 ORDER BY number_id";
    LETTER("read the letter of an agreement") = "SELECT letter_box FROM agreements WHERE id = $1";
    BY_ID("read an agreement") = select!("WHERE g.id = $1");
    ON_NUMBER("look up the agreements on a number") = select!(
        "JOIN agreement_numbers n ON n.agreement_id = g.id
         WHERE g.case_id = $1 AND g.contact_id = $2 AND n.number_id = $3
           AND g.state IN ('waiting', 'active') AND g.until_ms > $4
         ORDER BY g.id");
    LIST("list the agreements") = select!(
        "WHERE (CAST($1 AS BIGINT) = 0 OR g.client_id IN (SELECT client_id FROM user_clients WHERE user_id = $1))
           AND (CAST($2 AS BIGINT) = 0 OR g.case_id = $2) AND g.id < $4
           AND ($3 = '' OR $3 = CASE WHEN g.state = 'active' AND g.approved_by IS NULL
                                          AND $6 LIKE '%,' || CAST(g.client_id AS TEXT) || ',%'
                                     THEN 'waiting' ELSE g.state END)
         ORDER BY g.id DESC LIMIT $5");
}

/// Enters an agreement; gives its id.
///
/// # Errors
/// [`Error::Constraint`] if case, contact, number or recording do not exist.
pub async fn propose(tx: &mut Tx, new: &NewAgreement<'_>) -> Result<AgreementId> {
    let (proof, recording, offset, sha256, name) = match new.proof {
        Proof::Recording { id, offset_ms } => {
            ("recording", Some(*id), Some(*offset_ms), None, None)
        }
        Proof::Letter { sha256, name } => ("letter", None, None, Some(sha256), Some(name)),
    };
    let state = if new.waits {
        AgreementState::Waiting
    } else {
        AgreementState::Active
    };
    let args = args![
        new.client,
        new.case,
        new.contact,
        hours_text(new.hours),
        new.from_ms,
        new.until_ms,
        new.uses_most,
        proof,
        recording,
        offset,
        sha256.cloned(),
        name.cloned(),
        new.letter_box,
        state,
        new.proposed_by,
        new.now_ms
    ];
    let id = AgreementId::new(tx.fetch_one(&INSERT, args).await?.get("id")?);
    let mut numbers = new.numbers.to_vec();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        tx.execute(&ADD_NUMBER, args![id, number]).await?;
    }
    Ok(id)
}

/// Approves an agreement that waits for it, or that nobody approved because nobody had to when it was entered; never for
/// the one who proposed it.
///
/// # Errors
/// [`Error::NotFound`] if there is no such agreement.
pub async fn approve(tx: &mut Tx, id: AgreementId, actor: &str, now_ms: i64) -> Result<Step> {
    if tx.execute(&APPROVE, args![id, actor, now_ms]).await? > 0 {
        return Ok(Step::Done);
    }
    let agreement = known(tx, id).await?;
    Ok(match agreement.state {
        AgreementState::Waiting | AgreementState::Active
            if agreement.approved_by.is_none() && agreement.proposed_by == actor =>
        {
            Step::OwnProposal
        }
        state => Step::Not(state),
    })
}

/// Refuses an agreement that waits, or that nobody approved.
///
/// # Errors
/// [`Error::NotFound`] if there is no such agreement.
pub async fn refuse(
    tx: &mut Tx,
    id: AgreementId,
    actor: &str,
    reason: &str,
    now_ms: i64,
) -> Result<Step> {
    end(tx, id, AgreementState::Refused, actor, reason, now_ms).await
}

/// Takes an agreement back. A call that it allowed and whose agent's phone still rings is stopped by it
/// (see [`super::attempts::mark_seizure`]).
///
/// # Errors
/// [`Error::NotFound`] if there is no such agreement.
pub async fn revoke(
    tx: &mut Tx,
    id: AgreementId,
    actor: &str,
    reason: &str,
    now_ms: i64,
) -> Result<Step> {
    end(tx, id, AgreementState::Revoked, actor, reason, now_ms).await
}

async fn end(
    tx: &mut Tx,
    id: AgreementId,
    state: AgreementState,
    actor: &str,
    reason: &str,
    now_ms: i64,
) -> Result<Step> {
    if tx
        .execute(&END, args![id, state, actor, now_ms, reason])
        .await?
        > 0
    {
        return Ok(Step::Done);
    }
    Ok(Step::Not(known(tx, id).await?.state))
}

/// Notes that a decision was an allowance because of this agreement, in the transaction that decided.
pub async fn note_use(tx: &mut Tx, id: AgreementId, receipt: ReceiptId) -> Result<()> {
    tx.execute(&USE, args![receipt, id]).await.map(drop)
}

/// The decisions that an agreement allowed, oldest first.
pub async fn uses(tx: &mut Tx, id: AgreementId) -> Result<Vec<ReceiptId>> {
    tx.fetch_all(&USES, args![id])
        .await?
        .iter()
        .map(|row| row.parse("receipt_id"))
        .collect()
}

/// The letter of an agreement, encrypted; `None` if a recording proves it.
///
/// # Errors
/// [`Error::NotFound`] if there is no such agreement.
pub async fn letter_box(tx: &mut Tx, id: AgreementId) -> Result<Option<String>> {
    tx.fetch_optional(&LETTER, args![id])
        .await?
        .ok_or(Error::NotFound {
            what: "such agreement",
        })?
        .get("letter_box")
}

/// The agreement with this id.
pub async fn by_id(tx: &mut Tx, id: AgreementId) -> Result<Option<Agreement>> {
    let rows = tx.fetch_all(&BY_ID, args![id]).await?;
    Ok(read_all(tx, &rows).await?.pop())
}

async fn known(tx: &mut Tx, id: AgreementId) -> Result<Agreement> {
    by_id(tx, id).await?.ok_or(Error::NotFound {
        what: "such agreement",
    })
}

/// The agreements on a target's number that were neither refused nor revoked and did not expire more than a day ago:
/// active ones, and those that wait for a second person. Which of them counts is for the rules to say.
pub async fn on_number(tx: &mut Tx, target: &Target, at_ms: i64) -> Result<Vec<Agreement>> {
    let yesterday_ms = at_ms.saturating_sub(86_400_000);
    let args = args![target.case, target.contact, target.number_id, yesterday_ms];
    let rows = tx.fetch_all(&ON_NUMBER, args).await?;
    read_all(tx, &rows).await
}

/// Agreements that a user may see, newest first, at most `limit`; without a viewer all. `two_persons`: the clients whose
/// rules ask for a second person; what nobody approved for them waits.
pub async fn list(
    tx: &mut Tx,
    wanted: Wanted,
    two_persons: &[ClientId],
    viewer: Option<&User>,
    limit: u32,
) -> Result<Vec<Agreement>> {
    let args = args![
        viewer.map_or(0, User::scope_parameter),
        wanted.case.map_or(0, CaseId::get),
        wanted.state.map_or("", AgreementState::as_str),
        wanted.before.map_or(i64::MAX, AgreementId::get),
        limit,
        two_persons
            .iter()
            .fold(",".to_owned(), |text, id| format!("{text}{id},"))
    ];
    let rows = tx.fetch_all(&LIST, args).await?;
    read_all(tx, &rows).await
}

async fn read_all(tx: &mut Tx, rows: &[Row]) -> Result<Vec<Agreement>> {
    let mut agreements = Vec::with_capacity(rows.len());
    for row in rows {
        let mut agreement = read(row)?;
        let numbers = tx.fetch_all(&NUMBERS, args![agreement.id]).await?;
        agreement.numbers = numbers
            .iter()
            .map(|row| row.get("number_id"))
            .collect::<Result<_>>()?;
        agreements.push(agreement);
    }
    Ok(agreements)
}

fn hours_text(hours: &Week) -> String {
    #[expect(
        clippy::expect_used,
        reason = "lists of spans, which are written as text, always serialise"
    )]
    serde_json::to_string(hours).expect("hours serialise")
}

fn read(row: &Row) -> Result<Agreement> {
    const ACT: &str = "read an agreement";
    let missing = |column| Error::unknown(ACT, column);
    let proof = match row.get::<String>("proof")?.as_str() {
        "recording" => Proof::Recording {
            id: row.parse("recording_id")?,
            offset_ms: row.get("offset_ms")?,
        },
        "letter" => Proof::Letter {
            sha256: row.get("letter_sha256")?,
            name: row
                .get::<Option<String>>("letter_name")?
                .unwrap_or_default(),
        },
        _ => return Err(missing("agreements.proof")),
    };
    Ok(Agreement {
        id: AgreementId::new(row.get("id")?),
        client: ClientId::new(row.get("client_id")?),
        case: CaseId::new(row.get("case_id")?),
        contact: row.get("contact_id")?,
        numbers: Vec::new(),
        hours: serde_json::from_str(&row.get::<String>("hours")?)
            .map_err(|_| missing("agreements.hours"))?,
        from_ms: row.get("from_ms")?,
        until_ms: row.get("until_ms")?,
        uses_most: row
            .get::<Option<i64>>("uses_most")?
            .map(|most| u32::try_from(most).map_err(|_| missing("agreements.uses_most")))
            .transpose()?,
        uses: row.small("uses")?,
        proof,
        state: row.parse("state")?,
        proposed_by: row.get("proposed_by")?,
        proposed_at_ms: row.get("proposed_at_ms")?,
        approved_by: row.get("approved_by")?,
        approved_at_ms: row.get("approved_at_ms")?,
        ended_by: row.get("ended_by")?,
        ended_at_ms: row.get("ended_at_ms")?,
        ended_reason: row.get("ended_reason")?,
    })
}
