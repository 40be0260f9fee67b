//! One task per call: waits, feeds the machine one input, carries out what it asks.
//!
//! Holds no rules and no order of its own: both are the machine's. IO that may take long runs beside the call and comes
//! back as an input, so that a hang-up is never kept waiting. The task outlives the call until the PBX has released the
//! legs and the recording is sealed.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ringfence_media::{Engine, Leg as AudioLeg, LegId, MediaEvent, Tap, Tone};
use ringfence_recordings::VaultError;
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinSet,
    time::sleep_until,
};

use super::{
    LegFailure, Outcome, Party,
    journal::{Dialogs, Journal},
    legs::{self, Audio, SipLeg},
    machine::{CallSpec, Effect, Event, Input, Leg, Machine, Release},
};
use crate::{
    clock::{Clock, ClockTrust},
    coverage,
    ids::{AgentId, CallId, RecordingId},
    policy::{Permit, PermitExpired},
    recorder::{Opened, Recorder, Recording, Stopped, Talk},
    store::{
        self, Db,
        attempts::{Closing, Seizure},
        contact_points::Target,
        recordings::NewRecording,
    },
    switchboard::{FloorEvent, News},
    trunk::{LegEvent, Trunk},
};

/// Seconds of audio the tap's ring holds while the disk is slow.
const TAP_CAPACITY_MS: u32 = 3_000;
/// How long before the closing hour the agent is warned.
const WARN_BEFORE: Duration = Duration::from_secs(60);
/// How long the call stays for the PBX's answer to BYE or CANCEL; after that only the journal waits for it.
const LINGER: Duration = Duration::from_secs(5);
/// Q.850 causes said to the PBX: normal clearing, incompatible destination.
const CLEARING: u8 = 16;
const INCOMPATIBLE: u8 = 88;
/// Pauses between tries to close the attempt while the database is away.
const CLOSE_RETRY: Duration = Duration::from_millis(500);
/// Tries to note a seal while the database is away; the file itself is safe.
const SEAL_ROW_TRIES: u32 = 120;
/// How often that is said again.
const CLOSE_REMIND: Duration = Duration::from_secs(60);
/// Pauses between tries to seal a recording while the disk is full.
const SEAL_RETRY: Duration = Duration::from_secs(5);

/// What every call's task works with.
pub struct Floorwork {
    /// Database.
    pub db: Db,
    /// Time.
    pub clock: Clock,
    /// The PBX.
    pub trunk: Trunk,
    /// The audio plane.
    pub engine: Engine,
    /// Into the vault.
    pub recorder: Recorder,
    /// Who wants to know.
    pub events: broadcast::Sender<News>,
    /// This daemon among those that share the database.
    pub node: String,
    /// Where the PBX reaches our audio.
    pub media_address: IpAddr,
    /// Longest ringing at the agent.
    pub agent_ring: Duration,
    /// Longest ringing at the customer, before the window cuts it.
    pub customer_ring: Duration,
    /// When both sides send nothing for so long after the alarm, the line is taken for lost.
    pub silence_limit: Duration,
}

/// What the gate granted.
pub struct Granted {
    /// The permission to call the customer.
    pub permit: Permit,
    /// Longest ringing by the rules.
    pub ring: Duration,
    /// The customer INVITE leaves before this, milliseconds UTC.
    pub valid_until_ms: i64,
    /// All ringing is over by this.
    pub ring_until_ms: i64,
    /// The window closes.
    pub closes_at_ms: i64,
    /// Whom.
    pub target: Target,
}

/// Where the agent hears the call.
pub enum Seat {
    /// The desk phone at the PBX.
    DeskPhone,
    /// The connected browser.
    Browser(Arc<AudioLeg>),
}

/// The ways a call is ended from outside. Telling a call that is over does nothing.
pub struct CallHandle {
    asks: mpsc::Sender<Ask>,
    /// How far the call is.
    pub state: watch::Receiver<&'static str>,
    /// The agent is free again, and whether anybody was reached; comes before the task ends.
    pub over: Option<oneshot::Receiver<bool>>,
}

enum Ask {
    HangUp,
    AgentGone,
    Drain,
}

impl CallHandle {
    /// The agent or a lead hangs up.
    pub fn hang_up(&self) {
        self.tell(Ask::HangUp);
    }

    /// The agent's browser is gone.
    pub fn agent_gone(&self) {
        self.tell(Ask::AgentGone);
    }

    /// The daemon stops now.
    pub fn drain(&self) {
        self.tell(Ask::Drain);
    }

