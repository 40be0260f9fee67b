//! Import of cases from CSV: fixed columns, every fault named with its row and column, all rows or none.
//!
//! Columns, in any order: `case` (the client's case number), `debtor` (the client's own key of the person who owes; the
//! same key within a client is the same person, for whom caps count together), `name` and `relation` of the person who
//! answers, and `number`. One row is one number; a case has as many rows as it has numbers. A file that is imported
//! twice changes nothing the second time; new numbers of known cases are added. No message repeats a name or a number.

use std::{collections::HashMap, fmt, io::Read};

use crate::{
    phone::{PhoneNumber, Region, ShortCodes},
    policy::Relation,
    store::{self, Db, batches, cases, clients, contact_points},
};

/// The columns of the file.
pub const COLUMNS: [&str; 5] = ["case", "debtor", "name", "relation", "number"];
/// The most rows of one file: they are written in one transaction, for which dialling waits.
pub const MAX_ROWS: usize = 20_000;
/// The most bytes of one file.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// So many faults are listed; more are counted.
const MAX_FAULTS: usize = 100;
/// The most characters of a cell.
const MAX_CELL: usize = 200;

/// One row that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    line: u64,
    case: String,
    debtor: String,
    name: String,
    relation: Relation,
    number: PhoneNumber,
}

/// One fault of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line of the file, from 1.
    pub line: u64,
    /// The column, where one is at fault.
    pub column: Option<&'static str>,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read at all.
    #[error("the file cannot be read: {0}")]
    Io(std::io::Error),
    /// The file has faults; correct them and import again.
    #[error("{}", listed(.faults, *.more))]
    Faults {
        /// The first hundred, in the order of the file.
        faults: Vec<Fault>,
        /// How many more there are.
        more: usize,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
}

fn listed(faults: &[Fault], more: usize) -> String {
    let mut text = "nothing was imported, the file has faults:".to_owned();
    for fault in faults {
        text.push_str(&format!("\n  {fault}"));
    }
    if more > 0 {
        text.push_str(&format!("\n  and {more} more"));
    }
    text
}

/// Collects faults up to a limit.
#[derive(Default)]
struct Faults {
    listed: Vec<Fault>,
    more: usize,
}

impl Faults {
    fn add(&mut self, line: u64, column: Option<&'static str>, problem: impl Into<String>) {
        if self.listed.len() < MAX_FAULTS {
            self.listed.push(Fault {
                line,
                column,
                problem: problem.into(),
            });
        } else {
            self.more += 1;
        }
    }

    fn into_result(self) -> Result<(), ImportError> {
        if self.listed.is_empty() {
            Ok(())
        } else {
            Err(ImportError::Faults {
                faults: self.listed,
                more: self.more,
            })
        }
    }
}

/// Reads a file. Numbers without `+` are of `region`'s numbering plan.
///
/// # Errors
/// [`ImportError::Faults`] with every fault of every row.
pub fn parse(file: impl Read, region: Region, short: &ShortCodes) -> Result<Vec<Row>, ImportError> {
    let mut faults = Faults::default();
    let mut limited = file.take(MAX_BYTES + 1);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(&mut limited);
    let mut record = csv::ByteRecord::new();
    let mut order: Option<Vec<usize>> = None;
    let mut rows = Vec::new();
    let mut debtors: HashMap<String, (String, u64)> = HashMap::new();
    loop {
        let line = reader.position().line();
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(e) => match e.into_kind() {
                csv::ErrorKind::Io(e) => return Err(ImportError::Io(e)),
                _ => {
                    faults.add(line, None, "this is not CSV");
                    break;
                }
            },
        }
        let line = record.position().map_or(line, csv::Position::line);
        let Some(places) = &order else {
            order = Some(heads(&record, line, &mut faults)?);
            continue;
        };
        if rows.len() == MAX_ROWS {
            faults.add(
                line,
                None,
                format!("more than {MAX_ROWS} rows: split the file"),
            );
            break;
        }
        if record.len() != COLUMNS.len() {
            let problem = format!(
                "{} cells where the head has {}",
                record.len(),
                COLUMNS.len()
            );
            faults.add(line, None, problem);
            continue;
        }
        if let Some(row) = row(&record, places, line, region, short, &mut faults) {
            let (debtor, first) = debtors
                .entry(row.case.clone())
                .or_insert_with(|| (row.debtor.clone(), line));
            if *debtor != row.debtor {
                faults.add(
                    line,
                    Some("debtor"),
                    format!("another debtor than for the same case in line {first}"),
                );
            }
            rows.push(row);
        }
    }
    drop(reader);
    if limited.limit() == 0 {
        faults.add(
            1,
            None,
            format!(
                "the file is larger than {} MiB: split it",
                MAX_BYTES / 1024 / 1024
            ),
        );
    }
    if order.is_none() {
        faults.add(
            1,
            None,
            format!(
                "the file is empty; its first line must be {}",
                COLUMNS.join(",")
            ),
        );
    }
    faults.into_result().map(|()| rows)
}

