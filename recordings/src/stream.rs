//! Tink's streaming AEAD `AES256_GCM_HKDF_4KB`, as published, written with `ring`.
//!
//! A stream is a 40-byte header (its length, a 32-byte salt, a 7-byte nonce prefix) and ciphertext segments of 4,096
//! bytes, of which the header takes its place in the first, so that every segment ends on a page boundary. The segment
//! key is HKDF-SHA-256 of the data key with the salt, and the associated data as info; the nonce of a segment is the
//! prefix, its 32-bit big-endian number, and one byte that is 1 for the last segment only. Cutting, swapping and
//! splicing segments are therefore detected. Source: Tink, "Streaming AEAD wire format", AES-GCM-HKDF.
//!
//! Segments here never outlive their nonce: [`Segmenter`] numbers them itself and cannot go back.
//! `live.rs` uses it segment by segment, `seal.rs` through [`EncryptingWriter`], `reader.rs` through
//! [`DecryptingReader`].

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use ring::aead::{Aad, LessSafeKey, Nonce};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Result, VaultError};
use crate::keys::{Key, NONCE_LEN, TAG_LEN, random};

/// Length of a ciphertext segment, in bytes; only the last may be shorter.
pub const SEGMENT_LEN: usize = 4096;
/// Length of the stream header, in bytes.
pub const HEADER_LEN: usize = 1 + SALT_LEN + PREFIX_LEN;
/// Plaintext of a full segment, in bytes.
pub const SEGMENT_PLAIN: usize = SEGMENT_LEN - TAG_LEN;
/// Plaintext of a full first segment, in bytes: the header takes its place in it.
pub const FIRST_PLAIN: usize = SEGMENT_PLAIN - HEADER_LEN;
const SALT_LEN: usize = 32;
const PREFIX_LEN: usize = 7;

/// Plaintext bytes that fit in segment `number`.
pub const fn plain_capacity(number: u32) -> usize {
    if number == 0 {
        FIRST_PLAIN
    } else {
        SEGMENT_PLAIN
    }
}

/// Position of the first plaintext byte of segment `number` in the plaintext.
pub const fn plain_start(number: u32) -> u64 {
    if number == 0 {
        0
    } else {
        FIRST_PLAIN as u64 + (number as u64 - 1) * SEGMENT_PLAIN as u64
    }
}

/// The segment that holds plaintext byte `position`, if the stream can be that long.
pub fn segment_of(position: u64) -> Option<u32> {
    match position.checked_sub(FIRST_PLAIN as u64) {
        None => Some(0),
        Some(rest) => u32::try_from(rest / SEGMENT_PLAIN as u64 + 1).ok(),
    }
}

/// Length of the whole stream, header included, for `plain` bytes written by [`EncryptingWriter`].
pub fn stream_len(plain: u64) -> u64 {
    let segments = match plain.checked_sub(FIRST_PLAIN as u64) {
        None => 1,
        Some(rest) => 1 + rest.div_ceil(SEGMENT_PLAIN as u64),
    };
    HEADER_LEN as u64 + plain + segments * TAG_LEN as u64
}

/// Length of the plaintext of a stream that is `len` bytes long, or `None` if no stream has that length.
pub fn plain_len(len: u64) -> Option<u64> {
    let segments = len.div_ceil(SEGMENT_LEN as u64).max(1);
    let last = len - (segments - 1) * SEGMENT_LEN as u64;
    let overhead = TAG_LEN as u64 + if segments == 1 { HEADER_LEN as u64 } else { 0 };
    if last < overhead || segments > u64::from(u32::MAX) {
        return None;
    }
    len.checked_sub(HEADER_LEN as u64 + segments * TAG_LEN as u64)
}

/// The key of one stream's segments, with its nonce prefix.
pub(crate) struct SegmentKey {
    key: LessSafeKey,
    prefix: [u8; PREFIX_LEN],
}

impl SegmentKey {
    /// Derives the key that belongs to `header`; `None` if the header is not one of this format.
    pub(crate) fn from_header(
        data_key: &Key,
        aad: &[u8],
        header: &[u8; HEADER_LEN],
    ) -> Result<Option<Self>> {
        let Some((&len, rest)) = header.split_first() else {
            return Ok(None);
        };
        let Some((salt, prefix)) = rest.split_first_chunk::<SALT_LEN>() else {
            return Ok(None);
        };
        let Ok(prefix) = prefix.try_into() else {
            return Ok(None);
        };
        if usize::from(len) != HEADER_LEN {
            return Ok(None);
        }
        let key = data_key.derive_key(salt, aad)?.cipher()?;
        Ok(Some(Self { key, prefix }))
    }

    fn nonce(&self, number: u32, last: bool) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        let (prefix, rest) = nonce.split_at_mut(PREFIX_LEN);
        prefix.copy_from_slice(&self.prefix);
        let (counter, flag) = rest.split_at_mut(4);
        counter.copy_from_slice(&number.to_be_bytes());
        flag.copy_from_slice(&[u8::from(last)]);
        Nonce::assume_unique_for_key(nonce)
    }

    /// Opens one segment in place; the length of its plaintext, or `None` if it is not authentic.
    pub(crate) fn open(&self, number: u32, last: bool, segment: &mut [u8]) -> Option<usize> {
        self.key
            .open_in_place(self.nonce(number, last), Aad::empty(), segment)
            .ok()
            .map(|plain| plain.len())
    }
}

