//! Who can be rung at the practice PBX, and what they do. Pure data: the demo, its seed and its help read the same list.

use std::time::Duration;

/// A desk phone of the practice floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeskPhone {
    /// Extension, the user part of its SIP address.
    pub extension: &'static str,
    /// Who sits there.
    pub name: &'static str,
    /// What the agent "says": a steady tone, so that a recording can be checked by ear and by machine.
    pub tone_hz: u32,
    /// How long it rings before it is picked up.
    pub picks_up_after: Duration,
}

/// A debtor that can be rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PracticeDebtor {
    /// Number in E.164; none of them is assigned to anybody reachable from here.
    pub number: &'static str,
    /// Name in the practice cases.
    pub name: &'static str,
    /// Whose number it is, in the words of the case store.
    pub relation: &'static str,
    /// What happens when it is rung.
    pub behaviour: Behaviour,
}

/// What a called party does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Rings, answers, speaks a tone, and hangs up by itself after a while or stays.
    Answers {
        /// Ring time.
        after: Duration,
        /// The tone it speaks.
        tone_hz: u32,
        /// When it hangs up, counted from the answer.
        hangs_up_after: Option<Duration>,
    },
    /// Rings until the caller gives up.
    RingsOut,
    /// 486 Busy Here, Q.850 cause 17.
    Busy,
    /// Rings, then 603 Decline, Q.850 cause 21.
    Rejects {
        /// Ring time before the rejection.
        after: Duration,
    },
    /// 404 Not Found, Q.850 cause 1.
    DoesNotExist,
}

impl Behaviour {
    /// For people.
    pub fn words(self) -> String {
        match self {
            Self::Answers {
                tone_hz,
                hangs_up_after: Some(after),
                ..
            } => {
                format!(
                    "answers, speaks {tone_hz} Hz, hangs up after {} s",
                    after.as_secs()
                )
            }
            Self::Answers {
                tone_hz,
                hangs_up_after: None,
                ..
            } => format!("answers, speaks {tone_hz} Hz, stays"),
            Self::RingsOut => "rings and never answers".into(),
            Self::Busy => "busy".into(),
            Self::Rejects { .. } => "rejects".into(),
            Self::DoesNotExist => "does not exist".into(),
        }
    }
}

/// The desk phones of the practice floor.
pub const DESK_PHONES: [DeskPhone; 3] = [
    DeskPhone {
        extension: "1001",
        name: "Li",
        tone_hz: 420,
        picks_up_after: Duration::from_millis(600),
    },
    DeskPhone {
        extension: "1002",
        name: "Wang",
        tone_hz: 480,
        picks_up_after: Duration::from_millis(900),
    },
    DeskPhone {
        extension: "1003",
        name: "Zhang",
        tone_hz: 540,
        picks_up_after: Duration::from_millis(1_200),
    },
];

/// The debtors of the practice floor.
pub const DEBTORS: [PracticeDebtor; 7] = [
    PracticeDebtor {
        number: "+8613800000001",
        name: "Practice Answers",
        relation: "debtor",
        behaviour: Behaviour::Answers {
            after: Duration::from_millis(1_500),
            tone_hz: 880,
            hangs_up_after: Some(Duration::from_secs(6)),
        },
    },
    PracticeDebtor {
        number: "+8613800000002",
        name: "Practice Stays",
        relation: "debtor",
        behaviour: Behaviour::Answers {
            after: Duration::from_secs(2),
            tone_hz: 940,
            hangs_up_after: None,
        },
    },
    PracticeDebtor {
        number: "+8613800000003",
        name: "Practice Rings Out",
        relation: "debtor",
        behaviour: Behaviour::RingsOut,
    },
    PracticeDebtor {
        number: "+8613800000004",
        name: "Practice Busy",
        relation: "debtor",
        behaviour: Behaviour::Busy,
    },
    PracticeDebtor {
        number: "+8613800000005",
        name: "Practice Rejects",
        relation: "debtor",
        behaviour: Behaviour::Rejects {
            after: Duration::from_secs(2),
        },
    },
    PracticeDebtor {
        number: "+8613800000006",
        name: "Practice Nobody",
        relation: "debtor",
        behaviour: Behaviour::DoesNotExist,
    },
    PracticeDebtor {
        number: "+8613800000007",
        name: "Practice Hangs Up",
        relation: "debtor",
        behaviour: Behaviour::Answers {
            after: Duration::from_secs(1),
            tone_hz: 1_000,
            hangs_up_after: Some(Duration::from_secs(1)),
        },
    },
];

/// The desk phone with this extension.
pub fn desk_phone(extension: &str) -> Option<&'static DeskPhone> {
    DESK_PHONES
        .iter()
        .find(|phone| phone.extension == extension)
}

/// What a dialled number does; one that is not on the list does not exist.
pub fn behaviour(dialled: &str) -> Behaviour {
    DEBTORS
        .iter()
        .find(|debtor| debtor.number.trim_start_matches('+') == dialled.trim_start_matches('+'))
        .map_or(Behaviour::DoesNotExist, |debtor| debtor.behaviour)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_number_is_found_with_and_without_its_plus() {
        for debtor in DEBTORS {
            assert_eq!(behaviour(debtor.number), debtor.behaviour);
            assert_eq!(
                behaviour(debtor.number.trim_start_matches('+')),
                debtor.behaviour
            );
        }
    }

    #[test]
    fn what_is_not_on_the_list_does_not_exist() {
        for dialled in ["", "+", "13800000001", "+8613800000099", "1001"] {
            assert_eq!(behaviour(dialled), Behaviour::DoesNotExist, "{dialled}");
        }
        assert!(desk_phone("").is_none() && desk_phone("+8613800000001").is_none());
    }

    #[test]
    fn numbers_extensions_and_voices_are_each_their_own() {
        let numbers: HashSet<_> = DEBTORS.iter().map(|d| d.number).collect();
        let extensions: HashSet<_> = DESK_PHONES.iter().map(|p| p.extension).collect();
        assert_eq!(
            (numbers.len(), extensions.len()),
            (DEBTORS.len(), DESK_PHONES.len())
        );
        let mut tones: Vec<u32> = DESK_PHONES.iter().map(|p| p.tone_hz).collect();
        tones.extend(DEBTORS.iter().filter_map(|d| match d.behaviour {
            Behaviour::Answers { tone_hz, .. } => Some(tone_hz),
            _ => None,
        }));
        let distinct: HashSet<_> = tones.iter().collect();
        assert_eq!(distinct.len(), tones.len(), "two voices sound alike");
        // Far enough apart, and below half the sample rate, to be told apart by ear and by machine.
        assert!(tones.iter().all(|hz| (300..3_400).contains(hz)));
    }

    #[test]
    fn every_way_a_call_can_end_can_be_practised() {
        let some = |wanted: fn(&Behaviour) -> bool| DEBTORS.iter().any(|d| wanted(&d.behaviour));
        assert!(some(|b| matches!(
            b,
            Behaviour::Answers {
                hangs_up_after: Some(_),
                ..
            }
        )));
        assert!(some(|b| matches!(
            b,
            Behaviour::Answers {
                hangs_up_after: None,
                ..
            }
        )));
        assert!(some(|b| *b == Behaviour::RingsOut) && some(|b| *b == Behaviour::Busy));
        assert!(some(|b| matches!(b, Behaviour::Rejects { .. })));
        assert!(some(|b| *b == Behaviour::DoesNotExist));
    }
}
