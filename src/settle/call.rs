//! One call whose task broke off is settled at once, beside the calls that go on, and until it is done.
//!
//! Its legs need nothing here: they were cut as the task was dropped, and its journal follows them; what the PBX does not
//! confirm is a leftover like any other once the attempt is closed.

use std::time::{Duration, Instant};

use ringfence_recordings::Recovered;

use super::{Left, not_sealed, note};
use crate::{call::Cause, clock::Clock, ids::CallId, recorder::Recorder, store::Db};

/// Pause between looks whether the recorder has let go, and between tries while the database is away.
pub(super) const RETRY: Duration = Duration::from_millis(500);
/// The attempt is closed without its recording if that is not sealed by then, and corrected afterwards.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is said again that the database is away.
pub(super) const REMIND: Duration = Duration::from_secs(60);
/// Pause between tries to seal what could not be sealed: a full disk.
const SEAL_RETRY: Duration = Duration::from_secs(5);

/// A call whose task is gone.
#[derive(Clone)]
pub(crate) struct BrokenCall {
    pub call: CallId,
    pub db: Db,
    pub recorder: Recorder,
    pub clock: Clock,
}

impl BrokenCall {
    /// Seals its recording and closes its attempt. Returns with what this closed it; `None` if it was closed before, or
    /// if the database refuses and the next start must do it.
    pub(crate) async fn settle(self) -> Option<Cause> {
        let (recovered, is_whole) = self.recover().await;
        let cause = self.note(&recovered).await;
        if !is_whole {
            // Beside everything: neither agent nor drain waits for a full disk.
            tokio::spawn(async move { self.recover_when_possible(SEAL_RETRY).await });
        }
        cause
    }

    /// Waits for the recorder to let go of the recording, and seals it. Also says whether nothing is left to seal.
    async fn recover(&self) -> (Vec<Recovered>, bool) {
        let until = self.clock.monotonic() + PATIENCE;
        let mut all = Vec::new();
        loop {
            let recovery = match self.recorder.recover_call(self.call).await {
                Ok(recovery) => recovery,
                Err(error) => {
                    not_sealed(&self.call, &error);
                    return (all, false);
                }
            };
            all.extend(recovery.recovered);
            for (path, error) in &recovery.failed {
                not_sealed(&path.display(), error);
            }
            if !recovery.failed.is_empty() || recovery.unfinished.is_empty() {
                return (all, recovery.failed.is_empty());
            }
            if self.clock.monotonic() >= until {
                not_sealed(&self.call, &"the recorder still writes it");
                return (all, false);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Tried on while the database is away.
    async fn note(&self, recovered: &[Recovered]) -> Option<Cause> {
        let mut told: Option<Instant> = None;
        loop {
            let left = Left::Of(self.call);
            let error = match note(&self.db, &self.recorder, &self.clock, recovered, left).await {
                Ok(closed) => return closed.first().and_then(|attempt| attempt.cause),
                Err(error) => error,
            };
            if !error.is_unavailable() {
                tracing::error!(call = %self.call, %error, "a broken call cannot be closed; the next start settles it");
                metrics::counter!("ringfence_attempts_not_closed_total").increment(1);
                return None;
            }
            let now = self.clock.monotonic();
            if told.is_none_or(|told| now.saturating_duration_since(told) >= REMIND) {
                told = Some(now);
                tracing::error!(call = %self.call, %error, "a broken call cannot be closed yet; trying on");
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Tried on until the disk lets it, with this pause.
    pub(super) async fn recover_when_possible(&self, pause: Duration) {
        loop {
            tokio::time::sleep(pause).await;
            let recovery = match self.recorder.recover_call(self.call).await {
                Ok(recovery) => recovery,
                Err(error) => {
                    tracing::debug!(call = %self.call, %error, "still not sealed");
                    continue;
                }
            };
            if !recovery.recovered.is_empty() {
                self.note(&recovery.recovered).await;
            }
            // What is damaged stays so.
            let hopeless = recovery.failed.iter().all(|(_, error)| error.is_damage());
            if hopeless && recovery.unfinished.is_empty() {
                return;
            }
        }
    }
}
