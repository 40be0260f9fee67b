//! The cheapest thing that could carry the same calls: one thread that receives every packet and sends it on.
//!
//! SIPp is the phones, as it is for the daemon: each leg is placed at it with the least SIP that makes a call, and plays the
//! same file to the port its INVITE named, so that the loop gets the same packets in the same bursts. The loop reads no
//! header, rewrites nothing, records nothing. What it costs is the price of the system calls, below which no relay of its
//! kind (one epoll, woken at once, a packet a system call) can come; the daemon's price is given as a multiple of it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::RATE;

/// How long SIPp may take to answer a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the relaying thread is to do.
const CARRY: u8 = 0;
const MEASURE: u8 = 1;
const STOP: u8 = 2;

/// What one run cost.
pub struct Run {
    /// CPU of the relaying thread per second of wall time, in cores.
    pub cores: f64,
    /// Packets it sent per second; 100 a call when it kept up.
    pub packets_per_second: f64,
}

/// Relays `calls` calls between phones at `pbx`, and measures for `seconds` while all of them talk.
pub fn run(calls: usize, seconds: u64, relay: IpAddr, pbx: SocketAddr) -> io::Result<Run> {
    // Sockets 2n and 2n+1 are the two legs of call n.
    let legs: Vec<UdpSocket> = (0..2 * calls)
        .map(|_| {
            let socket = UdpSocket::bind(SocketAddr::new(relay, 0))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })
        .collect::<io::Result<_>>()?;
    let phase = AtomicU8::new(CARRY);
    thread::scope(|scope| {
        let relaying = scope.spawn(|| relay_packets(&legs, &phase));
        let talked = talk(&legs, seconds, relay, pbx, &phase);
        phase.store(STOP, Ordering::Relaxed);
        let measured = relaying
            .join()
            .map_err(|_| io::Error::other("the bare loop panicked"))?;
        talked?;
        measured
    })
}

