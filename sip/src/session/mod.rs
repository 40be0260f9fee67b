//! One leg: our side of one INVITE session, from the INVITE to the last response.
//!
//! [`outgoing`] makes calls, [`refused`] is what becomes of those that are not taken, [`incoming`] takes calls, [`within`]
//! handles what the peer asks in the dialog, [`reoffer`] changes the session, [`timer`] keeps it alive (RFC 4028),
//! [`refer`] transfers. Here: the state they share, and the two ways out: [`Leg::bye`] and [`Leg::released`].

pub(crate) mod bounds;
pub(crate) mod incoming;
pub(crate) mod outgoing;
pub(crate) mod refer;
pub(crate) mod refused;
pub(crate) mod reoffer;
pub(crate) mod timer;
pub(crate) mod within;

use std::time::{Duration, Instant};

use crate::cause::{Reason, Release};
use crate::command::Hangup;
use crate::core::{ALLOW, Core};
use crate::dialog::Dialog;
use crate::digest;
use crate::event::{EndedBy, Event, LegHandle};
use crate::headers::{NameAddr, name};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::sdp;
use crate::snapshot::{DialogSnapshot, Phase};
use crate::transaction::table::{ClientOwner, Role};
use crate::transport::Flow;

/// How often one request is sent again with new credentials.
const AUTH_LIMIT: u32 = 5;

/// Where a leg is.
pub(crate) enum State {
    /// Outgoing: made, nothing sent.
    Prepared(Box<Request>, Flow),
    /// Outgoing: the INVITE is on its way or rings.
    Inviting { transaction: u64, cancel: Cancel },
    /// Incoming: not answered yet.
    Ringing { transaction: u64 },
    /// Incoming: 2xx sent, no ACK yet. A hang-up waits for it (RFC 3261 15).
    Answered { hangup: Option<Hangup> },
    /// The dialog stands.
    Confirmed,
    /// Our BYE is under way.
    Ending,
    /// Over; only repetitions are still answered.
    Released,
}

/// How far the cancelling of an outgoing INVITE is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancel {
    No,
    /// Asked for, but no provisional response allows it yet (RFC 3261 9.1).
    Wanted(Hangup),
    Sent,
}

/// A 2xx repeated until its ACK comes (RFC 3261 13.3.1.4).
pub(crate) struct Unacknowledged {
    cseq: u32,
    bytes: Vec<u8>,
    flow: Flow,
    next: Instant,
    interval: Duration,
    give_up: Instant,
    /// It carried our offer, the ACK carries the answer.
    offer: Option<Box<sdp::Session>>,
}

pub(crate) struct Leg {
    pub(crate) handle: LegHandle,
    pub(crate) outgoing: bool,
    pub(crate) call_id: String,
    /// Our From or To, with our tag.
    pub(crate) local: NameAddr,
    contact_user: String,
    digest: Option<digest::Client>,
    auth_tries: u32,
    cseq: u32,
    pub(crate) state: State,
    /// The early dialogs of an outgoing INVITE.
    early: Vec<Dialog>,
    /// The dialog of an incoming call, or the one that answered.
    pub(crate) dialog: Option<Dialog>,
    /// Why it ends, told when the peer has confirmed.
    ended: Option<(EndedBy, Release)>,
    unacknowledged: Option<Unacknowledged>,
    /// The INVITE transaction whose answer is not acknowledged yet, see `Config::hold_ack`.
    held_ack: Option<u64>,
    /// What a restart needs, as told last.
    snapshot: Option<DialogSnapshot>,
    /// How often the INVITE was sent anew (credentials, 422).
    attempt: u32,
    /// Until when an INVITE that begins the call may leave.
    bounds: bounds::Bounds,
    offers: reoffer::Offers,
    session_timer: timer::SessionClock,
    refer: refer::Transfers,
}

impl Leg {
    pub(crate) const fn is_released(&self) -> bool {
        matches!(self.state, State::Released)
    }

    /// Whether the peer may still be told something.
    const fn is_talking(&self) -> bool {
        matches!(self.state, State::Confirmed | State::Answered { .. })
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let unacknowledged = self
            .unacknowledged
            .as_ref()
            .map(|ok| ok.next.min(ok.give_up));
        let talking = self.is_talking();
        let reoffer = self.offers.retry_at().filter(|_| talking);
        let clock = self.session_timer.next().filter(|_| talking);
        [unacknowledged, reoffer, clock].into_iter().flatten().min()
    }

