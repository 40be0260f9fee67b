//! What a crash left open is settled before the first new call: recordings sealed, attempts closed, and the PBX's
//! leftover channels released as soon as it can be reached.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use ringfence_recordings::Sealed;
use ringfence_sip::DialogSnapshot;
use tokio::task::JoinSet;

use crate::{
    call::Cause,
    clock::Clock,
    coverage,
    ids::{CallId, RecordingId},
    recorder::Recorder,
    store::{self, Db, attempts::Closing, dialogs::Dialog},
    trunk::{Trunk, TrunkState},
};

/// Pause between tries to reach the PBX about leftovers.
const RETRY: Duration = Duration::from_secs(2);
/// Pause between looks for legs of ended calls that the PBX never released.
const LOOK: Duration = Duration::from_secs(5);
/// A leg is forgotten when its call has been over for so long: BYE is repeated for 32 s (RFC 3261 17.1.2.2, timer F).
const FORGOTTEN_MS: i64 = 35_000;

/// Seals what is live in the vault and closes what is open in the database.
pub(super) async fn recordings_and_attempts(
    db: &Db,
    recorder: &Recorder,
    clock: &Clock,
    node: &str,
) -> anyhow::Result<()> {
    let recovery = recorder.recover(|_| None).await?;
    for (path, error) in &recovery.failed {
        tracing::error!(file = %path.display(), %error, "a live recording cannot be sealed; it stays where it is");
        metrics::counter!("ringfence_recording_alarms_total", "kind" => "not_sealed").increment(1);
    }
    let now_ms = clock.wall_ms();
    let mut talked: HashMap<CallId, (i64, i64)> = HashMap::new();
    let mut tx = db.begin().await?;
    for recovered in &recovery.recovered {
        let sealed = &recovered.sealed;
        let id = RecordingId::from_uuid(sealed.recording());
        let call = CallId::from_uuid(sealed.manifest.call);
        if sealed.samples() == 0 {
            // Opened for a customer who had not answered when the process died.
            store::recordings::abandon(&mut tx, id).await?;
            continue;
        }
        let (answered_ms, row) = row_of(sealed, now_ms);
        talked.insert(call, (answered_ms, row.ended_at_ms));
        coverage::raise(sealed, &coverage::alarms(sealed, &row));
        if !store::recordings::seal(&mut tx, id, &row).await? {
            tracing::warn!(recording = %id, "a recovered recording has no row; `ringfence recordings verify` lists it");
        }
        tracing::warn!(
            recording = %id,
            %call,
            seconds = sealed.duration().as_secs_f64(),
            beyond_durable_ms = recovered.beyond_durable.map(|d| d.as_millis()),
            torn_bytes = sealed.facts.torn_bytes,
            "a recording was recovered after a crash"
        );
        metrics::counter!("ringfence_recordings_sealed_total", "state" => "recovered").increment(1);
    }
    // What could not be sealed keeps its row: there may be audio in it, and the next start tries again.
    let unsealed: HashSet<RecordingId> = recovery
        .failed
        .iter()
        .filter_map(|(path, _)| path.file_stem()?.to_str()?.parse().ok())
        .collect();
    for row in store::recordings::live_on(&mut tx, node).await? {
        if unsealed.contains(&row.id) {
            continue;
        }
        let sealed = match recorder.sealed(row.id).await {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::error!(recording = %row.id, %error, "a sealed recording cannot be read; its row stays as it is");
                metrics::counter!("ringfence_recording_alarms_total", "kind" => "damaged")
                    .increment(1);
                continue;
            }
        };
        if let Some(sealed) = sealed.filter(|sealed| sealed.samples() > 0) {
            // Sealed in order; only the database was away when its row should have said so.
            let (from, seal) = row_of(&sealed, now_ms);
            talked.entry(row.call).or_insert((from, seal.ended_at_ms));
            store::recordings::seal(&mut tx, row.id, &seal).await?;
            tracing::info!(recording = %row.id, "a sealed recording is linked to its call");
            continue;
        }
        // No file: it was given up before anybody answered, or it is gone.
        let never_bridged = !talked.contains_key(&row.call) && !answered(&mut tx, row.call).await?;
        let settled = if never_bridged {
            store::recordings::abandon(&mut tx, row.id).await?
        } else {
            store::recordings::lose(&mut tx, row.id).await?
        };
        if settled && !never_bridged {
            tracing::error!(recording = %row.id, "a recording that should be in the vault is not");
            metrics::counter!("ringfence_recording_alarms_total", "kind" => "lost").increment(1);
        }
    }
    // What an earlier start had to close without its recording, which could not be sealed then.
    for (&call, &talk) in &talked {
        if let Some(attempt) = store::attempts::by_id(&mut tx, call).await?
            && attempt.settled
            && attempt.answered_at_ms.is_none()
        {
            let closing = Closing::after_crash(&attempt, Cause::Crashed, now_ms, Some(talk));
            store::attempts::correct(&mut tx, call, &closing).await?;
        }
    }
    let settled = store::attempts::settle_leftovers(&mut tx, node, |attempt| {
        Closing::after_crash(
            attempt,
            Cause::Crashed,
            now_ms,
            talked.get(&attempt.id).copied(),
        )
    })
    .await?;
    tx.commit().await?;
    for attempt in &settled {
        tracing::warn!(call = %attempt.id, "a call that a crash left open is closed");
    }
    Ok(())
}

