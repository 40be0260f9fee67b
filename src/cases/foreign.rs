//! Cases that are kept elsewhere, brought in from views on the same PostgreSQL: a pull is an import whose rows come from
//! the views instead of a file, and then the states of what was pulled.
//!
//! Which columns the views must have is said in `store::foreign` and `docs/cases.md`.

use super::{
    entry::Reading,
    import::{self, ImportError, Job, Mode, Report, RowSource},
    sheet::{SheetError, SheetRow},
    template::{self, Template},
};
use crate::{
    clock::Clock,
    policy::CaseState,
    store::{self, Db, cases, clients::Client, foreign},
};

/// Rows that wait between the database and the thread that parses them.
const WAITING: usize = 512;

/// What a pull did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulled {
    /// The import of each batch.
    pub batches: Vec<(String, Report)>,
    /// Cases whose state was taken over.
    pub states: usize,
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
        faults: Vec::new(),
    }
}

/// Pulls all foreign cases of a client. `reading` makes what each import needs. Faulty rows are left out and reported.
///
/// # Errors
/// What kept an import from being done; batches before it are there.
pub async fn pull(
    db: &Db,
    clock: &Clock,
    client: &Client,
    template: &Template,
    actor: &str,
    mut reading: impl FnMut() -> Result<Reading, ImportError>,
) -> Result<Pulled, ImportError> {
    let mut pulled = Pulled::default();
    let mut tx = db.read().await?;
    let batches = foreign::batches(&mut tx, &client.code).await?;
    tx.rollback().await?;
    for batch in batches {
        let job = Job {
            client: client.clone(),
            batch: Some(batch.clone()),
            template: template.clone(),
            template_id: None,
            rows: stream(db.clone(), client.code.clone(), batch.clone()),
            file_name: "foreign_cases".to_owned(),
            file_sha256: String::new(),
            reading: reading()?,
            mode: Mode::GoodRows,
            preview: false,
            rejects: None,
            actor: actor.to_owned(),
        };
        let report = import::run(db, clock, job, &mut |_| {}).await?;
        pulled.states += states(db, clock, client, &batch, actor).await?;
        pulled.batches.push((batch, report));
    }
    Ok(pulled)
}

