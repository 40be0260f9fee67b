//! Why an attempt ended, in the floor's words, and whose doing it was.
//!
//! A SIP status and a Q.850 cause are translated once, here; nothing behind this file reads either.
//! The Q.850 cause wins where it says something (ITU-T Q.850; RFC 3326 carries it, RFC 3398 7.2.4.1 and
//! 8.2.6.1 relate it to SIP); 0, 16, 31, 111 and 127 say nothing about a failed leg and leave it to the status.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose doing an end was. The connect rate leaves out what was [`Class::Ours`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The daemon, its machine or its configuration.
    Ours,
    /// The PBX, the trunk or the network behind it.
    Trunk,
    /// The person called, or their number.
    Callee,
    /// The agent who calls, or their phone.
    Caller,
}

impl Class {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Trunk => "trunk",
            Self::Callee => "callee",
            Self::Caller => "caller",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Declares [`Cause`] as one table: variant, stored word, class, counted in the network-effectiveness ratio.
macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $class:ident, $ner:literal;)*) => {
        /// Why an attempt ended. The stored words never change their meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Cause {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl Cause {
            /// Every cause, in the order of this file.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stored word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Whose doing it was.
            #[must_use]
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)* }
            }

            /// Whether a seizure that ended so counts for the NER (ITU-T E.411: answered, busy, no answer,
            /// rejected by the called party: the network did its work).
            #[must_use]
            pub const fn counts_for_ner(self) -> bool {
                match self { $(Self::$variant => $ner,)* }
            }

            /// The cause of a stored word.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

