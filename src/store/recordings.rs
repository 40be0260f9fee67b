//! Recordings: one row per recorded segment; the audio itself lies in the vault under the same id.

use super::{Result, Tx, db::Row, users::User};
use crate::ids::{AgentId, CallId, ClientId, RecordingId};

words! {
    /// How far a recording is.
    pub enum RecordingState {
        /// Being written.
        Live = "live",
        /// Closed for good at the end of the call.
        Sealed = "sealed",
        /// Closed for good by settling, after a crash of the daemon or of the call's task.
        Recovered = "recovered",
        /// Given up because nothing was answered; the vault has no such file.
        Abandoned = "abandoned",
        /// Should be in the vault and is not: an alarm.
        Lost = "lost",
    }
}

/// A recording whose first page is durable in the vault.
#[derive(Debug, Clone)]
pub struct NewRecording {
    /// The vault's name of the file.
    pub id: RecordingId,
    /// The call.
    pub call: CallId,
    /// 1, 2, … in the order recorded.
    pub segment: u32,
    /// Whose key protects it.
    pub client: ClientId,
    /// Now.
    pub created_at_ms: i64,
    /// Samples a second and channel.
    pub sample_rate: u32,
    /// Channels: 2.
    pub channels: u16,
}

/// What sealing or recovery found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Recovered after a crash of the daemon or of the call's task, and not sealed at the call's end.
    pub recovered: bool,
    /// First instant of audio: the bridge; `None` if unknown.
    pub started_at_ms: Option<i64>,
    /// End of audio.
    pub ended_at_ms: i64,
    /// Now.
    pub sealed_at_ms: i64,
    /// Samples a channel.
    pub samples: u64,
    /// Samples as time.
    pub duration_ms: u64,
    /// Answered time that should be covered.
    pub expected_ms: u64,
    /// Answered time that is accounted for; coverage is this over `expected_ms`.
    pub covered_ms: u64,
    /// Size of the sealed file.
    pub bytes: u64,
    /// SHA-256 of the exported WAV in hexadecimal.
    pub wav_sha256: String,
    /// JSON: silence, level, one-sidedness, by channel.
    pub analysis: String,
    /// JSON: what is missing and why.
    pub gaps: String,
    /// Deletion is forbidden before this instant.
    pub retain_until_ms: i64,
}

/// A stored recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The vault's name of the file.
    pub id: RecordingId,
    /// The call.
    pub call: CallId,
    /// 1, 2, … in the order recorded.
    pub segment: u32,
    /// Whose key protects it.
    pub client: ClientId,
    /// Who called.
    pub agent: AgentId,
    /// How far it is.
    pub state: RecordingState,
    /// When the vault had its durable first page.
    pub created_at_ms: i64,
    /// Samples a second and channel.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u16,
    /// What sealing found; `None` unless sealed or recovered.
    pub seal: Option<Seal>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.call_id, r.segment, r.client_id, a.agent_id, r.state, r.created_at_ms, r.started_at_ms,
                    r.ended_at_ms, r.sealed_at_ms, r.sample_rate, r.channels, r.samples, r.duration_ms, r.expected_ms,
                    r.covered_ms, r.bytes, r.wav_sha256, r.analysis, r.gaps, r.retain_until_ms
             FROM recordings r JOIN attempts a ON a.id = r.call_id ",
            $rest
        )
    };
}

