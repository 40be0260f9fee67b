//! Call notes (催记): begun by the daemon in the transaction that ends the call, finished by the agent.
//!
//! A draft is what the daemon knows by itself: whom the call reached, when, and how it ended; it stays one until somebody
//! says what came of it. What finishing does besides is in `crate::cases::notes`. Calls whose INVITE never left and test
//! calls have no note.

use super::{
    Error, Result, Tx,
    attempts::{Attempt, Purpose},
    db::Row,
    many::Many,
    users::User,
};
use crate::{
    ids::{AgentId, CallId, CaseId, ClientId, ContactPointId, NoteId, RecordingId},
    policy::Relation,
};

words! {
    /// How far a note is.
    pub enum NoteState {
        /// What the daemon knows by itself.
        Draft = "draft",
        /// What the agent said is in it.
        Final = "final",
    }
}

/// A stored note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Our id.
    pub id: NoteId,
    /// The case.
    pub case: CaseId,
    /// Whose case.
    pub client: ClientId,
    /// The call; `None` for a note without one.
    pub call: Option<CallId>,
    /// Whom it reached.
    pub contact_point: Option<ContactPointId>,
    /// What that person is to the debt, at the time.
    pub relation: Relation,
    /// Whose call.
    pub agent: Option<AgentId>,
    /// How far it is.
    pub state: NoteState,
    /// Code of what came of it.
    pub disposition: Option<String>,
    /// Free words.
    pub text: String,
    /// Promised amount, ten-thousandths.
    pub promise_e4: Option<i64>,
    /// Promised day.
    pub promise_on: Option<String>,
    /// JSON: the client's own fields.
    pub fields: String,
    /// Day of the call, local to the person called.
    pub local_date: String,
    /// When the call began, or the note.
    pub started_at_ms: i64,
    /// When it was answered.
    pub answered_at_ms: Option<i64>,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
    /// What ended it.
    pub cause: Option<String>,
    /// When the agent finished it.
    pub finished_at_ms: Option<i64>,
}

/// A note with the words for its ids, as lists and exports show it. Holds the number and names: not for logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// The note.
    pub note: Note,
    /// Code of the client.
    pub client: String,
    /// Code of the batch.
    pub batch: String,
    /// The client's case number.
    pub reference: String,
    /// Name of the debtor, as the client gave it; empty if it did not.
    pub debtor: String,
    /// Name of the person reached.
    pub person: String,
    /// The number.
    pub number: String,
    /// Employee number of the agent.
    pub agent: String,
    /// The agent's name.
    pub agent_name: String,
    /// Code of the agent's team today.
    pub team: String,
    /// The recording.
    pub recording: Option<RecordingId>,
    /// Currency of the case.
    pub currency: String,
    /// What is owed now, ten-thousandths.
    pub balance_e4: i64,
    /// Last four digits of the card or account.
    pub card_last4: String,
    /// Names of the disposition, in English and Chinese; empty for a draft.
    pub disposition_names: (String, String),
}

/// Which notes. Empty texts and `None` ask for all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Code of the client.
    pub client: String,
    /// Employee number of the agent.
    pub agent: String,
    /// First local day, `YYYY-MM-DD`.
    pub from: String,
    /// Last local day.
    pub to: String,
    /// Code of the disposition.
    pub disposition: String,
    /// The client's case number.
    pub reference: String,
    /// Words that stand in the text, whatever the case of their letters.
    pub text: String,
    /// How far it is.
    pub state: Option<NoteState>,
}

macro_rules! note {
    () => {
        "n.id, n.case_id, n.client_id, n.call_id, n.contact_point_id, n.relation, n.agent_id, n.state, n.disposition, n.text,
         n.promise_e4, n.promise_on, n.fields, n.local_date, n.started_at_ms, n.answered_at_ms, n.ended_at_ms, n.cause,
         n.finished_at_ms"
    };
}

