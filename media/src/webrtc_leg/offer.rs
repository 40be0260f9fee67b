//! Reads a browser's offer and cuts it down to what this house speaks.
//!
//! The offer is filtered before the WebRTC crate sees it, because the crate matches `telephone-event` without
//! looking at its clock rate (a 160 ms digit became 960 ms) and would pick whichever G.711 law comes first. What is
//! left has one audio section with one G.711 law and, if offered, `telephone-event/8000`. Candidates are left out
//! altogether: the browser finds us, we answer where its checks come from, and no offer can make this machine send
//! a datagram to an address of somebody's choosing. Nothing here does IO. Next: `connection.rs`.

use super::BrowserError;
use crate::Codec;

/// Longest offer that is read, in bytes. Chromium's audio offer has about 1,500.
pub(super) const OFFER_LIMIT: usize = 16 * 1024;

/// Attribute lines of the session or the audio section that are kept; everything else is dropped.
const KEPT_ATTRIBUTES: &[&str] = &[
    "group",
    "msid-semantic",
    "ice-ufrag",
    "ice-pwd",
    "ice-options",
    "fingerprint",
    "setup",
    "mid",
    "sendrecv",
    "msid",
    "rtcp-mux",
    "ssrc",
    "ptime",
    "rtcp",
];

/// What was agreed with the browser: one law, and the digits if it can send them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Formats {
    /// The G.711 law.
    pub codec: Codec,
    /// Its payload type as the browser numbers it.
    pub payload_type: u8,
    /// Payload type of `telephone-event/8000`, if it was offered.
    pub telephone_event: Option<u8>,
}

/// An offer cut down to one audio section.
#[derive(Debug)]
pub(super) struct Offer {
    pub sdp: String,
    pub formats: Formats,
}

impl Offer {
    /// Reads `sdp` and keeps the law `prefer`, or the other one where the browser has only that.
    ///
    /// # Errors
    /// [`BrowserError::Offer`] if it is no offer we can serve, with what to change in the page;
    /// [`BrowserError::NoCodec`] if it has neither law.
    pub fn read(sdp: &str, prefer: Codec) -> Result<Self, BrowserError> {
        if sdp.len() > OFFER_LIMIT {
            return Err(BrowserError::Offer("it is longer than 16 KiB"));
        }
        if !sdp.starts_with("v=0") {
            return Err(BrowserError::Offer(
                "it is not a session description (RFC 8866)",
            ));
        }
        let media: Vec<&str> = sdp.lines().filter(|line| line.starts_with("m=")).collect();
        let [audio] = media[..] else {
            return Err(BrowserError::Offer(
                "it must have exactly one section, audio",
            ));
        };
        let formats = formats(sdp, audio, prefer)?;
        for (needed, why) in [
            ("a=ice-ufrag:", "it has no ICE user name (RFC 8839)"),
            ("a=ice-pwd:", "it has no ICE password (RFC 8839)"),
            (
                "a=fingerprint:",
                "it has no certificate fingerprint (RFC 8122)",
            ),
            (
                "a=rtcp-mux",
                "it does not multiplex RTCP with RTP (RFC 5761)",
            ),
        ] {
            if !sdp.lines().any(|line| line.starts_with(needed)) {
                return Err(BrowserError::Offer(why));
            }
        }
        for one_way in ["a=sendonly", "a=recvonly", "a=inactive"] {
            if sdp.lines().any(|line| line == one_way) {
                return Err(BrowserError::Offer(
                    "an agent must be able to speak and to hear: it is not sendrecv",
                ));
            }
        }
        if sdp.lines().any(|line| line == "a=setup:passive") {
            return Err(BrowserError::Offer(
                "the browser must open DTLS: setup must be actpass or active",
            ));
        }
        Ok(Self {
            sdp: filtered(sdp, audio, formats),
            formats,
        })
    }
}

