//! What an earlier process left behind (after a crash): an INVITE that still rings is cancelled, an answered call is
//! hung up, a 2xx that still arrives gets ACK and BYE.
//!
//! Nothing but a [`DialogSnapshot`] is known. The CANCEL repeats branch, CSeq, request URI and Via of the INVITE; since
//! the snapshot may be older than a second INVITE with credentials, the following attempts are cancelled too.

use std::time::Instant;

use crate::command::{CommandError, Hangup};
use crate::core::Core;
use crate::dialog::Dialog;
use crate::digest::{self, Login};
use crate::event::{Event, LeftoverHandle};
use crate::headers::{NameAddr, Via, name};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::session::outgoing::{ATTEMPT_LIMIT, attempt_branch};
use crate::session::refused::ack_of_refusal;
use crate::session::{push_reason, set_cseq};
use crate::snapshot::{DialogSnapshot, Phase};
use crate::transaction::table::ClientOwner;
use crate::transport::Flow;
use crate::uri::Uri;

/// How many INVITEs after the one of the snapshot may have left before its successor was durable.
const ATTEMPTS_BEYOND: u32 = 1;
/// How far the BYE's CSeq lies above the last one known, because not every request told a new snapshot.
pub(crate) const CSEQ_GAP: u32 = 1_000;
/// How often a challenged BYE is repeated.
const AUTH_LIMIT: u32 = 3;

enum Stage {
    Cancelling {
        transaction: u64,
        attempt: u32,
        last: u32,
    },
    /// A final response to the INVITE may still come.
    Waiting {
        until: Instant,
    },
    HangingUp {
        transaction: u64,
    },
    Over,
}

pub(crate) struct Leftover {
    handle: LeftoverHandle,
    pub(crate) call_id: String,
    pub(crate) local_tag: String,
    /// The INVITE as far as it is known: what CANCEL and ACK repeat.
    invite: Request,
    first_branch: String,
    flow: Flow,
    dialog: Option<Dialog>,
    cseq: u32,
    invite_cseq: u32,
    digest: Option<digest::Client>,
    auth_tries: u32,
    /// The peer accepted a CANCEL.
    cancelled: bool,
    peer_answered: bool,
    acks: Vec<(String, Vec<u8>, Flow)>,
    stage: Stage,
}

impl Leftover {
    pub(crate) fn begin(
        core: &mut Core,
        now: Instant,
        snapshot: &DialogSnapshot,
        credentials: Option<Login>,
    ) -> Result<Self, CommandError> {
        let uri = |text: &str| {
            Uri::parse(text).map_err(|_| CommandError::Invalid("a URI of the snapshot is none"))
        };
        let address = |text: &str| {
            NameAddr::parse(text)
                .map_err(|_| CommandError::Invalid("an address of the snapshot is none"))
        };
        let flow = core.flow_to(snapshot.peer)?;
        let local = address(&snapshot.local)?.with_tag(&snapshot.local_tag);
        let remote = address(&snapshot.remote)?;
        let request_uri = uri(&snapshot.request_uri)?;
        let mut invite = core.request(
            Method::INVITE,
            request_uri,
            &local,
            &remote,
            &snapshot.call_id,
            snapshot.invite_cseq,
        );
        for route in &snapshot.invite_route {
            invite.headers.push(name::ROUTE, route.as_str());
        }
        let dialog = match &snapshot.remote_tag {
            Some(tag) => {
                let remote = if tag.is_empty() {
                    remote
                } else {
                    remote.with_tag(tag)
                };
                let route = snapshot
                    .route
                    .iter()
                    .map(|route| address(route))
                    .collect::<Result<_, _>>()?;
                Some(Dialog {
                    call_id: snapshot.call_id.clone(),
                    local,
                    remote,
                    remote_target: uri(&snapshot.remote_target)?,
                    route,
                    remote_cseq: None,
                    flow,
                    rseq: None,
                    takes_update: false,
                })
            }
            None => None,
        };
        let (first, attempt) = match snapshot.branch.split_once('.') {
            Some((first, attempt)) => (first, attempt.parse().unwrap_or(0)),
            None => (snapshot.branch.as_str(), 0),
        };
        let attempt: u32 = if attempt < ATTEMPT_LIMIT { attempt } else { 0 };
        let mut leftover = Self {
            handle: LeftoverHandle(core.id()),
            call_id: snapshot.call_id.clone(),
            local_tag: snapshot.local_tag.clone(),
            invite,
            first_branch: first.to_owned(),
            flow,
            dialog,
            cseq: snapshot
                .local_cseq
                .max(snapshot.invite_cseq)
                .saturating_add(CSEQ_GAP)
                & 0x7fff_ffff,
            invite_cseq: snapshot.invite_cseq.saturating_sub(attempt),
            digest: credentials.map(digest::Client::new),
            auth_tries: 0,
            cancelled: false,
            peer_answered: false,
            acks: Vec::new(),
            stage: Stage::Over,
        };
        match snapshot.phase {
            Phase::Confirmed => leftover.hang_up(core, now),
            Phase::Calling | Phase::Early if snapshot.outgoing => {
                let sent_by = core.sent_by(&flow).to_string();
                if sent_by != snapshot.sent_by {
                    // The daemon came back on another address: no CANCEL can match, but a BYE can.
                    leftover.after_cancels(core, now);
                } else {
                    let last = (attempt + ATTEMPTS_BEYOND).min(ATTEMPT_LIMIT - 1);
                    leftover.send_cancel(core, now, attempt, last);
                }
            }
            Phase::Calling | Phase::Early => leftover.stage = Stage::Waiting { until: now },
        }
        Ok(leftover)
    }