/// `$1` whose, `$2` to `$9` the filter, `$10` only this agent's.
macro_rules! lines {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            note!(),
            ", k.code AS client, b.code AS batch, c.reference, d.name AS debtor, t.name AS person, m.digits,
               a.code AS agent, a.name AS agent_name, s.code AS team, c.currency, c.balance_e4, c.card_last4,
               (SELECT MIN(r.id) FROM recordings r WHERE r.call_id = n.call_id
                    AND r.state IN ('live', 'sealed', 'recovered')) AS recording,
               (SELECT w.name_en FROM dispositions w WHERE w.code = n.disposition
                    AND (w.client_id IS NULL OR w.client_id = n.client_id)
                ORDER BY COALESCE(w.client_id, 0) DESC LIMIT 1) AS name_en,
               (SELECT w.name_zh FROM dispositions w WHERE w.code = n.disposition
                    AND (w.client_id IS NULL OR w.client_id = n.client_id)
                ORDER BY COALESCE(w.client_id, 0) DESC LIMIT 1) AS name_zh
             FROM notes n JOIN cases c ON c.id = n.case_id JOIN clients k ON k.id = n.client_id
                  JOIN batches b ON b.id = c.batch_id JOIN debtors d ON d.id = c.debtor_id
                  LEFT JOIN contact_points p ON p.id = n.contact_point_id LEFT JOIN contacts t ON t.id = p.contact_id
                  LEFT JOIN numbers m ON m.id = p.number_id LEFT JOIN agents a ON a.id = n.agent_id
                  LEFT JOIN teams s ON s.id = a.team_id
             WHERE (CAST($1 AS BIGINT) = 0 OR n.client_id IN (SELECT client_id FROM user_clients WHERE user_id = $1))
               AND ($2 = '' OR k.code = $2) AND ($3 = '' OR a.code = $3) AND n.local_date >= $4 AND n.local_date <= $5
               AND ($6 = '' OR n.disposition = $6) AND ($7 = '' OR c.reference = $7)
               AND ($8 = '' OR LOWER(n.text) LIKE $8 ESCAPE '!') AND ($9 = '' OR n.state = $9)
               AND (CAST($10 AS BIGINT) = 0 OR n.agent_id = $10) AND ",
            $rest
        )
    };
}

/// The notes of calls that ended; once more it only corrects times and cause.
pub(crate) static DRAFTS: Many = Many::new(
    "begin the notes of calls",
    "INSERT INTO notes (case_id, client_id, call_id, contact_point_id, relation, agent_id, state, local_date,
                        started_at_ms, answered_at_ms, ended_at_ms, cause, changed_at_ms) VALUES ",
    &["", "", "", "", "", "", "", "", "", "", "", "", ""],
    " ON CONFLICT (call_id) DO UPDATE SET answered_at_ms = excluded.answered_at_ms,
         ended_at_ms = excluded.ended_at_ms, cause = excluded.cause",
);

statements! {
    WRITE("begin a note without a call") =
        "INSERT INTO notes (case_id, client_id, contact_point_id, relation, agent_id, state, local_date, started_at_ms,
                            changed_at_ms)
         VALUES ($1, $2, $3, $4, $5, 'draft', $6, $7, $7) RETURNING id";
    LOCK("begin to finish a note") = "UPDATE notes SET changed_at_ms = changed_at_ms WHERE id = $1";
    BY_ID("read a note") = concat!("SELECT ", note!(), " FROM notes n WHERE n.id = $1");
    OF_CALL("read the note of a call") = concat!("SELECT ", note!(), " FROM notes n WHERE n.call_id = $1");
    FINISH("finish a note") =
        "UPDATE notes SET state = 'final', disposition = $2, text = $3, promise_e4 = $4, promise_on = $5, fields = $6,
                promise_currency = CASE WHEN CAST($4 AS BIGINT) IS NOT NULL
                                        THEN (SELECT c.currency FROM cases c WHERE c.id = notes.case_id) END,
                finished_at_ms = COALESCE(finished_at_ms, $7), changed_at_ms = $7
         WHERE id = $1";
    FOLLOWED("note that a case was worked") =
        "UPDATE cases SET worked_at_ms = COALESCE(worked_at_ms, $2), followed_at_ms = $2 WHERE id = $1";
    CURRENCY("look up the currency of a case") = "SELECT currency FROM cases WHERE id = $1";
    NEWEST("list notes") = lines!("n.id < $11 ORDER BY n.id DESC LIMIT $12");
    OLDEST("read notes for an export") = lines!("n.id > $11 ORDER BY n.id LIMIT $12");
}