/// The one law and the one digit format to keep.
fn formats(sdp: &str, audio: &str, prefer: Codec) -> Result<Formats, BrowserError> {
    let mut words = audio.split_ascii_whitespace();
    if words.next() != Some("m=audio") {
        return Err(BrowserError::Offer("its only section must be audio"));
    }
    if words.next().is_none_or(|port| port == "0") {
        return Err(BrowserError::Offer("its audio section is switched off"));
    }
    if words.next() != Some("UDP/TLS/RTP/SAVPF") {
        return Err(BrowserError::Offer(
            "its audio must be UDP/TLS/RTP/SAVPF (RFC 8834)",
        ));
    }
    let listed: Vec<u8> = words
        .filter_map(|word| word.parse().ok())
        .filter(|pt| *pt < 128)
        .collect();
    let find = |name: &str, fixed: Option<u8>| {
        listed.iter().copied().find(|pt| {
            let map = sdp.lines().find_map(|line| {
                let (number, format) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
                (number.parse() == Ok(*pt)).then_some(format.trim())
            });
            match map {
                Some(format) => {
                    format.eq_ignore_ascii_case(name)
                        || format.eq_ignore_ascii_case(&format!("{name}/1"))
                }
                None => Some(*pt) == fixed,
            }
        })
    };
    let pcma = find("PCMA/8000", Some(8)).map(|pt| (Codec::Pcma, pt));
    let pcmu = find("PCMU/8000", Some(0)).map(|pt| (Codec::Pcmu, pt));
    let (codec, payload_type) = match prefer {
        Codec::Pcma => pcma.or(pcmu),
        Codec::Pcmu => pcmu.or(pcma),
    }
    .ok_or(BrowserError::NoCodec)?;
    Ok(Formats {
        codec,
        payload_type,
        telephone_event: find("telephone-event/8000", None),
    })
}

/// Writes the offer again with the kept formats only. The audio section is the last one, so what is appended
/// belongs to it.
fn filtered(sdp: &str, audio: &str, formats: Formats) -> String {
    let mut out = String::with_capacity(sdp.len());
    let port = audio.split_ascii_whitespace().nth(1).unwrap_or("9");
    let Formats {
        codec,
        payload_type,
        telephone_event,
    } = formats;
    for line in sdp.lines() {
        let kept = match line.strip_prefix("a=") {
            Some(attribute) => {
                KEPT_ATTRIBUTES.contains(&attribute.split(':').next().unwrap_or_default())
            }
            None => ["v=", "o=", "s=", "t=", "c="]
                .iter()
                .any(|kind| line.starts_with(kind)),
        };
        if line == audio {
            out.push_str(&format!("m=audio {port} UDP/TLS/RTP/SAVPF {payload_type}"));
            if let Some(pt) = telephone_event {
                out.push_str(&format!(" {pt}"));
            }
        } else if kept {
            out.push_str(line);
        } else {
            continue;
        }
        out.push_str("\r\n");
    }
    out.push_str(&format!(
        "a=rtpmap:{payload_type} {}/8000\r\n",
        encoding(codec)
    ));
    if let Some(pt) = telephone_event {
        out.push_str(&format!("a=rtpmap:{pt} telephone-event/8000\r\n"));
    }
    out
}

/// Encoding name of a law (RFC 3551 section 6).
pub(super) fn encoding(codec: Codec) -> &'static str {
    match codec {
        Codec::Pcma => "PCMA",
        Codec::Pcmu => "PCMU",
    }
}

