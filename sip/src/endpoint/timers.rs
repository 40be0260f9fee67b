//! What is done when a timer is due.

use std::time::Instant;

use super::Endpoint;
use crate::schedule::Due;
use crate::transaction::table::ServerOwner;
use crate::transport::Flow;

impl Endpoint {
    pub(super) fn on_due(&mut self, now: Instant, due: Due) {
        match due {
            Due::Client(id) => self.on_client_due(now, id),
            Due::Server(id) => self.on_server_due(now, id),
            Due::Leg(handle) => {
                if let Some(leg) = self.legs.get_mut(&handle)
                    && !leg.is_released()
                {
                    leg.on_timeout(&mut self.core, now);
                }
                self.after_leg(handle);
            }
            Due::Account(handle) => {
                if let Some(account) = self.accounts.get_mut(&handle) {
                    account.on_timeout(&mut self.core, now);
                }
                self.after_account(handle);
            }
            Due::Leftover(handle) => {
                if let Some(leftover) = self.leftovers.get_mut(&handle) {
                    leftover.on_timeout(&mut self.core, now);
                    self.core
                        .schedule
                        .set(Due::Leftover(handle), leftover.next_timeout());
                }
            }
            Due::Keepalive(transport) => {
                if let Some(stream) = self.core.streams.get(&transport) {
                    let flow = Flow {
                        transport,
                        kind: stream.kind,
                        address: stream.remote,
                    };
                    self.core.transmit(now, &flow, b"\r\n\r\n".to_vec());
                }
            }
        }
    }

    fn on_client_due(&mut self, now: Instant, id: u64) {
        let Some(entry) = self.core.clients.get_mut(id) else {
            return;
        };
        let step = entry.machine.on_timeout(now);
        let due = entry.machine.next_timeout();
        let over = entry.machine.is_over();
        if step.timed_out {
            return self.on_client_failure(now, id, 408);
        }
        if over {
            return self.core.drop_client(id);
        }
        if step.resend {
            if entry.bounds.stamp(&mut entry.request, now) {
                entry.bytes = entry.request.to_bytes();
            }
            let (flow, bytes) = (entry.flow, entry.bytes.clone());
            let not_after = entry.bounds.not_after();
            self.core.transmit_before(now, &flow, bytes, not_after);
        }
        self.core.schedule.set(Due::Client(id), due);
    }

    fn on_server_due(&mut self, now: Instant, id: u64) {
        let Some(entry) = self.core.servers.get_mut(id) else {
            return;
        };
        let step = entry.machine.on_timeout(now);
        if entry.machine.is_over() {
            return self.core.drop_server(id);
        }
        if step.resend {
            let (flow, bytes) = (entry.flow, entry.response.clone());
            self.core.transmit(now, &flow, bytes);
        }
        let Some(entry) = self.core.servers.get_mut(id) else {
            return;
        };
        if entry.machine.is_pending() && entry.answer_by.is_some_and(|at| at <= now) {
            entry.answer_by = None;
            let owner = entry.owner;
            return self.answer_for_nobody(now, id, owner);
        }
        let due = entry.next_timeout();
        self.core.schedule.set(Due::Server(id), due);
    }

    /// The application did not answer a request in time.
    fn answer_for_nobody(&mut self, now: Instant, id: u64, owner: ServerOwner) {
        match owner {
            ServerOwner::Leg(handle) => {
                if let Some(leg) = self.legs.get_mut(&handle) {
                    leg.ring_out(&mut self.core, now);
                    leg.forget_request(id);
                }
                self.core.respond_status(now, id, 500);
                self.after_leg(handle);
            }
            ServerOwner::Request(request) => {
                self.requests.remove(&request);
                self.core.set_server_owner(id, ServerOwner::Nobody);
                self.core.respond_status(now, id, 500);
            }
            ServerOwner::Nobody => self.core.respond_status(now, id, 500),
        }
    }
}
