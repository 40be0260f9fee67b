//! Commands from the daemon. A command about a leg that is gone is no error: the two may have crossed.

use super::*;

impl Worker {
    pub(super) fn obey(&mut self, buffer: &mut [u8; DATAGRAM], now: Instant) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Adopt(leg) => self.adopt(leg, now),
                Command::Surrender { leg, reply } => {
                    if let Some(slot) = self.slot(leg)
                        && let Some(state) = self.remove(slot, buffer, now)
                    {
                        // If the asker gave up waiting the state is dropped, and with it the sockets.
                        let _ = reply.try_send(state);
                    }
                }
                Command::SetRemote { leg, remote } => {
                    if let Some(slot) = self.slot(leg) {
                        self.set_remote(slot, *remote, now);
                    }
                }
                Command::Play { leg, tone } => {
                    if let Some(slot) = self.slot(leg) {
                        self.play(
                            slot,
                            Some(Playing {
                                source: ToneSource::new(tone),
                                due: now,
                                first: true,
                            }),
                        );
                    }
                }
                Command::StopTone { leg } => {
                    if let Some(slot) = self.slot(leg) {
                        self.play(slot, None);
                    }
                }
                Command::Bridge {
                    agent,
                    customer,
                    tap,
                    at,
                    joined,
                } => {
                    if self.bridge([agent, customer], tap, buffer, at) {
                        // Whoever asked may not care.
                        let _ = joined.send(Instant::now());
                    }
                }
                Command::Unbridge { leg, at } => {
                    if let Some(slot) = self.slot(leg) {
                        self.unbridge(slot, buffer, at);
                    }
                }
                Command::PauseTap { leg, at } => {
                    if let Some(tap) = self.tap_of(leg) {
                        tap.pause(at);
                    }
                }
                Command::ResumeTap { leg, at } => {
                    if let Some(tap) = self.tap_of(leg) {
                        tap.resume(at);
                    }
                }
                Command::Close { leg, at } => {
                    if let Some(slot) = self.slot(leg) {
                        self.close(slot, buffer, at.unwrap_or(now));
                    }
                }
                Command::Shutdown => self.stopping = true,
            }
        }
    }

    fn slot(&self, id: LegId) -> Option<usize> {
        self.legs
            .iter()
            .position(|leg| leg.as_ref().is_some_and(|leg| leg.id == id))
    }

    fn tap_of(&mut self, leg: LegId) -> Option<&mut Tap> {
        let (index, _) = self.leg(self.slot(leg)?)?.bridge?;
        self.bridges.get_mut(index)?.as_mut()?.tap.as_deref_mut()
    }

    fn adopt(&mut self, leg: Box<LegState>, now: Instant) {
        let slot = self
            .legs
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.legs.len());
        for (socket, fd) in leg.wire.sockets() {
            if let Err(error) =
                epoll::add(&self.epoll, fd, token(slot, socket), epoll::EventFlags::IN)
            {
                // Out of kernel memory or watches: the leg stays deaf, which the silence watch reports.
                leg.counters.socket_errors.bump();
                tracing::error!(leg = %leg.id, %error, "cannot watch a socket");
            }
        }
        if self.live == 0 {
            self.next_sweep = now + SWEEP;
        }
        self.live += 1;
        if leg.tone.is_some() {
            self.playing.push(slot);
        }
        match self.legs.get_mut(slot) {
            Some(place) => *place = Some(leg),
            None => self.legs.push(Some(leg)),
        }
    }

    /// Takes a leg out of this thread.
    fn remove(
        &mut self,
        slot: usize,
        buffer: &mut [u8; DATAGRAM],
        at: Instant,
    ) -> Option<Box<LegState>> {
        self.unbridge(slot, buffer, at);
        self.playing.retain(|&playing| playing != slot);
        let leg = self.legs.get_mut(slot)?.take()?;
        for (_, fd) in leg.wire.sockets() {
            let _ = epoll::delete(&self.epoll, fd);
        }
        self.live -= 1;
        self.load.fetch_sub(1, Ordering::Relaxed);
        Some(leg)
    }

    pub(super) fn close(&mut self, slot: usize, buffer: &mut [u8; DATAGRAM], at: Instant) {
        self.report(slot, at, true);
        drop(self.remove(slot, buffer, at));
    }

    fn set_remote(&mut self, slot: usize, remote: Remote, now: Instant) {
        let Some(leg) = self.leg_mut(slot) else {
            return;
        };
        match leg.wire.connect(remote.address) {
            Ok(dropped) => leg.counters.refused.add(dropped),
            Err(error) => {
                leg.counters.socket_errors.bump();
                tracing::warn!(leg = %leg.id, %error, "the peer's RTP address cannot be reached from ours");
            }
        }
        let due = remote.direction.receives() && leg.wire.has_peer();
        leg.silence.expect(due, now);
        if leg.next_report.is_none() {
            // Spread over half an interval, so that calls set up together do not report together.
            leg.next_report = Some(now + RTCP_EVERY / 2 + Duration::from_millis(random() % 2_500));
        }
        leg.remote = Some(remote);
    }

    fn play(&mut self, slot: usize, tone: Option<Playing>) {
        self.playing.retain(|&playing| playing != slot);
        let sounding = tone.is_some();
        if let Some(leg) = self.leg_mut(slot) {
            leg.tone = tone;
            if sounding {
                self.playing.push(slot);
            }
        }
    }

    /// False if a leg was closed meanwhile.
    fn bridge(
        &mut self,
        [agent, customer]: [LegId; 2],
        tap: Option<Box<Tap>>,
        buffer: &mut [u8; DATAGRAM],
        at: Instant,
    ) -> bool {
        let (Some(agent), Some(customer)) = (self.slot(agent), self.slot(customer)) else {
            // The tap must still end, at its start.
            if let Some(mut tap) = tap {
                tap.start(at);
                tap.stop(at);
            }
            return false;
        };
        self.unbridge(agent, buffer, at);
        self.unbridge(customer, buffer, at);
        let tap = tap.map(|mut tap| {
            tap.start(at);
            tap
        });
        let index = self
            .bridges
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.bridges.len());
        let bridge = Some(Bridge {
            legs: [agent, customer],
            tap,
        });
        match self.bridges.get_mut(index) {
            Some(place) => *place = bridge,
            None => self.bridges.push(bridge),
        }
        for (slot, side) in [(agent, Side::Agent), (customer, Side::Customer)] {
            if let Some(leg) = self.leg_mut(slot) {
                leg.bridge = Some((index, side));
            }
        }
        true
    }

    fn unbridge(&mut self, slot: usize, buffer: &mut [u8; DATAGRAM], at: Instant) {
        let Some((index, _)) = self.leg(slot).and_then(|leg| leg.bridge) else {
            return;
        };
        // What came before the end and waits in the sockets, because this thread did not run, belongs to the recording.
        if let Some(bridge) = self.bridges.get_mut(index).and_then(Option::as_mut)
            && let Some(tap) = &mut bridge.tap
        {
            tap.end_at(at);
            let legs = bridge.legs;
            self.empty(legs, buffer);
        }
        let Some(bridge) = self.bridges.get_mut(index).and_then(Option::take) else {
            return;
        };
        if let Some(mut tap) = bridge.tap {
            tap.stop(at);
        }
        for other in bridge.legs {
            if let Some(leg) = self.leg_mut(other) {
                leg.bridge = None;
            }
        }
    }
}
