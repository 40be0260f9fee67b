//! What must be durable about a call's legs. A promise is awaited (before an INVITE leaves); everything later is written
//! behind the call's back and in order, so that a call never waits for the disk. Only the ACK of an answer does: a PBX
//! that has it forgets the answer, and a process that died before the answer was durable could not learn of it again.

use std::{pin::pin, time::Duration};

use ringfence_sip::EndedBy;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use crate::{
    clock::Clock,
    ids::CallId,
    store::{self, Db, dialogs::Dialog},
    trunk::{Acknowledge, LegEvent, TrunkLeg},
};

/// Changes that may wait; a leg has a handful in its life.
const PENDING: usize = 64;
/// An answer that is not durable by then is acknowledged all the same: the call is worth more than its leftovers.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(4);

/// The rows of one call's legs.
#[derive(Clone)]
pub(super) struct Dialogs {
    pub db: Db,
    pub clock: Clock,
    pub node: String,
    pub trunk: String,
    pub call: CallId,
}

impl Dialogs {
    /// Durable when this returns.
    pub async fn put(&self, leg: &str, snapshot: String) -> Result<(), store::Error> {
        let dialog = Dialog {
            call_id: self.call,
            leg: leg.to_owned(),
            trunk: self.trunk.clone(),
            snapshot,
        };
        let mut tx = self.db.begin().await?;
        store::dialogs::put(&mut tx, &self.node, &dialog, self.clock.wall_ms()).await?;
        tx.commit().await
    }

    async fn remove(&self, leg: &str) -> Result<(), store::Error> {
        let mut tx = self.db.begin().await?;
        store::dialogs::remove(&mut tx, self.call, leg).await?;
        tx.commit().await
    }
}

enum Change {
    Put(&'static str, String, Option<Acknowledge>),
    Remove(&'static str),
}

/// Writes changes in their order.
pub(super) struct Journal {
    call: CallId,
    changes: mpsc::Sender<Change>,
    writer: JoinHandle<()>,
}

impl Journal {
    pub fn new(dialogs: Dialogs) -> Self {
        let (changes, mut pending) = mpsc::channel(PENDING);
        let call = dialogs.call;
        let writer = tokio::spawn(async move {
            while let Some(change) = pending.recv().await {
                let written = match change {
                    Change::Put(leg, snapshot, answer) => {
                        let put = dialogs.put(leg, snapshot);
                        acknowledged_in_time(put, answer).await
                    }
                    Change::Remove(leg) => dialogs.remove(leg).await,
                };
                if let Err(error) = written {
                    // The older state still releases the leg in most cases, and a row too many is asked about at start.
                    tracing::warn!(%call, %error, "a leg's newer state is not durable");
                }
            }
        });
        Self {
            call,
            changes,
            writer,
        }
    }

    /// The dialog has learnt something; an `answer` is acknowledged once that is durable.
    pub fn put(&self, leg: &'static str, snapshot: String, answer: Option<Acknowledge>) {
        self.change(Change::Put(leg, snapshot, answer));
    }

    /// The peer has released the leg.
    pub fn remove(&self, leg: &'static str) {
        self.change(Change::Remove(leg));
    }

    /// Follows legs to their end after everybody else has stopped waiting for it: a PBX that does not answer is asked for
    /// 32 s. What it did not confirm stays in the journal and is asked about again (`daemon/settle.rs`).
    pub fn follow(self, legs: Vec<(&'static str, TrunkLeg)>) {
        tokio::spawn(async move {
            for (name, mut leg) in legs {
                while let Some(event) = leg.events.recv().await {
                    match event {
                        LegEvent::Snapshot(snapshot, answer) => self.put(name, snapshot, answer),
                        LegEvent::Failed(_) => self.remove(name),
                        LegEvent::Ended { by, .. } if by != EndedBy::Fault => self.remove(name),
                        _ => {}
                    }
                }
            }
            self.finish().await;
        });
    }

    /// Returns when everything is written.
    pub async fn finish(self) {
        drop(self.changes);
        let _ = self.writer.await;
    }

    fn change(&self, change: Change) {
        if let Err(error) = self.changes.try_send(change) {
            tracing::warn!(call = %self.call, "the journal of a call's legs is behind; a newer state is skipped");
            if let Change::Put(_, _, Some(answer)) = error.into_inner() {
                tokio::spawn(async move { answer.send().await });
            }
        }
    }
}

/// Sends the ACK when `put` is through, failed or not, or takes too long.
async fn acknowledged_in_time(
    put: impl Future<Output = Result<(), store::Error>>,
    answer: Option<Acknowledge>,
) -> Result<(), store::Error> {
    let Some(answer) = answer else {
        return put.await;
    };
    let mut put = pin!(put);
    let done = timeout(ACKNOWLEDGE_WITHIN, &mut put).await;
    answer.send().await;
    match done {
        Ok(written) => written,
        Err(_) => put.await,
    }
}
