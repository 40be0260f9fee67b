//! The agent's browser as a phone: one WebRTC connection per agent session that serves many calls.

use std::{
    net::IpAddr,
    os::unix::net::UnixDatagram,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ringfence_media::{
    Codec, Leg, Remote,
    webrtc_leg::{BrowserConfig, BrowserError, BrowserEvent, BrowserLeg},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Ask, News, SessionEvent, Switchboard};
use crate::{ids::AgentId, store};

/// So long a click waits for a browser whose handshake is under way.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where browsers reach this machine.
#[derive(Debug, Clone)]
pub struct BrowserSettings {
    /// Local addresses.
    pub ips: Vec<IpAddr>,
    /// Address to tell instead, behind a one-to-one NAT.
    pub advertise: Option<IpAddr>,
}

/// Why a browser was not connected.
#[derive(Debug, thiserror::Error)]
pub enum BrowserRefused {
    /// Its offer cannot be served.
    #[error("{0}")]
    Offer(String),
    /// A call goes through the present connection.
    #[error("a call is up on the present connection")]
    InCall,
    /// The daemon is being stopped.
    #[error("the daemon is being stopped")]
    Draining,
    /// No such agent.
    #[error("there is no such agent")]
    AgentUnknown,
    /// Our side failed.
    #[error("{0}")]
    Ours(String),
}

/// A browser that was answered. Dropping it closes the connection.
///
/// Answered is not connected: until its handshake is done, and while nothing is heard from it, no call goes through it,
/// because the person called would hear nobody.
pub(super) struct BrowserSeat {
    number: u64,
    leg: Arc<Leg>,
    connected: watch::Receiver<bool>,
    _connection: BrowserLeg,
}

impl BrowserSeat {
    /// Tells one connection of an agent from the next.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The connection's name for its page.
    pub fn name(&self) -> String {
        self.number.to_string()
    }

    /// Whether audio flows, from now on.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// The audio leg, shared by its calls.
    pub fn leg(&self) -> Arc<Leg> {
        self.leg.clone()
    }
}

static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Switchboard {
    /// Answers a browser's offer; its agent's calls go through it from now on. Runs to its end even if the asker goes
    /// away, so that no connection stays that nobody watches.
    pub async fn connect_browser(
        &self,
        agent: AgentId,
        offer: String,
    ) -> Result<(String, String), BrowserRefused> {
        let this = self.clone();
        tokio::spawn(async move { this.answer_browser(agent, offer).await })
            .await
            .unwrap_or_else(|error| Err(BrowserRefused::Ours(error.to_string())))
    }

    async fn answer_browser(
        &self,
        agent: AgentId,
        offer: String,
    ) -> Result<(String, String), BrowserRefused> {
        let ours = |e: &dyn std::fmt::Display| BrowserRefused::Ours(e.to_string());
        let mut tx = self.work.db.read().await.map_err(|e| ours(&e))?;
        let known = store::agents::by_id(&mut tx, agent)
            .await
            .map_err(|e| ours(&e))?;
        known
            .filter(|agent| agent.active)
            .ok_or(BrowserRefused::AgentUnknown)?;

        let (near, far) = UnixDatagram::pair().map_err(|e| ours(&e))?;
        let (audio_events, _) = mpsc::channel(1);
        let leg = self
            .work
            .engine
            .open_pair_leg(near, None, audio_events)
            .map_err(|e| ours(&e))?;
        let (events, mut told) = mpsc::channel(8);
        let config = BrowserConfig {
            ips: self.settings.browser.ips.clone(),
            advertise: self.settings.browser.advertise,
            ports: 0..=0,
            prefer: Codec::Pcma,
        };
        let answered = BrowserLeg::answer(&offer, &config, far, events).await;
        let (connection, answer) = answered.map_err(|error| match error {
            BrowserError::Offer(_) | BrowserError::NoCodec => {
                BrowserRefused::Offer(error.to_string())
            }
            _ => BrowserRefused::Ours(error.to_string()),
        })?;
        leg.set_remote(Remote::pair(
            answer.codec,
            answer.payload_type,
            answer.telephone_event,
        ))
        .map_err(|e| ours(&e))?;

        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let (is_connected, connected) = watch::channel(false);
        let seat = BrowserSeat {
            number,
            leg: Arc::new(leg),
            connected,
            _connection: connection,
        };
        let (reply, answer_of_floor) = oneshot::channel();
        let _ = self.asks.send(Ask::Browser { agent, seat, reply }).await;
        if let Some(replaced) = answer_of_floor
            .await
            .map_err(|_| BrowserRefused::Draining)??
        {
            let news = SessionEvent {
                session: replaced,
                state: "replaced",
                agent,
            };
            let _ = self.events.send(News::Session(news));
        }
        let (asks, news) = (self.asks.clone(), self.events.clone());
        tokio::spawn(async move {
            while let Some(event) = told.recv().await {
                is_connected.send_replace(event == BrowserEvent::Connected);
                if event == BrowserEvent::Failed {
                    tracing::info!(%agent, "the agent's browser is gone");
                    let _ = asks.send(Ask::BrowserGone { agent, number }).await;
                    let closed = SessionEvent {
                        session: number.to_string(),
                        state: "closed",
                        agent,
                    };
                    let _ = news.send(News::Session(closed));
                    return;
                }
            }
        });
        Ok((number.to_string(), answer.sdp))
    }

    /// Waits a moment for an agent's browser that is answered and not connected yet: its page may show the line as open
    /// a little before our side of the handshake is done. Whether it came is for the reservation to see.
    pub(super) async fn wait_for_browser(&self, agent: AgentId) {
        let connected = self.ask(|reply| Ask::Connected { agent, reply }).await;
        if let Ok(Some(mut connected)) = connected {
            let _ =
                tokio::time::timeout(PATIENCE, connected.wait_for(|connected| *connected)).await;
        }
    }

    /// Closes one connection of the agent; a call that goes through it ends. One that is gone already stays gone.
    pub async fn disconnect_browser(&self, agent: AgentId, session: &str) {
        if let Ok(number) = session.parse() {
            let _ = self.asks.send(Ask::BrowserGone { agent, number }).await;
        }
    }
}
