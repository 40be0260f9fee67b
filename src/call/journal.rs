//! What must be durable about a call's legs. A promise is awaited (before an INVITE leaves); everything later is written
//! behind the call's back and in order, so that a call never waits for the disk.

use ringfence_sip::EndedBy;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    clock::Clock,
    ids::CallId,
    store::{self, Db, dialogs::Dialog},
    trunk::{LegEvent, TrunkLeg},
};

/// Changes that may wait; a leg has a handful in its life.
const PENDING: usize = 64;

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
    Put(&'static str, String),
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
                    Change::Put(leg, snapshot) => dialogs.put(leg, snapshot).await,
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

    /// The dialog has learnt something.
    pub fn put(&self, leg: &'static str, snapshot: String) {
        self.change(Change::Put(leg, snapshot));
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
                        LegEvent::Snapshot(snapshot) => self.put(name, snapshot),
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
        if self.changes.try_send(change).is_err() {
            tracing::warn!(call = %self.call, "the journal of a call's legs is behind; a newer state is skipped");
        }
    }
}
