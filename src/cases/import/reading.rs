//! The thread that reads and parses a file while the database is busy with the piece before.

use std::sync::Arc;

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

/// Starts to read. The thread ends with the file, or when nobody listens any more.
pub(super) fn start(
    rows: RowSource,
    template: Template,
    reading: Arc<Reading>,
) -> mpsc::Receiver<Told> {
    let (to, from) = mpsc::channel(WAITING);
    let failed = to.clone();
    let read = move || {
        let last = match read(rows, &template, &reading, &to) {
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

fn read(
    mut rows: RowSource,
    template: &Template,
    reading: &Reading,
    to: &mpsc::Sender<Told>,
) -> Result<(), Vec<Fault>> {
    let unreadable = |error: SheetError| vec![Fault::from(error)];
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
    let bound = Bound::new(template, &heads)?;
    let told = Told::Heads {
        before,
        left_out: bound.left_out(),
    };
    if to.blocking_send(told).is_err() {
        return Ok(());
    }
    let mut seen = Seen::default();
    let mut ready = Vec::with_capacity(AT_A_TIME);
    for row in rows {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                let _ = to.blocking_send(Told::Rows(ready));
                return Err(unreadable(error));
            }
        };
        let parsed = entry::read(&bound, &row, reading).and_then(|mut entry| {
            seen.check(&mut entry, &bound)?;
            Ok(entry)
        });
        ready.push(Parsed {
            cells: row.cells,
            row: parsed,
        });
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
