//! `vault.id`: which vault a directory is, under which root key it was made, and which keys belong to it.
//!
//! The same small text lies in the vault and in its key directory. It refuses, before any harm, the wrong root key, a
//! key directory of another vault, and an empty mount point where the vault's disk should be.

use std::io;
use std::path::Path;

use ring::digest::{SHA256, digest};
use uuid::Uuid;

use crate::disk;
use crate::error::{Result, VaultError};
use crate::keys::{RootKey, random};
use crate::vault::entries;

const NAME: &str = "vault.id";
const FIRST_LINE: &str = "ringfence-vault 1";
const LIMIT: u64 = 1024;

/// What was found under the name.
enum Found {
    Nothing,
    Damaged,
    Text { text: String, root: String },
}

/// Checks that both directories belong together and to this root key; makes the marker for a new vault and mends a
/// damaged one from the other.
pub(crate) fn check_or_make(dir: &Path, keys: &Path, root: &RootKey) -> Result<()> {
    let unpaired = |detail| {
        Err(VaultError::Unpaired {
            dir: dir.into(),
            keys: keys.into(),
            detail,
        })
    };
    let (in_dir, in_keys) = (dir.join(NAME), keys.join(NAME));
    match (read(&in_dir)?, read(&in_keys)?) {
        (Found::Nothing, Found::Nothing) => {
            if !entries(&dir.join("sealed"))?.is_empty() || !entries(&dir.join("live"))?.is_empty()
            {
                return unpaired(
                    "there are recordings, but no vault.id in either: restore it from the backup",
                );
            }
            let text = make(root)?;
            // The vault first: if the machine dies between the two, the arm below goes on.
            disk::replace(&in_dir, text.as_bytes())?;
            disk::replace(&in_keys, text.as_bytes())
        }
        (Found::Text { text, root: of }, Found::Nothing) => {
            same_root(&in_dir, &of, root)?;
            let used = !entries(&dir.join("sealed"))?.is_empty()
                || !entries(&dir.join("live"))?.is_empty();
            if used
                || !entries(keys)?
                    .iter()
                    .all(|p| p.extension().is_some_and(|e| e == "new"))
            {
                return unpaired(
                    "the keys of this vault are not there: mount their disk or restore them",
                );
            }
            disk::replace(&in_keys, text.as_bytes())
        }
        (Found::Nothing, _) => unpaired(
            "the keys belong to a vault, but this directory is none: mount the vault's disk or restore it",
        ),
        (Found::Damaged, Found::Text { text, root: of }) => {
            same_root(&in_keys, &of, root)?;
            disk::replace(&in_dir, text.as_bytes())
        }
        (Found::Text { text, root: of }, Found::Damaged) => {
            same_root(&in_dir, &of, root)?;
            disk::replace(&in_keys, text.as_bytes())
        }
        (a, b) => compare(dir, keys, root, a, b),
    }
}

/// Checks that both directories belong together and to this root key; changes nothing.
pub(crate) fn check(dir: &Path, keys: &Path, root: &RootKey) -> Result<()> {
    compare(
        dir,
        keys,
        root,
        read(&dir.join(NAME))?,
        read(&keys.join(NAME))?,
    )
}

fn compare(dir: &Path, keys: &Path, root: &RootKey, in_dir: Found, in_keys: Found) -> Result<()> {
    let unpaired = |detail| {
        Err(VaultError::Unpaired {
            dir: dir.into(),
            keys: keys.into(),
            detail,
        })
    };
    match (in_dir, in_keys) {
        (Found::Text { text: a, root: of }, Found::Text { text: b, .. }) if a == b => {
            same_root(&dir.join(NAME), &of, root)
        }
        (Found::Text { .. }, Found::Text { .. }) => {
            unpaired("each belongs to another vault: correct the configuration")
        }
        (Found::Damaged, Found::Text { root: of, .. }) => same_root(&keys.join(NAME), &of, root),
        (Found::Text { root: of, .. }, Found::Damaged) => same_root(&dir.join(NAME), &of, root),
        (Found::Damaged, Found::Damaged) => {
            unpaired("vault.id is damaged in both: restore it from the backup")
        }
        (Found::Nothing, _) => {
            unpaired("there is no vault in the directory: mount its disk or correct the path")
        }
        (_, Found::Nothing) => {
            unpaired("the keys of this vault are not there: mount their disk or restore them")
        }
    }
}

fn same_root(path: &Path, of: &str, root: &RootKey) -> Result<()> {
    let given = root.id().to_string();
    if of == given {
        return Ok(());
    }
    Err(VaultError::WrongRootKey {
        path: path.into(),
        expected: of.into(),
        given,
    })
}

fn make(root: &RootKey) -> Result<String> {
    let mut id = [0; 16];
    random(&mut id)?;
    let vault = uuid::Builder::from_random_bytes(id).into_uuid();
    let text = format!("{FIRST_LINE}\nvault {vault}\nroot {}\n", root.id());
    Ok(format!("{text}sha256 {}\n", sum(&text)))
}

fn sum(text: &str) -> String {
    digest(&SHA256, text.as_bytes())
        .as_ref()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

fn read(path: &Path) -> Result<Found> {
    let bytes = match disk::read_small(path, LIMIT) {
        Err(VaultError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(Found::Nothing);
        }
        other => other?,
    };
    Ok(parse(bytes).unwrap_or(Found::Damaged))
}

fn parse(bytes: Vec<u8>) -> Option<Found> {
    let text = String::from_utf8(bytes).ok()?;
    let (body, last) = text.split_at(text.find("sha256 ")?);
    if last.strip_prefix("sha256 ")?.trim_end() != sum(body) {
        return None;
    }
    let mut lines = body.lines();
    if lines.next()? != FIRST_LINE {
        return None;
    }
    Uuid::try_parse(lines.next()?.strip_prefix("vault ")?).ok()?;
    let root = lines.next()?.strip_prefix("root ")?.to_owned();
    Some(Found::Text { text, root })
}
