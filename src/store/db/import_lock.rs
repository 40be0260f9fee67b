//! The right to import: one import a database, whichever process runs it.

use sqlx::{Postgres, Row as _, Transaction};

use super::{Db, Pools};
use crate::store::error::{Error, Result};

impl Db {
    /// The right to import, of which there is one a database; `None` if somebody else holds it. It ends with its holder:
    /// a lock of a file beside SQLite's, a lock of a connection on PostgreSQL.
    ///
    /// # Errors
    /// The lock cannot be asked for.
    pub async fn import_lock(&self) -> Result<Option<ImportLock>> {
        const ACT: &str = "ask for the right to import";
        match &self.pools {
            Pools::Sqlite { file, .. } => {
                use std::os::unix::fs::OpenOptionsExt as _;
                let failed =
                    |e: std::io::Error| Error::from_sqlx(ACT, &self.name, &sqlx::Error::Io(e));
                let mut path = file.path.as_os_str().to_owned();
                path.push("-import");
                let lock = std::fs::OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .mode(0o600)
                    .open(path)
                    .map_err(failed)?;
                match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
                {
                    Ok(()) => Ok(Some(ImportLock(Held::File(LockedFile(lock))))),
                    Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
                    Err(e) => Err(failed(e.into())),
                }
            }
            Pools::Postgres(pool) => {
                let asked = async {
                    let mut tx = pool.begin().await?;
                    let got: bool = sqlx::query("SELECT pg_try_advisory_xact_lock(7306648123)")
                        .fetch_one(&mut *tx)
                        .await?
                        .try_get(0)?;
                    Ok(got.then_some(ImportLock(Held::Session(tx))))
                };
                self.within(ACT, Some(self.patience * 2), asked).await
            }
        }
    }
}

/// The right to import, as long as it is kept.
#[derive(Debug)]
pub struct ImportLock(#[allow(dead_code, reason = "held until it is dropped")] Held);

impl ImportLock {
    /// Gives the right back; when this returns somebody else can have it. Dropped, it ends a moment later.
    pub async fn release(self) {
        match self.0 {
            Held::File(file) => drop(file),
            // A connection that broke has given it back already.
            Held::Session(tx) => drop(tx.rollback().await),
        }
    }
}

#[derive(Debug)]
#[allow(dead_code, reason = "held until it is dropped")]
enum Held {
    File(LockedFile),
    Session(Transaction<'static, Postgres>),
}

/// A file that is unlocked by name when it is dropped: to close it is not enough while a child process, forked at this
/// moment by another thread, still has a copy of the descriptor.
#[derive(Debug)]
struct LockedFile(std::fs::File);

impl Drop for LockedFile {
    fn drop(&mut self) {
        // What cannot be unlocked ends with the descriptor.
        let _ = rustix::fs::flock(&self.0, rustix::fs::FlockOperation::Unlock);
    }
}
