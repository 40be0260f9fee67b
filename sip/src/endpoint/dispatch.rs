//! Whom a message, a timer or a failure concerns (RFC 3261 8.2, 17.1.3, 17.2.3).

use std::time::Instant;

use super::Endpoint;
use crate::core::{ALLOW, server_machine};
use crate::event::{Event, Incoming, RegisterRequest, RequestHandle};
use crate::framing::Received;
use crate::headers::{Contacts, Via, name};
use crate::message::{Message, Request, Response};
use crate::method::{Method, StatusCode};
use crate::schedule::Due;
use crate::session::Leg;
use crate::session::refused::ack_of_refusal;
use crate::session::reoffer::refuse_description;
use crate::transaction::table::{
    ClientOwner, Role, ServerEntry, ServerMachine, ServerOwner, merge_key, server_key,
};
use crate::transport::{Flow, TransportKind};
use crate::uri::Uri;

/// The extensions a peer may require of us (RFC 3261 8.2.2.3).
const EXTENSIONS: [&str; 1] = ["timer"];

impl Endpoint {
    pub(super) fn receive(&mut self, now: Instant, received: Received, flow: Flow) {
        match received {
            Received::Message(Message::Request(request)) => self.on_request(now, request, flow),
            Received::Message(Message::Response(response)) => {
                self.on_response(now, &response, flow)
            }
            Received::Ping if flow.kind.is_reliable() => {
                self.core.transmit(now, &flow, b"\r\n".to_vec())
            }
            Received::Ping | Received::Pong => {}
            Received::Broken(broken) => {
                let tag = self.core.token();
                if let Some(mut response) = broken.response(&tag) {
                    let Ok(mut via) = response.headers.top_via() else {
                        return;
                    };
                    let back = answer_flow(&mut via, flow);
                    response.headers.set_top_via(&via);
                    self.core.transmit(now, &back, response.to_bytes());
                }
            }
        }
    }

    // -- responses

    fn on_response(&mut self, now: Instant, response: &Response, flow: Flow) {
        let (Ok(via), Ok(cseq)) = (response.headers.top_via(), response.headers.cseq()) else {
            return;
        };
        let found = via
            .branch()
            .and_then(|branch| self.core.clients.find(branch, &cseq.method));
        let Some(id) = found else {
            self.on_stray_response(now, response, flow);
            return;
        };
        let Some(entry) = self.core.clients.get_mut(id) else {
            return;
        };
        // The branch alone finds the transaction (17.1.3), but a response copies the request's Call-ID and CSeq
        // (8.2.6.2): one that does not is of a peer, or a forger, that has not read the request.
        let asked = &entry.request.headers;
        if asked.call_id().ok() != response.headers.call_id().ok()
            || asked.cseq().ok() != Some(cseq)
        {
            return;
        }
        let step = entry.machine.on_response(now, response.status.code());
        let (owner, due) = (entry.owner, entry.machine.next_timeout());
        if step.ack {
            let (ack, flow) = (ack_of_refusal(&entry.request, response), entry.flow);
            self.core.transmit(now, &flow, ack);
        }
        self.core.schedule.set(Due::Client(id), due);
        if step.deliver {
            self.deliver(now, id, owner, response, flow);
        }
    }

    fn deliver(
        &mut self,
        now: Instant,
        id: u64,
        owner: ClientOwner,
        response: &Response,
        flow: Flow,
    ) {
        let core = &mut self.core;
        match owner {
            ClientOwner::Leg(handle, role) => {
                if let Some(leg) = self.legs.get_mut(&handle) {
                    match role {
                        Role::Invite => leg.on_invite_response(core, now, id, response, flow),
                        Role::Bye => leg.on_bye_answer(core, now, id, Some(response)),
                        Role::Reoffer => {
                            leg.on_reoffer_answer(core, now, id, Some((response, flow)))
                        }
                        Role::Refer => leg.on_refer_answer(core, now, id, Some(response)),
                        Role::Cancel => {}
                        Role::ForkBye | Role::Prack | Role::Info | Role::Notify => {
                            leg.on_minor_answer(core, now, id, Some(response), role);
                        }
                    }
                }
                self.after_leg(handle);
            }
            ClientOwner::Account(handle) => {
                if let Some(account) = self.accounts.get_mut(&handle) {
                    account.on_response(core, now, id, response);
                }
                self.after_account(handle);
            }
            ClientOwner::Query(query) => {
                if response.status.is_final() && self.queries.remove(&query) {
                    let (status, response) =
                        (response.status.code(), Some(Box::new(response.clone())));
                    core.tell(Event::OptionsAnswered {
                        query,
                        status,
                        response,
                    });
                }
            }
            ClientOwner::Leftover(handle) => {
                if let Some(leftover) = self.leftovers.get_mut(&handle) {
                    leftover.on_answer(core, now, id, Some(response));
                    core.schedule
                        .set(Due::Leftover(handle), leftover.next_timeout());
                }
            }
        }
    }

