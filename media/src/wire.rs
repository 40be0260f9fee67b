//! The sockets of one leg.
//!
//! A UDP leg has three: RTP, connected to the negotiated peer, so that the kernel drops strangers and sends without
//! looking up a route (13 % less CPU a packet than unconnected); a stray socket on the same port that gets what the
//! connected one refuses, for nothing but counting; and RTCP, unconnected, its few packets checked here.
//! A pair leg has one end of a datagram pair and no RTCP.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, Socket, Type};

use crate::engine::lock;
use crate::leg::{Address, Rtcp};
use crate::ports::PortPool;

/// A port pair out of the pool; goes into quarantine when dropped.
#[derive(Debug)]
pub(crate) struct PortLease {
    port: u16,
    pool: Arc<Mutex<PortPool>>,
}

impl PortLease {
    pub(crate) fn new(port: u16, pool: Arc<Mutex<PortPool>>) -> Self {
        Self { port, pool }
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        lock(&self.pool).give_back(self.port, Instant::now());
    }
}

/// Room for what the kernel notes beside a packet.
#[derive(Debug)]
pub(crate) struct Notes(Vec<u8>);

impl Notes {
    pub(crate) fn new() -> Self {
        Self(nix::cmsg_space!(nix::sys::time::TimeSpec))
    }
}

#[derive(Debug)]
pub(crate) enum Wire {
    Udp(Box<UdpWire>),
    Pair(UnixDatagram),
}

#[derive(Debug)]
pub(crate) struct UdpWire {
    rtp: UdpSocket,
    stray: UdpSocket,
    rtcp: UdpSocket,
    peer: Option<(SocketAddr, Rtcp)>,
    /// Last, so that the sockets are closed before the ports go back.
    _lease: PortLease,
}

/// Which socket of a leg an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Socketry {
    Rtp,
    Rtcp,
    Stray,
}

impl Wire {
    pub(crate) fn pair(socket: UnixDatagram) -> Self {
        // Without the kernel's notes a packet counts as having come when it is read.
        let _ = setsockopt(&socket, sockopt::ReceiveTimestampns, &true);
        Self::Pair(socket)
    }

    /// Binds the pair of ports at `address`.
    pub(crate) fn bind(address: SocketAddr, lease: PortLease) -> io::Result<Self> {
        let open = || {
            Socket::new(
                Domain::for_address(address),
                Type::DGRAM.nonblocking().cloexec(),
                Some(Protocol::UDP),
            )
        };
        let rtp = open()?;
        rtp.bind(&address.into())?;
        let rtcp = open()?;
        rtcp.bind(&SocketAddr::new(address.ip(), address.port().saturating_add(1)).into())?;
        // The port is ours by now. Only for the moment of the second bind is it shared, so nobody else can slip in
        // unless they ask for sharing in that very moment.
        rtp.set_reuse_address(true)?;
        let stray = open()?;
        stray.set_reuse_address(true)?;
        stray.bind(&address.into())?;
        stray.set_reuse_address(false)?;
        rtp.set_reuse_address(false)?;
        setsockopt(&rtp, sockopt::ReceiveTimestampns, &true)?;
        stray.set_recv_buffer_size(4_096)?; // whatever a stranger floods in stays small
        let wire = UdpWire {
            rtp: rtp.into(),
            stray: stray.into(),
            rtcp: rtcp.into(),
            peer: None,
            _lease: lease,
        };
        Ok(Self::Udp(Box::new(wire)))
    }

