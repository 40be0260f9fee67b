//! Hearing a sealed recording: the WAV inside it, read from any position.
//!
//! Opening a file checks the manifest page, that the file has exactly the length its WAV demands, and its last segment,
//! so that a file that was cut is refused before the first byte is heard; every other segment is authenticated as it is
//! read. One segment of plaintext is held at a time and wiped afterwards.

use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::disk;
use crate::error::{Region, Result, VaultError};
use crate::facts::{Facts, Sealed};
use crate::manifest::{Kind, PAGE_LEN, Page, SealedPage};
use crate::month::MonthKeys;
use crate::retention::Retention;
use crate::stream::{DecryptingReader, OpenFault, Opened, SegmentFault, stream_len};
use crate::vault::{Vault, id_of};
use crate::wav::WAV_HEADER_LEN;

/// A sealed recording that lies in the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The recording.
    pub recording: Uuid,
    /// Its file.
    pub path: PathBuf,
}

/// The WAV of a sealed recording: [`Read`], [`Seek`], and its length.
pub struct WavReader {
    sealed: Sealed,
    stream: DecryptingReader,
    position: u64,
}

impl std::fmt::Debug for WavReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "WavReader({} at {})",
            self.sealed.recording(),
            self.position
        )
    }
}

impl Vault {
    /// Opens a sealed recording for hearing.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], [`VaultError::StillLive`], [`VaultError::MonthKeyMissing`], [`VaultError::Damaged`],
    /// [`VaultError::Altered`], [`VaultError::UnknownVersion`].
    pub fn open_recording(&self, recording: Uuid) -> Result<WavReader> {
        let reader = WavReader::open(&self.find_sealed(recording)?, &self.inner.keys)?;
        if reader.sealed.recording() != recording {
            return Err(VaultError::Damaged {
                path: reader.sealed.path,
                region: Region::Manifest,
                detail: format!(
                    "it holds recording {} under another one's name",
                    reader.sealed.manifest.recording
                ),
            });
        }
        Ok(reader)
    }

    /// What is known about a sealed recording.
    ///
    /// # Errors
    /// As [`Vault::open_recording`].
    pub fn describe(&self, recording: Uuid) -> Result<Sealed> {
        self.open_recording(recording).map(|reader| reader.sealed)
    }

    /// All sealed recordings, by month of creation; none of the files is opened.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let mut all = Vec::new();
        for month in self.sealed_months()? {
            let mut files = crate::vault::entries(&month)?;
            files.sort();
            all.extend(files.into_iter().filter_map(|path| {
                Some(Listed {
                    recording: id_of(&path, "rec")?,
                    path,
                })
            }));
        }
        Ok(all)
    }
}

impl WavReader {
    /// What is known about the recording.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    /// Length of the WAV, in bytes.
    pub fn len(&self) -> u64 {
        self.stream.len()
    }

    /// Never: a WAV has a header at least.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads from `position` without moving the reader; 0 at the end.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] naming the segment, or [`VaultError::Io`].
    pub fn read_at(&mut self, position: u64, out: &mut [u8]) -> Result<usize> {
        let (path, of) = (&self.sealed.path, self.stream.segments());
        self.stream
            .read_at(position, out)
            .map_err(|(number, fault)| segment_error(path, number, of, fault))
    }

