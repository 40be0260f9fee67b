//! What happens by the clock: tones every packet time, and every 100 ms RTCP, the silence watch, the taps of quiet
//! bridges, and the legs whose handles were dropped.

use super::*;

/// Our name in RTCP (RFC 3550 section 6.5.1): the same for all, it must tell nobody anything.
const CNAME: &str = "ringfence";

impl Worker {
    pub(super) fn tend(
        &mut self,
        buffer: &mut [u8; DATAGRAM],
        quiet_until: Option<Instant>,
        now: Instant,
    ) {
        for index in 0..self.playing.len() {
            if let Some(&slot) = self.playing.get(index) {
                self.sound(slot, buffer, now);
            }
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP;
            self.sweep(buffer, quiet_until, now);
        }
    }

    /// Sends a tone's packets that are due.
    fn sound(&mut self, slot: usize, buffer: &mut [u8; DATAGRAM], now: Instant) {
        let Some(leg) = self.leg_mut(slot) else {
            return;
        };
        let (Some(tone), remote) = (leg.tone.as_mut(), leg.remote.as_ref()) else {
            return;
        };
        if tone.due > now {
            return;
        }
        let ptime = remote.map_or(Duration::from_millis(20), |remote| remote.ptime);
        let samples = (ptime.as_millis() as usize * 8).clamp(80, TONE_MAX);
        tone.due += Duration::from_micros(samples as u64 * 125);
        if tone.due < now {
            // The thread was held up: go on from here, the receiver has long concealed what is missing.
            tone.due = now;
        }
        let Some(remote) = remote.filter(|remote| remote.direction.sends()) else {
            return;
        };
        let first = std::mem::take(&mut tone.first);
        let end = HEADER_LEN + samples;
        tone.source.fill_g711(
            remote.codec,
            buffer.get_mut(HEADER_LEN..end).unwrap_or_default(),
        );
        let out = leg.outbound.originate(samples as u32, first, now);
        let head = rtp::header(
            out.marker,
            remote.payload_type,
            out.sequence,
            out.timestamp,
            out.ssrc,
        );
        if let Some(place) = buffer.get_mut(..HEADER_LEN) {
            place.copy_from_slice(&head);
        }
        leg.send(buffer.get(..end).unwrap_or_default(), samples);
    }

    fn sweep(&mut self, buffer: &mut [u8; DATAGRAM], quiet_until: Option<Instant>, now: Instant) {
        for slot in 0..self.legs.len() {
            let Some(leg) = self.leg_mut(slot) else {
                continue;
            };
            if leg.counters.is_abandoned() {
                self.close(slot, buffer, now);
                continue;
            }
            if let Some(change) = leg.silence.check(now) {
                leg.tell_change(change);
            }
            if leg.next_report.is_some_and(|due| due <= now) {
                // RFC 3550 section 6.2: spread from half to one and a half of the mean.
                leg.next_report =
                    Some(now + RTCP_EVERY / 2 + Duration::from_millis(random() % 5_000));
                self.report(slot, now, false);
            }
        }
        if let Some(until) = quiet_until {
            for index in 0..self.bridges.len() {
                self.was_quiet(index, until);
            }
        }
    }

    /// Sends an RTCP report, or the last one with BYE.
    pub(super) fn report(&mut self, slot: usize, now: Instant, bye: bool) {
        let since_start = now.saturating_duration_since(self.started);
        let Some(leg) = self.leg_mut(slot) else {
            return;
        };
        if !leg.wire.has_rtcp() {
            return;
        }
        let peer = leg.peer_report;
        let heard = leg.inbound.report().map(|reception| match peer {
            Some((middle, at)) => {
                let delay = now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000;
                (reception, middle, u32::try_from(delay).unwrap_or(u32::MAX))
            }
            None => (reception, 0, 0),
        });
        let sent = leg
            .outbound
            .sent(now)
            .map(|(packets, octets, rtp)| (rtcp::ntp(since_start), rtp, packets, octets));
        let mut buffer = [0; rtcp::MAX_LEN];
        let report = rtcp::Report {
            ssrc: leg.outbound.ssrc(),
            cname: CNAME,
            sent,
            heard,
            bye,
        };
        let len = rtcp::write(&report, &mut buffer);
        match leg.wire.send_rtcp(buffer.get(..len).unwrap_or_default()) {
            Ok(()) => leg.counters.rtcp_sent.bump(),
            Err(_) => leg.counters.send_failed.bump(),
        }
    }
}
