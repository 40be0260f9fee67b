//! Cases that are kept elsewhere, brought in from views on the same PostgreSQL: first the states of the cases that are
//! known, because they silence and wait for nobody, then for each batch an import whose rows come from the views instead
//! of a file. A case that is new enters in its state and is never open in between.
//!
//! Which columns the views must have is said in `store::foreign` and `docs/cases.md`.

use std::{collections::HashSet, sync::Arc};

use jiff::civil::Date;

use super::{
    entry::{Reading, silenced},
    import::{self, ImportError, Job, Mode, Placed, Report, RowSource},
    money::{Currency, Money},
    sheet::{SheetError, SheetRow},
    template::{self, Template},
};
use crate::{
    clock::Clock,
    policy::CaseState,
    store::{
        self, Db, cases,
        clients::Client,
        foreign::{self, Views},
    },
};

/// Rows that wait between the database and the thread that parses them.
const WAITING: usize = 512;

/// What a pull did.
#[derive(Debug, Default)]
pub struct Pulled {
    /// The import of each batch.
    pub batches: Vec<(String, Report)>,
    /// Cases whose state was taken over.
    pub states: usize,
    /// The batches that were not brought in, and why.
    pub failed: Vec<(String, ImportError)>,
    /// What is wrong with rows of the views that were left out for it.
    pub problems: Vec<String>,
}

/// The template of foreign cases.
///
/// # Errors
/// Never: it comes with the program, and a test reads it.
pub fn template() -> Result<Template, template::TemplateError> {
    Template::parse(template::FOREIGN)
}

/// Rows of cells under [`foreign::HEADS`] as an import reads them.
pub fn rows(cells: Vec<Vec<String>>) -> RowSource {
    let heads = foreign::HEADS.iter().map(ToString::to_string).collect();
    let all = std::iter::once(heads).chain(cells);
    Box::new(all.zip(1..).map(|(cells, line)| Ok(row(cells, line))))
}

fn row(cells: Vec<String>, line: u64) -> SheetRow {
    SheetRow {
        line,
        cells: cells.iter().map(|cell| cell.trim().to_owned()).collect(),
        ..SheetRow::default()
    }
}

/// Pulls all foreign cases of a client. `reading` makes what each import needs; `placed` is when a batch that is new was
/// placed, `today` the day of balances of which the views tell none. Faulty rows are left out and reported, and so is a
/// batch that cannot be brought in; the others are. Of a case number that stands there more than once only what silences
/// it is taken over.
///
/// # Errors
/// [`ImportError::Views`] if the views cannot be read, and the database; states taken over before stay so.
pub async fn pull(
    db: &Db,
    clock: &Clock,
    client: &Client,
    template: &Template,
    (placed, today): (Placed, Date),
    actor: &str,
    mut reading: impl FnMut() -> Result<Reading, ImportError>,
) -> Result<Pulled, ImportError> {
    let mut pulled = Pulled::default();
    let mut tx = db.read().await?;
    let (problems, views) = foreign::check_views(&mut tx).await?;
    if !problems.is_empty() {
        return Err(ImportError::Views(problems));
    }
    let batches = foreign::batches(&mut tx, &client.code).await?;
    let doubled = foreign::doubled(&mut tx, &client.code).await?;
    tx.rollback().await?;
    let from = Source {
        views,
        client: client.code.clone(),
        doubled: doubled.into(),
    };
    for batch in &batches {
        pulled.states += states(db, clock, client, &from, batch, actor).await?;
    }
    for batch in batches {
        let job = Job {
            client: client.clone(),
            batch: Some(batch.clone()),
            placed,
            balance_on: None,
            today,
            template: template.clone(),
            template_id: None,
            rows: stream(db.clone(), from.clone(), batch.clone()),
            // Each of its rows says all of a case.
            again: None,
            file_name: "foreign_cases".to_owned(),
            file_sha256: String::new(),
            reading: reading()?,
            mode: Mode::GoodRows,
            preview: false,
            rejects: None,
            actor: actor.to_owned(),
        };
        match import::run(db, clock, job, &mut |_| {}).await {
            Ok(report) => {
                // What changed there while they were read.
                if report.new_cases > 0 {
                    pulled.states += states(db, clock, client, &from, &batch, actor).await?;
                }
                pulled.batches.push((batch, report));
            }
            Err(error @ ImportError::Store(_)) => return Err(error),
            Err(error) => pulled.failed.push((batch, error)),
        }
    }
    let mut tx = db.read().await?;
    pulled.problems = foreign::check_rows(&mut tx, &client.code).await?;
    tx.rollback().await?;
    Ok(pulled)
}

