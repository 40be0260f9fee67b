//! The running daemon: puts the parts together in an order in which nothing can ring before everything that records,
//! decides and releases is in place, and takes them apart again.
//!
//! The one place that sees all modules. Read [`Daemon::start`] from top to bottom.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use ringfence_media::{Engine, EngineConfig};
use ringfence_recordings::{NamedKey, Retention, RootKey, Vault, VaultConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, App},
    cases::fields::{FieldKey, KEY_NAME},
    clock::Clock,
    config::{ClockSource, Config, SecretSource},
    fact_journal::{self, FactJournal, Replayed},
    library::Library,
    phone::{Region, ShortCodes},
    policy::Preset,
    recorder::Recorder,
    rounds::Rounds,
    rulebook::in_force::Rulebook,
    settle,
    stats::scheduled::Writer,
    store::{self, Db, attempts::Purpose},
    switchboard::{BrowserSettings, Parts, Settings, Switchboard},
    trunk::{Trunk, TrunkSettings},
};

/// The file that marks a directory as the practice floor's.
pub const PRACTICE_MARK: &str = "PRACTICE";
/// In that file, before the milliseconds by which the practice clock is ahead of the machine's.
pub const AHEAD: &str = "ahead_ms=";
/// Short codes that may be dialled although they are no subscriber numbers: the carriers' and the banks' own lines.
pub const SHORT_CODES: [&str; 8] = [
    "10000", "10010", "10086", "95533", "95588", "95599", "95566", "95555",
];

/// A daemon at work.
pub struct Daemon {
    /// The floor.
    pub switchboard: Switchboard,
    /// The database.
    pub db: Db,
    /// The recordings.
    pub library: Library,
    /// The rules in force.
    pub rules: Rulebook,
    /// Where the API listens.
    pub address: std::net::SocketAddr,
    clock: Clock,
    trunk: Trunk,
    api: tokio::task::JoinHandle<std::io::Result<()>>,
    rounds: tokio::task::JoinHandle<()>,
    reports: tokio::task::JoinHandle<()>,
    stop: CancellationToken,
}

