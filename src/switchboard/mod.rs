//! Owns agents and live calls; the only door through which a call can begin.
//!
//! [`Switchboard::dial`] reserves the agent, asks the gate (one transaction), and starts the call's task. What is
//! up at any moment is held by one task (`floor.rs`); everybody else sends it messages. Read next: `click.rs` (what is asked
//! and answered), `gate.rs`, then `crate::call::task`, and `supervisor.rs` for how that ends.

mod browser;
mod click;
mod floor;
mod gate;
mod news;
mod states;
mod supervisor;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ringfence_media::Engine;
use ringfence_recordings::Vault;
use tokio::sync::{broadcast, mpsc, oneshot};

pub use self::{
    browser::{BrowserRefused, BrowserSettings},
    click::{DialAnswer, DialError, DialRequest, RefusalText, RequestKey},
    news::{CallbackEvent, CallerIdsEvent, FloorEvent, News, SessionEvent},
    states::{Wish, Working},
};
use self::{
    floor::{Ask, Floor},
    gate::{Gate, Gated, Unsure},
    states::States,
    supervisor::Supervisor,
};
use crate::{
    call::task::{CallTask, Floorwork},
    clock::{Clock, ClockTrust},
    fact_journal::FactJournal,
    ids::{AgentId, CallId, ReceiptId},
    phone::{Region, ShortCodes},
    policy::{Extension, Extensions},
    recorder::Recorder,
    rulebook::in_force::Rulebook,
    settle::{BrokenCall, UnsureCall},
    store::{self, Db, attempts::Purpose},
    trunk::Trunk,
};

/// Events that may wait for a slow reader; then it is told how many it missed.
const EVENTS: usize = 1_024;
/// Questions that may wait for the floor; then the asker waits.
const ASKS: usize = 1_024;

/// What a switchboard stands on.
pub struct Parts {
    /// Database.
    pub db: Db,
    /// Time.
    pub clock: Clock,
    /// The PBX.
    pub trunk: Trunk,
    /// The audio plane.
    pub engine: Engine,
    /// Into the vault.
    pub recorder: Recorder,
    /// What the database cannot be told yet.
    pub facts: FactJournal,
    /// The vault itself, to ask whether it has room.
    pub vault: Vault,
    /// The rules of every client.
    pub rules: Rulebook,
}

/// Times and limits, from the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This daemon among those that share the database.
    pub node: String,
    /// How long the agent's phone may ring.
    pub agent_ring: Duration,
    /// How long the customer's phone may ring, before the window cuts it.
    pub customer_ring: Duration,
    /// How long both sides of a call may stay silent after the alarm before the line is taken for lost.
    pub silence_limit: Duration,
    /// Calls at once.
    pub max_calls: usize,
    /// Wrap-up after a conversation; zero: none. Dialling again ends it.
    pub wrap_up: Duration,
    /// Number shown to customers, as the figures keep it.
    pub caller_id: String,
    /// Country by whose habits numbers are read.
    pub region: Region,
    /// Numbers that are no subscriber numbers and may be dialled all the same.
    pub short_codes: ShortCodes,
    /// What the attempts are for; practice calls are cases of the practice database.
    pub purpose: Purpose,
    /// Where audio legs of the PBX are offered.
    pub media_address: std::net::IpAddr,
    /// Browsers.
    pub browser: BrowserSettings,
    /// Zone of days shown to operators.
    pub display_zone: jiff::tz::TimeZone,
}

/// What stands in the way of a call; empty texts are well.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The PBX.
    pub trunk: String,
    /// The recording store.
    pub vault: String,
    /// The wall clock.
    pub clock: String,
    /// Being stopped.
    pub draining: bool,
}

/// A reserved agent, free again when this is dropped on any way out but the one on which the call begins.
struct Reserved {
    asks: mpsc::Sender<Ask>,
    held: Option<(AgentId, CallId)>,
}

impl Reserved {
    fn used(mut self) {
        self.held = None;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let Some((agent, call)) = self.held.take() else {
            return;
        };
        let release = Ask::Release { agent, call };
        // A full inbox is waited for elsewhere: a drop cannot wait.
        if let Err(mpsc::error::TrySendError::Full(release)) = self.asks.try_send(release) {
            let asks = self.asks.clone();
            tokio::spawn(async move { asks.send(release).await });
        }
    }
}

/// A handle on the floor; clones share it.
#[derive(Clone)]
pub struct Switchboard {
    work: Arc<Floorwork>,
    gate: Arc<Gate>,
    vault: Vault,
    settings: Arc<Settings>,
    asks: mpsc::Sender<Ask>,
    states: States,
    events: broadcast::Sender<News>,
    /// Calls of which nobody knows whether they stand; they never ring, whatever the database says of them.
    unsure: Arc<Mutex<HashSet<CallId>>>,
}

