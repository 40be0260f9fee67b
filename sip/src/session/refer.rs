//! Transfers (RFC 3515): REFER sent and received, and the NOTIFYs that tell how they go.

use std::time::Instant;

use super::{Leg, State};
use crate::command::CommandError;
use crate::core::Core;
use crate::event::Event;
use crate::headers::{NameAddr, name};
use crate::message::Response;
use crate::method::{Method, StatusCode};
use crate::transaction::table::Role;

/// The transfers of one leg: one in each direction at a time.
#[derive(Default)]
pub(crate) struct Transfers {
    /// Our REFER is under way or its NOTIFYs are awaited.
    ours: bool,
    /// The peer's REFER, waiting for the application.
    request: Option<u64>,
    /// The peer waits for NOTIFYs.
    subscribed: bool,
}

impl Transfers {
    pub(super) fn take_request(&mut self) -> Option<u64> {
        self.request.take()
    }

    pub(super) fn forget(&mut self, transaction: u64) {
        self.request.take_if(|request| *request == transaction);
    }
}

impl Leg {
    pub(crate) fn refer(
        &mut self,
        core: &mut Core,
        now: Instant,
        target: &NameAddr,
    ) -> Result<(), CommandError> {
        if !matches!(self.state, State::Confirmed) {
            return Err(CommandError::State("the leg is not answered"));
        }
        if self.refer.ours {
            return Err(CommandError::Pending);
        }
        self.refer.ours = true;
        let referred_by = {
            let mut by = self.local.clone();
            by.params.remove("tag");
            by.to_wire()
        };
        let contact = self.dialog.as_ref().map(|dialog| dialog.flow);
        let contact =
            contact.map(|flow| NameAddr::new(core.contact(&flow, &self.contact_user)).to_wire());
        self.send_in_dialog(core, now, Method::REFER, Role::Refer, |request| {
            let request = request
                .header(name::REFER_TO, target.to_wire())
                .header(name::REFERRED_BY, referred_by);
            match contact {
                Some(contact) => request.header(name::CONTACT, contact),
                None => request,
            }
        });
        Ok(())
    }

    /// The answer to our REFER, or `None` for none.
    pub(crate) fn on_refer_answer(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        response: Option<&Response>,
    ) {
        let status = match response {
            Some(response) if response.status.code() < 200 => return,
            Some(response) => {
                if self
                    .retry_with_credentials(core, now, transaction, response, Role::Refer)
                    .is_some()
                {
                    return;
                }
                response.status.code()
            }
            None => 408,
        };
        if status >= 300 && self.refer.ours && !self.is_released() {
            self.refer.ours = false;
            core.tell(Event::ReferProgress {
                leg: self.handle,
                status,
                ended: true,
            });
        }
    }

    /// NOTIFY in the dialog: how our transfer goes.
    pub(super) fn on_notify(&mut self, core: &mut Core, now: Instant, transaction: u64) {
        let Some(entry) = core.servers.get(transaction) else {
            return;
        };
        let headers = &entry.request.headers;
        let event = headers.text(name::EVENT).unwrap_or_default();
        let is_refer = event
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .eq_ignore_ascii_case("refer");
        if !is_refer || !self.refer.ours {
            let status = if is_refer { 481 } else { 489 };
            return core.respond_status(now, transaction, status);
        }
        let state = headers
            .text(name::SUBSCRIPTION_STATE)
            .unwrap_or_default()
            .to_ascii_lowercase();
        let fragment = String::from_utf8_lossy(&entry.request.body);
        let status = fragment
            .split_ascii_whitespace()
            .nth(1)
            .and_then(|code| code.parse::<u16>().ok());
        let status = status
            .filter(|status| (100..=699).contains(status))
            .unwrap_or(100);
        let ended = state.starts_with("terminated") || status >= 200;
        core.respond_status(now, transaction, 200);
        if ended {
            self.refer.ours = false;
        }
        core.tell(Event::ReferProgress {
            leg: self.handle,
            status,
            ended,
        });
    }

    /// REFER in the dialog: the peer wants somebody else called.
    pub(super) fn on_refer(&mut self, core: &mut Core, now: Instant, transaction: u64) {
        let Some(entry) = core.servers.get(transaction) else {
            return;
        };
        let refer_to = match entry.request.headers.refer_to() {
            Ok(Some(refer_to)) => refer_to,
            _ => return core.respond_status(now, transaction, 400),
        };
        if self.refer.request.is_some() || self.refer.subscribed {
            return core.respond_status(now, transaction, 491);
        }
        self.refer.request = Some(transaction);
        let replaces = refer_to
            .uri
            .as_sip()
            .and_then(|uri| uri.header("Replaces").map(|text| text.into_owned()));
        core.tell(Event::Refer {
            leg: self.handle,
            refer_to: Box::new(refer_to),
            replaces,
        });
    }

    pub(crate) fn accept_refer(
        &mut self,
        core: &mut Core,
        now: Instant,
    ) -> Result<(), CommandError> {
        let transaction = self
            .refer
            .take_request()
            .ok_or(CommandError::State("the peer asks for no transfer"))?;
        let Some(mut response) = core.response(transaction, StatusCode::ACCEPTED) else {
            return Err(CommandError::Gone);
        };
        if let Some(flow) = self.dialog.as_ref().map(|dialog| dialog.flow) {
            self.describe(core, &flow, &mut response.headers);
        }
        core.respond(now, transaction, response);
        self.refer.subscribed = true;
        self.notify_refer(core, now, StatusCode::new(100).ok_or(CommandError::Gone)?)
    }

    pub(crate) fn refuse_refer(
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
        let transaction = self
            .refer
            .take_request()
            .ok_or(CommandError::State("the peer asks for no transfer"))?;
        core.respond_status(now, transaction, status.code());
        Ok(())
    }

    pub(crate) fn notify_refer(
        &mut self,
        core: &mut Core,
        now: Instant,
        status: StatusCode,
    ) -> Result<(), CommandError> {
        if !self.refer.subscribed || !self.is_talking() {
            return Err(CommandError::State(
                "the peer does not wait for news of a transfer",
            ));
        }
        let state = match status.is_final() {
            true => "terminated;reason=noresource",
            false => "active;expires=60",
        };
        if status.is_final() {
            self.refer.subscribed = false;
        }
        let fragment = format!("SIP/2.0 {} {}\r\n", status.code(), status.reason());
        let contact = self.dialog.as_ref().map(|dialog| dialog.flow);
        let contact =
            contact.map(|flow| NameAddr::new(core.contact(&flow, &self.contact_user)).to_wire());
        self.send_in_dialog(core, now, Method::NOTIFY, Role::Notify, |request| {
            let request = request
                .header(name::EVENT, "refer")
                .header(name::SUBSCRIPTION_STATE, state)
                .with_body("message/sipfrag;version=2.0", fragment);
            match contact {
                Some(contact) => request.header(name::CONTACT, contact),
                None => request,
            }
        });
        Ok(())
    }
}
