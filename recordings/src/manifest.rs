//! The manifest page: the first 4,096 bytes of every recording file.
//!
//! Its first 256 bytes never change: what the recording is, of which call, segment and client, in which codec, made
//! when. They are the associated data of the data key's wrapping and of the whole stream, so a file cannot pass for
//! another. After them come the id of the month key and the wrapped data key, which a rotation may write anew, and the
//! facts of the seal, encrypted and authenticated together with everything before them. A checksum closes the page:
//! it tells damage from a wrong key and from tampering. Byte by byte: `docs/recording-format.md`.

use std::path::Path;

use ring::digest::{SHA256, digest};
use uuid::Uuid;

use crate::error::{Region, Result, VaultError};
use crate::keys::{KEY_ID_LEN, Key, KeyId, WRAPPED_LEN};
use crate::month::Month;

/// Length of the manifest page, in bytes; the stream begins behind it.
pub const PAGE_LEN: usize = 4096;
/// The version this program writes, and the only one it reads.
pub const VERSION: u16 = 1;
/// The longest name of a client, in bytes of UTF-8.
pub const CLIENT_MAX: usize = 64;

const MAGIC: &[u8; 8] = b"RNGFENCE";
/// The part that is associated data.
const IMMUTABLE: usize = 256;
const KEYS_END: usize = 512;
const BOX_START: usize = KEYS_END + 4;
const CHECKSUM: usize = PAGE_LEN - 32;
/// Room for the encrypted facts, nonce and tag included.
const BOX_MAX: usize = CHECKSUM - BOX_START;
/// The longest facts, in bytes.
pub(crate) const FACTS_MAX: usize = BOX_MAX - 28;
const FACTS_KEY_INFO: &[u8] = b"ringfence page facts v1";

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Written while the call is up: the plaintext is bare 16-bit little-endian PCM, interleaved.
    Live,
    /// Closed for good: the plaintext is a complete WAV file.
    Sealed,
}

/// Who and what a recording is. Never changes once the file exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Live or sealed.
    pub kind: Kind,
    /// The recording; one per call segment.
    pub recording: Uuid,
    /// The call.
    pub call: Uuid,
    /// Which continuous stretch of the call this is, from 1.
    pub segment: u32,
    /// The client (the bank) the call was made for; 1 to 64 bytes.
    pub client: String,
    /// When the recording was begun, in milliseconds UTC since 1970.
    pub created_ms: i64,
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// Channels; with two, the agent is left (0) and the customer right (1).
    pub channels: u8,
}

/// A manifest together with the parts of the page that may be written anew.
pub(crate) struct Page {
    pub(crate) manifest: Manifest,
    pub(crate) month: Month,
    pub(crate) month_key: KeyId,
    pub(crate) data_key: Key,
    /// JSON of the seal's facts, empty while live.
    pub(crate) facts: Vec<u8>,
}

/// A page whose form and checksum are right, but whose key is not at hand yet.
pub(crate) struct SealedPage {
    pub(crate) manifest: Manifest,
    pub(crate) month: Month,
    pub(crate) month_key: KeyId,
    bytes: Box<[u8; PAGE_LEN]>,
}

impl Manifest {
    /// Checks what a caller gives.
    pub(crate) fn check(&self) -> Result<()> {
        let bad = |field, detail| Err(VaultError::BadField { field, detail });
        if self.client.is_empty() || self.client.len() > CLIENT_MAX {
            return bad("client", "its name must be 1 to 64 bytes of UTF-8");
        }
        if self.client.chars().any(char::is_control) {
            return bad("client", "its name holds a control character");
        }
        if !matches!(self.channels, 1 | 2) {
            return bad("channels", "a recording has 1 or 2");
        }
        if !matches!(self.sample_rate, 8_000 | 16_000 | 48_000) {
            return bad("sample rate", "it must be 8000, 16000 or 48000");
        }
        if self.recording.is_nil() || self.call.is_nil() {
            return bad("id", "recording and call need ids that are not nil");
        }
        Month::of(self.created_ms).map(drop)
    }