/// Collects plaintext and turns it into segments, each with a nonce of its own. Allocates only when made.
pub(crate) struct Segmenter {
    key: SegmentKey,
    /// Header (first segment only), plaintext, room for the tag.
    buffer: Box<Zeroizing<[u8; SEGMENT_LEN]>>,
    /// Bytes of `buffer` that are filled, the header included.
    filled: usize,
    /// Number of the segment being filled; `None` once the numbers are used up or the last segment is made.
    number: Option<u32>,
}

impl Segmenter {
    /// Begins a stream under `data_key` with a fresh salt and nonce prefix.
    pub(crate) fn new(data_key: &Key, aad: &[u8]) -> Result<Self> {
        let mut header = [0u8; HEADER_LEN];
        random(&mut header)?;
        header[0] = HEADER_LEN as u8;
        let key = SegmentKey::from_header(data_key, aad, &header)?
            .ok_or(VaultError::Crypto("beginning a stream"))?;
        let mut buffer = Box::new(Zeroizing::new([0u8; SEGMENT_LEN]));
        buffer[..HEADER_LEN].copy_from_slice(&header);
        Ok(Self {
            key,
            buffer,
            filled: HEADER_LEN,
            number: Some(0),
        })
    }

    /// Plaintext bytes that still fit in the segment being filled.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        (SEGMENT_LEN - TAG_LEN).saturating_sub(self.filled)
    }

    /// The part of the buffer where the next plaintext goes; what was put there is told by [`Segmenter::advance`].
    #[inline]
    pub(crate) fn space(&mut self) -> &mut [u8] {
        let end = SEGMENT_LEN - TAG_LEN;
        &mut self.buffer[self.filled.min(end)..end]
    }

    /// Tells that `n` bytes of [`Segmenter::space`] are plaintext now.
    #[inline]
    pub(crate) fn advance(&mut self, n: usize) {
        self.filled += n.min(self.room());
    }

    /// Encrypts what was collected; the ciphertext stays in the buffer until [`Segmenter::next`].
    ///
    /// Its nonce is used from here on: whoever calls must write these very bytes or give up the stream.
    pub(crate) fn encrypt(&mut self, last: bool) -> Result<()> {
        let number = self
            .number
            .take()
            .ok_or(VaultError::Crypto("numbering segments"))?;
        let start = if number == 0 { HEADER_LEN } else { 0 };
        let nonce = self.key.nonce(number, last);
        let plain = &mut self.buffer[start..self.filled];
        let tag = self
            .key
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), plain)
            .map_err(|_| VaultError::Crypto("encrypting a segment"))?;
        self.buffer[self.filled..self.filled + TAG_LEN].copy_from_slice(tag.as_ref());
        self.filled += TAG_LEN;
        self.number = if last { None } else { number.checked_add(1) };
        Ok(())
    }

    /// The ciphertext made by [`Segmenter::encrypt`].
    pub(crate) fn ciphertext(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// Begins the next segment, after the ciphertext of the one before was written.
    pub(crate) fn next(&mut self) {
        self.filled = 0;
    }
}

/// Encrypts a whole stream into `sink`, which is given one segment at a time. [`EncryptingWriter::finish`] must be
/// called: a stream without its last segment is damaged by definition.
pub struct EncryptingWriter<S: FnMut(&[u8]) -> Result<()>> {
    segmenter: Segmenter,
    sink: S,
}

impl<S: FnMut(&[u8]) -> Result<()>> EncryptingWriter<S> {
    /// Begins a stream under `data_key`; `aad` is authenticated with every segment.
    pub(crate) fn new(data_key: &Key, aad: &[u8], sink: S) -> Result<Self> {
        Ok(Self {
            segmenter: Segmenter::new(data_key, aad)?,
            sink,
        })
    }

    /// Adds plaintext.
    ///
    /// # Errors
    /// Those of the sink. The stream cannot be continued after one.
    pub fn write(&mut self, mut plain: &[u8]) -> Result<()> {
        while !plain.is_empty() {
            // A full segment waits until more follows: only then is it known not to be the last.
            if self.segmenter.room() == 0 {
                self.flush_segment(false)?;
            }
            let n = self.segmenter.room().min(plain.len());
            let (now, later) = plain.split_at(n);
            self.segmenter.space()[..n].copy_from_slice(now);
            self.segmenter.advance(n);
            plain = later;
        }
        Ok(())
    }

    /// Writes the last segment.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn finish(mut self) -> Result<()> {
        self.flush_segment(true)
    }

    fn flush_segment(&mut self, last: bool) -> Result<()> {
        self.segmenter.encrypt(last)?;
        (self.sink)(self.segmenter.ciphertext())?;
        self.segmenter.next();
        Ok(())
    }
}