/// Where each of [`COLUMNS`] stands in the file.
fn heads(
    record: &csv::ByteRecord,
    line: u64,
    faults: &mut Faults,
) -> Result<Vec<usize>, ImportError> {
    let cell = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.trim_start_matches('\u{feff}')
            .trim()
            .to_ascii_lowercase()
    };
    let found: Vec<String> = record.iter().map(cell).collect();
    let mut places = Vec::new();
    for column in COLUMNS {
        match found.iter().filter(|head| *head == column).count() {
            1 => places.extend(found.iter().position(|head| head == column)),
            0 => faults.add(line, Some(column), "this column is missing"),
            _ => faults.add(line, Some(column), "this column stands there twice"),
        }
    }
    for (n, _) in found
        .iter()
        .enumerate()
        .filter(|(_, head)| !COLUMNS.contains(&head.as_str()))
    {
        faults.add(
            line,
            None,
            format!(
                "the head of column {} is none of {}",
                n + 1,
                COLUMNS.join(", ")
            ),
        );
    }
    // Without heads no row can be understood.
    if faults.listed.is_empty() {
        Ok(places)
    } else {
        std::mem::take(faults).into_result().map(|()| places)
    }
}

/// One row, or `None` with its faults added.
fn row(
    record: &csv::ByteRecord,
    places: &[usize],
    line: u64,
    region: Region,
    short: &ShortCodes,
    faults: &mut Faults,
) -> Option<Row> {
    let mut cells: [Option<String>; COLUMNS.len()] = Default::default();
    for ((cell, column), place) in cells.iter_mut().zip(COLUMNS).zip(places) {
        let bytes = record.get(*place).unwrap_or_default();
        match std::str::from_utf8(bytes).map(str::trim) {
            Err(_) => faults.add(line, Some(column), "not UTF-8: save the file as UTF-8"),
            Ok("") => faults.add(line, Some(column), "is empty"),
            Ok(text) if text.chars().count() > MAX_CELL => {
                faults.add(
                    line,
                    Some(column),
                    format!("longer than {MAX_CELL} characters"),
                );
            }
            Ok(text) if text.chars().any(char::is_control) => {
                faults.add(line, Some(column), "has control characters")
            }
            Ok(text) => *cell = Some(text.to_owned()),
        }
    }
    let [case, debtor, name, relation, number] = cells;
    let relation = relation.and_then(|word| {
        let relation = Relation::parse(&word);
        if relation.is_none() {
            let words: Vec<_> = Relation::ALL.iter().map(|r| r.as_str()).collect();
            faults.add(
                line,
                Some("relation"),
                format!("must be one of {}", words.join(", ")),
            );
        }
        relation
    });
    let number = number.and_then(|text| match PhoneNumber::parse(&text, region, short) {
        Ok(number) => Some(number),
        Err(e) => {
            faults.add(line, Some("number"), e.to_string());
            None
        }
    });
    Some(Row {
        line,
        case: case?,
        debtor: debtor?,
        name: name?,
        relation: relation?,
        number: number?,
    })
}

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Rows of the file.
    pub rows: usize,
    /// Cases that were new.
    pub new_cases: usize,
    /// Numbers that were new to their case.
    pub new_contact_points: usize,
}

