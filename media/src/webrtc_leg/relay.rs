//! The task of one browser leg: it owns the connection, moves packets both ways, tells states, and closes.
//!
//! Nothing is buffered here: a packet that finds its way blocked is dropped and counted, because both ends have a
//! jitter buffer and a late packet is worth nothing. Time is an argument of [`Continuity`], so that it is tested
//! without a connection.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rtc::rtp::Packet;
use rtc::shared::marshal::Unmarshal;
use tokio::sync::{mpsc, oneshot};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::RTCPeerConnectionState;

use super::connection::{Connection, random_u32};
use super::offer::Formats;
use super::{BrowserError, BrowserEvent, CONNECT_LIMIT};

/// Largest RTP packet taken from either side, in bytes: 60 ms of G.711 has 492.
const PACKET_LIMIT: usize = 1500;
/// RTP header without CSRC and extension (RFC 3550 section 5.1).
const HEADER: usize = 12;
/// A time stamp unit of G.711.
const SAMPLES_PER_SECOND: u128 = 8000;

/// Counters of one leg, written by its task.
#[derive(Debug, Default)]
pub struct Traffic {
    to_browser: AtomicU64,
    from_browser: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
}

/// [`Traffic`] at one moment, in packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrafficSnapshot {
    /// Sent to the browser.
    pub to_browser: u64,
    /// Received from the browser and handed to the engine.
    pub from_browser: u64,
    /// Not RTP, too long, or of a payload type that was not agreed.
    pub refused: u64,
    /// Good, but the browser was not connected or the engine's socket was full.
    pub dropped: u64,
}

