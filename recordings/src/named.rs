//! A key of the daemon's own, for what it keeps encrypted in its database; kept as month keys are.
//!
//! The key lies, wrapped by the root key, in two equal files of 256 bytes in the key directory, never in the database it
//! protects. A copy that is damaged or gone is made anew from the other. Two keys are derived from it: one for boxes
//! (AES-256-GCM) and one for the keyed hash (HMAC-SHA-256) by which equal values are found. Layout: magic `RNGFNKEY` (8),
//! version (2), zero (2), zero (4), zero (16), id of the root key (16), length of the name (1) and the name (to 128),
//! wrapped key (60), zero, SHA-256 of all before it (32).

use std::fmt;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use ring::hmac;
use zeroize::Zeroizing;

use crate::disk;
use crate::error::{Result, VaultError};
use crate::keys::{KEY_ID_LEN, KEY_LEN, Key, KeyId, RootKey, WRAPPED_LEN};

const MAGIC: &[u8; 8] = b"RNGFNKEY";
const VERSION: u16 = 1;
const FILE_LEN: usize = 256;
/// The part that is associated data of the wrapping.
const FIELDS: usize = 128;
const CHECKSUM: usize = FILE_LEN - 32;
const NAME_AT: usize = 48;

/// What a database keeps of a secret value is made and read with this.
pub struct NamedKey {
    boxes: Key,
    index: hmac::Key,
}

impl fmt::Debug for NamedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NamedKey(..)")
    }
}

/// Why one copy cannot be used.
enum Fault {
    Absent,
    Unusable(VaultError),
}

impl NamedKey {
    /// Opens the key of that name in the key directory, making it if there is none and `make` says so.
    ///
    /// Two processes that make it at once end with the same key. A key whose both copies are damaged is never replaced.
    ///
    /// # Errors
    /// [`VaultError::NamedKeyMissing`], [`VaultError::NamedKeyDamaged`], [`VaultError::WrongRootKey`], or the disk.
    pub fn open(keys: &Path, name: &'static str, root: &RootKey, make: bool) -> Result<Self> {
        let [first, second] = paths(keys, name);
        if make && !first.exists() && !second.exists() {
            create(keys, name, root)?;
        }
        let key = match (read(&first, name, root), read(&second, name, root)) {
            (Ok((key, _)), Ok(_)) => key,
            // A copy that could not be mended is no reason not to go on; the next opening tries again.
            (
                Ok((key, bytes)),
                Err(Fault::Absent | Fault::Unusable(VaultError::NamedKeyDamaged { .. })),
            ) => {
                let _ = disk::replace(&second, &bytes);
                key
            }
            (
                Err(Fault::Absent | Fault::Unusable(VaultError::NamedKeyDamaged { .. })),
                Ok((key, bytes)),
            ) => {
                let _ = disk::replace(&first, &bytes);
                key
            }
            (Err(Fault::Absent), Err(Fault::Absent)) => {
                return Err(VaultError::NamedKeyMissing {
                    keys: keys.into(),
                    name,
                });
            }
            (Err(Fault::Unusable(e)), _) | (_, Err(Fault::Unusable(e))) => return Err(e),
        };
        Self::of(&key)
    }

    fn of(key: &Key) -> Result<Self> {
        let mut index = Zeroizing::new([0; KEY_LEN]);
        key.derive(&[], b"ringfence named key index v1", &mut index[..])?;
        Ok(Self {
            boxes: key.derive_key(&[], b"ringfence named key boxes v1")?,
            index: hmac::Key::new(hmac::HMAC_SHA256, &index[..]),
        })
    }

    /// Encrypts a value under a random nonce; it opens only with the same `aad`, which says where it belongs.
    ///
    /// # Errors
    /// No randomness.
    pub fn seal(&self, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        self.boxes.seal_box(aad, plain)
    }

    /// Opens what [`NamedKey::seal`] made; `None` if it is not authentic under this key and `aad`.
    ///
    /// # Errors
    /// The cipher cannot be set up.
    pub fn open_box(&self, aad: &[u8], sealed: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.boxes.open_box(aad, sealed)
    }

    /// The keyed hash by which equal values are found: equal for equal `context` and value, and useless without the key.
    #[must_use]
    pub fn index(&self, context: &str, value: &str) -> [u8; 32] {
        let mut hash = hmac::Context::with_key(&self.index);
        hash.update(context.as_bytes());
        hash.update(&[0]);
        hash.update(value.as_bytes());
        let mut out = [0; 32];
        out.copy_from_slice(hash.sign().as_ref());
        out
    }
}

/// A dot cannot stand in the directory names of clients beside these files.
fn paths(keys: &Path, name: &str) -> [PathBuf; 2] {
    [1, 2].map(|copy| keys.join(format!("{name}.{copy}.key")))
}

fn create(keys: &Path, name: &str, root: &RootKey) -> Result<()> {
    disk::make_dirs(keys)?;
    let mut file = fields(name, root.id());
    let wrapped = root.key().wrap(&file[..FIELDS], &Key::generate()?)?;
    file[FIELDS..FIELDS + WRAPPED_LEN].copy_from_slice(&wrapped);
    let sum = digest(&SHA256, &file[..CHECKSUM]);
    file[CHECKSUM..].copy_from_slice(sum.as_ref());
    let [first, second] = paths(keys, name);
    // Written under a name of its own and then linked: of two that make it at once, one wins and both use his.
    let temporary = keys.join(format!("{name}.{}.new", std::process::id()));
    disk::replace(&temporary, &file)?;
    let linked = disk::link(&temporary, &first);
    disk::remove(&temporary)?;
    match linked {
        Ok(()) => {
            disk::sync_dir(keys)?;
            disk::replace(&second, &file)
        }
        Err(VaultError::Io { source, .. })
            if source.kind() == std::io::ErrorKind::AlreadyExists =>
        {
            Ok(())
        }
        Err(e) => Err(e),
    }
}

