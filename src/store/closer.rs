//! The group-commit writer: closings that come together share one transaction, and so one flush to disk.
//!
//! One task a database takes what is waiting, at most [`GROUP`] closings, ends them in one transaction, and tells each
//! caller what became of his own. If the group fails, each is tried alone, so that one that the database refuses fails
//! nobody else. Nothing waits for company: a lone closing goes at once, and groups form while the one before is
//! being made durable.

use std::sync::{Arc, OnceLock};

use tokio::sync::{mpsc, oneshot};

use super::{
    Db, Error, Result,
    attempts::{self, Closed, Closing},
};
use crate::ids::CallId;

/// Closings in one transaction: 64 keep a flush cheap and the transaction far below 50 ms.
const GROUP: usize = 64;
/// Closings that may wait. When it is full, the next caller waits for a place: a call that has ended waits for nothing
/// else, and no closing is ever thrown away.
const QUEUE: usize = 1024;

struct Job {
    call: CallId,
    closing: Closing,
    done: oneshot::Sender<Result<bool>>,
}

/// The way to the writer of a database; the writer begins with the first closing and ends with the last [`Db`].
#[derive(Debug, Clone, Default)]
pub(super) struct Closer(Arc<OnceLock<mpsc::Sender<Job>>>);

impl Db {
    /// Closes an attempt as [`attempts::close`] does, durable when this returns, in a group with what else ends now.
    ///
    /// # Errors
    /// Those of [`attempts::close`], of this attempt alone.
    pub async fn close_attempt(&self, call: CallId, closing: &Closing) -> Result<bool> {
        let queue = self.closer().0.get_or_init(|| {
            let (queue, jobs) = mpsc::channel(QUEUE);
            // Without the sender, or the writer would keep itself alive.
            tokio::spawn(write(self.without_closer(), jobs));
            queue
        });
        let (done, answer) = oneshot::channel();
        let closing = closing.clone();
        let job = Job {
            call,
            closing,
            done,
        };
        // The writer lives as long as the runtime it began in; after it, each closes by itself.
        match queue.send(job).await {
            Ok(()) => answer.await.unwrap_or_else(|_| {
                Err(Error::Unavailable {
                    act: "close an attempt",
                    cause: "the daemon is stopping".into(),
                    remedy: "the next start settles it".into(),
                })
            }),
            Err(mpsc::error::SendError(job)) => alone(self, job.call, &job.closing).await,
        }
    }
}

async fn write(db: Db, mut jobs: mpsc::Receiver<Job>) {
    let mut group = Vec::with_capacity(GROUP);
    while jobs.recv_many(&mut group, GROUP).await > 0 {
        let closings: Vec<(CallId, Closing)> = group
            .iter()
            .map(|job| (job.call, job.closing.clone()))
            .collect();
        match together(&db, &closings).await {
            Ok(closed) => {
                for (job, closed) in group.drain(..).zip(closed) {
                    // Whoever asked may have gone; the attempt is closed all the same.
                    let _ = job.done.send(verdict(closed));
                }
            }
            // The database is away for all of them; each caller knows what to do about that.
            Err(error) if error.is_unavailable() => {
                for job in group.drain(..) {
                    let _ = job.done.send(Err(error.clone()));
                }
            }
            Err(_) => {
                for job in group.drain(..) {
                    let closed = alone(&db, job.call, &job.closing).await;
                    let _ = job.done.send(closed);
                }
            }
        }
    }
}

async fn together(db: &Db, closings: &[(CallId, Closing)]) -> Result<Vec<Closed>> {
    let mut tx = db.begin().await?;
    let closed = attempts::close_many(&mut tx, closings).await?;
    tx.commit().await?;
    Ok(closed)
}

async fn alone(db: &Db, call: CallId, closing: &Closing) -> Result<bool> {
    let mut tx = db.begin().await?;
    let closed = attempts::close(&mut tx, call, closing).await?;
    tx.commit().await?;
    Ok(closed)
}

fn verdict(closed: Closed) -> Result<bool> {
    match closed {
        Closed::Now => Ok(true),
        Closed::Before => Ok(false),
        Closed::Unknown => Err(Error::NotFound { what: "such call" }),
    }
}
