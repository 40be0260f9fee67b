//! Calls we take: INVITE received, ringing, the answer and its ACK, CANCEL received.

use std::time::{Duration, Instant};

use super::{Leg, State, Unacknowledged, description, outgoing, refer, reoffer, timer};
use crate::cause::{Reason, Release};
use crate::command::{CommandError, Hangup};
use crate::config::SessionTimer;
use crate::core::Core;
use crate::dialog::Dialog;
use crate::event::{EndedBy, Event, LegHandle};
use crate::headers::{NameAddr, name};
use crate::message::{Request, Response};
use crate::method::StatusCode;
use crate::sdp;
use crate::snapshot::{DialogSnapshot, Phase};
use crate::uri::Uri;

impl Leg {
    /// The leg of an INVITE that stands in server transaction `transaction`.
    ///
    /// # Errors
    /// The status to refuse it with.
    pub(crate) fn take(
        core: &mut Core,
        transaction: u64,
    ) -> Result<(Self, Option<Box<sdp::Session>>), u16> {
        let Some(entry) = core.servers.get(transaction) else {
            return Err(500);
        };
        let (request, tag, flow) = (&entry.request, &entry.tag, entry.flow);
        let offer = description(&request.headers, &request.body)?;
        let dialog = Dialog::from_request(request, tag, flow).ok_or(400_u16)?;
        let timer = core.config.session_timer;
        let contact_user = request
            .uri
            .user()
            .map(|user| user.into_owned())
            .unwrap_or_default();
        let mut offers = reoffer::Offers::default();
        offers.remote.clone_from(&offer);
        let handle = LegHandle(core.id());
        let leg = Self {
            handle,
            outgoing: false,
            call_id: dialog.call_id.clone(),
            local: dialog.local.clone(),
            contact_user,
            digest: None,
            auth_tries: 0,
            cseq: 0,
            state: State::Ringing { transaction },
            early: Vec::new(),
            dialog: Some(dialog),
            ended: None,
            unacknowledged: None,
            held_ack: None,
            snapshot: None,
            attempt: 0,
            bounds: super::bounds::Bounds::default(),
            offers,
            session_timer: timer::SessionClock::new(timer.unwrap_or(SessionTimer {
                interval: Duration::ZERO,
                min: Duration::from_secs(90),
            })),
            refer: refer::Transfers::default(),
        };
        core.own_server(transaction, handle);
        Ok((leg, offer))
    }

    const fn ringing(&self) -> Result<u64, CommandError> {
        match self.state {
            State::Ringing { transaction } => Ok(transaction),
            _ => Err(CommandError::State(
                "the leg is no incoming call that waits for an answer",
            )),
        }
    }

    pub(crate) fn ring(
        &mut self,
        core: &mut Core,
        now: Instant,
        status: StatusCode,
        answer: Option<&sdp::Session>,
    ) -> Result<(), CommandError> {
        let transaction = self.ringing()?;
        if !(101..=199).contains(&status.code()) {
            return Err(CommandError::Invalid(
                "ringing wants a status from 101 to 199",
            ));
        }
        let Some(mut response) = core.response(transaction, status) else {
            return Err(CommandError::Gone);
        };
        self.describe_response(core, &mut response);
        if let Some(answer) = answer {
            response = response.with_body("application/sdp", answer.to_wire());
        }
        core.respond(now, transaction, response);
        Ok(())
    }

    pub(crate) fn answer(
        &mut self,
        core: &mut Core,
        now: Instant,
        session: &sdp::Session,
    ) -> Result<(), CommandError> {
        let transaction = self.ringing()?;
        let Some(response) = core.response(transaction, StatusCode::OK) else {
            return Err(CommandError::Gone);
        };
        let offer = self
            .offers
            .remote
            .is_none()
            .then(|| Box::new(session.clone()));
        self.state = State::Answered { hangup: None };
        self.tell_answered(core, transaction);
        self.accept_invite(core, now, transaction, response, session, offer);
        Ok(())
    }