/// Whether the call's attempt was closed as answered before.
async fn answered(tx: &mut store::Tx, call: CallId) -> Result<bool, store::Error> {
    let attempt = store::attempts::by_id(tx, call).await?;
    Ok(attempt.is_some_and(|attempt| attempt.answered_at_ms.is_some()))
}

/// The row of a recording whose call is not there to tell when it was answered: its end less its length.
fn row_of(sealed: &Sealed, now_ms: i64) -> (i64, store::recordings::Seal) {
    let duration_ms = i64::try_from(sealed.duration().as_millis()).unwrap_or(i64::MAX);
    let answered_ms = sealed.facts.ended_ms.saturating_sub(duration_ms);
    (
        answered_ms,
        coverage::row(sealed, Some(answered_ms), now_ms),
    )
}

/// The legs that the journal still holds: calls from before, as long as none has begun now.
pub(super) async fn leftovers(db: &Db, node: &str) -> Result<Vec<Dialog>, store::Error> {
    let mut tx = db.read().await?;
    store::dialogs::leftovers(&mut tx, node).await
}

/// Ends, beside everything else, what the PBX still holds of calls from before; and later, of calls whose BYE or CANCEL
/// it did not answer because it was away.
pub(super) fn release(
    db: Db,
    trunk: Trunk,
    clock: Clock,
    node: String,
    mut leftovers: Vec<Dialog>,
) {
    tokio::spawn(async move {
        let mut state = trunk.watch();
        loop {
            // Ends only with the trunk itself.
            if state.wait_for(TrunkState::is_up).await.is_err() {
                return;
            }
            let mut asked = JoinSet::new();
            for leftover in leftovers {
                asked.spawn(release_one(db.clone(), trunk.clone(), leftover));
            }
            asked.join_all().await;
            tokio::time::sleep(LOOK).await;
            let forgotten = async {
                let mut tx = db.read().await?;
                let before = clock.wall_ms().saturating_sub(FORGOTTEN_MS);
                store::dialogs::forgotten(&mut tx, &node, before).await
            };
            leftovers = forgotten.await.unwrap_or_else(|error: store::Error| {
                tracing::warn!(%error, "legs that the PBX did not release cannot be listed; asking on");
                Vec::new()
            });
        }
    });
}

async fn release_one(db: Db, trunk: Trunk, leftover: Dialog) {
    let (call, leg) = (leftover.call_id, leftover.leg.as_str());
    match leftover.snapshot.parse::<DialogSnapshot>() {
        Ok(snapshot) => {
            let mut told = false;
            while !trunk.release_leftover(snapshot.clone()).await {
                if !told {
                    tracing::warn!(%call, leg, "the PBX does not answer about a leg of before; asking on");
                    told = true;
                }
                tokio::time::sleep(RETRY).await;
            }
            tracing::info!(%call, leg, "the PBX has released a leg of a call that is over");
        }
        Err(error) => {
            tracing::error!(%call, leg, %error, "a journalled leg cannot be read and is forgotten")
        }
    }
    let removed = async {
        let mut tx = db.begin().await?;
        store::dialogs::remove(&mut tx, call, leg).await?;
        tx.commit().await
    };
    if let Err(error) = removed.await {
        tracing::warn!(%call, leg, %error, "a released leg stays in the journal; the next start asks again");
    }
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
