//! One recording while its call is up: samples in, whole encrypted segments on the disk.
//!
//! Samples are put straight into the segment being filled, encrypted there in place and written with one `pwrite` per
//! 4,096 bytes; appending allocates nothing and plaintext exists nowhere else. A segment that cannot be written is kept
//! as ciphertext and tried again with the next append, while what comes meanwhile is owed as silence: the timeline never
//! shifts, nothing written is lost, and no nonce is used twice. After a crash nobody continues this file:
//! `recover.rs` seals what is there.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::disk;
use crate::error::{Result, VaultError};
use crate::facts::{GapKind, Gaps};
use crate::manifest::PAGE_LEN;
use crate::stream::Segmenter;
use crate::vault::Vault;
use crate::wav::WAV_DATA_MAX;

/// What the vault knows of a live file, beside the one who writes it.
pub(crate) struct LiveFile {
    pub(crate) recording: Uuid,
    pub(crate) call: Uuid,
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// Bytes of the file that are written, always at the end of a segment.
    pub(crate) written: AtomicU64,
    /// Bytes of the file that the disk has confirmed.
    pub(crate) durable: AtomicU64,
    /// A sync failed: the kernel may have dropped what it could not write and then calls the file clean, so that no
    /// later success means anything. What is known to be durable stands still from then on; the seal, which writes
    /// everything anew, is not concerned.
    pub(crate) unreliable: AtomicBool,
    /// Nobody will write any more.
    pub(crate) closed: AtomicBool,
    pub(crate) gaps: Mutex<Gaps>,
}

impl LiveFile {
    /// Makes durable what is written now. Returns that position.
    pub(crate) fn sync(&self) -> Result<u64> {
        let written = self.written.load(Ordering::Acquire);
        if self.durable.load(Ordering::Acquire) < written {
            if self.unreliable.load(Ordering::Acquire) {
                let earlier =
                    std::io::Error::other("an earlier sync of it failed: its disk needs attention");
                return Err(VaultError::io("sync", &self.path, earlier));
            }
            disk::sync(&self.file, &self.path)
                .inspect_err(|_| self.unreliable.store(true, Ordering::Release))?;
            self.durable.fetch_max(written, Ordering::AcqRel);
        }
        Ok(written)
    }

    pub(crate) fn gaps(&self) -> Gaps {
        self.gaps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn add_gap(&self, kind: GapKind, start: u64, samples: u64) {
        self.gaps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(kind, start, samples);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Samples are collected.
    Filling,
    /// A segment is encrypted and waits to be written; `last` if it is the last one.
    Waiting { last: bool },
    /// The last segment is written.
    Finished,
}

/// A recording being written. Made by [`Vault::begin`]; one owner, usable from any thread.
///
/// Dropped without [`Live::finish`] it stays on the disk as a crash would leave it: [`Vault::seal`] and
/// [`Vault::recover`] take it.
pub struct Live {
    vault: Vault,
    shared: Arc<LiveFile>,
    segmenter: Segmenter,
    state: State,
    channels: usize,
    /// Where the segment at hand goes.
    offset: u64,
    /// Samples per channel on the timeline, the owed ones included.
    samples: u64,
    /// Samples per channel to be written as silence before anything else.
    owed: u64,
    paused: bool,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Live({}, {} samples, {:?})",
            self.shared.recording, self.samples, self.state
        )
    }
}

impl Live {
    pub(crate) fn new(
        vault: Vault,
        shared: Arc<LiveFile>,
        segmenter: Segmenter,
        channels: u8,
    ) -> Self {
        Self {
            vault,
            shared,
            segmenter,
            state: State::Filling,
            channels: usize::from(channels).max(1),
            offset: PAGE_LEN as u64,
            samples: 0,
            owed: 0,
            paused: false,
        }
    }

    /// The recording's id.
    pub fn recording(&self) -> Uuid {
        self.shared.recording
    }

    /// Samples per channel taken so far, silence included.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Samples per channel that stand on the disk as silence because they could not be written in time, or will.
    pub fn not_written(&self) -> u64 {
        self.shared.gaps().samples_of(GapKind::NotWritten)
    }

