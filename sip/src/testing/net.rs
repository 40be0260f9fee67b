//! The network: nodes, packets in flight, one clock.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::command::{Hangup, Invite};
use crate::headers::NameAddr;
use crate::sdp;
use crate::transport::{Peer, TransportId};
use crate::uri::SipUri;
use crate::{Config, Endpoint, Event, LegHandle, Load};

/// How badly datagrams travel.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Of a hundred datagrams so many are lost.
    pub loss_percent: u32,
    /// So many arrive twice.
    pub double_percent: u32,
    /// The longest way, in milliseconds; the shortest is 1. Different ways reorder.
    pub longest_ms: u64,
}

impl Weather {
    /// Nothing lost, 5 ms each way.
    pub const FAIR: Self = Self {
        loss_percent: 0,
        double_percent: 0,
        longest_ms: 5,
    };
}

/// An INVITE that begins a call, as it was sent.
#[derive(Debug, Clone)]
pub struct SentInvite {
    /// By which node.
    pub node: usize,
    /// When.
    pub at: Instant,
    /// Of which call.
    pub call_id: String,
    /// What its Expires says, seconds.
    pub expires: Option<u64>,
}

struct Node {
    endpoint: Endpoint,
    transport: TransportId,
    address: SocketAddr,
    events: VecDeque<Event>,
    /// Whether it is cut off: nothing arrives, nothing leaves.
    cut: bool,
}

/// Some endpoints and what flies between them.
pub struct Net {
    /// The only clock.
    pub now: Instant,
    /// How datagrams travel from now on.
    pub weather: Weather,
    /// Start lines of everything sent, for golden dialogues: sender and first line.
    pub log: Vec<(usize, String)>,
    /// Every message sent, whole, if `keep` is set.
    pub wire: Vec<(usize, String)>,
    /// Every INVITE that begins a call, retransmissions included, until somebody takes it out.
    pub invites: Vec<SentInvite>,
    /// Whether `log` and `wire` are kept.
    pub keep: bool,
    nodes: Vec<Node>,
    flying: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sent: u64,
    rng: ChaCha8Rng,
}

