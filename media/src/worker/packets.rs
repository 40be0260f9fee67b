//! The audio path: one packet from a socket, judged, recorded, sent on. Nothing here locks or allocates.

use super::*;

impl Worker {
    /// Takes one packet from a ready socket.
    #[inline]
    pub(super) fn take(
        &mut self,
        slot: usize,
        socket: Socketry,
        flags: epoll::EventFlags,
        buffer: &mut [u8; DATAGRAM],
        now: Instant,
    ) {
        match socket {
            Socketry::Rtp => self.take_rtp(slot, flags, buffer, now),
            Socketry::Rtcp => {
                let Some(leg) = self.leg(slot) else { return };
                match leg.wire.recv_rtcp(buffer) {
                    Ok((len, true)) => {
                        self.hear_rtcp(slot, buffer.get(..len).unwrap_or_default(), now)
                    }
                    Ok((_, false)) => leg.counters.refused.bump(),
                    Err(_) => leg.counters.socket_errors.bump(),
                }
            }
            Socketry::Stray => {
                let Some(leg) = self.leg(slot) else { return };
                match leg.wire.recv_stray() {
                    Ok(()) => leg.counters.refused.bump(),
                    Err(_) => leg.counters.socket_errors.bump(),
                }
            }
        }
    }

    #[inline]
    fn take_rtp(
        &mut self,
        slot: usize,
        flags: epoll::EventFlags,
        buffer: &mut [u8; DATAGRAM],
        now: Instant,
    ) {
        let Some(leg) = self.legs.get_mut(slot).and_then(Option::as_deref_mut) else {
            return;
        };
        let len = match leg.wire.recv_rtp(buffer) {
            Ok(len) => len,
            Err(error) => {
                leg.counters.socket_errors.bump();
                if error == Errno::AGAIN && flags.contains(epoll::EventFlags::HUP) {
                    // The other end of a pair is gone and will be for ever: stop being woken for it.
                    for (_, fd) in leg.wire.sockets() {
                        let _ = epoll::delete(&self.epoll, fd);
                    }
                }
                return;
            }
        };
        let packet = buffer.get(..len).unwrap_or_default();
        if leg.wire.is_mux() && rtp::is_rtcp(packet) {
            self.hear_rtcp(slot, packet, now);
            return;
        }
        let Some(taken) = leg.admit(packet, now) else {
            return;
        };
        self.pass_on(&taken, buffer, now);
    }

    /// Gives an admitted packet to the tap and to the other leg.
    #[inline]
    fn pass_on(&mut self, taken: &Taken, buffer: &mut [u8; DATAGRAM], now: Instant) {
        let (start, end) = (taken.header.payload_start, taken.header.payload_end);
        let (index, side) = taken.bridge;
        let Some(bridge) = self.bridges.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let samples = match taken.content {
            Content::Audio(_) => (end - start) as u32,
            Content::Event(_) => 0,
        };
        if let Some(tap) = &mut bridge.tap {
            let content = match taken.content {
                Content::Audio(codec) => {
                    TapContent::Audio(codec, buffer.get(start..end).unwrap_or_default())
                }
                Content::Event(event) => TapContent::Digit(u32::from(event.duration)),
            };
            let Header {
                marker, timestamp, ..
            } = taken.header;
            tap.push(
                side,
                &TapPacket {
                    arrival: taken.arrival,
                    marker,
                    timestamp,
                    content,
                },
                now,
            );
        }
        let [agent, customer] = bridge.legs;
        let other = match side {
            Side::Agent => customer,
            Side::Customer => agent,
        };
        let Some(peer) = self.legs.get_mut(other).and_then(Option::as_deref_mut) else {
            return;
        };
        let Some(remote) = peer
            .remote
            .as_ref()
            .filter(|remote| remote.direction.sends())
        else {
            return;
        };
        let payload_type = match taken.content {
            Content::Audio(codec) => {
                if codec != remote.codec {
                    codec.transcode(remote.codec, buffer.get_mut(start..end).unwrap_or_default());
                }
                remote.payload_type
            }
            Content::Event(_) => match remote.telephone_event {
                Some(payload_type) => payload_type,
                None => {
                    peer.counters.digits_undeliverable.bump();
                    return;
                }
            },
        };
        if peer.tone.take().is_some() {
            self.playing.retain(|&slot| slot != other);
        }
        let Some(out) =
            peer.outbound
                .relay(taken.source, &taken.header, taken.arrival, samples, now)
        else {
            return;
        };
        // The received header was at least as long, so the new one fits before the payload.
        let from = start - HEADER_LEN;
        let head = rtp::header(
            out.marker,
            payload_type,
            out.sequence,
            out.timestamp,
            out.ssrc,
        );
        if let Some(place) = buffer.get_mut(from..start) {
            place.copy_from_slice(&head);
        }
        peer.send(buffer.get(from..end).unwrap_or_default(), end - start);
    }