/// From where a client's cases are read.
#[derive(Clone)]
struct Source {
    views: Views,
    client: String,
    /// Case numbers that stand there more than once.
    doubled: Arc<HashSet<String>>,
}

/// The rows of a batch, read page by page as they are wanted.
fn stream(db: Db, source: Source, batch: String) -> RowSource {
    let (to, mut from) = tokio::sync::mpsc::channel::<Result<SheetRow, SheetError>>(WAITING);
    tokio::spawn(async move {
        let heads = foreign::HEADS.iter().map(ToString::to_string).collect();
        if to.send(Ok(row(heads, 1))).await.is_err() {
            return;
        }
        let state = foreign::HEADS.iter().position(|head| *head == "state");
        let (mut line, mut after) = (1, String::new());
        loop {
            let page = match page(&db, &source, &batch, &after).await {
                Ok(page) => page,
                Err(error) => {
                    let failed = SheetError {
                        line: None,
                        column: None,
                        problem: error.to_string(),
                    };
                    // Whoever does not listen any more need not be told.
                    let _ = to.send(Err(failed)).await;
                    return;
                }
            };
            let Some(last) = page.last() else { return };
            after.clone_from(&last.reference);
            let page = page.into_iter();
            for case in page.filter(|case| !source.doubled.contains(&case.reference)) {
                for cells in case.rows {
                    line += 1;
                    let mut row = row(cells, line);
                    // A case of which nobody says so is not open.
                    if let (Some(at), true) = (state, case.state.is_empty()) {
                        row.faults.push((at, "is empty"));
                    }
                    if to.send(Ok(row)).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    Box::new(std::iter::from_fn(move || from.blocking_recv()))
}

async fn page(
    db: &Db,
    from: &Source,
    batch: &str,
    after: &str,
) -> store::Result<Vec<foreign::ForeignCase>> {
    let mut tx = db.read().await?;
    let page = foreign::page(&mut tx, from.views, &from.client, batch, after).await?;
    tx.rollback().await?;
    Ok(page)
}

/// Takes over the states of a batch's cases.
async fn states(
    db: &Db,
    clock: &Clock,
    client: &Client,
    from: &Source,
    batch: &str,
    actor: &str,
) -> Result<usize, ImportError> {
    let (mut changed, mut after) = (0, String::new());
    loop {
        let mut tx = db.begin().await?;
        let page = foreign::page(&mut tx, from.views, &from.client, batch, &after).await?;
        for case in &page {
            let known = cases::by_reference(&mut tx, client.id, &case.reference).await?;
            let (Some(known), Some(state)) = (known, CaseState::parse(&case.state)) else {
                continue;
            };
            // Otherwise each pull would open what the next import settles.
            let owed = Money::parse(&case.owed, Currency::CNY).ok();
            let state = silenced(state, owed.map(|owed| owed.e4));
            if from.doubled.contains(&case.reference) && loudness(state) >= loudness(known.state) {
                continue;
            }
            let now_ms = clock.wall_ms();
            let reason = "by the foreign case store";
            changed += usize::from(
                cases::take_over_state(&mut tx, &known, state, reason, actor, now_ms).await?,
            );
        }
        tx.commit().await?;
        match page.last() {
            Some(last) => after.clone_from(&last.reference),
            None => return Ok(changed),
        }
    }
}

/// How much may be done with a case in this state.
fn loudness(state: CaseState) -> u8 {
    match state {
        CaseState::Open => 2,
        CaseState::Paused => 1,
        CaseState::Settled | CaseState::Returned | CaseState::Closed => 0,
    }
}

#[cfg(test)]
#[path = "foreign_tests.rs"]
mod tests;