    /// The 256 bytes that are associated data: of the data key's wrapping and of the stream.
    pub(crate) fn immutable(&self) -> Result<[u8; IMMUTABLE]> {
        self.check()?;
        let mut out = [0; IMMUTABLE];
        let (kind, codec) = match self.kind {
            Kind::Live => (1, 1),
            Kind::Sealed => (2, 2),
        };
        out[..8].copy_from_slice(MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_be_bytes());
        out[10..13].copy_from_slice(&[kind, codec, self.channels]);
        out[16..20].copy_from_slice(&self.sample_rate.to_be_bytes());
        out[20..24].copy_from_slice(&self.segment.to_be_bytes());
        out[24..40].copy_from_slice(self.recording.as_bytes());
        out[40..56].copy_from_slice(self.call.as_bytes());
        out[56..64].copy_from_slice(&self.created_ms.to_be_bytes());
        out[64] = self.client.len() as u8; // check(): at most 64
        out[65..65 + self.client.len()].copy_from_slice(self.client.as_bytes());
        Ok(out)
    }
}

impl Page {
    /// The page as it lies on the disk, with the data key wrapped under `month_key`.
    pub(crate) fn encode(&self, month_key: &Key) -> Result<Box<[u8; PAGE_LEN]>> {
        let mut page = Box::new([0; PAGE_LEN]);
        let immutable = self.manifest.immutable()?;
        page[..IMMUTABLE].copy_from_slice(&immutable);
        page[256..272].copy_from_slice(&self.month_key.0);
        page[272..276].copy_from_slice(&self.month.number().to_be_bytes());
        page[288..348].copy_from_slice(&month_key.wrap(&immutable, &self.data_key)?);
        if self.facts.len() > FACTS_MAX {
            return Err(VaultError::BadField {
                field: "facts",
                detail: "they do not fit in the manifest page",
            });
        }
        let len = self.facts.len() + 28;
        page[KEYS_END..BOX_START].copy_from_slice(&(len as u32).to_be_bytes());
        let key = self.data_key.derive_key(&[], FACTS_KEY_INFO)?;
        let sealed = key.seal_box(&page[..BOX_START], &self.facts)?;
        page[BOX_START..BOX_START + len].copy_from_slice(&sealed);
        let sum = digest(&SHA256, &page[..CHECKSUM]);
        page[CHECKSUM..].copy_from_slice(sum.as_ref());
        Ok(page)
    }
}