impl Net {
    /// A network of nodes with these configurations.
    pub fn new(seed: u64, weather: Weather, configs: Vec<Config>) -> Self {
        let nodes = configs
            .into_iter()
            .enumerate()
            .map(|(index, config)| {
                let mut secret = [0; 32];
                secret[..8].copy_from_slice(&seed.to_le_bytes());
                secret[8] = u8::try_from(index).unwrap_or(u8::MAX);
                let mut endpoint = Endpoint::new(config, secret);
                let address = node_address(index);
                let transport = endpoint.bind_datagram(address);
                Node {
                    endpoint,
                    transport,
                    address,
                    events: VecDeque::new(),
                    cut: false,
                }
            })
            .collect();
        Self {
            now: Instant::now(),
            weather,
            log: Vec::new(),
            wire: Vec::new(),
            invites: Vec::new(),
            keep: false,
            nodes,
            flying: BTreeMap::new(),
            sent: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Where a node is.
    pub fn address(&self, node: usize) -> SocketAddr {
        node_address(node)
    }

    /// Runs a command on a node and sends what comes of it.
    pub fn with<T>(&mut self, node: usize, run: impl FnOnce(&mut Endpoint, Instant) -> T) -> T {
        let now = self.now;
        let result = run(&mut self.nodes[node].endpoint, now);
        self.drain(node);
        result
    }

    /// Cuts a node off, or lets it back.
    pub fn cut(&mut self, node: usize, cut: bool) {
        self.nodes[node].cut = cut;
    }

    /// Puts a new process in the place of a node, as after a crash: same address, nothing remembered.
    pub fn crash(&mut self, node: usize, config: Config, seed: u8) {
        let mut endpoint = Endpoint::new(config, [seed; 32]);
        let address = self.nodes[node].address;
        let transport = endpoint.bind_datagram(address);
        self.nodes[node] = Node {
            endpoint,
            transport,
            address,
            events: VecDeque::new(),
            cut: false,
        };
    }

    /// Hands raw bytes to a node.
    pub fn inject(&mut self, node: usize, from: SocketAddr, bytes: &[u8]) {
        let (now, transport) = (self.now, self.nodes[node].transport);
        self.nodes[node]
            .endpoint
            .handle_datagram(now, transport, from, bytes);
        self.drain(node);
    }

    fn drain(&mut self, index: usize) {
        while let Some(transmit) = self.nodes[index].endpoint.poll_transmit() {
            let (from, cut) = (self.nodes[index].address, self.nodes[index].cut);
            self.invites
                .extend(sent_invite(index, self.now, &transmit.bytes));
            if self.keep {
                let text = String::from_utf8_lossy(&transmit.bytes).into_owned();
                self.log
                    .push((index, text.lines().next().unwrap_or_default().to_owned()));
                self.wire.push((index, text));
            }
            if cut || self.rng.random_range(0..100) < self.weather.loss_percent {
                continue;
            }
            let copies = if self.rng.random_range(0..100) < self.weather.double_percent {
                2
            } else {
                1
            };
            for _ in 0..copies {
                let way = Duration::from_millis(
                    self.rng.random_range(1..=self.weather.longest_ms.max(1)),
                );
                self.sent += 1;
                self.flying.insert(
                    (self.now + way, self.sent),
                    (from, transmit.destination, transmit.bytes.clone()),
                );
            }
        }
        while let Some(event) = self.nodes[index].endpoint.poll_event() {
            self.nodes[index].events.push_back(event);
        }
    }

    /// The next instant at which something happens.
    pub fn next(&self) -> Option<Instant> {
        let timers = self
            .nodes
            .iter()
            .filter_map(|node| node.endpoint.poll_timeout());
        timers
            .chain(self.flying.keys().next().map(|(at, _)| *at))
            .min()
    }

    /// Lets one thing happen, not later than `until`. `false` if nothing is left before that.
    pub fn step(&mut self, until: Instant) -> bool {
        let Some(next) = self.next().filter(|next| *next <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        let due = self
            .flying
            .first_key_value()
            .map(|(key, _)| *key)
            .filter(|(at, _)| *at <= self.now);
        if let Some((from, to, bytes)) = due.and_then(|key| self.flying.remove(&key)) {
            if let Some(index) = self
                .nodes
                .iter()
                .position(|node| node.address == to && !node.cut)
            {
                self.inject(index, from, &bytes);
            }
            return true;
        }
        for index in 0..self.nodes.len() {
            if self.nodes[index]
                .endpoint
                .poll_timeout()
                .is_some_and(|at| at <= self.now)
            {
                let now = self.now;
                self.nodes[index].endpoint.handle_timeout(now);
                self.drain(index);
            }
        }
        true
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    /// Lets time pass until nothing is scheduled any more, at most `limit`. `false` if the limit came first.
    pub fn settle(&mut self, limit: Duration) -> bool {
        let until = self.now + limit;
        while self.next().is_some() {
            if !self.step(until) {
                return false;
            }
        }
        true
    }

    /// The oldest event of a node.
    pub fn event(&mut self, node: usize) -> Option<Event> {
        self.nodes[node].events.pop_front()
    }

    /// Takes out the first event of a node that `pick` wants; what came before it is dropped.
    pub fn find<T>(&mut self, node: usize, mut pick: impl FnMut(&Event) -> Option<T>) -> Option<T> {
        while let Some(event) = self.event(node) {
            if let Some(found) = pick(&event) {
                return Some(found);
            }
        }
        None
    }

    /// Lets time pass until a node tells an event that `pick` wants, at most `limit`.
    pub fn wait<T>(
        &mut self,
        node: usize,
        limit: Duration,
        mut pick: impl FnMut(&Event) -> Option<T>,
    ) -> Option<T> {
        let until = self.now + limit;
        loop {
            if let Some(found) = self.find(node, &mut pick) {
                return Some(found);
            }
            if !self.step(until) {
                return self.find(node, &mut pick);
            }
        }
    }

    /// How full a node's tables are.
    pub fn load(&self, node: usize) -> Load {
        self.nodes[node].endpoint.load()
    }

    /// A call from one node to another, all by default.
    pub fn invite(&self, from: usize, to: usize) -> Invite {
        let target = SipUri::new(self.address(to).ip(), Some(5060)).with_user(&format!("node{to}"));
        Invite::new(
            target.into(),
            name_addr(from),
            Peer::udp(self.address(to)),
            description(from, 1),
        )
    }

    /// Prepares and sends a call.
    pub fn call(&mut self, from: usize, to: usize) -> LegHandle {
        let invite = self.invite(from, to);
        #[expect(
            clippy::expect_used,
            reason = "a test that cannot place a call has failed"
        )]
        self.with(from, |endpoint, now| {
            let (leg, _) = endpoint.prepare_invite(now, invite).expect("prepared");
            endpoint.send_invite(now, leg).expect("sent");
            leg
        })
    }

    /// Hangs up, if there is anything left to hang up.
    pub fn hang_up(&mut self, node: usize, leg: LegHandle) {
        let _ = self.with(node, |endpoint, now| {
            endpoint.hang_up(now, leg, Hangup::normal())
        });
    }
}

/// What an INVITE outside any dialog says; nothing for all else.
fn sent_invite(node: usize, at: Instant, bytes: &[u8]) -> Option<SentInvite> {
    if !bytes.starts_with(b"INVITE ") {
        return None;
    }
    let text = String::from_utf8_lossy(bytes);
    let header = |name: &str| {
        text.lines()
            .take_while(|line| !line.is_empty())
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    if header("To")?.contains(";tag=") {
        return None;
    }
    Some(SentInvite {
        node,
        at,
        call_id: header("Call-ID")?.to_owned(),
        expires: header("Expires").and_then(|value| value.parse().ok()),
    })
}

fn node_address(index: usize) -> SocketAddr {
    let last = u8::try_from(index + 1).unwrap_or(u8::MAX);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), 5060)
}

/// The address of record of a node.
pub fn name_addr(node: usize) -> NameAddr {
    NameAddr::new(
        SipUri::new(node_address(node).ip(), None)
            .with_user(&format!("node{node}"))
            .into(),
    )
}

/// A session description of a node; a higher version is another session.
pub fn description(node: usize, version: u16) -> sdp::Session {
    let mut local = sdp::Local::new(7, node_address(node).ip(), 10_000 + 2 * version);
    local.rtcp_mux = false;
    let mut session = sdp::offer(&local, None);
    session.origin.version = version.to_string();
    session
}
