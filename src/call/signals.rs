//! What goes into the call machine and what comes out of it: inputs, effects, events.
//!
//! Every input and every effect is listed here; what they do to each other is `machine.rs`.

use std::time::{Duration, Instant};

use super::{LegFailure, Outcome, Party};

/// One side of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Leg {
    /// The agent's phone or browser.
    Agent,
    /// The person called.
    Customer,
}

impl Leg {
    /// Its name in the journal of legs, in events and in logs.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Customer => "customer",
        }
    }

    pub(super) const fn party(self) -> Party {
        match self {
            Self::Agent => Party::Agent,
            Self::Customer => Party::Customer,
        }
    }
}

/// What the call was allowed to do, and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSpec {
    /// The customer INVITE leaves before this instant or not at all (`Verdict::Allow::valid_until_ms`).
    pub invite_until: Instant,
    /// All ringing at the customer is over by this instant (`ring_until_ms`).
    pub ring_until: Instant,
    /// The longest ringing at the customer (`ring_ms`).
    pub ring_limit: Duration,
    /// The calling window closes (`closes_at_ms`); a conversation goes on, the agent is warned.
    pub closes_at: Instant,
    /// So long before that the agent is warned the first time.
    pub warn_before: Duration,
    /// The longest ringing at the agent.
    pub agent_ring_limit: Duration,
    /// When both sides send no audio for this long, the line is taken for lost.
    pub silence_limit: Duration,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The trunk has taken a leg's INVITE; nothing is known of the far side yet.
    LegTrying(Leg),
    /// A leg rings.
    LegRinging(Leg),
    /// A leg that is not answered sends audio: an announcement or the network's own ringback.
    EarlyMedia(Leg),
    /// A leg was answered (200 OK).
    LegAnswered(Leg),
    /// A leg failed before it was answered, or was lost after.
    LegFailed(Leg, LegFailure),
    /// The far side of a leg hung up.
    LegEnded(Leg),
    /// The vault has a durable first page.
    RecordingOpened,
    /// The vault could not take the recording.
    RecordingFailed,
    /// The recording broke after it had been opened.
    RecordingBroke,
    /// The transaction that marks the seizure went through.
    SeizureMarked,
    /// It found case, number or rules barred meanwhile.
    SeizureBarred,
    /// It could not be carried out.
    SeizureFailed,
    /// The permission could not be redeemed any more, so no INVITE left.
    PermitExpired,
    /// Both sides hear each other, and the tap runs.
    Bridged,
    /// They could not be bridged.
    BridgeFailed,
    /// Somebody ended the call through the API, the console or a time limit outside.
    HangUp {
        /// Who.
        by: Party,
    },
    /// The daemon stops: nobody is called any more, and a call that is up ends by this instant.
    Drain {
        /// The last instant for calls that are up.
        until: Instant,
    },
    /// No audio comes from a leg.
    MediaSilent(Leg),
    /// Audio comes again.
    MediaResumed(Leg),
}

/// How a leg is to be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// By us: CANCEL, BYE, or whatever its dialog asks for; then its ports.
    HangUp,
    /// It is gone already: its ports only.
    Gone,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ring the agent.
    CallAgent,
    /// Make the recording's first page durable; answer with `RecordingOpened` or `RecordingFailed`.
    OpenRecording,
    /// Mark the seizure; answer with `SeizureMarked`, `SeizureBarred` or `SeizureFailed`.
    MarkSeizure,
    /// Redeem the permit, make the dialog durable, and call the customer.
    CallCustomer {
        /// The longest ringing, for the `Expires` header; the machine cuts it itself as well.
        ring: Duration,
    },
    /// Let the agent hear a ringing tone.
    StartRingback,
    /// End the ringing tone.
    StopRingback,
    /// Let the agent hear what the customer's network plays; nothing is recorded yet. At most once.
    PassEarlyMedia,
    /// Bridge both legs with the tap; answer with `Bridged` or `BridgeFailed`.
    Bridge,
    /// Release a leg. Comes exactly once for each leg that was started.
    Release {
        /// Which.
        leg: Leg,
        /// How.
        how: Release,
    },
    /// End the recording. If it is still being opened, once it is; if that fails, there is nothing to do.
    CloseRecording {
        /// Keep what was said until then; `false` gives it up, because nobody answered.
        keep: bool,
        /// The hang-up.
        at: Instant,
    },
    /// Close the attempt in one transaction. Always the last effect.
    CloseAttempt(Outcome),
}

/// What others may want to know, for the event stream and the alarms. The end is [`Effect::CloseAttempt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The agent's phone rings.
    AgentRinging,
    /// The agent answered.
    AgentAnswered,
    /// The customer is being called.
    CustomerCalled,
    /// It rings at the customer.
    CustomerRinging,
    /// The customer answered.
    CustomerAnswered,
    /// Both hear each other.
    Bridged,
    /// The calling window closes soon: warn the agent.
    WindowClosing,
    /// The calling window is closed and the conversation goes on: warn the agent.
    WindowClosed,
    /// The recording broke and the conversation goes on: alarm.
    RecordingBroke,
    /// A leg fell silent.
    Silent(Leg),
    /// A silent leg is heard again.
    Resumed(Leg),
    /// The daemon stops; the call ends soon.
    Draining,
}
