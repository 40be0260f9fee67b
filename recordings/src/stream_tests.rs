//! The stream against a model that keeps everything in memory: tests only.
//!
//! The model knows the published format from outside: it encrypts segment by segment from a vector, with its own
//! arithmetic, and must arrive at what the writer wrote and the reader reads.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

use crate::keys::{Key, OutputLen};
use crate::stream::{
    DecryptingReader, EncryptingWriter, Opened, plain_capacity, plain_len, plain_start, segment_of,
    stream_len,
};

const AAD: &[u8] = b"who and what";

fn memory_file(bytes: &[u8]) -> File {
    let file: File = rustix::fs::memfd_create("stream", rustix::fs::MemfdFlags::CLOEXEC)
        .unwrap()
        .into();
    file.write_all_at(bytes, 0).unwrap();
    file
}

fn encrypt(key: &Key, plain: &[u8], pieces: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = EncryptingWriter::new(key, AAD, |segment: &[u8]| {
        out.extend_from_slice(segment);
        Ok(())
    })
    .unwrap();
    let (mut rest, mut pieces) = (plain, pieces.iter().cycle());
    while !rest.is_empty() {
        let n = pieces.next().copied().unwrap_or(1).clamp(1, rest.len());
        writer.write(&rest[..n]).unwrap();
        rest = &rest[n..];
    }
    writer.finish().unwrap();
    out
}

/// The stream as the format's description has it, under the salt and prefix of `header`.
fn model(key: &[u8; 32], header: &[u8], plain: &[u8]) -> Vec<u8> {
    let salt = Salt::new(HKDF_SHA256, &header[1..33]);
    let mut derived = [0; 32];
    salt.extract(key)
        .expand(&[AAD], OutputLen(32))
        .unwrap()
        .fill(&mut derived)
        .unwrap();
    let aes = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &derived).unwrap());
    let mut pieces: Vec<&[u8]> = Vec::new();
    let (first, rest) = plain.split_at(plain.len().min(4040));
    pieces.push(first);
    pieces.extend(rest.chunks(4080));
    let mut out = header[..40].to_vec();
    let count = pieces.len();
    for (n, piece) in pieces.into_iter().enumerate() {
        let mut nonce = [0; 12];
        nonce[..7].copy_from_slice(&header[33..40]);
        nonce[7..11].copy_from_slice(&(n as u32).to_be_bytes());
        nonce[11] = u8::from(n + 1 == count);
        let mut segment = piece.to_vec();
        aes.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::empty(),
            &mut segment,
        )
        .unwrap();
        out.extend(segment);
    }
    out
}

fn open(key: &Key, aad: &[u8], bytes: &[u8]) -> Option<DecryptingReader> {
    match DecryptingReader::open(memory_file(bytes), 0, bytes.len() as u64, key, aad).unwrap() {
        Opened::Stream(reader) => Some(*reader),
        Opened::BadHeader | Opened::BadLength | Opened::BadEnd(_) => None,
    }
}

fn read_all(reader: &mut DecryptingReader) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut buffer = [0; 3000];
    loop {
        match reader.read_at(out.len() as u64, &mut buffer).ok()? {
            0 => return Some(out),
            n => out.extend_from_slice(&buffer[..n]),
        }
    }
}

/// Lengths around the borders of segments, and others.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        0usize..200,
        (0usize..4, -2i64..=2).prop_map(|(n, by)| (4040 + 4080 * n as i64 + by) as usize),
        0usize..30_000
    ]
}

fn plain(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3] ^ seed)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_writer_writes_what_the_format_says(
        len in length(), seed: u8, key: [u8; 32], pieces in prop::collection::vec(1usize..9000, 1..6)
    ) {
        let plain = plain(len, seed);
        let stream = encrypt(&Key::of_test(key), &plain, &pieces);
        prop_assert_eq!(stream[0], 40);
        prop_assert!(stream == model(&key, &stream, &plain));
        prop_assert_eq!(stream.len() as u64, stream_len(len as u64));
        prop_assert_eq!(plain_len(stream.len() as u64), Some(len as u64));
    }

    #[test]
    fn the_reader_reads_any_piece_of_what_the_model_wrote(
        len in length(), seed: u8, key: [u8; 32], header: [u8; 39],
        reads in prop::collection::vec((0usize..40_000, 0usize..10_000), 1..20)
    ) {
        let plain = plain(len, seed);
        let header = [&[40], &header[..]].concat();
        let mut reader = open(&Key::of_test(key), AAD, &model(&key, &header, &plain)).unwrap();
        prop_assert_eq!(reader.len(), len as u64);
        for (from, count) in reads {
            let mut out = vec![0; count];
            let n = reader.read_at(from as u64, &mut out).unwrap();
            let rest = plain.get(from..).unwrap_or_default();
            prop_assert!(n <= rest.len() && (n > 0 || count == 0 || rest.is_empty()));
            prop_assert!(out[..n] == rest[..n]);
        }
        prop_assert!(read_all(&mut reader).unwrap() == plain);
    }

    #[test]
    fn no_other_stream_is_read_whole(
        len in length(), seed: u8, key: [u8; 32], at: prop::sample::Index, bit in 0u8..8, cut in 1usize..9000, what in 0u8..5
    ) {
        let stream = encrypt(&Key::of_test(key), &plain(len, seed), &[5000]);
        let (mut bad, mut aad, mut other) = (stream.clone(), AAD, key);
        match what {
            0 => bad[at.index(stream.len())] ^= 1 << bit,
            1 => bad.truncate(stream.len() - cut.min(stream.len())),
            2 => bad.extend(std::iter::repeat_n(seed, cut)),
            3 => aad = b"somebody else",
            _ => other[at.index(32)] ^= 1 << bit,
        }
        let read = open(&Key::of_test(other), aad, &bad).and_then(|mut reader| read_all(&mut reader));
        prop_assert!(read.is_none());
    }

    #[test]
    fn positions_and_segments_agree(position in 0u64..1 << 43) {
        let number = segment_of(position).unwrap();
        let start = plain_start(number);
        prop_assert!((start..start + plain_capacity(number) as u64).contains(&position));
    }

    #[test]
    fn no_length_of_a_file_makes_the_arithmetic_fail(len: u64) {
        if let Some(plain) = plain_len(len) {
            prop_assert!(plain < len);
        }
        let _ = segment_of(len);
    }
}

#[test]
fn two_streams_of_the_same_audio_share_nothing() {
    let key = Key::of_test([7; 32]);
    let (a, b) = (
        encrypt(&key, &[0; 9000], &[100]),
        encrypt(&key, &[0; 9000], &[100]),
    );
    let same = a
        .windows(16)
        .filter(|w| b.windows(16).any(|v| &v == w))
        .count();
    assert_eq!(same, 0);
}