    pub(crate) const fn handle(&self) -> LeftoverHandle {
        self.handle
    }

    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    pub(crate) const fn next_timeout(&self) -> Option<Instant> {
        match self.stage {
            Stage::Waiting { until } => Some(until),
            _ => None,
        }
    }

    pub(crate) fn on_timeout(&mut self, core: &mut Core, now: Instant) {
        if self.next_timeout().is_some_and(|at| at <= now) {
            match self.dialog {
                Some(_) => self.hang_up(core, now),
                None => self.end(core, self.cancelled),
            }
        }
    }

    fn send_cancel(&mut self, core: &mut Core, now: Instant, attempt: u32, last: u32) {
        let branch = attempt_branch(&self.first_branch, attempt);
        let mut cancel = self.attempt_request(core, attempt);
        cancel.method = Method::CANCEL;
        set_cseq(&mut cancel, self.invite_cseq.saturating_add(attempt));
        push_reason(&mut cancel, Hangup::normal());
        let transaction = core.send_with_via(
            now,
            cancel,
            self.flow,
            ClientOwner::Leftover(self.handle),
            branch,
        );
        self.stage = Stage::Cancelling {
            transaction,
            attempt,
            last,
        };
    }

    /// The INVITE of one attempt, without body and credentials.
    fn attempt_request(&self, core: &Core, attempt: u32) -> Request {
        let mut request = self.invite.clone();
        let branch = attempt_branch(&self.first_branch, attempt);
        request
            .headers
            .push_front(name::VIA, core.via_text(&self.flow, &branch));
        set_cseq(&mut request, self.invite_cseq.saturating_add(attempt));
        request
    }

    /// All CANCELs are answered, or none was.
    fn after_cancels(&mut self, core: &mut Core, now: Instant) {
        let timers = core.config.timers;
        if self.dialog.is_some() && !self.cancelled {
            // It is not ringing any more: it was answered while nobody listened, or is gone. A BYE ends the former.
            self.hang_up(core, now);
        } else if self.dialog.is_some() {
            // 200 to CANCEL is no proof (9.2: an answered INVITE gives it too). Without a 487 soon, BYE.
            self.stage = Stage::Waiting {
                until: now + timers.t2,
            };
        } else if self.peer_answered {
            self.stage = Stage::Waiting {
                until: now + timers.span(),
            };
        } else {
            self.end(core, false);
        }
    }

    fn hang_up(&mut self, core: &mut Core, now: Instant) {
        let Some(dialog) = self.dialog.clone() else {
            return;
        };
        self.cseq = (self.cseq + 1) & 0x7fff_ffff;
        let (mut request, flow) = dialog.request(core, Method::BYE, self.cseq);
        push_reason(&mut request, Hangup::normal());
        if let Some(digest) = &mut self.digest {
            digest.authorize(&mut request, &core.token());
        }
        let transaction =
            core.send_request(now, request, flow, ClientOwner::Leftover(self.handle), None);
        self.stage = Stage::HangingUp { transaction };
    }

