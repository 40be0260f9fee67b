//! One registration kept up (RFC 3261 10.2): refresh before expiry, 423, retries with jittered backoff.

use std::time::{Duration, Instant};

use crate::cause::Release;
use crate::command::{Account, CommandError};
use crate::core::Core;
use crate::digest;
use crate::event::{AccountHandle, Event};
use crate::headers::{Contacts, NameAddr, name};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::session::set_cseq;
use crate::transaction::table::ClientOwner;
use crate::transport::Flow;

/// How often one REGISTER is sent again because of 401, 407 or 423.
const RETRY_LIMIT: u32 = 6;
/// A lifetime beyond a week is a mistake and read as a week.
const LONGEST_S: u32 = 7 * 86_400;

enum State {
    Trying {
        transaction: u64,
    },
    Registered {
        refresh_at: Instant,
    },
    /// Failed; tried again then.
    Waiting {
        retry_at: Instant,
    },
    /// Refused for good, until `register_now`.
    Refused,
    Removing {
        transaction: u64,
    },
    Over,
}

pub(crate) struct Registration {
    handle: AccountHandle,
    account: Account,
    call_id: String,
    from: NameAddr,
    cseq: u32,
    /// Raised by 423.
    expires_s: u32,
    digest: Option<digest::Client>,
    tries: u32,
    failures: u32,
    contact: String,
    state: State,
}

impl Registration {
    pub(crate) fn new(core: &mut Core, account: Account) -> Self {
        let from = account.aor.clone().with_tag(&core.token());
        Self {
            handle: AccountHandle(core.id()),
            call_id: core.token(),
            from,
            cseq: 0,
            expires_s: u32::try_from(account.expires.as_secs())
                .unwrap_or(LONGEST_S)
                .clamp(1, LONGEST_S),
            digest: account.credentials.clone().map(digest::Client::new),
            tries: 0,
            failures: 0,
            contact: String::new(),
            state: State::Refused,
            account,
        }
    }

