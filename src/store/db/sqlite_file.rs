//! The file of the embedded SQLite: made for its owner alone, watched while it is open, written by one at a time.

use std::{path::Path, sync::Arc, time::Duration};

use sqlx::{Sqlite, SqlitePool, Transaction};

/// Which file SQLite holds open. It would go on writing into one that was removed, and all of it would be lost.
#[derive(Debug, Clone)]
pub(super) struct OpenFile {
    pub(super) path: Arc<Path>,
    device: u64,
    inode: u64,
}

impl OpenFile {
    pub(super) fn at(path: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let found = std::fs::metadata(path)?;
        Ok(Self {
            path: path.into(),
            device: found.dev(),
            inode: found.ino(),
        })
    }

    /// What has become of it since, if anything.
    pub(super) fn problem(&self) -> Option<&'static str> {
        use std::os::unix::fs::MetadataExt as _;
        match std::fs::metadata(&self.path) {
            Err(_) => Some("was taken away"),
            Ok(now) if (now.dev(), now.ino()) != (self.device, self.inode) => Some("was replaced"),
            Ok(now) if now.len() == 0 => Some("was cut off"),
            Ok(_) => None,
        }
    }
}

/// Makes an empty file that only its owner can read, so that SQLite's own files beside it are made alike.
pub(super) fn prepare_file(path: &Path, create: bool) -> Result<(), (String, String)> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let shown = path.display();
    if path.is_dir() {
        return Err((
            format!("{shown} is a directory"),
            "name a file in it".into(),
        ));
    }
    if path.exists() {
        // access(2) and not open(2): closing a descriptor of ours would drop SQLite's locks in this process.
        return rustix::fs::access(
            path,
            rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK,
        )
        .map_err(|e| {
            (
                format!("{shown} cannot be read and written: {e}"),
                "give it to the user that runs ringfence, mode 0600".into(),
            )
        });
    }
    if !create {
        return Err((
            format!("{shown} does not exist"),
            "correct the path, or start the daemon once, which makes it".into(),
        ));
    }
    match std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err((
            format!("{shown} cannot be made: {e}"),
            "make its directory and give it to the user that runs ringfence".into(),
        )),
    }
}

/// How soon a writer asks SQLite again for its turn.
pub(super) const AGAIN: Duration = Duration::from_millis(1);

/// Begins a writing transaction as soon as no other process writes. SQLite's own waiting grows to a tenth of a second
/// between two looks, so that it misses the short gaps that an import leaves for calls; ours does not.
pub(super) async fn begin_immediate(
    write: &SqlitePool,
    patience: Duration,
) -> sqlx::Result<Transaction<'static, Sqlite>> {
    let mut patience = std::pin::pin!(tokio::time::sleep(patience));
    loop {
        match write.begin_with("BEGIN IMMEDIATE").await {
            Err(sqlx::Error::Database(error)) if is_busy(&*error) => {
                tokio::select! {
                    biased;
                    () = &mut patience => return Err(sqlx::Error::Database(error)),
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
            begun => return begun,
        }
    }
}

/// SQLITE_BUSY, of whatever kind: another connection writes.
fn is_busy(error: &dyn sqlx::error::DatabaseError) -> bool {
    let code = error.code().and_then(|code| code.parse::<i32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}
