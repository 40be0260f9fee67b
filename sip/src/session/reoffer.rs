//! Changing the session: re-INVITE and UPDATE both ways, glare (491), refreshes (RFC 3261 14, RFC 3311, RFC 4028).

use std::time::{Duration, Instant};

use super::{Leg, State, description};
use crate::cause::Release;
use crate::command::CommandError;
use crate::core::Core;
use crate::event::Event;
use crate::headers::name;
use crate::message::Response;
use crate::method::{Method, StatusCode};
use crate::schedule::Due;
use crate::sdp;
use crate::snapshot::Phase;
use crate::transaction::table::{Ack, ClientMachine, ClientOwner, Role};
use crate::transport::Flow;

/// An offer of ours that waits for its answer.
struct Ours {
    /// `None` for a refresh by UPDATE without a body.
    session: Option<Box<sdp::Session>>,
    /// Nobody asked for it: the session timer did.
    refresh: bool,
    transaction: Option<u64>,
    /// When it is sent again after a 491.
    retry_at: Option<Instant>,
    tries: u32,
}

/// An offer of the peer that waits for our answer.
pub(crate) struct Theirs {
    pub(crate) transaction: u64,
    invite: bool,
    offer: Option<Box<sdp::Session>>,
}

/// The session in force and what is being negotiated.
#[derive(Default)]
pub(crate) struct Offers {
    pub(crate) local: Option<Box<sdp::Session>>,
    pub(crate) remote: Option<Box<sdp::Session>>,
    ours: Option<Ours>,
    theirs: Option<Theirs>,
    /// The peer refused UPDATE: refresh by re-INVITE.
    no_update: bool,
}

/// How often a re-offer is repeated after 491.
const GLARE_LIMIT: u32 = 8;

impl Offers {
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.ours.as_ref().and_then(|ours| ours.retry_at)
    }

    pub(super) fn clear(&mut self) {
        self.ours = None;
        self.theirs = None;
    }

    pub(super) fn take_theirs(&mut self) -> Option<Theirs> {
        self.theirs.take()
    }

    /// Whether a transaction is the peer's offer that waits for us.
    pub(crate) fn is_theirs(&self, transaction: u64) -> bool {
        self.theirs
            .as_ref()
            .is_some_and(|theirs| theirs.transaction == transaction)
    }
}

impl Leg {
    /// The application wants another session.
    pub(crate) fn reoffer(
        &mut self,
        core: &mut Core,
        now: Instant,
        offer: &sdp::Session,
    ) -> Result<(), CommandError> {
        if !matches!(self.state, State::Confirmed) {
            return Err(CommandError::State("the leg is not answered"));
        }
        if self.offers.ours.is_some()
            || self.offers.theirs.is_some()
            || self.unacknowledged.is_some()
        {
            return Err(CommandError::Pending);
        }
        let session = Some(Box::new(offer.clone()));
        self.offers.ours = Some(Ours {
            session,
            refresh: false,
            transaction: None,
            retry_at: None,
            tries: 0,
        });
        self.send_offer(core, now);
        Ok(())
    }

    /// Refreshes the session timer. `false` if that must wait.
    pub(super) fn refresh(&mut self, core: &mut Core, now: Instant) -> bool {
        let busy = self.offers.ours.is_some()
            || self.offers.theirs.is_some()
            || self.unacknowledged.is_some();
        if busy || !matches!(self.state, State::Confirmed) {
            return false;
        }
        let update = self
            .dialog
            .as_ref()
            .is_some_and(|dialog| dialog.takes_update)
            && !self.offers.no_update;
        let session = if update {
            None
        } else {
            self.offers.local.clone()
        };
        self.offers.ours = Some(Ours {
            session,
            refresh: true,
            transaction: None,
            retry_at: None,
            tries: 0,
        });
        self.send_offer(core, now);
        true
    }

