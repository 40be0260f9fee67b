//! The sockets under a SIP user agent: reads bytes into an [`Endpoint`], writes what it wants sent, keeps its timers.
//!
//! Knows UDP and TCP, nothing of calls. The trunk and the practice PBX each own one; dropping it closes everything.
//! Nothing here waits for a peer: a datagram the kernel cannot take now is dropped (SIP retransmits), and a
//! connection whose peer does not read is closed once its queue is full. What must not leave any more when its turn comes
//! (an INVITE whose permission is over, behind a connection that took long to open) is dropped.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use ringfence_sip::{Connect, Endpoint, Event, TransportId, TransportKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    sync::mpsc,
    task::JoinHandle,
    time::sleep_until,
};

use crate::clock::Clock;

/// Messages that may wait for one connection; one more closes it.
const STREAM_QUEUE: usize = 256;
/// What a connection's peer has not taken for so long it never gets, and the connection is closed: left to itself the
/// kernel would deliver an INVITE a quarter of an hour later. Shorter than the least ringing that any rules allow (15 s).
const PEER_PATIENCE_MS: u32 = 10_000;
/// Chunks of all connections that may wait to be read; then their peers wait.
const INPUT_QUEUE: usize = 1024;

/// An endpoint with its sockets.
pub struct SipSocket {
    endpoint: Endpoint,
    clock: Clock,
    datagrams: Option<(TransportId, UdpSocket)>,
    /// Connections are made from here, where datagrams are too: the PBX may know us by our address.
    own: Option<IpAddr>,
    listener: Option<TcpListener>,
    streams: HashMap<TransportId, Stream>,
    input: mpsc::Receiver<StreamInput>,
    input_sender: mpsc::Sender<StreamInput>,
    buffer: Box<[u8]>,
}

struct Stream {
    output: mpsc::Sender<Waiting>,
    task: JoinHandle<()>,
}

