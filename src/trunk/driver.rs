//! The task that owns the trunk's sockets: carries out commands, hands events to the legs they belong to, and keeps
//! registration and reachability.
//!
//! It never waits for a call: a leg whose call does not read is given up. It decides nothing about calls; what a number
//! looks like to the PBX ([`dial_string`]) and what a failure means ([`end_of`]) are its only judgements.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use ringfence_sip::{
    Account, AccountHandle, CommandError, EndedBy, Event, Hangup, Invite, LeftoverHandle,
    LegHandle, Peer, Phase, QueryHandle, cause::Release, digest::Login, headers::NameAddr,
    method::StatusCode, sdp, uri::Uri,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Acknowledge, Command, LegEvent, Offered, TrunkSettings, TrunkState};
use crate::{call::LegFailure, clock::Clock, policy::Destination, sip_socket::SipSocket};

/// Events that may wait for one call; a call that does not read them loses its leg, it never stops the trunk.
const LEG_EVENTS: usize = 64;
/// Unanswered OPTIONS after which the PBX counts as unreachable.
const MISSED_QUERIES: u32 = 3;
/// An answer to OPTIONS that took longer than this came after a retransmission: the PBX was away.
const SLOW_ANSWER: Duration = Duration::from_secs(1);

/// The task that owns the sockets.
pub(super) struct Driver {
    pub(super) socket: SipSocket,
    pub(super) clock: Clock,
    pub(super) settings: TrunkSettings,
    pub(super) peer: Peer,
    pub(super) own: NameAddr,
    pub(super) credentials: Login,
    pub(super) state: watch::Sender<TrunkState>,
    pub(super) account: Option<AccountHandle>,
    pub(super) legs: HashMap<LegHandle, Leg>,
    pub(super) leftovers: HashMap<LeftoverHandle, oneshot::Sender<bool>>,
    pub(super) query: Option<QueryHandle>,
    /// When the last OPTIONS was sent.
    pub(super) asked: Option<Instant>,
    pub(super) missed: u32,
    pub(super) stopping: Option<oneshot::Sender<()>>,
    /// Weak: the driver ends when nobody else can ask it anything.
    pub(super) own_commands: mpsc::WeakSender<Command>,
}

pub(super) struct Leg {
    events: mpsc::Sender<LegEvent>,
    answered: bool,
}

