//! The thread that reads and parses a file while the database is busy with the piece before.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::mpsc;

use super::RowSource;
use crate::cases::{
    bind::{Bound, Fault},
    entry::{self, Entry, Reading, Seen},
    sheet::SheetError,
    template::Template,
};

/// A row with its cells as they stand in the file.
pub(super) struct Parsed {
    pub cells: Vec<String>,
    /// Its case, as [`entry::key`] has it, if it names one.
    pub case: Option<u64>,
    pub row: Result<Entry, Vec<Fault>>,
}

/// What the thread tells.
pub(super) enum Told {
    /// The lines up to and with the heads, and the columns that are not read.
    Heads {
        before: Vec<Vec<String>>,
        left_out: Vec<String>,
    },
    Rows(Vec<Parsed>),
    /// The file cannot be read any further, or not at all.
    Unreadable(Vec<Fault>),
    End,
}

/// Rows told at a time, and how often that may be waiting.
const AT_A_TIME: usize = 64;
const WAITING: usize = 8;

/// Opens a file once more.
pub type Again = Box<dyn FnOnce() -> Result<RowSource, SheetError> + Send>;

/// Starts to read. With `again`, all of it is read before to find the cases that have a faulty row: all their rows are
/// faulty then. The thread ends with the file, or when nobody listens any more.
pub(super) fn start(
    rows: RowSource,
    again: Option<Again>,
    template: Template,
    reading: Arc<Reading>,
) -> mpsc::Receiver<Told> {
    let (to, from) = mpsc::channel(WAITING);
    let failed = to.clone();
    let read = move || {
        let done = match again {
            None => read(rows, &template, &reading, &HashMap::new(), &to),
            Some(again) => faulty_cases(rows, &template, &reading).and_then(|faulty| {
                let rows = again().map_err(unreadable)?;
                read(rows, &template, &reading, &faulty, &to)
            }),
        };
        let last = match done {
            Ok(()) => Told::End,
            Err(faults) => Told::Unreadable(faults),
        };
        // Whoever does not listen any more need not be told.
        let _ = to.blocking_send(last);
    };
    let spawned = std::thread::Builder::new()
        .name("import".into())
        .spawn(read);
    if let Err(error) = spawned {
        let fault = Fault {
            line: 1,
            column: None,
            problem: format!("cannot be read: {error}"),
        };
        let _ = failed.try_send(Told::Unreadable(vec![fault]));
    }
    from
}

fn unreadable(error: SheetError) -> Vec<Fault> {
    vec![Fault::from(error)]
}

/// The rows of a file, each parsed and compared with those before it.
struct Reader<'a> {
    rows: RowSource,
    bound: Bound,
    reading: &'a Reading,
    seen: Seen,
    /// The lines up to and with the heads.
    before: Vec<Vec<String>>,
}

impl<'a> Reader<'a> {
    fn new(
        mut rows: RowSource,
        template: &Template,
        reading: &'a Reading,
    ) -> Result<Self, Vec<Fault>> {
        let mut before = Vec::new();
        let heads = loop {
            match rows.next() {
                Some(row) => {
                    let row = row.map_err(unreadable)?;
                    before.push(row.cells.clone());
                    if row.line >= template.header_row {
                        break row;
                    }
                }
                None => {
                    return Err(vec![Fault {
                        line: template.header_row,
                        column: None,
                        problem: "the file ends before the heads of its columns".to_owned(),
                    }]);
                }
            }
        };
        Ok(Self {
            rows,
            bound: Bound::new(template, &heads)?,
            reading,
            seen: Seen::default(),
            before,
        })
    }

    /// The next row, with its line.
    fn next(&mut self) -> Option<Result<(u64, Parsed), Vec<Fault>>> {
        let row = match self.rows.next()? {
            Ok(row) => row,
            Err(error) => return Some(Err(unreadable(error))),
        };
        let read = entry::read(&self.bound, &row, self.reading);
        let case = match &read {
            Ok(entry) => Some(entry.case.clone()),
            Err(_) => entry::case_of(&self.bound, &row),
        };
        let case = case.map(|case| entry::key(&case));
        if read.is_err() {
            self.seen.pass(case);
        }
        let parsed = read.and_then(|mut entry| {
            self.seen.check(&mut entry, &self.bound)?;
            Ok(entry)
        });
        let parsed = Parsed {
            cells: row.cells,
            case,
            row: parsed,
        };
        Some(Ok((row.line, parsed)))
    }
}

/// The cases of which a row is faulty, and the line of the first such row.
fn faulty_cases(
    rows: RowSource,
    template: &Template,
    reading: &Reading,
) -> Result<HashMap<u64, u64>, Vec<Fault>> {
    let mut reader = Reader::new(rows, template, reading)?;
    let mut faulty = HashMap::new();
    while let Some(next) = reader.next() {
        let (line, parsed) = next?;
        if let (Some(case), Err(_)) = (parsed.case, parsed.row) {
            faulty.entry(case).or_insert(line);
        }
    }
    Ok(faulty)
}

fn read(
    rows: RowSource,
    template: &Template,
    reading: &Reading,
    faulty: &HashMap<u64, u64>,
    to: &mpsc::Sender<Told>,
) -> Result<(), Vec<Fault>> {
    let mut reader = Reader::new(rows, template, reading)?;
    let told = Told::Heads {
        before: std::mem::take(&mut reader.before),
        left_out: reader.bound.left_out(),
    };
    if to.blocking_send(told).is_err() {
        return Ok(());
    }
    let mut ready = Vec::with_capacity(AT_A_TIME);
    while let Some(next) = reader.next() {
        let (line, mut parsed) = match next {
            Ok(next) => next,
            Err(faults) => {
                let _ = to.blocking_send(Told::Rows(ready));
                return Err(faults);
            }
        };
        let known = parsed.case.and_then(|case| faulty.get(&case));
        if let (Some(first), Ok(_)) = (known, &parsed.row) {
            parsed.row = Err(vec![Fault {
                line,
                column: None,
                problem: format!(
                    "line {first} of the same case is faulty: all rows of the case wait until that one is corrected"
                ),
            }]);
        }
        ready.push(parsed);
        if ready.len() == AT_A_TIME {
            let rows = std::mem::replace(&mut ready, Vec::with_capacity(AT_A_TIME));
            if to.blocking_send(Told::Rows(rows)).is_err() {
                return Ok(());
            }
        }
    }
    let _ = to.blocking_send(Told::Rows(ready));
    Ok(())
}
