//! The engine's end of the datagram pair, played by the test: a tone out, and an ear for what comes in. Its A-law
//! and its Goertzel filter are its own, so that a fault in ours cannot cancel itself.

use std::collections::BTreeSet;
use std::f64::consts::TAU;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

const LIMIT: Duration = Duration::from_secs(15);
const FRAME: usize = 160;

/// One end of a stream of RTP datagrams.
pub enum Socket {
    Pair(std::os::unix::net::UnixDatagram),
    Udp(std::net::UdpSocket),
}

impl From<std::os::unix::net::UnixDatagram> for Socket {
    fn from(socket: std::os::unix::net::UnixDatagram) -> Self {
        Self::Pair(socket)
    }
}

/// A socket with the payload types that were agreed for it.
pub struct Line {
    pub socket: Socket,
    pub payload_type: u8,
    pub telephone_event: u8,
}

impl Line {
    /// The test itself at this end.
    pub fn engine(self) -> Engine {
        Engine::new(self)
    }
}

/// The same, for tokio.
enum Wire {
    Pair(tokio::net::UnixDatagram),
    Udp(tokio::net::UdpSocket),
}

impl Wire {
    fn new(socket: Socket) -> std::io::Result<Self> {
        match socket {
            Socket::Pair(socket) => {
                socket.set_nonblocking(true)?;
                tokio::net::UnixDatagram::from_std(socket).map(Self::Pair)
            }
            Socket::Udp(socket) => {
                socket.set_nonblocking(true)?;
                tokio::net::UdpSocket::from_std(socket).map(Self::Udp)
            }
        }
    }

    async fn send(&self, packet: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Pair(socket) => socket.send(packet).await,
            Self::Udp(socket) => socket.send(packet).await,
        }
    }

    async fn recv(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Pair(socket) => socket.recv(buffer).await,
            Self::Udp(socket) => socket.recv(buffer).await,
        }
    }
}

/// A sine as a source of RTP with numbers of its own.
#[derive(Debug, Clone, Copy)]
pub struct Tone {
    hz: f64,
    ssrc: u32,
    sequence: u16,
}

impl Tone {
    pub fn new(hz: f64, ssrc: u32, sequence: u16) -> Self {
        Self { hz, ssrc, sequence }
    }
}

/// A digit as its last packet told it (RFC 4733 section 2.3).
#[derive(Debug)]
pub struct Digit {
    pub event: u8,
    pub duration: u16,
}

/// What came in for a while.
pub struct Voice {
    samples: Vec<f64>,
    sources: BTreeSet<u32>,
}

impl std::fmt::Debug for Voice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let power: f64 =
            self.samples.iter().map(|s| s * s).sum::<f64>() / self.samples.len() as f64;
        write!(
            f,
            "{} samples, rms {:.0}, sources {:?}",
            self.samples.len(),
            power.sqrt(),
            self.sources
        )
    }
}

impl Voice {
    /// The share of the whole power that lies at `hz`, from 0 to 1 (Goertzel).
    pub fn power_at(&self, hz: f64) -> f64 {
        let turn = 2.0 * (TAU * hz / 8_000.0).cos();
        let (mut last, mut before) = (0.0, 0.0);
        for sample in &self.samples {
            (last, before) = (sample + turn * last - before, last);
        }
        let tone = last * last + before * before - turn * last * before;
        let whole: f64 = self.samples.iter().map(|s| s * s).sum();
        2.0 * tone / (self.samples.len() as f64 * whole.max(1.0))
    }

    /// How many SSRCs were seen.
    pub fn sources(&self) -> usize {
        self.sources.len()
    }
}