impl SealedPage {
    /// Reads the form of a page; `path` is only for errors.
    ///
    /// # Errors
    /// [`VaultError::NotOurs`], [`VaultError::UnknownVersion`], or [`VaultError::Damaged`] with the field that is off.
    pub(crate) fn parse(bytes: Box<[u8; PAGE_LEN]>, path: &Path) -> Result<Self> {
        let damaged = |detail: &str| VaultError::Damaged {
            path: path.into(),
            region: Region::Manifest,
            detail: detail.into(),
        };
        let whole = digest(&SHA256, &bytes[..CHECKSUM]).as_ref() == &bytes[CHECKSUM..];
        // Magic, version and checksum lie where they lie in every version: a page that is whole can be told from one
        // that is not before anything else in it is believed.
        let version = u16::from_be_bytes(array(&bytes[8..10]));
        if &bytes[..8] != MAGIC && (whole || version != VERSION) {
            return Err(VaultError::NotOurs {
                path: path.into(),
                wanted: "recording",
            });
        }
        if !whole {
            return Err(damaged("its checksum does not fit"));
        }
        if version != VERSION {
            return Err(VaultError::UnknownVersion {
                path: path.into(),
                found: version,
                known: VERSION,
            });
        }
        let kind = match (bytes[10], bytes[11]) {
            (1, 1) => Kind::Live,
            (2, 2) => Kind::Sealed,
            _ => return Err(damaged("kind and codec are unknown")),
        };
        let client_len = usize::from(bytes[64]);
        let client = (client_len <= CLIENT_MAX)
            .then(|| bytes.get(65..65 + client_len))
            .flatten()
            .and_then(|c| std::str::from_utf8(c).ok())
            .ok_or_else(|| damaged("the client's name is none"))?;
        let manifest = Manifest {
            kind,
            recording: Uuid::from_bytes(array(&bytes[24..40])),
            call: Uuid::from_bytes(array(&bytes[40..56])),
            segment: u32::from_be_bytes(array(&bytes[20..24])),
            client: client.to_owned(),
            created_ms: i64::from_be_bytes(array(&bytes[56..64])),
            sample_rate: u32::from_be_bytes(array(&bytes[16..20])),
            channels: bytes[12],
        };
        // Writing the fields again must give the same bytes: that checks each of them, and that the rest is zero.
        let again = manifest.immutable().map_err(|e| damaged(&e.to_string()))?;
        if again != bytes[..IMMUTABLE] {
            return Err(damaged("a reserved byte is not zero"));
        }
        let month = Month::from_number(u32::from_be_bytes(array(&bytes[272..276])))
            .filter(|m| Month::of(manifest.created_ms).is_ok_and(|of| of == *m))
            .ok_or_else(|| damaged("the month of its key is not that of its creation"))?;
        let len = u32::from_be_bytes(array(&bytes[KEYS_END..BOX_START])) as usize;
        if !(28..=BOX_MAX).contains(&len) {
            return Err(damaged("the length of its facts is impossible"));
        }
        let zero = |range: &[u8]| range.iter().all(|b| *b == 0);
        if !zero(&bytes[276..288])
            || !zero(&bytes[348..KEYS_END])
            || !zero(&bytes[BOX_START + len..CHECKSUM])
        {
            return Err(damaged("a reserved byte is not zero"));
        }
        let month_key = KeyId(array::<KEY_ID_LEN>(&bytes[256..272]));
        Ok(Self {
            manifest,
            month,
            month_key,
            bytes,
        })
    }

    /// Unwraps the data key and opens the facts.
    ///
    /// # Errors
    /// [`VaultError::Altered`] if they are not authentic under `month_key`, whose id the caller has compared.
    pub(crate) fn open(self, month_key: &Key, path: &Path) -> Result<Page> {
        let altered = |region| VaultError::Altered {
            path: path.into(),
            region,
        };
        let wrapped: [u8; WRAPPED_LEN] = array(&self.bytes[288..348]);
        let data_key = month_key
            .unwrap_key(&self.bytes[..IMMUTABLE], &wrapped)?
            .ok_or_else(|| altered(Region::Manifest))?;
        let len = u32::from_be_bytes(array(&self.bytes[KEYS_END..BOX_START])) as usize;
        let sealed = self
            .bytes
            .get(BOX_START..BOX_START + len)
            .unwrap_or_default();
        let facts = data_key
            .derive_key(&[], FACTS_KEY_INFO)?
            .open_box(&self.bytes[..BOX_START], sealed)?
            .ok_or_else(|| altered(Region::Facts))?;
        let Self {
            manifest,
            month,
            month_key,
            ..
        } = self;
        Ok(Page {
            manifest,
            month,
            month_key,
            data_key,
            facts: facts.to_vec(),
        })
    }
}