impl Traffic {
    pub(super) fn snapshot(&self) -> TrafficSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TrafficSnapshot {
            to_browser: read(&self.to_browser),
            from_browser: read(&self.from_browser),
            refused: read(&self.refused),
            dropped: read(&self.dropped),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The engine's socket as tokio's.
pub(super) fn socket(rtp: UnixDatagram) -> Result<tokio::net::UnixDatagram, BrowserError> {
    rtp.set_nonblocking(true)
        .and_then(|()| tokio::net::UnixDatagram::from_std(rtp))
        .map_err(|error| BrowserError::Setup {
            act: "use the engine's socket pair",
            detail: error.to_string(),
        })
}

/// Runs until the owner lets go, the connection fails, or the engine's end is gone; then closes the connection.
pub(super) async fn run(
    mut connection: Connection,
    rtp: tokio::net::UnixDatagram,
    events: mpsc::Sender<BrowserEvent>,
    stopped: oneshot::Receiver<()>,
    traffic: Arc<Traffic>,
) {
    let failed = tokio::select! {
        // Dropping the sender and sending mean the same.
        _ = stopped => false,
        () = relay(&mut connection, &rtp, &events, &traffic) => true,
    };
    connection.close().await;
    if failed {
        // The last event of the leg; an owner that no longer listens does not need it.
        let _ = events.send(BrowserEvent::Failed).await;
    }
}

/// Moves packets and tells states; returns when the leg has failed.
async fn relay(
    connection: &mut Connection,
    rtp: &tokio::net::UnixDatagram,
    events: &mpsc::Sender<BrowserEvent>,
    traffic: &Traffic,
) {
    let formats = connection.formats;
    let Ok(mut line) = Continuity::random(connection.ssrc) else {
        return;
    };
    let mut track: Option<Arc<dyn TrackRemote>> = None;
    let mut connected = false;
    let mut untold: Option<BrowserEvent> = None;
    let mut buffer = [0; PACKET_LIMIT];
    let connect_by = tokio::time::sleep(CONNECT_LIMIT);
    tokio::pin!(connect_by);
    let mut ever_connected = false;
    loop {
        tokio::select! {
            received = rtp.recv(&mut buffer) => {
                let Ok(length) = received else { return };
                let Some(datagram) = buffer.get(..length) else { continue };
                let Some(packet) = for_browser(datagram, formats, &mut line) else {
                    count(&traffic.refused);
                    continue;
                };
                if !connected {
                    count(&traffic.dropped);
                } else if connection.local.write_rtp(packet).await.is_err() {
                    return; // the crate's driver has stopped
                } else {
                    count(&traffic.to_browser);
                }
            }
            event = next(track.as_ref()) => match event {
                Some(TrackRemoteEvent::OnRtpPacket(packet)) => {
                    let Some(length) = for_engine(&packet, formats, &mut buffer) else {
                        count(&traffic.refused);
                        continue;
                    };
                    match buffer.get(..length).map(|datagram| rtp.try_send(datagram)) {
                        Some(Ok(_)) => count(&traffic.from_browser),
                        Some(Err(error)) if error.kind() == std::io::ErrorKind::WouldBlock => count(&traffic.dropped),
                        _ => return, // the engine's end is gone
                    }
                }
                Some(_) => {}
                None => track = None,
            },
            Some(announced) = connection.tracks.recv() => track = Some(announced),
            Ok(()) = connection.states.changed() => {
                match *connection.states.borrow_and_update() {
                    RTCPeerConnectionState::Connected => {
                        (connected, ever_connected) = (true, true);
                        untold = Some(BrowserEvent::Connected);
                    }
                    RTCPeerConnectionState::Disconnected => {
                        connected = false;
                        untold = Some(BrowserEvent::Disconnected);
                    }
                    RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => return,
                    _ => {}
                }
            }
            Ok(permit) = events.reserve(), if untold.is_some() => {
                if let Some(event) = untold.take() {
                    permit.send(event);
                }
            }
            () = &mut connect_by, if !ever_connected => return,
        }
    }
}

/// The next event of the browser's track; waits for ever while there is none.
async fn next(track: Option<&Arc<dyn TrackRemote>>) -> Option<TrackRemoteEvent> {
    match track {
        Some(track) => track.poll().await,
        None => std::future::pending().await,
    }
}

/// A datagram of the engine as a packet of our stream, or `None` if it is not what was agreed.
fn for_browser(datagram: &[u8], formats: Formats, line: &mut Continuity) -> Option<Packet> {
    let mut bytes = datagram;
    let mut packet = Packet::unmarshal(&mut bytes).ok()?;
    let header = &mut packet.header;
    if !agreed(header.payload_type, formats) || packet.payload.is_empty() {
        return None;
    }
    let placed = line.place(
        Instant::now(),
        header.ssrc,
        header.sequence_number,
        header.timestamp,
    );
    (header.ssrc, header.sequence_number, header.timestamp) =
        (line.own, placed.sequence, placed.timestamp);
    header.marker |= placed.restarted;
    header.padding = false;
    header.extension = false;
    header.extensions.clear();
    header.csrc.clear();
    Some(packet)
}

/// The browser's packet as a plain datagram for the engine; `None` if it is not what was agreed.
fn for_engine(packet: &Packet, formats: Formats, buffer: &mut [u8]) -> Option<usize> {
    let header = &packet.header;
    if !agreed(header.payload_type, formats) || packet.payload.is_empty() {
        return None;
    }
    let length = HEADER + packet.payload.len();
    let (head, body) = buffer.get_mut(..length)?.split_at_mut(HEADER);
    let [version, kind, sequence @ .., _, _, _, _, _, _, _, _] = head else {
        return None;
    };
    *version = 2 << 6;
    *kind = u8::from(header.marker) << 7 | header.payload_type;
    sequence.copy_from_slice(&header.sequence_number.to_be_bytes());
    head.get_mut(4..8)?
        .copy_from_slice(&header.timestamp.to_be_bytes());
    head.get_mut(8..12)?
        .copy_from_slice(&header.ssrc.to_be_bytes());
    body.copy_from_slice(&packet.payload);
    Some(length)
}

fn agreed(payload_type: u8, formats: Formats) -> bool {
    payload_type == formats.payload_type || Some(payload_type) == formats.telephone_event
}

/// One unbroken stream towards the browser out of whatever sources the engine has: another call, a tone, a call
/// after an hour of nothing. Sequence numbers go on without a gap, time stamps go on with the time that passed.
#[derive(Debug)]
struct Continuity {
    own: u32,
    source: Option<u32>,
    sequence_offset: u16,
    timestamp_offset: u32,
    last: Option<Last>,
    start: (u16, u32),
}

/// The newest packet that left.
#[derive(Debug, Clone, Copy)]
struct Last {
    sequence: u16,
    timestamp: u32,
    at: Instant,
}

/// Where a packet belongs in our stream.
#[derive(Debug, PartialEq, Eq)]
struct Placed {
    sequence: u16,
    timestamp: u32,
    /// A new source began: the marker bit tells the browser's jitter buffer.
    restarted: bool,
}

impl Continuity {
    fn random(own: u32) -> Result<Self, BrowserError> {
        let start = random_u32()?;
        // The upper bits seed the sequence; starting low leaves SRTP's roll-over far away.
        Ok(Self::new(own, (start >> 18) as u16, random_u32()?))
    }

    fn new(own: u32, sequence: u16, timestamp: u32) -> Self {
        Self {
            own,
            source: None,
            sequence_offset: 0,
            timestamp_offset: 0,
            last: None,
            start: (sequence, timestamp),
        }
    }

    fn place(&mut self, now: Instant, source: u32, sequence: u16, timestamp: u32) -> Placed {
        let restarted = self.source != Some(source);
        if restarted {
            let (next_sequence, next_timestamp) = match self.last {
                None => self.start,
                Some(last) => {
                    let passed = now
                        .saturating_duration_since(last.at)
                        .max(Duration::from_millis(20));
                    // Wraps as the time stamp itself does.
                    let samples = (passed.as_micros() * SAMPLES_PER_SECOND / 1_000_000) as u32;
                    (
                        last.sequence.wrapping_add(1),
                        last.timestamp.wrapping_add(samples),
                    )
                }
            };
            self.source = Some(source);
            self.sequence_offset = next_sequence.wrapping_sub(sequence);
            self.timestamp_offset = next_timestamp.wrapping_sub(timestamp);
        }
        let placed = Placed {
            sequence: sequence.wrapping_add(self.sequence_offset),
            timestamp: timestamp.wrapping_add(self.timestamp_offset),
            restarted,
        };
        if self
            .last
            .is_none_or(|last| placed.sequence.wrapping_sub(last.sequence) < 0x8000)
        {
            self.last = Some(Last {
                sequence: placed.sequence,
                timestamp: placed.timestamp,
                at: now,
            });
        }
        placed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_new_source_goes_on_where_the_old_one_ended() {
        let t = Instant::now();
        let mut line = Continuity::new(7, 65_535, u32::MAX - 100);
        let first = line.place(t, 1, 500, 9_000);
        assert_eq!(
            first,
            Placed {
                sequence: 65_535,
                timestamp: u32::MAX - 100,
                restarted: true
            }
        );
        let second = line.place(at(t, 20), 1, 501, 9_160);
        assert_eq!(
            second,
            Placed {
                sequence: 0,
                timestamp: 59,
                restarted: false
            }
        );
        // Ten seconds later another call begins with numbers of its own.
        let third = line.place(at(t, 10_020), 2, 40_000, 5);
        assert_eq!(
            third,
            Placed {
                sequence: 1,
                timestamp: 59 + 80_000,
                restarted: true
            }
        );
    }

    #[test]
    fn a_packet_out_of_order_keeps_its_place_and_does_not_turn_the_line_back() {
        let t = Instant::now();
        let mut line = Continuity::new(7, 100, 0);
        line.place(t, 1, 10, 1_600);
        line.place(at(t, 40), 1, 12, 1_920);
        assert_eq!(line.place(at(t, 41), 1, 11, 1_760).sequence, 101);
        let next = line.place(at(t, 60), 2, 0, 0);
        assert_eq!(next.sequence, 103);
        assert_eq!(next.timestamp, 320 + 160);
    }
}
