//! The server's side: challenging and checking.
//!
//! A nonce carries its time and number and is signed with a secret, so challenges cost no memory; only nonces of people
//! who knew the password are remembered, for the check of `nc`, in a table of bounded size.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Algorithm, Challenge, to_hex};
use crate::message::Request;
use crate::uri::Uri;

/// How many nonces are remembered with their last `nc`. A nonce that falls out is called stale from then on.
const REMEMBERED: usize = 1024;

/// Challenges requests and checks the answers, for one realm.
pub struct Server {
    realm: String,
    secret: [u8; 32],
    started: Instant,
    lifetime: Duration,
    algorithms: Vec<Algorithm>,
    issued: u64,
    /// Number of a nonce and the highest `nc` seen with it, oldest use first.
    used: VecDeque<(u64, u32)>,
    /// Nonces up to this number were forgotten.
    floor: u64,
}

/// What an answer is worth.
#[derive(Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The right password, a fresh nonce.
    Accepted {
        /// Whose.
        username: String,
    },
    /// Nothing that answers one of our challenges: send a challenge.
    Missing,
    /// Right, but the nonce is too old or was used before: send a challenge with `stale`.
    Stale,
    /// Wrong user name, password or URI: send a challenge again or 403.
    Refused,
}

impl Server {
    /// `secret` must be random and stay secret; `now` is any instant before the first challenge. A nonce is good for
    /// `lifetime`. Algorithms are offered in the order given (RFC 8760 2.4 wants the preferred first).
    pub fn new(
        realm: &str,
        secret: [u8; 32],
        now: Instant,
        lifetime: Duration,
        algorithms: &[Algorithm],
    ) -> Self {
        let realm = realm
            .chars()
            .filter(|char| !char.is_control() && !matches!(char, '"' | '\\'))
            .collect();
        Self {
            realm,
            secret,
            started: now,
            lifetime,
            algorithms: algorithms.to_vec(),
            issued: 0,
            used: VecDeque::new(),
            floor: 0,
        }
    }

    /// New challenges, one for each algorithm: values of WWW-Authenticate or Proxy-Authenticate lines.
    pub fn challenges(&mut self, now: Instant, stale: bool) -> Vec<String> {
        self.issued += 1;
        let nonce = self.nonce(self.millis(now), self.issued);
        self.algorithms
            .iter()
            .map(|algorithm| {
                let challenge = Challenge {
                    realm: self.realm.clone(),
                    nonce: nonce.clone(),
                    opaque: None,
                    stale,
                    algorithm: *algorithm,
                    qop_auth: true,
                };
                challenge.to_wire()
            })
            .collect()
    }

    /// Checks the Authorization headers of `request` (Proxy-Authorization if `proxy`). `password` looks up a user.
    pub fn verify(
        &mut self,
        now: Instant,
        request: &Request,
        proxy: bool,
        password: impl Fn(&str) -> Option<SecretString>,
    ) -> Verdict {
        let all = match proxy {
            true => request.headers.proxy_authorization(),
            false => request.headers.authorization(),
        };
        let ours = |credentials: &super::Credentials| {
            credentials.realm == self.realm && self.algorithms.contains(&credentials.algorithm)
        };
        let Some(credentials) = all.into_iter().find(ours) else {
            return Verdict::Missing;
        };
        let secret = password(&credentials.username);
        let known = secret.is_some();
        let secret = secret.unwrap_or_default();
        let expected =
            credentials.expected_response(request.method.as_str(), secret.expose_secret());
        let given = credentials.response.to_ascii_lowercase();
        let right = bool::from(expected.as_bytes().ct_eq(given.as_bytes()));
        let same_uri =
            Uri::parse(&credentials.uri).is_ok_and(|uri| uri.is_equivalent(&request.uri));
        if !(right && known && same_uri) {
            return Verdict::Refused;
        }
        let nc = credentials.qop_auth.as_ref().map_or(1, |(_, nc)| *nc);
        match self.number_of(&credentials.nonce, now) {
            Some(number) if self.use_once(number, nc) => Verdict::Accepted {
                username: credentials.username,
            },
            _ => Verdict::Stale,
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    fn nonce(&self, millis: u64, number: u64) -> String {
        let mut hash = Sha256::new();
        hash.update(self.secret);
        hash.update(millis.to_be_bytes());
        hash.update(number.to_be_bytes());
        hash.update(self.realm.as_bytes());
        let signature = to_hex(&hash.finalize());
        format!(
            "{millis:016x}{number:016x}{}",
            signature.get(..32).unwrap_or_default()
        )
    }

    /// The number of a nonce that is ours and not too old.
    fn number_of(&self, nonce: &str, now: Instant) -> Option<u64> {
        let field = |range| u64::from_str_radix(nonce.get(range)?, 16).ok();
        let (millis, number) = (field(0..16)?, field(16..32)?);
        let genuine = bool::from(
            self.nonce(millis, number)
                .as_bytes()
                .ct_eq(nonce.as_bytes()),
        );
        let age = self.millis(now).checked_sub(millis)?;
        (genuine && u128::from(age) <= self.lifetime.as_millis()).then_some(number)
    }

    /// Whether this use of the nonce is a new one (RFC 7616 3.3: `nc` only goes up).
    fn use_once(&mut self, number: u64, nc: u32) -> bool {
        if let Some(at) = self.used.iter().position(|(used, _)| *used == number) {
            let last = self.used.remove(at).map_or(u32::MAX, |(_, last)| last);
            self.used.push_back((number, last.max(nc)));
            return nc > last;
        }
        if number <= self.floor {
            return false;
        }
        if self.used.len() >= REMEMBERED
            && let Some((oldest, _)) = self.used.pop_front()
        {
            self.floor = self.floor.max(oldest);
        }
        self.used.push_back((number, nc));
        true
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({} challenges issued)", self.issued)
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted { .. } => "Accepted",
            Self::Missing => "Missing",
            Self::Stale => "Stale",
            Self::Refused => "Refused",
        })
    }
}
