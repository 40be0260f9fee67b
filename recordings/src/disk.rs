//! Every act that changes something on the disk goes through here.
//!
//! It is a seam, not a layer: thin functions over `std::fs` that name the act in their error, make files 0600 and
//! directories 0700, and count themselves in tests, so that a test can let the machine die before any one of them
//! (see `crash.rs`). Nothing outside this file writes, renames, removes or syncs.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use crate::error::{Result, VaultError};

#[cfg(test)]
use crate::crash::step;

/// Outside of tests every act is allowed.
#[cfg(not(test))]
#[inline(always)]
fn step(_act: &'static str, _path: &Path) -> io::Result<()> {
    Ok(())
}

/// Opens a new file for writing, 0600; anything that has the name already is an error.
pub(crate) fn create_new(path: &Path) -> Result<File> {
    step("create", path)
        .and_then(|()| {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
        })
        .map_err(|e| VaultError::io("create", path, e))
}

/// Gives a file a second name; anything that has that name already is an error.
pub(crate) fn link(from: &Path, to: &Path) -> Result<()> {
    step("create", to)
        .and_then(|()| fs::hard_link(from, to))
        .map_err(|e| VaultError::io("create", to, e))
}

/// Opens a file for reading and writing, emptied if it was there, 0600.
pub(crate) fn create_or_empty(path: &Path) -> Result<File> {
    step("create", path)
        .and_then(|()| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(path)
        })
        .map_err(|e| VaultError::io("create", path, e))
}

/// Writes all of `bytes` at `offset`.
pub(crate) fn write_at(file: &File, path: &Path, bytes: &[u8], offset: u64) -> Result<()> {
    step("write", path)
        .and_then(|()| file.write_all_at(bytes, offset))
        .map_err(|e| VaultError::io("write", path, e))
}

/// Makes data and length of the file durable.
pub(crate) fn sync(file: &File, path: &Path) -> Result<()> {
    step("sync", path)
        .and_then(|()| file.sync_data())
        .map_err(|e| VaultError::io("sync", path, e))?;
    #[cfg(test)]
    crate::crash::synced(file, path);
    Ok(())
}

/// Makes everything on the file system of `dir` durable.
pub(crate) fn sync_file_system(dir: &File, path: &Path) -> Result<()> {
    step("sync file system", path)
        .and_then(|()| Ok(rustix::fs::syncfs(dir)?))
        .map_err(|e| VaultError::io("sync file system of", path, e))
}

/// Makes the entries of the directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    step("sync directory", dir)
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(|e| VaultError::io("sync directory", dir, e))?;
    #[cfg(test)]
    crate::crash::dir_synced(dir);
    Ok(())
}

/// Renames within one directory tree; the target, if there, is replaced at once or not at all.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    step("rename", from)
        .and_then(|()| {
            #[cfg(test)]
            crate::crash::renaming(from, to);
            fs::rename(from, to)
        })
        .map_err(|e| VaultError::io("rename", from, e))
}

/// Removes a file; one that is gone already is no error.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let done = step("remove", path).and_then(|()| {
        #[cfg(test)]
        crate::crash::removing(path);
        fs::remove_file(path)
    });
    match done {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|e| VaultError::io("remove", path, e)),
    }
}

/// Makes a directory and its parents, 0700, each new entry durable.
pub(crate) fn make_dirs(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        make_dirs(parent)?;
    }
    let made = step("make directory", dir).and_then(|()| DirBuilder::new().mode(0o700).create(dir));
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        other => other.map_err(|e| VaultError::io("make directory", dir, e))?,
    }
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Writes a small file so that after a crash there is the old one, the new one or none, never half of it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(VaultError::io(
            "write",
            path,
            io::ErrorKind::InvalidInput.into(),
        ));
    };
    let mut temporary = name.to_os_string();
    temporary.push(".new");
    let temporary = dir.join(temporary);
    let file = create_or_empty(&temporary)?;
    write_at(&file, &temporary, bytes, 0)?;
    sync(&file, &temporary)?;
    rename(&temporary, path)?;
    sync_dir(dir)
}

/// Reads a small file, at most `limit` bytes of it.
pub(crate) fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|f| f.take(limit).read_to_end(&mut bytes))
        .map_err(|e| VaultError::io("read", path, e))?;
    Ok(bytes)
}

/// Opens a file for reading.
pub(crate) fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| VaultError::io("open", path, e))
}

/// Length of an open file in bytes.
pub(crate) fn len(file: &File, path: &Path) -> Result<u64> {
    Ok(file
        .metadata()
        .map_err(|e| VaultError::io("inspect", path, e))?
        .len())
}
