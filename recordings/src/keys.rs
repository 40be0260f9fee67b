//! The root key, data keys, and how one key wraps another.
//!
//! The root key wraps a key per client and month (`month.rs`), which wraps a data key per file (`manifest.rs`). Wrapping
//! is AES-256-GCM with a random nonce, stored as nonce, ciphertext, tag: 60 bytes. Every key is wiped when dropped;
//! what `ring` expands from a key (its round keys) cannot be wiped by us. No key here can be printed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::{Zeroize, Zeroizing};

use crate::disk;
use crate::error::{Result, VaultError};

/// Length of every key, in bytes.
pub const KEY_LEN: usize = 32;
/// Length of a wrapped key: 12 bytes nonce, 32 ciphertext, 16 tag.
pub const WRAPPED_LEN: usize = NONCE_LEN + KEY_LEN + TAG_LEN;
/// Length of the id of a root key or month key, in bytes.
pub const KEY_ID_LEN: usize = 16;
pub(crate) const NONCE_LEN: usize = 12;
pub(crate) const TAG_LEN: usize = 16;

const FILE_PREFIX: &str = "ringfence-root-key-1:";
const FILE_LIMIT: usize = 256;

/// Name of a key; tells nothing about its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; KEY_ID_LEN]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Fills `bytes` from the operating system.
pub(crate) fn random(bytes: &mut [u8]) -> Result<()> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| VaultError::NoRandomness)
}

/// 32 secret bytes: wiped on drop, never printed.
pub(crate) struct Key(Box<Zeroizing<[u8; KEY_LEN]>>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Length of what HKDF shall yield, for `ring`.
pub(crate) struct OutputLen(pub(crate) usize);

impl KeyType for OutputLen {
    fn len(&self) -> usize {
        self.0
    }
}

impl Key {
    /// A fresh random key.
    pub(crate) fn generate() -> Result<Self> {
        let mut key = Self(Box::new(Zeroizing::new([0; KEY_LEN])));
        random(&mut key.0[..])?;
        Ok(key)
    }

    /// A key of known bytes.
    #[cfg(test)]
    pub(crate) fn of_test(bytes: [u8; KEY_LEN]) -> Self {
        Self(Box::new(Zeroizing::new(bytes)))
    }

    /// HKDF-SHA-256 (RFC 5869) of this key into `out`.
    pub(crate) fn derive(&self, salt: &[u8], info: &[u8], out: &mut [u8]) -> Result<()> {
        Salt::new(HKDF_SHA256, salt)
            .extract(&self.0[..])
            .expand(&[info], OutputLen(out.len()))
            .and_then(|okm| okm.fill(out))
            .map_err(|_| VaultError::Crypto("deriving a key"))
    }

    /// A key derived from this one, of the same length.
    pub(crate) fn derive_key(&self, salt: &[u8], info: &[u8]) -> Result<Key> {
        let mut key = Key(Box::new(Zeroizing::new([0; KEY_LEN])));
        self.derive(salt, info, &mut key.0[..])?;
        Ok(key)
    }

    /// This key made ready for AES-256-GCM.
    pub(crate) fn cipher(&self) -> Result<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, &self.0[..])
            .map(LessSafeKey::new)
            .map_err(|_| VaultError::Crypto("preparing a key"))
    }

    /// Encrypts `plain` under a random nonce: nonce, ciphertext, tag.
    pub(crate) fn seal_box(&self, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        random(&mut nonce)?;
        let mut out = Vec::with_capacity(NONCE_LEN + plain.len() + TAG_LEN);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let tag = self
            .cipher()?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                out.get_mut(NONCE_LEN..).unwrap_or_default(),
            )
            .map_err(|_| VaultError::Crypto("sealing a box"))?;
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Opens what [`Key::seal_box`] made; `None` if it is not authentic under this key and `aad`.
    pub(crate) fn open_box(&self, aad: &[u8], sealed: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let Some((nonce, body)) = sealed.split_first_chunk::<NONCE_LEN>() else {
            return Ok(None);
        };
        let mut body = Zeroizing::new(body.to_vec());
        let opened = self.cipher()?.open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(aad),
            &mut body,
        );
        let Ok(plain) = opened.map(|p| p.len()) else {
            return Ok(None);
        };
        body.truncate(plain);
        Ok(Some(body))
    }

    /// Wraps `inner` under this key.
    pub(crate) fn wrap(&self, aad: &[u8], inner: &Key) -> Result<[u8; WRAPPED_LEN]> {
        let mut sealed = self.seal_box(aad, &inner.0[..])?;
        let out = sealed
            .as_slice()
            .try_into()
            .map_err(|_| VaultError::Crypto("wrapping a key"));
        sealed.zeroize();
        out
    }

    /// Unwraps a key; `None` if it was not wrapped under this key and `aad`.
    pub(crate) fn unwrap_key(
        &self,
        aad: &[u8],
        wrapped: &[u8; WRAPPED_LEN],
    ) -> Result<Option<Key>> {
        let Some(plain) = self.open_box(aad, wrapped)? else {
            return Ok(None);
        };
        let mut key = Key(Box::new(Zeroizing::new([0; KEY_LEN])));
        if plain.len() != KEY_LEN {
            return Ok(None);
        }
        key.0.copy_from_slice(&plain);
        Ok(Some(key))
    }
}

