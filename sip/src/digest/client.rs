//! The client's side: answering 401 and 407.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::{Challenge, Credentials};
use crate::headers::name;
use crate::message::{Request, Response};

/// How many realms (the registrar and the proxies on the way) are answered at once; more are forgotten, oldest first.
const REALM_LIMIT: usize = 4;
/// How often in a row a server may call a nonce stale before it is not believed any more.
const STALE_LIMIT: u32 = 3;

/// A name and its password.
#[derive(Clone)]
pub struct Login {
    /// The user name of the digest, often not the number.
    pub username: String,
    /// The password.
    pub password: SecretString,
}

impl Login {
    /// A login.
    pub fn new(username: &str, password: SecretString) -> Self {
        Self {
            username: username.to_owned(),
            password,
        }
    }

    pub(super) fn secret(&self) -> &str {
        self.password.expose_secret()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// Why a challenge is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no challenge that can be answered: another scheme, another algorithm, only `auth-int`.
    #[error("the server asks for authentication in no way that we know")]
    NothingUsable,
    /// The answer to a fresh nonce was refused.
    #[error("the server refuses user name or password")]
    Refused,
    /// The server calls every nonce stale.
    #[error("the server calls every nonce stale")]
    AlwaysStale,
}

struct Realm {
    proxy: bool,
    challenge: Challenge,
    /// How often the nonce was used.
    uses: u32,
    stale_in_a_row: u32,
}

/// Answers challenges for one login and remembers the last of each realm, so that later requests carry an answer at
/// once. Whoever sends counts its own retries too: one request is at most a handful of attempts.
pub struct Client {
    login: Login,
    realms: Vec<Realm>,
}

impl Client {
    /// A client that has seen no challenge.
    pub const fn new(login: Login) -> Self {
        Self {
            login,
            realms: Vec::new(),
        }
    }

    /// The login it answers with.
    pub const fn login(&self) -> &Login {
        &self.login
    }

    /// Puts answers to all remembered challenges into a new request, each use counted in `nc`. Does nothing before the
    /// first challenge. `cnonce` must be fresh random text.
    pub fn authorize(&mut self, request: &mut Request, cnonce: &str) {
        for realm in &mut self.realms {
            realm.stale_in_a_row = 0;
        }
        self.fill(request, cnonce);
    }

    /// Reads the challenges of a 401 or 407 and puts the answers into `request`, which is the refused request and will
    /// be sent again as a new one (CSeq and branch are the caller's). Of several challenges for one realm the
    /// strongest is answered. A nonce that was used before and is refused without `stale` gets one more try with the
    /// new nonce, because servers forget their nonces when they restart.
    ///
    /// # Errors
    /// No usable challenge, or the answer to a fresh nonce was refused: asking again would not help.
    pub fn answer(
        &mut self,
        request: &mut Request,
        refusal: &Response,
        cnonce: &str,
    ) -> Result<(), DigestError> {
        let mut usable = false;
        for (proxy, mut challenges) in [
            (false, refusal.headers.www_authenticate()),
            (true, refusal.headers.proxy_authenticate()),
        ] {
            // The strongest first; sort is stable, so the server's preference decides between equals.
            challenges.sort_by_key(|challenge| std::cmp::Reverse(challenge.algorithm));
            let mut done: Vec<String> = Vec::new();
            for challenge in challenges {
                if done.len() < REALM_LIMIT && !done.contains(&challenge.realm) {
                    done.push(challenge.realm.clone());
                    self.learn(request, proxy, challenge)?;
                    usable = true;
                }
            }
        }
        if !usable {
            return Err(DigestError::NothingUsable);
        }
        self.fill(request, cnonce);
        Ok(())
    }

    fn learn(
        &mut self,
        refused: &Request,
        proxy: bool,
        challenge: Challenge,
    ) -> Result<(), DigestError> {
        let sent = sent_credentials(refused, proxy)
            .into_iter()
            .find(|sent| sent.realm == challenge.realm);
        let known = self
            .realms
            .iter()
            .position(|realm| realm.proxy == proxy && realm.challenge.realm == challenge.realm);
        let mut stale_in_a_row = 0;
        if let (Some(sent), Some(known)) = (sent, known.and_then(|at| self.realms.get(at))) {
            let uses = sent.qop_auth.as_ref().map_or(known.uses, |(_, nc)| *nc);
            if challenge.stale {
                stale_in_a_row = known.stale_in_a_row + 1;
                if stale_in_a_row > STALE_LIMIT {
                    return Err(DigestError::AlwaysStale);
                }
            } else if uses <= 1 {
                return Err(DigestError::Refused);
            }
        }
        let realm = Realm {
            proxy,
            challenge,
            uses: 0,
            stale_in_a_row,
        };
        match known.and_then(|at| self.realms.get_mut(at)) {
            Some(slot) if slot.challenge.nonce == realm.challenge.nonce => {
                // The same nonce again: its uses count on, or the server would see an old nc.
                let uses = slot.uses;
                *slot = Realm { uses, ..realm };
            }
            Some(slot) => *slot = realm,
            None => {
                if self.realms.len() >= REALM_LIMIT {
                    self.realms.remove(0);
                }
                self.realms.push(realm);
            }
        }
        Ok(())
    }

    fn fill(&mut self, request: &mut Request, cnonce: &str) {
        request.headers.remove(name::AUTHORIZATION);
        request.headers.remove(name::PROXY_AUTHORIZATION);
        let uri = request.uri.to_wire();
        for realm in &mut self.realms {
            realm.uses = realm.uses.saturating_add(1);
            let answer = realm.challenge.answer(
                &self.login,
                request.method.as_str(),
                &uri,
                cnonce,
                realm.uses,
            );
            let header = if realm.proxy {
                name::PROXY_AUTHORIZATION
            } else {
                name::AUTHORIZATION
            };
            request.headers.push(header, answer.to_wire());
        }
    }
}

fn sent_credentials(request: &Request, proxy: bool) -> Vec<Credentials> {
    match proxy {
        true => request.headers.proxy_authorization(),
        false => request.headers.authorization(),
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} realms)", self.realms.len())
    }
}
