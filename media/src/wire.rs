//! The sockets of one leg.
//!
//! A UDP leg has three: RTP, connected to the negotiated peer, so that the kernel drops strangers and sends without
//! looking up a route (13 % less CPU a packet than unconnected); a stray socket on the same port that gets what the
//! connected one refuses, for nothing but counting; and RTCP, unconnected, its few packets checked here.
//! A pair leg has one end of a datagram pair and no RTCP.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::time::Instant;

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

    #[inline]
    pub(crate) fn recv_rtp(&self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        let received = match self {
            Self::Udp(udp) => rustix::net::recv(&udp.rtp, buffer, RecvFlags::DONTWAIT),
            Self::Pair(pair) => rustix::net::recv(pair, buffer, RecvFlags::DONTWAIT),
        };
        received.map(|(len, _)| len)
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