/// Places every call, lets them talk while it is measured, and hangs up.
fn talk(
    legs: &[UdpSocket],
    seconds: u64,
    relay: IpAddr,
    pbx: SocketAddr,
    phase: &AtomicU8,
) -> io::Result<()> {
    let caller = Caller::new(relay, pbx)?;
    let mut tags = Vec::with_capacity(legs.len());
    let begun = Instant::now();
    for (n, leg) in legs.iter().enumerate() {
        let (tag, phone) = caller.invite(n, leg.local_addr()?)?;
        // As the daemon does: what comes from elsewhere is not even received.
        leg.connect(phone)?;
        tags.push(tag);
        // As many calls a second as the daemon dials: one after every second leg.
        let placed = u32::try_from(n.div_ceil(2)).unwrap_or(u32::MAX);
        let next = begun + Duration::from_secs(1) / RATE * placed;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    phase.store(MEASURE, Ordering::Relaxed);
    thread::sleep(Duration::from_secs(seconds));
    phase.store(STOP, Ordering::Relaxed);
    for (n, tag) in tags.iter().enumerate() {
        caller.hang_up(n, tag)?;
    }
    Ok(())
}

/// The relay. Measures from the first packet in [`MEASURE`] to the first wake-up in [`STOP`].
fn relay_packets(legs: &[UdpSocket], phase: &AtomicU8) -> io::Result<Run> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, leg) in legs.iter().enumerate() {
        epoll::add(
            &poll,
            leg,
            epoll::EventData::new_u64(index as u64),
            epoll::EventFlags::IN,
        )?;
    }
    let patience = Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    let mut events = Vec::with_capacity(1024);
    let mut packet = [0; 1500];
    let mut sent = 0_u64;
    let mut begun = None;
    loop {
        match (phase.load(Ordering::Relaxed), begun) {
            (MEASURE, None) => {
                sent = 0;
                begun = Some((thread_cpu(), Instant::now()));
            }
            (STOP, _) => break,
            _ => {}
        }
        events.clear();
        epoll::wait(
            &poll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&patience),
        )?;
        for event in &events {
            let from = event.data.u64() as usize;
            // the other leg of the same call
            let to = from ^ 1;
            // Level-triggered, one receive a readiness: none comes back empty, except where connecting dropped it.
            let length = match legs[from].recv(&mut packet) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            match legs[to].send(&packet[..length]) {
                Ok(_) => sent += 1,
                // The other phone has not answered yet.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::DESTADDRREQ) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let (cpu, wall) = begun.ok_or_else(|| io::Error::other("the calls were never all up"))?;
    let (cpu, wall) = (thread_cpu().saturating_sub(cpu), wall.elapsed());
    Ok(Run {
        cores: cpu.as_secs_f64() / wall.as_secs_f64(),
        packets_per_second: sent as f64 / wall.as_secs_f64(),
    })
}

/// Places calls at SIPp, one at a time.
struct Caller {
    socket: UdpSocket,
    local: SocketAddr,
    pbx: SocketAddr,
}

impl Caller {
    fn new(relay: IpAddr, pbx: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(SocketAddr::new(relay, 0))?;
        socket.connect(pbx)?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local, pbx })
    }

    /// Calls phone `n` for audio at `media`; the To header that its dialog has, and where it listens.
    fn invite(&self, n: usize, media: SocketAddr) -> io::Result<(String, SocketAddr)> {
        let ip = media.ip();
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP 8\r\n\
             a=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=sendrecv\r\n",
            media.port()
        );
        let to = format!("<sip:{n}@{}>", self.pbx);
        self.send(n, "INVITE", 1, &to, &offer)?;
        let answer = self.answer(n, "INVITE")?;
        let to = header(&answer, "To:")?.to_owned();
        self.send(n, "ACK", 1, &to, "")?;
        let ip = header(&answer, "c=IN IP4 ")?;
        let port = header(&answer, "m=audio ")?.split(' ').next();
        let phone = format!("{ip}:{}", port.unwrap_or_default());
        let phone = phone
            .parse()
            .map_err(|_| io::Error::other(format!("no address of a phone: {phone}")))?;
        Ok((to, phone))
    }

    fn hang_up(&self, n: usize, to: &str) -> io::Result<()> {
        self.send(n, "BYE", 2, to, "")?;
        self.answer(n, "BYE").map(drop)
    }

    fn send(&self, n: usize, method: &str, cseq: u32, to: &str, body: &str) -> io::Result<()> {
        let (local, pbx) = (self.local, self.pbx);
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        let request = format!(
            "{method} sip:{n}@{pbx} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKbare{n}{method}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:bare@{local}>;tag=bare{n}\r\nTo: {to}\r\nCall-ID: {}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:bare@{local}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            self.call_id(n),
            body.len()
        );
        self.socket.send(request.as_bytes()).map(drop)
    }

    /// The 200 to a request of call `n`; what comes before it is passed over.
    fn answer(&self, n: usize, method: &str) -> io::Result<String> {
        let mut buffer = [0; 4_096];
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            self.socket
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let length = self.socket.recv(&mut buffer)?;
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let ours = header(&text, "Call-ID:")? == self.call_id(n)
                && header(&text, "CSeq:")?.ends_with(method);
            if ours && text.starts_with("SIP/2.0 200") {
                return Ok(text);
            }
            if ours && !text.starts_with("SIP/2.0 1") {
                return Err(io::Error::other(format!(
                    "SIPp refused a call of the bare loop: {}",
                    text.lines().next().unwrap_or_default()
                )));
            }
        }
    }

    fn call_id(&self, n: usize) -> String {
        format!("bare-{n}@{}", self.local)
    }
}

/// What follows `name` on the first line that begins so.
fn header<'a>(message: &'a str, name: &str) -> io::Result<&'a str> {
    message
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
        .ok_or_else(|| io::Error::other(format!("SIPp sent a message without {name}")))
}

/// CPU used by the calling thread so far.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
