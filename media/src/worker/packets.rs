//! The audio path: one packet from a socket, judged, recorded, sent on. Nothing here locks or allocates.

use super::*;

impl Worker {
    /// Takes one packet from a ready socket, and more if that one waited.
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
            Socketry::Rtp => {
                if self.horizon < now {
                    self.take_until(slot, self.horizon, buffer, now);
                    return;
                }
                for _ in 0..AT_ONCE {
                    let came = self.take_rtp(slot, flags, buffer, now);
                    if came.is_none_or(|came| came + WAITED >= now) {
                        break;
                    }
                }
            }
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

    /// Takes one packet from a leg, and says when it came; `None` if there was none, or an ICMP error of an earlier one.
    #[inline]
    fn take_rtp(
        &mut self,
        slot: usize,
        flags: epoll::EventFlags,
        buffer: &mut [u8; DATAGRAM],
        now: Instant,
    ) -> Option<Instant> {
        let leg = self.legs.get_mut(slot)?.as_deref_mut()?;
        let (len, note) = match leg.wire.recv_rtp(buffer, &mut self.notes) {
            Ok(received) => received,
            Err(Errno::AGAIN) => {
                if flags.contains(epoll::EventFlags::HUP) {
                    // The other end of a pair is gone and will be for ever: stop being woken for it.
                    leg.counters.socket_errors.bump();
                    for (_, fd) in leg.wire.sockets() {
                        let _ = epoll::delete(&self.epoll, fd);
                    }
                }
                return None;
            }
            Err(_) => {
                leg.counters.socket_errors.bump();
                return None;
            }
        };
        leg.round = self.round;
        // A socket gives its packets in the order in which they came.
        let came = self.stamps.arrival(note);
        let came = leg.last_came.map_or(came, |last| came.max(last));
        leg.last_came = Some(came);
        let packet = buffer.get(..len).unwrap_or_default();
        if leg.wire.is_mux() && rtp::is_rtcp(packet) {
            self.hear_rtcp(slot, packet, now);
        } else if let Some(taken) = leg.admit(packet, came, now) {
            self.pass_on(&taken, buffer, now);
        }
        Some(came)
    }

    /// Takes what came before `until` from a leg, looking at each packet's note before it is taken.
    fn take_until(
        &mut self,
        slot: usize,
        until: Instant,
        buffer: &mut [u8; DATAGRAM],
        now: Instant,
    ) {
        for _ in 0..AT_ONCE_BEHIND {
            let Some(leg) = self.legs.get(slot).and_then(Option::as_deref) else {
                return;
            };
            match leg.wire.peek_rtp(&mut self.notes) {
                Ok(note) if self.stamps.arrival(note) < until => {
                    self.take_rtp(slot, epoll::EventFlags::empty(), buffer, now);
                }
                Ok(_) | Err(Errno::AGAIN) => return,
                Err(_) => leg.counters.socket_errors.bump(),
            }
        }
    }

    /// Takes everything that waits in the sockets of two legs that are about to leave their bridge.
    pub(super) fn empty(&mut self, legs: [usize; 2], buffer: &mut [u8; DATAGRAM]) {
        let now = self.stamps.now();
        let mut until = self.horizon;
        loop {
            for slot in legs {
                self.take_until(slot, until, buffer, now);
            }
            if until >= now {
                return;
            }
            until = now.min(until + STRIDE);
        }
    }

    /// Tells the taps that got a packet in this round, of their legs that gave none, that these were silent until
    /// `quiet_until`.
    pub(super) fn let_pass(&mut self, quiet_until: Option<Instant>) {
        if let Some(until) = quiet_until {
            for place in 0..self.touched.len() {
                if let Some(&index) = self.touched.get(place) {
                    self.was_quiet(index, until);
                }
            }
        }
        self.touched.clear();
    }

    /// Tells a tap of its legs that gave nothing in this round.
    pub(super) fn was_quiet(&mut self, index: usize, until: Instant) {
        let Some(bridge) = self.bridges.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let Some(tap) = &mut bridge.tap else { return };
        for (slot, side) in bridge.legs.into_iter().zip([Side::Agent, Side::Customer]) {
            let leg = self.legs.get(slot).and_then(Option::as_deref);
            if leg.is_none_or(|leg| leg.round != self.round) {
                tap.idle(side, until);
            }
        }
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
                taken.came,
            );
            // Never longer than its capacity: an entry per event of a round, but for legs being emptied.
            if self.touched.len() < EVENTS {
                self.touched.push(index);
            }
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
    /// Checks a packet that came at `came` against what was negotiated; counts what is refused. `None`: nothing to pass
    /// on.
    #[inline]
    fn admit(&mut self, packet: &[u8], came: Instant, now: Instant) -> Option<Taken> {
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
        let arrival = self.inbound.judge(&header, samples, came, counters);
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
            came,
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