impl Daemon {
    /// Starts everything. Fails before any harm, naming what is wrong and what to do.
    pub async fn start(
        config: &Config,
        clock: Clock,
        trunk: TrunkSettings,
    ) -> anyhow::Result<Self> {
        // A port in use is found before anything is touched.
        let listener = listen(config).await?;
        let address = listener.local_addr()?;
        let (region, preset) = rules(config)?;
        let rulebook = open_rulebook(config)?;
        let short_codes = ShortCodes::new(SHORT_CODES).context("the built-in short codes")?;
        let api_short_codes = short_codes.clone();

        // Before anything counts: what is counted without it is lost.
        let metrics = Arc::new(api::install_metrics()?);
        let vault = open_vault(config)?;
        let db = open_store(config).await?;
        let recorder =
            Recorder::start(vault.clone()).context("cannot start the recorder's threads")?;
        let facts = open_fact_journal(config)?;
        let told = facts.replay(&db).await.context(
            "store.journal_dir: what the database could not be told before it went away",
        )?;
        if told != Replayed::default() {
            tracing::warn!(
                told = told.told,
                known = told.known,
                left = told.left,
                "the database was told how calls ended while it was away"
            );
        }
        // Before attempts are settled, which end now: an agent was there no longer than the daemon.
        let zone = jiff::tz::TimeZone::get(&config.policy.display_zone)?;
        let told = facts
            .replay_states(&db, &config.store.node, &zone)
            .await
            .context("store.journal_dir: what agents did while the database was away")?;
        if told > 0 {
            tracing::warn!(
                changes = told,
                "the database was told what agents did while it was away"
            );
        }
        end_what_agents_did(&db, &clock, &config.store.node, &zone).await?;
        settle::everything(&db, &recorder, &clock, &config.store.node).await?;
        let fields = {
            let mut tx = db.read().await?;
            let boxes = store::cases::any_box(&mut tx).await?;
            tx.rollback().await?;
            field_key(config, !boxes)?
        };
        let broken_off = crate::cases::import::recover(&db, &clock).await?;
        if broken_off > 0 {
            tracing::warn!(
                imports = broken_off,
                "imports had broken off; what was decided is carried out, the rest is swept away"
            );
        }
        let broken_off = crate::rulebook::lists::recover(&db, &clock).await?;
        if broken_off > 0 {
            tracing::warn!(
                lists = broken_off,
                "lists of bars or outside counts had broken off; what was decided is carried out, the rest is swept away"
            );
        }
        let broken_off = crate::cases::allocate::recover(&db, &clock).await?;
        if broken_off > 0 {
            tracing::warn!(
                allocations = broken_off,
                "allocations had broken off; what was decided is carried out, the rest is swept away"
            );
        }
        let in_force = rulebook.note(&db, "system", clock.wall_ms()).await?;
        if !in_force.changed.is_empty() {
            tracing::info!(changed = ?in_force.changed, preset = preset.name(), "calling rules come into force");
        }
        // Read before a call can begin: a leg of now must never be taken for one of before.
        let leftovers = settle::leftovers::journalled(&db, &config.store.node).await?;

        let caller_id = trunk.caller_id.clone().unwrap_or_default();
        let trunk = Trunk::start(trunk, clock.clone(), crate::random::bits()?).await?;
        let media_bind = config.media.bind.unwrap_or_else(|| trunk.local().ip());
        let engine = open_audio(config, media_bind)?;

        let switchboard = Switchboard::start(
            Parts {
                db: db.clone(),
                clock: clock.clone(),
                trunk: trunk.clone(),
                engine,
                recorder,
                facts,
                vault: vault.clone(),
                rules: rulebook.clone(),
            },
            Settings {
                node: config.store.node.clone(),
                agent_ring: Duration::from_secs(config.calls.agent_ring_s),
                customer_ring: Duration::from_secs(config.calls.customer_ring_s),
                silence_limit: Duration::from_secs(config.calls.silence_limit_s),
                max_calls: config.calls.max,
                wrap_up: Duration::from_secs(config.calls.wrap_up_s),
                caller_id,
                region,
                short_codes,
                purpose: Purpose::Case,
                media_address: config.media.advertise.unwrap_or(media_bind),
                browser: BrowserSettings {
                    ips: vec![config.media.browser.unwrap_or(media_bind)],
                    advertise: config.media.browser_advertise,
                },
                display_zone: zone.clone(),
            },
        );
        settle::leftovers::release(
            db.clone(),
            trunk.clone(),
            clock.clone(),
            config.store.node.clone(),
            leftovers,
        );

        let library = Library::new(vault, db.clone(), clock.clone());
        if !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "the API is served without TLS beyond this machine: tokens and recordings can be read on the way, and \
                 browsers give no microphone; put a TLS proxy in front and listen on loopback"
            );
        }
        let stop = CancellationToken::new();
        tokio::spawn(crate::stats::keeper::keep(
            db.clone(),
            clock.clone(),
            config.store.node.clone(),
            zone.clone(),
            Duration::from_secs(config.figures.seal_after_h * 3600),
            stop.clone(),
        ));
        let reports = Writer {
            db: db.clone(),
            clock: clock.clone(),
            zone,
            root: config.reports.dir.clone(),
            node: config.store.node.clone(),
        };
        let reports = tokio::spawn(reports.keep(stop.clone()));
        let app = App {
            db: db.clone(),
            switchboard: switchboard.clone(),
            library: library.clone(),
            rules: rulebook.clone(),
            clock: clock.clone(),
            fields: fields.into(),
            region,
            short_codes: api_short_codes.into(),
            metrics,
            work: Arc::new(config.floor.clone()),
        };
        let rounds = Rounds {
            db: db.clone(),
            clock: clock.clone(),
            switchboard: switchboard.clone(),
            rules: rulebook.clone(),
            callback_wait: Duration::from_secs(config.floor.callback_wait_s),
        };
        let rounds = tokio::spawn(rounds.run(stop.clone()));
        let api = tokio::spawn(api::serve(listener, app, stop.clone()));
        tracing::info!(%address, "the API listens; open /agent for the agent's page, /api/v1/openapi.json for the rest");
        Ok(Self {
            switchboard,
            db,
            library,
            rules: rulebook,
            address,
            clock,
            trunk,
            api,
            rounds,
            reports,
            stop,
        })
    }

    /// How the PBX is.
    pub fn trunk(&self) -> &Trunk {
        &self.trunk
    }

    /// Reads the rule files again; bad ones leave the rules as they were, which is logged with file and line.
    pub async fn reload_rules(&self) {
        let reloaded = self
            .rules
            .reload(&self.db, "system", self.clock.wall_ms())
            .await;
        match reloaded {
            Ok(done) if done.changed.is_empty() => {
                tracing::info!("the calling rules are as they were")
            }
            Ok(done) => tracing::info!(changed = ?done.changed, "new calling rules are in force"),
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "the calling rules cannot be loaded; going on with those of before"
            ),
        }
    }

    /// Takes no new calls, waits up to `patience` for those that are up, ends the rest, and closes everything.
    pub async fn stop(self, patience: Duration) {
        self.switchboard.drain(patience).await;
        self.trunk.stop().await;
        self.stop.cancel();
        if let Err(error) = self.api.await {
            tracing::warn!(%error, "the API did not end well");
        }
        if let Err(error) = self.rounds.await {
            tracing::warn!(%error, "the rounds did not end well");
        }
        if let Err(error) = self.reports.await {
            tracing::warn!(%error, "the scheduled reports did not end well");
        }
        self.switchboard.close_day().await;
        if let Err(error) = self.rules.leave(&self.db).await {
            tracing::warn!(%error, "the other daemons were not told that this one ends; they heed its rules for a minute");
        }
        self.db.close().await;
        tracing::info!("stopped; every call is ended and every recording sealed");
    }
}