    /// The sockets to watch.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (Socketry, BorrowedFd<'_>)> {
        let [first, second, third] = match self {
            Self::Udp(udp) => [
                Some((Socketry::Rtp, udp.rtp.as_fd())),
                Some((Socketry::Rtcp, udp.rtcp.as_fd())),
                Some((Socketry::Stray, udp.stray.as_fd())),
            ],
            Self::Pair(pair) => [Some((Socketry::Rtp, pair.as_fd())), None, None],
        };
        [first, second, third].into_iter().flatten()
    }

    /// Points the leg at its peer; an address of all zeros leaves it without one. Gives the number of packets that waited from before and were dropped, since nobody
    /// can tell whose they are.
    pub(crate) fn connect(&mut self, address: Address) -> io::Result<u64> {
        let (Self::Udp(udp), Address::Udp { rtp, rtcp }) = (self, address) else {
            return Ok(0);
        };
        let moved = udp.peer.is_none_or(|(peer, _)| peer != rtp);
        if !moved {
            udp.peer = Some((rtp, rtcp));
            return Ok(0);
        }
        udp.peer = None;
        if rtp.ip().is_unspecified() || rtp.port() == 0 {
            // Hold as RFC 2543 had it, or a refused stream. To the kernel it would be this very machine.
            return Ok(0);
        }
        udp.rtp.connect(rtp)?;
        udp.peer = Some((rtp, rtcp));
        let mut dropped = 0;
        let mut scratch = [0; 1];
        // Bounded by the receive buffer: from here on the kernel queues packets of the peer only.
        while dropped < 10_000 && udp.rtp.recv(&mut scratch).is_ok() {
            dropped += 1;
        }
        Ok(dropped)
    }

    /// Takes one packet: its length, and when the kernel received it, in nanoseconds since 1970.
    #[inline]
    pub(crate) fn recv_rtp(
        &self,
        buffer: &mut [u8],
        notes: &mut Notes,
    ) -> rustix::io::Result<(usize, Option<i64>)> {
        self.recv_noted(buffer, notes, MsgFlags::MSG_DONTWAIT)
    }

    /// When the kernel received the packet that is next, which stays where it is.
    pub(crate) fn peek_rtp(&self, notes: &mut Notes) -> rustix::io::Result<Option<i64>> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
        self.recv_noted(&mut [0], notes, flags)
            .map(|(_, note)| note)
    }

    #[inline]
    fn recv_noted(
        &self,
        buffer: &mut [u8],
        notes: &mut Notes,
        flags: MsgFlags,
    ) -> rustix::io::Result<(usize, Option<i64>)> {
        let fd = match self {
            Self::Udp(udp) => udp.rtp.as_raw_fd(),
            Self::Pair(pair) => pair.as_raw_fd(),
        };
        let mut slices = [IoSliceMut::new(buffer)];
        let received = recvmsg::<()>(fd, &mut slices, Some(&mut notes.0), flags)
            .map_err(|error| Errno::from_raw_os_error(error as i32))?;
        let note = received.cmsgs().ok().and_then(|mut notes| {
            notes.find_map(|note| match note {
                ControlMessageOwned::ScmTimestampns(time) => time
                    .tv_sec()
                    .checked_mul(1_000_000_000)?
                    .checked_add(time.tv_nsec()),
                _ => None,
            })
        });
        Ok((received.bytes, note))
    }

    /// True if packets of this leg may be taken: before a peer is known nobody is negotiated.
    #[inline]
    pub(crate) fn has_peer(&self) -> bool {
        match self {
            Self::Udp(udp) => udp.peer.is_some(),
            Self::Pair(_) => true,
        }
    }

    /// True if RTCP shares the RTP port.
    #[inline]
    pub(crate) fn is_mux(&self) -> bool {
        match self {
            Self::Udp(udp) => matches!(udp.peer, Some((_, Rtcp::Mux))),
            Self::Pair(_) => true,
        }
    }

    #[inline]
    pub(crate) fn send_rtp(&self, packet: &[u8]) -> rustix::io::Result<()> {
        match self {
            Self::Udp(udp) if udp.peer.is_none() => Err(Errno::DESTADDRREQ),
            Self::Udp(udp) => send_connected(&udp.rtp, packet),
            Self::Pair(pair) => {
                rustix::net::send(pair, packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map(drop)
            }
        }
    }

    /// Takes one packet from the stray socket and forgets it.
    pub(crate) fn recv_stray(&self) -> rustix::io::Result<()> {
        match self {
            Self::Udp(udp) => {
                rustix::net::recv(&udp.stray, &mut [0_u8; 1][..], RecvFlags::DONTWAIT).map(drop)
            }
            Self::Pair(_) => Ok(()),
        }
    }

    /// Takes one RTCP packet; `false` beside its length: it is not from the peer.
    pub(crate) fn recv_rtcp(&self, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        match self {
            Self::Udp(udp) => {
                let (len, from) = udp.rtcp.recv_from(buffer)?;
                Ok((
                    len,
                    matches!(udp.peer, Some((_, Rtcp::At(peer))) if peer == from),
                ))
            }
            Self::Pair(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(crate) fn send_rtcp(&self, packet: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(udp) => match udp.peer {
                Some((_, Rtcp::Mux)) => Ok(send_connected(&udp.rtp, packet)?),
                Some((_, Rtcp::At(peer))) => udp.rtcp.send_to(packet, peer).map(drop),
                None => Err(io::ErrorKind::NotConnected.into()),
            },
            Self::Pair(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// A pair leg speaks no RTCP.
    pub(crate) fn has_rtcp(&self) -> bool {
        matches!(self, Self::Udp(udp) if udp.peer.is_some())
    }
}

/// Sends on a connected socket. An ICMP error of an earlier packet is reported in place of sending: then once more.
#[inline]
fn send_connected(socket: &UdpSocket, packet: &[u8]) -> rustix::io::Result<()> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match rustix::net::send(socket, packet, flags) {
        Err(Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH) => {
            rustix::net::send(socket, packet, flags).map(drop)
        }
        sent => sent.map(drop),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    fn wall() -> i64 {
        let now = clock_gettime(ClockId::Realtime);
        now.tv_sec * 1_000_000_000 + now.tv_nsec
    }

    #[test]
    fn the_kernel_notes_when_a_packet_came_and_not_when_it_is_read() {
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let pool = Arc::new(Mutex::new(
            PortPool::new(18_960..=18_999, Duration::ZERO).unwrap(),
        ));
        let port = lock(&pool).take(Instant::now()).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut udp = Wire::bind(address, PortLease::new(port, pool)).unwrap();
        let to = peer.local_addr().unwrap();
        udp.connect(Address::Udp {
            rtp: to,
            rtcp: Rtcp::Mux,
        })
        .unwrap();
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let pair = Wire::pair(ours);

        let (mut buffer, mut notes) = ([0; 64], Notes::new());
        let deadline = Instant::now() + Duration::from_secs(20);
        for (wire, send) in [
            (
                &udp,
                &(|text: &[u8]| peer.send_to(text, address).map(drop)) as &dyn Fn(&[u8]) -> _,
            ),
            (&pair, &|text: &[u8]| theirs.send(text).map(drop)),
        ] {
            // The kernel begins to note a moment after it was asked to; until then it gives the time of reading.
            loop {
                let before = wall();
                for text in [b"first", b"later"] {
                    send(text).unwrap();
                }
                let after = wall();
                let noted = [b"first", b"later"].map(|text| {
                    let peeked = wire.peek_rtp(&mut notes).unwrap();
                    let (len, note) = wire.recv_rtp(&mut buffer, &mut notes).unwrap();
                    assert_eq!((&buffer[..len], note), (&text[..], peeked));
                    note.unwrap()
                });
                if noted.iter().all(|note| (before..=after).contains(note)) {
                    break;
                }
                assert!(Instant::now() < deadline, "{before} to {after}: {noted:?}");
            }
            let nothing = wire.recv_rtp(&mut buffer, &mut notes);
            assert_eq!(nothing.unwrap_err(), Errno::AGAIN);
        }
    }
}
