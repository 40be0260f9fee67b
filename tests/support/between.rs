//! A bad network between a daemon and its PBX: every datagram of SIP, RTP and RTCP passes here, some late, some after
//! those behind them, some twice. None is lost: `tests/media.rs` has a network that loses.
//!
//! The daemon finds the PBX at [`Net::way_to_pbx`], the PBX finds the daemon at [`Net::way_to_daemon`], on the ports that
//! either really has: what comes to the one address from the daemon's port p for port q leaves from the other address and
//! port p for the PBX's port q. Addresses in SIP and SDP are rewritten, which keeps their length, and ports that an SDP
//! names are opened. `Authorization` is left alone: its digest covers what it says.
//!
//! Chance comes from a seed, which is printed: the same seed means the same fates, as far as the same packets come.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::daemon::Setup;
use super::net::Net;
use super::process::come_first;

/// SIP port of the PBX and of the daemon ([`Setup::for_pbx`]).
const SIP: [u16; 2] = [5060, 5070];

/// A running network; gone on drop.
pub struct Between {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

/// What it did so far.
#[derive(Default)]
struct Counts {
    sip: Fates,
    audio: Fates,
}

#[derive(Default)]
struct Fates {
    passed: AtomicU64,
    overtaken: AtomicU64,
    twice: AtomicU64,
}

/// Figures of one kind of datagrams.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// Datagrams that came.
    pub passed: u64,
    /// That left after one that had come after them.
    pub overtaken: u64,
    /// That left twice.
    pub twice: u64,
}

impl Between {
    /// Starts it on the addresses of `net`.
    pub fn start(net: &Net, seed: u64) -> Between {
        eprintln!("the network between has seed {seed}");
        let stop = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Counts::default());
        let mut relay = Relay {
            ways: [net.way_to_pbx(), net.way_to_daemon()],
            ends: [net.daemon(), net.pbx()],
            sockets: BTreeMap::new(),
            waiting: BinaryHeap::new(),
            number: 0,
            newest_sent: BTreeMap::new(),
            chance: seed,
            counts: Arc::clone(&counts),
        };
        relay.open(0, SIP[0]);
        relay.open(1, SIP[1]);
        let ended = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("network".into())
            .spawn(move || {
                come_first(None);
                relay.run(&ended);
            })
            .unwrap();
        Between {
            address: SocketAddr::new(net.way_to_pbx(), SIP[0]),
            stop,
            counts,
            thread: Some(thread),
        }
    }

    /// Puts it between the daemon of `setup` and its PBX.
    pub fn lead(&self, setup: Setup) -> Setup {
        setup.set("trunk.server", self.address.to_string())
    }

    /// What it did to SIP.
    pub fn sip(&self) -> Done {
        self.counts.sip.done()
    }

    /// What it did to RTP and RTCP.
    pub fn audio(&self) -> Done {
        self.counts.audio.done()
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the network between broke"
            );
        }
    }
}

impl Fates {
    fn done(&self) -> Done {
        Done {
            passed: self.passed.load(Ordering::Relaxed),
            overtaken: self.overtaken.load(Ordering::Relaxed),
            twice: self.twice.load(Ordering::Relaxed),
        }
    }
}

/// From which way (0: of the daemon to the PBX) and port, to which address.
type Route = (usize, u16, SocketAddr);

/// When it leaves, its number, its route, and the datagram.
type Waiting = Reverse<(Instant, u64, Route, Vec<u8>)>;

struct Relay {
    /// Our addresses: towards the daemon, towards the PBX.
    ways: [IpAddr; 2],
    /// Who is there: the daemon, the PBX.
    ends: [IpAddr; 2],
    sockets: BTreeMap<(usize, u16), UdpSocket>,
    waiting: BinaryHeap<Waiting>,
    number: u64,
    /// The highest number that left on a route.
    newest_sent: BTreeMap<Route, u64>,
    chance: u64,
    counts: Arc<Counts>,
}

impl Relay {
    /// Binds a port of one of our addresses, unless it is bound.
    fn open(&mut self, way: usize, port: u16) {
        let address = SocketAddr::new(self.ways[way], port);
        self.sockets.entry((way, port)).or_insert_with(|| {
            let socket = UdpSocket::bind(address)
                .unwrap_or_else(|error| panic!("cannot bind {address} between: {error}"));
            socket.set_nonblocking(true).unwrap();
            socket
        });
    }

    fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let ready = self.wait();
            for (way, port) in ready {
                self.receive(way, port);
            }
            self.send_due();
        }
    }

    /// Waits for a datagram, or until one is due.
    fn wait(&self) -> Vec<(usize, u16)> {
        let due = self.waiting.peek().map(|Reverse(next)| next.0);
        let limit = Duration::from_millis(50);
        let wait = due.map_or(limit, |due| {
            due.saturating_duration_since(Instant::now()).min(limit)
        });
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: wait.subsec_nanos().into(),
        };
        let mut fds: Vec<PollFd<'_>> = self
            .sockets
            .values()
            .map(|socket| PollFd::new(socket, PollFlags::IN))
            .collect();
        let _ = poll(&mut fds, Some(&wait));
        let ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let places = self.sockets.keys().copied();
        places
            .zip(ready)
            .filter_map(|(place, ready)| ready.then_some(place))
            .collect()
    }

    fn receive(&mut self, way: usize, port: u16) {
        let mut buffer = [0; 65_536];
        // An error is an ICMP answer to an earlier datagram: its receiver is gone.
        while let Ok((length, from)) = self.sockets[&(way, port)].recv_from(&mut buffer) {
            if from.ip() != self.ends[way] {
                continue;
            }
            let mut datagram = buffer[..length].to_vec();
            let other = 1 - way;
            let is_sip = SIP.contains(&port);
            if is_sip {
                datagram = self.rewrite(way, datagram);
            } else {
                // A port that no SDP named so far: RTCP of an end that answers from elsewhere.
                self.open(other, from.port());
            }
            let route = (other, from.port(), SocketAddr::new(self.ends[other], port));
            self.delay(is_sip, route, datagram);
        }
    }

    /// Puts our addresses in place of the ends', and opens the ports an SDP names. What it opens is where the other end
    /// will send to: towards the receiver, at the sender's port.
    fn rewrite(&mut self, way: usize, message: Vec<u8>) -> Vec<u8> {
        let other = 1 - way;
        let text = String::from_utf8(message).expect("the SIP of this test is text");
        let pairs = [
            // the sender itself, and what it believes the receiver to be
            (self.ends[way].to_string(), self.ways[other].to_string()),
            (self.ways[way].to_string(), self.ends[other].to_string()),
        ];
        let mut ports = Vec::new();
        let lines: Vec<String> = text
            .split("\r\n")
            .map(|line| {
                if let Some(media) = line.strip_prefix("m=audio ") {
                    ports.extend(
                        media
                            .split(' ')
                            .next()
                            .and_then(|port| port.parse::<u16>().ok()),
                    );
                }
                let name = line.split(':').next().unwrap_or_default();
                if name.eq_ignore_ascii_case("authorization") {
                    return line.to_owned();
                }
                let mut line = line.to_owned();
                for (n, (from, _)) in pairs.iter().enumerate() {
                    line = line.replace(from, &format!("\u{0}{n}"));
                }
                for (n, (_, to)) in pairs.iter().enumerate() {
                    line = line.replace(&format!("\u{0}{n}"), to);
                }
                line
            })
            .collect();
        for port in ports.into_iter().filter(|&port| port != 0) {
            self.open(other, port);
            self.open(other, port + 1);
        }
        let changed = lines.join("\r\n");
        assert_eq!(changed.len(), text.len(), "addresses of unlike length");
        changed.into_bytes()
    }

    fn delay(&mut self, is_sip: bool, route: Route, datagram: Vec<u8>) {
        let ms = |ms: u64| Duration::from_millis(ms);
        let now = Instant::now();
        let counts = Arc::clone(&self.counts);
        let fates = if is_sip { &counts.sip } else { &counts.audio };
        fates.passed.fetch_add(1, Ordering::Relaxed);
        let usual = ms(self.chance(if is_sip { 20 } else { 6 }));
        // Overtaken by up to three packets; a SIP message by whatever comes within a third of a second.
        let longer = ms(self.chance(if is_sip { 300 } else { 70 }));
        let again = ms(self.chance(if is_sip { 300 } else { 70 }));
        let fate = self.chance(100);
        let late = if fate < 20 { usual + longer } else { usual };
        if (15..30).contains(&fate) {
            fates.twice.fetch_add(1, Ordering::Relaxed);
            self.put(now + usual + again, route, datagram.clone());
        }
        self.put(now + late, route, datagram);
    }

    fn put(&mut self, due: Instant, route: Route, datagram: Vec<u8>) {
        self.number += 1;
        self.waiting
            .push(Reverse((due, self.number, route, datagram)));
    }

    fn send_due(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((due, ..))) = self.waiting.peek()
            && *due <= now
            && let Some(Reverse((_, number, route, datagram))) = self.waiting.pop()
        {
            let (way, port, to) = route;
            let is_sip = SIP.contains(&port);
            let newest = self.newest_sent.entry(route).or_default();
            if number < *newest {
                let fates = if is_sip {
                    &self.counts.sip
                } else {
                    &self.counts.audio
                };
                fates.overtaken.fetch_add(1, Ordering::Relaxed);
            }
            *newest = number.max(*newest);
            self.open(way, port);
            // Whoever is gone takes nothing any more.
            let _ = self.sockets[&(way, port)].send_to(&datagram, to);
        }
    }

    /// A number below `below` (splitmix64).
    fn chance(&mut self, below: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let n = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (n ^ (n >> 31)) % below
    }
}
