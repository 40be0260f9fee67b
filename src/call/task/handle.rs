//! The ways a call is ended from outside, and what can be seen of it. Telling a call that is over does nothing.

use tokio::sync::{mpsc, oneshot, watch};

/// Requests that may wait; each of them ends the call, so a few are enough.
const ASKS: usize = 8;

/// A call as those see it who do not run it.
pub struct CallHandle {
    asks: mpsc::Sender<Ask>,
    /// How far the call is.
    pub state: watch::Receiver<&'static str>,
    /// The agent is free again, and whether anybody was reached; comes before the task ends.
    pub over: Option<oneshot::Receiver<bool>>,
}

pub(super) enum Ask {
    HangUp,
    AgentGone,
    Drain,
}

/// The other end of a handle.
pub(super) struct Handled {
    pub asks: mpsc::Receiver<Ask>,
    pub state: watch::Sender<&'static str>,
    pub over: oneshot::Sender<bool>,
}

/// A handle on a call that is in `state`.
pub(super) fn handle(state: &'static str) -> (CallHandle, Handled) {
    let (asks, inbox) = mpsc::channel(ASKS);
    let (state, watched) = watch::channel(state);
    let (over, is_over) = oneshot::channel();
    (
        CallHandle {
            asks,
            state: watched,
            over: Some(is_over),
        },
        Handled {
            asks: inbox,
            state,
            over,
        },
    )
}

impl CallHandle {
    /// The agent or a lead hangs up.
    pub fn hang_up(&self) {
        self.tell(Ask::HangUp);
    }

    /// The agent's browser is gone.
    pub fn agent_gone(&self) {
        self.tell(Ask::AgentGone);
    }

    /// The daemon stops now.
    pub fn drain(&self) {
        self.tell(Ask::Drain);
    }

    fn tell(&self, ask: Ask) {
        // A full channel holds an earlier request to end: that is enough.
        let _ = self.asks.try_send(ask);
    }
}

/// What an observed handle was told, for the tests of those who hold handles.
#[cfg(test)]
pub struct Told(mpsc::Receiver<Ask>);

#[cfg(test)]
impl Told {
    /// The next request; `None` once the handle is gone.
    pub async fn next(&mut self) -> Option<&'static str> {
        Some(match self.0.recv().await? {
            Ask::HangUp => "hang_up",
            Ask::AgentGone => "agent_gone",
            Ask::Drain => "drain",
        })
    }
}

#[cfg(test)]
impl CallHandle {
    /// A handle without a call.
    pub fn observed() -> (Self, Told) {
        let (handle, handled) = handle("talking");
        let over = None;
        (Self { over, ..handle }, Told(handled.asks))
    }
}