    /// A response to no transaction of ours: an INVITE of an earlier process, or nothing.
    fn on_stray_response(&mut self, now: Instant, response: &Response, flow: Flow) {
        let headers = &response.headers;
        let (Ok(call_id), Ok(from), Ok(cseq)) = (headers.call_id(), headers.from(), headers.cseq())
        else {
            return;
        };
        if cseq.method != Method::INVITE {
            return;
        }
        let key = (call_id, from.tag().unwrap_or_default().to_owned());
        let Some(handle) = self.leftover_dialogs.get(&key).copied() else {
            return;
        };
        if let Some(leftover) = self.leftovers.get_mut(&handle) {
            leftover.on_invite_response(&mut self.core, now, response, flow);
            self.core
                .schedule
                .set(Due::Leftover(handle), leftover.next_timeout());
        }
    }

    /// No final response came in time (408), or the transport failed (503).
    pub(super) fn on_client_failure(&mut self, now: Instant, id: u64, status: u16) {
        let Some(owner) = self.core.clients.get(id).map(|entry| entry.owner) else {
            return;
        };
        let core = &mut self.core;
        match owner {
            ClientOwner::Leg(handle, role) => {
                if let Some(leg) = self.legs.get_mut(&handle) {
                    match role {
                        Role::Invite => leg.on_invite_failure(core, id, status),
                        Role::Bye => leg.on_bye_answer(core, now, id, None),
                        Role::Reoffer => leg.on_reoffer_answer(core, now, id, None),
                        Role::Refer => leg.on_refer_answer(core, now, id, None),
                        Role::Cancel | Role::ForkBye | Role::Prack | Role::Info | Role::Notify => {}
                    }
                }
            }
            ClientOwner::Account(handle) => {
                if let Some(account) = self.accounts.get_mut(&handle) {
                    account.on_failure(core, now, id, status);
                }
                self.after_account(handle);
            }
            ClientOwner::Query(query) => {
                if self.queries.remove(&query) {
                    core.tell(Event::OptionsAnswered {
                        query,
                        status,
                        response: None,
                    });
                }
            }
            ClientOwner::Leftover(handle) => {
                if let Some(leftover) = self.leftovers.get_mut(&handle) {
                    leftover.on_answer(core, now, id, None);
                    core.schedule
                        .set(Due::Leftover(handle), leftover.next_timeout());
                }
            }
        }
        self.core.drop_client(id);
        if let ClientOwner::Leg(handle, _) = owner {
            self.after_leg(handle);
        }
    }

    // -- requests

    fn on_request(&mut self, now: Instant, mut request: Request, flow: Flow) {
        let Ok(mut via) = request.headers.top_via() else {
            return;
        };
        let key = server_key(&request, &via, &request.method);
        let invite_key = server_key(&request, &via, &Method::INVITE);
        let back = answer_flow(&mut via, flow);
        request.headers.set_top_via(&via);
        if request.method == Method::ACK {
            return self.on_ack(now, &key, &request);
        }
        if let Some(id) = self.core.servers.find(&key) {
            if let Some(entry) = self.core.servers.get(id)
                && entry.machine.on_repetition().resend
                && !entry.response.is_empty()
            {
                let (flow, bytes) = (entry.flow, entry.response.clone());
                self.core.transmit(now, &flow, bytes);
            }
            return;
        }
        let to_tag = request
            .headers
            .to()
            .ok()
            .and_then(|to| to.tag().map(str::to_owned));
        if !self.core.has_room() {
            let tag = self.core.token();
            let response =
                Response::to_request(&request, StatusCode::SERVICE_UNAVAILABLE, Some(&tag));
            let bytes = response.header(name::RETRY_AFTER, "5").to_bytes();
            return self.core.transmit(now, &back, bytes);
        }
        let merge = merge_key(&request);
        let merged = to_tag.is_none()
            && request.method != Method::CANCEL
            && self.core.servers.is_merged(&merge);
        let wait = match request.method {
            Method::INVITE if to_tag.is_none() => self.core.config.answer_within,
            _ => self
                .core
                .config
                .answer_within
                .min(self.core.config.timers.span() * 3 / 4),
        };
        let tag = to_tag.clone().unwrap_or_else(|| self.core.token());
        let method = request.method.clone();
        let id = self.core.insert_server(ServerEntry {
            machine: server_machine(&self.core, &method, &flow),
            request,
            key,
            merge_key: merge,
            flow: back,
            tag,
            response: Vec::new(),
            owner: ServerOwner::Nobody,
            answer_by: Some(now + wait),
        });
        if method == Method::CANCEL {
            return self.on_cancel(now, id, &invite_key);
        }
        if merged {
            return self.core.respond_status(now, id, 482);
        }
        if method == Method::INVITE {
            self.core.respond_status(now, id, 100);
        }
        match to_tag {
            Some(tag) => self.on_request_within(now, id, &tag),
            None => self.on_request_outside(now, id, &method),
        }
    }