    /// Appends interleaved samples, whole frames.
    ///
    /// # Errors
    /// [`VaultError::DiskFull`] or [`VaultError::Io`] if a segment could not be written: the samples of this call that
    /// found no room are on the timeline as silence and counted as a gap. Go on appending: each append tries again.
    /// [`VaultError::TooLong`] at the end of what a WAV can hold, [`VaultError::BadField`] for half a frame or after
    /// [`Live::finish`]; those take nothing.
    pub fn append(&mut self, samples: &[i16]) -> Result<()> {
        if !samples.len().is_multiple_of(self.channels) {
            return Err(VaultError::BadField {
                field: "samples",
                detail: "they must be whole frames of all channels",
            });
        }
        if matches!(self.state, State::Finished | State::Waiting { last: true }) {
            return Err(VaultError::BadField {
                field: "samples",
                detail: "the recording is finished already",
            });
        }
        let frames = (samples.len() / self.channels) as u64;
        if (self.samples + frames) * self.frame_len() as u64 > WAV_DATA_MAX {
            return Err(VaultError::TooLong(self.shared.recording));
        }
        let start = self.samples;
        self.samples += frames;
        if self.paused {
            self.shared.add_gap(GapKind::Paused, start, frames);
            self.owed += frames;
            return self.pay();
        }
        let mut rest = samples;
        let done = self.pay().and_then(|()| self.take(&mut rest));
        if done.is_err() {
            let left = (rest.len() / self.channels) as u64;
            self.shared
                .add_gap(GapKind::NotWritten, self.samples - left, left);
            self.owed += left;
        }
        done
    }

    /// From now on silence is recorded in place of what is appended, until [`Live::resume`]. The samples given to
    /// [`Live::append`] meanwhile are not even copied.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Records what is appended again.
    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// Whether silence is recorded at the moment.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Makes all whole segments durable.
    ///
    /// # Errors
    /// What the operating system says; nothing counts as durable then.
    pub fn sync(&self) -> Result<()> {
        self.shared.sync().map(drop)
    }

    /// Writes the last segment and makes everything durable. After it only [`Vault::seal`] is left to do.
    ///
    /// # Errors
    /// As [`Live::append`]; may be called again until it succeeds. If it never does, drop it: the recording can be
    /// sealed all the same and lacks at most what was not written.
    pub fn finish(&mut self) -> Result<()> {
        if self.state != State::Finished {
            self.pay()?;
            if self.state == State::Filling {
                self.segmenter.encrypt(true)?;
                self.state = State::Waiting { last: true };
            }
            self.write_waiting()?;
        }
        self.shared.sync()?;
        self.shared.closed.store(true, Ordering::Release);
        Ok(())
    }

    /// Removes the recording: nobody answered, so there is nothing to keep.
    ///
    /// # Errors
    /// [`VaultError::BadField`] if audio was appended: that is never thrown away.
    pub fn abandon(self) -> Result<()> {
        if self.samples > 0 {
            return Err(VaultError::BadField {
                field: "abandon",
                detail: "audio was recorded; finish and seal it",
            });
        }
        self.shared.closed.store(true, Ordering::Release);
        self.vault.forget(self.shared.recording);
        self.vault.remove_live(&self.shared.path)
    }

    fn frame_len(&self) -> usize {
        self.channels * 2
    }

    /// Writes what waits, then the silence that is owed.
    fn pay(&mut self) -> Result<()> {
        if let State::Waiting { .. } = self.state {
            self.write_waiting()?;
        }
        while self.owed > 0 {
            let frame_len = self.frame_len();
            let space = self.segmenter.space();
            let frames =
                (space.len() / frame_len).min(usize::try_from(self.owed).unwrap_or(usize::MAX));
            space[..frames * frame_len].fill(0);
            self.segmenter.advance(frames * frame_len);
            self.owed -= frames as u64;
            self.write_if_full()?;
        }
        Ok(())
    }

    /// Puts samples into segments until none is left; on an error `rest` holds those that found no room.
    fn take(&mut self, rest: &mut &[i16]) -> Result<()> {
        while !rest.is_empty() {
            let space = self.segmenter.space();
            let (now, later) = rest.split_at((space.len() / 2).min(rest.len()));
            for (to, sample) in space.as_chunks_mut::<2>().0.iter_mut().zip(now) {
                *to = sample.to_le_bytes();
            }
            self.segmenter.advance(now.len() * 2);
            *rest = later;
            self.write_if_full()?;
        }
        Ok(())
    }

    #[inline]
    fn write_if_full(&mut self) -> Result<()> {
        // Plaintext of a segment is a whole number of frames of one or two channels, so it fills up exactly.
        if self.segmenter.room() > 0 {
            return Ok(());
        }
        self.segmenter.encrypt(false)?;
        self.state = State::Waiting { last: false };
        self.write_waiting()
    }

    fn write_waiting(&mut self) -> Result<()> {
        let State::Waiting { last } = self.state else {
            return Ok(());
        };
        let segment = self.segmenter.ciphertext();
        disk::write_at(&self.shared.file, &self.shared.path, segment, self.offset)?;
        self.offset += segment.len() as u64;
        self.shared.written.store(self.offset, Ordering::Release);
        self.segmenter.next();
        self.state = if last {
            State::Finished
        } else {
            State::Filling
        };
        Ok(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
    }
}
