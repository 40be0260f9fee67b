//! Bringing a file in: read, compared with what is known, written in pieces that nobody sees, and decided at once.
//!
//! New cases are written hidden, what changes in known ones is noted beside them. When every row was seen, one short
//! transaction decides: all of it, or (with faults, unless the good rows are asked for) none of it. What breaks off before
//! is swept away by the next import or the next start; what was decided is carried out to its end. No piece holds the
//! database for long, so that calls go on meanwhile.
//!
//! If the good rows of a file of cases are asked for, the file is read twice: a case of which any row is faulty is left out
//! with all its rows, or it would enter without what the faulty row says of it, and perhaps open where that one silences it.
//!
//! Read on in `work` (an import under way), `finish` (swept or carried out), `plan` (what a row changes), `reading` (the
//! thread that parses), `crate::pace` (how long a piece is).

mod finish;
mod plan;
mod reading;
mod rejects;
mod work;

use std::path::PathBuf;

use jiff::{civil::Date, tz::TimeZone};

use self::work::Import;
pub use self::{finish::recover, reading::Again};
use super::{
    bind::Fault,
    entry::Reading,
    sheet::{SheetError, SheetRow},
    template::{Kind, Template},
};
use crate::{
    clock::Clock,
    store::{self, Db, clients::Client, imports::Counts},
};

/// What to do with a file of which some rows are faulty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is imported.
    AllOrNothing,
    /// The good rows are imported; of a new case all its rows, or none.
    GoodRows,
}

/// The day on which the client placed a lot; the three months of its recovery begin with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// The client said so; a lot that is known must have the same.
    Told(Date),
    /// Nobody said; what is on file of a known lot stays.
    Assumed(Date),
}

/// The day of an instant where operators are.
#[must_use]
pub fn today(now_ms: i64, zone: &TimeZone) -> Date {
    let now = jiff::Timestamp::from_millisecond(now_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    zone.to_datetime(now).date()
}

/// Whether a day is yet to come also where it is that day first.
#[must_use]
pub fn is_to_come(day: Date, today: Date) -> bool {
    day > today.saturating_add(jiff::ToSpan::days(1))
}

impl Placed {
    /// `told`, or else the day of `now_ms` where operators are.
    #[must_use]
    pub fn told_or_today(told: Option<Date>, now_ms: i64, zone: &TimeZone) -> Self {
        told.map_or_else(|| Self::Assumed(today(now_ms, zone)), Self::Told)
    }

    /// The same day, as one that holds for new lots only.
    #[must_use]
    pub fn assumed(self) -> Self {
        Self::Assumed(self.day())
    }

    fn day(self) -> Date {
        match self {
            Self::Told(day) | Self::Assumed(day) => day,
        }
    }
}

/// The rows of a file or of a view, in their order.
pub type RowSource = Box<dyn Iterator<Item = Result<SheetRow, SheetError>> + Send>;

/// A file to be brought in.
pub struct Job {
    /// Whose file.
    pub client: Client,
    /// The client's name of the lot; needed for cases.
    pub batch: Option<String>,
    /// When the lot was placed.
    pub placed: Placed,
    /// How it is read.
    pub template: Template,
    /// The stored template; `None`: one that comes with the program.
    pub template_id: Option<i64>,
    /// For which day its balances are told, where no row says; `None`: today, or the day on which a new case was placed.
    pub balance_on: Option<Date>,
    /// Today, where operators are.
    pub today: Date,
    /// Its rows.
    pub rows: RowSource,
    /// Opens them once more; without it each row is taken by itself, also if the good ones are asked for.
    pub again: Option<Again>,
    /// Its name, without its folder.
    pub file_name: String,
    /// SHA-256 of its bytes in hexadecimal.
    pub file_sha256: String,
    /// Numbering plan, short codes, key.
    pub reading: Reading,
    /// What to do with faults.
    pub mode: Mode,
    /// Only say what would be done.
    pub preview: bool,
    /// Where faulty rows are written, in the file's own columns and one with what is wrong.
    pub rejects: Option<PathBuf>,
    /// Who brings it.
    pub actor: String,
}

/// What an import did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The import's number; `None` for a preview.
    pub import: Option<i64>,
    /// It is decided, but the database went away before all of it was carried out; the next import or start goes on.
    pub pending: bool,
    /// Rows by what became of them.
    pub counts: Counts,
    /// Cases that are new.
    pub new_cases: usize,
    /// Numbers that are new to their case.
    pub new_contact_points: usize,
    /// Cases that were settled.
    pub settled: usize,
    /// Payments that were not taken off, because the balance was told for their day or a later one.
    pub in_balance: usize,
    /// Rows that tell a balance of an earlier day than the one on file, which stays.
    pub older_balances: usize,
    /// Whether there is a file of the faulty rows.
    pub rejects_written: bool,
    /// The first hundred faults, in the order of the file.
    pub faults: Vec<Fault>,
    /// How many more there are.
    pub more_faults: usize,
    /// Rows whose card number's check digit does not fit; they are imported all the same.
    pub doubtful_cards: u64,
    /// Columns of the file that the template does not read.
    pub left_out: Vec<String>,
    /// The first rows of a preview, masked.
    pub sample: Vec<String>,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file has faults; correct them and import again.
    #[error("{}", listed(.0))]
    Faults(Box<Report>),
    /// Somebody else imports.
    #[error("another import is at work on this database; wait for its end and try again")]
    Busy,
    /// The faulty rows cannot be written.
    #[error("the faulty rows cannot be written to {}: {source}", path.display())]
    Rejects {
        /// Where to.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A template that reads identity or card numbers, without a key for them.
    #[error(
        "the template reads identity or card numbers, but there is no key to encrypt them with"
    )]
    NoKey,
    /// Cases without a lot.
    #[error("cases come in a batch: name it with --batch")]
    NoBatch,
    /// A lot that is on file as placed on another day.
    #[error(
        "the batch is on file as placed on {0}: leave the day out, or correct it first with `cases contracts placed`"
    )]
    Placed(String),
    /// A lot of a day that is yet to come, which would be taken for the day of its balances.
    #[error("the batch cannot have been placed on {0}: that day is yet to come")]
    PlacedToCome(Date),
    /// The views of a foreign case store cannot be read.
    #[error("{}; `ringfence cases check` looks again", .0.join("; "))]
    Views(Vec<String>),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
}

