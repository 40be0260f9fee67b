//! What the peer asks within a dialog: BYE, re-INVITE, UPDATE, INFO, REFER, NOTIFY, OPTIONS.

use std::time::{Duration, Instant};

use super::{Leg, State};
use crate::cause::Release;
use crate::command::CommandError;
use crate::core::{ALLOW, Core};
use crate::event::{EndedBy, Event};
use crate::headers::name;
use crate::message::{Request, Response};
use crate::method::{Method, StatusCode};
use crate::transaction::table::Role;

impl Leg {
    /// Whether a request with this From tag belongs to one of our dialogs.
    pub(crate) fn knows(&self, remote_tag: &str) -> bool {
        self.dialog
            .iter()
            .chain(&self.early)
            .any(|dialog| dialog.remote_tag() == remote_tag)
    }

    /// A request in the dialog, standing in a server transaction of this leg. ACK and CANCEL go elsewhere.
    pub(crate) fn on_request(&mut self, core: &mut Core, now: Instant, transaction: u64) {
        let Some(entry) = core.servers.get(transaction) else {
            return;
        };
        let request = entry.request.clone();
        let flow = entry.flow;
        let Ok(cseq) = request.headers.cseq() else {
            return;
        };
        let tag = request
            .headers
            .from()
            .ok()
            .and_then(|from| from.tag().map(str::to_owned))
            .unwrap_or_default();
        let dialogs = self.dialog.iter_mut().chain(&mut self.early);
        for dialog in dialogs.filter(|dialog| dialog.remote_tag() == tag) {
            if dialog.remote_cseq.is_some_and(|last| cseq.number < last) {
                return core.respond_status(now, transaction, 500);
            }
            dialog.remote_cseq = Some(cseq.number);
            if flow.kind == dialog.flow.kind {
                dialog.flow = flow;
            }
        }
        if request.method == Method::BYE {
            return self.on_bye(core, now, transaction, &request);
        }
        if !self.is_talking() {
            return match self.state {
                State::Ending | State::Released => core.respond_status(now, transaction, 481),
                // A refresh of the target; with an offer it collides with that of the INVITE (RFC 3311 5.2).
                _ if request.method == Method::UPDATE && request.body.is_empty() => {
                    self.accept_update(core, now, transaction, None);
                }
                _ if request.method == Method::UPDATE => core.respond_status(now, transaction, 491),
                _ => core.respond_status(now, transaction, 480),
            };
        }
        match request.method {
            Method::INVITE | Method::UPDATE => self.on_offer(core, now, transaction),
            Method::INFO => self.on_info(core, now, transaction, &request),
            Method::REFER => self.on_refer(core, now, transaction),
            Method::NOTIFY => self.on_notify(core, now, transaction),
            Method::OPTIONS => core.respond_status(now, transaction, 200),
            _ => {
                if let Some(response) = core.response(transaction, StatusCode::METHOD_NOT_ALLOWED) {
                    core.respond(now, transaction, response.header(name::ALLOW, ALLOW));
                }
            }
        }
    }

    fn on_bye(&mut self, core: &mut Core, now: Instant, transaction: u64, bye: &Request) {
        core.respond_status(now, transaction, 200);
        let release = Release::from_request(bye);
        match self.state {
            // The caller may end an early dialog by BYE (15.1.2): its INVITE still gets an answer.
            State::Ringing { transaction } => {
                core.respond_status(now, transaction, 487);
                self.released(core, EndedBy::Peer, release);
            }
            State::Answered { .. } | State::Confirmed => {
                self.acknowledge(core, now);
                self.refuse_open_requests(core, now);
                self.released(core, EndedBy::Peer, release);
            }
            // Both hung up at once; who was first is told by `ended`.
            State::Ending => self.released(core, EndedBy::Us, release),
            // A callee must not end an early dialog by BYE (15): the INVITE's own answer will.
            State::Prepared(..) | State::Inviting { .. } | State::Released => {}
        }
    }

    fn on_info(&mut self, core: &mut Core, now: Instant, transaction: u64, request: &Request) {
        let content = request.headers.content_type().ok().flatten();
        let body = String::from_utf8_lossy(&request.body);
        let digit = match content {
            Some(content) if content.is("application", "dtmf-relay") => read_relay(&body),
            Some(content) if content.is("application", "dtmf") => {
                read_digit(body.trim()).map(|digit| (digit, None))
            }
            Some(_) => return core.respond_status(now, transaction, 415),
            // RFC 6086: an INFO without a body does nothing.
            None => None,
        };
        core.respond_status(now, transaction, 200);
        if let Some((digit, duration)) = digit {
            core.tell(Event::Digit {
                leg: self.handle,
                digit,
                duration,
            });
        }
    }

    pub(crate) fn info(
        &mut self,
        core: &mut Core,
        now: Instant,
        content_type: &str,
        body: &[u8],
    ) -> Result<(), CommandError> {
        if !matches!(self.state, State::Confirmed) {
            return Err(CommandError::State("the leg is not answered"));
        }
        self.send_in_dialog(core, now, Method::INFO, Role::Info, |request| {
            request.with_body(content_type, body)
        });
        Ok(())
    }

    /// The answer to an INFO, NOTIFY or PRACK, or to the BYE of a fork: only a challenge needs anything.
    pub(crate) fn on_minor_answer(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        response: Option<&Response>,
        role: Role,
    ) {
        if let Some(response) = response
            && !(self.is_released() && role != Role::ForkBye)
        {
            self.retry_with_credentials(core, now, transaction, response, role);
        }
    }
}

/// `Signal=5` and `Duration=160` on lines of their own.
fn read_relay(body: &str) -> Option<(char, Option<Duration>)> {
    let field = |wanted: &str| {
        body.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case(wanted)
                .then(|| value.trim())
        })
    };
    let duration = field("Duration").and_then(|ms| ms.parse::<u32>().ok());
    Some((
        read_digit(field("Signal")?)?,
        duration.map(|ms| Duration::from_millis(ms.into())),
    ))
}

/// One digit, by name or by its RFC 4733 number (10 is `*`, 11 is `#`).
fn read_digit(text: &str) -> Option<char> {
    match text {
        "10" => return Some('*'),
        "11" => return Some('#'),
        _ => {}
    }
    let mut chars = text.chars();
    let digit = chars.next()?.to_ascii_uppercase();
    (chars.next().is_none() && matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D')).then_some(digit)
}