    fn tell(&self, ask: Ask) {
        // A full channel holds an earlier request to end: that is enough.
        let _ = self.asks.try_send(ask);
    }
}

/// What an observed handle was told, for the tests of those who hold handles.
#[cfg(test)]
pub struct Told(mpsc::Receiver<Ask>);

#[cfg(test)]
impl Told {
    /// The next request; `None` once the handle is gone.
    pub async fn next(&mut self) -> Option<&'static str> {
        Some(match self.0.recv().await? {
            Ask::HangUp => "hang_up",
            Ask::AgentGone => "agent_gone",
            Ask::Drain => "drain",
        })
    }
}

#[cfg(test)]
impl CallHandle {
    /// A handle without a call.
    pub fn observed() -> (Self, Told) {
        let (asks, told) = mpsc::channel(8);
        let (_, state) = watch::channel("talking");
        let over = None;
        (Self { asks, state, over }, Told(told))
    }
}

/// One side of the call.
#[derive(Default)]
struct Side {
    audio: Option<Audio>,
    sip: Option<SipLeg>,
    /// Being offered; its result comes back through `work`.
    preparing: bool,
    /// Its INVITE was handed to the trunk.
    invited: bool,
    /// The machine has released it.
    released: bool,
}

/// What came back from work beside the call.
enum Done {
    Prepared(Leg, Result<Box<(Audio, SipLeg)>, Unprepared>),
    Opened(Option<Box<Opened>>),
    Seizure(Input),
    Nothing,
    /// It panicked; which work it was is seen from what is still awaited.
    Panicked,
}

enum Unprepared {
    Failed(LegFailure),
    Expired(PermitExpired),
}

enum Happened {
    Asked(Option<Ask>),
    Leg(Leg, Option<LegEvent>),
    Audio(MediaEvent),
    Done(Done),
    Broke,
    Timeout,
}

enum Tape {
    None,
    Opening,
    Open(Box<Opened>),
    Running {
        recording: Recording,
        bridged: Instant,
        answered_ms: i64,
        /// That audio could not be written was told once.
        broke: bool,
    },
}

/// A call under way.
pub struct CallTask {
    floor: Arc<Floorwork>,
    call: CallId,
    agent_id: AgentId,
    target: Target,
    agent_permit: Option<Permit>,
    customer_permit: Option<Permit>,
    browser: Option<Arc<AudioLeg>>,
    machine: Machine,
    began_ms: i64,
    /// The customer INVITE leaves before this by both clocks, or not at all.
    invite_until: (i64, Instant),
    agent: Side,
    customer: Side,
    tape: Tape,
    close_when_open: bool,
    answered: Option<(Instant, i64)>,
    asks: mpsc::Receiver<Ask>,
    audio_events: (mpsc::Sender<MediaEvent>, mpsc::Receiver<MediaEvent>),
    work: JoinSet<Done>,
    ready: VecDeque<Input>,
    dialogs: Dialogs,
    journal: Journal,
    state: watch::Sender<&'static str>,
    over: Option<oneshot::Sender<bool>>,
}

impl CallTask {
    /// Prepares the task; nothing happens before [`CallTask::run`].
    pub fn new(
        floor: Arc<Floorwork>,
        call: CallId,
        agent_id: AgentId,
        agent_permit: Permit,
        seat: Seat,
        granted: Granted,
    ) -> (Self, CallHandle) {
        let clock = &floor.clock;
        let now = clock.monotonic();
        let spec = CallSpec {
            invite_until: clock.instant_of(granted.valid_until_ms),
            ring_until: clock.instant_of(granted.ring_until_ms),
            ring_limit: granted.ring.min(floor.customer_ring),
            closes_at: clock.instant_of(granted.closes_at_ms),
            warn_before: WARN_BEFORE,
            agent_ring_limit: floor.agent_ring,
            silence_limit: floor.silence_limit,
        };
        let (asks, inbox) = mpsc::channel(8);
        let (state, watched) = watch::channel("agent_dialling");
        let (over, is_over) = oneshot::channel();
        let dialogs = Dialogs {
            db: floor.db.clone(),
            clock: floor.clock.clone(),
            node: floor.node.clone(),
            trunk: floor.trunk.name().to_owned(),
            call,
        };
        let task = Self {
            call,
            agent_id,
            target: granted.target,
            agent_permit: Some(agent_permit),
            customer_permit: Some(granted.permit),
            browser: match seat {
                Seat::DeskPhone => None,
                Seat::Browser(leg) => Some(leg),
            },
            invite_until: (granted.valid_until_ms, spec.invite_until),
            machine: Machine::new(spec, now),
            began_ms: clock.wall_ms(),
            agent: Side::default(),
            customer: Side::default(),
            tape: Tape::None,
            close_when_open: false,
            answered: None,
            asks: inbox,
            audio_events: mpsc::channel(32),
            work: JoinSet::new(),
            ready: VecDeque::new(),
            journal: Journal::new(dialogs.clone()),
            dialogs,
            state,
            over: Some(over),
            floor,
        };
        (
            task,
            CallHandle {
                asks,
                state: watched,
                over: Some(is_over),
            },
        )
    }

