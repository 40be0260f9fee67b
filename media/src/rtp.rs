//! RTP packets, read and written in place (RFC 3550 section 5.1). Nothing is allocated or copied.
//!
//! It judges one packet by itself; the order of packets is [`crate::stream`]'s.

use thiserror::Error;

/// Octets of a header without CSRC and extension, the only kind we write.
pub const HEADER_LEN: usize = 12;

/// Why a datagram is no RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RtpError {
    /// Shorter than its header says.
    #[error("RTP packet is cut short")]
    Truncated,
    /// The version field is not 2.
    #[error("RTP version is not 2")]
    Version,
    /// The padding count is zero or larger than the payload.
    #[error("RTP padding count is impossible")]
    Padding,
}

/// The fields of a received header and where the payload lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Marker: start of a talkspurt (RFC 3551), or of an event (RFC 4733).
    pub marker: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Time stamp in samples.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Octet where the payload begins; at least [`HEADER_LEN`].
    pub payload_start: usize,
    /// Octet after the payload, padding excluded.
    pub payload_end: usize,
}

/// Reads a header. CSRC list and extension are skipped, padding is cut off.
///
/// # Errors
/// [`RtpError`] if the datagram is no RTP version 2 packet.
#[inline]
pub fn parse(packet: &[u8]) -> Result<Header, RtpError> {
    let Some(fixed) = packet.first_chunk::<HEADER_LEN>() else {
        return Err(RtpError::Truncated);
    };
    let [flags, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
    if flags >> 6 != 2 {
        return Err(RtpError::Version);
    }
    let mut start = HEADER_LEN + usize::from(flags & 0x0f) * 4;
    if flags & 0x10 != 0 {
        // RFC 3550 section 5.3.1: 16 bits of profile, 16 bits of length in words.
        let Some(&[_, _, l0, l1]) = packet.get(start..start + 4) else {
            return Err(RtpError::Truncated);
        };
        start += 4 + usize::from(u16::from_be_bytes([l0, l1])) * 4;
    }
    let mut end = packet.len();
    if start > end {
        return Err(RtpError::Truncated);
    }
    if flags & 0x20 != 0 {
        let padding = usize::from(packet.last().copied().unwrap_or(0));
        if padding == 0 || padding > end - start {
            return Err(RtpError::Padding);
        }
        end -= padding;
    }
    Ok(Header {
        marker: kind & 0x80 != 0,
        payload_type: kind & 0x7f,
        sequence: u16::from_be_bytes([s0, s1]),
        timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
        ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
        payload_start: start,
        payload_end: end,
    })
}

/// The octets of a plain header (version 2, no padding, no extension, no CSRC).
#[inline]
pub fn header(
    marker: bool,
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
) -> [u8; HEADER_LEN] {
    let [s0, s1] = sequence.to_be_bytes();
    let [t0, t1, t2, t3] = timestamp.to_be_bytes();
    let [c0, c1, c2, c3] = ssrc.to_be_bytes();
    let kind = (payload_type & 0x7f) | if marker { 0x80 } else { 0 };
    [0x80, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3]
}

/// True if a datagram on a shared port is RTCP (RFC 5761 section 4).
#[inline]
pub fn is_rtcp(packet: &[u8]) -> bool {
    matches!(packet, [_, kind, ..] if (192..=223).contains(kind))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn packet(flags: u8, rest: &[u8]) -> Vec<u8> {
        let mut out = header(true, 8, 0x1234, 0x89ab_cdef, 0x0102_0304).to_vec();
        out[0] |= flags;
        out.extend_from_slice(rest);
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let read = parse(&packet(0, &[1, 2, 3])).unwrap();
        assert!(read.marker);
        assert_eq!(
            (read.payload_type, read.sequence, read.timestamp),
            (8, 0x1234, 0x89ab_cdef)
        );
        assert_eq!(
            (read.ssrc, read.payload_start, read.payload_end),
            (0x0102_0304, 12, 15)
        );
    }

    #[test]
    fn csrc_extension_and_padding_are_cut_away() {
        // Two CSRCs, an extension of one word, two octets of payload, three of padding.
        let mut rest = vec![0; 8];
        rest.extend_from_slice(&[0xbe, 0xde, 0, 1, 9, 9, 9, 9]);
        rest.extend_from_slice(&[7, 8, 0, 0, 3]);
        let bytes = packet(0x20 | 0x10 | 2, &rest);
        let read = parse(&bytes).unwrap();
        assert_eq!(
            bytes.get(read.payload_start..read.payload_end).unwrap(),
            [7, 8]
        );
    }

    #[test]
    fn impossible_packets_are_refused() {
        assert_eq!(parse(&[0x80; 11]), Err(RtpError::Truncated));
        assert_eq!(parse(&[0; 12]), Err(RtpError::Version));
        assert_eq!(parse(&packet(1, &[])), Err(RtpError::Truncated));
        assert_eq!(
            parse(&packet(0x10, &[0, 0, 0, 9])),
            Err(RtpError::Truncated)
        );
        assert_eq!(parse(&packet(0x10, &[0, 0])), Err(RtpError::Truncated));
        assert_eq!(parse(&packet(0x20, &[1, 0])), Err(RtpError::Padding));
        assert_eq!(parse(&packet(0x20, &[1, 3])), Err(RtpError::Padding));
        assert_eq!(parse(&packet(0x20, &[])), Err(RtpError::Padding));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_range_inside_the_packet(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(read) = parse(&bytes) {
                prop_assert!(read.payload_start >= HEADER_LEN);
                prop_assert!(read.payload_start <= read.payload_end);
                prop_assert!(read.payload_end <= bytes.len());
            }
        }
    }
}
