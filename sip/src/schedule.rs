//! Which part of the endpoint wants to be woken when.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::event::{AccountHandle, LeftoverHandle, LegHandle};
use crate::transport::TransportId;

/// What a timer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Due {
    Client(u64),
    Server(u64),
    Leg(LegHandle),
    Account(AccountHandle),
    Leftover(LeftoverHandle),
    Keepalive(TransportId),
}

/// At most one instant for each part.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    order: BTreeSet<(Instant, Due)>,
    at: HashMap<Due, Instant>,
}

impl Schedule {
    /// Sets, moves or (with `None`) removes the timer of one part.
    pub(crate) fn set(&mut self, due: Due, at: Option<Instant>) {
        let old = match at {
            Some(at) => self.at.insert(due, at),
            None => self.at.remove(&due),
        };
        if let Some(old) = old {
            self.order.remove(&(old, due));
        }
        if let Some(at) = at {
            self.order.insert((at, due));
        }
    }

    /// The earliest instant.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out the earliest timer that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Due> {
        let (at, due) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.order.pop_first();
        self.at.remove(&due);
        Some(due)
    }

    pub(crate) fn len(&self) -> usize {
        self.at.len()
    }
}