    /// Sends our open offer: a re-INVITE, or a bare UPDATE for a refresh.
    fn send_offer(&mut self, core: &mut Core, now: Instant) {
        let Some(ours) = &mut self.offers.ours else {
            return;
        };
        ours.retry_at = None;
        ours.tries += 1;
        let session = ours.session.clone();
        let method = if session.is_some() {
            Method::INVITE
        } else {
            Method::UPDATE
        };
        let Some(dialog) = self.dialog.clone() else {
            return;
        };
        let cseq = self.next_cseq();
        let (mut request, flow) = dialog.request(core, method, cseq);
        self.describe(core, &flow, &mut request.headers);
        self.ask_session_timer(&mut request);
        if let Some(session) = session {
            request = request.with_body("application/sdp", session.to_wire());
        }
        self.authorize(core, &mut request);
        let owner = ClientOwner::Leg(self.handle, Role::Reoffer);
        let transaction = core.send_request(now, request, flow, owner, None);
        if let Some(ours) = &mut self.offers.ours {
            ours.transaction = Some(transaction);
        }
    }

    /// The wait after a 491 may be over.
    pub(super) fn on_retry_due(&mut self, core: &mut Core, now: Instant) {
        if self.offers.retry_at().is_none_or(|at| at > now) {
            return;
        }
        if self.offers.theirs.is_some() || self.unacknowledged.is_some() {
            // The peer was faster: give it the time that we would have waited.
            if let Some(ours) = &mut self.offers.ours {
                ours.retry_at = Some(now + Duration::from_millis(100));
            }
            return;
        }
        self.send_offer(core, now);
    }

    /// A response to our re-INVITE or UPDATE, or `None` for a timeout.
    pub(crate) fn on_reoffer_answer(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        response: Option<(&Response, Flow)>,
    ) {
        let current = self
            .offers
            .ours
            .as_ref()
            .is_some_and(|ours| ours.transaction == Some(transaction));
        let Some((response, flow)) = response else {
            if current && self.is_talking() {
                self.offers.ours = None;
                self.fail(core, now, 408, "the peer does not answer within the call");
            }
            return;
        };
        let code = response.status.code();
        if code < 200 {
            // Nobody should have to ring for this: the answer is due within the time of any other request.
            if let Some(entry) = core.clients.get_mut(transaction)
                && let ClientMachine::Invite(machine) = &mut entry.machine
            {
                machine.bound_wait(now);
                let due = entry.machine.next_timeout();
                core.schedule.set(Due::Client(transaction), due);
            }
            return;
        }
        if code < 300 && self.repeat_or_send_ack(core, now, transaction, response, flow) {
            return;
        }
        if !current || !self.is_talking() {
            return;
        }
        match code {
            200..=299 => self.on_reoffer_accepted(core, now, response, flow),
            401 | 407 => {
                match self.retry_with_credentials(core, now, transaction, response, Role::Reoffer) {
                    Some(next) => self.set_offer_transaction(next),
                    None => self.reoffer_failed(core, Release::from_response(response)),
                }
            }
            422 => {
                let again = core
                    .clients
                    .get(transaction)
                    .map(|entry| (entry.request.clone(), entry.flow));
                let again = again.and_then(|(request, flow)| {
                    Some((self.longer_session(&request, response)?, flow))
                });
                let Some((mut request, flow)) = again else {
                    return self.reoffer_failed(core, Release::from_response(response));
                };
                let cseq = self.next_cseq();
                super::set_cseq(&mut request, cseq);
                let owner = ClientOwner::Leg(self.handle, Role::Reoffer);
                let next = core.send_request(now, request, flow, owner, None);
                self.set_offer_transaction(next);
            }
            491 => self.wait_after_glare(core, now, response),
            // 12.2.1.2: the peer has no such dialog any more, or does not answer.
            408 | 481 => {
                self.offers.ours = None;
                self.fail(core, now, code, "the peer has lost the dialog");
            }
            405 | 501
                if self
                    .offers
                    .ours
                    .as_ref()
                    .is_some_and(|ours| ours.refresh && ours.session.is_none()) =>
            {
                self.offers.no_update = true;
                self.offers.ours = None;
                self.refresh(core, now);
            }
            _ => self.reoffer_failed(core, Release::from_response(response)),
        }
    }

    fn set_offer_transaction(&mut self, transaction: u64) {
        if let Some(ours) = &mut self.offers.ours {
            ours.transaction = Some(transaction);
        }
    }