impl Switchboard {
    /// Opens the floor.
    pub fn start(parts: Parts, settings: Settings) -> Self {
        let (events, _) = broadcast::channel(EVENTS);
        let (asks, inbox) = mpsc::channel(ASKS);
        let settings = Arc::new(settings);
        let gate = Arc::new(Gate {
            db: parts.db.clone(),
            clock: parts.clock.clone(),
            rules: parts.rules.clone(),
            node: settings.node.clone(),
            trunk: parts.trunk.name().to_owned(),
            caller_id: settings.caller_id.clone(),
            purpose: settings.purpose,
        });
        let (states, changes) = states::channel();
        tokio::spawn(states::write(
            parts.db.clone(),
            settings.node.clone(),
            settings.display_zone.clone(),
            parts.facts.clone(),
            changes,
        ));
        let work = Arc::new(Floorwork {
            db: parts.db,
            clock: parts.clock.clone(),
            trunk: parts.trunk,
            engine: parts.engine,
            recorder: parts.recorder,
            rules: parts.rules,
            facts: parts.facts,
            events: events.clone(),
            node: settings.node.clone(),
            media_address: settings.media_address,
            agent_ring: settings.agent_ring,
            customer_ring: settings.customer_ring,
            silence_limit: settings.silence_limit,
            #[cfg(test)]
            fault: std::sync::atomic::AtomicBool::new(false),
        });
        tokio::spawn(Floor::new(parts.clock, settings.clone(), states.clone()).run(inbox));
        Self {
            work,
            gate,
            vault: parts.vault,
            settings,
            asks,
            states,
            events,
            unsure: Arc::default(),
        }
    }

    /// Country by whose habits numbers are read.
    pub fn region(&self) -> Region {
        self.settings.region
    }

    /// Short codes that may be dialled.
    pub fn short_codes(&self) -> &ShortCodes {
        &self.settings.short_codes
    }

    /// Today, as operators count days; never for a decision.
    pub fn today(&self) -> jiff::civil::Date {
        let now = jiff::Timestamp::from_millisecond(self.clock().wall_ms())
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        self.settings.display_zone.to_datetime(now).date()
    }

    /// Zone of days shown to operators.
    pub fn display_zone(&self) -> &jiff::tz::TimeZone {
        &self.settings.display_zone
    }

    /// Tells those who listen what happened beside the calls.
    pub fn announce(&self, news: News) {
        // Nobody listening is fine.
        let _ = self.events.send(news);
    }

    /// What happens on the floor from now on.
    pub fn events(&self) -> broadcast::Receiver<News> {
        self.events.subscribe()
    }

    /// A click: decides, and if allowed begins the call. Returns before anything rings.
    ///
    /// Runs to its end even if the asker goes away: a browser that closes its connection in the middle must leave
    /// neither a reserved agent nor an attempt without a call.
    pub async fn dial(&self, request: DialRequest) -> Result<DialAnswer, DialError> {
        let this = self.clone();
        let answer = tokio::spawn(async move { this.dial_inner(request).await })
            .await
            .unwrap_or_else(|error| Err(DialError::BrokeOff(error.to_string())));
        let word = match &answer {
            Ok(DialAnswer::Accepted { .. }) => "accepted",
            Ok(DialAnswer::Refused { .. }) => "refused",
            Err(_) => "failed",
        };
        metrics::counter!("ringfence_dials_total", "answer" => word).increment(1);
        answer
    }

    async fn dial_inner(&self, request: DialRequest) -> Result<DialAnswer, DialError> {
        // A click that was answered before needs neither a free agent nor a vault.
        if let Some(answer) = self.gate.answered_before(&request).await? {
            return self.answered(answer);
        }
        let extension = self.extension_of(request.agent).await?;
        let vault = self.vault.clone();
        tokio::task::spawn_blocking(move || vault.probe())
            .await
            .map_err(|e| DialError::Vault(e.to_string()))?
            .map_err(|e| DialError::Vault(e.to_string()))?;

        self.wait_for_browser(request.agent).await;
        let call = CallId::from_parts(self.clock().wall_ms(), random()?);
        let seat = self
            .ask(|reply| Ask::Reserve {
                agent: request.agent,
                call,
                reply,
            })
            .await??;
        let reserved = Reserved {
            asks: self.asks.clone(),
            held: Some((request.agent, call)),
        };
        let receipt = ReceiptId::from_parts(self.clock().wall_ms(), random()?);
        match self.gate.decide(&request, call, receipt).await? {
            Gated::Before(answer) => self.answered(answer),
            Gated::Refused(answer) => Ok(answer),
            Gated::Unsure(unsure) => {
                let error = unsure.error.clone();
                self.find_out(call, *unsure, request.key);
                Err(error.into())
            }
            Gated::Allowed(allowed) => {
                reserved.used();
                tracing::info!(%call, agent = %request.agent, "a call begins");
                let agent = request.agent;
                let (task, mut handle) =
                    CallTask::new(self.work.clone(), call, agent, extension, seat, *allowed);
                let over = handle.over.take();
                self.tell(Ask::Begin {
                    call,
                    agent,
                    handle,
                })
                .await;
                let supervisor = Supervisor {
                    asks: self.asks.clone(),
                    agent,
                    herald: task.herald(),
                    broken: self.broken(call),
                };
                tokio::spawn(supervisor.see_to_its_end(task, over));
                Ok(DialAnswer::Accepted { call })
            }
        }
    }