    /// Runs the call to its end.
    pub async fn run(mut self) {
        loop {
            let now = self.now();
            while let Some(input) = self.ready.pop_front() {
                self.machine.handle(input, now);
            }
            while let Some(event) = self.machine.poll_event() {
                self.publish(event);
            }
            if let Some(effect) = self.machine.poll_effect() {
                self.carry_out(effect).await;
                continue;
            }
            if !self.ready.is_empty() {
                continue;
            }
            if self.machine.is_ended() {
                break;
            }
            let happened = self.wait(self.machine.next_timeout()).await;
            self.on(happened).await;
        }
        self.linger().await;
    }

    async fn wait(&mut self, until: Option<Instant>) -> Happened {
        let broke = async {
            match &self.tape {
                Tape::Running {
                    recording,
                    broke: false,
                    ..
                } => {
                    // An error means that the writer is gone: that is broken too.
                    let _ = recording.broke().wait_for(|broke| *broke).await;
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            ask = self.asks.recv() => Happened::Asked(ask),
            event = leg_event(&mut self.agent.sip) => Happened::Leg(Leg::Agent, event),
            event = leg_event(&mut self.customer.sip) => Happened::Leg(Leg::Customer, event),
            Some(event) = self.audio_events.1.recv() => Happened::Audio(event),
            Some(done) = self.work.join_next() => Happened::Done(done.unwrap_or(Done::Panicked)),
            () = broke => Happened::Broke,
            () = sleep(until) => Happened::Timeout,
        }
    }

    async fn on(&mut self, happened: Happened) {
        match happened {
            Happened::Asked(Some(Ask::HangUp) | None) => {
                self.ready.push_back(Input::HangUp { by: Party::Agent })
            }
            Happened::Asked(Some(Ask::AgentGone)) => {
                self.ready.push_back(Input::LegEnded(Leg::Agent))
            }
            Happened::Asked(Some(Ask::Drain)) => {
                self.ready.push_back(Input::Drain { until: self.now() })
            }
            Happened::Leg(leg, event) => self.on_leg(leg, event).await,
            Happened::Audio(event) => self.on_audio(event),
            Happened::Done(done) => self.on_done(done).await,
            Happened::Broke => {
                if let Tape::Running { broke, .. } = &mut self.tape {
                    *broke = true;
                }
                self.ready.push_back(Input::RecordingBroke);
            }
            Happened::Timeout => {
                let now = self.now();
                self.machine.handle_timeout(now);
            }
        }
    }

    async fn on_leg(&mut self, leg: Leg, event: Option<LegEvent>) {
        let name = name_of(leg);
        let side = match leg {
            Leg::Agent => &mut self.agent,
            Leg::Customer => &mut self.customer,
        };
        let Some(event) = event else {
            // The trunk is gone, or gave the leg up because this task did not read. Its INVITE has left all the same.
            side.sip = None;
            self.ready
                .push_back(Input::LegFailed(leg, LegFailure::Unreached));
            return;
        };
        match event {
            LegEvent::Snapshot(snapshot, answer) => self.journal.put(name, snapshot, answer),
            LegEvent::Trying => self.ready.push_back(Input::LegTrying(leg)),
            LegEvent::Progress {
                status: _,
                answer: None,
            } => self.ready.push_back(Input::LegRinging(leg)),
            LegEvent::Progress {
                answer: Some(answer),
                ..
            } => {
                let taken = match (&side.sip, &side.audio) {
                    (Some(sip), Some(audio)) => sip.take_answer(audio, &answer).is_ok(),
                    _ => false,
                };
                self.ready.push_back(if taken {
                    Input::EarlyMedia(leg)
                } else {
                    Input::LegRinging(leg)
                });
            }
            LegEvent::Answered(answer) => {
                if leg == Leg::Customer {
                    let clock = &self.floor.clock;
                    self.answered = Some((clock.monotonic(), clock.wall_ms()));
                }
                let taken = match (&side.sip, &side.audio) {
                    (Some(sip), Some(audio)) => sip.take_answer(audio, &answer).map_err(Some),
                    // Released already: `sip` has sent ACK and BYE.
                    _ => Err(None),
                };
                match taken {
                    Ok(()) => self.ready.push_back(Input::LegAnswered(leg)),
                    Err(error) => {
                        if let Some(error) = error {
                            tracing::warn!(call = %self.call, leg = name, %error, "an answer cannot be used");
                            // The far side is off the hook, and the machine takes a failed leg for gone.
                            if let Some(sip) = &side.sip {
                                sip.dialog.cut(Some(INCOMPATIBLE)).await;
                            }
                        }
                        self.ready.push_back(Input::LegAnswered(leg));
                        let refused = LegFailure::Refused {
                            status: 488,
                            q850: None,
                        };
                        self.ready.push_back(Input::LegFailed(leg, refused));
                    }
                }
            }
            LegEvent::Reoffer(offer) => {
                if let (Some(sip), Some(audio)) = (&mut side.sip, &side.audio) {
                    sip.take_reoffer(audio, offer.as_deref()).await;
                }
            }
            LegEvent::Failed(failure) => {
                side.sip = None;
                self.journal.remove(name);
                self.ready.push_back(Input::LegFailed(leg, failure));
            }
            LegEvent::Ended { .. } => {
                side.sip = None;
                self.journal.remove(name);
                self.ready.push_back(Input::LegEnded(leg));
            }
        }
    }

    fn on_audio(&mut self, event: MediaEvent) {
        let leg_of = |id: LegId| match &self.customer.audio {
            Some(audio) if audio.id() == id => Leg::Customer,
            _ => Leg::Agent,
        };
        match event {
            MediaEvent::Silent { leg, .. } => self.ready.push_back(Input::MediaSilent(leg_of(leg))),
            MediaEvent::Resumed { leg, .. } => {
                self.ready.push_back(Input::MediaResumed(leg_of(leg)))
            }
            // A BYE in RTCP is a hint; signalling decides. Digits may be a card number: nobody notes them.
            MediaEvent::Bye { .. } | MediaEvent::Digit { .. } => {}
        }
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::CallAgent => match self.browser.take() {
                Some(leg) => {
                    self.agent.audio = Some(Audio::Browser(leg));
                    self.ready.push_back(Input::LegAnswered(Leg::Agent));
                }
                None => {
                    let permit = self.agent_permit.take();
                    self.prepare(Leg::Agent, permit, None);
                }
            },
            Effect::CallCustomer { ring } => {
                let permit = self.customer_permit.take();
                self.prepare(Leg::Customer, permit, Some(ring));
            }
            Effect::OpenRecording => self.open_recording(),
            Effect::MarkSeizure => self.mark_seizure(),
            Effect::StartRingback => self.to_agent(|leg| leg.play(Tone::RINGBACK)),
            Effect::StopRingback => self.to_agent(AudioLeg::stop_tone),
            Effect::PassEarlyMedia => {
                if let (Some(agent), Some(customer)) = (&self.agent.audio, &self.customer.audio) {
                    // Without it the agent hears nothing until the answer: unpleasant, not wrong.
                    let _ = self.floor.engine.bridge(agent, customer, None, self.now());
                }
            }
            Effect::Bridge => {
                let input = if self.bridge() {
                    Input::Bridged
                } else {
                    Input::BridgeFailed
                };
                self.ready.push_back(input);
            }
            Effect::Release { leg, how } => self.release(leg, how).await,
            Effect::CloseRecording { keep, at } => self.close_recording(keep, at),
            Effect::CloseAttempt(outcome) => self.close_attempt(outcome).await,
        }
    }

    /// Makes a leg ready: audio, INVITE, durable snapshot. [`Self::send_or_drop`] lets the first byte leave.
    fn prepare(&mut self, leg: Leg, permit: Option<Permit>, ring: Option<Duration>) {
        let side = self.side(leg);
        side.preparing = true;
        let floor = self.floor.clone();
        let other = match (leg, &self.agent.audio) {
            (Leg::Customer, Some(audio)) => Some(audio),
            _ => None,
        };
        let session_id = self.call.uuid().as_u64_pair().1 >> 1;
        let opened = legs::open(
            &floor.engine,
            other.map(std::ops::Deref::deref),
            self.audio_events.0.clone(),
            floor.media_address,
            session_id,
        );
        let dialogs = self.dialogs.clone();
        self.work.spawn(async move {
            let local = |error: &dyn std::fmt::Display| {
                tracing::error!(leg = name_of(leg), %error, "a leg cannot be set up");
                Unprepared::Failed(LegFailure::Local)
            };
            let prepared = async {
                let (audio, local_session, offer) = opened.map_err(|e| local(&e))?;
                let permit = permit.ok_or(Unprepared::Failed(LegFailure::Local))?;
                let destination = permit
                    .redeem(floor.clock.wall_ms())
                    .map_err(Unprepared::Expired)?;
                let prepared = floor.trunk.prepare(destination, offer.clone(), ring).await;
                let mut dialog = prepared.map_err(Unprepared::Failed)?;
                let snapshot = std::mem::take(&mut dialog.snapshot);
                if let Err(error) = dialogs.put(name_of(leg), snapshot).await {
                    dialog.cut(None).await;
                    return Err(local(&error));
                }
                Ok(Box::new((
                    Audio::Own(audio),
                    SipLeg::new(dialog, local_session, offer),
                )))
            };
            Done::Prepared(leg, prepared.await)
        });
    }

    async fn on_done(&mut self, done: Done) {
        match done {
            Done::Prepared(leg, Ok(prepared)) => self.send_or_drop(leg, *prepared).await,
            Done::Prepared(leg, Err(unprepared)) => {
                self.side(leg).preparing = false;
                self.ready.push_back(match unprepared {
                    Unprepared::Failed(failure) => Input::LegFailed(leg, failure),
                    Unprepared::Expired(late) => {
                        tracing::info!(call = %self.call, late_ms = late.late_ms, "the permission ran out");
                        Input::PermitExpired
                    }
                });
            }
            Done::Opened(None) => {
                self.tape = Tape::None;
                self.ready.push_back(Input::RecordingFailed);
            }
            Done::Opened(Some(opened)) => {
                self.tape = Tape::Open(opened);
                if self.close_when_open {
                    self.close_recording(false, self.now());
                } else {
                    self.ready.push_back(Input::RecordingOpened);
                }
            }
            Done::Seizure(input) => self.ready.push_back(input),
            Done::Nothing => {}
            Done::Panicked => self.work_panicked(),
        }
    }

    /// The leg is ready and its snapshot durable, which may have taken a while: the INVITE leaves only if somebody
    /// still wants the call and, for a customer, the permission still stands.
    async fn send_or_drop(&mut self, leg: Leg, (audio, sip): (Audio, SipLeg)) {
        let (now, wall_ms) = (self.now(), self.floor.clock.wall_ms());
        let (until_ms, until) = self.invite_until;
        let late = leg == Leg::Customer && (wall_ms >= until_ms || now >= until);
        let side = self.side(leg);
        side.preparing = false;
        if side.released || late {
            legs::close(audio, now);
            // Nothing was sent, so nothing goes out; the trunk forgets it.
            sip.dialog.cut(Some(CLEARING)).await;
            self.journal.remove(name_of(leg));
            if late {
                self.ready.push_back(Input::PermitExpired);
            }
            return;
        }
        sip.dialog.send().await;
        let side = self.side(leg);
        side.invited = true;
        side.audio = Some(audio);
        side.sip = Some(sip);
    }

    /// A fault of ours in the work beside the call: what waits for it hears that it failed.
    fn work_panicked(&mut self) {
        tracing::error!(call = %self.call, "work for a call broke off; the call ends");
        for leg in [Leg::Agent, Leg::Customer] {
            if std::mem::take(&mut self.side(leg).preparing) {
                self.ready
                    .push_back(Input::LegFailed(leg, LegFailure::Local));
            }
        }
        if matches!(self.tape, Tape::Opening) {
            self.tape = Tape::None;
            self.ready.push_back(Input::RecordingFailed);
        }
        // Ignored unless that is what the machine waits for.
        self.ready.push_back(Input::SeizureFailed);
    }

    fn open_recording(&mut self) {
        self.tape = Tape::Opening;
        let (floor, call) = (self.floor.clone(), self.call);
        let (client, code) = (self.target.client, self.target.client_code.clone());
        self.work.spawn(async move {
            let now_ms = floor.clock.wall_ms();
            let Some(id) = fresh_recording(now_ms) else {
                return Done::Opened(None);
            };
            let opened = match floor.recorder.open(id, call, 1, code, now_ms).await {
                Ok(opened) => opened,
                Err(error) => {
                    tracing::error!(%call, %error, "no recording, no call");
                    return Done::Opened(None);
                }
            };
            let row = NewRecording {
                id,
                call,
                segment: 1,
                client,
                created_at_ms: now_ms,
                sample_rate: ringfence_media::SAMPLE_RATE,
                channels: 2,
            };
            if let Err(error) = insert_recording(&floor.db, &row).await {
                tracing::error!(%call, %error, "a recording cannot be linked to its call");
                if let Err(error) = floor.recorder.abandon(opened).await {
                    tracing::warn!(%call, %error, "an empty recording stays until the next start");
                }
                return Done::Opened(None);
            }
            Done::Opened(Some(Box::new(opened)))
        });
    }

    fn mark_seizure(&mut self) {
        let (floor, call) = (self.floor.clone(), self.call);
        self.work.spawn(async move {
            // Since the decision the clock may have jumped; then nobody knows any more whether the window is open.
            if let ClockTrust::Untrusted { why } = floor.clock.trust() {
                tracing::warn!(%call, %why, "the clock cannot be trusted, so nobody is called");
                return Done::Seizure(Input::SeizureFailed);
            }
            let marked = async {
                let mut tx = floor.db.begin().await?;
                let seizure = store::attempts::mark_seizure(&mut tx, call, floor.clock.wall_ms()).await?;
                tx.commit().await.map(|()| seizure)
            };
            Done::Seizure(match marked.await {
                Ok(Seizure::Marked) => Input::SeizureMarked,
                Ok(Seizure::Expired) => Input::PermitExpired,
                Ok(Seizure::CaseBarred(_) | Seizure::NumberBarred | Seizure::Ended) => Input::SeizureBarred,
                Err(error) => {
                    tracing::error!(%call, %error, "the store cannot be asked, so nobody is called");
                    Input::SeizureFailed
                }
            })
        });
    }

    fn bridge(&mut self) -> bool {
        let (Some(agent), Some(customer)) = (&self.agent.audio, &self.customer.audio) else {
            return false;
        };
        let Tape::Open(_) = &self.tape else {
            return false;
        };
        let (tap, reader) = Tap::new(TAP_CAPACITY_MS);
        let at = self.now();
        if let Err(error) = self.floor.engine.bridge(agent, customer, Some(tap), at) {
            tracing::error!(call = %self.call, %error, "the legs cannot be bridged");
            return false;
        }
        let (answered, answered_ms) = self.answered.unwrap_or((at, self.floor.clock.wall_ms()));
        if let Tape::Open(opened) = std::mem::replace(&mut self.tape, Tape::None) {
            let recording = self.floor.recorder.record(*opened, reader);
            self.tape = Tape::Running {
                recording,
                bridged: at,
                answered_ms,
                broke: false,
            };
        }
        metrics::histogram!("ringfence_bridge_seconds")
            .record(self.now().saturating_duration_since(answered));
        true
    }

    async fn release(&mut self, leg: Leg, how: Release) {
        let now = self.now();
        let side = self.side(leg);
        side.released = true;
        if let Some(audio) = side.audio.take() {
            legs::close(audio, now);
        }
        if let (Some(sip), Release::HangUp) = (&side.sip, how) {
            sip.dialog.cut(Some(CLEARING)).await;
        }
    }

    fn close_recording(&mut self, keep: bool, at: Instant) {
        let floor = self.floor.clone();
        let call = self.call;
        match std::mem::replace(&mut self.tape, Tape::None) {
            Tape::None => {}
            Tape::Opening => {
                self.tape = Tape::Opening;
                self.close_when_open = true;
            }
            Tape::Open(opened) => {
                self.work.spawn(async move {
                    let id = opened.id;
                    if let Err(error) = floor.recorder.abandon(*opened).await {
                        tracing::warn!(%call, %error, "an empty recording stays until the next start");
                    } else if let Err(error) = abandon_row(&floor.db, id).await {
                        tracing::warn!(%call, %error, "an empty recording is still listed; the next start settles it");
                    }
                    Done::Nothing
                });
            }
            Tape::Running {
                recording,
                bridged,
                answered_ms,
                ..
            } => {
                debug_assert!(keep, "audio is never given up");
                // The machine releases the legs too; whoever comes first stops the tap at this instant.
                if let Some(audio) = self.agent.audio.as_ref().or(self.customer.audio.as_ref()) {
                    let _ = floor.engine.unbridge(audio, at);
                }
                let length = at.saturating_duration_since(bridged);
                let ended_ms = answered_ms
                    .saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX));
                let talk = Talk {
                    answered_ms,
                    ended_ms,
                    length,
                };
                self.work.spawn(async move {
                    let stopped = floor.recorder.stopped(recording, talk).await;
                    if let Err(failed) = seal(&floor, stopped, answered_ms).await {
                        let (stopped, error) = *failed;
                        tracing::error!(recording = %stopped.id, %error, "not sealed; trying on, and at the next start");
                        metrics::counter!("ringfence_recording_alarms_total", "kind" => "not_sealed").increment(1);
                        // Beside the call: a daemon that stops does not wait for a full disk.
                        tokio::spawn(seal_when_possible(floor, stopped, answered_ms));
                    }
                    Done::Nothing
                });
            }
        }
    }

    /// One transaction: the attempt's end, its roll-ups and its event. Tried until it stands while the database is away;
    /// what the database refuses for good is left to the next start, so that neither agent nor drain waits for ever.
    async fn close_attempt(&mut self, mut outcome: Outcome) {
        // Marked, but the call was over before the INVITE could leave: no cap and no figure counts it.
        outcome.seized &= self.customer.invited;
        let outcome = &outcome;
        let closing = Closing::of(outcome, self.began_ms);
        let mut told: Option<Instant> = None;
        loop {
            let closed = async {
                let mut tx = self.floor.db.begin().await?;
                store::attempts::close(&mut tx, self.call, &closing).await?;
                tx.commit().await
            };
            let Err(error) = closed.await else {
                break;
            };
            if !error.is_unavailable() {
                tracing::error!(call = %self.call, %error, "the attempt cannot be closed; the next start settles it");
                metrics::counter!("ringfence_attempts_not_closed_total").increment(1);
                break;
            }
            let now = self.now();
            if told.is_none_or(|told| now.saturating_duration_since(told) >= CLOSE_REMIND) {
                told = Some(now);
                tracing::error!(call = %self.call, %error, "the attempt cannot be closed yet; trying on");
            }
            tokio::time::sleep(CLOSE_RETRY).await;
        }
        tracing::info!(call = %self.call, cause = outcome.cause.as_str(), class = outcome.class().as_str(), "a call ended");
        metrics::counter!(
            "ringfence_calls_ended_total",
            "cause" => outcome.cause.as_str(),
            "class" => outcome.class().as_str()
        )
        .increment(1);
        self.tell("ended", Some(outcome), None);
        if let Some(over) = self.over.take() {
            let _ = over.send(outcome.connected);
        }
    }

    /// After the end: the PBX confirms what was released, the recording is sealed, the journal is written.
    async fn linger(mut self) {
        let limit = self.now() + LINGER;
        loop {
            let legs = self.agent.sip.is_some() || self.customer.sip.is_some();
            let preparing = self.agent.preparing || self.customer.preparing;
            if self.work.is_empty() && !preparing && (!legs || self.now() >= limit) {
                break;
            }
            // Waiting for a seal has no limit: a daemon that stops must not leave it half done.
            let until = (legs && self.now() < limit).then_some(limit);
            let happened = self.wait_after(until).await;
            self.on(happened).await;
            self.ready.clear();
        }
        let legs = [("agent", self.agent.sip), ("customer", self.customer.sip)];
        let legs: Vec<_> = legs
            .into_iter()
            .filter_map(|(name, sip)| Some((name, sip?.dialog)))
            .collect();
        if legs.is_empty() {
            self.journal.finish().await;
        } else {
            self.journal.follow(legs);
        }
    }

    async fn wait_after(&mut self, until: Option<Instant>) -> Happened {
        tokio::select! {
            event = leg_event(&mut self.agent.sip) => Happened::Leg(Leg::Agent, event),
            event = leg_event(&mut self.customer.sip) => Happened::Leg(Leg::Customer, event),
            Some(done) = self.work.join_next() => Happened::Done(done.unwrap_or(Done::Panicked)),
            () = sleep(until) => Happened::Timeout,
        }
    }

    fn publish(&self, event: Event) {
        let (state, leg) = match event {
            Event::AgentRinging => ("agent_ringing", None),
            Event::AgentAnswered => ("agent_answered", None),
            Event::CustomerCalled => ("customer_dialling", None),
            Event::CustomerRinging => ("customer_ringing", None),
            Event::CustomerAnswered => ("customer_answered", None),
            Event::Bridged => ("talking", None),
            Event::WindowClosing => ("window_closing", None),
            Event::WindowClosed => ("window_closed", None),
            Event::RecordingBroke => ("recording_broken", None),
            Event::Silent(leg) => ("silent", Some(name_of(leg))),
            Event::Resumed(leg) => ("resumed", Some(name_of(leg))),
            Event::Draining => ("draining", None),
        };
        if let Event::Silent(leg) = event {
            tracing::warn!(call = %self.call, leg = name_of(leg), "no audio comes from a leg");
        }
        self.tell(state, None, leg);
    }

    fn tell(&self, state: &'static str, outcome: Option<&Outcome>, leg: Option<&'static str>) {
        // What is only an alarm is not how far the call is.
        if leg.is_none()
            && !matches!(
                state,
                "window_closing" | "window_closed" | "recording_broken" | "draining"
            )
        {
            self.state.send_replace(state);
        }
        let event = FloorEvent {
            call_id: self.call.to_string(),
            state,
            agent: self.agent_id,
            client: Some(self.target.client),
            at_ms: self.floor.clock.wall_ms(),
            cause: outcome.map(|outcome| outcome.cause),
            leg,
        };
        // Nobody listening is fine.
        let _ = self.floor.events.send(News::Call(event));
    }

    fn to_agent<T, E>(&self, act: impl FnOnce(&AudioLeg) -> Result<T, E>) {
        if let Some(audio) = &self.agent.audio {
            // A missing ringing tone is unpleasant, not wrong.
            let _ = act(audio);
        }
    }

    fn side(&mut self, leg: Leg) -> &mut Side {
        match leg {
            Leg::Agent => &mut self.agent,
            Leg::Customer => &mut self.customer,
        }
    }

    fn now(&self) -> Instant {
        self.floor.clock.monotonic()
    }
}

