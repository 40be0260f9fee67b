//! What agents do, written down: the floor hands on each change, this task writes it beside the calls.
//!
//! While the database is away the changes wait here and in the fact journal, so that a daemon that dies meanwhile loses
//! none. All of it is bounded; when it is full (the database has been away for long) a change is counted and lost, and
//! the next one of that agent ends the stretch that the lost one should have. Nothing on a call's path waits for it.

use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::{mpsc, oneshot};

use super::{Switchboard, floor::Ask};
use crate::{
    agent::{Presence, StepError},
    fact_journal::FactJournal,
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
pub(super) async fn write(
    db: Db,
    node: String,
    zone: TimeZone,
    facts: FactJournal,
    mut inbox: Inbox,
) {
    let mut messages = Vec::new();
    let mut held = Held::default();
    loop {
        if held.changes.is_empty() {
            if inbox.0.recv_many(&mut messages, TOGETHER).await == 0 {
                return;
            }
        } else if held.changes.len() < WAITING {
            // What comes now has to get into the journal too. A floor that is gone sends nothing: then this waits.
            let more = inbox.0.recv_many(&mut messages, TOGETHER);
            if let Ok(0) = tokio::time::timeout(RETRY, more).await {
                tokio::time::sleep(RETRY).await;
            }
        } else {
            tokio::time::sleep(RETRY).await;
        }
        let mut waiting = Vec::new();
        for message in messages.drain(..) {
            match message {
                Message::Changed(change) => held.changes.push(change),
                Message::Written(reply) => waiting.push(reply),
            }
        }
        match write_all(&db, &node, &zone, &held.changes).await {
            Ok(()) => held.written(&facts),
            Err(error) if error.is_unavailable() => {
                if !std::mem::replace(&mut held.told, true) {
                    tracing::warn!(%error, "what agents do cannot be written yet and waits in the journal; trying on");
                }
                held.keep(&facts).await;
            }
            Err(error) => {
                tracing::error!(%error, "what agents did cannot be written and is lost");
                metrics::counter!("ringfence_agent_states_lost_total")
                    .increment(held.changes.len() as u64);
                held.written(&facts);
            }
        }
        for reply in waiting {
            let _ = reply.send(());
        }
    }
}

/// What the database was not told yet.
#[derive(Default)]
struct Held {
    changes: Vec<Change>,
    /// How many of them the journal has.
    kept: usize,
    /// Whether the log has it that the database is away.
    told: bool,
}

impl Held {
    /// The database has it all.
    fn written(&mut self, facts: &FactJournal) {
        if self.kept > 0 {
            facts.forget_states();
        }
        if self.told {
            tracing::info!("what agents did meanwhile is written");
        }
        *self = Held::default();
    }

    /// Puts what has grown into the journal.
    async fn keep(&mut self, facts: &FactJournal) {
        if self.kept == self.changes.len() {
            return;
        }
        let (facts, changes) = (facts.clone(), self.changes.clone());
        let kept = tokio::task::spawn_blocking(move || facts.keep_states(&changes)).await;
        match kept {
            Ok(Ok(())) => self.kept = self.changes.len(),
            Ok(Err(error)) => {
                tracing::error!(%error, "what agents do is in memory only until the database is back");
            }
            Err(error) => {
                tracing::error!(%error, "what agents do is in memory only until the database is back");
            }
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
                "what agents did last is neither written nor in the journal; the next start ends it at their last sign of life"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ringfence_recordings::{NamedKey, RootKey};

    use super::*;
    use crate::{
        fact_journal::KEY_NAME,
        store::{
            agent_states,
            tests::{NOW_MS, Test, floor},
        },
    };

    #[tokio::test]
    async fn what_agents_do_while_the_database_is_away_outlives_the_daemon() {
        let test = Test::sqlite().await;
        let floor = floor(&test.db, 1).await;
        let dir = tempfile::tempdir().unwrap();
        RootKey::create(&dir.path().join("root")).unwrap();
        let root = RootKey::load(&dir.path().join("root")).unwrap();
        let key = NamedKey::open(&dir.path().join("keys"), KEY_NAME, &root, true).unwrap();
        let facts = FactJournal::open(&dir.path().join("journal"), key).unwrap();

        let away = Db::open(&test.options).await.unwrap();
        away.close().await;
        let (states, inbox) = channel();
        let writer = write(away, "main".into(), TimeZone::UTC, facts.clone(), inbox);
        let writer = tokio::spawn(writer);
        states.changed(floor.agent, Presence::Ready, "", NOW_MS);
        states.written().await;
        states.changed(floor.agent, Presence::Break, "lunch", NOW_MS + 5_000);
        states.written().await;
        // It dies over it.
        writer.abort();
        let _ = writer.await;

        let told = facts.replay_states(&test.db, "main", &TimeZone::UTC).await;
        assert_eq!(told.unwrap(), 2);
        let mut tx = test.db.read().await.unwrap();
        let did = agent_states::between(&mut tx, None, NOW_MS, NOW_MS + 9_000)
            .await
            .unwrap();
        let did: Vec<_> = did.iter().map(|one| (one.doing, one.until_ms)).collect();
        assert_eq!(
            did,
            [(Doing::Ready, Some(NOW_MS + 5_000)), (Doing::Break, None)]
        );
    }
}
