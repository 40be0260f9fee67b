//! The key of a client's month, and the files it lies in.
//!
//! One key per client and calendar month (UTC) wraps the data keys of all recordings begun in it; destroying it makes
//! them unreadable at once. It lies, wrapped by the root key, in two equal files of 256 bytes beside the vault, never
//! in the database, whose backups would bring a destroyed key back. A copy that is damaged or gone is made anew from
//! the other. Byte by byte: `docs/recording-format.md`.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{Timestamp, tz::Offset};
use ring::digest::{SHA256, digest};

use crate::disk;
use crate::error::{Result, VaultError};
use crate::keys::{KEY_ID_LEN, Key, KeyId, RootKey, WRAPPED_LEN, random};
use crate::manifest::CLIENT_MAX;
use crate::vault::entries;

const MAGIC: &[u8; 8] = b"RNGFMKEY";
const VERSION: u16 = 1;
const FILE_LEN: usize = 256;
/// The part that is associated data of the wrapping.
const FIELDS: usize = 128;
const CHECKSUM: usize = FILE_LEN - 32;

/// A calendar month in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Month {
    year: u16,
    month: u8,
}

impl Month {
    /// The month of an instant given in milliseconds UTC since 1970.
    ///
    /// # Errors
    /// [`VaultError::BadField`] if it lies outside of the years 1970 to 9999.
    pub fn of(ms: i64) -> Result<Self> {
        let bad = VaultError::BadField {
            field: "time",
            detail: "it must lie between the years 1970 and 9999",
        };
        let Ok(time) = Timestamp::from_millisecond(ms) else {
            return Err(bad);
        };
        let date = Offset::UTC.to_datetime(time).date();
        match (u16::try_from(date.year()), u8::try_from(date.month())) {
            (Ok(year @ 1970..), Ok(month)) => Ok(Self { year, month }),
            _ => Err(bad),
        }
    }

    /// The year, 1970 to 9999.
    pub fn year(self) -> u16 {
        self.year
    }

    /// The month, 1 to 12.
    pub fn month(self) -> u8 {
        self.month
    }

