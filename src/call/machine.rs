//! One outbound call as a pure state machine: inputs and the time in, effects, events and the next timeout out.
//!
//! The order is fixed: the agent's phone rings and is answered, the vault has a durable first page, a short
//! transaction marks the seizure, and only then the customer is called, bridged when they answer, and released
//! with everybody else when anybody hangs up. What may be relied upon, whatever comes in and in whatever order:
//! no customer is called once the permission ran out; each leg that was started is released exactly once; every
//! recording that was opened is closed exactly once; there is exactly one [`Effect::CloseAttempt`], it is the
//! last effect, and nothing comes after it. Inputs that no longer matter are ignored, a late answer among them
//! (`sip` sends it ACK and BYE by itself).
//!
//! The machine never asks the gate, never reads a clock and does no IO; `task/` carries the effects out in
//! the order they are polled. Times of the wall clock were turned into instants when the call began.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use super::signals::{CallSpec, Effect, Event, Input, Leg, Release};
use super::{Cause, LegFailure, Marks, Outcome, Party, RecordingFate};

/// The timers, as a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
enum Timer {
    AgentRing,
    InviteBy,
    CustomerRing,
    WindowClosing,
    WindowClosed,
    Silence,
    Drain,
}

impl Timer {
    /// In the order they fire when several are due: the end of a permission before the end of a ring.
    const ALL: [Self; 7] = [
        Self::InviteBy,
        Self::AgentRing,
        Self::CustomerRing,
        Self::Drain,
        Self::Silence,
        Self::WindowClosing,
        Self::WindowClosed,
    ];
}

/// Where the call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The agent's phone rings.
    CallingAgent,
    /// The agent waits, the vault prepares.
    OpeningRecording,
    /// The agent waits, the seizure is being marked.
    MarkingSeizure,
    /// It rings at the customer.
    CallingCustomer,
    /// The customer answered and is being bridged.
    Bridging,
    /// Both hear each other.
    Talking,
    /// Over.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LegState {
    Idle,
    Up,
    Released,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recording {
    None,
    Open,
    Broken,
}

/// One call.
#[derive(Debug)]
pub struct Machine {
    spec: CallSpec,
    began: Instant,
    /// The latest time seen: an input handed over late never turns time back.
    now: Instant,
    state: State,
    agent: LegState,
    customer: LegState,
    recording: Recording,
    ringback: bool,
    early_media: bool,
    /// Whether anything at all came back for a leg's INVITE.
    heard: [bool; 2],
    silent: [bool; 2],
    seized: bool,
    connected: bool,
    marks: Marks,
    timers: [Option<Instant>; Timer::ALL.len()],
    effects: VecDeque<Effect>,
    events: VecDeque<Event>,
}

impl Machine {
    /// Begins an allowed call: the first effect rings the agent, unless the permission has run out already.
    #[must_use]
    pub fn new(spec: CallSpec, now: Instant) -> Self {
        let mut machine = Self {
            began: now,
            now,
            state: State::CallingAgent,
            agent: LegState::Idle,
            customer: LegState::Idle,
            recording: Recording::None,
            ringback: false,
            early_media: false,
            heard: [false; 2],
            silent: [false; 2],
            seized: false,
            connected: false,
            marks: Marks::default(),
            timers: [None; Timer::ALL.len()],
            effects: VecDeque::new(),
            events: VecDeque::new(),
            spec,
        };
        if now >= machine.spec.invite_until {
            machine.end(Cause::PermitExpired, Party::System, None);
            return machine;
        }
        machine.agent = LegState::Up;
        machine.effects.push_back(Effect::CallAgent);
        machine.set(Timer::AgentRing, now + machine.spec.agent_ring_limit);
        machine.set(Timer::InviteBy, machine.spec.invite_until);
        machine
    }

