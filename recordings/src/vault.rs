//! The vault: its directory, who may write into it, and what lies where.
//!
//! ```text
//! DIR/vault.id                      which vault this is and under which root key it was made
//! DIR/lock                          held by the one process that writes
//! DIR/live/RECORDING.live           being written, or left by a crash
//! DIR/live/durable.{1,2}            how far the live files had reached the disk
//! DIR/sealed/YYYY/MM/RECORDING.rec  closed for good, by month of creation (UTC)
//! DIR/quarantine/RECORDING.live     live files in which durable audio was damaged, kept beside their sealed rest
//! KEYS/vault.id                     the same as in DIR
//! KEYS/CLIENT/YYYY-MM.ID.{1,2}.key  month keys, wrapped by the root key, two copies
//! ```
//!
//! One process opens it for writing, any number for reading. Nothing here deletes a sealed recording.
//! Read on in `live.rs`, `seal.rs`, `recover.rs`, `reader.rs`.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock, fstatvfs};
use uuid::Uuid;

use crate::disk;
use crate::durable::Ledger;
use crate::error::{Result, VaultError};
use crate::facts::Gaps;
use crate::keys::{Key, RootKey};
use crate::live::{Live, LiveFile};
use crate::manifest::{Kind, Manifest, PAGE_LEN, Page};
use crate::marker;
use crate::month::{Month, MonthKeys};
use crate::retention::Retention;
use crate::stream::Segmenter;

/// Where a vault is and how careful it is.
#[derive(Debug, Clone)]
pub struct VaultConfig {
    /// The vault's directory; made if it is not there.
    pub dir: PathBuf,
    /// The directory of the month keys; made if it is not there. Back it up apart from the vault.
    pub keys: PathBuf,
    /// The least time every recording is kept.
    pub retention: Retention,
    /// Bytes that are kept free for each call that is up, for what it may still write and for its sealed copy.
    pub call_reserve: u64,
    /// Bytes that are kept free in any case.
    pub free_floor: u64,
}

impl VaultConfig {
    /// The usual care: two years, room for ten more minutes of every call that is up (40 MiB, live and sealed), and
    /// 64 MiB in any case.
    pub fn new(dir: impl Into<PathBuf>, keys: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            keys: keys.into(),
            retention: Retention::default(),
            call_reserve: 40 << 20,
            free_floor: 64 << 20,
        }
    }
}

/// What a new recording is told at its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin<'a> {
    /// Id of the recording, unique; one per call segment.
    pub recording: Uuid,
    /// Id of the call.
    pub call: Uuid,
    /// Which continuous stretch of the call this is, from 1.
    pub segment: u32,
    /// The client the call is made for, 1 to 64 bytes.
    pub client: &'a str,
    /// The time now, in milliseconds UTC since 1970.
    pub created_ms: i64,
    /// Samples per second and channel: 8000, 16000 or 48000.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
}

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes free to the daemon's user.
    pub free: u64,
    /// Bytes that must be free for one more call to be taken.
    pub needed: u64,
    /// Recordings being written or waiting for their seal.
    pub live: usize,
}

/// What one round of [`Vault::sync_live`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Live files that had something new.
    pub files: usize,
    /// Bytes that became durable.
    pub bytes: u64,
}

/// A vault that is open. Cheap to clone; usable from any thread.
#[derive(Clone)]
pub struct Vault {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: VaultConfig,
    pub(crate) keys: MonthKeys,
    /// Present when open for writing.
    writing: Option<Writing>,
    pub(crate) live: Mutex<HashMap<Uuid, Arc<LiveFile>>>,
    /// Recordings that a thread is beginning or sealing at the moment.
    busy: Mutex<HashSet<Uuid>>,
    ledger: Mutex<Ledger>,
    /// Durable positions that the process before left in the ledger, of what is not sealed yet.
    left_durable: Mutex<HashMap<Uuid, u64>>,
}