    pub(crate) fn open(path: &Path, keys: &MonthKeys) -> Result<Self> {
        let file = disk::open(path)?;
        let file_bytes = disk::len(&file, path)?;
        let page = read_page(&file, file_bytes, path, keys)?;
        let damaged = |region, detail: &str| VaultError::Damaged {
            path: path.into(),
            region,
            detail: detail.into(),
        };
        if page.manifest.kind != Kind::Sealed {
            return Err(damaged(
                Region::Manifest,
                "it is a live file among the sealed ones",
            ));
        }
        let facts: Facts = serde_json::from_slice(&page.facts)
            .map_err(|e| damaged(Region::Facts, &format!("not readable: {e}")))?;
        check_facts(&facts, &page).map_err(|detail| damaged(Region::Facts, detail))?;
        let expected = PAGE_LEN as u64 + stream_len(facts.wav_bytes);
        if file_bytes != expected {
            let region = Region::Length {
                found: file_bytes,
                expected,
            };
            return Err(damaged(
                region,
                if file_bytes < expected {
                    "bytes are missing"
                } else {
                    "there are too many"
                },
            ));
        }
        let aad = page.manifest.immutable()?;
        let opened =
            DecryptingReader::open(file, PAGE_LEN as u64, file_bytes, &page.data_key, &aad);
        let stream = match opened {
            Ok(Opened::Stream(stream)) => *stream,
            Ok(Opened::BadHeader) => {
                return Err(damaged(
                    Region::StreamHeader,
                    "its first byte is not its length",
                ));
            }
            Ok(Opened::BadLength) => {
                let region = Region::Length {
                    found: file_bytes,
                    expected,
                };
                return Err(damaged(region, "no stream has this length"));
            }
            Ok(Opened::BadEnd(number)) => {
                return Err(segment_error(
                    path,
                    number,
                    number.saturating_add(1),
                    SegmentFault::NotAuthentic,
                ));
            }
            Err(OpenFault::Io(e)) => return Err(VaultError::io("read", path, e)),
            Err(OpenFault::Key(e)) => return Err(e),
        };
        let sealed = Sealed {
            manifest: page.manifest,
            facts,
            path: path.into(),
            file_bytes,
        };
        Ok(Self {
            sealed,
            stream,
            position: 0,
        })
    }
}

impl Read for WavReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.read_at(self.position, out).map_err(io_error)?;
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for WavReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = target.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "seek before the start of the WAV",
            )
        })?;
        Ok(self.position)
    }
}

/// A vault error as `std::io` wants it; the vault's own error is its source.
fn io_error(error: VaultError) -> io::Error {
    match error {
        VaultError::Io { ref source, .. } => io::Error::new(source.kind(), error),
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

/// Reads and opens the manifest page of a recording file.
pub(crate) fn read_page(
    file: &std::fs::File,
    file_bytes: u64,
    path: &Path,
    keys: &MonthKeys,
) -> Result<Page> {
    let expected = PAGE_LEN as u64;
    if file_bytes < expected {
        return Err(VaultError::Damaged {
            path: path.into(),
            region: Region::Length {
                found: file_bytes,
                expected,
            },
            detail: "not even the manifest page is whole".into(),
        });
    }
    let mut bytes = Box::new([0; PAGE_LEN]);
    file.read_exact_at(&mut bytes[..], 0)
        .map_err(|e| VaultError::io("read", path, e))?;
    let page = SealedPage::parse(bytes, path)?;
    let key = keys.for_reading(&page.manifest.client, page.month, page.month_key)?;
    page.open(&key.key, path)
}

/// The error of a segment that could not be had.
pub(crate) fn segment_error(path: &Path, number: u32, of: u32, fault: SegmentFault) -> VaultError {
    match fault {
        SegmentFault::Io(e) => VaultError::io("read", path, e),
        SegmentFault::NotAuthentic => VaultError::Damaged {
            path: path.into(),
            region: Region::Segment { number, of },
            detail: "it is not what was written there".into(),
        },
    }
}

/// The facts must agree with each other and with the manifest.
fn check_facts(facts: &Facts, page: &Page) -> std::result::Result<(), &'static str> {
    let frame = u64::from(page.manifest.channels) * 2;
    let wav = facts
        .samples
        .checked_mul(frame)
        .and_then(|data| data.checked_add(WAV_HEADER_LEN as u64));
    if wav != Some(facts.wav_bytes) || facts.wav_bytes > u64::from(u32::MAX) {
        return Err("samples and length of the WAV do not agree");
    }
    if facts.channels.len() != usize::from(page.manifest.channels) {
        return Err("the analysis has another number of channels");
    }
    if Retention::default()
        .until_ms(facts.ended_ms)
        .is_ok_and(|floor| facts.retain_until_ms < floor)
    {
        return Err("the retention is below the floor");
    }
    Ok(())
}
