//! The call's recording: opened before the customer is rung, written from the bridge on, sealed after the hang-up.
//!
//! No recording, no call. What cannot be sealed or noted now is tried on; what is still open when the daemon dies, or
//! the task breaks off, is settled (`settle/`).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ringfence_media::Tap;
use ringfence_recordings::VaultError;

use super::{CallTask, Floorwork, STORE_RETRY, work::Done};
use crate::{
    call::machine::Input,
    coverage,
    ids::RecordingId,
    recorder::{Opened, Recording, Stopped, Talk},
    store::{
        self, Db,
        recordings::{NewRecording, Seal},
    },
};

/// Milliseconds of audio the tap's ring holds while the disk is slow.
const TAP_CAPACITY_MS: u32 = 3_000;
/// Tries to note a seal while the database is away; the file itself is safe.
const SEAL_ROW_TRIES: u32 = 120;
/// Pauses between tries to seal a recording while the disk is full.
const SEAL_RETRY: Duration = Duration::from_secs(5);

/// How far the recording is.
pub(super) enum Tape {
    None,
    Opening,
    Open(Box<Opened>),
    Running {
        recording: Recording,
        bridged: Instant,
        answered_ms: i64,
        /// That audio could not be written was told once.
        broke: bool,
    },
}

impl Tape {
    /// Returns when the vault could not take audio, once.
    pub async fn breaks(&self) {
        match self {
            Self::Running {
                recording,
                broke: false,
                ..
            } => {
                // An error means that the writer is gone: that is broken too.
                let _ = recording.broke().wait_for(|broke| *broke).await;
            }
            _ => std::future::pending().await,
        }
    }

    pub fn note_broke(&mut self) {
        if let Self::Running { broke, .. } = self {
            *broke = true;
        }
    }
}

impl CallTask {
    pub(super) fn open_recording(&mut self) {
        self.tape = Tape::Opening;
        let (floor, call) = (self.floor.clone(), self.call);
        let (client, code) = (self.target.client, self.target.client_code.clone());
        self.work.spawn(async move {
            let now_ms = floor.clock.wall_ms();
            let Some(id) = fresh_recording(now_ms) else {
                return Done::Opened(None);
            };
            let opened = match floor.recorder.open(id, call, 1, code, now_ms).await {
                Ok(opened) => opened,
                Err(error) => {
                    tracing::error!(%call, %error, "no recording, no call");
                    return Done::Opened(None);
                }
            };
            let row = NewRecording {
                id,
                call,
                segment: 1,
                client,
                created_at_ms: now_ms,
                sample_rate: ringfence_media::SAMPLE_RATE,
                channels: 2,
            };
            if let Err(error) = insert_row(&floor.db, &row).await {
                tracing::error!(%call, %error, "a recording cannot be linked to its call");
                if let Err(error) = floor.recorder.abandon(opened).await {
                    tracing::warn!(%call, %error, "an empty recording stays until the next start");
                }
                return Done::Opened(None);
            }
            Done::Opened(Some(Box::new(opened)))
        });
    }

    pub(super) fn on_opened(&mut self, opened: Option<Box<Opened>>) {
        let Some(opened) = opened else {
            self.tape = Tape::None;
            self.ready.push_back(Input::RecordingFailed);
            return;
        };
        self.tape = Tape::Open(opened);
        if self.close_when_open {
            self.close_recording(false, self.now());
        } else {
            self.ready.push_back(Input::RecordingOpened);
        }
    }

    /// Lets both sides hear each other, recorded from the first sample; false if that cannot be.
    pub(super) fn bridge(&mut self) -> bool {
        let (Some(agent), Some(customer)) = (&self.agent.audio, &self.customer.audio) else {
            return false;
        };
        let Tape::Open(_) = &self.tape else {
            return false;
        };
        let (tap, reader) = Tap::new(TAP_CAPACITY_MS);
        let at = self.now();
        let joined = match self.floor.engine.bridge(agent, customer, Some(tap), at) {
            Ok(joined) => joined,
            Err(error) => {
                tracing::error!(call = %self.call, %error, "the legs cannot be bridged");
                return false;
            }
        };
        let (answered, answered_ms) = self.answered.unwrap_or((at, self.floor.clock.wall_ms()));
        if let Tape::Open(opened) = std::mem::replace(&mut self.tape, Tape::None) {
            let recording = self.floor.recorder.record(*opened, reader);
            self.tape = Tape::Running {
                recording,
                bridged: at,
                answered_ms,
                broke: false,
            };
        }
        self.work.spawn(async move {
            // Nothing is told of legs that were closed before the audio thread came to join them.
            if let Ok(at) = joined.await {
                metrics::histogram!("ringfence_bridge_seconds")
                    .record(at.saturating_duration_since(answered));
            }
            Done::Nothing
        });
        true
    }

