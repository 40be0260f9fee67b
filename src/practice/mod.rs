//! The built-in practice PBX: a registrar with digest on loopback, desk phones that pick up, debtors that answer and
//! speak, ring out, are busy, reject, or do not exist.
//!
//! The daemon registers and dials here exactly as at a real PBX; nothing in it knows that it is practising. There is
//! no line to the outside: a number that is not in [`plan`] does not exist. Signalling is the same crate the daemon
//! uses, in the other role.

pub mod phone;
pub mod plan;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use ringfence_sip::{
    Endpoint, Event, Incoming, LegHandle, RegisterRequest,
    digest::{Algorithm, Server, Verdict},
    method::StatusCode,
};
use secrecy::SecretString;
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use self::{phone::Voice, plan::Behaviour};
use crate::{clock::Clock, sip_socket::SipSocket};

/// The account the daemon registers with; the password is made anew at every start.
pub const USER: &str = "ringfence";
/// The digest realm.
pub const REALM: &str = "practice";
/// How long a nonce of the registrar is good.
const NONCE_LIFETIME: Duration = Duration::from_secs(300);
/// Wake-ups that may wait; each leg has at most two.
const WAKES: usize = 4_096;

/// A running practice PBX.
pub struct PracticePbx {
    /// Where it listens.
    pub address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for PracticePbx {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Something a phone does after a while.
#[derive(Clone, Copy)]
enum Wake {
    PickUp(LegHandle),
    HangUp(LegHandle),
    Reject(LegHandle),
}

struct Pbx {
    socket: SipSocket,
    clock: Clock,
    registrar: Server,
    password: SecretString,
    legs: HashMap<LegHandle, Party>,
    wake: mpsc::Sender<Wake>,
}

/// A called phone, ringing or talking.
struct Party {
    tone_hz: u32,
    hangs_up_after: Option<Duration>,
    voice: Option<Voice>,
    offer: Option<ringfence_sip::sdp::Session>,
}

impl PracticePbx {
    /// Starts on a free port of loopback. `seed` is fresh randomness.
    pub async fn start(
        clock: Clock,
        seed: [u8; 32],
        password: SecretString,
    ) -> std::io::Result<Self> {
        let config = ringfence_sip::Config {
            user_agent: "Ringfence practice PBX".into(),
            registrar: true,
            ..ringfence_sip::Config::default()
        };
        let mut socket = SipSocket::new(Endpoint::new(config, seed), clock.clone());
        let address = socket
            .bind_udp(SocketAddr::new(loopback(), 0), None)
            .await?;
        let stop = CancellationToken::new();
        let (wake, wakes) = mpsc::channel(WAKES);
        let algorithms = [Algorithm::Sha256, Algorithm::Md5];
        let registrar = Server::new(REALM, seed, clock.monotonic(), NONCE_LIFETIME, &algorithms);
        let pbx = Pbx {
            socket,
            clock,
            registrar,
            password,
            legs: HashMap::new(),
            wake,
        };
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = pbx.run(wakes) => {}
                () = stopped.cancelled() => {}
            }
        });
        Ok(Self { address, stop })
    }
}

impl Pbx {
    async fn run(mut self, mut wakes: mpsc::Receiver<Wake>) {
        loop {
            tokio::select! {
                event = self.socket.next_event() => self.on_event(event).await,
                Some(wake) = wakes.recv() => self.on_wake(wake).await,
            }
        }
    }

    async fn on_event(&mut self, event: Event) {
        match event {
            Event::RegisterRequest(register) => self.register(&register),
            Event::Incoming(incoming) => self.invited(*incoming),
            Event::Reoffer { leg, offer } => {
                let session = self.legs.get(&leg).and_then(|party| {
                    party
                        .voice
                        .as_ref()
                        .and_then(|voice| voice.session(offer.as_deref()))
                });
                let now = self.clock.monotonic();
                let _ = match session {
                    Some(session) => self.socket.endpoint().answer_reoffer(now, leg, &session),
                    None => self.socket.endpoint().refuse_reoffer(
                        now,
                        leg,
                        StatusCode::NOT_ACCEPTABLE_HERE,
                    ),
                };
            }
            Event::Released { leg, .. } => {
                self.legs.remove(&leg);
            }
            Event::Refer { leg, .. } => {
                let _ = self.socket.endpoint().refuse_refer(
                    self.clock.monotonic(),
                    leg,
                    StatusCode::DECLINE,
                );
            }
            _ => {}
        }
    }

