//! What a bridged, tapped call costs in CPU, against a bare loop that receives and sends the same packets, in one run.
//!
//! A child process plays all the telephones: each of them sends 50 packets of 172 octets a second, spread evenly, and
//! takes what comes back. This process is first the bare loop (one thread, epoll, `recv_from`, `send_to`, nothing
//! else), then the engine with a tap on each call and a thread that drains the taps. Process CPU includes the kernel's
//! work. Machines differ and are shared: the ratio is the figure.

use std::io::{BufRead, BufReader, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringfence_media::{Codec, Engine, EngineConfig, Leg, Remote, Tap, TapReader};
use rustix::event::epoll;
use rustix::time::{ClockId, clock_gettime};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const WARM_UP: Duration = Duration::from_millis(1_000);
const MEASURE: Duration = Duration::from_millis(4_000);
const ROUNDS: usize = 2;
const PTIME: Duration = Duration::from_millis(20);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    raise_file_limit()?;
    if let Some(place) = arguments
        .iter()
        .position(|argument| argument == "--telephones")
    {
        return telephones(arguments.get(place + 1).ok_or("how many?")?.parse()?);
    }
    let empty_kb = resident_kb()?;
    println!("one call: two legs, G.711 20 ms, both directions, tap drained every 100 ms");
    println!(
        "{:>6} {:>14} {:>14} {:>16} {:>16} {:>7} {:>8}",
        "calls",
        "bare %/call",
        "ours %/call",
        "bare us/packet",
        "ours us/packet",
        "ratio",
        "kB/call"
    );
    for calls in [40, 200] {
        let (mut bare, mut ours) = (Cost::default(), Cost::default());
        for _ in 0..ROUNDS {
            bare.add(measure_bare(calls)?);
            ours.add(measure_engine(calls, empty_kb)?);
        }
        println!(
            "{calls:>6} {:>14.4} {:>14.4} {:>16.2} {:>16.2} {:>7.2} {:>8}",
            bare.percent_per_call(calls),
            ours.percent_per_call(calls),
            bare.us_per_packet(),
            ours.us_per_packet(),
            ours.percent_per_call(calls) / bare.percent_per_call(calls),
            ours.kb_per_call,
        );
    }
    Ok(())
}

#[derive(Default)]
struct Cost {
    cpu: Duration,
    wall: Duration,
    packets: u64,
    kb_per_call: u64,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.wall += other.wall;
        self.packets += other.packets;
        self.kb_per_call = self.kb_per_call.max(other.kb_per_call);
    }

    fn percent_per_call(&self, calls: usize) -> f64 {
        100.0 * self.cpu.as_secs_f64() / self.wall.as_secs_f64() / calls as f64
    }

    fn us_per_packet(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.packets as f64
    }
}

/// Lets the load run and measures; `packets` counts what was forwarded so far.
fn observe(calls: usize, packets: impl Fn() -> u64) -> Result<Cost> {
    std::thread::sleep(WARM_UP);
    let (wall, cpu, before) = (Instant::now(), process_cpu(), packets());
    std::thread::sleep(MEASURE);
    let cost = Cost {
        cpu: process_cpu() - cpu,
        wall: wall.elapsed(),
        packets: packets() - before,
        kb_per_call: 0,
    };
    let expected = calls as f64 * 100.0 * cost.wall.as_secs_f64();
    let share = cost.packets as f64 / expected;
    if !(0.97..=1.03).contains(&share) {
        println!(
            "       (note: {:.1} % of the packets due were forwarded; the machine is too busy)",
            share * 100.0
        );
    }
    Ok(cost)
}

fn measure_bare(calls: usize) -> Result<Cost> {
    let (mut child, peers) = Telephones::start(calls)?;
    let mut sockets = Vec::new();
    for _ in 0..2 * calls {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        sockets.push(socket);
    }
    let ports = sockets
        .iter()
        .map(|socket| Ok(socket.local_addr()?.port()))
        .collect::<Result<Vec<_>>>()?;
    let (stop, forwarded) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let bare = {
        let (stop, forwarded) = (Arc::clone(&stop), Arc::clone(&forwarded));
        std::thread::spawn(move || bare_loop(&sockets, &peers, &stop, &forwarded))
    };
    child.go(&ports)?;
    let cost = observe(calls, || forwarded.load(Ordering::Relaxed))?;
    stop.store(true, Ordering::Relaxed);
    child.stop()?;
    bare.join()
        .map_err(|_| "the bare loop panicked")?
        .map_err(|error| error.to_string())?;
    Ok(cost)
}