/// What only the process that writes holds.
struct Writing {
    /// The lock ends with it.
    _lock: File,
    /// The live directory, open as long as the vault is: for room and for `syncfs`.
    live_dir: File,
}

/// A recording that one thread is busy with; ends when dropped.
pub(crate) struct Busy<'a>(&'a Vault, Uuid);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy_set().remove(&self.1);
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({})", self.inner.config.dir.display())
    }
}

impl Vault {
    /// Opens the vault for writing, and makes it if neither its directory nor its keys hold anything.
    ///
    /// # Errors
    /// [`VaultError::Locked`] if another process writes into it, [`VaultError::WrongRootKey`],
    /// [`VaultError::Unpaired`] if vault and keys do not belong together (a disk that is not mounted shows here), and
    /// what the operating system says.
    pub fn open(config: VaultConfig, root: RootKey) -> Result<Self> {
        disk::make_dirs(&config.dir)?;
        let path = config.dir.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| VaultError::io("open", &path, e))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(
            |e| match io::Error::from(e) {
                e if e.kind() == io::ErrorKind::WouldBlock => VaultError::Locked {
                    dir: config.dir.clone(),
                },
                e => VaultError::io("lock", &path, e),
            },
        )?;
        disk::make_dirs(&config.keys)?;
        marker::check_or_make(&config.dir, &config.keys, &root)?;
        for part in ["live", "sealed", "quarantine"] {
            disk::make_dirs(&config.dir.join(part))?;
        }
        let live_dir = disk::open(&config.dir.join("live"))?;
        Ok(Self::with(
            config,
            root,
            Some(Writing {
                _lock: lock,
                live_dir,
            }),
        ))
    }

    /// Opens a vault that exists for reading only, while another process may write into it.
    ///
    /// # Errors
    /// As [`Vault::open`], but never [`VaultError::Locked`].
    pub fn open_read_only(config: VaultConfig, root: RootKey) -> Result<Self> {
        marker::check(&config.dir, &config.keys, &root)?;
        Ok(Self::with(config, root, None))
    }

    fn with(config: VaultConfig, root: RootKey, writing: Option<Writing>) -> Self {
        let (ledger, left_durable) = Ledger::open(&config.dir.join("live"));
        let keys = MonthKeys::new(config.keys.clone(), root, writing.is_some());
        Self {
            inner: Arc::new(Inner {
                config,
                keys,
                writing,
                live: Mutex::default(),
                busy: Mutex::default(),
                ledger: Mutex::new(ledger),
                left_durable: Mutex::new(left_durable),
            }),
        }
    }

    /// The vault's directory.
    pub fn dir(&self) -> &Path {
        &self.inner.config.dir
    }

    /// Begins a recording. When this returns, its first page and its directory entry are durable.
    ///
    /// # Errors
    /// [`VaultError::NoRoom`] or [`VaultError::DiskFull`], [`VaultError::AlreadyExists`], [`VaultError::BadField`],
    /// and what keys and operating system say. After any of them there is nothing to clean up.
    pub fn begin(&self, begin: &Begin<'_>) -> Result<Live> {
        self.check_writable()?;
        let manifest = Manifest {
            kind: Kind::Live,
            recording: begin.recording,
            call: begin.call,
            segment: begin.segment,
            client: begin.client.to_owned(),
            created_ms: begin.created_ms,
            sample_rate: begin.sample_rate,
            channels: begin.channels,
        };
        manifest.check()?;
        let month = Month::of(manifest.created_ms)?;
        let _busy = self
            .busy(begin.recording)
            .ok_or(VaultError::AlreadyExists(begin.recording))?;
        let path = self.live_path(begin.recording);
        if path.exists() || self.sealed_path(month, begin.recording).exists() {
            return Err(VaultError::AlreadyExists(begin.recording));
        }
        self.probe()?;
        let month_key = self.inner.keys.for_writing(&manifest.client, month)?;
        let data_key = Key::generate()?;
        let segmenter = Segmenter::new(&data_key, &manifest.immutable()?)?;
        let page = Page {
            manifest,
            month,
            month_key: month_key.id,
            data_key,
            facts: Vec::new(),
        };
        let page_bytes = page.encode(&month_key.key)?;
        let temporary = path.with_extension("new");
        let made = self.make_live(&temporary, &path, &page_bytes[..]);
        if made.is_err() {
            // Best effort: neither holds audio, and recovery would clean up as well.
            let _ = disk::remove(&temporary);
            let _ = disk::remove(&path);
        }
        let shared = Arc::new(LiveFile {
            recording: begin.recording,
            call: begin.call,
            path,
            file: made?,
            written: AtomicU64::new(PAGE_LEN as u64),
            durable: AtomicU64::new(PAGE_LEN as u64),
            unreliable: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            gaps: Mutex::new(Gaps::new()),
        });
        self.live().insert(begin.recording, shared.clone());
        Ok(Live::new(self.clone(), shared, segmenter, begin.channels))
    }

    fn make_live(&self, temporary: &Path, path: &Path, page: &[u8]) -> Result<File> {
        let file = disk::create_or_empty(temporary)?;
        disk::write_at(&file, temporary, page, 0)?;
        disk::sync(&file, temporary)?;
        disk::rename(temporary, path)?;
        disk::sync_dir(&self.inner.config.dir.join("live"))?;
        Ok(file)
    }

    /// Makes durable all whole segments of all live recordings; to be called every 500 ms while calls are up.
    ///
    /// # Errors
    /// The first failure of a file; the others are synced all the same, and nothing that failed counts as durable.
    pub fn sync_live(&self) -> Result<SyncReport> {
        self.check_writable()?;
        let files: Vec<_> = self.live().values().cloned().collect();
        let dirty: Vec<_> = files
            .iter()
            .filter(|f| f.durable.load(Ordering::Acquire) < f.written.load(Ordering::Acquire))
            .cloned()
            .collect();
        if dirty.is_empty() {
            return Ok(SyncReport::default());
        }
        let report = crate::sync::sync_all(
            &dirty,
            self.live_dir()?,
            &self.inner.config.dir.join("live"),
        );
        let mut ledger = self
            .inner
            .ledger
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let left = self.left_durable();
        let positions = files
            .iter()
            .map(|f| (f.recording, f.durable.load(Ordering::Acquire)))
            .chain(
                left.iter()
                    .map(|(recording, position)| (*recording, *position)),
            );
        let noted = ledger.write(positions);
        report.and_then(|report| noted.map(|()| report))
    }

    /// Asks whether one more call can be recorded: the directory takes a file, and there is room beside what the calls
    /// that are up may still need.
    ///
    /// # Errors
    /// [`VaultError::NoRoom`], [`VaultError::DiskFull`], [`VaultError::ReadOnly`], or what the operating system says.
    pub fn probe(&self) -> Result<Room> {
        let live_dir = self.inner.config.dir.join("live");
        let stat = fstatvfs(self.live_dir()?)
            .map_err(|e| VaultError::io("measure", &live_dir, e.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let (mut needed, mut live) = (self.inner.config.free_floor, 1usize);
        for file in self.live().values() {
            live += 1;
            needed = needed.saturating_add(file.written.load(Ordering::Acquire));
        }
        needed = needed.saturating_add(self.inner.config.call_reserve.saturating_mul(live as u64));
        if free < needed {
            return Err(VaultError::NoRoom {
                dir: self.inner.config.dir.clone(),
                free,
                needed,
            });
        }
        let path = live_dir.join("probe");
        let file = disk::create_or_empty(&path)?;
        let taken = disk::write_at(&file, &path, &[0; PAGE_LEN], 0);
        disk::remove(&path)?;
        taken?;
        Ok(Room {
            free,
            needed,
            live: live - 1,
        })
    }

    /// Ids of the recordings that lie in the live directory: being written, waiting for their seal, or left over.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn list_live(&self) -> Result<Vec<Uuid>> {
        Ok(self
            .live_files()?
            .into_iter()
            .filter_map(|path| id_of(&path, "live"))
            .collect())
    }

    pub(crate) fn live_files(&self) -> Result<Vec<PathBuf>> {
        let mut files = entries(&self.inner.config.dir.join("live"))?;
        files.sort();
        Ok(files)
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        self.live_dir().map(drop)
    }

    fn live_dir(&self) -> Result<&File> {
        let writing = self.inner.writing.as_ref();
        writing
            .map(|w| &w.live_dir)
            .ok_or_else(|| VaultError::ReadOnly {
                dir: self.inner.config.dir.clone(),
            })
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<LiveFile>>> {
        self.inner
            .live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn forget(&self, recording: Uuid) {
        self.live().remove(&recording);
        self.left_durable().remove(&recording);
    }

    pub(crate) fn left_durable(&self) -> MutexGuard<'_, HashMap<Uuid, u64>> {
        self.inner
            .left_durable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps other threads from beginning or sealing the recording; `None` if one does already.
    pub(crate) fn busy(&self, recording: Uuid) -> Option<Busy<'_>> {
        let fresh = self.busy_set().insert(recording);
        fresh.then_some(Busy(self, recording))
    }

    fn busy_set(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.inner
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn remove_live(&self, path: &Path) -> Result<()> {
        disk::remove(path)?;
        disk::sync_dir(&self.inner.config.dir.join("live"))
    }

    pub(crate) fn live_path(&self, recording: Uuid) -> PathBuf {
        self.inner
            .config
            .dir
            .join("live")
            .join(format!("{recording}.live"))
    }

    pub(crate) fn sealed_path(&self, month: Month, recording: Uuid) -> PathBuf {
        let sealed = self.inner.config.dir.join("sealed");
        sealed
            .join(format!("{:04}", month.year()))
            .join(format!("{:02}", month.month()))
            .join(format!("{recording}.rec"))
    }

    /// The file of a sealed recording.
    pub(crate) fn find_sealed(&self, recording: Uuid) -> Result<PathBuf> {
        // A UUIDv7 carries its time: most ids are found at the first try.
        if let Some((seconds, _)) = recording.get_timestamp().map(|t| t.to_unix()) {
            let guess = i64::try_from(seconds)
                .ok()
                .and_then(|s| Month::of(s.checked_mul(1000)?).ok());
            if let Some(path) = guess
                .map(|month| self.sealed_path(month, recording))
                .filter(|p| p.exists())
            {
                return Ok(path);
            }
        }
        let name = format!("{recording}.rec");
        for month in self.sealed_months()? {
            let path = month.join(&name);
            if path.exists() {
                return Ok(path);
            }
        }
        Err(match self.live_path(recording).exists() {
            true => VaultError::StillLive(recording),
            false => VaultError::NotFound(recording),
        })
    }

    /// The months' directories, oldest first.
    pub(crate) fn sealed_months(&self) -> Result<Vec<PathBuf>> {
        let mut months = Vec::new();
        for year in entries(&self.inner.config.dir.join("sealed"))? {
            if year.is_dir() {
                months.extend(entries(&year)?.into_iter().filter(|m| m.is_dir()));
            }
        }
        months.sort();
        Ok(months)
    }
}

/// The entries of a directory; none if it is not there.
pub(crate) fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let list =
        || -> io::Result<Vec<PathBuf>> { std::fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect() };
    match list() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|e| VaultError::io("list", dir, e)),
    }
}

/// The id in a file name of the form `ID.EXTENSION`.
pub(crate) fn id_of(path: &Path, extension: &str) -> Option<Uuid> {
    if path.extension()? != extension {
        return None;
    }
    Uuid::try_parse(path.file_stem()?.to_str()?).ok()
}
