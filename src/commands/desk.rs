//! What commands about rules work with: the database, the time, the rules, and how operators read both.

use jiff::tz::TimeZone;

use crate::{
    cases::fields::FieldKey,
    clock::Clock,
    config::Config,
    daemon,
    phone::ShortCodes,
    rulebook::{files::Rulebook, find::Numbering},
    store::{self, Db},
};

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
        let clock = Clock::system(config.clock.trust);
        Ok(Self {
            db,
            now_ms: clock.wall_ms(),
            clock,
            zone: TimeZone::get(&config.policy.display_zone)?,
            numbering: Numbering { region, short },
            config,
        })
    }

    /// The rules as the files say them now.
    ///
    /// # Errors
    /// A bad file, with its line.
    pub fn rulebook(&self) -> anyhow::Result<Rulebook> {
        daemon::open_rulebook(self.config)
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