/// Begins the notes of attempts that have just ended, in their transaction; once more it only corrects times and cause.
pub(crate) async fn draft<'a>(
    tx: &mut Tx,
    attempts: impl Iterator<Item = &'a Attempt>,
) -> Result<()> {
    let rung = |a: &&Attempt| a.purpose == Purpose::Case && a.seized_at_ms.is_some();
    let rows: Vec<_> = attempts
        .filter(rung)
        .map(|attempt| {
            args![
                attempt.case,
                attempt.client,
                attempt.id,
                attempt.contact_point,
                attempt.relation,
                attempt.agent,
                NoteState::Draft,
                &attempt.local_date,
                attempt.started_at_ms,
                attempt.answered_at_ms,
                attempt.ended_at_ms,
                attempt.cause.map(|c| c.as_str()),
                attempt.ended_at_ms
            ]
        })
        .collect();
    DRAFTS.run(tx, rows).await.map(drop)
}

/// A note without a call.
#[derive(Debug, Clone, Copy)]
pub struct NewNote<'a> {
    /// The case.
    pub case: CaseId,
    /// Whose case.
    pub client: ClientId,
    /// About whom, if about one number.
    pub contact_point: Option<ContactPointId>,
    /// What that person is to the debt.
    pub relation: Relation,
    /// Who writes it.
    pub agent: Option<AgentId>,
    /// The day.
    pub local_date: &'a str,
}

/// Begins a note without a call.
pub async fn write(tx: &mut Tx, new: &NewNote<'_>, now_ms: i64) -> Result<NoteId> {
    let args = args![
        new.case,
        new.client,
        new.contact_point,
        new.relation,
        new.agent,
        new.local_date,
        now_ms
    ];
    Ok(NoteId::new(tx.fetch_one(&WRITE, args).await?.get("id")?))
}

/// Reads a note and makes others that want to change it wait.
pub async fn lock(tx: &mut Tx, id: NoteId) -> Result<Option<Note>> {
    tx.execute(&LOCK, args![id]).await?;
    by_id(tx, id).await
}