/// Ends the stretches of time that a crash left open.
async fn end_what_agents_did(
    db: &Db,
    clock: &Clock,
    node: &str,
    zone: &jiff::tz::TimeZone,
) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    let ended = store::agent_states::close_leftovers(&mut tx, node, clock.wall_ms(), zone).await?;
    tx.commit().await?;
    if ended > 0 {
        tracing::warn!(
            agents = ended,
            "a crash left agents signed in; they are signed out at the last sign of life"
        );
    }
    Ok(())
}

/// The clock of a command: the machine's, or on a practice floor the one of the daemon that ran there last.
pub fn clock(config: &Config) -> anyhow::Result<Clock> {
    if config.clock.source == ClockSource::System {
        return Ok(Clock::system(config.clock.trust));
    }
    let mark = config.vault.dir.join(PRACTICE_MARK);
    let text = std::fs::read_to_string(&mark)
        .with_context(|| format!("cannot read {}: run `ringfence demo` first", mark.display()))?;
    let ahead_ms = text
        .lines()
        .find_map(|line| line.strip_prefix(AHEAD)?.parse().ok());
    Ok(match ahead_ms {
        Some(ahead_ms) => Clock::practice_ahead(ahead_ms),
        None => Clock::practice(&config.policy.display_zone)?,
    })
}

/// By whose numbering plan numbers are read, and by which rules they are called.
pub fn rules(config: &Config) -> anyhow::Result<(Region, Preset)> {
    let region =
        Region::parse(&config.policy.region).map_err(|e| anyhow::anyhow!("policy.region: {e}"))?;
    let preset = Preset::parse(&config.policy.preset).with_context(|| {
        let known: Vec<_> = Preset::ALL.iter().map(|p| p.name()).collect();
        format!(
            "policy.preset: {:?} is not known; one of: {}",
            config.policy.preset,
            known.join(", ")
        )
    })?;
    Ok((region, preset))
}

/// Reads the calling rules: the preset, and the files that make it stricter.
pub fn open_rulebook(config: &Config) -> anyhow::Result<Rulebook> {
    let (_, preset) = rules(config)?;
    let dir = &config.policy.dir;
    let dir = (!dir.as_os_str().is_empty()).then(|| dir.clone());
    Rulebook::open(preset, dir, &config.store.node)
        .context("policy.dir: the calling rules cannot be loaded")
}

/// Opens the socket of the API.
pub async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let at = config.server.listen;
    TcpListener::bind(at).await.with_context(|| {
        format!(
            "server.listen: cannot listen at {at}; end the other program or choose another address"
        )
    })
}

/// Opens the vault for writing, with the root key checked.
pub fn open_vault(config: &Config) -> anyhow::Result<Vault> {
    refuse_practice(config)?;
    Ok(Vault::open(vault_config(config)?, root_key(config)?)?)
}

/// Opens the vault beside a running daemon.
pub fn open_vault_read_only(config: &Config) -> anyhow::Result<Vault> {
    Ok(Vault::open_read_only(
        vault_config(config)?,
        root_key(config)?,
    )?)
}

/// Opens the key of identity and card numbers. `make` it only if the database holds none that it would have to open.
pub fn field_key(config: &Config, make: bool) -> anyhow::Result<FieldKey> {
    refuse_practice(config)?;
    let root = root_key(config)?;
    let key = NamedKey::open(&config.vault.keys_dir, KEY_NAME, &root, make)?;
    Ok(FieldKey::new(key))
}

/// Opens the journal of what the database could not be told. Its key is made with the first file it has to hold.
fn open_fact_journal(config: &Config) -> anyhow::Result<FactJournal> {
    let (keys, root) = (&config.vault.keys_dir, root_key(config)?);
    let key = NamedKey::open(keys, fact_journal::KEY_NAME, &root, true)?;
    FactJournal::open(&config.store.journal_dir, key).context("store.journal_dir")
}