fn listed(report: &Report) -> String {
    let mut text = "nothing was imported, the file has faults:".to_owned();
    for fault in &report.faults {
        text.push_str(&format!("\n  {fault}"));
    }
    if report.more_faults > 0 {
        text.push_str(&format!("\n  and {} more", report.more_faults));
    }
    text
}

/// Brings a file in. `progress` is told now and then how many rows were read.
///
/// # Errors
/// [`ImportError::Faults`] with every fault, or what kept it from being done; then nothing of it is there.
pub async fn run(
    db: &Db,
    clock: &Clock,
    job: Job,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<Report, ImportError> {
    if job.template.has_secrets() && job.reading.key.is_none() {
        return Err(ImportError::NoKey);
    }
    if job.template.kind == Kind::Cases && job.batch.is_none() {
        return Err(ImportError::NoBatch);
    }
    if is_to_come(job.placed.day(), job.today) {
        return Err(ImportError::PlacedToCome(job.placed.day()));
    }
    let import = Import::new(db, clock, &job);
    // Rows of updates and of payments stand each for itself.
    let whole = job.mode == Mode::GoodRows && job.template.kind == Kind::Cases;
    let again = job.again.filter(|_| whole);
    let rows = reading::start(job.rows, again, job.template, job.reading.into());
    if job.preview {
        return import.preview(rows, progress).await;
    }
    let Some(lock) = db.import_lock().await? else {
        return Err(ImportError::Busy);
    };
    let done = import.locked(
        &job.batch,
        job.template_id,
        &job.file_name,
        &job.file_sha256,
        rows,
        progress,
    );
    let done = done.await;
    lock.release().await;
    let report = done?;
    if let Err(error) = db.count_tables().await {
        tracing::warn!(%error, "the tables are counted later, by the database itself");
    }
    Ok(report)
}

#[cfg(test)]
mod tests;