/// The other end of one leg's pair.
pub struct Engine {
    tone: watch::Sender<Option<Tone>>,
    packets: mpsc::Receiver<Vec<u8>>,
    payload_type: u8,
    telephone_event: u8,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Engine {
    fn new(line: Line) -> Self {
        let Line {
            socket,
            payload_type,
            telephone_event,
        } = line;
        let socket = std::sync::Arc::new(Wire::new(socket).expect("a socket"));
        let (tone, tones) = watch::channel(None);
        let (heard, packets) = mpsc::channel(64);
        let voice = tokio::spawn(speak(std::sync::Arc::clone(&socket), tones, payload_type));
        let ear = tokio::spawn(async move {
            let mut buffer = [0; 2_000];
            while let Ok(length) = socket.recv(&mut buffer).await {
                // A test that does not listen loses the packet, as a real engine would.
                let _ = heard.try_send(buffer[..length].to_vec());
                if heard.is_closed() {
                    break;
                }
            }
        });
        Self {
            tone,
            packets,
            payload_type,
            telephone_event,
            tasks: [voice, ear],
        }
    }

    /// Plays `tone` from now on instead of what was played before.
    pub async fn play(&mut self, tone: Tone) {
        self.tone.send_replace(Some(tone));
    }

    async fn packet(&mut self) -> Vec<u8> {
        let packet = tokio::time::timeout(LIMIT, self.packets.recv())
            .await
            .expect("the browser sends")
            .expect("open");
        assert_eq!(
            packet[0], 0x80,
            "a plain RTP header, no padding, extension or CSRC"
        );
        packet
    }

    fn drain(&mut self) {
        while self.packets.try_recv().is_ok() {}
    }

    /// Hears speech for `length` from now on.
    pub async fn listen(&mut self, length: Duration) -> Voice {
        self.drain();
        let wanted = length.as_millis() as usize * 8;
        let mut voice = Voice {
            samples: Vec::new(),
            sources: BTreeSet::new(),
        };
        while voice.samples.len() < wanted {
            let packet = self.packet().await;
            if packet[1] & 0x7f != self.payload_type {
                continue;
            }
            voice.sources.insert(u32::from_be_bytes(
                packet[8..12].try_into().expect("four bytes"),
            ));
            voice
                .samples
                .extend(packet[12..].iter().map(|byte| f64::from(decode(*byte))));
        }
        voice
    }

    /// The next digit, as its end packet tells it.
    pub async fn digit(&mut self) -> Digit {
        loop {
            let packet = self.packet().await;
            if packet[1] & 0x7f == self.telephone_event && packet[13] & 0x80 != 0 {
                return Digit {
                    event: packet[12],
                    duration: u16::from_be_bytes([packet[14], packet[15]]),
                };
            }
        }
    }

    /// Closes the engine's end, as a leg that is closed does.
    pub async fn vanish(self) {
        for task in self.tasks {
            task.abort();
            // Aborted or ended by itself: either way its half of the socket is gone.
            let _ = task.await;
        }
    }

    /// Returns once the browser has been silent for 200 ms.
    pub async fn silence(&mut self) {
        let begun = tokio::time::Instant::now();
        loop {
            let voice = self.listen(Duration::from_millis(200)).await;
            if voice.samples.iter().all(|sample| sample.abs() < 100.0) {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "muted, but {voice:?}");
        }
    }
}

/// Sends 20 ms of the tone every 20 ms.
async fn speak(
    socket: std::sync::Arc<Wire>,
    mut tones: watch::Receiver<Option<Tone>>,
    payload_type: u8,
) {
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    let (mut sent, mut timestamp) = (0_u16, 0_u32);
    loop {
        beat.tick().await;
        let changed = match tones.has_changed() {
            Ok(changed) => changed,
            Err(_) => return,
        };
        if changed {
            (sent, timestamp) = (0, 3_000_000_000);
        }
        let Some(tone) = *tones.borrow_and_update() else {
            continue;
        };
        let mut packet = vec![0x80, payload_type];
        packet.extend(tone.sequence.wrapping_add(sent).to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(tone.ssrc.to_be_bytes());
        let first = usize::from(sent) * FRAME;
        packet.extend(
            (first..first + FRAME)
                .map(|n| encode(((n as f64 * tone.hz / 8_000.0 * TAU).sin() * 8_000.0) as i32)),
        );
        (sent, timestamp) = (sent.wrapping_add(1), timestamp.wrapping_add(FRAME as u32));
        if socket.send(&packet).await.is_err() {
            return; // the leg is closed
        }
    }
}

/// A-law to linear, 16 bits (G.711 table 1a).
fn decode(byte: u8) -> i32 {
    let byte = byte ^ 0x55;
    let (exponent, mantissa) = (u32::from(byte >> 4 & 7), i32::from(byte & 15));
    let magnitude = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    if byte & 0x80 != 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// The A-law byte that decodes nearest to `sample`.
fn encode(sample: i32) -> u8 {
    (0..=u8::MAX)
        .min_by_key(|byte| (decode(*byte) - sample).abs())
        .expect("256 bytes")
}
