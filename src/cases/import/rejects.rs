//! Faulty rows in a file of their own: the columns of the file they came in and one that says what is wrong. Corrected, it
//! can be imported as it is.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use super::ImportError;
use crate::cases::{
    bind::{ERROR_HEAD, Fault},
    template::Template,
};

pub(super) struct Rejects {
    path: Option<PathBuf>,
    delimiter: u8,
    header_row: u64,
    before: Vec<Vec<String>>,
    to: Option<csv::Writer<File>>,
}

impl Rejects {
    pub(super) fn new(path: Option<PathBuf>, template: &Template) -> Self {
        Self {
            path,
            // The template reads it again.
            delimiter: template
                .delimiter
                .and_then(|d| u8::try_from(d).ok())
                .unwrap_or(b','),
            header_row: template.header_row,
            before: Vec::new(),
            to: None,
        }
    }

    /// The lines up to and with the heads.
    pub(super) fn heads(&mut self, before: Vec<Vec<String>>) {
        self.before = before;
    }

    /// Writes a faulty row. The file is made with the first of them.
    pub(super) fn add(&mut self, cells: &[String], faults: &[Fault]) -> Result<(), ImportError> {
        let Some(path) = self.path.clone() else {
            return Ok(());
        };
        let failed = |source| ImportError::Rejects {
            path: path.clone(),
            source,
        };
        if self.to.is_none() {
            self.to = Some(self.open(&path).map_err(failed)?);
        }
        let said: Vec<String> = faults
            .iter()
            .map(|fault| match &fault.column {
                Some(column) => format!("{column}: {}", fault.problem),
                None => fault.problem.clone(),
            })
            .collect();
        let record = self.record(cells, &said.join("; "));
        match &mut self.to {
            Some(writer) => written(writer.write_record(record)).map_err(failed),
            None => Ok(()),
        }
    }

    /// Makes sure that all of it is on the disk.
    pub(super) fn finish(&mut self) -> Result<(), ImportError> {
        if let (Some(mut writer), Some(path)) = (self.to.take(), self.path.clone()) {
            writer
                .flush()
                .and_then(|()| writer.get_ref().sync_all())
                .map_err(|source| ImportError::Rejects { path, source })?;
        }
        Ok(())
    }

    fn open(&self, path: &Path) -> std::io::Result<csv::Writer<File>> {
        use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        // Spreadsheets take a file without this mark for one in their own encoding.
        file.write_all("\u{feff}".as_bytes())?;
        // Empty lines above the heads were left out when they were read.
        let lines = usize::try_from(self.header_row).unwrap_or(1);
        file.write_all(
            "\n".repeat(lines.saturating_sub(self.before.len()))
                .as_bytes(),
        )?;
        let mut writer = csv::WriterBuilder::new()
            .flexible(true)
            .delimiter(self.delimiter)
            .from_writer(file);
        for (index, cells) in self.before.iter().enumerate() {
            let last = index + 1 == self.before.len();
            let record = self.record(cells, if last { ERROR_HEAD } else { "" });
            written(writer.write_record(record))?;
        }
        Ok(writer)
    }

    /// A row with its error behind it, and without the error it had before. A cell that a spreadsheet would take for a
    /// formula gets an apostrophe, which reading takes off again.
    fn record(&self, cells: &[String], error: &str) -> Vec<String> {
        let heads = self.before.last().map_or(&[][..], Vec::as_slice);
        let safe = |cell: &str| match cell.chars().next() {
            Some('=' | '+' | '-' | '@') => format!("'{cell}"),
            _ => cell.to_owned(),
        };
        let mut record: Vec<String> = (0..heads.len())
            .filter(|at| heads.get(*at).is_none_or(|head| head != ERROR_HEAD))
            .map(|at| cells.get(at).map(|cell| safe(cell)).unwrap_or_default())
            .collect();
        record.push(error.to_owned());
        record
    }
}

fn written(done: csv::Result<()>) -> std::io::Result<()> {
    done.map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        _ => std::io::ErrorKind::Other.into(),
    })
}
