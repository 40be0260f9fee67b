//! A dialog (RFC 3261 12): who talks to whom, by which tags, over which route.
//!
//! The CSeq of our side belongs to the leg: forks of one INVITE share it, which keeps every number unique.

use crate::core::Core;
use crate::headers::{NameAddr, name};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::transport::{Flow, Peer, TransportKind};
use crate::uri::Uri;

/// Longest route set we follow.
const ROUTE_LIMIT: usize = 32;

/// One dialog, early or confirmed.
#[derive(Clone)]
pub(crate) struct Dialog {
    pub(crate) call_id: String,
    /// With our tag.
    pub(crate) local: NameAddr,
    /// With the peer's tag, if it is one of RFC 3261.
    pub(crate) remote: NameAddr,
    pub(crate) remote_target: Uri,
    pub(crate) route: Vec<NameAddr>,
    /// The highest CSeq number the peer used.
    pub(crate) remote_cseq: Option<u32>,
    /// How its messages came last.
    pub(crate) flow: Flow,
    /// The highest RSeq acknowledged by PRACK (RFC 3262 4).
    pub(crate) rseq: Option<u32>,
    /// Whether the peer takes UPDATE.
    pub(crate) takes_update: bool,
}

impl Dialog {
    /// The dialog that a response (101 to 299) to our INVITE makes (12.1.2).
    pub(crate) fn from_response(
        request: &Request,
        response: &Response,
        flow: Flow,
    ) -> Option<Self> {
        let headers = &response.headers;
        let mut route = headers.record_routes().unwrap_or_default();
        route.truncate(ROUTE_LIMIT);
        route.reverse();
        Some(Self {
            call_id: headers.call_id().ok()?,
            local: headers.from().ok()?,
            remote: headers.to().ok()?,
            remote_target: headers
                .contact()
                .ok()
                .flatten()
                .map_or_else(|| request.uri.clone(), |contact| contact.uri),
            route,
            remote_cseq: None,
            flow,
            rseq: None,
            takes_update: takes_update(headers),
        })
    }

    /// The dialog that an INVITE we received makes (12.1.1); `None` without a readable Contact.
    pub(crate) fn from_request(request: &Request, our_tag: &str, flow: Flow) -> Option<Self> {
        let headers = &request.headers;
        let mut route = headers.record_routes().ok()?;
        route.truncate(ROUTE_LIMIT);
        Some(Self {
            call_id: headers.call_id().ok()?,
            local: headers.to().ok()?.with_tag(our_tag),
            remote: headers.from().ok()?,
            remote_target: headers.contact().ok()??.uri,
            route,
            remote_cseq: headers.cseq().ok().map(|cseq| cseq.number),
            flow,
            rseq: None,
            takes_update: takes_update(headers),
        })
    }

    /// The peer's tag, empty for a peer of RFC 2543.
    pub(crate) fn remote_tag(&self) -> &str {
        self.remote.tag().unwrap_or("")
    }

    /// Takes over the peer's new Contact from a request or 2xx that refreshes the target (12.2). `true` if it differs.
    pub(crate) fn refresh_target(&mut self, headers: &crate::headers::Headers, flow: Flow) -> bool {
        self.flow = flow;
        if headers.get(name::ALLOW).is_some() {
            self.takes_update = takes_update(headers);
        }
        match headers.contact() {
            Ok(Some(contact)) if contact.uri != self.remote_target => {
                self.remote_target = contact.uri;
                true
            }
            _ => false,
        }
    }

    /// The route set of the 2xx replaces that of earlier responses (13.2.2.4).
    pub(crate) fn confirm(&mut self, response: &Response, flow: Flow) {
        let mut route = response.headers.record_routes().unwrap_or_default();
        route.truncate(ROUTE_LIMIT);
        route.reverse();
        self.route = route;
        self.refresh_target(&response.headers, flow);
    }

    /// A request within the dialog, with its Route headers (12.2.1.1) and the way it goes. Via is added when it is sent.
    pub(crate) fn request(&self, core: &mut Core, method: Method, cseq: u32) -> (Request, Flow) {
        let flow = self.next_hop(core);
        let (uri, routes) = match self.route.split_first() {
            None => (self.remote_target.clone(), Vec::new()),
            Some((first, rest))
                if !first
                    .uri
                    .as_sip()
                    .is_some_and(crate::uri::SipUri::is_loose_router) =>
            {
                // A strict router: it wants to be the request URI, the target goes last.
                let mut routes: Vec<NameAddr> = rest.to_vec();
                routes.push(NameAddr::new(self.remote_target.clone()));
                (first.uri.clone(), routes)
            }
            Some(_) => (self.remote_target.clone(), self.route.clone()),
        };
        let uri = uri.for_request_line();
        let mut request = core.request(method, uri, &self.local, &self.remote, &self.call_id, cseq);
        for route in routes {
            request.headers.push(name::ROUTE, route.to_wire());
        }
        (request, flow)
    }

    /// The ACK for a 2xx to `invite`, with its credentials (13.2.2.4, 22.1).
    pub(crate) fn ack(&self, core: &mut Core, invite: &Request) -> (Request, Flow) {
        let cseq = invite.headers.cseq().map(|cseq| cseq.number).unwrap_or(1);
        let (mut ack, flow) = self.request(core, Method::ACK, cseq);
        for header in [name::AUTHORIZATION, name::PROXY_AUTHORIZATION] {
            for value in invite.headers.all(header) {
                ack.headers.push(header, value);
            }
        }
        (ack, flow)
    }

    /// Where the next request goes: an open connection as it is; else the address in the topmost Route or the target,
    /// or, if that is a host name (resolving is the driver's), where the dialog's messages come from.
    fn next_hop(&self, core: &mut Core) -> Flow {
        if self.flow.kind.is_reliable() && core.is_open(&self.flow) {
            return self.flow;
        }
        let next = self
            .route
            .first()
            .map_or(&self.remote_target, |route| &route.uri);
        let peer = peer_of(next, self.flow.kind).unwrap_or(self.flow.peer());
        core.flow_to(peer)
            .or_else(|_| core.flow_to(self.flow.peer()))
            .unwrap_or(self.flow)
    }
}

fn takes_update(headers: &crate::headers::Headers) -> bool {
    headers
        .allow()
        .is_ok_and(|allow| allow.iter().any(|method| method == "UPDATE"))
}

/// The address in a SIP URI, if it is an address.
fn peer_of(uri: &Uri, default: TransportKind) -> Option<Peer> {
    let sip = uri.as_sip()?;
    let kind = match sip.transport() {
        Some(transport) => TransportKind::parse(transport)?,
        None if sip.secure => TransportKind::Tls,
        None => default,
    };
    let port = sip.port.unwrap_or(if kind == TransportKind::Tls {
        5061
    } else {
        5060
    });
    Some(Peer {
        kind,
        address: (sip.host.ip()?, port).into(),
    })
}
