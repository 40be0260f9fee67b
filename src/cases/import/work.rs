//! An import under way: rows taken in pieces, compared with what is known, planned, written where nobody sees them, and
//! decided. Read on in `super::plan` (what a row changes) and `super::finish` (what follows).

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc::Receiver;

use super::{
    ImportError, Job, Mode, Placed, Report,
    finish::{apply, recover_locked, sweep},
    plan::{self, Days, Plan, Table},
    reading::{Parsed, Told},
    rejects::Rejects,
};
use crate::{
    cases::{
        bind::Fault,
        entry::{Entry, TOGETHER, What},
        template::{Kind, Template},
    },
    clock::Clock,
    ids::BatchId,
    pace::Pace,
    policy::CaseState,
    store::{
        Db,
        access::{self, Access},
        batches, case_bulk,
        case_changes::Change,
        clients::Client,
        imports::{self, State},
        repayments,
    },
};

/// So many faults are listed; more are counted.
const MAX_FAULTS: usize = 100;
/// So many rows are shown by a preview.
const MAX_SAMPLE: usize = 5;

/// Where the new cases of an import go.
#[derive(Debug, Clone, Copy)]
struct Written {
    import: i64,
    batch: Option<BatchId>,
    /// The batch is hidden and hides its cases; otherwise each is hidden by itself.
    batch_hidden: bool,
}

pub(super) struct Import<'a> {
    db: &'a Db,
    clock: &'a Clock,
    client: Client,
    placed: Placed,
    days: Days,
    template: Template,
    mode: Mode,
    actor: String,
    written: Option<Written>,
    pub(super) report: Report,
    rejects: Rejects,
    /// Faults have decided that nothing will be imported: the rest is only read.
    doomed: bool,
    pace: Pace<'a>,
    table: Table,
}

impl<'a> Import<'a> {
    pub(super) fn new(db: &'a Db, clock: &'a Clock, job: &Job) -> Self {
        Self {
            db,
            clock,
            client: job.client.clone(),
            placed: job.placed,
            days: Days {
                told: job.balance_on,
                placed: job.placed.day(),
                today: job.today,
            },
            template: job.template.clone(),
            mode: job.mode,
            actor: job.actor.clone(),
            written: None,
            report: Report::default(),
            rejects: Rejects::new(job.rejects.clone(), &job.template),
            doomed: false,
            pace: Pace::new(db, clock),
            table: Table::default(),
        }
    }

    /// Only says what would be done.
    pub(super) async fn preview(
        mut self,
        rows: Receiver<Told>,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Report, ImportError> {
        self.read(rows, progress).await?;
        self.report.rejects_written = self.rejects.finish()?;
        if self.doomed {
            return Err(ImportError::Faults(Box::new(self.report)));
        }
        Ok(self.report)
    }

    /// Everything that only the holder of the right to import does.
    pub(super) async fn locked(
        mut self,
        batch: &Option<String>,
        template: Option<i64>,
        file_name: &str,
        file_sha256: &str,
        rows: Receiver<Told>,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Report, ImportError> {
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
        done.map(|()| self.report)
    }

    pub(super) async fn begin(
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
                let day = self.placed.day();
                let lot =
                    batches::ensure_hidden(&mut tx, self.client.id, code, case_type, day, now_ms)
                        .await?;
                match (&lot.placed_on, self.placed) {
                    (Some(known), Placed::Told(_)) if *known != day.to_string() => {
                        return Err(ImportError::Placed(known.clone()));
                    }
                    (None, _) => batches::place(&mut tx, lot.id, day).await?,
                    (Some(known), _) => self.days.placed = known.parse().unwrap_or(day),
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
        rows: Receiver<Told>,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), ImportError> {
        self.read(rows, progress).await?;
        self.report.rejects_written = self.rejects.finish()?;
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
    pub(super) async fn read(
        &mut self,
        mut rows: Receiver<Told>,
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
                    while let Some(at) = cut(&waiting, self.pace.rows() as usize) {
                        let rest = waiting.split_off(at);
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
            let at = cut(&waiting, self.pace.rows() as usize).unwrap_or(waiting.len());
            let rest = waiting.split_off(at);
            self.piece(std::mem::replace(&mut waiting, rest)).await?;
            progress(self.report.counts.read);
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
                &self.days,
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
                Plan::Change { line, change, .. } | Plan::Confirmed { line, change } => {
                    staged.push((*line, json(change)));
                }
                Plan::Joined | Plan::Same | Plan::Older | Plan::Faulty(_) => {}
            }
        }
        let mut tx = self.pace.begin().await?;
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
        self.pace.commit(tx).await?;
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
                    self.report.older_balances += usize::from(change.older_balance);
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
                Plan::Same | Plan::Confirmed { .. } => self.report.counts.same += 1,
                Plan::Older => {
                    self.report.counts.same += 1;
                    self.report.older_balances += 1;
                }
                Plan::Faulty(faults) => self.reject(cells, faults)?,
            }
        }
        Ok(())
    }
}

/// Where a piece of about so many rows ends: behind the last of the rows of a case that are put together. `None`: nowhere
/// yet, the rows to come may belong to it.
fn cut(waiting: &[Parsed], rows: usize) -> Option<usize> {
    let rows = rows.max(1);
    let latest = rows + 2 * TOGETHER;
    let apart = |at: &usize| match (waiting.get(at - 1), waiting.get(*at)) {
        (Some(before), Some(behind)) => before.case.is_none() || before.case != behind.case,
        _ => false,
    };
    let found = (rows..waiting.len().min(latest)).find(apart);
    found.or_else(|| (waiting.len() >= latest).then_some(latest))
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
