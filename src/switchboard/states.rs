//! What agents do, written down: the floor hands on each change, this task writes it beside the calls.
//!
//! The queue is bounded; when it is full (the database has been away for long) a change is counted and lost, and the
//! next one of that agent ends the stretch that the lost one should have. Nothing on a call's path waits for it.

use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::{mpsc, oneshot};

use super::{Switchboard, floor::Ask};
use crate::{
    agent::{Presence, StepError},
    ids::{AgentId, CallId},
    store::{
        self, Db,
        agent_states::{Change, Doing},
    },
};

/// Changes that may wait for the database.
const WAITING: usize = 4_096;
/// Changes written in one transaction.
const TOGETHER: usize = 64;
/// Pause between tries while the database is away.
const RETRY: Duration = Duration::from_secs(1);
/// How long a stop waits for the last changes.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// What an agent wants to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Signed in and free to call; ends a break or a wrap-up.
    Ready,
    /// Away for a while, with a reason.
    Break(String),
    /// Signed out.
    Gone,
}

/// What an agent who is there does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Working {
    /// Who.
    pub agent: AgentId,
    /// What.
    pub presence: Presence,
    /// Of a break.
    pub reason: String,
    /// The call the agent is reserved for, on, or writing about.
    pub call: Option<CallId>,
    /// For how long.
    pub since: Duration,
}

enum Message {
    Changed(Change),
    Written(oneshot::Sender<()>),
}

/// Where the floor hands changes on.
#[derive(Clone)]
pub(super) struct States(mpsc::Sender<Message>);

/// Where they come out.
pub(super) struct Inbox(mpsc::Receiver<Message>);

/// A queue of changes.
pub(super) fn channel() -> (States, Inbox) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (States(sender), Inbox(receiver))
}

impl States {
    /// An agent does something else.
    pub fn changed(&self, agent: AgentId, presence: Presence, reason: &str, at_ms: i64) {
        let doing = match presence {
            Presence::Offline => None,
            Presence::Ready => Some(Doing::Ready),
            Presence::Reserved => Some(Doing::Reserved),
            Presence::OnCall => Some(Doing::Talk),
            Presence::WrapUp => Some(Doing::WrapUp),
            Presence::Break => Some(Doing::Break),
        };
        let change = Change {
            agent,
            doing,
            reason: reason.to_owned(),
            at_ms,
        };
        if self.0.try_send(Message::Changed(change)).is_err() {
            metrics::counter!("ringfence_agent_states_lost_total").increment(1);
        }
    }

    /// Waits until everything so far is written.
    async fn written(&self) {
        let (reply, done) = oneshot::channel();
        if self.0.send(Message::Written(reply)).await.is_ok() {
            let _ = done.await;
        }
    }
}

#[cfg(test)]
impl Inbox {
    /// The next change that is there.
    pub fn try_next(&mut self) -> Option<Change> {
        match self.0.try_recv().ok()? {
            Message::Changed(change) => Some(change),
            Message::Written(_) => None,
        }
    }

    /// The next change.
    pub async fn next(&mut self) -> Option<Change> {
        match self.0.recv().await? {
            Message::Changed(change) => Some(change),
            Message::Written(_) => None,
        }
    }
}

/// Writes changes until the floor is gone.
pub(super) async fn write(db: Db, node: String, zone: TimeZone, mut inbox: Inbox) {
    let mut messages = Vec::new();
    while inbox.0.recv_many(&mut messages, TOGETHER).await > 0 {
        let mut waiting = Vec::new();
        let mut changes = Vec::new();
        for message in messages.drain(..) {
            match message {
                Message::Changed(change) => changes.push(change),
                Message::Written(reply) => waiting.push(reply),
            }
        }
        let mut told = false;
        while let Err(error) = write_all(&db, &node, &zone, &changes).await {
            if !error.is_unavailable() {
                tracing::error!(%error, "what agents did cannot be written and is lost");
                metrics::counter!("ringfence_agent_states_lost_total")
                    .increment(changes.len() as u64);
                break;
            }
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(%error, "what agents do cannot be written yet; trying on");
            }
            tokio::time::sleep(RETRY).await;
        }
        for reply in waiting {
            let _ = reply.send(());
        }
    }
}

async fn write_all(
    db: &Db,
    node: &str,
    zone: &TimeZone,
    changes: &[Change],
) -> Result<(), store::Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    store::agent_states::change(&mut tx, node, changes, zone).await?;
    tx.commit().await
}

impl Switchboard {
    /// An agent comes, goes, or takes a break.
    ///
    /// # Errors
    /// [`StepError`] in the middle of a call. A floor that is gone takes no wishes either.
    pub async fn wish(&self, agent: AgentId, wish: Wish) -> Result<(), StepError> {
        self.ask(|reply| Ask::Wish { agent, wish, reply })
            .await
            .unwrap_or(Err(StepError::NotFrom {
                from: Presence::Offline,
                needed: "the daemon is being stopped",
            }))
    }

    /// The note of a call is written: its wrap-up is over, if it still lasts.
    pub async fn noted(&self, agent: AgentId, call: CallId) {
        self.tell(Ask::Noted { agent, call }).await;
    }

    /// Who is there, and what they do.
    pub async fn working(&self) -> Vec<Working> {
        let mut working = self
            .ask(|reply| Ask::Working { reply })
            .await
            .unwrap_or_default();
        working.sort_by_key(|one| one.agent);
        working
    }

    /// Signs everybody out, at the stop of the daemon, and waits a moment until that is written.
    pub async fn close_day(&self) {
        let closed = async {
            let _ = self.ask(|reply| Ask::AllGone { reply }).await;
            self.states.written().await;
        };
        if tokio::time::timeout(LAST_WAIT, closed).await.is_err() {
            tracing::warn!(
                "what agents did last is not written; the next start ends it at their last sign of life"
            );
        }
    }
}