causes! {
    /// The call was answered and somebody hung up.
    Answered = "answered", Callee, true;
    /// The call was answered, and then the line was lost: no orderly hang-up by anybody.
    Dropped = "dropped", Trunk, false;
    /// The number called was busy.
    Busy = "busy", Callee, true;
    /// It rang, or should have, and nobody answered within the ring time.
    NoAnswer = "no_answer", Callee, true;
    /// The person called, or their phone, declined.
    Rejected = "rejected", Callee, true;
    /// The phone called is switched off, out of reach or out of order.
    Unreachable = "unreachable", Callee, false;
    /// The number called does not exist, or no longer.
    UnknownNumber = "unknown_number", Callee, false;
    /// No line or no capacity on the way.
    Congestion = "congestion", Trunk, false;
    /// The trunk refused us: credentials, rights, or outgoing calls barred.
    TrunkRefused = "trunk_refused", Trunk, false;
    /// The PBX or trunk did not answer at all, or the connection to it broke.
    TrunkDown = "trunk_down", Trunk, false;
    /// No codec in common with the far side.
    MediaRefused = "media_refused", Trunk, false;
    /// The far side answered with an error that says nothing about the person called.
    TrunkFault = "trunk_fault", Trunk, false;
    /// The caller's side gave up before the person called answered.
    Cancelled = "cancelled", Caller, false;
    /// The agent's phone was not picked up within its ring time.
    AgentNoAnswer = "agent_no_answer", Caller, false;
    /// The agent's phone was busy.
    AgentBusy = "agent_busy", Caller, false;
    /// The agent declined on the phone.
    AgentRejected = "agent_rejected", Caller, false;
    /// The agent's phone or browser is not there.
    AgentUnreachable = "agent_unreachable", Caller, false;
    /// The permission ran out before the number could be called.
    PermitExpired = "permit_expired", Ours, false;
    /// Case, number or rules were barred between the decision and the INVITE.
    Barred = "barred", Ours, false;
    /// The vault could not take the recording, so nothing was called.
    RecordingUnavailable = "recording_unavailable", Ours, false;
    /// The daemon was being stopped.
    Drained = "drained", Ours, false;
    /// The daemon died while the attempt was under way; settled at the next start.
    Crashed = "crashed", Ours, false;
    /// A fault of the daemon itself, which went on.
    Internal = "internal", Ours, false;
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a leg that was never answered failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegFailure {
    /// The far side said no.
    Refused {
        /// The final SIP status, 300 to 699.
        status: u16,
        /// The Q.850 cause of its `Reason` header (RFC 3326).
        q850: Option<u8>,
    },
    /// Nothing came back, the transport broke, or there is no registration.
    Unreached,
    /// Our own side could not set the leg up (no port, no descriptor, a fault).
    Local,
    /// The permission was over before the INVITE could leave, or before it could leave with what the PBX asked for.
    Late {
        /// Whether one had left before.
        invited: bool,
    },
}

impl Cause {
    /// The cause of a customer leg that failed with this status and Q.850 cause.
    ///
    /// Total: a status outside 300..=699 counts as [`Cause::TrunkFault`].
    #[must_use]
    pub fn from_sip(status: u16, q850: Option<u8>) -> Self {
        q850.and_then(Self::from_q850)
            .unwrap_or_else(|| Self::from_status(status))
    }

    /// What a Q.850 cause says by itself; `None` where it says nothing about who failed.
    fn from_q850(cause: u8) -> Option<Self> {
        Some(match cause {
            1 | 22 | 28 => Self::UnknownNumber,
            17 => Self::Busy,
            18 | 19 => Self::NoAnswer,
            20 | 27 => Self::Unreachable,
            21 | 54 | 55 | 87 => Self::Rejected,
            34 | 38 | 41 | 42 | 43 | 44 | 46 | 47 | 49 | 58 | 63 => Self::Congestion,
            50 | 52 | 53 | 57 => Self::TrunkRefused,
            65 | 70 | 79 | 88 => Self::MediaRefused,
            2
            | 5
            | 6
            | 25
            | 29
            | 39
            | 40
            | 62
            | 66
            | 69
            | 81..=86
            | 90
            | 91
            | 95..=101
            | 103
            | 110 => Self::TrunkFault,
            102 => Self::TrunkDown,
            _ => return None,
        })
    }

    fn from_status(status: u16) -> Self {
        match status {
            404 | 410 | 484 | 485 | 604 => Self::UnknownNumber,
            486 | 600 => Self::Busy,
            408 | 480 => Self::NoAnswer,
            603 | 607 | 608 => Self::Rejected,
            503 => Self::Congestion,
            401 | 402 | 403 | 407 => Self::TrunkRefused,
            406 | 415 | 488 | 606 => Self::MediaRefused,
            487 => Self::Cancelled,
            504 => Self::TrunkDown,
            _ => Self::TrunkFault,
        }
    }

    /// The cause of a customer leg that was never answered.
    #[must_use]
    pub fn from_customer(failure: LegFailure) -> Self {
        match failure {
            LegFailure::Refused { status, q850 } => Self::from_sip(status, q850),
            LegFailure::Unreached => Self::TrunkDown,
            LegFailure::Local => Self::Internal,
            LegFailure::Late { .. } => Self::PermitExpired,
        }
    }

    /// The cause of an agent leg that was never answered: the same words, but about the agent's phone.
    /// What the PBX itself did wrong stays the trunk's.
    #[must_use]
    pub fn from_agent(failure: LegFailure) -> Self {
        match Self::from_customer(failure) {
            Self::Busy => Self::AgentBusy,
            Self::NoAnswer => Self::AgentNoAnswer,
            Self::Rejected => Self::AgentRejected,
            Self::Unreachable | Self::UnknownNumber => Self::AgentUnreachable,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_word_is_unique_and_comes_back() {
        for cause in Cause::ALL {
            assert_eq!(Cause::parse(cause.as_str()), Some(*cause));
            let json = serde_json::to_string(cause).unwrap();
            assert_eq!(json, format!("\"{}\"", cause.as_str()));
        }
        assert_eq!(Cause::parse("nonsense"), None);
    }

    /// The whole table, written out by hand from RFC 3261, RFC 3398 and ITU-T Q.850.
    const STATUS: &[(u16, Cause)] = &[
        (300, Cause::TrunkFault),
        (302, Cause::TrunkFault),
        (400, Cause::TrunkFault),
        (401, Cause::TrunkRefused),
        (402, Cause::TrunkRefused),
        (403, Cause::TrunkRefused),
        (404, Cause::UnknownNumber),
        (405, Cause::TrunkFault),
        (406, Cause::MediaRefused),
        (407, Cause::TrunkRefused),
        (408, Cause::NoAnswer),
        (410, Cause::UnknownNumber),
        (413, Cause::TrunkFault),
        (415, Cause::MediaRefused),
        (420, Cause::TrunkFault),
        (421, Cause::TrunkFault),
        (422, Cause::TrunkFault),
        (480, Cause::NoAnswer),
        (481, Cause::TrunkFault),
        (482, Cause::TrunkFault),
        (483, Cause::TrunkFault),
        (484, Cause::UnknownNumber),
        (485, Cause::UnknownNumber),
        (486, Cause::Busy),
        (487, Cause::Cancelled),
        (488, Cause::MediaRefused),
        (500, Cause::TrunkFault),
        (501, Cause::TrunkFault),
        (502, Cause::TrunkFault),
        (503, Cause::Congestion),
        (504, Cause::TrunkDown),
        (513, Cause::TrunkFault),
        (580, Cause::TrunkFault),
        (600, Cause::Busy),
        (603, Cause::Rejected),
        (604, Cause::UnknownNumber),
        (606, Cause::MediaRefused),
        (607, Cause::Rejected),
        (608, Cause::Rejected),
        (0, Cause::TrunkFault),
        (200, Cause::TrunkFault),
        (999, Cause::TrunkFault),
    ];

    const Q850: &[(u8, Cause)] = &[
        (1, Cause::UnknownNumber),
        (2, Cause::TrunkFault),
        (5, Cause::TrunkFault),
        (6, Cause::TrunkFault),
        (17, Cause::Busy),
        (18, Cause::NoAnswer),
        (19, Cause::NoAnswer),
        (20, Cause::Unreachable),
        (21, Cause::Rejected),
        (22, Cause::UnknownNumber),
        (25, Cause::TrunkFault),
        (27, Cause::Unreachable),
        (28, Cause::UnknownNumber),
        (29, Cause::TrunkFault),
        (34, Cause::Congestion),
        (38, Cause::Congestion),
        (39, Cause::TrunkFault),
        (40, Cause::TrunkFault),
        (41, Cause::Congestion),
        (42, Cause::Congestion),
        (43, Cause::Congestion),
        (44, Cause::Congestion),
        (46, Cause::Congestion),
        (47, Cause::Congestion),
        (49, Cause::Congestion),
        (50, Cause::TrunkRefused),
        (52, Cause::TrunkRefused),
        (53, Cause::TrunkRefused),
        (54, Cause::Rejected),
        (55, Cause::Rejected),
        (57, Cause::TrunkRefused),
        (58, Cause::Congestion),
        (62, Cause::TrunkFault),
        (63, Cause::Congestion),
        (65, Cause::MediaRefused),
        (66, Cause::TrunkFault),
        (69, Cause::TrunkFault),
        (70, Cause::MediaRefused),
        (79, Cause::MediaRefused),
        (81, Cause::TrunkFault),
        (82, Cause::TrunkFault),
        (83, Cause::TrunkFault),
        (84, Cause::TrunkFault),
        (85, Cause::TrunkFault),
        (86, Cause::TrunkFault),
        (87, Cause::Rejected),
        (88, Cause::MediaRefused),
        (90, Cause::TrunkFault),
        (91, Cause::TrunkFault),
        (95, Cause::TrunkFault),
        (96, Cause::TrunkFault),
        (97, Cause::TrunkFault),
        (98, Cause::TrunkFault),
        (99, Cause::TrunkFault),
        (100, Cause::TrunkFault),
        (101, Cause::TrunkFault),
        (102, Cause::TrunkDown),
        (103, Cause::TrunkFault),
        (110, Cause::TrunkFault),
    ];

    #[test]
    fn every_status_has_its_cause_when_no_q850_cause_speaks() {
        for (status, cause) in STATUS {
            assert_eq!(Cause::from_sip(*status, None), *cause, "{status}");
            for silent in [0, 3, 16, 26, 31, 111, 127, 200] {
                assert_eq!(
                    Cause::from_sip(*status, Some(silent)),
                    *cause,
                    "{status}/{silent}"
                );
            }
        }
    }

    #[test]
    fn a_q850_cause_that_speaks_wins_over_every_status() {
        for (q850, cause) in Q850 {
            for (status, _) in STATUS {
                assert_eq!(
                    Cause::from_sip(*status, Some(*q850)),
                    *cause,
                    "{status}/{q850}"
                );
            }
        }
        let spoken = (0..=255u8)
            .filter(|q| Cause::from_q850(*q).is_some())
            .count();
        assert_eq!(spoken, Q850.len(), "the table above is not complete");
    }

    #[test]
    fn no_status_and_no_q850_cause_panics_or_blames_the_daemon() {
        for status in 0..=1000 {
            for q850 in (0..=255u8).map(Some).chain([None]) {
                assert_ne!(Cause::from_sip(status, q850).class(), Class::Ours);
            }
        }
    }

    #[test]
    fn an_agents_phone_is_never_counted_as_the_callees_doing() {
        for status in 300..700 {
            for q850 in (0..=127u8).map(Some).chain([None]) {
                let cause = Cause::from_agent(LegFailure::Refused { status, q850 });
                assert_ne!(cause.class(), Class::Callee, "{status} {q850:?}");
                assert!(!cause.counts_for_ner());
            }
        }
        assert_eq!(Cause::from_agent(LegFailure::Unreached), Cause::TrunkDown);
        assert_eq!(Cause::from_agent(LegFailure::Local), Cause::Internal);
    }

    #[test]
    fn the_network_did_its_work_for_exactly_these_causes() {
        let ner: Vec<_> = Cause::ALL.iter().filter(|c| c.counts_for_ner()).collect();
        // A dropped call was answered before, and counts for that (`Outcome::counts_for_ner`).
        let these = [
            Cause::Answered,
            Cause::Busy,
            Cause::NoAnswer,
            Cause::Rejected,
        ];
        assert_eq!(ner, these.iter().collect::<Vec<_>>());
    }
}
