//! Binds a call's tap to the vault: one thread writes all live recordings, one makes them durable, sealing happens
//! beside them. Audio never waits for a disk: the tap's ring holds some seconds, and what overflows is counted there.
//!
//! A recording is opened (durable first page) before the customer is rung, recorded from the bridge on, and sealed after
//! the hang-up. Failing to write does not end a call: it goes on, the gap is counted, and [`Recording::broke`] says so.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use ringfence_media::{TapReader, TapReport};
use ringfence_recordings::{Begin, Live, Recovery, SealFacts, Sealed, Vault, VaultError};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::ids::{CallId, RecordingId};

/// How often the rings are emptied. With the tap's reorder window and one segment it bounds what a crash can lose.
const EMPTY_EVERY: Duration = Duration::from_millis(20);
/// How often what was written is made durable: what a loss of power can cost.
const SYNC_EVERY: Duration = Duration::from_millis(500);
/// Recordings that may wait to be taken over by the writing thread.
const QUEUE: usize = 1_024;
/// Recordings sealed at once; sealing reads and writes whole files and must not starve the writer.
const SEALING: usize = 2;

/// The way into the vault; clones share the threads, which end with the last clone.
#[derive(Clone)]
pub struct Recorder {
    vault: Vault,
    queue: SyncSender<Taken>,
    writer: Arc<thread::JoinHandle<()>>,
    sealing: Arc<Semaphore>,
    _stop: Arc<StopOnDrop>,
}

struct StopOnDrop(CancellationToken);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// A recording whose first page is durable and that has no audio yet.
pub struct Opened {
    /// Its id.
    pub id: RecordingId,
    live: Live,
}

/// A recording that is being written.
pub struct Recording {
    /// Its id.
    pub id: RecordingId,
    written: oneshot::Receiver<Written>,
    broke: watch::Receiver<bool>,
}

/// A recording that gets no more audio and waits for its seal. Dropped, it is sealed at the next start.
pub struct Stopped {
    /// Its id.
    pub id: RecordingId,
    live: Option<Live>,
    facts: SealFacts,
}

/// Where a recording lies in the vault.
pub enum Kept {
    /// Closed for good.
    Sealed(Box<Sealed>),
    /// Among the live ones: being written, or it could not be sealed.
    Live,
    /// The vault does not know it.
    Nothing,
}

struct Taken {
    live: Live,
    reader: TapReader,
    written: oneshot::Sender<Written>,
    broke: watch::Sender<bool>,
}

struct Written {
    live: Live,
    report: TapReport,
}

/// When a recorded call was talking.
#[derive(Debug, Clone, Copy)]
pub struct Talk {
    /// When the customer answered, milliseconds UTC.
    pub answered_ms: i64,
    /// When the call ended, milliseconds UTC.
    pub ended_ms: i64,
    /// From the bridge to the hang-up by the monotonic clock.
    pub length: Duration,
}

impl Recorder {
    /// Starts the threads.
    pub fn start(vault: Vault) -> std::io::Result<Self> {
        let (queue, taken) = sync_channel(QUEUE);
        let stop = CancellationToken::new();
        let writer = thread::Builder::new()
            .name("recorder".into())
            .spawn(move || write_all(&taken))?;
        let (synced, stopped) = (vault.clone(), stop.clone());
        thread::Builder::new()
            .name("recorder-sync".into())
            .spawn(move || sync_all(&synced, &stopped))?;
        Ok(Self {
            vault,
            queue,
            writer: Arc::new(writer),
            sealing: Arc::new(Semaphore::new(SEALING)),
            _stop: Arc::new(StopOnDrop(stop)),
        })
    }