    /// The ACK for a 2xx to a re-INVITE. `true` if this 2xx is only a repetition.
    fn repeat_or_send_ack(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        response: &Response,
        flow: Flow,
    ) -> bool {
        let Some(entry) = core.clients.get(transaction) else {
            return true;
        };
        if entry.request.method != Method::INVITE {
            return false;
        }
        if let Some(ack) = entry.acks.first() {
            let (bytes, flow) = (ack.bytes.clone(), ack.flow);
            core.transmit(now, &flow, bytes);
            return true;
        }
        let invite = entry.request.clone();
        let Some(dialog) = &mut self.dialog else {
            return true;
        };
        dialog.refresh_target(&response.headers, flow);
        let (ack, ack_flow) = dialog.clone().ack(core, &invite);
        let bytes = core.send_ack(now, ack, &ack_flow);
        if let Some(entry) = core.clients.get_mut(transaction) {
            entry.acks.push(Ack {
                remote_tag: String::new(),
                bytes,
                flow: ack_flow,
                held: false,
            });
        }
        false
    }

    fn on_reoffer_accepted(
        &mut self,
        core: &mut Core,
        now: Instant,
        response: &Response,
        flow: Flow,
    ) {
        let Some(ours) = self.offers.ours.take() else {
            return;
        };
        self.auth_tries = 0;
        if let Some(dialog) = &mut self.dialog {
            dialog.refresh_target(&response.headers, flow);
        }
        self.tell_dialog(core, Phase::Confirmed);
        self.start_session_clock(now, &response.headers);
        let Some(session) = ours.session else { return };
        match description(&response.headers, &response.body) {
            Ok(Some(answer)) => {
                let same = self.offers.remote.as_ref() == Some(&answer);
                self.offers.local = Some(session);
                self.offers.remote = Some(answer.clone());
                if !(ours.refresh && same) {
                    core.tell(Event::Reanswered {
                        leg: self.handle,
                        answer,
                    });
                }
            }
            Ok(None) | Err(_) => self.fail(
                core,
                now,
                488,
                "the answer holds no session description that can be read",
            ),
        }
    }

    fn reoffer_failed(&mut self, core: &mut Core, release: Release) {
        let Some(ours) = self.offers.ours.take() else {
            return;
        };
        if !ours.refresh {
            core.tell(Event::ReofferFailed {
                leg: self.handle,
                release,
            });
        }
    }

    /// Glare: both asked at once (RFC 3261 14.1). The owner of the Call-ID waits longer.
    fn wait_after_glare(&mut self, core: &mut Core, now: Instant, response: &Response) {
        let wait = match self.outgoing {
            true => core.random(210, 400),
            false => core.random(0, 200),
        };
        let at = now + Duration::from_millis(wait * 10);
        match &mut self.offers.ours {
            Some(ours) if ours.tries < GLARE_LIMIT => {
                ours.transaction = None;
                ours.retry_at = Some(at);
            }
            _ => self.reoffer_failed(core, Release::from_response(response)),
        }
    }

    /// The peer asks for another session (re-INVITE or UPDATE), or only refreshes.
    pub(super) fn on_offer(&mut self, core: &mut Core, now: Instant, transaction: u64) {
        let Some(entry) = core.servers.get(transaction) else {
            return;
        };
        let (headers, body, flow) = (
            entry.request.headers.clone(),
            entry.request.body.clone(),
            entry.flow,
        );
        let invite = entry.request.method == Method::INVITE;
        if invite {
            if self.offers.theirs.is_some() {
                return self.refuse_with_retry_after(core, now, transaction);
            }
            self.take_as_acknowledged(core, now);
            if !self.is_talking() {
                return core.respond_status(now, transaction, 481);
            }
        }
        let ours_is_open = self
            .offers
            .ours
            .as_ref()
            .is_some_and(|ours| ours.transaction.is_some());
        let our_invite_is_open = ours_is_open
            && self
                .offers
                .ours
                .as_ref()
                .is_some_and(|ours| ours.session.is_some());
        if self
            .unacknowledged
            .as_ref()
            .is_some_and(|ok| ok.offer.is_some())
            || our_invite_is_open
        {
            // A bare UPDATE holds no offer: nothing to collide with.
            if invite || !body.is_empty() {
                return core.respond_status(now, transaction, 491);
            }
        }
        let offer = match description(&headers, &body) {
            Ok(offer) => offer,
            Err(status) => return refuse_description(core, now, transaction, status),
        };
        if let Some(min) = Self::too_small(core.config.session_timer, &headers) {
            if let Some(mut response) =
                core.response(transaction, StatusCode::SESSION_INTERVAL_TOO_SMALL)
            {
                response.headers.push(name::MIN_SE, min.to_string());
                core.respond(now, transaction, response);
            }
            return;
        }
        if let Some(dialog) = &mut self.dialog {
            dialog.refresh_target(&headers, flow);
        }
        self.tell_dialog(core, Phase::Confirmed);
        if !invite && offer.is_none() {
            return self.accept_update(core, now, transaction, None);
        }
        if self.offers.theirs.is_some() {
            return self.refuse_with_retry_after(core, now, transaction);
        }
        let same = offer.is_some() && offer == self.offers.remote;
        self.offers.theirs = Some(Theirs {
            transaction,
            invite,
            offer: offer.clone(),
        });
        if let (true, Some(local)) = (same, self.offers.local.clone()) {
            let _ = self.answer_reoffer(core, now, &local);
            return;
        }
        core.tell(Event::Reoffer {
            leg: self.handle,
            offer,
        });
    }