/// The bytes as an array; every caller slices exactly `N` bytes of a page.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn manifest() -> impl Strategy<Value = Manifest> {
        let names = (
            any::<bool>(),
            1u128..,
            1u128..,
            any::<u32>(),
            "[^\\p{Cc}]{1,16}",
        );
        let numbers = (
            0i64..253_370_764_800_000,
            prop::sample::select(vec![8000, 16_000, 48_000]),
            1u8..=2,
        );
        (names, numbers).prop_map(
            |((live, recording, call, segment, client), (created_ms, sample_rate, channels))| {
                Manifest {
                    kind: if live { Kind::Live } else { Kind::Sealed },
                    recording: Uuid::from_u128(recording),
                    call: Uuid::from_u128(call),
                    segment,
                    client,
                    created_ms,
                    sample_rate,
                    channels,
                }
            },
        )
    }

    fn encode(manifest: &Manifest, facts: &[u8]) -> (Key, Box<[u8; PAGE_LEN]>) {
        let month_key = Key::of_test([9; 32]);
        let page = Page {
            manifest: manifest.clone(),
            month: Month::of(manifest.created_ms).unwrap(),
            month_key: KeyId([3; 16]),
            data_key: Key::of_test([5; 32]),
            facts: facts.to_vec(),
        };
        let bytes = page.encode(&month_key).unwrap();
        (month_key, bytes)
    }

    fn with_checksum(mut page: Box<[u8; PAGE_LEN]>) -> Box<[u8; PAGE_LEN]> {
        let sum = digest(&SHA256, &page[..CHECKSUM]);
        page[CHECKSUM..].copy_from_slice(sum.as_ref());
        page
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_manifest_comes_back_from_its_page(
            manifest in manifest(), facts in prop::collection::vec(any::<u8>(), 0..FACTS_MAX)
        ) {
            let (month_key, bytes) = encode(&manifest, &facts);
            let page = SealedPage::parse(bytes, Path::new("x")).unwrap();
            prop_assert_eq!(&page.manifest, &manifest);
            let page = page.open(&month_key, Path::new("x")).unwrap();
            prop_assert_eq!(page.facts, facts);
            prop_assert!(page.manifest == manifest);
        }

        #[test]
        fn whoever_alters_a_page_and_mends_its_checksum_is_found_out(
            manifest in manifest(), changes in prop::collection::vec((0..CHECKSUM, 1u8..), 1..4)
        ) {
            let (month_key, mut bytes) = encode(&manifest, b"{}");
            let before = bytes.clone();
            changes.iter().for_each(|(at, by)| bytes[*at] ^= by);
            prop_assume!(bytes != before);
            let path = Path::new("x");
            let read = SealedPage::parse(with_checksum(bytes), path).and_then(|page| page.open(&month_key, path));
            prop_assert!(read.is_err());
        }

        #[test]
        fn no_page_makes_the_reader_panic(noise in prop::collection::vec(any::<u8>(), PAGE_LEN), keep in 0usize..520) {
            let mut bytes: Box<[u8; PAGE_LEN]> = noise.into_boxed_slice().try_into().unwrap();
            let (month_key, good) = encode(&Manifest {
                kind: Kind::Sealed,
                recording: Uuid::from_u128(1),
                call: Uuid::from_u128(2),
                segment: 0,
                client: "c".into(),
                created_ms: 0,
                sample_rate: 8000,
                channels: 2,
            }, b"");
            bytes[..keep].copy_from_slice(&good[..keep]);
            let path = Path::new("x");
            prop_assert!(SealedPage::parse(with_checksum(bytes), path).and_then(|p| p.open(&month_key, path)).is_err());
        }
    }

    #[test]
    fn facts_that_do_not_fit_are_refused() {
        let manifest = Manifest {
            kind: Kind::Sealed,
            recording: Uuid::from_u128(1),
            call: Uuid::from_u128(2),
            segment: 0,
            client: "c".repeat(64),
            created_ms: 0,
            sample_rate: 8000,
            channels: 2,
        };
        encode(&manifest, &[0; FACTS_MAX]);
        let page = Page {
            month: Month::of(0).unwrap(),
            month_key: KeyId([0; 16]),
            data_key: Key::of_test([0; 32]),
            facts: vec![0; FACTS_MAX + 1],
            manifest,
        };
        assert!(page.encode(&Key::of_test([0; 32])).is_err());
    }
}