statements! {
    INSERT("store a recording") =
        "INSERT INTO recordings (id, call_id, segment, client_id, state, created_at_ms, sample_rate, channels)
         VALUES ($1, $2, $3, $4, 'live', $5, $6, $7)";
    SEAL("note the seal of a recording") =
        "UPDATE recordings SET state = $2, started_at_ms = $3, ended_at_ms = $4, sealed_at_ms = $5, samples = $6,
                duration_ms = $7, expected_ms = $8, covered_ms = $9, bytes = $10, wav_sha256 = $11, analysis = $12,
                gaps = $13, retain_until_ms = $14
         WHERE id = $1 AND state = 'live'";
    DROP("note that a recording is not there") = "UPDATE recordings SET state = $2 WHERE id = $1 AND state = 'live'";
    BY_ID("read a recording") = select!("WHERE r.id = $1");
    BY_HASH("look up a recording by its WAV") = select!("WHERE r.wav_sha256 = $1 ORDER BY r.id LIMIT 1");
    OF_CALL("read the recordings of a call") = select!("WHERE r.call_id = $1 ORDER BY r.segment");
    LIVE("list the live recordings of a node") = select!("WHERE r.state = 'live' AND a.node = $1 ORDER BY r.id");
    LIST("list recordings") = select!(
        "WHERE (CAST($1 AS BIGINT) = 0 OR r.client_id IN (SELECT client_id FROM user_clients WHERE user_id = $1))
           AND (CAST($2 AS BIGINT) = 0 OR a.agent_id = $2) AND r.id < $3 AND r.state <> 'abandoned'
         ORDER BY r.id DESC LIMIT $4");
}

/// Stores a recording that the vault has just made durable.
pub async fn insert(tx: &mut Tx, r: &NewRecording) -> Result<()> {
    let args = args![
        r.id,
        r.call,
        r.segment,
        r.client,
        r.created_at_ms,
        r.sample_rate,
        r.channels
    ];
    tx.execute(&INSERT, args).await.map(drop)
}

/// Notes what sealing found. Returns whether it was live; a second seal changes nothing.
pub async fn seal(tx: &mut Tx, id: RecordingId, seal: &Seal) -> Result<bool> {
    let state = if seal.recovered {
        RecordingState::Recovered
    } else {
        RecordingState::Sealed
    };
    let n = |v: u64| i64::try_from(v).unwrap_or(i64::MAX);
    let args = args![
        id,
        state,
        seal.started_at_ms,
        seal.ended_at_ms,
        seal.sealed_at_ms,
        n(seal.samples),
        n(seal.duration_ms),
        n(seal.expected_ms),
        n(seal.covered_ms),
        n(seal.bytes),
        &seal.wav_sha256,
        &seal.analysis,
        &seal.gaps,
        seal.retain_until_ms
    ];
    Ok(tx.execute(&SEAL, args).await? > 0)
}

/// Notes that a live recording was given up because nothing was answered.
pub async fn abandon(tx: &mut Tx, id: RecordingId) -> Result<bool> {
    Ok(tx
        .execute(&DROP, args![id, RecordingState::Abandoned])
        .await?
        > 0)
}

/// Notes that the vault does not have a recording that was live.
pub async fn lose(tx: &mut Tx, id: RecordingId) -> Result<bool> {
    Ok(tx.execute(&DROP, args![id, RecordingState::Lost]).await? > 0)
}

/// The recording with this id.
pub async fn by_id(tx: &mut Tx, id: RecordingId) -> Result<Option<Recording>> {
    tx.fetch_optional(&BY_ID, args![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The recording whose exported WAV has this SHA-256. Reads all rows: for a question now and then.
pub async fn by_hash(tx: &mut Tx, wav_sha256: &str) -> Result<Option<Recording>> {
    tx.fetch_optional(&BY_HASH, args![wav_sha256])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The segments of a call in order.
pub async fn of_call(tx: &mut Tx, call: CallId) -> Result<Vec<Recording>> {
    tx.fetch_all(&OF_CALL, args![call])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// The recordings of a node that are live: at start-up, those that a crash left open.
pub async fn live_on(tx: &mut Tx, node: &str) -> Result<Vec<Recording>> {
    tx.fetch_all(&LIVE, args![node])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Recordings that a user may see, newest first, before an id (`None` for the newest), at most `limit`; with `agent`,
/// only of that agent's calls.
pub async fn list(
    tx: &mut Tx,
    viewer: &User,
    agent: Option<AgentId>,
    before: Option<RecordingId>,
    limit: u32,
) -> Result<Vec<Recording>> {
    let before = before.map_or_else(|| "g".to_owned(), |id| id.to_string());
    let agent = agent.map_or(0, AgentId::get);
    tx.fetch_all(&LIST, args![viewer.scope_parameter(), agent, before, limit])
        .await?
        .iter()
        .map(read)
        .collect()
}

fn read(row: &Row) -> Result<Recording> {
    let state: RecordingState = row.parse("state")?;
    let seal = match state {
        RecordingState::Sealed | RecordingState::Recovered => Some(Seal {
            recovered: state == RecordingState::Recovered,
            started_at_ms: row.get("started_at_ms")?,
            ended_at_ms: row.get("ended_at_ms")?,
            sealed_at_ms: row.get("sealed_at_ms")?,
            samples: row.small("samples")?,
            duration_ms: row.small("duration_ms")?,
            expected_ms: row.small("expected_ms")?,
            covered_ms: row.small("covered_ms")?,
            bytes: row.small("bytes")?,
            wav_sha256: row.get("wav_sha256")?,
            analysis: row.get("analysis")?,
            gaps: row.get("gaps")?,
            retain_until_ms: row.get("retain_until_ms")?,
        }),
        RecordingState::Live | RecordingState::Abandoned | RecordingState::Lost => None,
    };
    Ok(Recording {
        id: row.parse("id")?,
        call: row.parse("call_id")?,
        segment: row.small("segment")?,
        client: ClientId::new(row.get("client_id")?),
        agent: AgentId::new(row.get("agent_id")?),
        state,
        created_at_ms: row.get("created_at_ms")?,
        sample_rate: row.small("sample_rate")?,
        channels: row.small("channels")?,
        seal,
    })
}