/// The key above all others of a vault. Held in a file of mode 0600 or in a systemd credential, never beside the
/// vault's backups.
pub struct RootKey {
    key: Key,
    id: KeyId,
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKey({})", self.id)
    }
}

impl RootKey {
    /// Reads a root key file.
    ///
    /// # Errors
    /// [`VaultError::RootKeyMissing`], [`VaultError::RootKeyExposed`] if group or others have any right on the file,
    /// [`VaultError::RootKeyMalformed`] if it holds something else.
    pub fn load(path: &Path) -> Result<Self> {
        Self::read(path, 0o077)
    }

    /// Reads a root key handed over by systemd (`LoadCredential=`).
    ///
    /// systemd lets the service's user read its credentials through an access control list, whose mask shows as a
    /// group right; so reading by the group is let pass here, everything else is refused as in [`RootKey::load`].
    ///
    /// # Errors
    /// As [`RootKey::load`].
    pub fn load_credential(path: &Path) -> Result<Self> {
        Self::read(path, 0o037)
    }

    /// Makes a new root key in a new file of mode 0600, durable when this returns.
    ///
    /// # Errors
    /// [`VaultError::RootKeyExists`] if anything has that name already; it is never overwritten.
    pub fn create(path: &Path) -> Result<Self> {
        if path.symlink_metadata().is_ok() {
            return Err(VaultError::RootKeyExists { path: path.into() });
        }
        let Some(dir) = path.parent() else {
            return Err(VaultError::io(
                "create",
                path,
                io::ErrorKind::InvalidInput.into(),
            ));
        };
        let dir = if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            dir
        };
        disk::make_dirs(dir)?;
        let key = Key::generate()?;
        let mut text = Zeroizing::new(String::with_capacity(FILE_LIMIT));
        text.push_str(FILE_PREFIX);
        BASE64.encode_string(&key.0[..], &mut text);
        text.push('\n');
        // Written under another name and then linked, so that a crash leaves a whole key or none, and a file that
        // appears meanwhile is not overwritten (a rename would).
        let temporary = path.with_extension("new-root-key");
        disk::remove(&temporary)?;
        let file = disk::create_new(&temporary)?;
        disk::write_at(&file, &temporary, text.as_bytes(), 0)?;
        disk::sync(&file, &temporary)?;
        let linked = disk::link(&temporary, path);
        disk::remove(&temporary)?;
        linked.map_err(|e| match e {
            VaultError::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                VaultError::RootKeyExists { path: path.into() }
            }
            other => other,
        })?;
        disk::sync_dir(dir)?;
        Self::of(key)
    }

    /// Name of this key, as vault and month keys carry it: 16 bytes of HKDF-SHA-256, from which the key cannot be
    /// computed.
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    fn of(key: Key) -> Result<Self> {
        let mut id = [0; KEY_ID_LEN];
        key.derive(&[], b"ringfence root key id v1", &mut id)?;
        Ok(Self { key, id: KeyId(id) })
    }

    fn read(path: &Path, forbidden: u32) -> Result<Self> {
        let mut file = File::open(path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => VaultError::RootKeyMissing { path: path.into() },
            _ => VaultError::io("open the root key", path, e),
        })?;
        let meta = file
            .metadata()
            .map_err(|e| VaultError::io("inspect the root key", path, e))?;
        let malformed = |detail| VaultError::RootKeyMalformed {
            path: path.into(),
            detail,
        };
        if !meta.is_file() {
            return Err(malformed("it is not a regular file"));
        }
        if meta.mode() & forbidden != 0 {
            return Err(VaultError::RootKeyExposed {
                path: path.into(),
                mode: meta.mode() & 0o7777,
            });
        }
        let mut bytes = Zeroizing::new([0u8; FILE_LIMIT]);
        let mut filled = 0;
        loop {
            let room = bytes.get_mut(filled..).unwrap_or_default();
            match file.read(room) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(VaultError::io("read the root key", path, e)),
            }
        }
        let text = bytes
            .get(..filled)
            .and_then(|b| std::str::from_utf8(b).ok())
            .ok_or(malformed("it is no text"))?;
        let text = text
            .trim_end()
            .strip_prefix(FILE_PREFIX)
            .ok_or(malformed("it does not begin as one"))?;
        let mut decoded = Zeroizing::new([0u8; KEY_LEN + 16]);
        match BASE64.decode_slice(text, &mut decoded[..]) {
            Ok(KEY_LEN) => {}
            Ok(_) => return Err(malformed("its key is not 32 bytes")),
            Err(_) => return Err(malformed("its key is not base64")),
        }
        let mut key = Key(Box::new(Zeroizing::new([0; KEY_LEN])));
        key.0
            .copy_from_slice(decoded.get(..KEY_LEN).unwrap_or_default());
        Self::of(key)
    }
}