impl Driver {
    pub(super) async fn run(mut self, account: Account, mut inbox: mpsc::Receiver<Command>) {
        let now = self.clock.monotonic();
        match self.socket.endpoint().register(now, account) {
            Ok(handle) => self.account = Some(handle),
            Err(error) => tracing::error!(%error, "the trunk cannot register"),
        }
        let mut qualify = tokio::time::interval(self.settings.qualify);
        qualify.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.socket.next_event() => self.on_event(event),
                command = inbox.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => return,
                },
                _ = qualify.tick() => self.ask(),
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        let now = self.clock.monotonic();
        match command {
            Command::Prepare(prepare) => {
                let result = self.prepare(&prepare.destination, prepare.offer, prepare.ring);
                let handle = result.as_ref().ok().map(|(handle, ..)| *handle);
                if let (Err(_), Some(handle)) = (prepare.reply.send(result), handle) {
                    self.cut(handle, Hangup::normal());
                }
            }
            Command::Send(handle) => {
                if let Err(error) = self.socket.endpoint().send_invite(now, handle) {
                    let failure = match error {
                        CommandError::Late => LegFailure::Late { invited: false },
                        _ => LegFailure::Local,
                    };
                    self.tell(handle, LegEvent::Failed(failure));
                    self.legs.remove(&handle);
                }
            }
            Command::Acknowledge(handle) => {
                // Gone is fine: a hang-up has sent it.
                let _ = self.socket.endpoint().acknowledge(now, handle);
            }
            Command::Cut(handle, hangup) => self.cut(handle, hangup),
            Command::Reanswer(handle, session) => {
                let endpoint = self.socket.endpoint();
                let done = match session {
                    Some(session) => endpoint.answer_reoffer(now, handle, &session),
                    None => endpoint.refuse_reoffer(now, handle, StatusCode::NOT_ACCEPTABLE_HERE),
                };
                if let Err(error) = done {
                    tracing::debug!(%error, "a re-offer could not be answered any more");
                }
            }
            Command::ReleaseLeftover(snapshot, reply) => {
                match self.socket.endpoint().release_leftover(
                    now,
                    &snapshot,
                    Some(self.credentials.clone()),
                ) {
                    Ok(leftover) => {
                        self.leftovers.insert(leftover, reply);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a dialog left by a crash could not be released");
                        let _ = reply.send(false);
                    }
                }
            }
            Command::Stop(reply) => match self.account {
                Some(account) if self.socket.endpoint().unregister(now, account).is_ok() => {
                    self.stopping = Some(reply);
                }
                _ => {
                    let _ = reply.send(());
                }
            },
        }
    }

    fn prepare(
        &mut self,
        destination: &Destination,
        offer: sdp::Session,
        ring: Option<Duration>,
    ) -> Result<Offered, LegFailure> {
        if !self.state.borrow().is_up() {
            return Err(LegFailure::Unreached);
        }
        let (user, from) = if destination.is_customer() {
            let from = self
                .settings
                .caller_id
                .as_ref()
                .unwrap_or(&self.settings.user);
            (
                dial_string(&self.settings.dial, destination.dial_string()),
                from,
            )
        } else {
            (destination.dial_string().to_owned(), &self.settings.user)
        };
        let uri = |user: &str| {
            Uri::parse(&format!("sip:{user}@{}", self.settings.domain))
                .map_err(|_| LegFailure::Local)
        };
        let mut invite = Invite::new(uri(&user)?, NameAddr::new(uri(from)?), self.peer, offer);
        invite.contact_user = Some(self.settings.user.clone());
        invite.credentials = Some(self.credentials.clone());
        // Whichever is shorter, rounded down: the peer must not ring longer than the window allows.
        let permitted = destination
            .ring_ms()
            .and_then(|ms| u64::try_from(ms).ok())
            .map(Duration::from_millis);
        let shorter = [permitted, ring].into_iter().flatten().min();
        invite.expires = shorter.map(|ring| Duration::from_secs(ring.as_secs().max(1)));
        let bounds = destination.bounds();
        invite.ring_until = bounds.map(|bounds| bounds.ring_until);
        invite.not_after = bounds.map(|bounds| bounds.invite_until);
        let now = self.clock.monotonic();
        let (handle, snapshot) =
            self.socket
                .endpoint()
                .prepare_invite(now, invite)
                .map_err(|error| {
                    tracing::error!(%error, "an INVITE could not be built");
                    LegFailure::Local
                })?;
        let (events, inbox) = mpsc::channel(LEG_EVENTS);
        self.legs.insert(
            handle,
            Leg {
                events,
                answered: false,
            },
        );
        Ok((handle, snapshot.to_string(), inbox))
    }

    fn cut(&mut self, handle: LegHandle, hangup: Hangup) {
        // Gone is fine: the peer was faster, and its end has been told.
        let _ = self
            .socket
            .endpoint()
            .hang_up(self.clock.monotonic(), handle, hangup);
    }

    fn tell(&mut self, handle: LegHandle, event: LegEvent) {
        let Some(leg) = self.legs.get(&handle) else {
            return;
        };
        if leg.events.try_send(event).is_err() {
            // Nobody reads it any more, or not fast enough to be trusted with a conversation.
            self.legs.remove(&handle);
            self.cut(handle, Hangup::normal());
        }
    }

    fn on_event(&mut self, event: Event) {
        tracing::trace!(?event, "sip");
        match event {
            Event::Registered { .. } => {
                self.missed = 0;
                self.set_state(|s| {
                    *s = TrunkState {
                        registered: true,
                        reachable: true,
                        problem: String::new(),
                    }
                });
            }
            Event::RegistrationFailed {
                release, retry_in, ..
            } => {
                let problem = registration_problem(&release, retry_in);
                self.set_state(|s| {
                    s.registered = false;
                    s.problem = problem;
                });
            }
            Event::Unregistered { .. } => {
                self.set_state(|s| s.registered = false);
                if let Some(reply) = self.stopping.take() {
                    let _ = reply.send(());
                }
            }
            Event::Snapshot { leg, snapshot } => {
                let answer = (snapshot.phase == Phase::Confirmed).then(|| Acknowledge {
                    handle: leg,
                    commands: self.own_commands.clone(),
                });
                self.tell(leg, LegEvent::Snapshot(snapshot.to_string(), answer));
            }
            Event::Trying { leg } => self.tell(leg, LegEvent::Trying),
            Event::Progress {
                leg,
                status,
                answer,
            } => self.tell(leg, LegEvent::Progress { status, answer }),
            Event::Answered {
                leg,
                received,
                answer,
            } => {
                if let Some(leg) = self.legs.get_mut(&leg) {
                    leg.answered = true;
                }
                self.tell(leg, LegEvent::Answered { received, answer });
            }
            Event::Reoffer { leg, offer } => self.tell(leg, LegEvent::Reoffer(offer)),
            Event::Released { leg, by, release } => {
                let answered = self.legs.get(&leg).is_some_and(|leg| leg.answered);
                self.tell(leg, end_of(by, &release, answered));
                self.legs.remove(&leg);
            }
            Event::Incoming(incoming) => {
                // Inbound calls come with their own issue; until then the PBX hears that nobody takes them.
                let _ = self.socket.endpoint().reject(
                    self.clock.monotonic(),
                    incoming.leg,
                    StatusCode::TEMPORARILY_UNAVAILABLE,
                    None,
                );
            }
            Event::Refer { leg, .. } => {
                let _ = self.socket.endpoint().refuse_refer(
                    self.clock.monotonic(),
                    leg,
                    StatusCode::DECLINE,
                );
            }
            Event::OptionsAnswered { query, status, .. } if self.query == Some(query) => {
                self.query = None;
                self.queried(status);
            }
            Event::LeftoverReleased { leftover, .. } => self.released(leftover, true),
            Event::LeftoverGone {
                leftover,
                peer_answered,
                ..
            } => self.released(leftover, peer_answered),
            _ => {}
        }
    }

    fn released(&mut self, leftover: LeftoverHandle, confirmed: bool) {
        if let Some(reply) = self.leftovers.remove(&leftover) {
            let _ = reply.send(confirmed);
        }
    }

    /// One OPTIONS at a time.
    fn ask(&mut self) {
        if self.query.is_some() {
            return;
        }
        let target = Uri::parse(&format!("sip:{}", self.settings.domain));
        if let Ok(target) = target {
            let now = self.clock.monotonic();
            self.asked = Some(now);
            self.query = self
                .socket
                .endpoint()
                .options(now, &target, &self.own, self.peer)
                .ok();
        }
    }

    /// Any answer at all means that the PBX lives; 408 and 503 stand for none (RFC 3261 8.1.3.1).
    fn queried(&mut self, status: u16) {
        if status == 408 || status == 503 {
            self.missed += 1;
            if self.missed == MISSED_QUERIES {
                self.set_state(|s| {
                    s.reachable = false;
                    s.problem =
                        "the PBX does not answer OPTIONS; is it running, is the network up?".into();
                });
            }
            return;
        }
        // Away for a while, however short: it may have been restarted and forgotten us.
        let waited = self
            .asked
            .map(|asked| self.clock.monotonic().saturating_duration_since(asked));
        let was_away = self.missed > 0 || waited.is_some_and(|waited| waited > SLOW_ANSWER);
        self.missed = 0;
        if was_away
            && self.state.borrow().reachable
            && let Some(account) = self.account
        {
            let _ = self
                .socket
                .endpoint()
                .register_now(self.clock.monotonic(), account);
        }
        if !self.state.borrow().reachable {
            self.set_state(|s| {
                s.reachable = true;
                s.problem.clear();
            });
            // It may have been restarted and forgotten us.
            if let Some(account) = self.account {
                let _ = self
                    .socket
                    .endpoint()
                    .register_now(self.clock.monotonic(), account);
            }
        }
    }

    fn set_state(&self, change: impl FnOnce(&mut TrunkState)) {
        self.state.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            let changed = *state != before;
            metrics::gauge!("ringfence_trunk_up", "trunk" => self.settings.name.clone())
                .set(if state.is_up() { 1.0 } else { 0.0 });
            if changed && state.is_up() {
                tracing::info!(
                    trunk = self.settings.name,
                    "the PBX is up: registered and reachable"
                );
            } else if changed && !state.problem.is_empty() {
                tracing::warn!(
                    trunk = self.settings.name,
                    problem = state.problem,
                    "the PBX is down"
                );
            }
            changed
        });
    }
}