/// The note with this id.
pub async fn by_id(tx: &mut Tx, id: NoteId) -> Result<Option<Note>> {
    tx.fetch_optional(&BY_ID, args![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The note of a call.
pub async fn of_call(tx: &mut Tx, call: CallId) -> Result<Option<Note>> {
    tx.fetch_optional(&OF_CALL, args![call])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// What a finished note says.
#[derive(Debug, Clone)]
pub struct Said<'a> {
    /// Code of what came of it.
    pub disposition: &'a str,
    /// Free words.
    pub text: &'a str,
    /// Promised amount, ten-thousandths.
    pub promise_e4: Option<i64>,
    /// Promised day.
    pub promise_on: Option<&'a str>,
    /// JSON: the client's own fields.
    pub fields: &'a str,
}

/// Finishes a note, or changes what a finished one says, and notes that the case was worked.
pub async fn finish(tx: &mut Tx, note: &Note, said: &Said<'_>, now_ms: i64) -> Result<()> {
    let args = args![
        note.id,
        said.disposition,
        said.text,
        said.promise_e4,
        said.promise_on,
        said.fields,
        now_ms
    ];
    tx.execute(&FINISH, args).await?;
    tx.execute(&FOLLOWED, args![note.case, now_ms])
        .await
        .map(drop)
}

/// Currency of a case, in which its promises are.
pub async fn currency(tx: &mut Tx, case: CaseId) -> Result<Option<String>> {
    tx.fetch_optional(&CURRENCY, args![case])
        .await?
        .map(|row| row.get("currency"))
        .transpose()
}

/// Notes, newest first, before an id (`None`: the newest), at most `limit`; `viewer` `None`: the command line, which sees
/// all; `own`: only that agent's.
pub async fn newest(
    tx: &mut Tx,
    viewer: Option<&User>,
    filter: &Filter,
    own: Option<AgentId>,
    before: Option<NoteId>,
    limit: u32,
) -> Result<Vec<Line>> {
    let before = before.map_or(i64::MAX, NoteId::get);
    page(tx, &NEWEST, viewer, filter, own, before, limit).await
}

/// Notes in the order of entry, after an id, at most `limit`.
pub async fn after(
    tx: &mut Tx,
    viewer: Option<&User>,
    filter: &Filter,
    after: NoteId,
    limit: u32,
) -> Result<Vec<Line>> {
    page(tx, &OLDEST, viewer, filter, None, after.get(), limit).await
}

async fn page(
    tx: &mut Tx,
    sql: &super::sql::Sql,
    viewer: Option<&User>,
    filter: &Filter,
    own: Option<AgentId>,
    bound: i64,
    limit: u32,
) -> Result<Vec<Line>> {
    let to = if filter.to.is_empty() {
        "9999-12-31"
    } else {
        &filter.to
    };
    let args = args![
        viewer.map_or(0, User::scope_parameter),
        &filter.client,
        &filter.agent,
        &filter.from,
        to,
        &filter.disposition,
        &filter.reference,
        containing(&filter.text),
        filter.state.map_or("", NoteState::as_str),
        own.map_or(0, AgentId::get),
        bound,
        limit
    ];
    tx.fetch_all(sql, args).await?.iter().map(line).collect()
}

/// The pattern of texts that contain these words; empty for no words.
fn containing(words: &str) -> String {
    if words.is_empty() {
        return String::new();
    }
    let mut pattern = String::from("%");
    for c in words.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

fn read(row: &Row) -> Result<Note> {
    let call = match row.get::<Option<String>>("call_id")? {
        Some(_) => Some(row.parse("call_id")?),
        None => None,
    };
    Ok(Note {
        id: NoteId::new(row.get("id")?),
        case: CaseId::new(row.get("case_id")?),
        client: ClientId::new(row.get("client_id")?),
        call,
        contact_point: row
            .get::<Option<i64>>("contact_point_id")?
            .map(ContactPointId::new),
        relation: row.word("relation", Relation::parse)?,
        agent: row.get::<Option<i64>>("agent_id")?.map(AgentId::new),
        state: row.parse("state")?,
        disposition: row.get("disposition")?,
        text: row.get("text")?,
        promise_e4: row.get("promise_e4")?,
        promise_on: row.get("promise_on")?,
        fields: row.get("fields")?,
        local_date: row.get("local_date")?,
        started_at_ms: row.get("started_at_ms")?,
        answered_at_ms: row.get("answered_at_ms")?,
        ended_at_ms: row.get("ended_at_ms")?,
        cause: row.get("cause")?,
        finished_at_ms: row.get("finished_at_ms")?,
    })
}

fn line(row: &Row) -> Result<Line> {
    let text = |column| Ok::<_, Error>(row.get::<Option<String>>(column)?.unwrap_or_default());
    let recording = match row.get::<Option<String>>("recording")? {
        Some(_) => Some(row.parse("recording")?),
        None => None,
    };
    Ok(Line {
        note: read(row)?,
        client: row.get("client")?,
        batch: row.get("batch")?,
        reference: row.get("reference")?,
        debtor: row.get("debtor")?,
        person: text("person")?,
        number: text("digits")?,
        agent: text("agent")?,
        agent_name: text("agent_name")?,
        team: text("team")?,
        recording,
        currency: row.get("currency")?,
        balance_e4: row.get("balance_e4")?,
        card_last4: text("card_last4")?,
        disposition_names: (text("name_en")?, text("name_zh")?),
    })
}
