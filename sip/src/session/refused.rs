//! An INVITE of ours that is refused or never answered: begun anew where the refusal asks for more, else the end of the leg.

use std::time::Instant;

use super::{AUTH_LIMIT, Cancel, Leg, State, outgoing::ATTEMPT_LIMIT, set_cseq};
use crate::cause::Release;
use crate::core::Core;
use crate::event::EndedBy;
use crate::headers::name;
use crate::message::{Request, Response};
use crate::method::Method;

impl Leg {
    pub(super) fn on_refusal(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        response: &Response,
    ) {
        let cancel = match &self.state {
            State::Inviting {
                transaction: current,
                cancel,
            } if *current == transaction => *cancel,
            _ => return,
        };
        let by = match cancel {
            Cancel::No if self.try_again(core, now, transaction, response) => return,
            Cancel::No if self.bounds.are_over(now) && may_be_asked_again(response) => {
                EndedBy::Late
            }
            Cancel::No => EndedBy::Peer,
            _ => EndedBy::Us,
        };
        self.released(core, by, Release::from_response(response));
    }

    /// Sends the INVITE anew with credentials (401, 407) or a longer session timer (422), unless it is too late for it.
    fn try_again(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        response: &Response,
    ) -> bool {
        if self.attempt + 1 >= ATTEMPT_LIMIT
            || self.auth_tries >= AUTH_LIMIT
            || !core.has_room()
            || self.bounds.are_over(now)
        {
            return false;
        }
        let request = match response.status.code() {
            401 | 407 => self.answered_challenge(core, transaction, response),
            422 => core
                .clients
                .get(transaction)
                .and_then(|entry| self.longer_session(&entry.request, response)),
            _ => None,
        };
        let Some(mut request) = request else {
            return false;
        };
        let Some(flow) = core.clients.get(transaction).map(|entry| entry.flow) else {
            return false;
        };
        self.attempt += 1;
        self.early.clear();
        let cseq = self.next_cseq();
        set_cseq(&mut request, cseq);
        self.send_attempt(core, now, request, flow);
        true
    }

    /// The INVITE got no final response, or its transport failed.
    pub(crate) fn on_invite_failure(&mut self, core: &mut Core, transaction: u64, status: u16) {
        if let State::Inviting {
            transaction: current,
            cancel,
        } = &self.state
            && *current == transaction
        {
            let by = if *cancel == Cancel::No {
                EndedBy::Fault
            } else {
                EndedBy::Us
            };
            let mut release = Release::from_status(status);
            release.text = Some(
                if status == 408 {
                    "no final response in time"
                } else {
                    "the transport failed"
                }
                .into(),
            );
            self.released(core, by, release);
        }
    }
}

/// Whether a refusal asks for the same INVITE with something more.
fn may_be_asked_again(response: &Response) -> bool {
    matches!(response.status.code(), 401 | 407 | 422)
}

/// The ACK of an INVITE's 3xx to 6xx (RFC 3261 17.1.1.3).
pub(crate) fn ack_of_refusal(invite: &Request, response: &Response) -> Vec<u8> {
    let mut ack = Request::new(Method::ACK, invite.uri.clone());
    if let Some(via) = invite.headers.get(name::VIA) {
        ack.headers.push(name::VIA, via);
    }
    for header in [
        name::MAX_FORWARDS,
        name::FROM,
        name::CALL_ID,
        name::ROUTE,
        name::USER_AGENT,
    ] {
        for value in invite.headers.all(header) {
            ack.headers.push(header, value);
        }
    }
    if let Some(to) = response.headers.get(name::TO) {
        ack.headers.push(name::TO, to);
    }
    let cseq = invite.headers.cseq().map(|cseq| cseq.number).unwrap_or(1);
    set_cseq(&mut ack, cseq);
    ack.to_bytes()
}