fn end_of(by: EndedBy, release: &Release, answered: bool) -> LegEvent {
    if answered {
        return LegEvent::Ended {
            by,
            q850: release.q850,
        };
    }
    LegEvent::Failed(match (by, release.status) {
        (EndedBy::Late, _) => LegFailure::Late { invited: true },
        (EndedBy::Fault, _) | (_, None) => LegFailure::Unreached,
        (_, Some(status)) => LegFailure::Refused {
            status,
            q850: release.q850,
        },
    })
}

fn registration_problem(release: &Release, retry_in: Option<Duration>) -> String {
    match (release.status, retry_in) {
        (Some(401 | 403 | 407), _) => {
            "the PBX refused the registration; check trunk.user, trunk.password and trunk.domain"
                .into()
        }
        (Some(408 | 503), _) => {
            "the PBX does not answer REGISTER; check trunk.server, trunk.transport and the network"
                .into()
        }
        (Some(status), _) => format!("the PBX answered REGISTER with {status}"),
        (None, _) => "the registration failed".into(),
    }
}

fn dial_string(pattern: &str, number: &str) -> String {
    pattern
        .replace("{e164}", number)
        .replace("{digits}", number.trim_start_matches('+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(status: Option<u16>, q850: Option<u8>) -> Release {
        Release {
            status,
            q850,
            ..Release::default()
        }
    }

    #[test]
    fn a_number_is_written_as_the_pbx_wants_it() {
        for (pattern, wanted) in [
            ("{e164}", "+8613800138000"),
            ("{digits}", "8613800138000"),
            ("9{digits}", "98613800138000"),
            ("{e164};x=1", "+8613800138000;x=1"),
        ] {
            assert_eq!(dial_string(pattern, "+8613800138000"), wanted);
        }
        assert_eq!(dial_string("{digits}", "10086"), "10086");
    }

    #[test]
    fn an_unanswered_leg_failed_and_an_answered_one_ended() {
        let busy = release(Some(486), Some(17));
        assert!(matches!(
            end_of(EndedBy::Peer, &busy, false),
            LegEvent::Failed(LegFailure::Refused {
                status: 486,
                q850: Some(17)
            })
        ));
        assert!(matches!(
            end_of(EndedBy::Peer, &release(None, Some(16)), true),
            LegEvent::Ended { q850: Some(16), .. }
        ));
        let late = end_of(EndedBy::Late, &release(Some(401), None), false);
        assert!(matches!(
            late,
            LegEvent::Failed(LegFailure::Late { invited: true })
        ));
        for lost in [
            end_of(EndedBy::Fault, &release(Some(408), None), false),
            end_of(EndedBy::Peer, &release(None, None), false),
        ] {
            assert!(matches!(lost, LegEvent::Failed(LegFailure::Unreached)));
        }
    }

    #[test]
    fn what_is_wrong_with_a_registration_names_the_options_to_look_at() {
        let problem = |status| registration_problem(&release(status, None), None);
        for status in [401, 403, 407] {
            assert!(problem(Some(status)).contains("trunk.password"));
        }
        for status in [408, 503] {
            assert!(problem(Some(status)).contains("trunk.server"));
        }
        assert!(problem(Some(480)).contains("480") && !problem(None).is_empty());
    }
}
