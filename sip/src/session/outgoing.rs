//! Calls we make: INVITE, its responses and forks, CANCEL and its race with the answer, PRACK.

use std::time::{Duration, Instant};

use super::{
    Cancel, Leg, State, bounds::Bounds, description, push_reason, reoffer, set_cseq, timer,
};
use crate::cause::Release;
use crate::command::{CommandError, Hangup, Invite};
use crate::config::SessionTimer;
use crate::core::{ALLOW, Core};
use crate::dialog::Dialog;
use crate::digest;
use crate::event::{EndedBy, Event, LegHandle};
use crate::headers::{CSeq, NameAddr, RAck, name};
use crate::message::{Request, Response};
use crate::method::{Method, StatusCode};
use crate::snapshot::{DialogSnapshot, Phase};
use crate::transaction::table::{Ack, ClientMachine, ClientOwner, Role};
use crate::transport::Flow;

/// How often one call may be begun anew because of 401, 407 or 422.
pub(crate) const ATTEMPT_LIMIT: u32 = 6;

/// The branch of the n-th INVITE of a call. It follows from the first, so that the snapshot taken before the first
/// INVITE is enough to cancel any of them.
pub(crate) fn attempt_branch(first: &str, attempt: u32) -> String {
    match attempt {
        0 => first.to_owned(),
        _ => format!("{first}.{attempt}"),
    }
}

impl Leg {
    /// Makes the INVITE of a new call and what must be durable before it leaves.
    pub(crate) fn prepare(
        core: &mut Core,
        invite: Invite,
    ) -> Result<(Self, DialogSnapshot), CommandError> {
        if matches!(invite.target, crate::uri::Uri::Other(_)) {
            return Err(CommandError::Invalid("the target is neither sip: nor tel:"));
        }
        let flow = core.flow_to(invite.peer)?;
        let handle = LegHandle(core.id());
        let local = invite.from.clone().with_tag(&core.token());
        let remote = invite
            .to
            .clone()
            .unwrap_or_else(|| NameAddr::new(invite.target.clone()));
        let call_id = core.token();
        let branch = core.branch();
        let user = invite
            .contact_user
            .clone()
            .or_else(|| invite.from.uri.user().map(|user| user.into_owned()));
        let contact_user = user.unwrap_or_default();
        let cseq = 1;
        let uri = invite.target.for_request_line();
        let mut request = core.request(Method::INVITE, uri, &local, &remote, &call_id, cseq);
        let mut invite_route = Vec::new();
        for route in &invite.route {
            let value = NameAddr::new(route.clone()).to_wire();
            request.headers.push(name::ROUTE, value.as_str());
            invite_route.push(value);
        }
        let contact = NameAddr::new(core.contact(&flow, &contact_user)).to_wire();
        request.headers.push(name::CONTACT, contact.as_str());
        request.headers.push(name::ALLOW, format!("{ALLOW}, PRACK"));
        request.headers.push(name::ACCEPT, "application/sdp");
        let timer = invite.session_timer.or(core.config.session_timer);
        request.headers.push(
            name::SUPPORTED,
            match core.config.offer_100rel {
                true => "timer, 100rel",
                false => "timer",
            },
        );
        if let Some(timer) = timer {
            request
                .headers
                .push(name::SESSION_EXPIRES, timer.interval.as_secs().to_string());
            request
                .headers
                .push(name::MIN_SE, timer.min.as_secs().to_string());
        }
        for (name, value) in &invite.headers {
            request.headers.push(name, value.as_str());
        }
        let request = request.with_body("application/sdp", invite.offer.to_wire());
        let without_tag = |address: &NameAddr| {
            let mut address = address.clone();
            address.params.remove("tag");
            address.to_wire()
        };
        let snapshot = DialogSnapshot {
            phase: Phase::Calling,
            outgoing: true,
            call_id: call_id.clone(),
            local: without_tag(&local),
            local_tag: local.tag().unwrap_or_default().to_owned(),
            remote: without_tag(&remote),
            remote_tag: None,
            invite_cseq: cseq,
            local_cseq: cseq,
            branch,
            sent_by: core.sent_by(&flow).to_string(),
            request_uri: request.uri.to_wire(),
            contact,
            remote_target: request.uri.to_wire(),
            invite_route,
            route: Vec::new(),
            peer: invite.peer,
        };
        let mut offers = reoffer::Offers::default();
        offers.local = Some(Box::new(invite.offer));
        let leg = Self {
            handle,
            outgoing: true,
            call_id,
            local,
            contact_user,
            digest: invite.credentials.map(digest::Client::new),
            auth_tries: 0,
            cseq,
            state: State::Prepared(Box::new(request), flow),
            early: Vec::new(),
            dialog: None,
            ended: None,
            unacknowledged: None,
            held_ack: None,
            snapshot: Some(snapshot.clone()),
            attempt: 0,
            bounds: Bounds::new(invite.expires, invite.ring_until, invite.not_after),
            offers,
            session_timer: timer::SessionClock::new(timer.unwrap_or(SessionTimer {
                interval: Duration::ZERO,
                min: Duration::from_secs(90),
            })),
            refer: super::refer::Transfers::default(),
        };
        Ok((leg, snapshot))
    }

