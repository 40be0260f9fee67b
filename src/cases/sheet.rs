//! Spreadsheets in: rows of text cells out of CSV (UTF-8, UTF-16 with a mark, GBK) or XLSX, streamed and bounded.
//!
//! What the cells mean is said elsewhere (`template`, `entry`). Nothing here guesses at content: a number that the
//! spreadsheet itself has rounded is a fault and not a number. A file is read by a thread of its own, which is at most a
//! few hundred rows ahead, so that a file of any size takes the same memory.

mod mixed;
mod quotes;
mod text;
mod workbook;

use std::{
    fmt,
    fs::File,
    io::{Cursor, Read, Seek, SeekFrom},
    path::PathBuf,
    sync::{Arc, mpsc},
};

/// Where a file's bytes are.
#[derive(Debug, Clone)]
pub enum Source {
    /// On a disk.
    Path(PathBuf),
    /// In memory: the body of a request.
    Bytes(Arc<[u8]>),
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

/// The encoding of a CSV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// A mark at the beginning, or UTF-8 if all of it is, or else GBK if all of it is.
    #[default]
    Auto,
    /// UTF-8.
    Utf8,
    /// GBK, and GB 18030, which contains it.
    Gbk,
}

/// How to read a file.
#[derive(Debug, Clone)]
pub struct Options {
    /// Encoding of CSV.
    pub encoding: Encoding,
    /// Delimiter of CSV; `None`: whichever of comma, semicolon, tab and bar is most frequent in the first line.
    pub delimiter: Option<char>,
    /// Name of the sheet of a workbook; `None`: the first.
    pub sheet: Option<String>,
    /// What is too much.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            encoding: Encoding::Auto,
            delimiter: None,
            sheet: None,
            limits: Limits::default(),
        }
    }
}

/// What is too much for one file.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the file.
    pub bytes: u64,
    /// Rows with anything in them.
    pub rows: u64,
    /// Cells of a row.
    pub cells: usize,
    /// Bytes that an XLSX file may become when it is unpacked.
    pub unpacked: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 256 << 20,
            rows: 1_000_000,
            cells: 400,
            unpacked: 1 << 30,
        }
    }
}

/// A row of a file. Rows with nothing in them are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SheetRow {
    /// Line of a CSV file, row of a sheet; from 1.
    pub line: u64,
    /// Its cells as text, without blanks around them.
    pub cells: Vec<String>,
    /// Cells that hold no value: an error of the spreadsheet, or a number that it has rounded.
    pub faults: Vec<(usize, &'static str)>,
    /// Cells of a CSV file that hold a line break, with the delimiters in them.
    pub swallowed: Vec<(usize, usize)>,
}

impl SheetRow {
    /// Cells that do not belong to a row under so many heads, where `read` says which others are read all the same: values
    /// that no column is for, and a cell that holds a row of its own.
    #[must_use]
    pub fn misfits(
        &self,
        heads: usize,
        read: impl Fn(usize) -> bool,
    ) -> Vec<(usize, &'static str)> {
        let surplus = self.cells.iter().enumerate().skip(heads);
        let surplus = surplus
            .filter(|(at, cell)| !cell.is_empty() && !read(*at))
            .map(|(at, _)| (at, SURPLUS));
        let swallowed = self.swallowed.iter();
        let swallowed = swallowed
            // A row that is swallowed whole brings as many as are between the heads.
            .filter(|(_, delimiters)| *delimiters >= heads.saturating_sub(1).max(2))
            .map(|(at, _)| (*at, SWALLOWED));
        swallowed.chain(surplus).collect()
    }

    /// How many heads this row has, if it is the one with the heads: empty ones behind the last are none.
    #[must_use]
    pub fn heads(&self) -> usize {
        let last = self.cells.iter().rposition(|cell| !cell.is_empty());
        last.map_or(0, |at| at + 1)
    }
}

const SURPLUS: &str = "a value behind the last head: does a cell hold the delimiter (as in 1,000) without quotation marks around it? If it \
                       is a value of its own, give its column a head";
const SWALLOWED: &str = "holds a line break and as many delimiters as a row: is a quotation mark before it not closed? A text that is \
                         meant so can come as XLSX";

/// Why a file cannot be read on. Never repeats what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SheetError {
    /// The line or row, where one is at fault.
    pub line: Option<u64>,
    /// The column, from 0, where one is at fault.
    pub column: Option<usize>,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl SheetError {
    fn whole(problem: impl Into<String>) -> Self {
        Self {
            line: None,
            column: None,
            problem: problem.into(),
        }
    }

    fn at(line: u64, problem: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            ..Self::whole(problem)
        }
    }
}

impl std::error::Error for SheetError {}

impl fmt::Display for SheetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}")?;
            if let Some(column) = self.column {
                write!(f, ", column {}", letters(column))?;
            }
            write!(f, ": ")?;
        }
        f.write_str(&self.problem)
    }
}

/// The letters of a column as spreadsheets show them: A, B, …, Z, AA.
#[must_use]
pub fn letters(column: usize) -> String {
    let mut text = Vec::new();
    let mut rest = column + 1;
    while rest > 0 {
        // 0..26 fits a byte.
        text.push(b'A' + ((rest - 1) % 26) as u8);
        rest = (rest - 1) / 26;
    }
    text.reverse();
    String::from_utf8(text).unwrap_or_default()
}

