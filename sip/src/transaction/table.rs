//! The transactions of one endpoint, each with its message, address and owner.

use std::collections::HashMap;
use std::time::Instant;

use super::client::Client;
use super::client_invite::ClientInvite;
use super::server::Server;
use super::server_invite::ServerInvite;
use super::{ClientStep, ServerStep};
use crate::event::{AccountHandle, LeftoverHandle, LegHandle, QueryHandle, RequestHandle};
use crate::headers::{Via, name};
use crate::message::Request;
use crate::method::Method;
use crate::session::bounds::Bounds;
use crate::transport::Flow;

/// Whose request it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientOwner {
    Leg(LegHandle, Role),
    Account(AccountHandle),
    Query(QueryHandle),
    Leftover(LeftoverHandle),
}

/// What a request of a leg is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Invite,
    Cancel,
    Bye,
    /// The BYE to a fork that answered too.
    ForkBye,
    /// A re-INVITE or UPDATE.
    Reoffer,
    Prack,
    Info,
    Refer,
    Notify,
}

/// Who answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerOwner {
    Leg(LegHandle),
    Request(RequestHandle),
    /// Answered already.
    Nobody,
}

#[derive(Debug, Clone)]
pub(crate) enum ClientMachine {
    Invite(ClientInvite),
    Other(Client),
}

/// The ACK for one 2xx of an INVITE, to be repeated with it.
#[derive(Debug, Clone)]
pub(crate) struct Ack {
    pub(crate) remote_tag: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) flow: Flow,
    /// Not sent yet, see `Config::hold_ack`.
    pub(crate) held: bool,
}

pub(crate) struct ClientEntry {
    pub(crate) machine: ClientMachine,
    pub(crate) request: Request,
    pub(crate) branch: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) flow: Flow,
    pub(crate) owner: ClientOwner,
    pub(crate) acks: Vec<Ack>,
    /// Until when it may be sent again.
    pub(crate) bounds: Bounds,
}

#[derive(Debug, Clone)]
pub(crate) enum ServerMachine {
    Invite(ServerInvite),
    Other(Server),
}

pub(crate) struct ServerEntry {
    pub(crate) machine: ServerMachine,
    pub(crate) request: Request,
    pub(crate) key: String,
    pub(crate) merge_key: String,
    /// Where responses go.
    pub(crate) flow: Flow,
    /// The To tag of all our responses.
    pub(crate) tag: String,
    /// The last response, for repetitions.
    pub(crate) response: Vec<u8>,
    pub(crate) owner: ServerOwner,
    /// When the endpoint answers by itself because nobody else did.
    pub(crate) answer_by: Option<Instant>,
}

macro_rules! both {
    ($machine:expr, $kind:ident, $inner:ident => $body:expr) => {
        match $machine {
            $kind::Invite($inner) => $body,
            $kind::Other($inner) => $body,
        }
    };
}

impl ClientMachine {
    pub(crate) fn on_response(&mut self, now: Instant, status: u16) -> ClientStep {
        both!(self, ClientMachine, inner => inner.on_response(now, status))
    }

    pub(crate) fn on_timeout(&mut self, now: Instant) -> ClientStep {
        both!(self, ClientMachine, inner => inner.on_timeout(now))
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        both!(self, ClientMachine, inner => inner.next_timeout())
    }

    pub(crate) const fn is_pending(&self) -> bool {
        both!(self, ClientMachine, inner => inner.is_pending())
    }

    pub(crate) const fn is_over(&self) -> bool {
        both!(self, ClientMachine, inner => inner.is_over())
    }
}

impl ServerMachine {
    pub(crate) const fn on_repetition(&self) -> ServerStep {
        both!(self, ServerMachine, inner => inner.on_repetition())
    }

    pub(crate) fn respond(&mut self, now: Instant, status: u16) -> bool {
        both!(self, ServerMachine, inner => inner.respond(now, status))
    }

    pub(crate) fn on_timeout(&mut self, now: Instant) -> ServerStep {
        both!(self, ServerMachine, inner => inner.on_timeout(now))
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        both!(self, ServerMachine, inner => inner.next_timeout())
    }

    pub(crate) const fn is_pending(&self) -> bool {
        both!(self, ServerMachine, inner => inner.is_pending())
    }

    pub(crate) const fn is_over(&self) -> bool {
        both!(self, ServerMachine, inner => inner.is_over())
    }
}

