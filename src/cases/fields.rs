//! Identity and card numbers at rest: boxes that only the vault's root key opens, and keyed hashes by which an exact
//! value is found.
//!
//! A box is AES-256-GCM under a random nonce, base64, bound to its table, column and row: to the person's hash for an
//! identity number, to client and case number for a card, because rows are written in bulk before they have ids. The hash
//! is HMAC-SHA-256 of the normalised value. The key lies wrapped in the key directory (`ringfence_recordings::NamedKey`),
//! never in the database.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ringfence_recordings::{NamedKey, VaultError};

use super::identity::{Card, Identity};
use crate::ids::ClientId;

/// Name of the key in the key directory.
pub const KEY_NAME: &str = "case-fields";

/// A value as the database keeps it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Sealed {
    /// Keyed hash, hexadecimal.
    pub hash: String,
    /// Box, base64.
    pub boxed: String,
}

/// Why a stored value cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FieldError {
    /// The key.
    #[error(transparent)]
    Key(#[from] VaultError),
    /// The box was changed, moved to another row, or made under another key.
    #[error(
        "a stored number does not open: it was changed or moved, or the key directory belongs to another database"
    )]
    NotAuthentic,
}

/// The key of the stored numbers.
#[derive(Debug)]
pub struct FieldKey(NamedKey);

impl FieldKey {
    /// Wraps the key that was opened.
    #[must_use]
    pub fn new(key: NamedKey) -> Self {
        Self(key)
    }

    /// The hash by which a person is found.
    #[must_use]
    pub fn identity_hash(&self, identity: &Identity) -> String {
        crate::store::users::hex(&self.0.index("identity", identity.expose()))
    }

    /// The hash by which cases are found.
    #[must_use]
    pub fn card_hash(&self, card: &Card) -> String {
        crate::store::users::hex(&self.0.index("card", card.expose()))
    }

    /// An identity number as `persons` keeps it.
    ///
    /// # Errors
    /// The key.
    pub fn seal_identity(&self, identity: &Identity) -> Result<Sealed, FieldError> {
        let hash = self.identity_hash(identity);
        let boxed = BASE64.encode(
            self.0
                .seal(&identity_place(&hash), identity.expose().as_bytes())?,
        );
        Ok(Sealed { hash, boxed })
    }

    /// A card number as `cases` keeps it.
    ///
    /// # Errors
    /// The key.
    pub fn seal_card(
        &self,
        client: ClientId,
        reference: &str,
        card: &Card,
    ) -> Result<Sealed, FieldError> {
        let place = card_place(client, reference);
        Ok(Sealed {
            hash: self.card_hash(card),
            boxed: BASE64.encode(self.0.seal(&place, card.expose().as_bytes())?),
        })
    }

    /// The identity number of a person.
    ///
    /// # Errors
    /// [`FieldError::NotAuthentic`].
    pub fn open_identity(&self, hash: &str, boxed: &str) -> Result<String, FieldError> {
        self.open(&identity_place(hash), boxed)
    }

    /// The card number of a case.
    ///
    /// # Errors
    /// [`FieldError::NotAuthentic`].
    pub fn open_card(
        &self,
        client: ClientId,
        reference: &str,
        boxed: &str,
    ) -> Result<String, FieldError> {
        self.open(&card_place(client, reference), boxed)
    }

    /// A letter as `agreements` keeps it, under the SHA-256 of its bytes.
    ///
    /// # Errors
    /// The key.
    pub fn seal_letter(&self, sha256: &str, bytes: &[u8]) -> Result<String, FieldError> {
        Ok(BASE64.encode(self.0.seal(&letter_place(sha256), bytes)?))
    }

    /// A letter as it came.
    ///
    /// # Errors
    /// [`FieldError::NotAuthentic`].
    pub fn open_letter(&self, sha256: &str, boxed: &str) -> Result<Vec<u8>, FieldError> {
        let sealed = BASE64.decode(boxed).map_err(|_| FieldError::NotAuthentic)?;
        let plain = self.0.open_box(&letter_place(sha256), &sealed)?;
        plain
            .map(|plain| plain.to_vec())
            .ok_or(FieldError::NotAuthentic)
    }

    fn open(&self, place: &[u8], boxed: &str) -> Result<String, FieldError> {
        let sealed = BASE64.decode(boxed).map_err(|_| FieldError::NotAuthentic)?;
        let plain = self.0.open_box(place, &sealed)?;
        plain
            .and_then(|plain| String::from_utf8(plain.to_vec()).ok())
            .ok_or(FieldError::NotAuthentic)
    }
}

fn identity_place(hash: &str) -> Vec<u8> {
    format!("persons\0identity_box\0{hash}").into_bytes()
}

fn letter_place(sha256: &str) -> Vec<u8> {
    format!("agreements\0letter_box\0{sha256}").into_bytes()
}

fn card_place(client: ClientId, reference: &str) -> Vec<u8> {
    format!("cases\0card_box\0{client}\0{reference}").into_bytes()
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(crate) fn key(dir: &std::path::Path) -> FieldKey {
        let root = dir.join("root");
        let root = ringfence_recordings::RootKey::load(&root)
            .or_else(|_| ringfence_recordings::RootKey::create(&root))
            .unwrap();
        FieldKey::new(NamedKey::open(&dir.join("keys"), KEY_NAME, &root, true).unwrap())
    }

    #[test]
    fn a_number_is_read_where_it_was_written_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let key = key(dir.path());
        let identity = Identity::parse("11010519491231002X").unwrap();
        let sealed = key.seal_identity(&identity).unwrap();
        assert!(!sealed.boxed.contains("1101"));
        assert_eq!(
            key.open_identity(&sealed.hash, &sealed.boxed).unwrap(),
            identity.expose()
        );
        assert!(key.open_identity("other", &sealed.boxed).is_err());
        let card = Card::parse("4111111111111111").unwrap();
        let bank = ClientId::new(1);
        let sealed = key.seal_card(bank, "C1", &card).unwrap();
        assert_eq!(
            key.open_card(bank, "C1", &sealed.boxed).unwrap(),
            card.expose()
        );
        assert!(key.open_card(bank, "C2", &sealed.boxed).is_err());
        assert!(
            key.open_card(ClientId::new(2), "C1", &sealed.boxed)
                .is_err()
        );
        assert!(key.open_card(bank, "C1", "no base64").is_err());
    }
}