/// Writes the rows, all or none. A case that is known keeps its batch and its state.
///
/// # Errors
/// [`ImportError::Faults`] for a row whose case is known with another debtor; then nothing is written.
pub async fn apply(
    db: &Db,
    client: &clients::Client,
    batch: &str,
    rows: &[Row],
    now_ms: i64,
) -> Result<Imported, ImportError> {
    let mut imported = Imported {
        rows: rows.len(),
        ..Imported::default()
    };
    let mut faults = Faults::default();
    let mut tx = db.begin().await?;
    let batch = batches::ensure(&mut tx, client.id, batch, now_ms).await?;
    for row in rows {
        let debtor = cases::ensure_debtor(&mut tx, client.id, &row.debtor, now_ms).await?;
        let case = match cases::by_reference(&mut tx, client.id, &row.case).await? {
            Some(case) => case,
            None => {
                imported.new_cases += 1;
                cases::insert(&mut tx, client.id, batch, debtor, &row.case, now_ms).await?
            }
        };
        if case.debtor_id != debtor {
            faults.add(
                row.line,
                Some("debtor"),
                "the case was imported before with another debtor",
            );
            continue;
        }
        let (_, new) = contact_points::ensure(
            &mut tx,
            case.id,
            &row.name,
            row.relation,
            &row.number,
            now_ms,
        )
        .await?;
        imported.new_contact_points += usize::from(new);
    }
    if let Err(error) = faults.into_result() {
        tx.rollback().await?;
        return Err(error);
    }
    tx.commit().await?;
    Ok(imported)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::{
        ids::CaseId,
        store::tests::{NOW_MS, Test, on_both},
    };

    const GOOD: &str = "\u{feff}case,debtor,name,relation,number\n\
        C1,D1,王小明,debtor,138 0013 8000\n\
        C1,D1,\"李, 红\",relative,+8613900139000\n\
        C2,D2,张伟,debtor,010 8888 8888\n";

    fn read(text: impl AsRef<[u8]>) -> Result<Vec<Row>, ImportError> {
        parse(text.as_ref(), Region::CN, &ShortCodes::default())
    }

    fn faults(text: impl AsRef<[u8]>) -> Vec<(u64, Option<&'static str>)> {
        match read(text) {
            Err(ImportError::Faults { faults, .. }) => {
                faults.into_iter().map(|f| (f.line, f.column)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_fault_is_named_with_row_and_column_and_repeats_nothing() {
        let bad = "case,debtor,name,relation,number\n\
            C1,D1,王小明,debtor,13800138000\n\
            C2,,王小明,boss,12\n\
            C3,D3,王小明\n\
            C1,D9,王小明,debtor,13800138001\n\
            C4,D4,\"a\u{7}b\",debtor,13800138002x\n";
        let expected = [
            (3, Some("debtor")),
            (3, Some("relation")),
            (3, Some("number")),
            (4, None),
            (5, Some("debtor")),
            (6, Some("name")),
            (6, Some("number")),
        ];
        assert_eq!(faults(bad), expected);
        let text = read(bad).unwrap_err().to_string();
        assert!(
            text.contains("line 3, column relation: must be one of debtor, joint_debtor"),
            "{text}"
        );
        assert!(
            !text.contains("王小明") && !text.contains("13800138"),
            "{text}"
        );
    }

    #[test]
    fn a_wrong_head_is_named_before_any_row() {
        assert_eq!(faults(""), [(1, None)]);
        assert_eq!(
            faults("case,debtor,name,number\nC,D,N,1\n"),
            [(1, Some("relation"))]
        );
        assert_eq!(
            faults("case,debtor,name,relation,number,amount\n"),
            [(1, None)]
        );
        assert_eq!(
            faults("case,case,debtor,name,relation,number\n"),
            [(1, Some("case"))]
        );
    }

    #[test]
    fn columns_may_stand_in_any_order() {
        let shuffled = "number,relation,name,debtor,case\n13800138000,debtor,王小明,D1,C1\n";
        let rows = read(shuffled).unwrap();
        assert_eq!(
            (rows[0].case.as_str(), rows[0].debtor.as_str()),
            ("C1", "D1")
        );
    }

    #[test]
    fn gbk_is_refused_by_name_of_the_column() {
        let mut file = b"case,debtor,name,relation,number\nC1,D1,".to_vec();
        file.extend([0xcd, 0xf5, 0xd0, 0xa1]);
        file.extend(b",debtor,13800138000\n");
        assert_eq!(faults(file), [(2, Some("name"))]);
    }

    #[test]
    fn a_file_too_large_is_refused_in_bounded_memory() {
        let endless = std::io::Read::chain(
            &b"case,debtor,name,relation,number\nC1,D1,\""[..],
            std::io::repeat(b'x'),
        );
        let error = parse(endless, Region::CN, &ShortCodes::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("larger than 16 MiB"), "{error}");
        let many = format!(
            "{}{}",
            "case,debtor,name,relation,number\n",
            "C,D,N,debtor,13800138000\n".repeat(20_001)
        );
        assert_eq!(faults(many), [(20_002, None)]);
        let wrong = format!(
            "{}{}",
            "case,debtor,name,relation,number\n",
            "C,D,N,boss,13800138000\n".repeat(150)
        );
        let error = read(wrong).unwrap_err().to_string();
        assert!(error.ends_with("and 50 more"), "{error}");
    }

    async fn client(test: &Test) -> clients::Client {
        let mut tx = test.db.begin().await.unwrap();
        let client = clients::ensure(&mut tx, "bank", "Bank", NOW_MS)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        client
    }

    on_both! {
        async fn a_file_imported_twice_changes_nothing_and_new_numbers_are_added(test: Test) {
            let client = client(&test).await;
            let rows = read(GOOD).unwrap();
            let first = apply(&test.db, &client, "B1", &rows, NOW_MS).await.unwrap();
            assert_eq!(first, Imported { rows: 3, new_cases: 2, new_contact_points: 3 });
            let again = apply(&test.db, &client, "B2", &rows, NOW_MS).await.unwrap();
            assert_eq!(again, Imported { rows: 3, new_cases: 0, new_contact_points: 0 });
            let more = read(format!("{GOOD}C2,D2,张伟,debtor,13700137000\n")).unwrap();
            let more = apply(&test.db, &client, "B2", &more, NOW_MS).await.unwrap();
            assert_eq!(more, Imported { rows: 4, new_cases: 0, new_contact_points: 1 });
            let mut tx = test.db.read().await.unwrap();
            let stored = cases::list(&mut tx, CaseId::new(0), 10).await.unwrap();
            let shown: Vec<_> =
                stored.iter().map(|c| (c.case.reference.as_str(), c.batch.as_str(), c.contact_points)).collect();
            assert_eq!(shown, [("C1", "B1", 2), ("C2", "B1", 2)]);
        }

        async fn a_contradiction_with_what_is_stored_imports_nothing(test: Test) {
            let client = client(&test).await;
            apply(&test.db, &client, "B1", &read(GOOD).unwrap(), NOW_MS).await.unwrap();
            let bad = "case,debtor,name,relation,number\nC9,D9,N,debtor,13600136000\nC2,D1,N,debtor,13500135000\n";
            let error = apply(&test.db, &client, "B9", &read(bad).unwrap(), NOW_MS).await.unwrap_err();
            let ImportError::Faults { faults, .. } = error else { panic!("{error}") };
            assert_eq!((faults.len(), faults[0].line, faults[0].column), (1, 3, Some("debtor")));
            let mut tx = test.db.read().await.unwrap();
            assert_eq!(cases::by_reference(&mut tx, client.id, "C9").await.unwrap(), None);
            assert!(batches::list(&mut tx).await.unwrap().iter().all(|b| b.code != "B9"));
        }
    }
}
