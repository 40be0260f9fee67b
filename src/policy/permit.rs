//! The only way to an outbound INVITE.
//!
//! `trunk` builds an INVITE from a [`Destination`], and a destination comes from redeeming a [`Permit`] and
//! from nowhere else. A customer's number is in a permit only if [`super::decide`] allowed that contact point
//! of that case; an internal permit names a listed extension, never a number. Permits cannot be copied.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use crate::ids::{CaseId, ContactPointId};
use crate::phone::{PhoneNumber, ShortCodes};

/// What an allowed decision grants; only `decide` makes one.
#[derive(Debug)]
pub(super) struct CustomerGrant {
    pub number: PhoneNumber,
    pub case: CaseId,
    pub contact_point: ContactPointId,
    pub valid_until_ms: i64,
    pub ring_ms: i64,
    pub ring_until_ms: i64,
    pub closes_at_ms: i64,
}

#[derive(Debug)]
enum Kind {
    Customer(CustomerGrant),
    Internal(Extension),
}

/// The permission to send one INVITE to one place.
#[derive(Debug)]
pub struct Permit(Kind);

/// The permission ran out before it was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the permission to call ran out {late_ms} ms ago; ask again")]
pub struct PermitExpired {
    /// How late it was, milliseconds.
    pub late_ms: i64,
}

impl Permit {
    pub(super) fn customer(grant: CustomerGrant) -> Self {
        Self(Kind::Customer(grant))
    }

    /// Whether this is for a person outside, not for an agent's phone or the self-test.
    #[must_use]
    pub fn is_customer(&self) -> bool {
        matches!(self.0, Kind::Customer(_))
    }

    /// The case and contact point a customer permit was granted for.
    #[must_use]
    pub fn granted_for(&self) -> Option<(CaseId, ContactPointId)> {
        match &self.0 {
            Kind::Customer(grant) => Some((grant.case, grant.contact_point)),
            Kind::Internal(_) => None,
        }
    }

    /// From when on a customer permit is void, milliseconds UTC.
    #[must_use]
    pub fn valid_until_ms(&self) -> Option<i64> {
        match &self.0 {
            Kind::Customer(grant) => Some(grant.valid_until_ms),
            Kind::Internal(_) => None,
        }
    }

    /// By when all ringing of a customer permit is over, milliseconds UTC.
    #[must_use]
    pub fn ring_until_ms(&self) -> Option<i64> {
        match &self.0 {
            Kind::Customer(grant) => Some(grant.ring_until_ms),
            Kind::Internal(_) => None,
        }
    }

    /// When the window of a customer permit closes, milliseconds UTC.
    #[must_use]
    pub fn closes_at_ms(&self) -> Option<i64> {
        match &self.0 {
            Kind::Customer(grant) => Some(grant.closes_at_ms),
            Kind::Internal(_) => None,
        }
    }

    /// Turns the permission into a place to call, at the moment the INVITE is built: `now_ms` (milliseconds UTC) by the
    /// wall clock, `now` by the monotonic one, which the permission is bound to from here on.
    ///
    /// # Errors
    /// [`PermitExpired`] when a customer permit is no longer good.
    pub fn redeem(self, now_ms: i64, now: Instant) -> Result<Destination, PermitExpired> {
        match self.0 {
            Kind::Internal(extension) => Ok(Destination {
                user: extension.0,
                ring_ms: None,
                bounds: None,
            }),
            Kind::Customer(grant) => {
                if now_ms >= grant.valid_until_ms {
                    let late_ms = now_ms.saturating_sub(grant.valid_until_ms);
                    return Err(PermitExpired { late_ms });
                }
                let left_ms = grant.ring_until_ms.saturating_sub(now_ms);
                let at = |ms: i64| {
                    let ahead_ms = u64::try_from(ms.saturating_sub(now_ms)).unwrap_or(0);
                    // A clock that cannot count so far ends the permission at once.
                    now.checked_add(Duration::from_millis(ahead_ms))
                        .unwrap_or(now)
                };
                Ok(Destination {
                    user: grant.number.dial_string().into(),
                    ring_ms: Some(grant.ring_ms.min(left_ms)),
                    bounds: Some(Bounds {
                        invite_until: at(grant.valid_until_ms),
                        ring_until: at(grant.ring_until_ms),
                    }),
                })
            }
        }
    }
}