impl ServerEntry {
    /// When this entry needs attention.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let answer_by = self.answer_by.filter(|_| self.machine.is_pending());
        self.machine
            .next_timeout()
            .into_iter()
            .chain(answer_by)
            .min()
    }
}

/// All client transactions, found by number or by (branch, method) (RFC 3261 17.1.3).
#[derive(Default)]
pub(crate) struct Clients {
    entries: HashMap<u64, ClientEntry>,
    by_key: HashMap<(String, Method), u64>,
}

impl Clients {
    pub(crate) fn insert(&mut self, id: u64, entry: ClientEntry) {
        self.by_key
            .insert((entry.branch.clone(), entry.request.method.clone()), id);
        self.entries.insert(id, entry);
    }

    pub(crate) fn find(&self, branch: &str, method: &Method) -> Option<u64> {
        self.by_key
            .get(&(branch.to_owned(), method.clone()))
            .copied()
    }

    pub(crate) fn get(&self, id: u64) -> Option<&ClientEntry> {
        self.entries.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut ClientEntry> {
        self.entries.get_mut(&id)
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<ClientEntry> {
        let entry = self.entries.remove(&id)?;
        let key = (entry.branch.clone(), entry.request.method.clone());
        if self.by_key.get(&key) == Some(&id) {
            self.by_key.remove(&key);
        }
        Some(entry)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &ClientEntry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// All server transactions, found by number, by key (17.2.3) or by what makes a merged request (8.2.2.2).
#[derive(Default)]
pub(crate) struct Servers {
    entries: HashMap<u64, ServerEntry>,
    by_key: HashMap<String, u64>,
    by_merge_key: HashMap<String, u64>,
}

impl Servers {
    pub(crate) fn insert(&mut self, id: u64, entry: ServerEntry) {
        self.by_key.insert(entry.key.clone(), id);
        self.by_merge_key
            .entry(entry.merge_key.clone())
            .or_insert(id);
        self.entries.insert(id, entry);
    }

    pub(crate) fn find(&self, key: &str) -> Option<u64> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn is_merged(&self, merge_key: &str) -> bool {
        self.by_merge_key.contains_key(merge_key)
    }

    pub(crate) fn get(&self, id: u64) -> Option<&ServerEntry> {
        self.entries.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut ServerEntry> {
        self.entries.get_mut(&id)
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<ServerEntry> {
        let entry = self.entries.remove(&id)?;
        if self.by_key.get(&entry.key) == Some(&id) {
            self.by_key.remove(&entry.key);
        }
        if self.by_merge_key.get(&entry.merge_key) == Some(&id) {
            self.by_merge_key.remove(&entry.merge_key);
        }
        Some(entry)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// What identifies a server transaction (RFC 3261 17.2.3): branch and sent-by, or for a sender of RFC 2543 everything
/// that stays the same in a repetition. An ACK is matched to its INVITE, a CANCEL is a transaction of its own.
pub(crate) fn server_key(request: &Request, via: &Via, method: &Method) -> String {
    let method = if *method == Method::ACK {
        &Method::INVITE
    } else {
        method
    };
    match via.branch().filter(|_| via.has_magic_cookie()) {
        Some(branch) => format!(
            "{branch}|{}:{}|{method}",
            via.host,
            via.port.unwrap_or(5060)
        ),
        None => {
            let headers = &request.headers;
            let from_tag = headers
                .from()
                .ok()
                .and_then(|from| from.tag().map(str::to_owned))
                .unwrap_or_default();
            let cseq = headers.cseq().map(|cseq| cseq.number).unwrap_or_default();
            let call_id = headers.text(name::CALL_ID).unwrap_or_default();
            format!(
                "2543|{call_id}|{from_tag}|{cseq}|{}|{}:{:?}|{method}",
                request.uri.to_wire(),
                via.host,
                via.port
            )
        }
    }
}

/// What two copies of one request that came by different ways share (RFC 3261 8.2.2.2).
pub(crate) fn merge_key(request: &Request) -> String {
    let headers = &request.headers;
    let from_tag = headers
        .from()
        .ok()
        .and_then(|from| from.tag().map(str::to_owned))
        .unwrap_or_default();
    let cseq = headers.cseq().map(|cseq| cseq.number).unwrap_or_default();
    let call_id = headers.text(name::CALL_ID).unwrap_or_default();
    format!("{call_id}|{from_tag}|{cseq}|{}", request.method)
}