    /// 420 for an extension that we do not have. `true` if it was refused.
    fn refuse_extension(&mut self, now: Instant, id: u64) -> bool {
        let Some(entry) = self.core.servers.get(id) else {
            return true;
        };
        let Ok(required) = entry.request.headers.require() else {
            self.core.respond_status(now, id, 400);
            return true;
        };
        let unknown: Vec<String> = required
            .into_iter()
            .filter(|tag| !EXTENSIONS.iter().any(|have| have.eq_ignore_ascii_case(tag)))
            .collect();
        if unknown.is_empty() {
            return false;
        }
        if let Some(response) = self.core.response(id, StatusCode::BAD_EXTENSION) {
            self.core.respond(
                now,
                id,
                response.header(name::UNSUPPORTED, unknown.join(", ")),
            );
        }
        true
    }

    fn on_ack(&mut self, now: Instant, key: &str, request: &Request) {
        if let Some(id) = self.core.servers.find(key)
            && let Some(ServerEntry {
                machine: ServerMachine::Invite(machine),
                ..
            }) = self.core.servers.get_mut(id)
        {
            machine.on_ack(now);
            let due = machine.next_timeout();
            self.core.schedule.set(Due::Server(id), due);
        }
        let Ok(call_id) = request.headers.call_id() else {
            return;
        };
        let tag = request
            .headers
            .to()
            .ok()
            .and_then(|to| to.tag().map(str::to_owned))
            .unwrap_or_default();
        let Some(handle) = self.dialogs.get(&(call_id, tag)).copied() else {
            return;
        };
        if let Some(leg) = self.legs.get_mut(&handle)
            && !leg.is_released()
        {
            leg.on_ack(&mut self.core, now, request);
            self.after_leg(handle);
        }
    }

    /// CANCEL (9.2): answered 200 if its INVITE is known, whatever became of it.
    fn on_cancel(&mut self, now: Instant, id: u64, invite_key: &str) {
        let Some(invite) = self.core.servers.find(invite_key) else {
            return self.core.respond_status(now, id, 481);
        };
        let Some(entry) = self.core.servers.get(invite) else {
            return;
        };
        let (tag, owner) = (entry.tag.clone(), entry.owner);
        if let Some(cancel) = self.core.servers.get_mut(id) {
            cancel.tag = tag;
        }
        self.core.respond_status(now, id, 200);
        let Some(cancel) = self.core.servers.get(id).map(|entry| entry.request.clone()) else {
            return;
        };
        if let ServerOwner::Leg(handle) = owner
            && let Some(leg) = self.legs.get_mut(&handle)
        {
            leg.on_cancelled(&mut self.core, now, &cancel);
            // A re-INVITE can be cancelled too.
            if leg.is_their_offer(invite) {
                leg.forget_request(invite);
                self.core.respond_status(now, invite, 487);
            }
            self.after_leg(handle);
        }
    }

    fn on_request_within(&mut self, now: Instant, id: u64, tag: &str) {
        let Some(entry) = self.core.servers.get(id) else {
            return;
        };
        let headers = &entry.request.headers;
        let Ok(call_id) = headers.call_id() else {
            return;
        };
        let from_tag = headers
            .from()
            .ok()
            .and_then(|from| from.tag().map(str::to_owned))
            .unwrap_or_default();
        let is_bye = entry.request.method == Method::BYE;
        let key = (call_id, tag.to_owned());
        if let Some(handle) = self.dialogs.get(&key).copied()
            && self
                .legs
                .get(&handle)
                .is_some_and(|leg| !leg.is_released() && leg.knows(&from_tag))
        {
            if !is_bye && self.refuse_extension(now, id) {
                return;
            }
            self.core.own_server(id, handle);
            if let Some(leg) = self.legs.get_mut(&handle) {
                leg.on_request(&mut self.core, now, id);
            }
            self.after_leg(handle);
            return;
        }
        if let (true, Some(handle)) = (is_bye, self.leftover_dialogs.get(&key).copied())
            && let Some(leftover) = self.leftovers.get_mut(&handle)
        {
            self.core.respond_status(now, id, 200);
            leftover.on_bye(&mut self.core);
            return;
        }
        self.core.respond_status(now, id, 481);
    }