    /// A response to our CANCEL or BYE; `None` if none came.
    pub(crate) fn on_answer(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        response: Option<&Response>,
    ) {
        let code = response.map(|response| response.status.code());
        if code.is_some_and(|code| code < 200) {
            return;
        }
        self.peer_answered |= code.is_some();
        match self.stage {
            Stage::Cancelling {
                transaction: current,
                attempt,
                last,
            } if current == transaction => {
                self.cancelled |= code.is_some_and(|code| code < 300);
                if code.is_some() && attempt < last {
                    self.send_cancel(core, now, attempt + 1, last);
                } else {
                    self.after_cancels(core, now);
                }
            }
            Stage::HangingUp {
                transaction: current,
            } if current == transaction => {
                if let Some(response) = response
                    && self.hang_up_with_credentials(core, now, transaction, response)
                {
                    return;
                }
                self.end(core, code.is_some_and(|code| code < 300));
            }
            _ => {}
        }
    }

    fn hang_up_with_credentials(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        response: &Response,
    ) -> bool {
        if !matches!(response.status.code(), 401 | 407) || self.auth_tries >= AUTH_LIMIT {
            return false;
        }
        let Some((mut request, flow)) = core
            .clients
            .get(transaction)
            .map(|entry| (entry.request.clone(), entry.flow))
        else {
            return false;
        };
        let Some(digest) = &mut self.digest else {
            return false;
        };
        if digest
            .answer(&mut request, response, &core.token())
            .is_err()
        {
            return false;
        }
        self.auth_tries += 1;
        self.cseq = (self.cseq + 1) & 0x7fff_ffff;
        set_cseq(&mut request, self.cseq);
        let transaction =
            core.send_request(now, request, flow, ClientOwner::Leftover(self.handle), None);
        self.stage = Stage::HangingUp { transaction };
        true
    }

    /// A response to the INVITE of the earlier process.
    pub(crate) fn on_invite_response(
        &mut self,
        core: &mut Core,
        now: Instant,
        response: &Response,
        flow: Flow,
    ) {
        self.peer_answered = true;
        let (Ok(cseq), Ok(to)) = (response.headers.cseq(), response.headers.to()) else {
            return;
        };
        let tag = to.tag().unwrap_or_default().to_owned();
        let attempt = cseq
            .number
            .saturating_sub(self.invite_cseq)
            .min(ATTEMPT_LIMIT);
        let invite = self.attempt_request(core, attempt);
        match response.status.code() {
            ..=199 => {
                if !tag.is_empty() && self.dialog.is_none() {
                    self.dialog = Dialog::from_response(&invite, response, flow);
                }
            }
            200..=299 => {
                if let Some((_, bytes, flow)) = self.acks.iter().find(|(have, ..)| *have == tag) {
                    let (bytes, flow) = (bytes.clone(), *flow);
                    core.transmit(now, &flow, bytes);
                    return;
                }
                if self.acks.len() >= core.config.limits.forks {
                    return;
                }
                let Some(dialog) = Dialog::from_response(&invite, response, flow) else {
                    return;
                };
                let (ack, ack_flow) = dialog.ack(core, &invite);
                let bytes = core.send_ack(now, ack, &ack_flow);
                self.acks.push((tag.clone(), bytes, ack_flow));
                let hanging_up_this = matches!(self.stage, Stage::HangingUp { .. })
                    && self
                        .dialog
                        .as_ref()
                        .is_some_and(|dialog| dialog.remote_tag() == tag);
                if !hanging_up_this {
                    self.dialog = Some(dialog);
                    self.hang_up(core, now);
                }
            }
            _ => {
                // The ACK must carry the Via of that very INVITE, which the response repeats.
                let mut refused = invite;
                if let Ok(via) = response.headers.top_via() {
                    refused.headers.set(name::VIA, plain(via).to_wire());
                }
                core.transmit(now, &self.flow.clone(), ack_of_refusal(&refused, response));
                let challenged = matches!(response.status.code(), 401 | 407 | 422);
                if matches!(self.stage, Stage::Waiting { .. } | Stage::Cancelling { .. })
                    && !challenged
                {
                    self.end(core, true);
                }
            }
        }
    }

    /// The peer hangs up by itself.
    pub(crate) fn on_bye(&mut self, core: &mut Core) {
        self.end(core, true);
    }

    fn end(&mut self, core: &mut Core, released: bool) {
        if self.is_over() {
            return;
        }
        self.stage = Stage::Over;
        let (leftover, call_id, peer_answered) =
            (self.handle, self.call_id.clone(), self.peer_answered);
        core.tell(match released {
            true => Event::LeftoverReleased { leftover, call_id },
            false => Event::LeftoverGone {
                leftover,
                call_id,
                peer_answered,
            },
        });
    }
}

/// A Via as we sent it, without what the peer added.
fn plain(mut via: Via) -> Via {
    via.params.remove("received");
    if via.params.has("rport") {
        via.params.set("rport", None);
    }
    via
}