/// Receives on one leg, sends from the other, and nothing else.
fn bare_loop(
    sockets: &[UdpSocket],
    peers: &[SocketAddr],
    stop: &AtomicBool,
    forwarded: &AtomicU64,
) -> std::io::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, socket) in sockets.iter().enumerate() {
        epoll::add(
            &epoll,
            socket,
            epoll::EventData::new_u64(index as u64),
            epoll::EventFlags::IN,
        )?;
    }
    let mut ready = [const { MaybeUninit::<epoll::Event>::uninit() }; 1_024];
    let mut buffer = [0; 2_048];
    let timeout = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    while !stop.load(Ordering::Relaxed) {
        let (events, _) = epoll::wait(&epoll, &mut ready, Some(&timeout))?;
        for event in events.iter() {
            let index = event.data.u64() as usize;
            let (len, _) = sockets[index].recv_from(&mut buffer)?;
            sockets[index ^ 1].send_to(&buffer[..len], peers[index ^ 1])?;
            forwarded.store(forwarded.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }
    Ok(())
}

fn measure_engine(calls: usize, empty_kb: u64) -> Result<Cost> {
    let (mut child, peers) = Telephones::start(calls)?;
    let engine = Engine::start(EngineConfig {
        quarantine: Duration::ZERO,
        ..EngineConfig::default()
    })?;
    let (events, _keep) = tokio::sync::mpsc::channel(64);
    let (mut legs, mut readers): (Vec<Leg>, Vec<TapReader>) = (Vec::new(), Vec::new());
    for pair in peers.chunks_exact(2) {
        let agent = engine.open_leg(events.clone())?;
        let customer = engine.open_leg_beside(&agent, events.clone())?;
        patiently(|| agent.set_remote(Remote::udp(pair[0], Codec::Pcma)))?;
        patiently(|| customer.set_remote(Remote::udp(pair[1], Codec::Pcma)))?;
        let (tap, reader) = Tap::new(1_000);
        engine.bridge(&agent, &customer, Some(tap), Instant::now())?;
        legs.extend([agent, customer]);
        readers.push(reader);
    }
    let ports = legs
        .iter()
        .filter_map(|leg| Some(leg.local()?.port()))
        .collect::<Vec<_>>();
    let stop = Arc::new(AtomicBool::new(false));
    let drain = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || drain(readers, &stop))
    };
    child.go(&ports)?;
    let mut cost = observe(calls, || legs.iter().map(|leg| leg.stats().sent).sum())?;
    cost.kb_per_call = resident_kb()?.saturating_sub(empty_kb) / calls as u64;
    stop.store(true, Ordering::Relaxed);
    child.stop()?;
    let lost = drain.join().map_err(|_| "the drain panicked")?;
    if lost > 0 {
        println!("       (note: {lost} samples overflowed the taps)");
    }
    Ok(cost)
}

/// The mailbox holds a thousand commands; setting up hundreds of calls at once may find it full.
fn patiently(
    mut act: impl FnMut() -> std::result::Result<(), ringfence_media::MediaError>,
) -> Result<()> {
    for _ in 0..1_000 {
        match act() {
            Err(ringfence_media::MediaError::Overloaded) => {
                std::thread::sleep(Duration::from_millis(1))
            }
            other => return Ok(other?),
        }
    }
    Err("the engine stays overloaded".into())
}

fn drain(mut readers: Vec<TapReader>, stop: &AtomicBool) -> u64 {
    let mut samples = [0; 4_096];
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        for reader in &mut readers {
            while reader.read(&mut samples) == samples.len() {}
        }
    }
    readers
        .iter()
        .map(|reader| reader.report().overflow_samples)
        .sum()
}

fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Memory of this process that is in RAM, without the kernel's sockets.
fn resident_kb() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn raise_file_limit() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )?)
}

/// The child process that plays the telephones.
struct Telephones(Child);

impl Telephones {
    fn start(calls: usize) -> Result<(Self, Vec<SocketAddr>)> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--telephones", &(2 * calls).to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().ok_or("no pipe")?).read_line(&mut line)?;
        let telephones = Self(child);
        Ok((telephones, addresses(&line)?))
    }

    fn go(&mut self, ports: &[u16]) -> Result<()> {
        let line = ports
            .iter()
            .map(u16::to_string)
            .collect::<Vec<_>>()
            .join(" ");
        writeln!(self.0.stdin.as_mut().ok_or("no pipe")?, "{line}")?;
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Telephones {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn addresses(line: &str) -> Result<Vec<SocketAddr>> {
    line.split_whitespace()
        .map(|port| {
            Ok(SocketAddr::from((
                Ipv4Addr::LOCALHOST,
                port.parse::<u16>()?,
            )))
        })
        .collect()
}

fn telephones(count: usize) -> Result<()> {
    let sockets = (0..count)
        .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<std::io::Result<Vec<_>>>()?;
    let ports = sockets
        .iter()
        .map(|socket| Ok(socket.local_addr()?.port().to_string()))
        .collect::<Result<Vec<_>>>()?;
    println!("{}", ports.join(" "));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    for (socket, peer) in sockets.iter().zip(addresses(&line)?) {
        socket.connect(peer)?;
    }
    let sockets = Arc::new(sockets);
    let ears = Arc::clone(&sockets);
    std::thread::spawn(move || listen(&ears));
    let mut packet = [0xd5_u8; 172];
    let start = Instant::now();
    for number in 0_u64.. {
        for (index, socket) in sockets.iter().enumerate() {
            let due = start + PTIME * number as u32 + PTIME * index as u32 / count as u32;
            let wait = due.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                std::thread::sleep(wait);
            }
            packet[0] = 0x80;
            packet[1] = 8;
            packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
            packet[4..8].copy_from_slice(&(number as u32 * 160).to_be_bytes());
            packet[8..12].copy_from_slice(&(index as u32 + 1).to_be_bytes());
            let _ = socket.send(&packet);
        }
    }
    Ok(())
}

/// Empties the telephones' sockets, so that forwarding ends in a queue with room.
fn listen(sockets: &[UdpSocket]) -> std::io::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, socket) in sockets.iter().enumerate() {
        epoll::add(
            &epoll,
            socket,
            epoll::EventData::new_u64(index as u64),
            epoll::EventFlags::IN,
        )?;
    }
    let mut ready = [const { MaybeUninit::<epoll::Event>::uninit() }; 1_024];
    let mut buffer = [0; 2_048];
    loop {
        let (events, _) = epoll::wait(&epoll, &mut ready, None)?;
        for event in events.iter() {
            let _ = sockets[event.data.u64() as usize].recv(&mut buffer);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