    fn register(&mut self, register: &RegisterRequest) {
        let now = self.clock.monotonic();
        let password = self.password.clone();
        let verdict = self
            .registrar
            .verify(now, &register.message, false, |user| {
                (user == USER).then_some(password.clone())
            });
        let _ = match verdict {
            Verdict::Accepted { .. } => {
                self.socket
                    .endpoint()
                    .accept_register(now, register.request, &register.contacts)
            }
            Verdict::Refused => self.socket.endpoint().refuse_register(
                now,
                register.request,
                StatusCode::FORBIDDEN,
                &[],
            ),
            Verdict::Missing | Verdict::Stale => {
                let challenges = self.registrar.challenges(now, verdict == Verdict::Stale);
                self.socket
                    .endpoint()
                    .challenge_register(now, register.request, &challenges)
            }
        };
    }

    fn invited(&mut self, incoming: Incoming) {
        let now = self.clock.monotonic();
        let leg = incoming.leg;
        let dialled = dialled(&incoming);
        let behaviour = match plan::desk_phone(&dialled) {
            Some(phone) => Behaviour::Answers {
                after: phone.picks_up_after,
                tone_hz: phone.tone_hz,
                hangs_up_after: None,
            },
            None => plan::behaviour(&dialled),
        };
        let endpoint = self.socket.endpoint();
        let mut party = Party {
            tone_hz: 0,
            hangs_up_after: None,
            voice: None,
            offer: incoming.offer,
        };
        match behaviour {
            Behaviour::Busy => {
                let _ = endpoint.reject(now, leg, StatusCode::BUSY_HERE, Some(17));
                return;
            }
            Behaviour::DoesNotExist => {
                let _ = endpoint.reject(now, leg, StatusCode::NOT_FOUND, Some(1));
                return;
            }
            Behaviour::RingsOut => {}
            Behaviour::Rejects { after } => self.later(after, Wake::Reject(leg)),
            Behaviour::Answers {
                after,
                tone_hz,
                hangs_up_after,
            } => {
                party.tone_hz = tone_hz;
                party.hangs_up_after = hangs_up_after;
                self.later(after, Wake::PickUp(leg));
            }
        }
        let _ = self
            .socket
            .endpoint()
            .ring(now, leg, StatusCode::RINGING, None);
        self.legs.insert(leg, party);
    }

    async fn on_wake(&mut self, wake: Wake) {
        let now = self.clock.monotonic();
        match wake {
            Wake::PickUp(leg) => {
                let Some(party) = self.legs.get_mut(&leg) else {
                    return;
                };
                let picked_up = Voice::start(party.tone_hz, party.offer.as_ref()).await;
                let (voice, session) = match picked_up {
                    Ok(picked_up) => picked_up,
                    Err(error) => {
                        tracing::warn!(%error, "a practice phone cannot pick up");
                        let _ = self.socket.endpoint().reject(
                            now,
                            leg,
                            StatusCode::NOT_ACCEPTABLE_HERE,
                            None,
                        );
                        return;
                    }
                };
                party.voice = Some(voice);
                let hangs_up_after = party.hangs_up_after;
                let _ = self.socket.endpoint().answer(now, leg, &session);
                if let Some(after) = hangs_up_after {
                    self.later(after, Wake::HangUp(leg));
                }
            }
            Wake::HangUp(leg) => {
                let _ = self
                    .socket
                    .endpoint()
                    .hang_up(now, leg, ringfence_sip::Hangup::normal());
            }
            Wake::Reject(leg) => {
                let _ = self
                    .socket
                    .endpoint()
                    .reject(now, leg, StatusCode::DECLINE, Some(21));
            }
        }
    }

    fn later(&self, after: Duration, wake: Wake) {
        let sender = self.wake.clone();
        tokio::spawn(async move {
            sleep(after).await;
            let _ = sender.send(wake).await;
        });
    }
}

fn dialled(incoming: &Incoming) -> String {
    incoming.request_uri.user().unwrap_or_default().into_owned()
}

fn loopback() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}