/// Until when a person outside may be called, by the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Every INVITE leaves before this or not at all: the first, its retransmissions, and those with credentials.
    pub invite_until: Instant,
    /// All ringing is over by this.
    pub ring_until: Instant,
}

/// A place an INVITE may be sent to. Made by [`Permit::redeem`] only.
pub struct Destination {
    user: Box<str>,
    ring_ms: Option<i64>,
    /// Of a person outside.
    bounds: Option<Bounds>,
}

impl Destination {
    /// The user part of the request URI: all digits of a number, or an extension. Never to be logged.
    #[must_use]
    pub fn dial_string(&self) -> &str {
        &self.user
    }

    /// The longest ringing from now, milliseconds: for the `Expires` header (RFC 3261, 13.2.1). `None` for an
    /// extension, whose ring time the call decides.
    #[must_use]
    pub fn ring_ms(&self) -> Option<i64> {
        self.ring_ms
    }

    /// Until when; `None` for an extension, which may ring at any hour.
    #[must_use]
    pub fn bounds(&self) -> Option<Bounds> {
        self.bounds
    }

    /// The same place, at most until then: whoever turned the permission's times into instants earlier knows them better,
    /// because the wall clock may have moved since.
    #[must_use]
    pub fn within(mut self, known: Bounds) -> Self {
        if let Some(bounds) = &mut self.bounds {
            bounds.invite_until = bounds.invite_until.min(known.invite_until);
            bounds.ring_until = bounds.ring_until.min(known.ring_until);
        }
        self
    }

    /// Whether it is a person outside.
    #[must_use]
    pub fn is_customer(&self) -> bool {
        self.bounds.is_some()
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_customer() {
            "customer"
        } else {
            &self.user
        };
        write!(f, "Destination({what})")
    }
}

/// The user part of a phone inside the house: `1001`, `agent-7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extension(Box<str>);

/// Why a text cannot be an extension.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtensionError {
    /// Wrong characters or length.
    #[error(
        "{0:?} is no extension: 1 to 32 letters, digits, dots, dashes or underscores, not beginning with a dash"
    )]
    Form(String),
    /// So many digits that a PBX might take it for a number outside.
    #[error(
        "an extension of digits only has at most 6 of them, so that it can never be somebody's number"
    )]
    LooksLikeANumber,
    /// The same digits are listed as a short code that can be dialled outside.
    #[error("an extension must not be a listed short code")]
    IsShortCode,
}

impl Extension {
    /// Parses an extension.
    ///
    /// # Errors
    /// [`ExtensionError::Form`] and [`ExtensionError::LooksLikeANumber`].
    pub fn parse(text: &str) -> Result<Self, ExtensionError> {
        let fits = (1..=32).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && !text.starts_with('-');
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        let letters = text.bytes().filter(u8::is_ascii_alphabetic).count();
        if digits > 6 && letters == 0 {
            return Err(ExtensionError::LooksLikeANumber);
        }
        if !fits || digits + letters == 0 {
            return Err(ExtensionError::Form(text.chars().take(40).collect()));
        }
        Ok(Self(text.into()))
    }

    /// The extension as it is dialled.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The phones inside the house: those of the agents and that of the self-test.
#[derive(Debug, Clone, Default)]
pub struct Extensions(BTreeSet<Extension>);

impl Extensions {
    /// Lists them.
    ///
    /// # Errors
    /// [`ExtensionError::IsShortCode`] if one could be dialled outside as well.
    pub fn new(
        listed: impl IntoIterator<Item = Extension>,
        short: &ShortCodes,
    ) -> Result<Self, ExtensionError> {
        let listed: BTreeSet<Extension> = listed.into_iter().collect();
        if listed
            .iter()
            .any(|extension| short.contains(extension.as_str()))
        {
            return Err(ExtensionError::IsShortCode);
        }
        Ok(Self(listed))
    }

    /// The permission to ring a phone inside the house; `None` if it is not listed.
    #[must_use]
    pub fn permit(&self, extension: &Extension) -> Option<Permit> {
        self.0
            .contains(extension)
            .then(|| Permit(Kind::Internal(extension.clone())))
    }
}
