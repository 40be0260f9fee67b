//! What a fault left open is settled by one code, whether the daemon died ([`everything`], at its next start and before a
//! call can begin) or one call's task broke off ([`BrokenCall`], at once while others go on).
//!
//! Recordings first, because they tell who talked; then attempts; the PBX's leftover legs last (`leftovers.rs`). Settling
//! twice does no harm. It decides nothing: what is known is written, and what nobody knows any more counts as not having
//! happened, except an INVITE that may have left.

mod call;
pub(crate) mod leftovers;
mod unsure;

use std::collections::HashMap;

use ringfence_recordings::{Recovered, Sealed};

pub(crate) use self::{call::BrokenCall, unsure::UnsureCall};
use crate::{
    call::Cause,
    clock::Clock,
    coverage,
    ids::{CallId, RecordingId},
    recorder::{Kept, Recorder},
    store::{
        self, Db, Tx,
        attempts::{Attempt, Closing},
        recordings::{NewRecording, Recording, RecordingState, Seal},
    },
};

/// Seals what is live in the vault and closes what is open in the database.
pub(crate) async fn everything(
    db: &Db,
    recorder: &Recorder,
    clock: &Clock,
    node: &str,
) -> anyhow::Result<()> {
    let recovery = recorder.recover().await?;
    for (path, error) in &recovery.failed {
        not_sealed(&path.display(), error);
    }
    note(db, recorder, clock, &recovery.recovered, Left::By(node)).await?;
    Ok(())
}

/// Whose leavings.
#[derive(Clone, Copy)]
enum Left<'a> {
    /// A daemon of this name that died.
    By(&'a str),
    /// One call whose task broke off.
    Of(CallId),
}

impl Left<'_> {
    const fn cause(self) -> Cause {
        match self {
            Self::By(_) => Cause::Crashed,
            Self::Of(_) => Cause::Internal,
        }
    }

    /// The recordings that should still be written, by their rows.
    async fn live(self, db: &Db) -> Result<Vec<Recording>, store::Error> {
        let mut tx = db.read().await?;
        match self {
            Self::By(node) => store::recordings::live_on(&mut tx, node).await,
            Self::Of(call) => {
                let mut rows = store::recordings::of_call(&mut tx, call).await?;
                rows.retain(|row| row.state == RecordingState::Live);
                Ok(rows)
            }
        }
    }

    async fn close(
        self,
        tx: &mut Tx,
        end: impl Fn(&Attempt) -> Closing,
    ) -> Result<Vec<Attempt>, store::Error> {
        match self {
            Self::By(node) => store::attempts::settle_leftovers(tx, node, end).await,
            Self::Of(call) => {
                let settled = store::attempts::settle(tx, call, end).await?;
                Ok(settled.into_iter().collect())
            }
        }
    }
}

/// When somebody talked, by what was recorded: from and to, milliseconds UTC.
type Talks = HashMap<CallId, (i64, i64)>;

/// One transaction: what the vault has stands in the rows of its recordings, and every attempt is closed. Returns those
/// that were open, as they are now.
async fn note(
    db: &Db,
    recorder: &Recorder,
    clock: &Clock,
    recovered: &[Recovered],
    left: Left<'_>,
) -> Result<Vec<Attempt>, store::Error> {
    let now_ms = clock.wall_ms();
    let mut kept = Vec::new();
    for row in left.live(db).await? {
        // Recovered just now: that says more than the file.
        if recovered.iter().any(|r| id_of(r) == row.id) {
            continue;
        }
        match recorder.look_up(row.id).await {
            Ok(found) => kept.push((row, found)),
            Err(error) => {
                tracing::error!(recording = %row.id, %error, "a sealed recording cannot be read; its row stays as it is");
                metrics::counter!("ringfence_recording_alarms_total", "kind" => "damaged")
                    .increment(1);
            }
        }
    }

    let mut talks = Talks::new();
    let mut lost = Vec::new();
    let mut tx = db.begin().await?;
    for one in recovered {
        note_recovered(&mut tx, one, now_ms, &mut talks).await?;
    }
    for (row, kept) in &kept {
        if !note_kept(&mut tx, row, kept, now_ms, &mut talks).await? {
            lost.push(row.id);
        }
    }
    // What had to be closed before without its recording, which could not be sealed then.
    for (&call, &talk) in &talks {
        if let Some(attempt) = store::attempts::by_id(&mut tx, call).await?
            && attempt.settled
            && attempt.answered_at_ms.is_none()
        {
            let closing = Closing::after_crash(&attempt, left.cause(), now_ms, Some(talk));
            store::attempts::correct(&mut tx, call, &closing).await?;
        }
    }
    let end = |attempt: &Attempt| {
        let talk = talks.get(&attempt.id).copied();
        Closing::after_crash(attempt, left.cause(), now_ms, talk)
    };
    let closed = left.close(&mut tx, end).await?;
    tx.commit().await?;

    // Once it stands: a transaction may be tried more than once.
    for one in recovered {
        tell_recovered(one, now_ms);
    }
    for recording in lost {
        tracing::error!(%recording, "a recording that should be in the vault is not");
        metrics::counter!("ringfence_recording_alarms_total", "kind" => "lost").increment(1);
    }
    for attempt in &closed {
        tracing::warn!(call = %attempt.id, "a call that a fault left open is closed");
    }
    Ok(closed)
}

