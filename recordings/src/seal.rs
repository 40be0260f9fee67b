//! Closing a recording for good.
//!
//! The live file is read back and every segment authenticated; the audio is analysed and written anew, under a fresh
//! key, as an exact WAV; that copy is read back in full and compared; only then is it renamed into its month and, once
//! the rename is durable, the live file removed. Memory is a few segments, however long the call. Whatever step the
//! machine dies at, doing it again gives the same WAV and the same facts. `recover.rs` comes through here as well.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use ring::digest::{Context, SHA256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::analysis::Analyser;
use crate::disk;
use crate::error::{Region, Result, VaultError};
use crate::facts::{Facts, GapKind, Gaps, SealFacts, Sealed, WavDigest};
use crate::keys::Key;
use crate::manifest::{Kind, Manifest, PAGE_LEN, Page};
use crate::reader::{WavReader, read_page};
use crate::stream::{
    EncryptingWriter, HEADER_LEN, SEGMENT_LEN, SegmentKey, plain_capacity, plain_start,
};
use crate::vault::Vault;
use crate::verify::verify;
use crate::wav::{WAV_HEADER_LEN, header};

/// What a seal yields beside the sealed recording.
pub(crate) struct Outcome {
    pub(crate) sealed: Sealed,
    /// Where the live file was put because durable audio in it was damaged.
    pub(crate) quarantined: Option<PathBuf>,
    /// Bytes of the live file behind the last position known to be durable; `None` if none was known.
    pub(crate) beyond_durable: Option<u64>,
}

impl Vault {
    /// Seals a recording whose writer has finished (or is gone). Doing it again after a success or a crash gives the
    /// same result.
    ///
    /// # Errors
    /// [`VaultError::StillLive`] while it is being written or sealed by another thread, [`VaultError::NotFound`],
    /// [`VaultError::DiskFull`] (the live file stays; try again when there is room), [`VaultError::Damaged`] if the
    /// live file's page cannot be read.
    pub fn seal(&self, recording: Uuid, facts: &SealFacts) -> Result<Sealed> {
        self.seal_with(recording, Some(facts), false)
            .map(|outcome| outcome.sealed)
    }

    pub(crate) fn seal_with(
        &self,
        recording: Uuid,
        facts: Option<&SealFacts>,
        recovered: bool,
    ) -> Result<Outcome> {
        self.check_writable()?;
        let _busy = self
            .busy(recording)
            .ok_or(VaultError::StillLive(recording))?;
        let known = self.live().get(&recording).cloned();
        if known
            .as_ref()
            .is_some_and(|f| !f.closed.load(Ordering::Acquire))
        {
            return Err(VaultError::StillLive(recording));
        }
        let live_path = self.live_path(recording);
        if !live_path.exists() {
            let sealed = self.describe(recording)?;
            self.forget(recording);
            return Ok(Outcome {
                sealed,
                quarantined: None,
                beyond_durable: None,
            });
        }
        let source = Source::open(&live_path, self)?;
        if source.page.manifest.recording != recording {
            return Err(VaultError::Damaged {
                path: live_path,
                region: Region::Manifest,
                detail: format!(
                    "it holds recording {} under another one's name",
                    source.page.manifest.recording
                ),
            });
        }
        let durable = match &known {
            Some(file) => Some(file.durable.load(Ordering::Acquire)),
            None => self.left_durable().get(&recording).copied(),
        };
        let beyond_durable = durable.map(|d| source.good_end().saturating_sub(d));
        let path = self.sealed_path(source.page.month, recording);
        let sealed = match self.finished_before(&path)? {
            Some(sealed) => sealed,
            None => {
                let derived;
                let facts = match facts {
                    Some(facts) => facts,
                    None => {
                        derived = source.derive_facts(&live_path)?;
                        &derived
                    }
                };
                let gaps = known.as_ref().map(|f| f.gaps()).unwrap_or_default();
                self.write_sealed(
                    &source,
                    &live_path,
                    &path,
                    facts,
                    Circumstances {
                        gaps,
                        durable,
                        recovered,
                    },
                )?
            }
        };
        let quarantined = if sealed.facts.lost_durable_bytes > 0 {
            Some(self.quarantine(&live_path)?)
        } else {
            self.remove_live(&live_path)?;
            None
        };
        self.forget(recording);
        Ok(Outcome {
            sealed,
            quarantined,
            beyond_durable,
        })
    }