    /// Where the call is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the customer answered.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whether the call is over; the last effect may still be waiting to be polled.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// When [`Machine::handle_timeout`] wants to be called next; `None` after the end.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.iter().flatten().min().copied()
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Lets the timers act that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        for timer in Timer::ALL {
            if self.timers[timer as usize].is_some_and(|due| due <= self.now) {
                self.timers[timer as usize] = None;
                self.fire(timer);
            }
        }
    }

    /// Takes one input. Timers that are due act first: an answer that comes after its time limit is late.
    pub fn handle(&mut self, input: Input, now: Instant) {
        self.handle_timeout(now);
        if self.state == State::Ended {
            return;
        }
        match input {
            Input::LegTrying(leg) => self.heard[leg as usize] = true,
            Input::LegRinging(leg) => self.ringing(leg, false),
            Input::EarlyMedia(leg) => self.ringing(leg, true),
            Input::LegAnswered(leg) => self.answered(leg),
            Input::LegFailed(leg, failure) => self.failed(leg, failure),
            Input::LegEnded(leg) => self.hung_up(leg),
            Input::RecordingOpened => self.recording_opened(),
            Input::RecordingFailed => self.recording_failed(),
            Input::RecordingBroke => self.recording_broke(),
            Input::SeizureMarked => self.seizure_marked(),
            Input::SeizureBarred => self.seizure_refused(Cause::Barred),
            Input::SeizureFailed => self.seizure_refused(Cause::Internal),
            Input::PermitExpired => self.permit_expired(),
            Input::Bridged => self.bridged(),
            Input::BridgeFailed => self.bridge_failed(),
            Input::HangUp { by } => self.finish(by),
            Input::Drain { until } => self.drain(until),
            Input::MediaSilent(leg) => self.media(leg, true),
            Input::MediaResumed(leg) => self.media(leg, false),
        }
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::InviteBy => self.end(Cause::PermitExpired, Party::System, None),
            Timer::AgentRing => self.unanswered(Leg::Agent, Cause::AgentNoAnswer),
            Timer::CustomerRing => self.unanswered(Leg::Customer, Cause::NoAnswer),
            Timer::Drain if self.connected => self.end(Cause::Answered, Party::System, None),
            Timer::Drain => self.end(Cause::Drained, Party::System, None),
            Timer::Silence => self.end(Cause::Dropped, Party::System, None),
            Timer::WindowClosing => self.events.push_back(Event::WindowClosing),
            Timer::WindowClosed => self.events.push_back(Event::WindowClosed),
        }
    }

    /// A ring limit is over. Where not even a 100 came back, nobody let a phone ring: the PBX is not there.
    fn unanswered(&mut self, leg: Leg, cause: Cause) {
        let heard = self.heard[leg as usize];
        let cause = if heard { cause } else { Cause::TrunkDown };
        self.end(cause, Party::System, None);
    }

    fn ringing(&mut self, leg: Leg, early_media: bool) {
        self.heard[leg as usize] = true;
        let at = self.offset_ms();
        match (leg, self.state) {
            (Leg::Agent, State::CallingAgent) if self.marks.agent_ringing_ms.is_none() => {
                self.marks.agent_ringing_ms = Some(at);
                self.events.push_back(Event::AgentRinging);
            }
            (Leg::Customer, State::CallingCustomer) => {
                let first = self.marks.customer_ringing_ms.is_none();
                if first {
                    self.marks.customer_ringing_ms = Some(at);
                    self.events.push_back(Event::CustomerRinging);
                }
                if early_media && !self.early_media {
                    self.early_media = true;
                    self.stop_ringback();
                    self.effects.push_back(Effect::PassEarlyMedia);
                } else if first && !early_media {
                    self.ringback = true;
                    self.effects.push_back(Effect::StartRingback);
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self, leg: Leg) {
        let at = self.offset_ms();
        match (leg, self.state) {
            (Leg::Agent, State::CallingAgent) => {
                self.marks.agent_answered_ms = Some(at);
                self.clear(Timer::AgentRing);
                self.events.push_back(Event::AgentAnswered);
                self.state = State::OpeningRecording;
                self.recording = Recording::Open;
                self.effects.push_back(Effect::OpenRecording);
            }
            (Leg::Customer, State::CallingCustomer) => {
                self.marks.customer_answered_ms = Some(at);
                self.connected = true;
                self.clear(Timer::CustomerRing);
                self.stop_ringback();
                self.events.push_back(Event::CustomerAnswered);
                self.state = State::Bridging;
                self.effects.push_back(Effect::Bridge);
                let closing = self.spec.closes_at.checked_sub(self.spec.warn_before);
                self.set(Timer::WindowClosing, closing.unwrap_or(self.now));
                self.set(Timer::WindowClosed, self.spec.closes_at);
            }
            _ => {}
        }
    }

    fn failed(&mut self, leg: Leg, failure: LegFailure) {
        if self.leg(leg) != LegState::Up {
            return;
        }
        *self.leg_mut(leg) = LegState::Released;
        self.effects.push_back(Effect::Release {
            leg,
            how: Release::Gone,
        });
        let cause = match (leg, self.state) {
            _ if self.connected => Cause::Dropped,
            (Leg::Agent, State::CallingAgent) => Cause::from_agent(failure),
            (Leg::Agent, _) => Cause::AgentUnreachable,
            (Leg::Customer, _) => Cause::from_customer(failure),
        };
        let ours = matches!(failure, LegFailure::Local | LegFailure::Late { .. });
        let never_left = ours && failure != (LegFailure::Late { invited: true });
        if leg == Leg::Customer && never_left && !self.connected {
            // Nothing was handed to the trunk.
            self.seized = false;
            self.marks.invited_ms = None;
        }
        let by = if failure == LegFailure::Unreached || ours || self.connected {
            Party::System
        } else {
            leg.party()
        };
        self.end(cause, by, Some(failure));
    }

    fn hung_up(&mut self, leg: Leg) {
        if self.leg(leg) != LegState::Up {
            return;
        }
        *self.leg_mut(leg) = LegState::Released;
        self.effects.push_back(Effect::Release {
            leg,
            how: Release::Gone,
        });
        match leg {
            Leg::Customer if !self.connected => self.end(Cause::TrunkFault, Party::Customer, None),
            _ => self.finish(leg.party()),
        }
    }

    fn recording_opened(&mut self) {
        if self.state == State::OpeningRecording {
            self.state = State::MarkingSeizure;
            self.effects.push_back(Effect::MarkSeizure);
        }
    }

    fn recording_failed(&mut self) {
        if self.state == State::OpeningRecording {
            self.recording = Recording::None;
            self.end(Cause::RecordingUnavailable, Party::System, None);
        } else {
            self.recording_broke();
        }
    }

    fn recording_broke(&mut self) {
        if self.recording != Recording::Open {
            return;
        }
        if self.connected {
            self.recording = Recording::Broken;
            self.events.push_back(Event::RecordingBroke);
        } else {
            self.end(Cause::RecordingUnavailable, Party::System, None);
        }
    }

    fn seizure_marked(&mut self) {
        if self.state != State::MarkingSeizure {
            return;
        }
        let left = self.spec.ring_until.saturating_duration_since(self.now);
        if self.now >= self.spec.invite_until || left.is_zero() {
            self.end(Cause::PermitExpired, Party::System, None);
            return;
        }
        let ring = self.spec.ring_limit.min(left);
        self.clear(Timer::InviteBy);
        self.set(Timer::CustomerRing, self.now + ring);
        self.seized = true;
        self.marks.invited_ms = Some(self.offset_ms());
        self.state = State::CallingCustomer;
        self.customer = LegState::Up;
        self.effects.push_back(Effect::CallCustomer { ring });
        self.events.push_back(Event::CustomerCalled);
    }

    fn seizure_refused(&mut self, cause: Cause) {
        if self.state == State::MarkingSeizure {
            self.end(cause, Party::System, None);
        }
    }

    fn permit_expired(&mut self) {
        if self.state == State::CallingCustomer && self.marks.customer_ringing_ms.is_none() {
            self.seized = false;
            self.marks.invited_ms = None;
            self.customer = LegState::Released;
            self.effects.push_back(Effect::Release {
                leg: Leg::Customer,
                how: Release::Gone,
            });
            self.end(Cause::PermitExpired, Party::System, None);
        }
    }

    fn bridged(&mut self) {
        if self.state == State::Bridging {
            self.marks.bridged_ms = Some(self.offset_ms());
            self.state = State::Talking;
            self.events.push_back(Event::Bridged);
        }
    }

    fn bridge_failed(&mut self) {
        if self.state == State::Bridging {
            self.end(Cause::Internal, Party::System, None);
        }
    }

    fn drain(&mut self, until: Instant) {
        if self.customer == LegState::Idle {
            self.end(Cause::Drained, Party::System, None);
        } else {
            self.set(Timer::Drain, until.max(self.now));
            self.events.push_back(Event::Draining);
        }
    }

    fn media(&mut self, leg: Leg, silent: bool) {
        if self.state != State::Talking {
            return;
        }
        let was = std::mem::replace(&mut self.silent[leg as usize], silent);
        if was == silent {
            return;
        }
        self.events.push_back(if silent {
            Event::Silent(leg)
        } else {
            Event::Resumed(leg)
        });
        if self.silent == [true; 2] {
            self.set(Timer::Silence, self.now + self.spec.silence_limit);
        } else {
            self.clear(Timer::Silence);
        }
    }

    /// Somebody ended the call in an orderly way.
    fn finish(&mut self, by: Party) {
        let cause = if self.connected {
            Cause::Answered
        } else {
            Cause::Cancelled
        };
        self.end(cause, by, None);
    }

    /// The only way out: releases what is up, closes what is open, says what came of it.
    fn end(&mut self, cause: Cause, ended_by: Party, failure: Option<LegFailure>) {
        if self.state == State::Ended {
            return;
        }
        self.state = State::Ended;
        self.timers = [None; Timer::ALL.len()];
        let at = self.offset_ms();
        self.marks.ended_ms = Some(at);
        self.stop_ringback();
        for leg in [Leg::Customer, Leg::Agent] {
            if self.leg(leg) == LegState::Up {
                *self.leg_mut(leg) = LegState::Released;
                self.effects.push_back(Effect::Release {
                    leg,
                    how: Release::HangUp,
                });
            }
        }
        let recording = match self.recording {
            Recording::None => RecordingFate::None,
            _ if !self.connected => RecordingFate::Abandoned,
            Recording::Open => RecordingFate::Kept,
            Recording::Broken => RecordingFate::Broken,
        };
        if recording != RecordingFate::None {
            self.effects.push_back(Effect::CloseRecording {
                keep: self.connected,
                at: self.now,
            });
        }
        let (sip_status, q850) = match failure {
            Some(LegFailure::Refused { status, q850 }) => (Some(status), q850),
            _ => (None, None),
        };
        self.effects.push_back(Effect::CloseAttempt(Outcome {
            cause,
            ended_by,
            sip_status,
            q850,
            marks: self.marks,
            seized: self.seized,
            connected: self.connected,
            recording,
            overrun_ms: self.overrun_ms(),
        }));
    }

    /// Talk time behind the closing hour.
    fn overrun_ms(&self) -> u64 {
        let Some(answered_ms) = self.marks.customer_answered_ms else {
            return 0;
        };
        let answered = self.began + Duration::from_millis(answered_ms);
        let since = self
            .now
            .saturating_duration_since(self.spec.closes_at.max(answered));
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn stop_ringback(&mut self) {
        if std::mem::take(&mut self.ringback) {
            self.effects.push_back(Effect::StopRingback);
        }
    }

    fn leg(&self, leg: Leg) -> LegState {
        match leg {
            Leg::Agent => self.agent,
            Leg::Customer => self.customer,
        }
    }

    fn leg_mut(&mut self, leg: Leg) -> &mut LegState {
        match leg {
            Leg::Agent => &mut self.agent,
            Leg::Customer => &mut self.customer,
        }
    }

    fn set(&mut self, timer: Timer, at: Instant) {
        self.timers[timer as usize] = Some(at);
    }

    fn clear(&mut self, timer: Timer) {
        self.timers[timer as usize] = None;
    }

    fn offset_ms(&self) -> u64 {
        let since = self.now.saturating_duration_since(self.began);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