    pub(super) fn close_recording(&mut self, keep: bool, at: Instant) {
        let floor = self.floor.clone();
        let call = self.call;
        match std::mem::replace(&mut self.tape, Tape::None) {
            Tape::None => {}
            Tape::Opening => {
                self.tape = Tape::Opening;
                self.close_when_open = true;
            }
            Tape::Open(opened) => {
                self.work.spawn(async move {
                    let id = opened.id;
                    if let Err(error) = floor.recorder.abandon(*opened).await {
                        tracing::warn!(%call, %error, "an empty recording stays until the next start");
                    } else if let Err(error) = abandon_row(&floor.db, id).await {
                        tracing::warn!(%call, %error, "an empty recording is still listed; the next start settles it");
                    }
                    Done::Nothing
                });
            }
            Tape::Running {
                recording,
                bridged,
                answered_ms,
                ..
            } => {
                debug_assert!(keep, "audio is never given up");
                // The machine releases the legs too; whoever comes first stops the tap at this instant.
                if let Some(audio) = self.agent.audio.as_ref().or(self.customer.audio.as_ref()) {
                    let _ = floor.engine.unbridge(audio, at);
                }
                let length = at.saturating_duration_since(bridged);
                let ended_ms = answered_ms
                    .saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX));
                let talk = Talk {
                    answered_ms,
                    ended_ms,
                    length,
                };
                self.work.spawn(async move {
                    let stopped = floor.recorder.stopped(recording, talk).await;
                    if let Err(failed) = seal(&floor, stopped, answered_ms).await {
                        let (stopped, error) = *failed;
                        tracing::error!(recording = %stopped.id, %error, "not sealed; trying on, and at the next start");
                        metrics::counter!("ringfence_recording_alarms_total", "kind" => "not_sealed").increment(1);
                        // Beside the call: a daemon that stops does not wait for a full disk.
                        tokio::spawn(seal_when_possible(floor, stopped, answered_ms));
                    }
                    Done::Nothing
                });
            }
        }
    }
}

/// Seals a recording, and then its row.
async fn seal(
    floor: &Floorwork,
    stopped: Stopped,
    answered_ms: i64,
) -> Result<(), Box<(Stopped, VaultError)>> {
    let id = stopped.id;
    let sealed = floor.recorder.seal(stopped).await?;
    let row = coverage::row(&sealed, Some(answered_ms), floor.clock.wall_ms());
    coverage::raise(&sealed, &coverage::alarms(&sealed, &row));
    metrics::counter!("ringfence_recordings_sealed_total", "state" => "sealed").increment(1);
    if let Err(error) = seal_row(&floor.db, id, &row).await {
        tracing::error!(recording = %id, %error, "sealed, but its row says live; the next start settles it");
    }
    Ok(())
}

/// Tries again until the disk lets it.
async fn seal_when_possible(floor: Arc<Floorwork>, mut stopped: Stopped, answered_ms: i64) {
    loop {
        tokio::time::sleep(SEAL_RETRY).await;
        match seal(&floor, stopped, answered_ms).await {
            Ok(()) => return,
            Err(failed) => {
                let (still, error) = *failed;
                tracing::debug!(recording = %still.id, %error, "still not sealed");
                stopped = still;
            }
        }
    }
}

fn fresh_recording(now_ms: i64) -> Option<RecordingId> {
    crate::random::bits()
        .ok()
        .map(|bits| RecordingId::from_parts(now_ms, bits))
}

async fn insert_row(db: &Db, row: &NewRecording) -> Result<(), store::Error> {
    let mut tx = db.begin().await?;
    store::recordings::insert(&mut tx, row).await?;
    tx.commit().await
}

async fn abandon_row(db: &Db, id: RecordingId) -> Result<(), store::Error> {
    let mut tx = db.begin().await?;
    store::recordings::abandon(&mut tx, id).await?;
    tx.commit().await
}

/// Tried on while the database is away, as long as a stop may reasonably wait.
async fn seal_row(db: &Db, id: RecordingId, seal: &Seal) -> Result<(), store::Error> {
    let mut tries = SEAL_ROW_TRIES;
    loop {
        let written = async {
            let mut tx = db.begin().await?;
            store::recordings::seal(&mut tx, id, seal).await?;
            tx.commit().await
        };
        match written.await {
            Err(error) if error.is_unavailable() && tries > 0 => tries -= 1,
            done => return done,
        }
        tokio::time::sleep(STORE_RETRY).await;
    }
}