/// Looks whether `answer` really carries what was agreed: a live audio section that starts with our law, has our
/// digits, and leaves the DTLS handshake to the browser.
///
/// # Errors
/// [`BrowserError::Answer`] with what is wrong.
pub(super) fn check_answer(answer: &str, formats: Formats) -> Result<(), BrowserError> {
    let mut words = answer
        .lines()
        .find(|line| line.starts_with("m=audio "))
        .ok_or(BrowserError::Answer("it has no audio section"))?
        .split_ascii_whitespace()
        .skip(1);
    if words.next() == Some("0") {
        return Err(BrowserError::Answer("its audio section is switched off"));
    }
    let listed: Vec<u8> = words.skip(1).filter_map(|word| word.parse().ok()).collect();
    let agreed: Vec<u8> = std::iter::once(formats.payload_type)
        .chain(formats.telephone_event)
        .collect();
    if listed != agreed {
        return Err(BrowserError::Answer("its formats are not those agreed"));
    }
    let law = format!(
        "a=rtpmap:{} {}/8000",
        formats.payload_type,
        encoding(formats.codec)
    );
    if !answer.lines().any(|line| line == law) {
        return Err(BrowserError::Answer(
            "it does not hold the agreed G.711 law",
        ));
    }
    for (needed, why) in [
        ("a=sendrecv", "it is not sendrecv"),
        (
            "a=setup:passive",
            "it does not leave the DTLS handshake to the browser",
        ),
    ] {
        if !answer.lines().any(|line| line == needed) {
            return Err(BrowserError::Answer(why));
        }
    }
    let mut candidates = answer
        .lines()
        .filter(|line| line.starts_with("a=candidate:"))
        .peekable();
    // A machine with loopback only leaves the wildcard as it is: no browser can send there.
    let nowhere = |line: &str| line.contains(" 0.0.0.0 ") || line.contains(" :: ");
    if candidates.peek().is_none() || candidates.any(nowhere) {
        return Err(BrowserError::Answer(
            "it has no candidate: none of the configured addresses is usable",
        ));
    }
    Ok(())
}

