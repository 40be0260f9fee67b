//! What the daemon can ask of an audio thread, and the bounded mailbox it goes through: a channel for the words, an
//! eventfd to wake the thread. A full mailbox is an error for the caller, never a wait.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::engine::MediaError;
use crate::leg::{LegId, Remote};
use crate::tap::Tap;
use crate::tone::Tone;
use crate::worker::LegState;

/// Commands a thread may have waiting. A call needs about ten in its whole life.
pub(crate) const MAILBOX: usize = 1_024;

/// One request to an audio thread. Large contents are boxed so that the channel's slots stay small.
#[derive(Debug)]
pub(crate) enum Command {
    Adopt(Box<LegState>),
    /// Hands a leg to another thread; its state comes back through `reply`.
    Surrender {
        leg: LegId,
        reply: SyncSender<Box<LegState>>,
    },
    SetRemote {
        leg: LegId,
        remote: Box<Remote>,
    },
    Play {
        leg: LegId,
        tone: Tone,
    },
    StopTone {
        leg: LegId,
    },
    Bridge {
        agent: LegId,
        customer: LegId,
        tap: Option<Box<Tap>>,
        at: Instant,
        /// Told the instant at which they are joined.
        joined: oneshot::Sender<Instant>,
    },
    Unbridge {
        leg: LegId,
        at: Instant,
    },
    PauseTap {
        leg: LegId,
        at: Instant,
    },
    ResumeTap {
        leg: LegId,
        at: Instant,
    },
    Close {
        leg: LegId,
        at: Option<Instant>,
    },
    Shutdown,
}

/// The sending side of one thread's mailbox.
#[derive(Debug, Clone)]
pub(crate) struct Mailbox {
    pub(crate) thread: usize,
    pub(crate) sender: SyncSender<Command>,
    pub(crate) wake: Arc<OwnedFd>,
}

impl Mailbox {
    pub(crate) fn send(&self, command: Command) -> Result<(), MediaError> {
        self.sender
            .try_send(command)
            .map_err(|refused| match refused {
                TrySendError::Full(_) => MediaError::Overloaded,
                TrySendError::Disconnected(_) => MediaError::Stopped,
            })?;
        // A counter at its maximum would refuse, and then the thread is awake anyway.
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
        Ok(())
    }

    /// Asks the thread to end; waits for room in the queue if need be.
    pub(crate) fn stop(&self) {
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
        let _ = self.sender.send(Command::Shutdown);
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
    }
}