    /// Sends a 2xx with a session description to an INVITE or re-INVITE and repeats it until the ACK.
    pub(super) fn accept_invite(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        mut response: Response,
        session: &sdp::Session,
        offer: Option<Box<sdp::Session>>,
    ) {
        let Some(entry) = core.servers.get(transaction) else {
            return;
        };
        let (flow, request) = (entry.flow, entry.request.headers.clone());
        self.describe_response(core, &mut response);
        response.headers.set(name::SUPPORTED, "timer");
        self.grant_session_timer(now, &request, &mut response.headers);
        let response = response.with_body("application/sdp", session.to_wire());
        if offer.is_none() {
            self.offers.local = Some(Box::new(session.clone()));
        }
        let timers = core.config.timers;
        core.respond(now, transaction, response);
        let bytes = core
            .servers
            .get(transaction)
            .map(|entry| entry.response.clone())
            .unwrap_or_default();
        self.unacknowledged = Some(Unacknowledged {
            cseq: request.cseq().map(|cseq| cseq.number).unwrap_or_default(),
            bytes,
            flow,
            next: now + timers.t1,
            interval: timers.t1,
            give_up: now + timers.span(),
            offer,
        });
    }

    /// From here on only a BYE ends the dialog: that must survive a crash.
    fn tell_answered(&mut self, core: &mut Core, transaction: u64) {
        let (Some(entry), Some(dialog)) = (core.servers.get(transaction), &self.dialog) else {
            return;
        };
        let without_tag = |address: &NameAddr| {
            let mut address = address.clone();
            address.params.remove("tag");
            address.to_wire()
        };
        let snapshot = DialogSnapshot {
            phase: Phase::Confirmed,
            outgoing: false,
            call_id: self.call_id.clone(),
            local: without_tag(&dialog.local),
            local_tag: entry.tag.clone(),
            remote: without_tag(&dialog.remote),
            remote_tag: Some(dialog.remote_tag().to_owned()),
            invite_cseq: dialog.remote_cseq.unwrap_or_default() & 0x7fff_ffff,
            local_cseq: self.cseq,
            branch: entry
                .request
                .headers
                .top_via()
                .ok()
                .and_then(|via| via.branch().map(str::to_owned))
                .unwrap_or("-".into()),
            sent_by: core.sent_by(&entry.flow).to_string(),
            request_uri: entry.request.uri.to_wire(),
            contact: NameAddr::new(core.contact(&entry.flow, &self.contact_user)).to_wire(),
            remote_target: dialog.remote_target.to_wire(),
            invite_route: Vec::new(),
            route: dialog.route.iter().map(NameAddr::to_wire).collect(),
            peer: entry.flow.peer(),
        };
        self.snapshot = Some(snapshot.clone());
        core.tell(Event::Snapshot {
            leg: self.handle,
            snapshot: Box::new(snapshot),
        });
    }

    fn describe_response(&self, core: &Core, response: &mut Response) {
        let flow = self.dialog.as_ref().map(|dialog| dialog.flow);
        if let Some(flow) = flow {
            self.describe(core, &flow, &mut response.headers);
        }
    }

    /// Refuses with a final status and more headers; the leg is over.
    pub(crate) fn refuse(
        &mut self,
        core: &mut Core,
        now: Instant,
        status: StatusCode,
        q850: Option<u8>,
        headers: &[(&str, String)],
    ) -> Result<(), CommandError> {
        let transaction = self.ringing()?;
        if status.code() < 300 {
            return Err(CommandError::Invalid(
                "a refusal wants a status from 300 to 699",
            ));
        }
        let Some(mut response) = core.response(transaction, status) else {
            return Err(CommandError::Gone);
        };
        for (name, value) in headers {
            response.headers.push(name, value.as_str());
        }
        if let Some(cause) = q850 {
            response
                .headers
                .push(name::REASON, Reason::q850(cause, "").to_wire());
        }
        core.respond(now, transaction, response);
        let release = Release {
            status: Some(status.code()),
            q850,
            text: None,
        };
        self.released(core, EndedBy::Us, release);
        Ok(())
    }

