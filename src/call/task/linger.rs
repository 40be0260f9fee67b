//! After the end of a call: the PBX confirms what was released, the recording is sealed, the journal is written. The agent
//! is free by then; only a stopping daemon waits for this.

use std::time::{Duration, Instant};

use super::{CallTask, Happened, sleep, work::Done};
use crate::call::machine::Leg;

/// How long the call stays for the PBX's answer to BYE or CANCEL; after that only the journal waits for it.
const LINGER: Duration = Duration::from_secs(5);

impl CallTask {
    pub(super) async fn linger(mut self) {
        let limit = self.now() + LINGER;
        loop {
            let legs = self.agent.sip.is_some() || self.customer.sip.is_some();
            let preparing = self.agent.preparing || self.customer.preparing;
            if self.work.is_empty() && !preparing && (!legs || self.now() >= limit) {
                break;
            }
            // Waiting for a seal has no limit: a daemon that stops must not leave it half done.
            let until = (legs && self.now() < limit).then_some(limit);
            let happened = self.wait_after(until).await;
            self.on(happened).await;
            self.ready.clear();
        }
        let released = self.agent.sip.is_none() && self.customer.sip.is_none();
        let Self {
            agent,
            customer,
            journal,
            journal_writer,
            ..
        } = self;
        // What the PBX has not released yet is the journal's now; this task does not wait for that.
        drop((agent, customer, journal));
        if released {
            let _ = journal_writer.await;
        }
    }

    async fn wait_after(&mut self, until: Option<Instant>) -> Happened {
        tokio::select! {
            event = self.agent.event() => Happened::Leg(Leg::Agent, event),
            event = self.customer.event() => Happened::Leg(Leg::Customer, event),
            Some(done) = self.work.join_next() => Happened::Done(done.unwrap_or(Done::Panicked)),
            () = sleep(until) => Happened::Timeout,
        }
    }
}