/// The column of its letters, at most three.
#[must_use]
pub fn column(letters: &str) -> Option<usize> {
    let fits = (1..=3).contains(&letters.len()) && letters.bytes().all(|b| b.is_ascii_uppercase());
    fits.then(|| {
        letters
            .bytes()
            .fold(0, |sum, b| sum * 26 + usize::from(b - b'A') + 1)
            - 1
    })
}

/// What the reading thread tells.
enum Told {
    Rows(Vec<SheetRow>),
    Failed(SheetError),
    End,
}

/// Rows sent at a time, and how often that may be waiting.
const AT_A_TIME: usize = 128;
const WAITING: usize = 4;

/// Hands rows on; says when nobody wants them any more.
struct Sink {
    rows: Vec<SheetRow>,
    sent: u64,
    limits: Limits,
    to: mpsc::SyncSender<Told>,
}

/// Nobody listens any more.
struct Gone;

impl Sink {
    fn push(&mut self, row: SheetRow) -> Result<Result<(), Gone>, SheetError> {
        if row.cells.iter().all(String::is_empty) && row.faults.is_empty() {
            return Ok(Ok(()));
        }
        if row.cells.len() > self.limits.cells {
            return Err(SheetError::at(
                row.line,
                format!(
                    "more than {} cells: remove the columns that are not needed",
                    self.limits.cells
                ),
            ));
        }
        self.sent += 1;
        if self.sent > self.limits.rows {
            return Err(SheetError::at(
                row.line,
                format!("more than {} rows: split the file", self.limits.rows),
            ));
        }
        self.rows.push(row);
        if self.rows.len() < AT_A_TIME {
            return Ok(Ok(()));
        }
        Ok(self.flush())
    }

    fn flush(&mut self) -> Result<(), Gone> {
        let rows = std::mem::take(&mut self.rows);
        self.to.send(Told::Rows(rows)).map_err(|_| Gone)
    }
}

/// The rows of a file, in its order. After an error there are no more.
pub struct Rows {
    from: Option<mpsc::Receiver<Told>>,
    ready: std::vec::IntoIter<SheetRow>,
}

impl Iterator for Rows {
    type Item = Result<SheetRow, SheetError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.ready.next() {
                return Some(Ok(row));
            }
            match self.from.as_ref()?.recv() {
                Ok(Told::Rows(rows)) => self.ready = rows.into_iter(),
                Ok(Told::End) => self.from = None,
                Ok(Told::Failed(error)) => {
                    self.from = None;
                    return Some(Err(error));
                }
                Err(_) => {
                    self.from = None;
                    let problem = "the file broke its reader: open it in a spreadsheet program and save it anew";
                    return Some(Err(SheetError::whole(problem)));
                }
            }
        }
    }
}

/// What a file and a body have in common.
trait Bytes: Read + Seek + Send {}
impl<T: Read + Seek + Send> Bytes for T {}

/// Opens a file. Whether it is CSV or XLSX is seen from its first bytes, not from its name.
///
/// # Errors
/// A file that cannot be opened, is empty, too large, or of a kind that cannot be read. What is wrong further on comes
/// with the rows.
pub fn open(source: &Source, options: &Options) -> Result<Rows, SheetError> {
    let cannot = |e: std::io::Error| SheetError::whole(format!("cannot be read: {e}"));
    let mut bytes: Box<dyn Bytes> = match source {
        Source::Path(path) => Box::new(File::open(path).map_err(cannot)?),
        Source::Bytes(bytes) => Box::new(Cursor::new(bytes.clone())),
    };
    let length = bytes.seek(SeekFrom::End(0)).map_err(cannot)?;
    if length > options.limits.bytes {
        return Err(SheetError::whole(format!(
            "larger than {} MiB: split the file",
            options.limits.bytes >> 20
        )));
    }
    bytes.rewind().map_err(cannot)?;
    let mut first = Vec::new();
    bytes
        .by_ref()
        .take(8)
        .read_to_end(&mut first)
        .map_err(cannot)?;
    bytes.rewind().map_err(cannot)?;
    if first.is_empty() {
        return Err(SheetError::whole("the file is empty"));
    }
    if first.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]) {
        return Err(SheetError::whole(
            "an old Excel file (.xls), or one with a password: save it as .xlsx without a password, or as CSV",
        ));
    }
    let workbook = first.starts_with(b"PK\x03\x04");
    let (to, from) = mpsc::sync_channel(WAITING);
    let options = options.clone();
    let read = move || {
        let mut sink = Sink {
            rows: Vec::new(),
            sent: 0,
            limits: options.limits,
            to,
        };
        let done = if workbook {
            workbook::read(bytes, &options, &mut sink)
        } else {
            text::read(bytes, &options, &mut sink)
        };
        // Whoever does not listen any more need not be told.
        let _ = match done {
            Ok(Err(Gone)) => Ok(()),
            Ok(Ok(())) => sink
                .flush()
                .and_then(|()| sink.to.send(Told::End).map_err(|_| Gone)),
            Err(error) => sink
                .flush()
                .and_then(|()| sink.to.send(Told::Failed(error)).map_err(|_| Gone)),
        };
    };
    std::thread::Builder::new()
        .name("sheet".into())
        .spawn(read)
        .map_err(cannot)?;
    Ok(Rows {
        from: Some(from),
        ready: Vec::new().into_iter(),
    })
}

#[cfg(test)]
#[path = "sheet_tests.rs"]
mod tests;
