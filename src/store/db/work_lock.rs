//! The right to import, and the right to allocate: one of each a database, whichever process has it.

use sqlx::{Postgres, Row as _, Transaction};

use super::{Db, Pools};
use crate::store::error::{Error, Result};

impl Db {
    /// The right to import, of which there is one a database; `None` if somebody else holds it. It ends with its holder:
    /// a lock of a file beside SQLite's, a lock of a connection on PostgreSQL.
    ///
    /// # Errors
    /// The lock cannot be asked for.
    pub async fn import_lock(&self) -> Result<Option<WorkLock>> {
        self.work_lock("ask for the right to import", "-import", 7_306_648_123)
            .await
    }

    /// The right to allocate, as [`Db::import_lock`].
    ///
    /// # Errors
    /// The lock cannot be asked for.
    pub async fn allocation_lock(&self) -> Result<Option<WorkLock>> {
        let act = "ask for the right to allocate";
        self.work_lock(act, "-allocation", 7_306_648_124).await
    }

    async fn work_lock(
        &self,
        act: &'static str,
        suffix: &str,
        key: i64,
    ) -> Result<Option<WorkLock>> {
        match &self.pools {
            Pools::Sqlite { file, .. } => {
                use std::os::unix::fs::OpenOptionsExt as _;
                let failed =
                    |e: std::io::Error| Error::from_sqlx(act, &self.name, &sqlx::Error::Io(e));
                let mut path = file.path.as_os_str().to_owned();
                path.push(suffix);
                let lock = std::fs::OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .mode(0o600)
                    .open(path)
                    .map_err(failed)?;
                match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
                {
                    Ok(()) => Ok(Some(WorkLock(Held::File(LockedFile(lock))))),
                    Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
                    Err(e) => Err(failed(e.into())),
                }
            }
            Pools::Postgres(pool) => {
                let asked = async {
                    let mut tx = pool.begin().await?;
                    let got: bool = sqlx::query("SELECT pg_try_advisory_xact_lock($1)")
                        .bind(key)
                        .fetch_one(&mut *tx)
                        .await?
                        .try_get(0)?;
                    Ok(got.then_some(WorkLock(Held::Session(tx))))
                };
                self.within(act, Some(self.patience * 2), asked).await
            }
        }
    }
}

/// The right to do a bulk work, as long as it is kept.
#[derive(Debug)]
pub struct WorkLock(#[allow(dead_code, reason = "held until it is dropped")] Held);

impl WorkLock {
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
