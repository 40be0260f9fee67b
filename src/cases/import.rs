//! Bringing a file in: read, compared with what is known, written in pieces that nobody sees, and decided at once.
//!
//! New cases are written hidden, what changes in known ones is noted beside them. When every row was seen, one short
//! transaction decides: all of it, or (with faults, unless the good rows are asked for) none of it. What breaks off before
//! is swept away by the next import or the next start; what was decided is carried out to its end. No piece holds the
//! database for long, so that calls go on meanwhile.
//!
//! Read on in `plan` (what a row changes), `reading` (the thread that parses), `crate::pace` (how long a piece is).

mod plan;
mod reading;
mod rejects;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use jiff::{civil::Date, tz::TimeZone};

use self::{
    plan::{Plan, Table},
    reading::{Parsed, Told},
    rejects::Rejects,
};
use super::{
    bind::Fault,
    entry::{Entry, Reading, What},
    sheet::{SheetError, SheetRow},
    template::{Kind, Template},
};
use crate::{
    clock::Clock,
    ids::BatchId,
    pace::Pace,
    policy::CaseState,
    store::{
        self, Db,
        access::{self, Access},
        batches, case_bulk, case_changes,
        case_changes::Change,
        clients::Client,
        imports::{self, Counts, State},
        repayments,
    },
};

/// So many faults are listed; more are counted.
const MAX_FAULTS: usize = 100;
/// So many rows are shown by a preview.
const MAX_SAMPLE: usize = 5;

/// What to do with a file of which some rows are faulty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is imported.
    AllOrNothing,
    /// The good rows are imported.
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