async fn note_recovered(
    tx: &mut Tx,
    recovered: &Recovered,
    now_ms: i64,
    talks: &mut Talks,
) -> Result<(), store::Error> {
    let (id, sealed) = (id_of(recovered), &recovered.sealed);
    link(tx, id, sealed).await?;
    if sealed.samples() == 0 {
        // Opened for a customer who had not answered.
        return store::recordings::abandon(tx, id).await.map(drop);
    }
    let (answered_ms, row) = row_of(sealed, now_ms);
    let call = CallId::from_uuid(sealed.manifest.call);
    talks.insert(call, (answered_ms, row.ended_at_ms));
    if !store::recordings::seal(tx, id, &row).await? {
        tracing::warn!(recording = %id, "a recovered recording has no row; `ringfence recordings verify` lists it");
    }
    Ok(())
}

/// A recording whose first page lay in the vault before its row could be written gets that row now.
async fn link(tx: &mut Tx, id: RecordingId, sealed: &Sealed) -> Result<(), store::Error> {
    let manifest = &sealed.manifest;
    let call = CallId::from_uuid(manifest.call);
    // A call that has a recording has this one, or the database is of another time: then nothing is guessed.
    if !store::recordings::of_call(tx, call).await?.is_empty() {
        return Ok(());
    }
    let Some(attempt) = store::attempts::by_id(tx, call).await? else {
        return Ok(());
    };
    let row = NewRecording {
        id,
        call,
        segment: manifest.segment,
        client: attempt.client,
        created_at_ms: manifest.created_ms,
        sample_rate: manifest.sample_rate,
        channels: u16::from(manifest.channels),
    };
    store::recordings::insert(tx, &row).await
}

/// A row that says live; false if its recording is lost.
async fn note_kept(
    tx: &mut Tx,
    row: &Recording,
    kept: &Kept,
    now_ms: i64,
    talks: &mut Talks,
) -> Result<bool, store::Error> {
    match kept {
        // It could not be sealed and there may be audio in it; it is tried again.
        Kept::Live => return Ok(true),
        Kept::Sealed(sealed) if sealed.samples() > 0 => {
            // Sealed in order; only its row could not say so then.
            let (from, seal) = row_of(sealed, now_ms);
            talks.entry(row.call).or_insert((from, seal.ended_at_ms));
            store::recordings::seal(tx, row.id, &seal).await?;
            tracing::info!(recording = %row.id, "a sealed recording is linked to its call");
            return Ok(true);
        }
        Kept::Sealed(_) | Kept::Nothing => {}
    }
    // No file: it was given up before anybody answered, or it is gone.
    if talks.contains_key(&row.call) || answered(tx, row.call).await? {
        return store::recordings::lose(tx, row.id).await.map(|lost| !lost);
    }
    store::recordings::abandon(tx, row.id).await?;
    Ok(true)
}

fn tell_recovered(recovered: &Recovered, now_ms: i64) {
    let sealed = &recovered.sealed;
    if sealed.samples() == 0 {
        return;
    }
    let (_, row) = row_of(sealed, now_ms);
    coverage::raise(sealed, &coverage::alarms(sealed, &row));
    tracing::warn!(
        recording = %sealed.recording(),
        call = %CallId::from_uuid(sealed.manifest.call),
        seconds = sealed.duration().as_secs_f64(),
        beyond_durable_ms = recovered.beyond_durable.map(|d| d.as_millis()),
        torn_bytes = sealed.facts.torn_bytes,
        "a recording was recovered"
    );
    metrics::counter!("ringfence_recordings_sealed_total", "state" => "recovered").increment(1);
}

fn not_sealed(file: &dyn std::fmt::Display, error: &dyn std::fmt::Display) {
    tracing::error!(%file, %error, "a live recording cannot be sealed; it stays where it is");
    metrics::counter!("ringfence_recording_alarms_total", "kind" => "not_sealed").increment(1);
}

/// Whether the call's attempt was closed as answered before.
async fn answered(tx: &mut Tx, call: CallId) -> Result<bool, store::Error> {
    let attempt = store::attempts::by_id(tx, call).await?;
    Ok(attempt.is_some_and(|attempt| attempt.answered_at_ms.is_some()))
}

fn id_of(recovered: &Recovered) -> RecordingId {
    RecordingId::from_uuid(recovered.sealed.recording())
}

/// The row of a recording whose call is not there to tell when it was answered: its end less its length.
fn row_of(sealed: &Sealed, now_ms: i64) -> (i64, Seal) {
    let duration_ms = i64::try_from(sealed.duration().as_millis()).unwrap_or(i64::MAX);
    let answered_ms = sealed.facts.ended_ms.saturating_sub(duration_ms);
    (
        answered_ms,
        coverage::row(sealed, Some(answered_ms), now_ms),
    )
}

#[cfg(test)]
mod tests;
