//! RTCP as far as a relay needs it (RFC 3550 section 6): sender and receiver reports with CNAME, BYE; of what comes
//! in, the sender's clock, the report about us, and BYE. Everything else is skipped. Nothing is allocated.
//!
//! Our reports' wall clock is the time since the engine started, which RFC 3550 section 6.4.1 allows: peers only
//! subtract such times, and the media plane reads no wall clock.

use std::time::Duration;

use crate::stream::Reception;

/// Octets enough for the longest compound packet written here.
pub const MAX_LEN: usize = 128;

/// A 64-bit NTP format time: seconds and 2^-32 fractions.
pub fn ntp(since_start: Duration) -> u64 {
    let fraction = (u64::from(since_start.subsec_nanos()) << 32) / 1_000_000_000;
    (since_start.as_secs() << 32) | fraction
}

/// The middle 32 bits of an NTP time, in 1/65536 s.
pub fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// What goes into a compound packet of ours.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// Our SSRC.
    pub ssrc: u32,
    /// Name of the stream's owner (RFC 3550 section 6.5.1); at most 32 octets are sent.
    pub cname: &'a str,
    /// NTP time, RTP time, packets and octets sent, if anything was sent.
    pub sent: Option<(u64, u32, u32, u32)>,
    /// The block about what we hear, with the middle of the peer's last NTP time and the delay since, 1/65536 s.
    pub heard: Option<(Reception, u32, u32)>,
    /// Ends with BYE.
    pub bye: bool,
}

/// Writes a compound packet into `buffer` and gives its length.
pub fn write(report: &Report<'_>, buffer: &mut [u8; MAX_LEN]) -> usize {
    let mut out = Writer { buffer, len: 0 };
    let blocks = u8::from(report.heard.is_some());
    match report.sent {
        Some((ntp, rtp, packets, octets)) => {
            out.head(blocks, 200, 6 + 6 * u16::from(blocks));
            out.word(report.ssrc);
            out.word((ntp >> 32) as u32);
            out.word(ntp as u32);
            out.word(rtp);
            out.word(packets);
            out.word(octets);
        }
        None => {
            out.head(blocks, 201, 1 + 6 * u16::from(blocks));
            out.word(report.ssrc);
        }
    }
    if let Some((heard, last_sr, delay)) = report.heard {
        out.word(heard.ssrc);
        out.word(
            (u32::from(heard.fraction_lost) << 24) | (heard.cumulative_lost as u32 & 0x00ff_ffff),
        );
        out.word(heard.highest);
        out.word(heard.jitter);
        out.word(last_sr);
        out.word(delay);
    }
    let name = report.cname.as_bytes();
    let name = name.get(..name.len().min(32)).unwrap_or_default();
    let words = (2 + name.len()) / 4 + 1; // item head, name, at least one zero
    out.head(1, 202, 1 + words as u16);
    out.word(report.ssrc);
    let end = out.len + words * 4;
    out.octets(&[1, name.len() as u8]);
    out.octets(name);
    while out.len < end {
        out.octets(&[0]);
    }
    if report.bye {
        out.head(1, 203, 1);
        out.word(report.ssrc);
    }
    out.len
}

struct Writer<'a> {
    buffer: &'a mut [u8; MAX_LEN],
    len: usize,
}

impl Writer<'_> {
    fn octets(&mut self, octets: &[u8]) {
        if let Some(room) = self.buffer.get_mut(self.len..self.len + octets.len()) {
            room.copy_from_slice(octets);
            self.len += octets.len();
        }
    }

    fn word(&mut self, word: u32) {
        self.octets(&word.to_be_bytes());
    }

    fn head(&mut self, count: u8, kind: u8, words: u16) {
        let [w0, w1] = words.to_be_bytes();
        self.octets(&[0x80 | (count & 0x1f), kind, w0, w1]);
    }
}

/// One thing a peer's compound packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// A sender report: the peer's clock.
    Sender {
        /// The peer's SSRC.
        ssrc: u32,
        /// Its NTP time.
        ntp: u64,
    },
    /// How the peer hears a source.
    Block {
        /// The source it is about.
        about: u32,
        /// Share lost since its last report, in 1/256.
        fraction_lost: u8,
        /// Lost in all.
        cumulative_lost: i32,
        /// Jitter in ticks.
        jitter: u32,
        /// Middle of our last NTP time it saw; 0: none.
        last_sr: u32,
        /// How long ago that was, 1/65536 s.
        delay: u32,
    },
    /// The peer leaves.
    Bye,
}