    /// The sealed file of an earlier try that died before it removed the live one, if it is whole.
    fn finished_before(&self, path: &Path) -> Result<Option<Sealed>> {
        if !path.exists() {
            return Ok(None);
        }
        match WavReader::open(path, &self.inner.keys).and_then(verify) {
            Ok(sealed) => Ok(Some(sealed)),
            // It was durable before its name appeared, so the disk is at fault; the live file still has the audio.
            Err(e) if e.is_damage() => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn quarantine(&self, live_path: &Path) -> Result<PathBuf> {
        let dir = self.dir().join("quarantine");
        disk::make_dirs(&dir)?;
        let to = dir.join(live_path.file_name().unwrap_or_default());
        disk::rename(live_path, &to)?;
        disk::sync_dir(&dir)?;
        disk::sync_dir(&self.dir().join("live"))?;
        Ok(to)
    }

    fn write_sealed(
        &self,
        source: &Source,
        live_path: &Path,
        path: &Path,
        facts: &SealFacts,
        context: Circumstances,
    ) -> Result<Sealed> {
        if let Some(dir) = path.parent() {
            disk::make_dirs(dir)?;
        }
        let temporary = path.with_extension("tmp");
        let written = self
            .write_temporary(source, live_path, &temporary, facts, context)
            .and_then(|()| WavReader::open(&temporary, &self.inner.keys).and_then(verify));
        let mut sealed = match written {
            Ok(sealed) => sealed,
            Err(e) => {
                // Gives the room back; the live file has everything.
                let _ = disk::remove(&temporary);
                return Err(e);
            }
        };
        disk::rename(&temporary, path)?;
        if let Some(dir) = path.parent() {
            disk::sync_dir(dir)?;
        }
        sealed.path = path.into();
        Ok(sealed)
    }

    fn write_temporary(
        &self,
        source: &Source,
        live_path: &Path,
        temporary: &Path,
        given: &SealFacts,
        context: Circumstances,
    ) -> Result<()> {
        let old = &source.page;
        let manifest = Manifest {
            kind: Kind::Sealed,
            ..old.manifest.clone()
        };
        let frame = u64::from(manifest.channels) * 2;
        let wav_header = header(manifest.sample_rate, manifest.channels, source.pcm_len)?;
        let month_key = self
            .inner
            .keys
            .for_reading(&manifest.client, old.month, old.month_key)?;
        let data_key = Key::generate()?;
        let file = disk::create_or_empty(temporary)?;
        let mut offset = PAGE_LEN as u64;
        let mut writer = EncryptingWriter::new(&data_key, &manifest.immutable()?, |segment| {
            disk::write_at(&file, temporary, segment, offset)?;
            offset += segment.len() as u64;
            Ok(())
        })?;
        let mut digest = Context::new(&SHA256);
        let mut analyser = Analyser::new(manifest.sample_rate, manifest.channels);
        let mut damaged = Gaps::new();
        let mut lost_durable = context
            .durable
            .unwrap_or(0)
            .saturating_sub(source.good_end());
        digest.update(&wav_header);
        writer.write(&wav_header)?;
        let mut buffer = Zeroizing::new([0; SEGMENT_LEN]);
        for number in 0..source.segments {
            let (plain, good) = source.segment(number, live_path, &mut buffer)?;
            if !good {
                damaged.add(
                    GapKind::Damaged,
                    plain_start(number) / frame,
                    plain.len() as u64 / frame,
                );
                if context.durable.is_some_and(|d| segment_end(number) <= d) {
                    lost_durable += SEGMENT_LEN as u64;
                }
            }
            analyser.add(plain);
            digest.update(plain);
            writer.write(plain)?;
        }
        writer.finish()?;
        let mut gaps = context.gaps;
        gaps.merge(&damaged);
        let mut wav_sha256 = WavDigest([0; 32]);
        wav_sha256.0.copy_from_slice(digest.finish().as_ref());
        let retention = given
            .retention
            .unwrap_or_default()
            .max(self.inner.config.retention);
        let facts = Facts {
            ended_ms: given.ended_ms,
            answered_ms: given.answered_ms,
            retain_until_ms: retention.until_ms(given.ended_ms)?,
            samples: source.pcm_len / frame,
            expected_samples: given.expected_samples,
            wav_bytes: source.pcm_len + WAV_HEADER_LEN as u64,
            wav_sha256,
            recovered: context.recovered,
            complete: source.complete,
            torn_bytes: source.torn_bytes,
            lost_durable_bytes: lost_durable,
            channels: analyser.finish(),
            gaps,
            filled_samples: given.filled_samples,
            overflow_samples: given.overflow_samples,
        };
        let facts =
            serde_json::to_vec(&facts).map_err(|_| VaultError::Crypto("writing the facts"))?;
        let page = Page {
            manifest,
            month: old.month,
            month_key: old.month_key,
            data_key,
            facts,
        };
        disk::write_at(&file, temporary, &page.encode(&month_key.key)?[..], 0)?;
        disk::sync(&file, temporary)
    }
}

/// The longest time that is believed to lie between the first page and the audio of a call, with all that a file's own
/// time can be off: two days.
const LONGEST_SETUP_MS: i64 = 2 * 86_400_000;

/// What only the vault knows about the live file.
struct Circumstances {
    gaps: Gaps,
    durable: Option<u64>,
    recovered: bool,
}

/// Offset behind segment `number` in its file.
fn segment_end(number: u32) -> u64 {
    PAGE_LEN as u64 + (u64::from(number) + 1) * SEGMENT_LEN as u64
}

/// A live file that nobody writes any more, and where its audio ends.
pub(crate) struct Source {
    file: File,
    pub(crate) page: Page,
    key: Option<SegmentKey>,
    /// Length of the file in bytes.
    len: u64,
    /// Segments up to and including the last authentic one.
    segments: u32,
    /// Bytes of PCM in them.
    pub(crate) pcm_len: u64,
    /// The last of them is marked as the last.
    complete: bool,
    /// Bytes behind them.
    torn_bytes: u64,
}

impl Source {
    pub(crate) fn open(path: &Path, vault: &Vault) -> Result<Self> {
        let file = disk::open(path)?;
        let len = disk::len(&file, path)?;
        let page = read_page(&file, len, path, &vault.inner.keys)?;
        let damaged = |region, detail: &str| VaultError::Damaged {
            path: path.into(),
            region,
            detail: detail.into(),
        };
        if page.manifest.kind != Kind::Live {
            return Err(damaged(
                Region::Manifest,
                "it is a sealed file among the live ones",
            ));
        }
        let stream = len - PAGE_LEN as u64;
        let mut source = Self {
            file,
            page,
            key: None,
            len,
            segments: 0,
            pcm_len: 0,
            complete: false,
            torn_bytes: stream,
        };
        if stream < HEADER_LEN as u64 {
            return Ok(source);
        }
        let mut stream_header = [0; HEADER_LEN];
        source
            .file
            .read_exact_at(&mut stream_header, PAGE_LEN as u64)
            .map_err(|e| VaultError::io("read", path, e))?;
        let aad = source.page.manifest.immutable()?;
        source.key = SegmentKey::from_header(&source.page.data_key, &aad, &stream_header)?;
        let Ok(count) = u32::try_from(stream.div_ceil(SEGMENT_LEN as u64)) else {
            return Err(damaged(Region::Manifest, "it is longer than any stream"));
        };
        let mut buffer = Zeroizing::new([0; SEGMENT_LEN]);
        // From the end, because only there anything can be torn; the first that is authentic ends the audio.
        for number in (0..count).rev() {
            let Some((plain, last)) = source.authentic(number, path, &mut buffer)? else {
                continue;
            };
            source.segments = number + 1;
            source.pcm_len = plain_start(number) + plain as u64;
            source.complete = last;
            source.torn_bytes = len.saturating_sub(segment_end(number));
            break;
        }
        if !source
            .pcm_len
            .is_multiple_of(u64::from(source.page.manifest.channels) * 2)
        {
            return Err(damaged(
                Region::Manifest,
                "its audio is no whole number of samples",
            ));
        }
        Ok(source)
    }

    /// Offset behind the last authentic segment.
    pub(crate) fn good_end(&self) -> u64 {
        self.len - self.torn_bytes
    }

    /// The facts of a call of which nobody can tell any more: it ended when its file was last written, and not before
    /// its audio did.
    fn derive_facts(&self, path: &Path) -> Result<SealFacts> {
        let meta = self
            .file
            .metadata()
            .map_err(|e| VaultError::io("inspect", path, e))?;
        use std::os::unix::fs::MetadataExt;
        let modified = meta
            .mtime()
            .saturating_mul(1000)
            .saturating_add(meta.mtime_nsec() / 1_000_000);
        let manifest = &self.page.manifest;
        let frames = self.pcm_len / (u64::from(manifest.channels) * 2);
        let played =
            i64::try_from(frames * 1000 / u64::from(manifest.sample_rate)).unwrap_or(i64::MAX);
        let at_least = manifest.created_ms.saturating_add(played);
        // A wild clock or a copied file must not put the end out of the calendar.
        let ended_ms = modified.clamp(at_least, at_least.saturating_add(LONGEST_SETUP_MS));
        Ok(SealFacts {
            ended_ms,
            ..SealFacts::default()
        })
    }

    /// The plaintext of segment `number`, or silence of its length and `false` if it is not authentic.
    fn segment<'b>(
        &self,
        number: u32,
        path: &Path,
        buffer: &'b mut [u8; SEGMENT_LEN],
    ) -> Result<(&'b [u8], bool)> {
        let start = if number == 0 { HEADER_LEN } else { 0 };
        let (len, good) = match self.authentic(number, path, buffer)? {
            Some((plain, _)) => (plain, true),
            None => {
                buffer.fill(0);
                (plain_capacity(number), false)
            }
        };
        Ok((buffer.get(start..start + len).unwrap_or_default(), good))
    }

    /// Opens segment `number` into `buffer`: the length of its plaintext (behind the header in the first), and whether
    /// it is the last.
    fn authentic(
        &self,
        number: u32,
        path: &Path,
        buffer: &mut [u8; SEGMENT_LEN],
    ) -> Result<Option<(usize, bool)>> {
        let Some(key) = &self.key else {
            return Ok(None);
        };
        let offset = PAGE_LEN as u64 + u64::from(number) * SEGMENT_LEN as u64;
        let len = usize::try_from(self.len.saturating_sub(offset))
            .unwrap_or(usize::MAX)
            .min(SEGMENT_LEN);
        let start = if number == 0 { HEADER_LEN } else { 0 };
        // Only the segment at the end can be the last one, and only a full one can be any other.
        let at_end = self.segments == 0 || number + 1 == self.segments;
        for last in [false, true] {
            if if last { !at_end } else { len < SEGMENT_LEN } {
                continue;
            }
            let segment = buffer.get_mut(..len).unwrap_or_default();
            self.file
                .read_exact_at(segment, offset)
                .map_err(|e| VaultError::io("read", path, e))?;
            if let Some(plain) = segment
                .get_mut(start..)
                .and_then(|s| key.open(number, last, s))
            {
                return Ok(Some((plain, last)));
            }
        }
        Ok(None)
    }
}