    pub(crate) fn redirect(
        &mut self,
        core: &mut Core,
        now: Instant,
        targets: &[Uri],
    ) -> Result<(), CommandError> {
        if targets.is_empty() {
            return Err(CommandError::Invalid("a redirection wants a target"));
        }
        let contacts: Vec<_> = targets
            .iter()
            .map(|uri| (name::CONTACT, NameAddr::new(uri.clone()).to_wire()))
            .collect();
        self.refuse(core, now, outgoing::status(302), None, &contacts)
    }

    /// Nobody answered in time.
    pub(crate) fn ring_out(&mut self, core: &mut Core, now: Instant) {
        if let Ok(transaction) = self.ringing() {
            core.respond_status(now, transaction, 480);
            let mut release = Release::from_status(480);
            release.text = Some("nobody answered the call".into());
            self.released(core, EndedBy::Fault, release);
        }
    }

    /// The peer sent CANCEL for the INVITE (9.2).
    pub(crate) fn on_cancelled(&mut self, core: &mut Core, now: Instant, cancel: &Request) {
        if let Ok(transaction) = self.ringing() {
            core.respond_status(now, transaction, 487);
            let mut release = Release::from_request(cancel);
            release.status = Some(487);
            self.released(core, EndedBy::Peer, release);
        }
    }

    /// An ACK within the dialog.
    pub(crate) fn on_ack(&mut self, core: &mut Core, now: Instant, ack: &Request) {
        let Ok(cseq) = ack.headers.cseq() else { return };
        let Some(ok) = self.unacknowledged.take_if(|ok| ok.cseq == cseq.number) else {
            return;
        };
        let initial = matches!(self.state, State::Answered { .. });
        let hangup = match &self.state {
            State::Answered { hangup } => *hangup,
            State::Confirmed => None,
            _ => return,
        };
        self.state = State::Confirmed;
        if let Some(hangup) = hangup {
            self.bye(core, now, hangup);
            return;
        }
        let mut answer = None;
        if let Some(offer) = ok.offer {
            let Ok(Some(session)) = description(&ack.headers, &ack.body) else {
                self.fail(
                    core,
                    now,
                    488,
                    "the ACK holds no session description that can be read",
                );
                return;
            };
            self.offers.local = Some(offer);
            self.offers.remote = Some(session.clone());
            answer = Some(session);
        }
        match (initial, answer) {
            (true, answer) => core.tell(Event::Acknowledged {
                leg: self.handle,
                answer,
            }),
            (false, Some(answer)) => core.tell(Event::Reanswered {
                leg: self.handle,
                answer,
            }),
            (false, None) => {}
        }
    }

    /// A new re-INVITE came although our 2xx got no ACK yet: the peer has it, or it could not ask.
    pub(super) fn take_as_acknowledged(&mut self, core: &mut Core, now: Instant) {
        if self
            .unacknowledged
            .as_ref()
            .is_none_or(|ok| ok.offer.is_some())
        {
            return;
        }
        self.unacknowledged = None;
        if let State::Answered { hangup } = self.state {
            self.state = State::Confirmed;
            match hangup {
                Some(hangup) => self.bye(core, now, hangup),
                None => core.tell(Event::Acknowledged {
                    leg: self.handle,
                    answer: None,
                }),
            }
        }
    }

    /// The application hangs up, whatever the state.
    pub(crate) fn hang_up(&mut self, core: &mut Core, now: Instant, hangup: Hangup) {
        match &mut self.state {
            State::Prepared(..) | State::Inviting { .. } => self.cancel(core, now, hangup),
            State::Ringing { .. } => {
                let status = hangup
                    .status
                    .and_then(StatusCode::new)
                    .filter(|status| status.code() >= 300);
                let status = status.unwrap_or(StatusCode::TEMPORARILY_UNAVAILABLE);
                let _ = self.refuse(core, now, status, hangup.q850, &[]);
            }
            State::Answered { hangup: pending } => {
                pending.get_or_insert(hangup);
                self.refuse_open_requests(core, now);
            }
            State::Confirmed => self.bye(core, now, hangup),
            State::Ending | State::Released => {}
        }
    }
}