    /// As one number, 202611.
    pub(crate) fn number(self) -> u32 {
        u32::from(self.year) * 100 + u32::from(self.month)
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        let (year, month) = (
            u16::try_from(number / 100).ok()?,
            u8::try_from(number % 100).ok()?,
        );
        ((1970..=9999).contains(&year) && (1..=12).contains(&month)).then_some(Self { year, month })
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl fmt::Debug for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A month key ready for use.
pub(crate) struct MonthKey {
    pub(crate) id: KeyId,
    pub(crate) key: Key,
}

/// The key directory, opened with the root key.
pub(crate) struct MonthKeys {
    dir: PathBuf,
    root: RootKey,
    /// Whether damaged copies may be mended: only the process that holds the vault's lock writes.
    writable: bool,
    known: Mutex<Known>,
}

/// Keys that were loaded already.
#[derive(Default)]
struct Known {
    by_id: HashMap<KeyId, (String, Month, Arc<MonthKey>)>,
    for_writing: HashMap<(String, Month), Arc<MonthKey>>,
}

/// A key, and whether its damaged copy, if there was one, could be made anew.
struct Loaded {
    key: MonthKey,
    mended: Result<()>,
}

/// Why one copy cannot be used.
enum Fault {
    Absent,
    Unusable(VaultError),
}

impl MonthKeys {
    pub(crate) fn new(dir: PathBuf, root: RootKey, writable: bool) -> Self {
        Self {
            dir,
            root,
            writable,
            known: Mutex::default(),
        }
    }

    /// The key for new recordings of that client and month, made if there is none.
    ///
    /// A key whose both copies are damaged is not replaced by a new one: the recordings under it wait for the backup.
    pub(crate) fn for_writing(&self, client: &str, month: Month) -> Result<Arc<MonthKey>> {
        let mut known = self.known();
        let entry = (client.to_owned(), month);
        if let Some(key) = known.for_writing.get(&entry) {
            return Ok(key.clone());
        }
        let key = match self.first_id(client, month)? {
            Some(id) => {
                let loaded = self.load(client, month, id)?;
                // Nothing new is recorded under a key of which there is one copy only.
                loaded.mended?;
                loaded.key
            }
            None => self.create(client, month)?,
        };
        let key = Arc::new(key);
        known.for_writing.insert(entry, key.clone());
        Ok(key)
    }

    /// The key with that id.
    ///
    /// # Errors
    /// [`VaultError::MonthKeyMissing`] if it is not there, [`VaultError::MonthKeyDamaged`],
    /// [`VaultError::WrongRootKey`].
    pub(crate) fn for_reading(
        &self,
        client: &str,
        month: Month,
        id: KeyId,
    ) -> Result<Arc<MonthKey>> {
        let mut known = self.known();
        if let Some((of, in_month, key)) = known.by_id.get(&id)
            && of == client
            && *in_month == month
        {
            return Ok(key.clone());
        }
        // A copy that could not be mended is no reason not to hear the recording; the next start tries again.
        let key = Arc::new(self.load(client, month, id)?.key);
        known
            .by_id
            .insert(id, (client.to_owned(), month, key.clone()));
        Ok(key)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // The maps are whole whatever a panicking holder did: entries are inserted in one act.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn paths(&self, client: &str, month: Month, id: KeyId) -> [PathBuf; 2] {
        let dir = self.dir.join(file_name(client));
        [1, 2].map(|copy| dir.join(format!("{month}.{id}.{copy}.key")))
    }

    /// The first of the keys of that client and month, by name. There is one, unless a key was lost, another made, and
    /// the first restored.
    fn first_id(&self, client: &str, month: Month) -> Result<Option<KeyId>> {
        let start = format!("{month}.");
        let ids = entries(&self.dir.join(file_name(client)))?
            .into_iter()
            .filter_map(|path| {
                let hex = path
                    .file_name()?
                    .to_str()?
                    .strip_prefix(&start)?
                    .strip_suffix(".key")?;
                let hex = hex.strip_suffix(".1").or(hex.strip_suffix(".2"))?;
                let number =
                    (hex.len() == 2 * KEY_ID_LEN).then(|| u128::from_str_radix(hex, 16).ok())?;
                number.map(|n| KeyId(n.to_be_bytes()))
            });
        Ok(ids.min_by_key(|id| id.0))
    }

    fn load(&self, client: &str, month: Month, id: KeyId) -> Result<Loaded> {
        let [first, second] = self.paths(client, month, id);
        let read = |path: &Path| self.read(path, client, month, id);
        let (key, good_bytes, mend) = match (read(&first), read(&second)) {
            (Ok((key, _)), Ok(_)) => {
                return Ok(Loaded {
                    key,
                    mended: Ok(()),
                });
            }
            (Ok((key, bytes)), Err(_)) => (key, bytes, second),
            (Err(_), Ok((key, bytes))) => (key, bytes, first),
            (Err(Fault::Absent), Err(Fault::Absent)) => {
                return Err(VaultError::MonthKeyMissing {
                    keys: self.dir.clone(),
                    client: client.into(),
                    month: month.to_string(),
                    id: id.to_string(),
                });
            }
            // A wrong root key is told by either copy, even if the other is gone or damaged.
            (Err(Fault::Unusable(e @ VaultError::WrongRootKey { .. })), _)
            | (_, Err(Fault::Unusable(e @ VaultError::WrongRootKey { .. })))
            | (Err(Fault::Unusable(e)), _)
            | (_, Err(Fault::Unusable(e))) => return Err(e),
        };
        let mended = if self.writable {
            disk::replace(&mend, &good_bytes)
        } else {
            Ok(())
        };
        Ok(Loaded { key, mended })
    }

    fn create(&self, client: &str, month: Month) -> Result<MonthKey> {
        let mut id = [0; KEY_ID_LEN];
        random(&mut id)?;
        let made = MonthKey {
            id: KeyId(id),
            key: Key::generate()?,
        };
        let mut file = [0; FILE_LEN];
        file[..8].copy_from_slice(MAGIC);
        file[8..10].copy_from_slice(&VERSION.to_be_bytes());
        file[12..16].copy_from_slice(&month.number().to_be_bytes());
        file[16..32].copy_from_slice(&made.id.0);
        file[32..48].copy_from_slice(&self.root.id().0);
        if client.len() > CLIENT_MAX {
            return Err(VaultError::BadField {
                field: "client",
                detail: "its name must be 1 to 64 bytes of UTF-8",
            });
        }
        file[48] = client.len() as u8;
        file[49..49 + client.len()].copy_from_slice(client.as_bytes());
        let wrapped = self.root.key().wrap(&file[..FIELDS], &made.key)?;
        file[FIELDS..FIELDS + WRAPPED_LEN].copy_from_slice(&wrapped);
        let sum = digest(&SHA256, &file[..CHECKSUM]);
        file[CHECKSUM..].copy_from_slice(sum.as_ref());
        let paths = self.paths(client, month, made.id);
        for path in &paths {
            if let Some(dir) = path.parent() {
                disk::make_dirs(dir)?;
            }
            disk::replace(path, &file)?;
        }
        Ok(made)
    }

    fn read(
        &self,
        path: &Path,
        client: &str,
        month: Month,
        id: KeyId,
    ) -> Result<(MonthKey, Vec<u8>), Fault> {
        let bytes = match disk::read_small(path, FILE_LEN as u64 + 1) {
            Err(VaultError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(Fault::Absent);
            }
            other => other.map_err(Fault::Unusable)?,
        };
        let damaged = |detail: &str| {
            Fault::Unusable(VaultError::MonthKeyDamaged {
                path: path.into(),
                detail: detail.into(),
            })
        };
        let file: &[u8; FILE_LEN] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| damaged("its length is not 256 bytes"))?;
        let version = u16::from_be_bytes([file[8], file[9]]);
        if digest(&SHA256, &file[..CHECKSUM]).as_ref() != &file[CHECKSUM..] {
            return Err(damaged("its checksum does not fit"));
        }
        if &file[..8] != MAGIC {
            return Err(Fault::Unusable(VaultError::NotOurs {
                path: path.into(),
                wanted: "month key",
            }));
        }
        if version != VERSION {
            return Err(Fault::Unusable(VaultError::UnknownVersion {
                path: path.into(),
                found: version,
                known: VERSION,
            }));
        }
        let mut expected = [0; FIELDS];
        expected[..12].copy_from_slice(&file[..12]);
        expected[10..12].fill(0);
        expected[12..16].copy_from_slice(&month.number().to_be_bytes());
        expected[16..32].copy_from_slice(&id.0);
        expected[32..48].copy_from_slice(&file[32..48]);
        if client.len() <= CLIENT_MAX {
            expected[48] = client.len() as u8;
            expected[49..49 + client.len()].copy_from_slice(client.as_bytes());
        }
        if expected != file[..FIELDS] {
            return Err(damaged("it is the key of another client or month"));
        }
        let mut root = [0; KEY_ID_LEN];
        root.copy_from_slice(&file[32..48]);
        if root != self.root.id().0 {
            return Err(Fault::Unusable(VaultError::WrongRootKey {
                path: path.into(),
                expected: KeyId(root).to_string(),
                given: self.root.id().to_string(),
            }));
        }
        let mut wrapped = [0; WRAPPED_LEN];
        wrapped.copy_from_slice(&file[FIELDS..FIELDS + WRAPPED_LEN]);
        match self.root.key().unwrap_key(&file[..FIELDS], &wrapped) {
            Ok(Some(key)) => Ok((MonthKey { id, key }, bytes)),
            Ok(None) => Err(damaged("it is not authentic under the root key it names")),
            Err(e) => Err(Fault::Unusable(e)),
        }
    }
}

/// The client's name as a directory name: letters, digits, `-` and `_` stay, every other byte becomes `%XX`.
fn file_name(client: &str) -> String {
    let mut out = String::with_capacity(client.len() * 3);
    for byte in client.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