    /// What was answered to this click before, if it is known that it holds.
    fn answered(&self, answer: DialAnswer) -> Result<DialAnswer, DialError> {
        match &answer {
            DialAnswer::Accepted { call } if self.unsure().contains(call) => {
                Err(DialError::Store(store::Error::Unavailable {
                    act: "repeat an answer",
                    cause: "the database went away as the call was written down".into(),
                    remedy: "click again when it is back; nothing rings before".into(),
                }))
            }
            _ => Ok(answer),
        }
    }

    /// Finds out, as soon as the database answers, whether an attempt stands that was allowed as it went away; nothing
    /// rings for it, so it is closed.
    fn find_out(&self, call: CallId, unsure: Unsure, key: Option<RequestKey>) {
        tracing::error!(%call, error = %unsure.error, "the database went away as a call was written down; nothing rings for it");
        metrics::counter!("ringfence_dials_unsure_total").increment(1);
        self.unsure().insert(call);
        let found = UnsureCall {
            broken: self.broken(call),
            guards: unsure.guards,
            key: key.map(|key| (key.user, key.key)),
        };
        let this = self.clone();
        tokio::spawn(async move {
            found.settle().await;
            this.unsure().remove(&call);
        });
    }

    fn unsure(&self) -> std::sync::MutexGuard<'_, HashSet<CallId>> {
        self.unsure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broken(&self, call: CallId) -> BrokenCall {
        BrokenCall {
            call,
            db: self.work.db.clone(),
            recorder: self.work.recorder.clone(),
            clock: self.work.clock.clone(),
        }
    }

    /// Ends a call, whatever state it is in; one that is over stays over.
    pub async fn hang_up(&self, call: CallId) {
        self.tell(Ask::HangUp { call }).await;
    }

    /// How far a live call is.
    pub async fn state_of(&self, call: CallId) -> Option<&'static str> {
        self.ask(|reply| Ask::StateOf { call, reply })
            .await
            .ok()
            .flatten()
    }

    /// What stands in the way of a call.
    pub async fn standing(&self) -> Standing {
        let state = self.work.trunk.state();
        let trunk = match (state.is_up(), state.problem.as_str()) {
            (true, _) => String::new(),
            (false, "") => "not registered yet".into(),
            (false, problem) => problem.to_owned(),
        };
        let vault = self.vault.clone();
        let vault = match tokio::task::spawn_blocking(move || vault.probe()).await {
            Ok(Ok(_)) => String::new(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let clock = match self.clock().trust() {
            ClockTrust::Untrusted { why } => why.to_string(),
            ClockTrust::Trusted { .. } => String::new(),
        };
        let draining = self
            .ask(|reply| Ask::IsDraining { reply })
            .await
            .unwrap_or(true);
        Standing {
            trunk,
            vault,
            clock,
            draining,
        }
    }

    /// Whether the floor answers: what a watchdog wants to know.
    pub async fn is_answering(&self) -> bool {
        self.ask(|reply| Ask::IsDraining { reply }).await.is_ok()
    }

    /// Takes no new calls, waits for those that are up, ends what is left after `patience`, and returns when every
    /// recording is sealed.
    pub async fn drain(&self, patience: Duration) {
        let Ok(done) = self.ask(|reply| Ask::Drain { patience, reply }).await else {
            return;
        };
        let _ = done.await;
    }

    fn clock(&self) -> &Clock {
        &self.work.clock
    }

    async fn extension_of(&self, agent: AgentId) -> Result<crate::policy::Permit, DialError> {
        let mut tx = self.work.db.read().await?;
        let agent = store::agents::by_id(&mut tx, agent)
            .await?
            .filter(|a| a.active)
            .ok_or(DialError::AgentUnknown)?;
        let listed = store::agents::list(&mut tx).await?;
        let listed = listed
            .iter()
            .filter(|a| a.active)
            .filter_map(|a| Extension::parse(&a.extension).ok());
        let extensions =
            Extensions::new(listed, &self.settings.short_codes).map_err(|error| {
                tracing::error!(%error, "the agents' extensions cannot be used; correct them with `ringfence users`");
                DialError::AgentUnknown
            })?;
        let own = Extension::parse(&agent.extension).map_err(|_| DialError::AgentUnknown)?;
        extensions.permit(&own).ok_or(DialError::AgentUnknown)
    }

    async fn tell(&self, ask: Ask) {
        let _ = self.asks.send(ask).await;
    }

    /// The floor lives as long as any handle; it is gone only when the runtime ends.
    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Ask,
    ) -> Result<T, DialError> {
        let (reply, answer) = oneshot::channel();
        self.tell(question(reply)).await;
        answer.await.map_err(|_| DialError::Draining)
    }
}

fn random() -> Result<[u8; 10], DialError> {
    crate::random::bits().map_err(|_| DialError::Randomness)
}

#[cfg(test)]
mod tests;
