//! The cheapest thing that could carry the same calls: one thread that receives every packet and sends it on.
//!
//! It reads no header, rewrites nothing, records nothing. What it costs is the price of the system calls, below which no
//! relay with plain sockets can come; the daemon's price is given as a multiple of it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::time::{ClockId, clock_gettime};

/// One G.711 packet of 20 ms: RTP header and 160 samples.
const PACKET: usize = 172;
/// Packets of one leg follow each other at this distance.
const PTIME: Duration = Duration::from_millis(20);

/// What one run cost.
pub struct Run {
    /// CPU of the relaying thread per second of wall time, in cores.
    pub cores: f64,
    /// Packets it sent per second; 100 a call when it kept up.
    pub packets_per_second: f64,
}

/// Relays `calls` calls for `seconds` between sockets on `relay` and a generator on `peers`.
pub fn run(calls: usize, seconds: u64, relay: IpAddr, peers: IpAddr) -> io::Result<Run> {
    let bind = |ip: IpAddr| {
        let socket = UdpSocket::bind(SocketAddr::new(ip, 0))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    // Sockets 2n and 2n+1 are the two legs of call n.
    let legs: Vec<UdpSocket> = (0..2 * calls)
        .map(|_| bind(relay))
        .collect::<io::Result<_>>()?;
    let phones: Vec<UdpSocket> = (0..2 * calls)
        .map(|_| bind(peers))
        .collect::<io::Result<_>>()?;
    let leg_addresses: Vec<SocketAddr> = legs
        .iter()
        .map(UdpSocket::local_addr)
        .collect::<io::Result<_>>()?;
    let phone_addresses: Vec<SocketAddr> = phones
        .iter()
        .map(UdpSocket::local_addr)
        .collect::<io::Result<_>>()?;

    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let relaying = {
        let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
        thread::spawn(move || relay_packets(&legs, &phone_addresses, &stop, &sent))
    };
    let generating = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || generate(&phones, &leg_addresses, &stop))
    };
    thread::sleep(Duration::from_secs(seconds));
    stop.store(true, Ordering::Relaxed);
    let (cpu, wall) = join(relaying)??;
    join(generating)??;
    Ok(Run {
        cores: cpu.as_secs_f64() / wall.as_secs_f64(),
        packets_per_second: sent.load(Ordering::Relaxed) as f64 / wall.as_secs_f64(),
    })
}

fn join<T>(handle: thread::JoinHandle<T>) -> io::Result<T> {
    handle
        .join()
        .map_err(|_| io::Error::other("a thread of the bare loop panicked"))
}

fn relay_packets(
    legs: &[UdpSocket],
    phones: &[SocketAddr],
    stop: &AtomicBool,
    sent: &AtomicU64,
) -> io::Result<(Duration, Duration)> {
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
    let (cpu, wall) = (thread_cpu(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
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
            // Level-triggered, one receive a readiness: none comes back empty.
            let (length, _) = legs[from].recv_from(&mut packet)?;
            legs[to].send_to(&packet[..length], phones[to])?;
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok((thread_cpu().saturating_sub(cpu), wall.elapsed()))
}

/// Plays all phones: a packet each per 20 ms, spread evenly over them, and reads what comes back.
fn generate(phones: &[UdpSocket], legs: &[SocketAddr], stop: &AtomicBool) -> io::Result<()> {
    let mut packet = [0_u8; PACKET];
    packet[0] = 0x80;
    packet[1] = 8;
    let mut back = [0; 1500];
    let gap = PTIME / u32::try_from(phones.len()).unwrap_or(u32::MAX);
    let start = Instant::now();
    let mut count = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        let due = start + gap * count;
        if let Some(wait) = due.checked_duration_since(Instant::now()) {
            thread::sleep(wait);
        }
        let index = count as usize % phones.len();
        phones[index].send_to(&packet, legs[index])?;
        while phones[index].recv_from(&mut back).is_ok() {}
        count = count.wrapping_add(1);
    }
    Ok(())
}

/// CPU used by the calling thread so far.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