    pub(crate) fn on_timeout(&mut self, core: &mut Core, now: Instant) {
        self.on_unacknowledged(core, now);
        if self.is_talking() {
            self.on_retry_due(core, now);
        }
        if self.is_talking() {
            self.on_session_clock(core, now);
        }
    }

    fn on_unacknowledged(&mut self, core: &mut Core, now: Instant) {
        let t2 = core.config.timers.t2;
        let Some(ok) = &mut self.unacknowledged else {
            return;
        };
        if ok.give_up <= now {
            self.unacknowledged = None;
            if self.is_talking() {
                self.fail(core, now, 408, "no ACK came for our answer");
            }
        } else if ok.next <= now {
            ok.interval = ok.interval.saturating_mul(2).min(t2);
            ok.next = now + ok.interval;
            let (flow, bytes) = (ok.flow, ok.bytes.clone());
            core.transmit(now, &flow, bytes);
        }
    }

    fn next_cseq(&mut self) -> u32 {
        self.cseq = (self.cseq + 1) & 0x7fff_ffff;
        self.cseq
    }

    /// Ends the leg for the application. The endpoint forgets it with its last transaction.
    fn released(&mut self, core: &mut Core, by: EndedBy, release: Release) {
        if self.is_released() {
            return;
        }
        self.state = State::Released;
        self.unacknowledged = None;
        self.offers.clear();
        self.early.clear();
        let (by, release) = self.ended.take().unwrap_or((by, release));
        core.tell(Event::Released {
            leg: self.handle,
            by,
            release,
        });
    }

    /// Ends an answered leg by BYE because of `status`, which nobody asked for.
    fn fail(&mut self, core: &mut Core, now: Instant, status: u16, text: &str) {
        let mut release = Release::from_status(status);
        release.text = Some(text.to_owned());
        self.ended.get_or_insert((EndedBy::Fault, release));
        self.bye(
            core,
            now,
            Hangup {
                status: None,
                q850: Some(crate::cause::q850::RECOVERY_ON_TIMER_EXPIRY),
            },
        );
    }

    /// Sends the ACK that was held back.
    pub(crate) fn acknowledge(&mut self, core: &mut Core, now: Instant) {
        let held = self.held_ack.take();
        let Some(entry) = held.and_then(|transaction| core.clients.get_mut(transaction)) else {
            return;
        };
        if let Some(ack) = entry.acks.iter_mut().find(|ack| ack.held) {
            ack.held = false;
            let (bytes, flow) = (ack.bytes.clone(), ack.flow);
            core.transmit(now, &flow, bytes);
        }
    }

    /// Sends BYE in the dialog and waits for its answer.
    fn bye(&mut self, core: &mut Core, now: Instant, hangup: Hangup) {
        self.acknowledge(core, now);
        self.refuse_open_requests(core, now);
        self.unacknowledged = None;
        let Some(dialog) = self.dialog.clone() else {
            self.released(core, EndedBy::Us, Release::default());
            return;
        };
        self.ended.get_or_insert((
            EndedBy::Us,
            Release {
                q850: hangup.q850,
                ..Release::default()
            },
        ));
        self.state = State::Ending;
        self.send_bye(core, now, &dialog, hangup, Role::Bye);
    }

    fn send_bye(
        &mut self,
        core: &mut Core,
        now: Instant,
        dialog: &Dialog,
        hangup: Hangup,
        role: Role,
    ) {
        let cseq = self.next_cseq();
        let (mut request, flow) = dialog.request(core, Method::BYE, cseq);
        push_reason(&mut request, hangup);
        self.authorize(core, &mut request);
        core.send_request(
            now,
            request,
            flow,
            ClientOwner::Leg(self.handle, role),
            None,
        );
    }

    /// Sends a request in the confirmed dialog.
    fn send_in_dialog(
        &mut self,
        core: &mut Core,
        now: Instant,
        method: Method,
        role: Role,
        fill: impl FnOnce(Request) -> Request,
    ) -> bool {
        let Some(dialog) = self.dialog.clone() else {
            return false;
        };
        let cseq = self.next_cseq();
        let (request, flow) = dialog.request(core, method, cseq);
        let mut request = fill(request);
        self.authorize(core, &mut request);
        core.send_request(
            now,
            request,
            flow,
            ClientOwner::Leg(self.handle, role),
            None,
        );
        true
    }

    fn authorize(&mut self, core: &mut Core, request: &mut Request) {
        if let Some(digest) = &mut self.digest {
            digest.authorize(request, &core.token());
        }
    }