/// The rows of a batch, read page by page as they are wanted.
fn stream(db: Db, client: String, batch: String) -> RowSource {
    let (to, mut from) = tokio::sync::mpsc::channel::<Result<SheetRow, SheetError>>(WAITING);
    tokio::spawn(async move {
        let heads = foreign::HEADS.iter().map(ToString::to_string).collect();
        if to.send(Ok(row(heads, 1))).await.is_err() {
            return;
        }
        let (mut line, mut after) = (1, String::new());
        loop {
            let page = match page(&db, &client, &batch, &after).await {
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
            for cells in page.into_iter().flat_map(|case| case.rows) {
                line += 1;
                if to.send(Ok(row(cells, line))).await.is_err() {
                    return;
                }
            }
        }
    });
    Box::new(std::iter::from_fn(move || from.blocking_recv()))
}

async fn page(
    db: &Db,
    client: &str,
    batch: &str,
    after: &str,
) -> store::Result<Vec<foreign::ForeignCase>> {
    let mut tx = db.read().await?;
    let page = foreign::page(&mut tx, client, batch, after).await?;
    tx.rollback().await?;
    Ok(page)
}

/// Takes over the states of a batch's cases.
async fn states(
    db: &Db,
    clock: &Clock,
    client: &Client,
    batch: &str,
    actor: &str,
) -> Result<usize, ImportError> {
    let (mut changed, mut after) = (0, String::new());
    loop {
        let mut tx = db.begin().await?;
        let page = foreign::page(&mut tx, &client.code, batch, &after).await?;
        for case in &page {
            let known = cases::by_reference(&mut tx, client.id, &case.reference).await?;
            let (Some(known), Some(state)) = (known, CaseState::parse(&case.state)) else {
                continue;
            };
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::{
        cases::fields,
        clock::{TestClock, TrustMode},
        ids::CaseId,
        phone::{Region, ShortCodes},
        store::{
            clients,
            sql::Sql,
            tests::{NOW_MS, Test},
        },
    };

    const VIEWS: [&str; 4] = [
        "CREATE TABLE theirs (client TEXT, batch TEXT, case_reference TEXT, state TEXT, debtor TEXT, name TEXT, identity TEXT,
             card TEXT, currency TEXT, placed NUMERIC(14, 2), balance NUMERIC(14, 2), principal NUMERIC, interest NUMERIC,
             fees NUMERIC, overdue_days INTEGER, region TEXT)",
        "CREATE VIEW foreign_cases AS SELECT * FROM theirs",
        "CREATE TABLE their_numbers (client TEXT, case_reference TEXT, contact_name TEXT, relation TEXT, number TEXT)",
        "CREATE VIEW foreign_contact_points AS SELECT * FROM their_numbers",
    ];

    async fn execute(test: &Test, text: &'static str) {
        let mut tx = test.db.begin().await.unwrap();
        tx.execute(
            &Sql {
                act: "prepare a test",
                text,
            },
            vec![],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    async fn problems(test: &Test) -> Vec<String> {
        let mut tx = test.db.read().await.unwrap();
        foreign::check(&mut tx).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn cases_kept_elsewhere_are_pulled_and_follow_what_happens_there() {
        let (test, keys) = (Test::postgres().await, tempfile::tempdir().unwrap());
        assert_eq!(problems(&test).await.len(), 2);
        for text in VIEWS {
            execute(&test, text).await;
        }
        assert_eq!(problems(&test).await, Vec::<String>::new());
        execute(&test, "INSERT INTO theirs VALUES
            ('bank', 'B1', 'C1', 'open', 'D1', 'N', '11010519491231002X', NULL, NULL, 100.5, 90, NULL, NULL, NULL, 95, 'X'),
            ('bank', 'B1', 'C2', 'open', 'D2', 'M', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)").await;
        execute(&test, "INSERT INTO their_numbers VALUES
            ('bank', 'C1', 'N', 'debtor', '13800138000'), ('bank', 'C1', 'K', 'friend', '13900139000')").await;
        let mut tx = test.db.begin().await.unwrap();
        let client = clients::ensure(&mut tx, "bank", "Bank", NOW_MS)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let clock = Clock::test(TestClock::running(NOW_MS), TrustMode::Host);
        let template = template().unwrap();
        let pulled = async || {
            let reading = || {
                Ok(Reading {
                    client: client.id,
                    region: Region::CN,
                    short: ShortCodes::default(),
                    key: Some(fields::tests::key(keys.path()).into()),
                })
            };
            pull(&test.db, &clock, &client, &template, "tester", reading)
                .await
                .unwrap()
        };
        let first = pulled().await;
        assert_eq!(
            (
                first.batches[0].1.new_cases,
                first.batches[0].1.new_contact_points,
                first.states
            ),
            (2, 2, 0)
        );
        let again = pulled().await;
        assert_eq!((again.batches[0].1.counts.same, again.states), (3, 0));
        execute(
            &test,
            "UPDATE theirs SET balance = 70, state = 'settled' WHERE case_reference = 'C1'",
        )
        .await;
        execute(
            &test,
            "UPDATE theirs SET state = 'paused' WHERE case_reference = 'C2'",
        )
        .await;
        let later = pulled().await;
        assert_eq!((later.batches[0].1.counts.changed, later.states), (1, 2));
        let mut tx = test.db.read().await.unwrap();
        let lines = cases::list(&mut tx, CaseId::new(0), 9).await.unwrap();
        let states: Vec<_> = lines.iter().map(|line| line.case.state).collect();
        assert_eq!(states, [CaseState::Settled, CaseState::Paused]);
        let detail = cases::detail(&mut tx, lines[0].case.id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(detail.amounts[1], 700_000);
        tx.rollback().await.unwrap();
        execute(
            &test,
            "INSERT INTO theirs (client, case_reference, state) VALUES ('bank', 'C1', 'dreaming')",
        )
        .await;
        execute(
            &test,
            "INSERT INTO their_numbers VALUES ('bank', 'C9', 'N', 'debtor', '1')",
        )
        .await;
        let found = problems(&test).await.join("\n");
        for said in [
            "more than once",
            "no client, batch",
            "a state that is none of",
            "belong to no case",
        ] {
            assert!(found.contains(said), "{found}");
        }
    }

    #[test]
    fn the_template_of_foreign_cases_fits_its_heads() {
        let template = template().unwrap();
        let heads = rows(Vec::new()).next().unwrap().unwrap();
        assert!(crate::cases::bind::Bound::new(&template, &heads).is_ok());
    }
}