/// Why a segment could not be had.
#[derive(Debug)]
pub(crate) enum SegmentFault {
    /// The operating system could not read it.
    Io(io::Error),
    /// It is not what was written under this key at this place.
    NotAuthentic,
}

/// Random access to the plaintext of a complete stream that lies in a file.
pub(crate) struct DecryptingReader {
    file: File,
    base: u64,
    key: SegmentKey,
    stream_len: u64,
    plain_len: u64,
    segments: u32,
    buffer: Box<Zeroizing<[u8; SEGMENT_LEN]>>,
    /// The segment whose plaintext is in `buffer`: number, offset and length in the buffer.
    cached: Option<(u32, usize, usize)>,
}

/// Why a stream could not even be looked at.
#[derive(Debug)]
pub(crate) enum OpenFault {
    /// The operating system could not read it.
    Io(io::Error),
    /// The key could not be derived.
    Key(VaultError),
}

/// What [`DecryptingReader::open`] can find.
pub(crate) enum Opened {
    /// A stream of possible length with a header of the right form.
    Stream(Box<DecryptingReader>),
    /// The header is not one of this format.
    BadHeader,
    /// No stream has this length.
    BadLength,
    /// The last segment, of that number, is not authentic as the last one.
    BadEnd(u32),
}

impl DecryptingReader {
    /// Opens the stream that begins at `base` and ends at `end`. Its last segment is authenticated, so that a stream that
    /// was cut (or is empty and another's) is refused before anything is read from it.
    pub(crate) fn open(
        file: File,
        base: u64,
        end: u64,
        data_key: &Key,
        aad: &[u8],
    ) -> Result<Opened, OpenFault> {
        let stream_len = end.saturating_sub(base);
        let Some(plain_len) = plain_len(stream_len) else {
            return Ok(Opened::BadLength);
        };
        let mut header = [0; HEADER_LEN];
        file.read_exact_at(&mut header, base)
            .map_err(OpenFault::Io)?;
        let Some(key) = SegmentKey::from_header(data_key, aad, &header).map_err(OpenFault::Key)?
        else {
            return Ok(Opened::BadHeader);
        };
        // plain_len() has checked that the number fits.
        let segments = u32::try_from(stream_len.div_ceil(SEGMENT_LEN as u64)).unwrap_or(u32::MAX);
        let buffer = Box::new(Zeroizing::new([0; SEGMENT_LEN]));
        let mut reader = Box::new(Self {
            file,
            base,
            key,
            stream_len,
            plain_len,
            segments,
            buffer,
            cached: None,
        });
        let last = segments.saturating_sub(1);
        match reader.fetch(last) {
            Ok(_) => Ok(Opened::Stream(reader)),
            Err(SegmentFault::NotAuthentic) => Ok(Opened::BadEnd(last)),
            Err(SegmentFault::Io(e)) => Err(OpenFault::Io(e)),
        }
    }

    /// Length of the plaintext, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.plain_len
    }

    /// Number of segments.
    pub(crate) fn segments(&self) -> u32 {
        self.segments
    }

    /// The plaintext of segment `number`, authenticated.
    pub(crate) fn segment(&mut self, number: u32) -> Result<&[u8], SegmentFault> {
        let (start, len) = match self.cached {
            Some((n, start, len)) if n == number => (start, len),
            _ => self.fetch(number)?,
        };
        Ok(self.buffer.get(start..start + len).unwrap_or_default())
    }

    /// Copies plaintext from `position` on into `out`; the number of bytes, 0 only at the end or for an empty `out`.
    /// On a fault the number of the segment comes with it.
    pub(crate) fn read_at(
        &mut self,
        position: u64,
        out: &mut [u8],
    ) -> Result<usize, (u32, SegmentFault)> {
        if position >= self.plain_len || out.is_empty() {
            return Ok(0);
        }
        let Some(number) = segment_of(position) else {
            return Ok(0);
        };
        let skip = usize::try_from(position - plain_start(number)).unwrap_or(usize::MAX);
        let plain = self.segment(number).map_err(|e| (number, e))?;
        let rest = plain.get(skip..).unwrap_or_default();
        let n = rest.len().min(out.len());
        out[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn fetch(&mut self, number: u32) -> Result<(usize, usize), SegmentFault> {
        self.cached = None;
        if number >= self.segments {
            return Err(SegmentFault::NotAuthentic);
        }
        let offset = u64::from(number) * SEGMENT_LEN as u64;
        let len = usize::try_from((self.stream_len - offset).min(SEGMENT_LEN as u64))
            .unwrap_or(SEGMENT_LEN);
        let start = if number == 0 { HEADER_LEN } else { 0 };
        let segment = &mut self.buffer[..len];
        self.file
            .read_exact_at(segment, self.base + offset)
            .map_err(SegmentFault::Io)?;
        let last = number + 1 == self.segments;
        match self.key.open(number, last, &mut segment[start..]) {
            Some(plain) => {
                self.cached = Some((number, start, plain));
                Ok((start, plain))
            }
            None => {
                self.buffer.zeroize();
                Err(SegmentFault::NotAuthentic)
            }
        }
    }
}
