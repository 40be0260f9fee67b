//! One task per call: waits, feeds the machine one input, carries out what it asks.
//!
//! Holds no rules and no order of its own: both are the machine's. IO that may take long runs beside the call and comes
//! back as an input, so that a hang-up is never kept waiting. The task outlives the call until the PBX has released the
//! legs and the recording is sealed. If it breaks off by a fault of ours, dropping what it holds cuts the legs and stops
//! the recorder; the rest is for the one who runs it (`switchboard/supervisor.rs`).
//!
//! Here are the state and the loop. Its verbs by noun: `side` (a leg from its preparation to its release), `recording`,
//! `attempt` (the row in the store), `work` (what comes back from beside the call), `linger` (after the end). `leg` is a
//! dialog with its audio, `journal` what must be durable of it, `handle` how others end the call, `herald` how they hear
//! of it.

mod attempt;
mod handle;
mod herald;
mod journal;
mod leg;
mod linger;
mod recording;
mod side;
mod work;

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ringfence_media::{Engine, Leg as AudioLeg, MediaEvent, Tone};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time::sleep_until,
};

pub use self::handle::CallHandle;
#[cfg(test)]
pub use self::handle::Told;
pub(crate) use self::herald::Herald;
use self::{
    handle::{Ask, Handled},
    journal::{Dialogs, Journal},
    leg::Audio,
    recording::Tape,
    side::Side,
    work::Done,
};
use super::{
    Party,
    machine::{CallSpec, Effect, Input, Leg, Machine},
};
use crate::{
    clock::Clock,
    fact_journal::FactJournal,
    ids::{AgentId, CallId},
    policy::{Bounds, Permit},
    recorder::Recorder,
    rulebook::in_force::Rulebook,
    store::{Db, contact_points::Target},
    switchboard::News,
    trunk::{LegEvent, Trunk},
};

/// How long before the closing hour the agent is warned.
const WARN_BEFORE: Duration = Duration::from_secs(60);
/// Q.850 cause said to the PBX: normal clearing.
const CLEARING: u8 = 16;
/// Pauses between tries to write what must be written while the database is away.
const STORE_RETRY: Duration = Duration::from_millis(500);

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
    /// The rules in force.
    pub rules: Rulebook,
    /// What the database cannot be told yet.
    pub facts: FactJournal,
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
    /// The next thing that happens to a call breaks its task off.
    #[cfg(test)]
    pub fault: std::sync::atomic::AtomicBool,
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
    /// Hash of the rules that allowed it.
    pub rules_sha256: String,
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

enum Happened {
    Asked(Option<Ask>),
    Leg(Leg, Option<LegEvent>),
    Audio(MediaEvent),
    Done(Done),
    Broke,
    Timeout,
}

/// A call under way.
pub struct CallTask {
    floor: Arc<Floorwork>,
    call: CallId,
    target: Target,
    /// Hash of the rules that allowed it.
    rules_sha256: String,
    agent_permit: Option<Permit>,
    customer_permit: Option<Permit>,
    browser: Option<Arc<AudioLeg>>,
    machine: Machine,
    began_ms: i64,
    /// Every customer INVITE leaves before this by both clocks, or not at all.
    invite_until_ms: i64,
    bounds: Bounds,
    agent: Side,
    customer: Side,
    tape: Tape,
    close_when_open: bool,
    answered: Option<(Instant, i64)>,
    asks: mpsc::Receiver<Ask>,
    over: Option<oneshot::Sender<bool>>,
    audio_events: (mpsc::Sender<MediaEvent>, mpsc::Receiver<MediaEvent>),
    work: JoinSet<Done>,
    ready: VecDeque<Input>,
    dialogs: Dialogs,
    journal: Journal,
    journal_writer: JoinHandle<()>,
    herald: Herald,
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
        let (handle, handled) = handle::handle("agent_dialling");
        let Handled { asks, state, over } = handled;
        let dialogs = Dialogs {
            db: floor.db.clone(),
            clock: floor.clock.clone(),
            node: floor.node.clone(),
            trunk: floor.trunk.name().to_owned(),
            call,
        };
        let (journal, journal_writer) = Journal::start(dialogs.clone());
        let task = Self {
            call,
            agent_permit: Some(agent_permit),
            customer_permit: Some(granted.permit),
            browser: match seat {
                Seat::DeskPhone => None,
                Seat::Browser(leg) => Some(leg),
            },
            invite_until_ms: granted.valid_until_ms,
            bounds: Bounds {
                invite_until: spec.invite_until,
                ring_until: spec.ring_until,
            },
            machine: Machine::new(spec, now),
            began_ms: clock.wall_ms(),
            agent: Side::new(Leg::Agent, journal.clone()),
            customer: Side::new(Leg::Customer, journal.clone()),
            tape: Tape::None,
            close_when_open: false,
            answered: None,
            asks,
            over: Some(over),
            audio_events: mpsc::channel(32),
            work: JoinSet::new(),
            ready: VecDeque::new(),
            dialogs,
            journal,
            journal_writer,
            herald: Herald::new(&floor, call, agent_id, granted.target.client, state),
            target: granted.target,
            rules_sha256: granted.rules_sha256,
            floor,
        };
        (task, handle)
    }

    /// Runs the call to its end.
    pub async fn run(mut self) {
        loop {
            let now = self.now();
            while let Some(input) = self.ready.pop_front() {
                self.machine.handle(input, now);
            }
            while let Some(event) = self.machine.poll_event() {
                self.herald.publish(event);
            }
            if let Some(effect) = self.machine.poll_effect() {
                // Boxed, and so is what follows the end: a call that talks holds no room for its other states.
                Box::pin(self.carry_out(effect)).await;
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
        Box::pin(self.linger()).await;
    }

    async fn wait(&mut self, until: Option<Instant>) -> Happened {
        tokio::select! {
            ask = self.asks.recv() => Happened::Asked(ask),
            event = self.agent.event() => Happened::Leg(Leg::Agent, event),
            event = self.customer.event() => Happened::Leg(Leg::Customer, event),
            Some(event) = self.audio_events.1.recv() => Happened::Audio(event),
            Some(done) = self.work.join_next() => Happened::Done(done.unwrap_or(Done::Panicked)),
            () = self.tape.breaks() => Happened::Broke,
            () = sleep(until) => Happened::Timeout,
        }
    }

    async fn on(&mut self, happened: Happened) {
        #[cfg(test)]
        assert!(!self.floor.fault.load(std::sync::atomic::Ordering::SeqCst));
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
                self.tape.note_broke();
                self.ready.push_back(Input::RecordingBroke);
            }
            Happened::Timeout => {
                let now = self.now();
                self.machine.handle_timeout(now);
            }
        }
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::CallAgent => match self.browser.take() {
                Some(leg) => {
                    self.agent.audio = Some(Audio::lent(leg));
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

    /// Who tells about this call.
    pub(crate) fn herald(&self) -> Herald {
        self.herald.clone()
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

async fn sleep(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}