/// Reads a compound packet and calls `tell` with each thing it says. False if it is no RTCP; what was told before
/// the fault stays told.
pub fn read(packet: &[u8], mut tell: impl FnMut(Said)) -> bool {
    let mut rest = packet;
    if rest.is_empty() {
        return false;
    }
    while let Some((&[flags, kind, l0, l1], _)) = rest.split_first_chunk::<4>() {
        let len = (usize::from(u16::from_be_bytes([l0, l1])) + 1) * 4;
        if flags >> 6 != 2 || !(192..=223).contains(&kind) {
            return false;
        }
        let Some((part, after)) = rest.split_at_checked(len) else {
            return false;
        };
        let count = usize::from(flags & 0x1f);
        let body = part.get(4..).unwrap_or_default();
        match kind {
            200 => {
                let (Some(ssrc), Some(high), Some(low)) =
                    (word(body, 0), word(body, 1), word(body, 2))
                else {
                    return false;
                };
                tell(Said::Sender {
                    ssrc,
                    ntp: (u64::from(high) << 32) | u64::from(low),
                });
                blocks(body.get(24..).unwrap_or_default(), count, &mut tell);
            }
            201 => blocks(body.get(4..).unwrap_or_default(), count, &mut tell),
            203 => tell(Said::Bye),
            _ => {}
        }
        rest = after;
    }
    rest.is_empty()
}

fn blocks(body: &[u8], count: usize, tell: &mut impl FnMut(Said)) {
    for block in body.chunks_exact(24).take(count) {
        let at = |index| word(block, index).unwrap_or(0);
        tell(Said::Block {
            about: at(0),
            fraction_lost: (at(1) >> 24) as u8,
            cumulative_lost: ((at(1) << 8) as i32) >> 8,
            jitter: at(3),
            last_sr: at(4),
            delay: at(5),
        });
    }
}

fn word(body: &[u8], index: usize) -> Option<u32> {
    let octets = body.get(index * 4..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*octets))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn reception() -> Reception {
        Reception {
            ssrc: 7,
            fraction_lost: 64,
            cumulative_lost: -3,
            highest: 0x1_0005,
            jitter: 12,
        }
    }

    fn said(packet: &[u8]) -> (bool, Vec<Said>) {
        let mut all = Vec::new();
        let whole = read(packet, |one| all.push(one));
        (whole, all)
    }

    #[test]
    fn a_sender_report_with_bye_is_read_as_written() {
        let mut buffer = [0; MAX_LEN];
        let report = Report {
            ssrc: 5,
            cname: "ringfence",
            sent: Some((0x1_8000_0000, 160, 1, 160)),
            heard: Some((reception(), 99, 65_536)),
            bye: true,
        };
        let len = write(&report, &mut buffer);
        let (whole, all) = said(&buffer[..len]);
        assert!(whole);
        let block = Said::Block {
            about: 7,
            fraction_lost: 64,
            cumulative_lost: -3,
            jitter: 12,
            last_sr: 99,
            delay: 65_536,
        };
        assert_eq!(
            all,
            [
                Said::Sender {
                    ssrc: 5,
                    ntp: 0x1_8000_0000
                },
                block,
                Said::Bye
            ]
        );
    }

    #[test]
    fn every_name_length_gives_whole_words_and_a_closing_zero() {
        for len in 0..40 {
            for sent in [None, Some((1, 2, 3, 4))] {
                let cname = "x".repeat(len);
                let mut buffer = [0xff; MAX_LEN];
                let heard = Some((reception(), 0, 0));
                let len = write(
                    &Report {
                        ssrc: 1,
                        cname: &cname,
                        sent,
                        heard,
                        bye: true,
                    },
                    &mut buffer,
                );
                assert_eq!(len % 4, 0);
                let (whole, all) = said(&buffer[..len]);
                assert!(whole && all.last() == Some(&Said::Bye));
            }
        }
    }

    #[test]
    fn the_clock_has_the_format_of_ntp() {
        assert_eq!(ntp(Duration::from_millis(1_500)), 0x1_8000_0000);
        assert_eq!(middle(ntp(Duration::from_millis(1_500))), 0x1_8000);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = said(&bytes);
        }
    }
}
