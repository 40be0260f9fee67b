//! Faulty rows in a file of their own: the columns of the file they came in and one that says what is wrong. It is written
//! beside its place and put there when it is whole: until then whatever stands there stays, and nobody sees half of it.

use std::{
    fs::File,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
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
    to: Option<Growing>,
}

/// The file while it grows; taken away again unless it is put in its place.
struct Growing {
    path: PathBuf,
    writer: csv::Writer<File>,
}

impl Drop for Growing {
    fn drop(&mut self) {
        // In its place it has another name, and this one is gone.
        let _ = std::fs::remove_file(&self.path);
    }
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
            Some(growing) => written(growing.writer.write_record(record)).map_err(failed),
            None => Ok(()),
        }
    }

    /// Puts the file in its place when all of it is on the disk; says whether there is one.
    pub(super) fn finish(&mut self) -> Result<bool, ImportError> {
        let (Some(mut growing), Some(path)) = (self.to.take(), self.path.clone()) else {
            return Ok(false);
        };
        growing
            .writer
            .flush()
            .and_then(|()| growing.writer.get_ref().sync_all())
            .and_then(|()| std::fs::rename(&growing.path, &path))
            .map_err(|source| ImportError::Rejects { path, source })?;
        Ok(true)
    }

    fn open(&self, path: &Path) -> std::io::Result<Growing> {
        let beside = beside(path)?;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        // Spreadsheets take a file without this mark for one in their own encoding.
        file.write_all("\u{feff}".as_bytes())?;
        // Empty lines above the heads were left out when they were read.
        let lines = usize::try_from(self.header_row).unwrap_or(1);
        file.write_all(
            "\n".repeat(lines.saturating_sub(self.before.len()))
                .as_bytes(),
        )?;
        let writer = csv::WriterBuilder::new()
            .flexible(true)
            .delimiter(self.delimiter)
            .from_writer(file);
        let mut growing = Growing {
            path: beside,
            writer,
        };
        for (index, cells) in self.before.iter().enumerate() {
            let last = index + 1 == self.before.len();
            let record = self.record(cells, if last { ERROR_HEAD } else { "" });
            written(growing.writer.write_record(record))?;
        }
        Ok(growing)
    }

    /// A row with its error behind it, and without the error it had before. A cell that a spreadsheet would take for a
    /// formula gets an apostrophe, which reading takes off again.
    fn record(&self, cells: &[String], error: &str) -> Vec<String> {
        let heads = self.before.last().map_or(&[][..], Vec::as_slice);
        let safe = |cell: &str| match cell.chars().next() {
            Some('=' | '+' | '-' | '@') => format!("'{cell}"),
            _ => cell.to_owned(),
        };
        let own = heads.iter().position(|head| head == ERROR_HEAD);
        // Values behind the last head stay where they are, for whoever corrects the row.
        let width = heads.len().max(cells.len());
        let mut record: Vec<String> = (0..width)
            .filter(|at| Some(*at) != own)
            .map(|at| cells.get(at).map(|cell| safe(cell)).unwrap_or_default())
            .collect();
        let place = heads.len() - usize::from(own.is_some());
        record.insert(place.min(record.len()), error.to_owned());
        record
    }
}

/// A name in the same folder that no other import at work has.
fn beside(path: &Path) -> std::io::Result<PathBuf> {
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        let problem = "there is something else of this name than a file";
        return Err(std::io::Error::new(
            std::io::ErrorKind::AlreadyExists,
            problem,
        ));
    }
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut name = std::ffi::OsString::from(name);
    name.push(format!(".{}.part", std::process::id()));
    let beside = path.with_file_name(name);
    // Left over by a process of this number that was killed.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(beside),
    }
}

fn written(done: csv::Result<()>) -> std::io::Result<()> {
    done.map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        _ => std::io::ErrorKind::Other.into(),
    })
}