    pub(super) fn hear_rtcp(&mut self, slot: usize, packet: &[u8], now: Instant) {
        let since_start = now.saturating_duration_since(self.started);
        let Some(leg) = self.leg_mut(slot) else {
            return;
        };
        let ours = leg.outbound.ssrc();
        let mut bye = false;
        let mut report = leg.peer_report;
        let counters = &leg.counters;
        let whole = rtcp::read(packet, |said| match said {
            Said::Sender { ntp, .. } => report = Some((rtcp::middle(ntp), now)),
            Said::Block {
                about,
                fraction_lost,
                cumulative_lost,
                jitter,
                last_sr,
                delay,
            } if about == ours => {
                counters.remote_fraction_lost.set(u64::from(fraction_lost));
                counters
                    .remote_lost
                    .set(u64::from(cumulative_lost.max(0).unsigned_abs()));
                counters.remote_jitter.set(u64::from(jitter));
                if last_sr != 0 {
                    // RFC 3550 section 6.4.1; a negative result is a peer that counts wrong.
                    let trip = rtcp::middle(rtcp::ntp(since_start))
                        .wrapping_sub(last_sr)
                        .wrapping_sub(delay);
                    if trip < 0x8000_0000 {
                        counters
                            .round_trip_us
                            .set((u64::from(trip) * 1_000_000 / 65_536).max(1));
                    }
                }
            }
            Said::Block { .. } => {}
            Said::Bye => bye = true,
        });
        if whole {
            counters.rtcp_received.bump();
        } else {
            counters.malformed.bump();
        }
        leg.peer_report = report;
        if bye {
            leg.tell(MediaEvent::Bye { leg: leg.id });
        }
    }
}

impl LegState {
    /// Checks a packet against what was negotiated; counts what is refused. `None`: nothing to pass on.
    #[inline]
    fn admit(&mut self, packet: &[u8], now: Instant) -> Option<Taken> {
        let counters = &self.counters;
        let Some(remote) = self.remote.as_ref().filter(|_| self.wire.has_peer()) else {
            counters.refused.bump();
            return None;
        };
        let Ok(header) = rtp::parse(packet) else {
            counters.malformed.bump();
            return None;
        };
        let payload = packet
            .get(header.payload_start..header.payload_end)
            .unwrap_or_default();
        let Some(content) = meaning(remote, header.payload_type, payload) else {
            counters.unknown_payload.bump();
            return None;
        };
        if !remote.direction.receives() {
            counters.on_hold.bump();
            return None;
        }
        let samples = match content {
            Content::Audio(_) => Some(payload.len() as u32),
            Content::Event(_) => None,
        };
        let arrival = self.inbound.judge(&header, samples, now, counters);
        if matches!(arrival.step, Step::Duplicate | Step::Doubtful) {
            return None;
        }
        counters.received_octets.add(payload.len() as u64);
        if let Content::Event(event) = content
            && let Some(digit) = self.digits.heard(header.ssrc, header.timestamp, event)
        {
            counters.digits.bump();
            self.tell(MediaEvent::Digit {
                leg: self.id,
                digit,
            });
        }
        if let Some(change) = self.silence.heard(now) {
            self.tell_change(change);
        }
        Some(Taken {
            header,
            arrival,
            content,
            bridge: self.bridge?,
            source: Source::Leg(self.id.0),
        })
    }
}

#[inline]
fn meaning(remote: &Remote, payload_type: u8, payload: &[u8]) -> Option<Content> {
    if payload_type == remote.payload_type {
        return Some(Content::Audio(remote.codec));
    }
    if [remote.telephone_event, remote.telephone_event_in].contains(&Some(payload_type)) {
        return Event::parse(payload).map(Content::Event);
    }
    Codec::from_payload_type(payload_type).map(Content::Audio)
}