    /// Sends the prepared INVITE.
    pub(crate) fn send(&mut self, core: &mut Core, now: Instant) -> Result<(), CommandError> {
        match std::mem::replace(&mut self.state, State::Released) {
            State::Prepared(request, flow) if self.bounds.are_over(now) => {
                self.state = State::Prepared(request, flow);
                Err(CommandError::Late)
            }
            State::Prepared(request, flow) => {
                self.send_attempt(core, now, *request, flow);
                Ok(())
            }
            other => {
                self.state = other;
                Err(CommandError::State("the INVITE was sent before"))
            }
        }
    }

    pub(super) fn send_attempt(
        &mut self,
        core: &mut Core,
        now: Instant,
        mut request: Request,
        flow: Flow,
    ) {
        self.bounds.stamp(&mut request, now);
        let first = self
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.branch.clone())
            .unwrap_or_default();
        let first = first.split('.').next().unwrap_or_default();
        let branch = attempt_branch(first, self.attempt);
        let owner = ClientOwner::Leg(self.handle, Role::Invite);
        let transaction = core.send_bounded(now, request, flow, owner, branch.clone(), self.bounds);
        self.state = State::Inviting {
            transaction,
            cancel: Cancel::No,
        };
        let cseq = self.cseq;
        self.tell_snapshot(core, |snapshot| {
            snapshot.branch = branch;
            snapshot.invite_cseq = cseq;
            snapshot.local_cseq = cseq;
            snapshot.phase = Phase::Calling;
            snapshot.remote_tag = None;
        });
    }

    /// Ends an outgoing call that is not answered.
    pub(super) fn cancel(&mut self, core: &mut Core, now: Instant, hangup: Hangup) {
        match &mut self.state {
            State::Prepared(..) => self.released(core, EndedBy::Us, Release::default()),
            State::Inviting {
                transaction,
                cancel: cancel @ Cancel::No,
            } => {
                let transaction = *transaction;
                *cancel = Cancel::Wanted(hangup);
                let Some(entry) = core.clients.get_mut(transaction) else {
                    return;
                };
                let ClientMachine::Invite(invite) = &mut entry.machine else {
                    return;
                };
                if invite.is_proceeding() {
                    self.send_cancel(core, now);
                } else {
                    // Whoever has not heard of the call by now must not hear of it any more. The first response that
                    // comes all the same gets CANCEL, an answer ACK and BYE.
                    invite.resend_no_more();
                    let due = entry.machine.next_timeout();
                    core.schedule
                        .set(crate::schedule::Due::Client(transaction), due);
                }
            }
            _ => {}
        }
    }

    fn send_cancel(&mut self, core: &mut Core, now: Instant) {
        let State::Inviting {
            transaction,
            cancel,
        } = &mut self.state
        else {
            return;
        };
        let Cancel::Wanted(hangup) = *cancel else {
            return;
        };
        *cancel = Cancel::Sent;
        let Some(entry) = core.clients.get_mut(*transaction) else {
            return;
        };
        if let ClientMachine::Invite(machine) = &mut entry.machine {
            machine.bound_wait(now);
        }
        let due = entry.machine.next_timeout();
        let (flow, branch) = (entry.flow, entry.branch.clone());
        let request = cancel_of(&entry.request, hangup);
        core.schedule
            .set(crate::schedule::Due::Client(*transaction), due);
        core.send_with_via(
            now,
            request,
            flow,
            ClientOwner::Leg(self.handle, Role::Cancel),
            branch,
        );
    }

    /// A response to our INVITE.
    pub(crate) fn on_invite_response(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        response: &Response,
        flow: Flow,
    ) {
        match response.status.code() {
            ..=199 => self.on_provisional(core, now, transaction, response, flow),
            200..=299 => self.on_answer(core, now, transaction, response, flow),
            _ => self.on_refusal(core, now, transaction, response),
        }
    }

    fn on_provisional(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        response: &Response,
        flow: Flow,
    ) {
        let cancelling = match &self.state {
            State::Inviting {
                transaction: current,
                cancel,
            } if *current == transaction => *cancel != Cancel::No,
            _ => return,
        };
        let status = response.status.code();
        let answer = description(&response.headers, &response.body).unwrap_or_default();
        let mut fresh = true;
        if status > 100
            && let Some(at) = self.early_dialog(core, transaction, response, flow)
        {
            fresh = self.acknowledge_provisional(core, now, at, response);
            self.tell_dialog(core, Phase::Early);
        }
        if cancelling {
            self.send_cancel(core, now);
        } else if status > 100 && fresh {
            core.tell(Event::Progress {
                leg: self.handle,
                status,
                answer,
            });
        } else if status == 100 {
            core.tell(Event::Trying { leg: self.handle });
        }
    }

    /// The early dialog of a provisional response, new or known. Forks beyond the limit are followed no further.
    fn early_dialog(
        &mut self,
        core: &Core,
        transaction: u64,
        response: &Response,
        flow: Flow,
    ) -> Option<usize> {
        let to = response.headers.to().ok()?;
        let tag = to.tag()?;
        if let Some(at) = self
            .early
            .iter()
            .position(|dialog| dialog.remote_tag() == tag)
        {
            if let Some(dialog) = self.early.get_mut(at) {
                dialog.refresh_target(&response.headers, flow);
            }
            return Some(at);
        }
        if self.early.len() >= core.config.limits.forks {
            return None;
        }
        let request = &core.clients.get(transaction)?.request;
        self.early
            .push(Dialog::from_response(request, response, flow)?);
        Some(self.early.len() - 1)
    }

    /// Sends PRACK for a reliable provisional response (RFC 3262 4). `false` for a repetition or one out of order.
    fn acknowledge_provisional(
        &mut self,
        core: &mut Core,
        now: Instant,
        at: usize,
        response: &Response,
    ) -> bool {
        let headers = &response.headers;
        let required = headers
            .require()
            .is_ok_and(|tags| tags.iter().any(|tag| tag.eq_ignore_ascii_case("100rel")));
        let (Ok(Some(rseq)), true, Ok(cseq)) = (headers.rseq(), required, headers.cseq()) else {
            return true;
        };
        let Some(dialog) = self.early.get_mut(at) else {
            return true;
        };
        if dialog.rseq.is_some_and(|last| rseq != last.wrapping_add(1)) {
            return false;
        }
        dialog.rseq = Some(rseq);
        let dialog = dialog.clone();
        let number = self.next_cseq();
        let (mut request, flow) = dialog.request(core, Method::PRACK, number);
        let rack = RAck {
            rseq,
            cseq: CSeq::new(cseq.number, Method::INVITE),
        };
        request.headers.push(name::RACK, rack.to_string());
        self.authorize(core, &mut request);
        core.send_request(
            now,
            request,
            flow,
            ClientOwner::Leg(self.handle, Role::Prack),
            None,
        );
        true
    }

    fn on_answer(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        response: &Response,
        flow: Flow,
    ) {
        let tag = response
            .headers
            .to()
            .ok()
            .and_then(|to| to.tag().map(str::to_owned))
            .unwrap_or_default();
        let Some(entry) = core.clients.get(transaction) else {
            return;
        };
        if let Some(ack) = entry.acks.iter().find(|ack| ack.remote_tag == tag) {
            let (bytes, flow) = (ack.bytes.clone(), ack.flow);
            if !ack.held {
                core.transmit(now, &flow, bytes);
            }
            return;
        }
        if entry.acks.len() >= core.config.limits.forks {
            return;
        }
        let invite = entry.request.clone();
        let known = self
            .early
            .iter()
            .find(|dialog| dialog.remote_tag() == tag)
            .cloned();
        let dialog = match known {
            Some(mut dialog) => {
                dialog.confirm(response, flow);
                Some(dialog)
            }
            None => Dialog::from_response(&invite, response, flow),
        };
        let Some(dialog) = dialog else { return };
        let (ack, ack_flow) = dialog.ack(core, &invite);
        let bytes = core.ack_bytes(ack, &ack_flow);
        let held = core.config.hold_ack
            && matches!(&self.state, State::Inviting { transaction: current, cancel: Cancel::No } if *current == transaction);
        if held {
            self.held_ack = Some(transaction);
        } else {
            core.transmit(now, &ack_flow, bytes.clone());
        }
        if let Some(entry) = core.clients.get_mut(transaction) {
            entry.acks.push(Ack {
                remote_tag: tag,
                bytes,
                flow: ack_flow,
                held,
            });
        }
        let cancel = match &self.state {
            State::Inviting {
                transaction: current,
                cancel,
            } if *current == transaction => *cancel,
            // Another fork answered before, or the call is over: this one is hung up.
            _ => {
                self.send_bye(core, now, &dialog, Hangup::normal(), Role::ForkBye);
                return;
            }
        };
        self.dialog = Some(dialog);
        self.early.clear();
        self.state = State::Confirmed;
        self.auth_tries = 0;
        self.tell_dialog(core, Phase::Confirmed);
        if cancel != Cancel::No {
            // The answer was faster than the CANCEL.
            let hangup = if let Cancel::Wanted(hangup) = cancel {
                hangup
            } else {
                Hangup::normal()
            };
            self.ended
                .get_or_insert((EndedBy::Us, Release::from_status(487)));
            self.bye(core, now, hangup);
            return;
        }
        match description(&response.headers, &response.body) {
            Ok(Some(answer)) => {
                self.offers.remote = Some(answer.clone());
                self.start_session_clock(now, &response.headers);
                core.tell(Event::Answered {
                    leg: self.handle,
                    received: now,
                    answer,
                });
            }
            Ok(None) | Err(_) => self.fail(
                core,
                now,
                488,
                "the answer holds no session description that can be read",
            ),
        }
    }
}

/// The CANCEL of an INVITE: same request URI, Via, Call-ID, From, To, CSeq number and Route (RFC 3261 9.1).
fn cancel_of(invite: &Request, hangup: Hangup) -> Request {
    let mut cancel = Request::new(Method::CANCEL, invite.uri.clone());
    for header in [
        name::VIA,
        name::MAX_FORWARDS,
        name::FROM,
        name::TO,
        name::CALL_ID,
        name::ROUTE,
        name::USER_AGENT,
    ] {
        for value in invite.headers.all(header) {
            cancel.headers.push(header, value);
        }
    }
    let cseq = invite.headers.cseq().map(|cseq| cseq.number).unwrap_or(1);
    set_cseq(&mut cancel, cseq);
    push_reason(&mut cancel, hangup);
    cancel
}

/// A status that is certain to be one.
pub(crate) fn status(code: u16) -> StatusCode {
    StatusCode::new(code).unwrap_or(StatusCode::SERVER_INTERNAL_ERROR)
}
