//! G.711, both laws, by table (ITU-T G.711). The tables are computed at compile time from the segment definitions.
//!
//! Only whole 8-bit samples at 8 kHz; no packet-loss concealment and no silence suppression.

/// The two laws. The name follows RFC 3551.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// A-law, static payload type 8.
    Pcma,
    /// Mu-law, static payload type 0.
    Pcmu,
}

impl Codec {
    /// Static payload type (RFC 3551 section 6).
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcma => 8,
            Self::Pcmu => 0,
        }
    }

    /// The law of a static payload type, if it is one of the two.
    pub const fn from_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            8 => Some(Self::Pcma),
            0 => Some(Self::Pcmu),
            _ => None,
        }
    }

    /// One code word as linear 16-bit PCM.
    #[inline]
    pub const fn decode(self, code: u8) -> i16 {
        self.table()[code as usize]
    }

    /// The decoding table, for loops.
    #[inline]
    pub const fn table(self) -> &'static [i16; 256] {
        match self {
            Self::Pcma => &A_TO_LINEAR,
            Self::Pcmu => &MU_TO_LINEAR,
        }
    }

    /// One linear sample as a code word.
    #[inline]
    pub const fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Pcma => linear_to_a(sample),
            Self::Pcmu => linear_to_mu(sample),
        }
    }

    /// The code word of digital silence.
    pub const fn silence(self) -> u8 {
        self.encode(0)
    }

    /// Rewrites code words of this law as `other`'s, in place.
    pub fn transcode(self, other: Self, payload: &mut [u8]) {
        let table = match (self, other) {
            (Self::Pcma, Self::Pcmu) => &A_TO_MU,
            (Self::Pcmu, Self::Pcma) => &MU_TO_A,
            _ => return,
        };
        for code in payload {
            *code = table[*code as usize];
        }
    }
}

static A_TO_LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = a_to_linear(code as u8);
        code += 1;
    }
    table
};

static MU_TO_LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = mu_to_linear(code as u8);
        code += 1;
    }
    table
};

static A_TO_MU: [u8; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = linear_to_mu(a_to_linear(code as u8));
        code += 1;
    }
    table
};

static MU_TO_A: [u8; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = linear_to_a(mu_to_linear(code as u8));
        code += 1;
    }
    table
};

const fn a_to_linear(code: u8) -> i16 {
    let code = code ^ 0x55;
    let exponent = (code >> 4) & 7;
    let mantissa = (code & 0x0f) as i16;
    // The value in the middle of the quantising step.
    let magnitude = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    if code & 0x80 != 0 {
        magnitude
    } else {
        -magnitude
    }
}

const fn linear_to_a(sample: i16) -> u8 {
    // One's complement for negative samples, so that the steps are symmetric about zero.
    let (sign, magnitude) = if sample >= 0 {
        (0x80, sample as u16)
    } else {
        (0, !sample as u16)
    };
    // 15 bits of magnitude: below 256 the steps are linear (segment 0), above they double with each segment.
    let code = if magnitude < 256 {
        magnitude >> 4
    } else {
        let exponent = 8 - magnitude.leading_zeros() as u16; // bit 8 is segment 1
        (exponent << 4) | ((magnitude >> (exponent + 3)) & 0x0f)
    };
    (code as u8 | sign) ^ 0x55
}

const fn mu_to_linear(code: u8) -> i16 {
    let code = !code;
    let exponent = (code >> 4) & 7;
    let mantissa = (code & 0x0f) as i16;
    let magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84;
    if code & 0x80 != 0 {
        -magnitude
    } else {
        magnitude
    }
}

const fn linear_to_mu(sample: i16) -> u8 {
    let (sign, magnitude) = if sample >= 0 {
        (0x80, sample as i32)
    } else {
        (0, -(sample as i32))
    };
    let magnitude = if magnitude > 32_635 {
        32_635
    } else {
        magnitude
    } + 0x84; // 132..=32767
    let exponent = 24 - magnitude.leading_zeros() as i32; // bit 7 is segment 0
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    let code = ((exponent << 4) | mantissa) as u8;
    // Sign bit set means positive after the final inversion.
    if sign == 0x80 { !code } else { !(code | 0x80) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_code_words_decode_as_the_recommendation_says() {
        assert_eq!(Codec::Pcma.decode(0xd5), 8);
        assert_eq!(Codec::Pcma.decode(0x55), -8);
        assert_eq!(Codec::Pcma.decode(0xaa), 32_256);
        assert_eq!(Codec::Pcma.decode(0x2a), -32_256);
        assert_eq!(Codec::Pcmu.decode(0xff), 0);
        assert_eq!(Codec::Pcmu.decode(0x7f), 0);
        assert_eq!(Codec::Pcmu.decode(0x80), 32_124);
        assert_eq!(Codec::Pcmu.decode(0x00), -32_124);
        assert_eq!(Codec::Pcma.silence(), 0xd5);
        assert_eq!(Codec::Pcmu.silence(), 0xff);
    }

    #[test]
    fn every_code_word_survives_decoding_and_encoding() {
        for code in 0..=255_u8 {
            assert_eq!(Codec::Pcma.encode(Codec::Pcma.decode(code)), code);
            let back = Codec::Pcmu.encode(Codec::Pcmu.decode(code));
            // mu-law has two zeros; minus zero comes back as plus zero.
            assert_eq!(back, if code == 0x7f { 0xff } else { code });
        }
    }

    #[test]
    fn encoding_takes_the_nearest_level_or_its_neighbour() {
        for codec in [Codec::Pcma, Codec::Pcmu] {
            for sample in i16::MIN..=i16::MAX {
                let back = i32::from(codec.decode(codec.encode(sample)));
                let error = (back - i32::from(sample)).abs();
                // Half a step: a step is 1/16 of the segment, at least 16 (A) or 8 (mu); the top clips.
                let bound = ((i32::from(sample).abs() + 132) / 32).max(8) + 4;
                let bound = if sample.unsigned_abs() > 32_000 {
                    700
                } else {
                    bound
                };
                assert!(error <= bound, "{codec:?} {sample} became {back}");
            }
        }
    }

    #[test]
    fn transcoding_equals_decoding_and_encoding() {
        for code in 0..=255_u8 {
            let mut one = [code];
            Codec::Pcma.transcode(Codec::Pcmu, &mut one);
            assert_eq!(one[0], Codec::Pcmu.encode(Codec::Pcma.decode(code)));
            let mut one = [code];
            Codec::Pcmu.transcode(Codec::Pcma, &mut one);
            assert_eq!(one[0], Codec::Pcma.encode(Codec::Pcmu.decode(code)));
            let mut one = [code];
            Codec::Pcmu.transcode(Codec::Pcmu, &mut one);
            assert_eq!(one[0], code);
        }
    }
}
