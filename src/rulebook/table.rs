//! Files with named columns, row by row: what the imports of bars, special days and outside counts have in common.

use std::{fmt, path::Path};

use super::Refused;
use crate::cases::sheet::{self, SheetError};

/// The most rows of one file.
const MAX_ROWS: u64 = 200_000;
/// So many faults are listed; more are counted.
const MAX_FAULTS: usize = 100;

/// One fault of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line of the file, from 1.
    pub line: u64,
    /// The column, where one is at fault.
    pub column: Option<&'static str>,
    /// What is wrong and what would be right; no number and no name.
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

/// Faults up to a limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// The first hundred, in the order of the file.
    pub listed: Vec<Fault>,
    /// How many more there are.
    pub more: u64,
}

impl Faults {
    /// Adds one.
    pub fn add(&mut self, line: u64, column: Option<&'static str>, problem: impl Into<String>) {
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

    /// Nothing is imported if there are any.
    ///
    /// # Errors
    /// [`Refused::Invalid`] with the list.
    pub fn refuse(&self) -> Result<(), Refused> {
        if self.listed.is_empty() {
            return Ok(());
        }
        let mut text = "nothing was imported, the file has faults:".to_owned();
        for fault in &self.listed {
            text.push_str(&format!("\n  {fault}"));
        }
        if self.more > 0 {
            text.push_str(&format!("\n  and {} more", self.more));
        }
        Err(Refused::Invalid(text))
    }
}

/// One row.
#[derive(Debug)]
pub struct Line {
    /// Line of the file, from 1.
    pub line: u64,
    cells: Vec<String>,
    places: Vec<Option<usize>>,
}

impl Line {
    /// The cell of the column that stands at this place in the list that [`rows`] was given; empty if the file has no
    /// such column.
    #[must_use]
    pub fn cell(&self, column: usize) -> &str {
        let place = self.places.get(column).copied().flatten();
        place
            .and_then(|at| self.cells.get(at))
            .map_or("", |cell| cell.trim())
    }
}

/// A column that a file has.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// Whether a file without it is refused.
    pub needed: bool,
}

impl Column {
    /// One that must be there.
    #[must_use]
    pub const fn needed(name: &'static str) -> Self {
        Self { name, needed: true }
    }

    /// One that may be there.
    #[must_use]
    pub const fn optional(name: &'static str) -> Self {
        Self {
            name,
            needed: false,
        }
    }
}

/// Reads a file whose first row names its columns, in any order.
///
/// # Errors
/// [`Refused::Invalid`]: not readable as a table, a column that is missing or unknown or there twice, too many rows.
pub fn rows(file: &Path, columns: &[Column]) -> Result<Vec<Line>, Refused> {
    let mut all = cells(file)?.into_iter();
    let (_, heads) = all
        .next()
        .ok_or_else(|| Refused::Invalid("the file is empty".into()))?;
    let heads: Vec<String> = heads
        .iter()
        .map(|head| head.trim().to_lowercase())
        .collect();
    let mut places = Vec::with_capacity(columns.len());
    for column in columns {
        let mut at = heads
            .iter()
            .enumerate()
            .filter(|(_, head)| *head == column.name);
        match (at.next(), at.next()) {
            (Some((place, _)), None) => places.push(Some(place)),
            (Some(_), Some(_)) => {
                return Err(Refused::Invalid(format!(
                    "line 1: column {} stands there twice",
                    column.name
                )));
            }
            (None, _) if column.needed => {
                return Err(Refused::Invalid(format!(
                    "line 1: there is no column {}; the file needs: {}",
                    column.name,
                    names(columns)
                )));
            }
            (None, _) => places.push(None),
        }
    }
    let known = |head: &String| columns.iter().any(|column| column.name == head);
    if let Some(at) = heads
        .iter()
        .position(|head| !head.is_empty() && !known(head))
    {
        return Err(Refused::Invalid(format!(
            "line 1: column {} is not one that is read here; the file has: {}",
            at + 1,
            names(columns)
        )));
    }
    Ok(all
        .filter(|(_, cells)| cells.iter().any(|cell| !cell.trim().is_empty()))
        .map(|(line, cells)| Line {
            line,
            cells,
            places: places.clone(),
        })
        .collect())
}

fn names(columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    names.join(", ")
}

/// The cells of every row with its line, out of CSV or XLSX.
fn cells(file: &Path) -> Result<Vec<(u64, Vec<String>)>, Refused> {
    let mut options = sheet::Options::default();
    options.limits.rows = MAX_ROWS;
    let wrong = |error: SheetError| Refused::Invalid(error.to_string());
    let (mut rows, mut heads) = (Vec::new(), None);
    for row in sheet::open(&file.to_path_buf().into(), &options).map_err(wrong)? {
        let row = row.map_err(wrong)?;
        if let Some((column, problem)) = row.faults.first() {
            return Err(wrong(SheetError {
                line: Some(row.line),
                column: Some(*column),
                problem: (*problem).to_owned(),
            }));
        }
        let heads = *heads.get_or_insert_with(|| row.heads());
        if let Some((column, problem)) = row.misfits(heads, |_| false).first() {
            return Err(wrong(SheetError {
                line: Some(row.line),
                column: Some(*column),
                problem: (*problem).to_owned(),
            }));
        }
        rows.push((row.line, row.cells));
    }
    Ok(rows)
}
