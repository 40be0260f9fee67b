//! What came of an attempt: everything its row, its roll-ups and its closing event need.
//!
//! All times are milliseconds after the machine began ([`Marks`]); the task that ran the machine knows the
//! wall clock of that instant and adds it, so that a stepped wall clock never yields a negative talk time.

use serde::{Deserialize, Serialize};

use super::{Cause, Class};

/// Who acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// The agent, on the phone, in the browser or through the API.
    Agent,
    /// The person called.
    Customer,
    /// The daemon: a time limit, a drain, a fault.
    System,
}

impl Party {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Customer => "customer",
            Self::System => "system",
        }
    }
}

/// When things happened, in milliseconds after the machine began; `None` if they did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// The agent's phone rang.
    pub agent_ringing_ms: Option<u64>,
    /// The agent answered.
    pub agent_answered_ms: Option<u64>,
    /// The customer INVITE was handed over for sending.
    pub invited_ms: Option<u64>,
    /// First ringing or early media of the customer leg.
    pub customer_ringing_ms: Option<u64>,
    /// The customer answered (200 OK).
    pub customer_answered_ms: Option<u64>,
    /// Both sides heard each other.
    pub bridged_ms: Option<u64>,
    /// The call was over: a side hung up, a leg failed, or it was cancelled.
    pub ended_ms: Option<u64>,
}

/// What became of the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordingFate {
    /// None was opened.
    None,
    /// Opened and given up, because nobody answered.
    Abandoned,
    /// Kept from the bridge to the end.
    Kept,
    /// Kept, but it broke during the talk: the gap is counted and an alarm was raised.
    Broken,
}

impl RecordingFate {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Abandoned => "abandoned",
            Self::Kept => "kept",
            Self::Broken => "broken",
        }
    }
}

/// The one result of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Why it ended.
    pub cause: Cause,
    /// Who ended it.
    pub ended_by: Party,
    /// The final SIP status of the leg that failed, for the line statistics.
    pub sip_status: Option<u16>,
    /// Its Q.850 cause.
    pub q850: Option<u8>,
    /// When things happened.
    pub marks: Marks,
    /// The customer INVITE was handed to a trunk.
    pub seized: bool,
    /// The customer leg was answered (200 OK).
    pub connected: bool,
    /// What became of the recording.
    pub recording: RecordingFate,
    /// Talk time that lay behind the closing hour, in milliseconds; 0 for a call that kept within it.
    pub overrun_ms: u64,
}

impl Outcome {
    /// Whose doing the end was.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.cause.class()
    }

    /// Whether this counts for the NER: an answered call always does, whatever ended it later.
    #[must_use]
    pub const fn counts_for_ner(&self) -> bool {
        self.connected || self.cause.counts_for_ner()
    }

    /// Post-dial delay: INVITE to first ringing, in milliseconds.
    #[must_use]
    pub fn pdd_ms(&self) -> Option<u64> {
        let invited = self.marks.invited_ms?;
        Some(self.marks.customer_ringing_ms?.saturating_sub(invited))
    }

    /// First ringing to answer, or to the end if nobody answered, in milliseconds.
    #[must_use]
    pub fn ring_ms(&self) -> Option<u64> {
        let ringing = self.marks.customer_ringing_ms?;
        let until = self.marks.customer_answered_ms.or(self.marks.ended_ms)?;
        Some(until.saturating_sub(ringing))
    }

    /// Answer to hang-up, in milliseconds; 0 if never answered.
    #[must_use]
    pub fn talk_ms(&self) -> u64 {
        match (self.marks.customer_answered_ms, self.marks.ended_ms) {
            (Some(answered), Some(ended)) => ended.saturating_sub(answered),
            _ => 0,
        }
    }

    /// Whether the attempt counts against a cap on unanswered attempts: the INVITE left and nobody answered.
    #[must_use]
    pub const fn counts_as_unanswered(&self) -> bool {
        self.seized && !self.connected
    }

    /// The outcome of an attempt that a crash left open, settled at the next start.
    ///
    /// What the store knew is all there is: whether the INVITE had left and whether it had been answered.
    #[must_use]
    pub fn crashed(seized: bool, connected: bool, recording: RecordingFate) -> Self {
        Self {
            cause: if connected {
                Cause::Answered
            } else {
                Cause::Crashed
            },
            ended_by: Party::System,
            sip_status: None,
            q850: None,
            marks: Marks::default(),
            seized: seized || connected,
            connected,
            recording,
            overrun_ms: 0,
        }
    }
}