/// A message for a connection, and until when it may still leave.
type Waiting = (Vec<u8>, Option<Instant>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

enum StreamInput {
    Bytes(TransportId, Vec<u8>),
    Closed(TransportId),
}

impl SipSocket {
    /// Gives `endpoint` a UDP socket at `local`; `advertised` is what Via and Contact print.
    pub async fn bind_udp(
        &mut self,
        local: SocketAddr,
        advertised: Option<SocketAddr>,
    ) -> io::Result<SocketAddr> {
        let socket = UdpSocket::bind(local).await?;
        let bound = socket.local_addr()?;
        let mut printed = advertised.unwrap_or(bound);
        if printed.port() == 0 {
            printed.set_port(bound.port());
        }
        let id = self.endpoint.bind_datagram(printed);
        self.datagrams = Some((id, socket));
        self.own = (!local.ip().is_unspecified()).then(|| local.ip());
        Ok(bound)
    }

    /// Accepts connections at `local` too.
    pub async fn listen_tcp(&mut self, local: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(local).await?;
        let bound = listener.local_addr()?;
        self.listener = Some(listener);
        Ok(bound)
    }

    /// An endpoint that has no socket yet.
    pub fn new(endpoint: Endpoint, clock: Clock) -> Self {
        let (input_sender, input) = mpsc::channel(INPUT_QUEUE);
        Self {
            endpoint,
            clock,
            datagrams: None,
            own: None,
            listener: None,
            streams: HashMap::new(),
            input,
            input_sender,
            buffer: vec![0; 65_536].into_boxed_slice(),
        }
    }

    /// The user agent, for commands; what they cause is sent by the next [`SipSocket::next_event`].
    pub fn endpoint(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    /// Sends, receives and keeps time until the endpoint has something to tell. May be dropped and called again.
    pub async fn next_event(&mut self) -> Event {
        loop {
            self.send_all();
            if let Some(event) = self.endpoint.poll_event() {
                return event;
            }
            let timer = self.endpoint.poll_timeout();
            tokio::select! {
                received = receive(self.datagrams.as_ref(), &mut self.buffer) => {
                    let (id, length, from) = received;
                    let bytes = self.buffer.get(..length).unwrap_or_default();
                    self.endpoint.handle_datagram(self.clock.monotonic(), id, from, bytes);
                }
                Some(input) = self.input.recv() => match input {
                    StreamInput::Bytes(id, bytes) if self.streams.contains_key(&id) => {
                        self.endpoint.handle_stream(self.clock.monotonic(), id, &bytes);
                    }
                    StreamInput::Bytes(..) => {}
                    StreamInput::Closed(id) => self.closed(id),
                },
                (stream, peer) = accept(self.listener.as_ref()) => {
                    // A full endpoint refuses; dropping the stream closes it.
                    if let Ok(id) = self.endpoint.accept_stream(self.clock.monotonic(), TransportKind::Tcp, peer) {
                        self.attach(id, async move { Ok(stream) });
                    }
                }
                () = wait_until(timer) => self.endpoint.handle_timeout(self.clock.monotonic()),
            }
        }
    }

    fn send_all(&mut self) {
        loop {
            while let Some(Connect {
                transport,
                destination,
                ..
            }) = self.endpoint.poll_connect()
            {
                self.attach(transport, connect(self.own, destination));
            }
            let Some(transmit) = self.endpoint.poll_transmit() else {
                return;
            };
            let is_late = |end| end <= self.clock.monotonic();
            if transmit.not_after.is_some_and(is_late) {
                continue;
            }
            match (&self.datagrams, self.streams.get(&transmit.transport)) {
                (Some((id, socket)), _) if *id == transmit.transport => {
                    if let Err(error) = socket.try_send_to(&transmit.bytes, transmit.destination) {
                        tracing::debug!(%error, to = %transmit.destination, "a SIP datagram was not sent");
                    }
                }
                (_, Some(stream))
                    if stream
                        .output
                        .try_send((transmit.bytes, transmit.not_after))
                        .is_err() =>
                {
                    self.closed(transmit.transport);
                }
                _ => {}
            }
        }
    }

    fn closed(&mut self, id: TransportId) {
        if self.streams.remove(&id).is_some() {
            self.endpoint
                .handle_stream_closed(self.clock.monotonic(), id);
        }
    }

    fn attach(
        &mut self,
        id: TransportId,
        connected: impl Future<Output = io::Result<TcpStream>> + Send + 'static,
    ) {
        let (output, mut queue) = mpsc::channel(STREAM_QUEUE);
        let (input, clock) = (self.input_sender.clone(), self.clock.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = carry(id, connected, &input, &mut queue, &clock).await {
                tracing::debug!(%error, "a SIP connection ended");
            }
            let _ = input.send(StreamInput::Closed(id)).await;
        });
        self.streams.insert(id, Stream { output, task });
    }
}

async fn connect(from: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.connect(to).await
}

/// Moves bytes between one connection and the queues until either side ends.
async fn carry(
    id: TransportId,
    connected: impl Future<Output = io::Result<TcpStream>>,
    input: &mpsc::Sender<StreamInput>,
    queue: &mut mpsc::Receiver<Waiting>,
    clock: &Clock,
) -> io::Result<()> {
    let stream = connected.await?;
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_tcp_user_timeout(&stream, PEER_PATIENCE_MS)?;
    let (mut reader, mut writer) = stream.into_split();
    let read = async {
        let mut buffer = vec![0; 16_384];
        loop {
            let length = reader.read(&mut buffer).await?;
            let bytes = buffer.get(..length).unwrap_or_default().to_vec();
            if bytes.is_empty() || input.send(StreamInput::Bytes(id, bytes)).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((bytes, not_after)) = queue.recv().await {
            if not_after.is_none_or(|end| clock.monotonic() < end) {
                writer.write_all(&bytes).await?;
            }
        }
        Ok(())
    };
    tokio::select! { ended = read => ended, ended = write => ended }
}

async fn receive(
    socket: Option<&(TransportId, UdpSocket)>,
    buffer: &mut [u8],
) -> (TransportId, usize, SocketAddr) {
    let Some((id, socket)) = socket else {
        return std::future::pending().await;
    };
    loop {
        match socket.recv_from(buffer).await {
            Ok((length, from)) => return (*id, length, from),
            // An ICMP error of an earlier datagram: the transaction's own timer decides what it means.
            Err(error) => tracing::debug!(%error, "receiving SIP datagrams"),
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> (TcpStream, SocketAddr) {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                // Out of descriptors: without a pause this would spin.
                tracing::warn!(%error, "cannot accept a SIP connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn wait_until(instant: Option<std::time::Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::time::Duration;

    use ringfence_sip::{Account, Config, Invite, Peer, headers::NameAddr, sdp, uri::Uri};

    use super::*;
    use crate::clock::TrustMode;

    fn clock() -> Clock {
        Clock::system(TrustMode::Host)
    }

    async fn socket() -> (SipSocket, UdpSocket, Peer) {
        let mut socket = SipSocket::new(Endpoint::new(Config::default(), [7; 32]), clock());
        let local = "127.0.0.1:0".parse().unwrap();
        socket.bind_udp(local, None).await.unwrap();
        let peer = UdpSocket::bind(local).await.unwrap();
        let to = Peer::udp(peer.local_addr().unwrap());
        (socket, peer, to)
    }

    #[tokio::test]
    async fn an_invite_whose_time_is_over_when_its_turn_comes_does_not_leave() {
        let (mut socket, peer, to) = socket().await;
        let uri = || Uri::parse("sip:a@127.0.0.1").unwrap();
        let offer = sdp::offer(&sdp::Local::new(1, to.address.ip(), 9), None);
        let mut invite = Invite::new(uri(), NameAddr::new(uri()), to, offer);
        let now = clock().monotonic();
        invite.not_after = Some(now + Duration::from_nanos(1));
        let endpoint = socket.endpoint();
        let (leg, _) = endpoint.prepare_invite(now, invite).unwrap();
        endpoint.send_invite(now, leg).unwrap();
        // Behind it in the queue stands what may leave at any time.
        let account = Account::new(uri(), NameAddr::new(uri()), to, None);
        endpoint.register(now, account).unwrap();
        let mut buffer = [0; 4_096];
        let length = tokio::select! {
            received = peer.recv(&mut buffer) => received.unwrap(),
            event = socket.next_event() => panic!("{event:?}"),
        };
        assert!(buffer[..length].starts_with(b"REGISTER "));
    }

    #[tokio::test]
    async fn what_waited_too_long_for_a_connection_is_not_written_to_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap());
        let (output, mut queue) = mpsc::channel(3);
        let now = clock().monotonic();
        for waiting in [
            (b"late".to_vec(), Some(now)),
            (b"in time,".to_vec(), Some(now + Duration::from_secs(3_600))),
            (b"at any time".to_vec(), None),
        ] {
            output.send(waiting).await.unwrap();
        }
        drop(output);
        let (input, _unread) = mpsc::channel(1);
        let (mut socket, _, _) = socket().await;
        let id = socket
            .endpoint()
            .bind_datagram(listener.local_addr().unwrap());
        carry(id, stream, &input, &mut queue, &clock())
            .await
            .unwrap();
        let (mut accepted, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        accepted.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "in time,at any time");
    }
}