/// Starts the audio plane on `bind`, and proves that a leg could be opened.
pub fn open_audio(config: &Config, bind: IpAddr) -> anyhow::Result<Engine> {
    let engine = Engine::start(EngineConfig {
        threads: config.media.threads,
        bind,
        ports: config.media.ports.clone(),
        quarantine: Duration::from_secs(config.media.quarantine_s),
        silence_after: Duration::from_secs(config.calls.silence_alarm_s),
    })
    .context("media: cannot start the audio plane")?;
    engine.probe().with_context(|| {
        format!(
            "media.ports: none of {}-{} can be used at {bind}; end the program that holds them, or choose another \
             range or media.bind",
            config.media.ports.start(),
            config.media.ports.end()
        )
    })?;
    Ok(engine)
}

/// Opens the database.
pub async fn open_store(config: &Config) -> anyhow::Result<Db> {
    let location = store::Location::parse(&config.store.url);
    Ok(Db::open(&store::Options::new(location)).await?)
}

/// What the trunk needs, with its name resolved and its password read.
pub async fn trunk_settings(config: &Config) -> anyhow::Result<TrunkSettings> {
    let trunk = &config.trunk;
    if trunk.server.is_empty() {
        bail!("trunk.server: not set; write the PBX's host:port, or try `ringfence demo` first");
    }
    if trunk.server == crate::config::PRACTICE {
        bail!(
            "trunk.server: the practice PBX belongs to `ringfence demo`; write the PBX's host:port"
        );
    }
    let resolve = |key: &'static str, name: String| async move {
        let found = tokio::net::lookup_host(&name).await;
        let found =
            found.with_context(|| format!("{key}: cannot resolve {name:?}; write host:port"))?;
        found
            .into_iter()
            .next()
            .with_context(|| format!("{key}: {name:?} has no address"))
    };
    let server = resolve("trunk.server", trunk.server.clone()).await?;
    let advertise = match trunk.advertise.as_str() {
        "" => None,
        name if name.parse::<IpAddr>().is_ok() => name
            .parse()
            .ok()
            .map(|ip: IpAddr| (ip, trunk.bind.port()).into()),
        name => Some(resolve("trunk.advertise", name.to_owned()).await?),
    };
    let host = trunk
        .server
        .rsplit_once(':')
        .map_or(trunk.server.as_str(), |(host, _)| host);
    Ok(TrunkSettings {
        name: trunk.name.clone(),
        server,
        transport: trunk.transport,
        bind: trunk.bind,
        advertise,
        domain: if trunk.domain.is_empty() {
            host.to_owned()
        } else {
            trunk.domain.clone()
        },
        user: trunk.user.clone(),
        password: trunk.password.read("trunk.password")?,
        register_expires: Duration::from_secs(trunk.register_expires_s.into()),
        qualify: Duration::from_secs(trunk.qualify_s.into()),
        session_expires: Duration::from_secs(trunk.session_expires_s.into()),
        dial: trunk.dial.clone(),
        caller_id: (!trunk.caller_id.is_empty()).then(|| trunk.caller_id.clone()),
    })
}

fn root_key(config: &Config) -> anyhow::Result<RootKey> {
    let path = config.vault.root_key.path();
    Ok(match &config.vault.root_key {
        SecretSource::File(_) => RootKey::load(&path)?,
        SecretSource::Credential(_) => RootKey::load_credential(&path)?,
    })
}

fn vault_config(config: &Config) -> anyhow::Result<VaultConfig> {
    let mut vault = VaultConfig::new(&config.vault.dir, &config.vault.keys_dir);
    vault.retention = Retention::years(u16::try_from(config.vault.retention_years)?)?;
    vault.free_floor = config.vault.reserve_mib << 20;
    Ok(vault)
}

/// A directory of the practice floor never meets a real trunk: its calls were made by a clock that is not the world's.
fn refuse_practice(config: &Config) -> anyhow::Result<()> {
    if config.trunk.server == crate::config::PRACTICE {
        return Ok(());
    }
    let database = config.store.url.strip_prefix("sqlite:").map(Path::new);
    let places = [
        Some(config.vault.dir.as_path()),
        database.and_then(Path::parent),
    ];
    for place in places.into_iter().flatten() {
        if place.join(PRACTICE_MARK).exists() {
            bail!(
                "{} belongs to `ringfence demo`: its calls were made on a practice clock; choose another directory for \
                 vault.dir and store.url",
                place.display()
            );
        }
    }
    Ok(())
}