    /// Makes a recording with a durable first page. `created_ms` is now.
    pub async fn open(
        &self,
        id: RecordingId,
        call: CallId,
        segment: u32,
        client: String,
        created_ms: i64,
    ) -> Result<Opened, VaultError> {
        // It ends with the last handle or by a fault of ours; without it nothing would be written.
        if self.writer.is_finished() {
            return Err(VaultError::Io {
                act: "record into",
                path: "the vault".into(),
                source: std::io::Error::other(
                    "the writing thread has ended; restart the daemon, its log says why",
                ),
            });
        }
        let vault = self.vault.clone();
        let (reply, opened) = oneshot::channel();
        let begun = tokio::task::spawn_blocking(move || {
            let begin = Begin {
                recording: id.uuid(),
                call: call.uuid(),
                segment,
                client: &client,
                created_ms,
                sample_rate: ringfence_media::SAMPLE_RATE,
                channels: 2,
            };
            let opened = vault.begin(&begin).map(|live| Opened { id, live });
            // Whoever asked is gone: it must not lie there until the next start.
            if let Err(Ok(opened)) = reply.send(opened)
                && let Err(error) = opened.live.abandon()
            {
                tracing::warn!(recording = %id, %error, "an empty recording stays until the next start");
            }
        });
        begun.await.map_err(broken_off)?;
        opened.await.unwrap_or_else(|error| Err(broken_off(error)))
    }

    /// Takes back a recording that got no audio.
    pub async fn abandon(&self, opened: Opened) -> Result<(), VaultError> {
        blocking(move || opened.live.abandon()).await
    }

    /// Writes what `reader` gives, until its tap is stopped.
    pub fn record(&self, opened: Opened, reader: TapReader) -> Recording {
        let (written, receiver) = oneshot::channel();
        let (broke, broken) = watch::channel(false);
        let id = opened.id;
        let taken = Taken {
            live: opened.live,
            reader,
            written,
            broke,
        };
        // Full only if the writing thread is dead or starved for more than a thousand new calls; the dropped sender
        // then makes `seal` fall back to what is on the disk, and the flag says at once that something is wrong.
        if let Err(error) = self.queue.try_send(taken) {
            let taken = match error {
                std::sync::mpsc::TrySendError::Full(taken)
                | std::sync::mpsc::TrySendError::Disconnected(taken) => taken,
            };
            taken.broke.send_replace(true);
        }
        Recording {
            id,
            written: receiver,
            broke: broken,
        }
    }

    /// Waits until everything is written of a recording whose tap has been stopped.
    pub async fn stopped(&self, recording: Recording, talk: Talk) -> Stopped {
        let mut facts = SealFacts {
            ended_ms: talk.ended_ms,
            answered_ms: Some(talk.answered_ms),
            expected_samples: Some(samples(talk.length)),
            ..SealFacts::default()
        };
        let written = recording.written.await.ok();
        if let Some(Written { report, .. }) = &written {
            facts.filled_samples = [report.agent.silence_filled, report.customer.silence_filled];
            facts.overflow_samples = report.overflow_samples;
            tracing::info!(recording = %recording.id, agent = %report.agent, customer = %report.customer,
                "the audio of a recording is complete");
        }
        Stopped {
            id: recording.id,
            live: written.map(|written| written.live),
            facts,
        }
    }

    /// Seals it. If the disk does not let us, it is given back and can be tried again.
    pub async fn seal(&self, mut stopped: Stopped) -> Result<Sealed, Box<(Stopped, VaultError)>> {
        let permit = self.sealing.clone().acquire_owned().await;
        let vault = self.vault.clone();
        let (id, facts) = (stopped.id, stopped.facts);
        let work = tokio::task::spawn_blocking(move || {
            let _one_of_few = permit;
            if let Some(live) = &mut stopped.live {
                match live.finish() {
                    Ok(()) => {}
                    Err(error @ VaultError::DiskFull { .. }) => {
                        return Err(Box::new((stopped, error)));
                    }
                    // The seal writes everything anew; at most the last segment is not in it.
                    Err(error) => {
                        tracing::error!(recording = %id, %error, "the end of a recording could not be written");
                    }
                }
                stopped.live = None;
            }
            let sealed = vault.seal(stopped.id.uuid(), &stopped.facts);
            sealed.map_err(|error| Box::new((stopped, error)))
        });
        match work.await {
            Ok(result) => result,
            Err(error) => {
                let gone = Stopped {
                    id,
                    live: None,
                    facts,
                };
                Err(Box::new((gone, broken_off(error))))
            }
        }
    }