    pub(crate) const fn handle(&self) -> AccountHandle {
        self.handle
    }

    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    pub(crate) const fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Registered { refresh_at } => Some(refresh_at),
            State::Waiting { retry_at } => Some(retry_at),
            _ => None,
        }
    }

    /// Whether its registrar is reached by this connection.
    pub(crate) fn goes_over(&self, remote: std::net::SocketAddr) -> bool {
        self.account.peer.kind.is_reliable() && self.account.peer.address == remote
    }

    pub(crate) fn on_timeout(&mut self, core: &mut Core, now: Instant) {
        if self.next_timeout().is_some_and(|at| at <= now) {
            self.begin(core, now);
        }
    }

    /// Registers at once, whatever was before.
    pub(crate) fn register_now(
        &mut self,
        core: &mut Core,
        now: Instant,
    ) -> Result<(), CommandError> {
        match self.state {
            State::Removing { .. } | State::Over => {
                Err(CommandError::State("the account is being unregistered"))
            }
            State::Trying { .. } => Ok(()),
            _ => {
                self.failures = 0;
                self.begin(core, now);
                Ok(())
            }
        }
    }

    /// The connection to the registrar broke: it cannot reach us any more.
    pub(crate) fn on_stream_lost(&mut self, core: &mut Core, now: Instant) {
        if matches!(self.state, State::Registered { .. }) {
            let retry_at = now + self.backoff(core);
            self.state = State::Waiting { retry_at };
        }
    }

    pub(crate) fn unregister(&mut self, core: &mut Core, now: Instant) {
        if matches!(self.state, State::Removing { .. } | State::Over) {
            return;
        }
        self.tries = 0;
        match self.send(core, now, 0) {
            Ok(transaction) => self.state = State::Removing { transaction },
            Err(_) => self.removed(core),
        }
    }

    fn begin(&mut self, core: &mut Core, now: Instant) {
        self.tries = 0;
        match self.send(core, now, self.expires_s) {
            Ok(transaction) => self.state = State::Trying { transaction },
            Err(_) => self.failed(core, now, Release::from_status(503)),
        }
    }

    fn send(&mut self, core: &mut Core, now: Instant, expires_s: u32) -> Result<u64, CommandError> {
        if !core.has_room() {
            return Err(CommandError::Full("transactions"));
        }
        let flow = core.flow_to(self.account.peer)?;
        let user = self.account.contact_user.clone();
        let user = user
            .or_else(|| self.account.aor.uri.user().map(|user| user.into_owned()))
            .unwrap_or_default();
        let contact = NameAddr::new(core.contact(&flow, &user)).to_wire();
        let to = self.account.aor.clone();
        self.cseq += 1;
        let uri = self.account.registrar.for_request_line();
        let mut request = core.request(
            Method::REGISTER,
            uri,
            &self.from,
            &to,
            &self.call_id,
            self.cseq,
        );
        if !self.contact.is_empty() && self.contact != contact {
            // The address has changed: take the old binding away in the same request.
            request
                .headers
                .push(name::CONTACT, format!("{};expires=0", self.contact));
        }
        request
            .headers
            .push(name::CONTACT, format!("{contact};expires={expires_s}"));
        request.headers.push(name::EXPIRES, expires_s.to_string());
        self.contact = contact;
        if let Some(digest) = &mut self.digest {
            digest.authorize(&mut request, &core.token());
        }
        Ok(core.send_request(now, request, flow, ClientOwner::Account(self.handle), None))
    }

    fn send_again(
        &mut self,
        core: &mut Core,
        now: Instant,
        mut request: Request,
        flow: Flow,
    ) -> u64 {
        self.tries += 1;
        self.cseq += 1;
        set_cseq(&mut request, self.cseq);
        core.send_request(now, request, flow, ClientOwner::Account(self.handle), None)
    }

    pub(crate) fn on_response(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        response: &Response,
    ) {
        let removing = match self.state {
            State::Trying {
                transaction: current,
            } if current == transaction => false,
            State::Removing {
                transaction: current,
            } if current == transaction => true,
            _ => return,
        };
        let code = response.status.code();
        if code < 200 {
            return;
        }
        if self.tries < RETRY_LIMIT
            && let Some((request, flow)) = core
                .clients
                .get(transaction)
                .map(|entry| (entry.request.clone(), entry.flow))
            && let Some(request) = self.repaired(core, request, response)
        {
            let transaction = self.send_again(core, now, request, flow);
            self.state = match removing {
                true => State::Removing { transaction },
                false => State::Trying { transaction },
            };
            return;
        }
        match (removing, code) {
            (true, _) => self.removed(core),
            (false, 200..=299) => self.registered(core, now, response),
            (false, _) => self.failed(core, now, Release::from_response(response)),
        }
    }

    /// The same request with what the response asks for: credentials, or a longer life.
    fn repaired(
        &mut self,
        core: &mut Core,
        mut request: Request,
        response: &Response,
    ) -> Option<Request> {
        match response.status.code() {
            401 | 407 => {
                self.digest
                    .as_mut()?
                    .answer(&mut request, response, &core.token())
                    .ok()?;
                Some(request)
            }
            423 => {
                let min = response.headers.min_expires().ok()??.min(LONGEST_S);
                if min <= self.expires_s {
                    return None;
                }
                self.expires_s = min;
                request
                    .headers
                    .set(name::CONTACT, format!("{};expires={min}", self.contact));
                request.headers.set(name::EXPIRES, min.to_string());
                if let Some(digest) = &mut self.digest {
                    digest.authorize(&mut request, &core.token());
                }
                Some(request)
            }
            _ => None,
        }
    }

    fn registered(&mut self, core: &mut Core, now: Instant, response: &Response) {
        self.failures = 0;
        if self.learn(core, response) {
            self.begin(core, now);
            return;
        }
        let granted = self.granted(response);
        let expires = Duration::from_secs(granted.into());
        // Between 75 and 90 % of the lifetime, so that many accounts do not refresh at once.
        let part = core.random(750, 900);
        let wait = expires.saturating_mul(u32::try_from(part).unwrap_or(800)) / 1000;
        self.state = State::Registered {
            refresh_at: now + wait.max(Duration::from_millis(500)),
        };
        core.tell(Event::Registered {
            account: self.handle,
            expires,
        });
    }

    /// The lifetime of our binding in a 200: that of our Contact, else the Expires header, else what we asked for.
    fn granted(&self, response: &Response) -> u32 {
        let ours = NameAddr::parse(&self.contact).ok();
        let list = match response.headers.contacts() {
            Ok(Some(Contacts::List(list))) => list,
            _ => Vec::new(),
        };
        let binding = list.iter().find(|have| {
            ours.as_ref()
                .is_some_and(|ours| ours.uri.is_equivalent(&have.uri))
        });
        let expires = binding.and_then(NameAddr::expires);
        let expires = expires
            .or_else(|| response.headers.expires().ok().flatten())
            .unwrap_or(self.expires_s);
        expires.clamp(1, LONGEST_S)
    }

    /// Takes over the address by which the registrar sees us. `true` if our Contact must change.
    fn learn(&self, core: &mut Core, response: &Response) -> bool {
        if !core.config.learn_contact || self.account.peer.kind.is_reliable() {
            return false;
        }
        let Ok(via) = response.headers.top_via() else {
            return false;
        };
        let (Some(ip), Some(Some(port))) = (via.received(), via.rport()) else {
            return false;
        };
        let seen = std::net::SocketAddr::from((ip, port));
        let changed = core
            .learnt
            .map_or(via.host.ip() != Some(ip) || via.port != Some(port), |old| {
                old != seen
            });
        if changed {
            core.learnt = Some(seen);
        }
        changed
    }

    /// No response in time, or the transport failed.
    pub(crate) fn on_failure(
        &mut self,
        core: &mut Core,
        now: Instant,
        transaction: u64,
        status: u16,
    ) {
        match self.state {
            State::Trying {
                transaction: current,
            } if current == transaction => {
                self.failed(core, now, Release::from_status(status));
            }
            State::Removing {
                transaction: current,
            } if current == transaction => self.removed(core),
            _ => {}
        }
    }

    fn failed(&mut self, core: &mut Core, now: Instant, release: Release) {
        // What another try would not change: wrong password, unknown or barred account, a request nobody understands.
        let for_good = matches!(
            release.status,
            Some(400..=407 | 410 | 416 | 420 | 423 | 600..=699)
        );
        let retry_in = (!for_good).then(|| self.backoff(core));
        self.state = match retry_in {
            Some(wait) => State::Waiting {
                retry_at: now + wait,
            },
            None => State::Refused,
        };
        core.tell(Event::RegistrationFailed {
            account: self.handle,
            release,
            retry_in,
        });
    }

    /// min * 2^failures up to max, of which a random part from half to the whole.
    fn backoff(&mut self, core: &mut Core) -> Duration {
        let doubled = self
            .account
            .retry_min
            .saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        let longest = doubled
            .min(self.account.retry_max)
            .max(Duration::from_millis(100));
        self.failures = (self.failures + 1).min(31);
        let ms = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(core.random(ms / 2, ms))
    }

    fn removed(&mut self, core: &mut Core) {
        self.state = State::Over;
        core.tell(Event::Unregistered {
            account: self.handle,
        });
    }
}
