//! What must be durable about a call's legs. A promise is awaited (before an INVITE leaves); everything later is written
//! behind the call's back and in order, so that a call never waits for the disk. Only the ACK of an answer does: a PBX
//! that has it forgets the answer, and a process that died before the answer was durable could not learn of it again.
//!
//! The writer is a task of its own and outlives the call's: legs that the call lets go of, at its end or because its task
//! broke off, are ended and followed here until the PBX has confirmed it.

use std::{pin::pin, time::Duration};

use ringfence_sip::EndedBy;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::CLEARING;
use crate::{
    call::machine::Leg,
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
    pub async fn put(&self, leg: Leg, snapshot: String) -> Result<(), store::Error> {
        let dialog = Dialog {
            call_id: self.call,
            leg: leg.as_str().to_owned(),
            trunk: self.trunk.clone(),
            snapshot,
        };
        let mut tx = self.db.begin().await?;
        store::dialogs::put(&mut tx, &self.node, &dialog, self.clock.wall_ms()).await?;
        tx.commit().await
    }

    async fn remove(&self, leg: Leg) -> Result<(), store::Error> {
        let mut tx = self.db.begin().await?;
        store::dialogs::remove(&mut tx, self.call, leg.as_str()).await?;
        tx.commit().await
    }
}

enum Change {
    Put(Leg, String, Option<Acknowledge>),
    Remove(Leg),
    /// With a way back here, which keeps the writer going.
    Follow(Leg, Box<TrunkLeg>, Journal),
}

/// The way to the writer; it ends when the last of these is gone and everything is written.
#[derive(Clone)]
pub(super) struct Journal {
    call: CallId,
    changes: mpsc::Sender<Change>,
}

impl Journal {
    /// Starts the writer.
    pub fn start(dialogs: Dialogs) -> (Self, JoinHandle<()>) {
        let (changes, pending) = mpsc::channel(PENDING);
        let call = dialogs.call;
        (
            Self { call, changes },
            tokio::spawn(write(dialogs, pending)),
        )
    }

    /// The dialog has learnt something; an `answer` is acknowledged once that is durable.
    pub fn put(&self, leg: Leg, snapshot: String, answer: Option<Acknowledge>) {
        self.change(Change::Put(leg, snapshot, answer));
    }

    /// The peer has released the leg.
    pub fn remove(&self, leg: Leg) {
        self.change(Change::Remove(leg));
    }

    /// Nobody else holds the leg any more: ends it, and follows it to its end. A PBX that does not answer is asked for
    /// 32 s; what it did not confirm stays in the journal and is asked about again (`settle/leftovers.rs`).
    pub fn follow(&self, leg: Leg, dialog: TrunkLeg) {
        self.change(Change::Follow(leg, Box::new(dialog), self.clone()));
    }

    fn change(&self, change: Change) {
        if let Err(error) = self.changes.try_send(change) {
            tracing::warn!(call = %self.call, "the journal of a call's legs is behind; a newer state is skipped");
            // A leg to be followed is ended as it is dropped.
            if let Change::Put(_, _, Some(answer)) = error.into_inner() {
                tokio::spawn(async move { answer.send().await });
            }
        }
    }
}

/// Writes changes in their order.
async fn write(dialogs: Dialogs, mut pending: mpsc::Receiver<Change>) {
    while let Some(change) = pending.recv().await {
        let written = match change {
            // Boxed: a writer that waits, as it does for most of a call, holds no room for what it writes with.
            Change::Put(leg, snapshot, answer) => {
                Box::pin(acknowledged_in_time(dialogs.put(leg, snapshot), answer)).await
            }
            Change::Remove(leg) => Box::pin(dialogs.remove(leg)).await,
            Change::Follow(leg, dialog, journal) => {
                tokio::spawn(follow_to_its_end(leg, *dialog, journal));
                Ok(())
            }
        };
        if let Err(error) = written {
            // The older state still releases the leg in most cases, and a row too many is asked about at start.
            tracing::warn!(call = %dialogs.call, %error, "a leg's newer state is not durable");
        }
    }
}

async fn follow_to_its_end(leg: Leg, mut dialog: TrunkLeg, journal: Journal) {
    // Again does no harm; a task that broke off had no time for it.
    dialog.cut(Some(CLEARING)).await;
    while let Some(event) = dialog.events.recv().await {
        match event {
            LegEvent::Snapshot(snapshot, answer) => journal.put(leg, snapshot, answer),
            LegEvent::Failed(_) => journal.remove(leg),
            LegEvent::Ended { by, .. } if by != EndedBy::Fault => journal.remove(leg),
            _ => {}
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