    /// What the vault has of a recording.
    pub async fn look_up(&self, id: RecordingId) -> Result<Kept, VaultError> {
        let vault = self.vault.clone();
        blocking(move || match vault.describe(id.uuid()) {
            Ok(sealed) => Ok(Kept::Sealed(Box::new(sealed))),
            Err(VaultError::StillLive(_)) => Ok(Kept::Live),
            Err(VaultError::NotFound(_)) => Ok(Kept::Nothing),
            Err(error) => Err(error),
        })
        .await
    }

    /// Seals whatever a crash left open.
    pub async fn recover(&self) -> Result<Recovery, VaultError> {
        let vault = self.vault.clone();
        blocking(move || vault.recover()).await
    }

    /// Seals whatever a call left open whose task broke off, while other calls go on.
    pub async fn recover_call(&self, call: CallId) -> Result<Recovery, VaultError> {
        let permit = self.sealing.clone().acquire_owned().await;
        let vault = self.vault.clone();
        blocking(move || {
            let _one_of_few = permit;
            vault.recover_call(call.uuid())
        })
        .await
    }
}

impl Recording {
    /// Becomes true once the vault could not take audio: the recording has a gap.
    pub fn broke(&self) -> watch::Receiver<bool> {
        self.broke.clone()
    }
}

fn write_all(queue: &Receiver<Taken>) {
    let mut live: Vec<Taken> = Vec::new();
    // One second of stereo at most; the ring is emptied in so many turns as it takes.
    let mut frames = vec![0_i16; 2 * 8_000];
    let mut open = true;
    while open || !live.is_empty() {
        if live.is_empty() {
            match queue.recv() {
                Ok(taken) => live.push(taken),
                Err(_) => return,
            }
        }
        loop {
            match queue.recv_timeout(Duration::ZERO) {
                Ok(taken) => live.push(taken),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    open = false;
                    break;
                }
            }
        }
        let mut index = 0;
        while let Some(taken) = live.get_mut(index) {
            if empty(taken, &mut frames) {
                index += 1;
                continue;
            }
            let Taken {
                live: file,
                reader,
                written,
                ..
            } = live.swap_remove(index);
            let written = written.send(Written {
                live: file,
                report: reader.report(),
            });
            // Nobody waits for it: the call's task broke off. Its last piece is written all the same.
            if let Err(mut orphan) = written
                && let Err(error) = orphan.live.finish()
            {
                tracing::error!(recording = %orphan.live.recording(), %error, "the end of a recording could not be written");
            }
        }
        thread::sleep(EMPTY_EVERY);
    }
}

/// Moves what waits in the ring; false once the tap has been stopped and everything is out.
fn empty(taken: &mut Taken, frames: &mut [i16]) -> bool {
    loop {
        // Asked first: what comes in between is found by the next read.
        let ended = taken.reader.ended();
        let length = taken.reader.read(frames);
        if length == 0 {
            return !ended;
        }
        let Some(frames) = frames.get(..length) else {
            return false;
        };
        if let Err(error) = taken.live.append(frames)
            && !taken.broke.send_replace(true)
        {
            tracing::error!(recording = %taken.live.recording(), %error, "audio could not be written; the call goes on");
            metrics::counter!("ringfence_recording_alarms_total", "kind" => "not_written")
                .increment(1);
        }
    }
}

fn sync_all(vault: &Vault, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        thread::sleep(SYNC_EVERY);
        if let Err(error) = vault.sync_live() {
            tracing::error!(%error, "live recordings could not be made durable");
            metrics::counter!("ringfence_recording_alarms_total", "kind" => "not_durable")
                .increment(1);
        }
    }
}

fn samples(length: Duration) -> u64 {
    u64::try_from(length.as_micros() * u128::from(ringfence_media::SAMPLE_RATE) / 1_000_000)
        .unwrap_or(u64::MAX)
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, VaultError> + Send + 'static,
) -> Result<T, VaultError> {
    match tokio::task::spawn_blocking(act).await {
        Ok(result) => result,
        Err(error) => Err(broken_off(error)),
    }
}

/// The runtime is ending or the act panicked, which the panic hook has told; the file is recovered at start.
fn broken_off(error: impl std::error::Error + Send + Sync + 'static) -> VaultError {
    VaultError::Io {
        act: "finish work on",
        path: "the vault".into(),
        source: std::io::Error::other(error),
    }
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
