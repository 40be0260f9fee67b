//! Digits as RFC 4733 events: read, and told once each. Relaying needs nothing from here but the payload type.
//!
//! A digit may be part of a card number: [`Digit`] prints as `*` under `Debug`, and the recording gets silence for it.

/// One key of the telephone.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digit(u8);

impl Digit {
    /// The key of an event code (RFC 4733 section 3.2); other events (flash, tones) are no digits.
    pub fn from_event(event: u8) -> Option<Self> {
        (event < 16).then_some(Self(event))
    }

    /// The key of a character, `0`-`9 * # A-D`.
    pub fn from_char(key: char) -> Option<Self> {
        KEYS.iter()
            .position(|&known| known == key)
            .map(|event| Self(event as u8))
    }

    /// Its event code.
    pub fn event(self) -> u8 {
        self.0
    }

    /// Its character. Mind where it goes.
    pub fn as_char(self) -> char {
        KEYS.get(usize::from(self.0)).copied().unwrap_or('?')
    }
}

impl std::fmt::Debug for Digit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digit(hidden)")
    }
}

const KEYS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D',
];

/// The payload of an event packet (RFC 4733 section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Event code.
    pub code: u8,
    /// Last packets of the event.
    pub end: bool,
    /// Loudness in -dBm0, 0 to 63.
    pub volume: u8,
    /// Length so far in time stamp units.
    pub duration: u16,
}

impl Event {
    /// Reads a payload; `None` if it is shorter than an event. Further octets are ignored.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let [code, flags, d0, d1, ..] = *payload else {
            return None;
        };
        Some(Self {
            code,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([d0, d1]),
        })
    }

    /// The four octets of the payload.
    pub fn to_bytes(self) -> [u8; 4] {
        let [d0, d1] = self.duration.to_be_bytes();
        [
            self.code,
            (self.volume & 0x3f) | if self.end { 0x80 } else { 0 },
            d0,
            d1,
        ]
    }
}

/// Tells each event once, however many packets carry it.
#[derive(Debug, Default)]
pub struct DigitWatch {
    last: Option<(u32, u32, u8)>,
}

impl DigitWatch {
    /// Takes one event packet of source `ssrc` with time stamp `timestamp`; gives the digit at its first packet.
    pub fn heard(&mut self, ssrc: u32, timestamp: u32, event: Event) -> Option<Digit> {
        let this = (ssrc, timestamp, event.code);
        if self.last == Some(this) {
            return None;
        }
        // A late repetition of an older event must not count again.
        if let Some((last_ssrc, last, _)) = self.last
            && last_ssrc == ssrc
            && (timestamp.wrapping_sub(last) as i32) < 0
        {
            return None;
        }
        self.last = Some(this);
        Digit::from_event(event.code)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn an_event_survives_writing_and_reading() {
        let event = Event {
            code: 11,
            end: true,
            volume: 10,
            duration: 1_600,
        };
        assert_eq!(Event::parse(&event.to_bytes()), Some(event));
        assert_eq!(Event::parse(&[1, 2, 3]), None);
    }

    #[test]
    fn a_digit_is_told_once_whatever_is_repeated_or_late() {
        let mut watch = DigitWatch::default();
        let five = Event {
            code: 5,
            end: false,
            volume: 10,
            duration: 160,
        };
        let six = Event { code: 6, ..five };
        assert_eq!(watch.heard(1, 1_000, five).unwrap().as_char(), '5');
        assert_eq!(
            watch.heard(
                1,
                1_000,
                Event {
                    end: true,
                    duration: 800,
                    ..five
                }
            ),
            None
        );
        assert_eq!(watch.heard(1, 3_000, six).unwrap().as_char(), '6');
        assert_eq!(watch.heard(1, 1_000, Event { end: true, ..five }), None);
        assert_eq!(watch.heard(1, 5_000, six).unwrap().as_char(), '6');
        assert_eq!(watch.heard(2, 4_000, six).unwrap().as_char(), '6');
        assert_eq!(watch.heard(2, 9_000, Event { code: 16, ..five }), None);
    }

    #[test]
    fn a_digit_does_not_print() {
        assert_eq!(
            format!("{:?}", Digit::from_char('7').unwrap()),
            "Digit(hidden)"
        );
        assert_eq!(Digit::from_char('#').unwrap().event(), 11);
        assert_eq!(Digit::from_char('x'), None);
    }
}