fn fields(name: &str, root: KeyId) -> [u8; FILE_LEN] {
    let mut file = [0; FILE_LEN];
    file[..8].copy_from_slice(MAGIC);
    file[8..10].copy_from_slice(&VERSION.to_be_bytes());
    file[32..NAME_AT].copy_from_slice(&root.0);
    // The names are ours and short; a longer one would be cut, and still be the same every time.
    let length = name.len().min(FIELDS - NAME_AT - 1);
    file[NAME_AT] = length as u8;
    file[NAME_AT + 1..NAME_AT + 1 + length].copy_from_slice(&name.as_bytes()[..length]);
    file
}

fn read(path: &Path, name: &str, root: &RootKey) -> Result<(Key, Vec<u8>), Fault> {
    let bytes = match disk::read_small(path, FILE_LEN as u64 + 1) {
        Err(VaultError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Err(Fault::Absent);
        }
        other => other.map_err(Fault::Unusable)?,
    };
    let damaged = |detail: &str| {
        Fault::Unusable(VaultError::NamedKeyDamaged {
            path: path.into(),
            detail: detail.into(),
        })
    };
    let file: &[u8; FILE_LEN] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| damaged("its length is not 256 bytes"))?;
    if digest(&SHA256, &file[..CHECKSUM]).as_ref() != &file[CHECKSUM..] {
        return Err(damaged("its checksum does not fit"));
    }
    let mut made_under = [0; KEY_ID_LEN];
    made_under.copy_from_slice(&file[32..NAME_AT]);
    if fields(name, KeyId(made_under))[..FIELDS] != file[..FIELDS] {
        return Err(damaged("it is another key, or of another version"));
    }
    if made_under != root.id().0 {
        return Err(Fault::Unusable(VaultError::WrongRootKey {
            path: path.into(),
            expected: KeyId(made_under).to_string(),
            given: root.id().to_string(),
        }));
    }
    let mut wrapped = [0; WRAPPED_LEN];
    wrapped.copy_from_slice(&file[FIELDS..FIELDS + WRAPPED_LEN]);
    match root.key().unwrap_key(&file[..FIELDS], &wrapped) {
        Ok(Some(key)) => Ok((key, bytes)),
        Ok(None) => Err(damaged("it is not authentic under the root key it names")),
        Err(e) => Err(Fault::Unusable(e)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NAME: &str = "case-fields";

    fn root(dir: &Path) -> RootKey {
        RootKey::create(&dir.join("root")).unwrap()
    }

    #[test]
    fn a_box_opens_where_it_belongs_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = root(dir.path());
        let keys = dir.path().join("keys");
        let key = NamedKey::open(&keys, NAME, &root, true).unwrap();
        let sealed = key.seal(b"persons/identity/1", b"secret").unwrap();
        assert_ne!(sealed, key.seal(b"persons/identity/1", b"secret").unwrap());
        let again = NamedKey::open(&keys, NAME, &root, false).unwrap();
        let opened = again.open_box(b"persons/identity/1", &sealed).unwrap();
        assert_eq!(opened.unwrap().as_slice(), b"secret");
        assert!(
            again
                .open_box(b"persons/identity/2", &sealed)
                .unwrap()
                .is_none()
        );
        assert!(
            again
                .open_box(b"persons/identity/1", &sealed[1..])
                .unwrap()
                .is_none()
        );
        assert_eq!(key.index("identity", "x"), again.index("identity", "x"));
        assert_ne!(key.index("identity", "x"), key.index("card", "x"));
    }

    #[test]
    fn one_damaged_or_missing_copy_is_mended_and_two_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let root = root(dir.path());
        let key = NamedKey::open(dir.path(), NAME, &root, true).unwrap();
        let sum = key.index("x", "y");
        let copies = paths(dir.path(), NAME);
        for copy in &copies {
            let good = std::fs::read(copy).unwrap();
            std::fs::write(copy, b"bad").unwrap();
            assert_eq!(
                NamedKey::open(dir.path(), NAME, &root, true)
                    .unwrap()
                    .index("x", "y"),
                sum
            );
            assert_eq!(std::fs::read(copy).unwrap(), good);
            std::fs::remove_file(copy).unwrap();
            assert_eq!(
                NamedKey::open(dir.path(), NAME, &root, true)
                    .unwrap()
                    .index("x", "y"),
                sum
            );
            assert_eq!(std::fs::read(copy).unwrap(), good);
        }
        copies
            .iter()
            .for_each(|copy| std::fs::write(copy, b"bad").unwrap());
        let error = NamedKey::open(dir.path(), NAME, &root, true).unwrap_err();
        assert!(
            matches!(error, VaultError::NamedKeyDamaged { .. }),
            "{error}"
        );
        copies
            .iter()
            .for_each(|copy| std::fs::remove_file(copy).unwrap());
        let error = NamedKey::open(dir.path(), NAME, &root, false).unwrap_err();
        assert!(
            matches!(error, VaultError::NamedKeyMissing { .. }),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_root_key_is_told_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let right = root(dir.path());
        NamedKey::open(dir.path(), NAME, &right, true).unwrap();
        let wrong = RootKey::create(&dir.path().join("other")).unwrap();
        let error = NamedKey::open(dir.path(), NAME, &wrong, true).unwrap_err();
        assert!(matches!(error, VaultError::WrongRootKey { .. }), "{error}");
        NamedKey::open(dir.path(), NAME, &right, false).unwrap();
    }
}
