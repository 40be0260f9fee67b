//! Sees one call's task to its end. A task that breaks off by a fault of ours cannot close what it opened: then that is
//! done here, with the code by which a start settles a crash, and the floor hears of the end as of any other.

use tokio::sync::{mpsc, oneshot};

use super::floor::Ask;
use crate::{
    call::{
        Cause,
        task::{CallTask, Herald},
    },
    ids::AgentId,
    settle::BrokenCall,
};

/// Who waits for the end of one call.
pub(super) struct Supervisor {
    pub asks: mpsc::Sender<Ask>,
    pub agent: AgentId,
    pub herald: Herald,
    /// What is settled if the task breaks off.
    pub broken: BrokenCall,
}

impl Supervisor {
    /// Runs the task. The agent is free as soon as the call is over or the task is gone; the floor keeps the call until
    /// everything of it is settled. `over` is its handle's.
    pub async fn see_to_its_end(self, task: CallTask, over: Option<oneshot::Receiver<bool>>) {
        let (call, agent) = (self.broken.call, self.agent);
        let run = tokio::spawn(task.run());
        let connected = match over {
            Some(over) => over.await.unwrap_or(false),
            None => false,
        };
        self.tell(Ask::WrapUp {
            call,
            agent,
            connected,
        })
        .await;
        match run.await {
            Ok(()) => {}
            Err(error) if error.is_panic() => {
                tracing::error!(%call, %error, "a call's task broke off; it is settled now");
                metrics::counter!("ringfence_calls_broken_off_total").increment(1);
                let cause = Box::pin(self.broken.clone().settle()).await;
                self.herald.ended(cause.unwrap_or(Cause::Internal));
            }
            // The runtime ends; the next start settles it.
            Err(_) => return,
        }
        self.tell(Ask::End { call }).await;
    }

    async fn tell(&self, ask: Ask) {
        let _ = self.asks.send(ask).await;
    }
}
