//! What commands about rules work with: the database, the time, the rules, and how operators read both.

use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::{
    cases::fields::FieldKey,
    clock::Clock,
    config::Config,
    daemon,
    ids::ClientId,
    phone::ShortCodes,
    policy::RuleSet,
    rulebook::{
        files::{Configured, Set},
        find::{self, Numbering},
        in_force::Rulebook,
        stored::Stored,
    },
    store::{self, Db, Tx, clients},
};

/// The rules that decide for a client, and what whoever asks for them should know beside.
pub struct Deciding {
    /// The rules.
    pub set: Set,
    /// Where they are from, in words.
    pub from: String,
    /// What is not as one would think.
    pub warnings: Vec<String>,
}

/// The desk of a command.
pub struct Desk<'a> {
    /// The database.
    pub db: &'a Db,
    /// The system's clock, by which pieces of work are measured.
    pub clock: Clock,
    /// Now, milliseconds UTC.
    pub now_ms: i64,
    /// Zone of times shown to operators and written by them.
    pub zone: TimeZone,
    /// How numbers are read.
    pub numbering: Numbering<'a>,
    config: &'a Config,
}

impl<'a> Desk<'a> {
    /// Puts it together from the configuration.
    ///
    /// # Errors
    /// A configuration that names no region or no preset that is known.
    pub fn new(config: &'a Config, db: &'a Db, short: &'a ShortCodes) -> anyhow::Result<Self> {
        let (region, _) = daemon::rules(config)?;
        let clock = daemon::clock(config)?;
        Ok(Self {
            db,
            now_ms: clock.wall_ms(),
            clock,
            zone: TimeZone::get(&config.policy.display_zone)?,
            numbering: Numbering { region, short },
            config,
        })
    }

    /// The rules as the files say them now. What decides: [`Desk::deciding`].
    ///
    /// # Errors
    /// A bad file, with its line.
    pub fn rulebook(&self) -> anyhow::Result<Rulebook> {
        daemon::open_rulebook(self.config)
    }

    /// What the configuration says of rules.
    ///
    /// # Errors
    /// A preset that is not known.
    pub fn configured(&self) -> anyhow::Result<Configured> {
        let (_, preset) = daemon::rules(self.config)?;
        let dir = self.config.policy.dir.clone();
        Ok(Configured { preset, dir })
    }

    /// The rules that decide for a client (without one, for every client without rules of its own): those that the daemon of
    /// this configuration noted last, or, if so asked or if it never did, those that the files say now.
    ///
    /// # Errors
    /// No such client, a bad file where the files are asked for, or the database.
    pub async fn deciding(&self, client: Option<&str>, files: bool) -> anyhow::Result<Deciding> {
        let code = client.unwrap_or("");
        let node = &self.config.store.node;
        let mut tx = self.db.read().await?;
        let stored = Stored::of_node(&mut tx, node).await?;
        let (Some(stored), false) = (stored, files) else {
            let set = self.rulebook()?.now().of(code).clone();
            return Ok(Deciding {
                set,
                from: "as the files say now".into(),
                warnings: if files {
                    Vec::new()
                } else {
                    vec![format!(
                        "no daemon named {node} has run on this database yet, so nothing is decided by these"
                    )]
                },
            });
        };
        let entry = stored.entry(code)?;
        if entry.client != code {
            find::client(&mut tx, code, None).await?;
        }
        let mut warnings = Vec::new();
        if entry.files_sha256 != entry.sha256 {
            warnings.push(format!(
                "they are stricter than the files of {node}, because those of another daemon on this database differ; \
                 `ringfence check` says whose"
            ));
        }
        match self.rulebook() {
            Ok(now) if now.now().of(code).sha256 != entry.files_sha256 => warnings.push(
                "the files say something else now; --files shows it, `systemctl reload ringfence` brings it into force"
                    .into(),
            ),
            Ok(_) => {}
            Err(error) => warnings.push(format!("the files cannot be loaded: {}", super::whole(&error))),
        }
        Ok(Deciding {
            set: stored.set(&mut tx, code).await?,
            from: format!("in force at node {node}"),
            warnings,
        })
    }

    /// The clients whose rules ask for a second person to approve an agreement.
    ///
    /// # Errors
    /// The database, or a bad file where no daemon has noted its rules yet.
    pub async fn two_persons(&self, tx: &mut Tx) -> anyhow::Result<Vec<ClientId>> {
        let stored = Stored::of_node(tx, &self.config.store.node).await?;
        let mut found = Vec::new();
        for client in clients::list(tx).await? {
            let rules: Arc<RuleSet> = match &stored {
                Some(stored) => stored.set(tx, &client.code).await?.rules,
                None => self.rulebook()?.of(&client.code),
            };
            if rules.two_persons() {
                found.push(client.id);
            }
        }
        Ok(found)
    }

    /// The key under which letters are kept.
    ///
    /// # Errors
    /// A key directory that cannot be read, or that belongs to another database.
    pub async fn fields(&self) -> anyhow::Result<FieldKey> {
        let mut tx = self.db.read().await?;
        let boxes = store::cases::any_box(&mut tx).await?;
        tx.rollback().await?;
        daemon::field_key(self.config, !boxes)
    }

    /// Today, as operators count days.
    pub fn today(&self) -> jiff::civil::Date {
        self.zone.to_datetime(stamp(self.now_ms)).date()
    }

    /// An instant as operators read it.
    pub fn local(&self, at_ms: i64) -> String {
        let at = stamp(at_ms);
        let local = self.zone.to_datetime(at);
        format!(
            "{} {}{}",
            local.date(),
            local.time(),
            self.zone.to_offset(at)
        )
    }
}

/// The instant, to the second; one beyond the calendar is shown as its beginning.
fn stamp(at_ms: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(at_ms.div_euclid(1_000)).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}