async fn leg_event(sip: &mut Option<SipLeg>) -> Option<LegEvent> {
    match sip {
        Some(sip) => sip.dialog.events.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

const fn name_of(leg: Leg) -> &'static str {
    match leg {
        Leg::Agent => "agent",
        Leg::Customer => "customer",
    }
}

/// Seals a recording, and then its row.
async fn seal(
    floor: &Floorwork,
    stopped: Stopped,
    answered_ms: i64,
) -> Result<(), Box<(Stopped, VaultError)>> {
    let id = stopped.id;
    let sealed = floor.recorder.seal(stopped).await?;
    let row = coverage::row(&sealed, Some(answered_ms), floor.clock.wall_ms());
    coverage::raise(&sealed, &coverage::alarms(&sealed, &row));
    metrics::counter!("ringfence_recordings_sealed_total", "state" => "sealed").increment(1);
    if let Err(error) = seal_row(&floor.db, id, &row).await {
        tracing::error!(recording = %id, %error, "sealed, but its row says live; the next start settles it");
    }
    Ok(())
}

/// Tries again until the disk lets it.
async fn seal_when_possible(floor: Arc<Floorwork>, mut stopped: Stopped, answered_ms: i64) {
    loop {
        tokio::time::sleep(SEAL_RETRY).await;
        match seal(&floor, stopped, answered_ms).await {
            Ok(()) => return,
            Err(failed) => {
                let (still, error) = *failed;
                tracing::debug!(recording = %still.id, %error, "still not sealed");
                stopped = still;
            }
        }
    }
}

fn fresh_recording(now_ms: i64) -> Option<RecordingId> {
    crate::random::bits()
        .ok()
        .map(|bits| RecordingId::from_parts(now_ms, bits))
}

async fn insert_recording(db: &Db, row: &NewRecording) -> Result<(), store::Error> {
    let mut tx = db.begin().await?;
    store::recordings::insert(&mut tx, row).await?;
    tx.commit().await
}

async fn abandon_row(db: &Db, id: RecordingId) -> Result<(), store::Error> {
    let mut tx = db.begin().await?;
    store::recordings::abandon(&mut tx, id).await?;
    tx.commit().await
}

/// Tried on while the database is away, as long as a stop may reasonably wait.
async fn seal_row(
    db: &Db,
    id: RecordingId,
    seal: &store::recordings::Seal,
) -> Result<(), store::Error> {
    let mut tries = SEAL_ROW_TRIES;
    loop {
        let written = async {
            let mut tx = db.begin().await?;
            store::recordings::seal(&mut tx, id, seal).await?;
            tx.commit().await
        };
        match written.await {
            Err(error) if error.is_unavailable() && tries > 0 => tries -= 1,
            done => return done,
        }
        tokio::time::sleep(CLOSE_RETRY).await;
    }
}