/// Puts `advertise` in the place of the local addresses: the address of a one-to-one NAT in front of this machine.
pub(super) fn with_advertised(answer: &str, advertise: std::net::IpAddr) -> String {
    let mut out = String::with_capacity(answer.len());
    for line in answer.lines() {
        // candidate-attribute: foundation component transport priority address port ... (RFC 8839 section 5.1)
        match line.strip_prefix("a=candidate:") {
            Some(candidate) => {
                let mut words: Vec<String> = candidate.split(' ').map(str::to_owned).collect();
                if let Some(address) = words.get_mut(4) {
                    *address = advertise.to_string();
                }
                out.push_str("a=candidate:");
                out.push_str(&words.join(" "));
            }
            None => out.push_str(line),
        }
        out.push_str("\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    /// What Chromium 156 offers when its page asks for nothing in particular.
    const CHROMIUM: &str = include_str!("../../tests/data/chromium-offer.sdp");

    #[test]
    fn one_law_and_digits_at_8000_hz_are_all_that_is_left() {
        let offer = Offer::read(CHROMIUM, Codec::Pcma).unwrap();
        let expected = Formats {
            codec: Codec::Pcma,
            payload_type: 8,
            telephone_event: Some(126),
        };
        assert_eq!(offer.formats, expected);
        assert!(offer.sdp.contains("m=audio 9 UDP/TLS/RTP/SAVPF 8 126\r\n"));
        for gone in [
            "opus",
            "48000",
            "candidate",
            "extmap",
            "rtcp-fb",
            "fmtp",
            "PCMU",
            "CN/8000",
        ] {
            assert!(
                !offer.sdp.contains(gone),
                "{gone} is still in\n{}",
                offer.sdp
            );
        }
        assert_eq!(
            Offer::read(CHROMIUM, Codec::Pcmu)
                .unwrap()
                .formats
                .payload_type,
            0
        );
    }

    #[test]
    fn the_other_law_is_taken_where_the_browser_has_only_that() {
        let only_mu = CHROMIUM.replace("a=rtpmap:8 PCMA/8000", "a=rtpmap:8 GSM/8000");
        assert_eq!(
            Offer::read(&only_mu, Codec::Pcma).unwrap().formats.codec,
            Codec::Pcmu
        );
        let neither = only_mu.replace("a=rtpmap:0 PCMU/8000", "a=rtpmap:0 PCMU/16000");
        assert_eq!(
            Offer::read(&neither, Codec::Pcma).unwrap_err(),
            BrowserError::NoCodec
        );
    }

    #[test]
    fn digits_of_another_clock_rate_are_not_taken() {
        let wide = CHROMIUM.replace(
            "a=rtpmap:126 telephone-event/8000",
            "a=rtpmap:126 telephone-event/16000",
        );
        assert_eq!(
            Offer::read(&wide, Codec::Pcma)
                .unwrap()
                .formats
                .telephone_event,
            None
        );
    }

    #[test]
    fn a_law_without_a_line_of_its_own_has_its_fixed_number() {
        let bare = CHROMIUM.replace("a=rtpmap:8 PCMA/8000\r\n", "");
        assert_eq!(
            Offer::read(&bare, Codec::Pcma)
                .unwrap()
                .formats
                .payload_type,
            8
        );
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_a_reason_and_without_the_offer() {
        let long = format!("{CHROMIUM}{}", "a=ssrc:1 x\r\n".repeat(2_000));
        let cases = [
            ("", "not a session description"),
            ("v=0\r\n", "exactly one section"),
            (
                &format!("{CHROMIUM}m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"),
                "exactly one section",
            ),
            (&CHROMIUM.replace("m=audio", "m=video"), "must be audio"),
            (&CHROMIUM.replace("m=audio 9", "m=audio 0"), "switched off"),
            (&CHROMIUM.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "SAVPF"),
            (&CHROMIUM.replace("a=sendrecv", "a=recvonly"), "sendrecv"),
            (&CHROMIUM.replace("actpass", "passive"), "setup"),
            (&CHROMIUM.replace("a=fingerprint", "a=print"), "fingerprint"),
            (&CHROMIUM.replace("a=rtcp-mux", "a=mux"), "RFC 5761"),
            (&long, "longer"),
        ];
        for (sdp, why) in cases {
            let error = Offer::read(sdp, Codec::Pcma).unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
            assert!(error.len() < 200 && !error.contains("3BEAkmu9dRrn2n"));
        }
    }

    #[test]
    fn an_answer_without_the_agreed_law_is_refused() {
        let formats = Formats {
            codec: Codec::Pcma,
            payload_type: 8,
            telephone_event: Some(126),
        };
        let good = "m=audio 9 UDP/TLS/RTP/SAVPF 8 126\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\na=setup:passive\r\n\
                    a=candidate:1 1 udp 1 127.0.0.1 4000 typ host\r\n";
        assert_eq!(check_answer(good, formats), Ok(()));
        for (from, to) in [
            ("8 126", "126"),
            ("8 126", "8 126 0"),
            ("audio 9", "audio 0"),
            ("PCMA", "PCMU"),
            ("sendrecv", "recvonly"),
            ("passive", "active"),
            ("a=candidate", "a=other"),
            ("127.0.0.1", "0.0.0.0"),
            ("m=audio", "m=video"),
        ] {
            assert!(
                check_answer(&good.replacen(from, to, 1), formats).is_err(),
                "{from} -> {to}"
            );
        }
    }

    #[test]
    fn the_address_of_the_nat_stands_in_for_ours() {
        let answer = "v=0\r\na=candidate:1 1 udp 2130706431 10.0.0.5 4000 typ host\r\n";
        let told = with_advertised(answer, "198.51.100.9".parse().unwrap());
        assert_eq!(
            told,
            "v=0\r\na=candidate:1 1 udp 2130706431 198.51.100.9 4000 typ host\r\n"
        );
    }

    proptest! {
        /// Whatever a page sends, reading it ends in an offer of our formats or an error, never in a panic.
        #[test]
        fn no_offer_panics(at in 0..CHROMIUM.len(), cut in 0..64_usize, put in "[ -~\r\n]{0,16}") {
            let mut bytes = CHROMIUM.as_bytes().to_vec();
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, put.bytes());
            if let Ok(offer) = Offer::read(&String::from_utf8_lossy(&bytes), Codec::Pcma) {
                prop_assert!(!offer.sdp.contains("opus") && !offer.sdp.contains("a=candidate"));
                prop_assert_eq!(offer.sdp.lines().filter(|line| line.starts_with("m=")).count(), 1);
            }
        }
    }
}
