//! After a crash: whatever lies in the live directory is sealed, by the same code as at hang-up. After a fault that ended
//! one call only: whatever that call has left there.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;

use crate::disk;
use crate::error::{Result, VaultError};
use crate::facts::{SealFacts, Sealed};
use crate::stream::SEGMENT_LEN;
use crate::vault::{Vault, id_of};

/// A recording that a crash had left open and that is sealed now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// The sealed recording; its facts tell what was torn.
    pub sealed: Sealed,
    /// Audio that was kept although it lay behind the last position known to be durable; `None` if no position was
    /// known. Rounded up to whole segments of about 128 ms of stereo telephone audio.
    pub beyond_durable: Option<Duration>,
    /// Where the live file was put because audio in it that had been durable is damaged.
    pub quarantined: Option<PathBuf>,
}

/// What recovery did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// Recordings that are sealed now.
    pub recovered: Vec<Recovered>,
    /// Files that could not be sealed and stay where they are, each with its reason.
    pub failed: Vec<(PathBuf, VaultError)>,
    /// Recordings that somebody still writes or seals; asking again later finds them done.
    pub unfinished: Vec<Uuid>,
}

impl Vault {
    /// Seals every recording that was left over. To be called at start, before the first call.
    ///
    /// # Errors
    /// [`VaultError::ReadOnly`], or if the live directory cannot be read. What is wrong with a single file stands in
    /// [`Recovery::failed`] and does not keep the others from being sealed.
    pub fn recover(&self) -> Result<Recovery> {
        self.recover_with(|_| None)
    }

    /// As [`Vault::recover`], asking for what a database still knows about each recording. Without it the call's end
    /// is taken to be the last write to its file.
    ///
    /// # Errors
    /// As [`Vault::recover`].
    pub fn recover_with(
        &self,
        mut facts: impl FnMut(Uuid) -> Option<SealFacts>,
    ) -> Result<Recovery> {
        self.check_writable()?;
        let mut recovery = Recovery::default();
        for path in self.live_files()? {
            let Some(recording) = id_of(&path, "live") else {
                // A first page that was never renamed: no call was ever bridged on it.
                if id_of(&path, "new").is_some()
                    && let Err(e) = disk::remove(&path)
                {
                    recovery.failed.push((path, e));
                }
                continue;
            };
            if !self.is_written(recording) {
                let given = facts(recording);
                self.recover_one(recording, path, given.as_ref(), &mut recovery);
            }
        }
        Ok(recovery)
    }

    /// Seals what one call of this process left over while others are up: for a call whose owner is gone.
    ///
    /// # Errors
    /// As [`Vault::recover`].
    pub fn recover_call(&self, call: Uuid) -> Result<Recovery> {
        self.check_writable()?;
        let mut recovery = Recovery::default();
        let files: Vec<_> = self.live().values().cloned().collect();
        for file in files.into_iter().filter(|file| file.call == call) {
            if self.is_written(file.recording) {
                recovery.unfinished.push(file.recording);
            } else {
                self.recover_one(file.recording, file.path.clone(), None, &mut recovery);
            }
        }
        Ok(recovery)
    }

    fn is_written(&self, recording: Uuid) -> bool {
        self.live()
            .get(&recording)
            .is_some_and(|file| !file.closed.load(Ordering::Acquire))
    }

    fn recover_one(
        &self,
        recording: Uuid,
        path: PathBuf,
        given: Option<&SealFacts>,
        recovery: &mut Recovery,
    ) {
        match self.seal_with(recording, given, true) {
            Ok(outcome) => {
                let manifest = &outcome.sealed.manifest;
                let segment = u64::from(manifest.channels) * 2 * u64::from(manifest.sample_rate);
                let beyond_durable = outcome.beyond_durable.map(|bytes| {
                    let bytes = bytes.div_ceil(SEGMENT_LEN as u64) * SEGMENT_LEN as u64;
                    Duration::from_millis(bytes * 1000 / segment.max(1))
                });
                recovery.recovered.push(Recovered {
                    sealed: outcome.sealed,
                    beyond_durable,
                    quarantined: outcome.quarantined,
                });
            }
            Err(VaultError::StillLive(recording)) => recovery.unfinished.push(recording),
            Err(e) => recovery.failed.push((path, e)),
        }
    }
}