impl Placed {
    /// `told`, or else the day of `now_ms` where operators are.
    #[must_use]
    pub fn told_or_today(told: Option<Date>, now_ms: i64, zone: &TimeZone) -> Self {
        let now = jiff::Timestamp::from_millisecond(now_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        told.map_or_else(|| Self::Assumed(zone.to_datetime(now).date()), Self::Told)
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
    /// Its rows.
    pub rows: RowSource,
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
    let mut import = Import {
        db,
        clock,
        client: job.client,
        placed: job.placed,
        template: job.template.clone(),
        mode: job.mode,
        actor: job.actor,
        written: None,
        report: Report::default(),
        rejects: Rejects::new(job.rejects, &job.template),
        doomed: false,
        pace: Pace::new(db.one_writer()),
        table: Table::default(),
    };
    let rows = reading::start(job.rows, job.template, Arc::new(job.reading));
    if job.preview {
        import.read(rows, progress).await?;
        import.rejects.finish()?;
        return Ok(import.report);
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
    done?;
    if let Err(error) = db.count_tables().await {
        tracing::warn!(%error, "the tables are counted later, by the database itself");
    }
    Ok(import.report)
}

/// Sweeps what imports that broke off have written, and carries out what was decided. For the daemon's start; does nothing
/// while somebody imports. Says how many there were.
///
/// # Errors
/// The database.
pub async fn recover(db: &Db, clock: &Clock) -> Result<usize, ImportError> {
    match db.import_lock().await? {
        Some(lock) => {
            let recovered = recover_locked(db, clock).await;
            lock.release().await;
            recovered
        }
        None => Ok(0),
    }
}

async fn recover_locked(db: &Db, clock: &Clock) -> Result<usize, ImportError> {
    let mut tx = db.read().await?;
    let unfinished = imports::unfinished(&mut tx).await?;
    tx.rollback().await?;
    for (id, state, actor) in &unfinished {
        if *state == State::Applying {
            apply(db, clock, *id, actor, &mut Report::default()).await?;
        } else {
            sweep(db, clock, *id, State::BrokenOff).await?;
        }
    }
    Ok(unfinished.len())
}

/// Takes away everything that an undecided import has written.
async fn sweep(db: &Db, clock: &Clock, id: i64, state: State) -> Result<(), ImportError> {
    let mut pace = Pace::new(db.one_writer());
    loop {
        pace.turn().await;
        let mut tx = db.begin().await?;
        let began = clock.monotonic();
        let more = imports::sweep_some(&mut tx, id, pace.rows()).await?;
        if !more {
            imports::end(&mut tx, id, state, clock.wall_ms()).await?;
        }
        tx.commit().await?;
        if !more {
            return Ok(());
        }
        pace.after(clock.monotonic() - began);
    }
}

/// Carries out what was decided.
async fn apply(
    db: &Db,
    clock: &Clock,
    id: i64,
    actor: &str,
    report: &mut Report,
) -> Result<(), ImportError> {
    let mut pace = Pace::new(db.one_writer());
    loop {
        pace.turn().await;
        let mut tx = db.begin().await?;
        let began = clock.monotonic();
        // Revealing a row is far quicker than changing one.
        let most = pace.rows() * 10;
        let revealed = imports::reveal_some(&mut tx, id, most, clock.wall_ms()).await?;
        tx.commit().await?;
        if revealed == 0 {
            break;
        }
        pace.after(clock.monotonic() - began);
    }
    loop {
        pace.turn().await;
        let mut tx = db.begin().await?;
        let began = clock.monotonic();
        let staged = imports::staged(&mut tx, id, pace.rows()).await?;
        let changes: Vec<Change> = staged
            .iter()
            .map(|(_, body)| serde_json::from_str(body))
            .collect::<Result<_, _>>()
            .map_err(|_| store::Error::unknown("carry out an import", "import_rows.body"))?;
        if let Some((last, _)) = staged.last() {
            let now_ms = clock.wall_ms();
            let applied = case_changes::apply(&mut tx, &changes, Some(id), actor, now_ms).await?;
            report.new_contact_points += applied.new_points;
            report.settled += applied.settled;
            imports::unstage(&mut tx, id, *last).await?;
        }
        if changes.is_empty() {
            imports::end(&mut tx, id, State::Done, clock.wall_ms()).await?;
        }
        tx.commit().await?;
        if changes.is_empty() {
            return Ok(());
        }
        pace.after(clock.monotonic() - began);
    }
}

/// Where the new cases of an import go.
#[derive(Debug, Clone, Copy)]
struct Written {
    import: i64,
    batch: Option<BatchId>,
    /// The batch is hidden and hides its cases; otherwise each is hidden by itself.
    batch_hidden: bool,
}

struct Import<'a> {
    db: &'a Db,
    clock: &'a Clock,
    client: Client,
    placed: Placed,
    template: Template,
    mode: Mode,
    actor: String,
    written: Option<Written>,
    report: Report,
    rejects: Rejects,
    /// Faults have decided that nothing will be imported: the rest is only read.
    doomed: bool,
    pace: Pace,
    table: Table,
}

impl Import<'_> {
    /// Everything that only the holder of the right to import does.
    async fn locked(
        &mut self,
        batch: &Option<String>,
        template: Option<i64>,
        file_name: &str,
        file_sha256: &str,
        rows: tokio::sync::mpsc::Receiver<Told>,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), ImportError> {
        recover_locked(self.db, self.clock).await?;
        let id = self
            .begin(batch.as_deref(), template, file_name, file_sha256)
            .await?;
        let done = self.carry_out(id, rows, progress).await;
        if let Err(error) = &done {
            let state = match error {
                ImportError::Faults(_) => State::Refused,
                _ => State::BrokenOff,
            };
            // If the database went away, the next import or start sweeps.
            if let Err(swept) = sweep(self.db, self.clock, id, state).await {
                tracing::warn!(error = %swept, import = id, "what an import had written is not swept yet");
            }
        }
        done
    }

    async fn begin(
        &mut self,
        batch: Option<&str>,
        template: Option<i64>,
        file_name: &str,
        file_sha256: &str,
    ) -> Result<i64, ImportError> {
        let now_ms = self.clock.wall_ms();
        let mut tx = self.db.begin().await?;
        let lot = match batch {
            Some(code) if self.template.kind == Kind::Cases => {
                let case_type = &self.template.case_type;
                let day = self.placed.day().to_string();
                let lot =
                    batches::ensure_hidden(&mut tx, self.client.id, code, case_type, &day, now_ms)
                        .await?;
                match (&lot.placed_on, self.placed) {
                    (Some(known), Placed::Told(_)) if *known != day => {
                        return Err(ImportError::Placed(known.clone()));
                    }
                    (None, _) => batches::place(&mut tx, lot.id, &day).await?,
                    (Some(_), _) => {}
                }
                Some(lot)
            }
            _ => None,
        };
        let new = imports::NewImport {
            client: self.client.id,
            template,
            kind: self.template.kind.as_str(),
            batch: lot.as_ref().map(|lot| lot.id),
            file_name,
            file_sha256,
            actor: &self.actor,
            now_ms,
        };
        let import = imports::begin(&mut tx, &new).await?;
        tx.commit().await?;
        self.written = Some(Written {
            import,
            batch: lot.as_ref().map(|lot| lot.id),
            batch_hidden: lot.is_some_and(|lot| lot.hidden),
        });
        self.report.import = Some(import);
        Ok(import)
    }

    async fn carry_out(
        &mut self,
        id: i64,
        rows: tokio::sync::mpsc::Receiver<Told>,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), ImportError> {
        self.read(rows, progress).await?;
        self.rejects.finish()?;
        if self.doomed {
            let mut tx = self.db.begin().await?;
            imports::note_faults(&mut tx, id, &self.report.counts).await?;
            tx.commit().await?;
            return Err(ImportError::Faults(Box::new(std::mem::take(
                &mut self.report,
            ))));
        }
        let now_ms = self.clock.wall_ms();
        let mut tx = self.db.begin().await?;
        imports::decide(&mut tx, id, &self.report.counts, now_ms).await?;
        let counts = self.report.counts;
        let access = Access {
            at_ms: now_ms,
            actor: &self.actor,
            action: "cases.import",
            object: &self.client.code,
            client_id: Some(self.client.id),
            detail: serde_json::json!({ "import": id, "kind": self.template.kind.as_str(), "counts": counts }),
        };
        access::log(&mut tx, &access).await?;
        tx.commit().await?;
        let actor = self.actor.clone();
        let applied = apply(self.db, self.clock, id, &actor, &mut self.report).await;
        if let Err(error) = applied {
            // It is decided: what is left is carried out by the next import or start.
            self.report.pending = true;
            tracing::warn!(%error, import = id, "an import is decided, but not carried out to its end yet");
        }
        Ok(())
    }

    /// Reads all rows; writes what is new and notes what changes, unless this is a preview.
    async fn read(
        &mut self,
        mut rows: tokio::sync::mpsc::Receiver<Told>,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), ImportError> {
        let mut waiting: Vec<Parsed> = Vec::new();
        loop {
            match rows.recv().await {
                Some(Told::Heads { before, left_out }) => {
                    self.report.left_out = left_out;
                    self.rejects.heads(before);
                }
                Some(Told::Rows(rows)) => {
                    waiting.extend(rows);
                    while waiting.len() >= self.pace.rows() as usize {
                        let rest = waiting.split_off(self.pace.rows() as usize);
                        self.piece(std::mem::replace(&mut waiting, rest)).await?;
                        progress(self.report.counts.read);
                    }
                }
                Some(Told::Unreadable(faults)) => {
                    // Half a file is no file, whatever was asked for.
                    self.doomed = true;
                    for fault in faults {
                        self.list(fault);
                    }
                    self.report.counts.faulty += 1;
                    break;
                }
                Some(Told::End) => break,
                None => {
                    self.doomed = true;
                    self.list(Fault {
                        line: self.report.counts.read + 1,
                        column: None,
                        problem: "the file broke its reader: save it anew".to_owned(),
                    });
                    break;
                }
            }
        }
        while !waiting.is_empty() {
            let at = waiting.len().min(self.pace.rows() as usize);
            let rest = waiting.split_off(at);
            self.piece(std::mem::replace(&mut waiting, rest)).await?;
            progress(self.report.counts.read);
        }
        if self.doomed && self.report.import.is_none() {
            return Err(ImportError::Faults(Box::new(std::mem::take(
                &mut self.report,
            ))));
        }
        Ok(())
    }

    fn list(&mut self, fault: Fault) {
        if self.report.faults.len() < MAX_FAULTS {
            self.report.faults.push(fault);
        } else {
            self.report.more_faults += 1;
        }
    }

    fn reject(&mut self, cells: &[String], faults: Vec<Fault>) -> Result<(), ImportError> {
        self.rejects.add(cells, &faults)?;
        self.report.counts.faulty += 1;
        // A preview goes on to show every fault.
        self.doomed |= self.mode == Mode::AllOrNothing && self.report.import.is_some();
        for fault in faults {
            self.list(fault);
        }
        Ok(())
    }

    /// One piece: sorted out, compared with what is known, written.
    async fn piece(&mut self, rows: Vec<Parsed>) -> Result<(), ImportError> {
        self.report.counts.read += rows.len() as u64;
        let mut good: Vec<(Entry, Vec<String>)> = Vec::with_capacity(rows.len());
        for parsed in rows {
            match parsed.row {
                Ok(entry) => good.push((entry, parsed.cells)),
                Err(faults) => self.reject(&parsed.cells, faults)?,
            }
        }
        if self.report.import.is_none() {
            for (entry, _) in &good {
                if self.report.sample.len() < MAX_SAMPLE {
                    self.report.sample.push(plan::shown(entry));
                }
            }
        }
        for attempt in 1.. {
            self.look_up(&good).await?;
            let planned = self.plan(&good);
            let Some(written) = self
                .written
                .filter(|_| !self.doomed && !planned.is_faulty(self.mode))
            else {
                return self.note(planned, &good);
            };
            match self.write(written, &planned).await {
                Ok(points) => {
                    self.report.new_contact_points += points;
                    return self.note(planned, &good);
                }
                // Somebody entered one of these meanwhile: look again.
                Err(ImportError::Store(error)) if error.exists_already() && attempt < 5 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what is known of the piece's cases, debtors and payments.
    async fn look_up(&mut self, good: &[(Entry, Vec<String>)]) -> Result<(), ImportError> {
        let cases: BTreeSet<&str> = good.iter().map(|(entry, _)| entry.case.as_str()).collect();
        let cases: Vec<&str> = cases.into_iter().collect();
        let (mut debtors, mut payments) = (BTreeSet::new(), BTreeSet::new());
        for (entry, _) in good {
            match &entry.what {
                What::Case(case) => {
                    debtors.insert(plan::debtor_key(&entry.case, case));
                }
                What::Payment(payment) => {
                    payments.insert(payment.reference.as_str());
                }
            }
        }
        let debtors: Vec<&str> = debtors.iter().map(String::as_str).collect();
        let payments: Vec<&str> = payments.into_iter().collect();
        let mut tx = self.db.read().await?;
        self.table.cases = case_bulk::known(&mut tx, self.client.id, &cases).await?;
        self.table.debtors = case_bulk::debtors(&mut tx, self.client.id, &debtors).await?;
        self.table.payments = repayments::known(&mut tx, self.client.id, &payments).await?;
        tx.rollback().await?;
        Ok(())
    }

    fn plan(&self, good: &[(Entry, Vec<String>)]) -> Planned {
        let mut planned = Planned::default();
        let mut by_case: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, (entry, _)) in good.iter().enumerate() {
            by_case.entry(&entry.case).or_default().push(index);
        }
        let import = self.written.map(|written| written.import);
        let mut identities = BTreeMap::new();
        for indexes in by_case.into_values() {
            let entries: Vec<&Entry> = indexes
                .iter()
                .filter_map(|index| good.get(*index))
                .map(|(entry, _)| entry)
                .collect();
            let plans = plan::case(
                &self.template,
                &self.table,
                &entries,
                import,
                &mut identities,
            );
            planned.plans.extend(indexes.into_iter().zip(plans));
        }
        planned.plans.sort_by_key(|(index, _)| *index);
        planned
    }

    async fn write(&mut self, written: Written, planned: &Planned) -> Result<usize, ImportError> {
        let now_ms = self.clock.wall_ms();
        let (mut new, mut more, mut staged) = (Vec::new(), Vec::new(), Vec::new());
        for (_, plan) in &planned.plans {
            match plan {
                Plan::New { case, learned } => {
                    new.push((**case).clone());
                    staged.extend(learned.iter().map(|(line, change)| (*line, json(change))));
                }
                Plan::More { case, people } => {
                    more.extend(people.iter().map(|person| (*case, person)));
                }
                Plan::Change { line, change, .. } => staged.push((*line, json(change))),
                Plan::Joined | Plan::Same | Plan::Faulty(_) => {}
            }
        }
        self.pace.turn().await;
        let mut tx = self.db.begin().await?;
        let began = self.clock.monotonic();
        imports::fence(&mut tx, written.import, self.report.counts.read).await?;
        let mut points = 0;
        if let Some(batch) = written.batch {
            let belongs = case_bulk::Belongs {
                client: self.client.id,
                batch,
                import: written.import,
                revealed_at_ms: written.batch_hidden.then_some(now_ms),
                actor: &self.actor,
                now_ms,
            };
            points += case_bulk::enter(&mut tx, belongs, &new).await?;
        }
        points += case_bulk::enter_people(&mut tx, &more, now_ms).await?;
        imports::stage(&mut tx, written.import, staged).await?;
        tx.commit().await?;
        self.pace.after(self.clock.monotonic() - began);
        Ok(points)
    }

    /// Counts what was planned, and writes down what was found faulty.
    fn note(&mut self, planned: Planned, good: &[(Entry, Vec<String>)]) -> Result<(), ImportError> {
        let preview = self.report.import.is_none();
        for (index, plan) in planned.plans {
            let Some((entry, cells)) = good.get(index) else {
                continue;
            };
            self.report.doubtful_cards += u64::from(entry.warnings);
            match plan {
                Plan::New { case, .. } => {
                    self.report.counts.new += 1;
                    // What an earlier piece of a preview called new is not on file.
                    self.report.new_cases += usize::from(entry.first || !preview);
                    self.report.settled += usize::from(case.state == CaseState::Settled);
                    if preview {
                        let numbers = case.people.iter().map(|person| person.numbers.len());
                        self.report.new_contact_points += numbers.sum::<usize>();
                    }
                }
                Plan::More { .. } | Plan::Joined => self.report.counts.new += 1,
                Plan::Change { adds, change, .. } => {
                    if adds {
                        self.report.counts.new += 1;
                    } else {
                        self.report.counts.changed += 1;
                    }
                    if preview {
                        let numbers = change.people.iter().map(|person| person.numbers.len());
                        self.report.new_contact_points += numbers.sum::<usize>();
                    }
                }
                Plan::Same => self.report.counts.same += 1,
                Plan::Faulty(faults) => self.reject(cells, faults)?,
            }
        }
        Ok(())
    }
}

fn json(change: &Change) -> String {
    // A change is made of texts and numbers, which JSON always holds.
    serde_json::to_string(change).unwrap_or_default()
}

/// What becomes of each row of a piece.
#[derive(Default)]
struct Planned {
    plans: Vec<(usize, Plan)>,
}

impl Planned {
    /// Whether nothing of the piece may be written.
    fn is_faulty(&self, mode: Mode) -> bool {
        mode == Mode::AllOrNothing
            && self
                .plans
                .iter()
                .any(|(_, plan)| matches!(plan, Plan::Faulty(_)))
    }
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