    /// Sends a challenged request again with credentials. `None` if that is of no use.
    fn retry_with_credentials(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        response: &Response,
        role: Role,
    ) -> Option<u64> {
        let mut request = self.answered_challenge(core, transaction, response)?;
        let cseq = self.next_cseq();
        set_cseq(&mut request, cseq);
        let flow = core.clients.get(transaction)?.flow;
        Some(core.send_request(
            now,
            request,
            flow,
            ClientOwner::Leg(self.handle, role),
            None,
        ))
    }

    fn answered_challenge(
        &mut self,
        core: &mut Core,
        transaction: u64,
        response: &Response,
    ) -> Option<Request> {
        if !matches!(response.status.code(), 401 | 407) || self.auth_tries >= AUTH_LIMIT {
            return None;
        }
        let mut request = core.clients.get(transaction)?.request.clone();
        let cnonce = core.token();
        self.digest
            .as_mut()?
            .answer(&mut request, response, &cnonce)
            .ok()?;
        self.auth_tries += 1;
        Some(request)
    }

    /// The answer to a BYE came, or none did.
    pub(crate) fn on_bye_answer(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        response: Option<&Response>,
    ) {
        let goes_on = response.is_some_and(|response| {
            response.status.is_provisional()
                || self
                    .retry_with_credentials(core, now, transaction, response, Role::Bye)
                    .is_some()
        });
        if goes_on {
            return;
        }
        self.released(core, EndedBy::Us, Release::default());
    }

    /// Refuses what the application has not answered yet, because the dialog ends.
    fn refuse_open_requests(&mut self, core: &mut Core, now: Instant) {
        if let Some(theirs) = self.offers.take_theirs() {
            core.respond_status(now, theirs.transaction, 487);
        }
        if let Some(transaction) = self.refer.take_request() {
            core.respond_status(now, transaction, 487);
        }
    }

    /// Tells the newest snapshot if it differs from the last one.
    fn tell_snapshot(&mut self, core: &mut Core, change: impl FnOnce(&mut DialogSnapshot)) {
        let Some(old) = &self.snapshot else { return };
        let mut snapshot = old.clone();
        change(&mut snapshot);
        if snapshot != *old {
            self.snapshot = Some(snapshot.clone());
            core.tell(Event::Snapshot {
                leg: self.handle,
                snapshot: Box::new(snapshot),
            });
        }
    }

    /// Tells the snapshot of the dialog as it stands now.
    fn tell_dialog(&mut self, core: &mut Core, phase: Phase) {
        let dialog = match phase {
            Phase::Confirmed => self.dialog.clone(),
            _ => self.early.first().cloned(),
        };
        let Some(dialog) = dialog else { return };
        let cseq = self.cseq;
        self.tell_snapshot(core, |snapshot| {
            snapshot.phase = phase;
            snapshot.remote_tag = Some(dialog.remote_tag().to_owned());
            snapshot.remote_target = dialog.remote_target.to_wire();
            snapshot.route = dialog.route.iter().map(NameAddr::to_wire).collect();
            snapshot.local_cseq = snapshot.local_cseq.max(cseq);
            snapshot.peer = dialog.flow.peer();
        });
    }

    /// Contact, Allow and Supported of a request or response that makes or refreshes the dialog.
    fn describe(&self, core: &Core, flow: &Flow, headers: &mut crate::headers::Headers) {
        let contact = NameAddr::new(core.contact(flow, &self.contact_user));
        headers.set(name::CONTACT, contact.to_wire());
        headers.set(name::ALLOW, ALLOW);
    }
}

pub(crate) fn set_cseq(request: &mut Request, cseq: u32) {
    let value = format!("{cseq} {}", request.method);
    request.headers.set(name::CSEQ, value);
}

pub(crate) fn push_reason(request: &mut Request, hangup: Hangup) {
    if let Some(cause) = hangup.q850 {
        request
            .headers
            .push(name::REASON, Reason::q850(cause, "").to_wire());
    }
}

/// The session description in a body: `Ok(None)` for no body, `Err` with the status for one that is no use.
pub(crate) fn description(
    headers: &crate::headers::Headers,
    body: &[u8],
) -> Result<Option<Box<sdp::Session>>, u16> {
    if body.is_empty() {
        return Ok(None);
    }
    match headers.content_type() {
        Ok(Some(content)) if content.is_sdp() => sdp::Session::parse(body)
            .map(|session| Some(Box::new(session)))
            .map_err(|_| 400),
        Ok(None) | Err(_) => Err(400),
        Ok(Some(_)) => Err(415),
    }
}