    fn refuse_with_retry_after(&self, core: &mut Core, now: Instant, transaction: u64) {
        let seconds = core.random(0, 10);
        if let Some(response) = core.response(transaction, StatusCode::SERVER_INTERNAL_ERROR) {
            core.respond(
                now,
                transaction,
                response.header(name::RETRY_AFTER, seconds.to_string()),
            );
        }
    }

    pub(crate) fn answer_reoffer(
        &mut self,
        core: &mut Core,
        now: Instant,
        session: &sdp::Session,
    ) -> Result<(), CommandError> {
        let Some(theirs) = self.offers.theirs.take() else {
            return Err(CommandError::State("the peer has made no offer"));
        };
        let asked_for_offer = theirs.offer.is_none();
        if let Some(offer) = theirs.offer {
            self.offers.remote = Some(offer);
        }
        if theirs.invite {
            let Some(response) = core.response(theirs.transaction, StatusCode::OK) else {
                return Err(CommandError::Gone);
            };
            let offer = asked_for_offer.then(|| Box::new(session.clone()));
            self.accept_invite(core, now, theirs.transaction, response, session, offer);
        } else {
            self.offers.local = Some(Box::new(session.clone()));
            self.accept_update(core, now, theirs.transaction, Some(session));
        }
        Ok(())
    }

    pub(super) fn accept_update(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        session: Option<&sdp::Session>,
    ) {
        let Some(mut response) = core.response(transaction, StatusCode::OK) else {
            return;
        };
        let Some(entry) = core.servers.get(transaction) else {
            return;
        };
        let (flow, headers) = (entry.flow, entry.request.headers.clone());
        self.describe(core, &flow, &mut response.headers);
        self.grant_session_timer(now, &headers, &mut response.headers);
        if let Some(session) = session {
            response = response.with_body("application/sdp", session.to_wire());
        }
        core.respond(now, transaction, response);
    }

    pub(crate) fn refuse_reoffer(
        &mut self,
        core: &mut Core,
        now: Instant,
        status: StatusCode,
    ) -> Result<(), CommandError> {
        if status.code() < 300 {
            return Err(CommandError::Invalid(
                "a refusal wants a status from 300 to 699",
            ));
        }
        let Some(theirs) = self.offers.theirs.take() else {
            return Err(CommandError::State("the peer has made no offer"));
        };
        core.respond_status(now, theirs.transaction, status.code());
        Ok(())
    }

    /// Whether a transaction is the peer's re-offer that waits for the application.
    pub(crate) fn is_their_offer(&self, transaction: u64) -> bool {
        self.offers.is_theirs(transaction)
    }

    /// The application did not answer the peer's request in time; the endpoint has answered 500.
    pub(crate) fn forget_request(&mut self, transaction: u64) {
        if self.offers.is_theirs(transaction) {
            self.offers.theirs = None;
        }
        self.refer.forget(transaction);
    }
}

/// Refuses a body that is no use: 415 says what would be.
pub(crate) fn refuse_description(core: &mut Core, now: Instant, transaction: u64, status: u16) {
    let Some(code) = StatusCode::new(status) else {
        return;
    };
    if let Some(mut response) = core.response(transaction, code) {
        if status == 415 {
            response.headers.push(name::ACCEPT, "application/sdp");
        }
        core.respond(now, transaction, response);
    }
}