    fn on_request_outside(&mut self, now: Instant, id: u64, method: &Method) {
        let foreign = self
            .core
            .servers
            .get(id)
            .is_none_or(|entry| matches!(entry.request.uri, Uri::Other(_)));
        if foreign {
            return self.core.respond_status(now, id, 416);
        }
        match *method {
            Method::INVITE | Method::OPTIONS | Method::REGISTER => {
                if self.refuse_extension(now, id) {
                    return;
                }
            }
            // Requests that only make sense within a dialog.
            Method::BYE | Method::UPDATE | Method::INFO | Method::PRACK | Method::NOTIFY => {
                return self.core.respond_status(now, id, 481);
            }
            Method::Other(_) => return self.refuse_method(now, id, StatusCode::NOT_IMPLEMENTED),
            Method::Known(_) => return self.refuse_method(now, id, StatusCode::METHOD_NOT_ALLOWED),
        }
        match *method {
            Method::INVITE => self.on_invite(now, id),
            Method::OPTIONS => {
                if let Some(response) = self.core.response(id, StatusCode::OK) {
                    let response = response
                        .header(name::ALLOW, ALLOW)
                        .header(name::ACCEPT, "application/sdp")
                        .header(name::SUPPORTED, "timer");
                    self.core.respond(now, id, response);
                }
            }
            _ => self.on_register(now, id),
        }
    }

    fn refuse_method(&mut self, now: Instant, id: u64, status: StatusCode) {
        if let Some(response) = self.core.response(id, status) {
            self.core
                .respond(now, id, response.header(name::ALLOW, ALLOW));
        }
    }

    fn on_invite(&mut self, now: Instant, id: u64) {
        let Some(entry) = self.core.servers.get(id) else {
            return;
        };
        if self.legs.len() >= self.core.config.limits.legs {
            return self.core.respond_status(now, id, 503);
        }
        if let Some(min) = Leg::too_small(self.core.config.session_timer, &entry.request.headers) {
            if let Some(response) = self
                .core
                .response(id, StatusCode::SESSION_INTERVAL_TOO_SMALL)
            {
                self.core
                    .respond(now, id, response.header(name::MIN_SE, min.to_string()));
            }
            return;
        }
        let request = entry.request.clone();
        let source = entry.flow.address;
        let (Ok(from), Ok(to)) = (request.headers.from(), request.headers.to()) else {
            return;
        };
        match Leg::take(&mut self.core, id) {
            Ok((leg, offer)) => {
                let leg = self.insert_leg(leg);
                let (request_uri, offer) = (request.uri.clone(), offer.map(|offer| *offer));
                let incoming = Incoming {
                    leg,
                    from,
                    to,
                    request_uri,
                    source,
                    offer,
                    request,
                };
                self.core.tell(Event::Incoming(Box::new(incoming)));
            }
            Err(status) => refuse_description(&mut self.core, now, id, status),
        }
    }

    fn on_register(&mut self, now: Instant, id: u64) {
        if !self.core.config.registrar {
            return self.refuse_method(now, id, StatusCode::METHOD_NOT_ALLOWED);
        }
        if self.requests.len() + self.queries.len() >= self.core.config.limits.pending {
            return self.core.respond_status(now, id, 503);
        }
        let Some(entry) = self.core.servers.get(id) else {
            return;
        };
        let (message, flow) = (entry.request.clone(), entry.flow);
        let headers = &message.headers;
        let (Ok(aor), Ok(contacts), Ok(expires)) =
            (headers.to(), headers.contacts(), headers.expires())
        else {
            return self.core.respond_status(now, id, 400);
        };
        let remove_all = matches!(contacts, Some(Contacts::Star));
        if remove_all && expires != Some(0) {
            // RFC 3261 10.3 step 6
            return self.core.respond_status(now, id, 400);
        }
        let contacts = match contacts {
            Some(Contacts::List(list)) => list,
            _ => Vec::new(),
        };
        let user = headers
            .authorization()
            .into_iter()
            .next()
            .map(|credentials| credentials.username);
        let request = RequestHandle(self.core.id());
        self.requests.insert(request, id);
        self.core
            .set_server_owner(id, ServerOwner::Request(request));
        self.core
            .tell(Event::RegisterRequest(Box::new(RegisterRequest {
                request,
                aor,
                contacts,
                remove_all,
                expires,
                user,
                source: flow.peer(),
                transport: flow.transport,
                message,
            })));
    }
}

/// Where the responses to a request go (18.2.2, RFC 3581 4); fills in `received` and `rport`.
fn answer_flow(via: &mut Via, flow: Flow) -> Flow {
    via.note_source(flow.address);
    if flow.kind != TransportKind::Udp || via.rport().is_some() {
        return flow;
    }
    let port = via.port.unwrap_or(5060);
    Flow {
        address: (flow.address.ip(), port).into(),
        ..flow
    }
}
