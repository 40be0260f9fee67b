//! Tables out: rows of cells as CSV, XLSX or JSON, row by row, so that a long one needs no memory.
//!
//! A text that begins like a formula stays a text: in CSV it gets an apostrophe before it, which every spreadsheet
//! takes as "text follows"; XLSX has cells of type text, and there nothing is changed. Never reads a database, never
//! decides what a person may see. Read next: [`write()`].

mod encoded;

use std::io::Write;

pub use encoded::{Encoding, csv_in};
use rust_xlsxwriter::{Format as Look, Workbook, Worksheet, XlsxError};

/// One cell of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Words, also digits that are no number to count with (a case number, a telephone number).
    Text(String),
    /// A whole number.
    Int(i64),
    /// An amount in ten-thousandths of the currency's unit.
    Money(i64),
    /// A rate between 0 and 1, four decimals; `None` where there is nothing to divide by.
    Rate(Option<f64>),
    /// Nothing.
    Empty,
}

impl Cell {
    /// The cell in JSON: amounts are texts, because JSON numbers are not exact.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.clone().into(),
            Self::Int(v) => (*v).into(),
            Self::Money(e4) => money(*e4).into(),
            Self::Rate(v) => (*v).into(),
            Self::Empty => serde_json::Value::Null,
        }
    }

    /// The cell as people read it in a terminal.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Int(v) => v.to_string(),
            Self::Money(e4) => money(*e4),
            Self::Rate(Some(v)) => rate(*v),
            Self::Rate(None) | Self::Empty => String::new(),
        }
    }
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// UTF-8 with a byte order mark, without which spreadsheets take it for something else; lines end in CRLF (RFC 4180).
    Csv,
    /// An Office Open XML workbook of one sheet.
    Xlsx,
    /// `{"heads": [...], "rows": [[...], ...]}`; amounts are texts, because JSON numbers are not exact.
    Json,
}

impl Format {
    /// Ending of a file's name, and the stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
            Self::Json => "json",
        }
    }

    /// Reads the stored word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Csv, Self::Xlsx, Self::Json]
            .into_iter()
            .find(|f| f.as_str() == word)
    }

    /// Media type of an answer that carries it.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Json => "application/json",
        }
    }
}

/// Why a table was not written. Nothing of what was written before is of use then.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file, socket or buffer it was written into failed.
    #[error("cannot write the table: {0}")]
    Io(#[from] std::io::Error),
    /// The encoding of the file cannot hold a character.
    #[error(
        "cannot write the table: row {row}, column {}: a character that the encoding of the file cannot hold", .column + 1
    )]
    Character {
        /// The row, 1 is the first below the heads; 0 for the heads.
        row: usize,
        /// The column, 0 is the first.
        column: usize,
    },
    /// A workbook cannot hold it.
    #[error("cannot write the table as XLSX: row {row}: {source}; write it as CSV")]
    Xlsx {
        /// The row, 1 is the first below the heads; 0 for the sheet as a whole.
        row: u32,
        /// What the workbook says.
        source: Box<XlsxError>,
    },
}

/// Rows of a sheet, by its format.
const XLSX_ROWS: u32 = 1_048_576;
/// Integers up to this size survive in a sheet, whose numbers are IEEE doubles.
const EXACT: u64 = 1 << 53;
/// Amounts up to fifteen digits survive; longer ones are written as text.
const EXACT_MONEY: u64 = 1_000_000_000_000_000;

/// Writes a table. `sheet_name` is shown in a workbook only, cut to what one may be called.
///
/// # Errors
/// [`ExportError`]: the writer failed, or there are more rows, or longer texts, than a workbook can hold.
pub fn write(
    out: &mut (dyn Write + Send),
    format: Format,
    sheet_name: &str,
    heads: &[String],
    rows: impl Iterator<Item = Vec<Cell>>,
) -> Result<(), ExportError> {
    match format {
        Format::Csv => csv(out, heads, rows),
        Format::Xlsx => xlsx(out, sheet_name, heads, rows, None),
        Format::Json => json(out, heads, rows),
    }
}

/// Writes a table as a workbook with a second sheet of plain lines, such as what its columns mean.
///
/// # Errors
/// As of [`write()`].
pub fn workbook(
    out: &mut (dyn Write + Send),
    sheet_name: &str,
    heads: &[String],
    rows: impl Iterator<Item = Vec<Cell>>,
    (second, lines): (&str, &[String]),
) -> Result<(), ExportError> {
    xlsx(out, sheet_name, heads, rows, Some((second, lines)))
}

/// A text that no spreadsheet takes for a formula.
#[must_use]
pub fn neutral(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

/// An amount of ten-thousandths with at least two decimals and no more than it needs: `1234.50`, `-0.0001`.
#[must_use]
pub fn money(e4: i64) -> String {
    let (sign, size) = (if e4 < 0 { "-" } else { "" }, e4.unsigned_abs());
    let digits = format!("{:04}", size % 10_000);
    let decimals = digits.trim_end_matches('0').len().max(2);
    format!("{sign}{}.{}", size / 10_000, &digits[..decimals])
}

fn rate(rate: f64) -> String {
    format!("{rate:.4}")
}

fn csv(
    out: &mut (dyn Write + Send),
    heads: &[String],
    rows: impl Iterator<Item = Vec<Cell>>,
) -> Result<(), ExportError> {
    out.write_all(b"\xef\xbb\xbf")?;
    let mut csv = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .flexible(true)
        .from_writer(out);
    let failed = |e: csv::Error| ExportError::Io(e.into());
    csv.write_record(heads.iter().map(|head| neutral(head)))
        .map_err(failed)?;
    for row in rows {
        let cells = row.iter().map(|cell| match cell {
            Cell::Text(text) => neutral(text),
            other => other.shown(),
        });
        csv.write_record(cells).map_err(failed)?;
    }
    csv.flush()?;
    Ok(())
}

fn json(
    out: &mut (dyn Write + Send),
    heads: &[String],
    rows: impl Iterator<Item = Vec<Cell>>,
) -> Result<(), ExportError> {
    let failed = |e: serde_json::Error| ExportError::Io(e.into());
    let mut out = std::io::BufWriter::new(out);
    out.write_all(b"{\"heads\":")?;
    serde_json::to_writer(&mut out, heads).map_err(failed)?;
    out.write_all(b",\"rows\":[")?;
    for (n, row) in rows.enumerate() {
        out.write_all(if n == 0 { b"\n" } else { b",\n" })?;
        let cells: Vec<serde_json::Value> = row.iter().map(Cell::json).collect();
        serde_json::to_writer(&mut out, &cells).map_err(failed)?;
    }
    out.write_all(b"\n]}\n")?;
    out.flush()?;
    Ok(())
}

fn xlsx(
    out: &mut (dyn Write + Send),
    sheet_name: &str,
    heads: &[String],
    rows: impl Iterator<Item = Vec<Cell>>,
    second: Option<(&str, &[String])>,
) -> Result<(), ExportError> {
    let at = |row: u32| {
        move |e: XlsxError| match e {
            XlsxError::IoError(e) => ExportError::Io(e),
            e => ExportError::Xlsx {
                row,
                source: Box::new(e),
            },
        }
    };
    let mut book = Workbook::new();
    let sheet = book.add_worksheet_with_constant_memory().map_err(at(0))?;
    sheet.set_name(called(sheet_name)).map_err(at(0))?;
    let (bold, amount, percent) = (
        Look::new().set_bold(),
        Look::new().set_num_format("0.00##"),
        Look::new().set_num_format("0.00%"),
    );
    for (column, head) in (0..).zip(heads) {
        sheet
            .write_string_with_format(0, column, head, &bold)
            .map_err(at(0))?;
    }
    for (row, cells) in (1_u32..).zip(rows) {
        if row >= XLSX_ROWS {
            return Err(at(row)(XlsxError::RowColumnLimitError));
        }
        for (column, cell) in (0..).zip(&cells) {
            put(sheet, row, column, cell, &amount, &percent).map_err(at(row))?;
        }
    }
    if let Some((name, lines)) = second {
        let sheet = book.add_worksheet_with_constant_memory().map_err(at(0))?;
        sheet.set_name(called(name)).map_err(at(0))?;
        for (row, line) in (0_u32..).zip(lines) {
            sheet.write_string(row, 0, line).map_err(at(row))?;
        }
    }
    book.save_to_writer(out).map_err(at(0))
}

fn put(
    sheet: &mut Worksheet,
    row: u32,
    column: u16,
    cell: &Cell,
    amount: &Look,
    percent: &Look,
) -> Result<(), XlsxError> {
    match cell {
        Cell::Text(text) => sheet.write_string(row, column, text),
        Cell::Int(v) if v.unsigned_abs() <= EXACT => sheet.write_number(row, column, *v as f64),
        Cell::Int(v) => sheet.write_string(row, column, v.to_string()),
        Cell::Money(e4) if e4.unsigned_abs() < EXACT_MONEY => {
            sheet.write_number_with_format(row, column, *e4 as f64 / 10_000.0, amount)
        }
        Cell::Money(e4) => sheet.write_string(row, column, money(*e4)),
        Cell::Rate(Some(v)) => sheet.write_number_with_format(row, column, *v, percent),
        Cell::Rate(None) | Cell::Empty => return Ok(()),
    }
    .map(drop)
}

/// A name that a sheet may have: 31 characters, none of `[]:*?/\`, no apostrophe at either end.
fn called(name: &str) -> String {
    let clean: String = name
        .chars()
        .map(|c| if "[]:*?/\\".contains(c) { ' ' } else { c })
        .take(31)
        .collect();
    let clean = clean.trim_matches(['\'', ' ']);
    if clean.is_empty() { "Table" } else { clean }.to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn heads() -> Vec<String> {
        ["=head", "n", "amount", "rate", "nothing"]
            .map(String::from)
            .to_vec()
    }

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec![
                Cell::Text("=1+1".into()),
                Cell::Int(-7),
                Cell::Money(-12_345),
                Cell::Rate(Some(0.25)),
                Cell::Empty,
            ],
            vec![
                Cell::Text("陈, \"A\"\nB".into()),
                Cell::Int(i64::MAX),
                Cell::Money(i64::MIN),
                Cell::Rate(None),
                Cell::Text("@x".into()),
            ],
        ]
    }

    fn written(format: Format) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, format, "a/b: 'x'", &heads(), rows().into_iter()).unwrap();
        out
    }

    #[test]
    fn amounts_are_exact() {
        for (e4, text) in [
            (0, "0.00"),
            (1, "0.0001"),
            (-1, "-0.0001"),
            (12_345_000, "1234.50"),
            (12_345_600, "1234.56"),
            (-99_999, "-9.9999"),
            (i64::MIN, "-922337203685477.5808"),
        ] {
            assert_eq!(money(e4), text);
        }
    }

    #[test]
    fn csv_keeps_formulas_quiet_and_numbers_numbers() {
        let text = String::from_utf8(written(Format::Csv)).unwrap();
        assert_eq!(
            text,
            "\u{feff}'=head,n,amount,rate,nothing\r\n'=1+1,-7,-1.2345,0.2500,\r\n\
             \"陈, \"\"A\"\"\nB\",9223372036854775807,-922337203685477.5808,,'@x\r\n"
        );
        for text in ["+86", "-1", "@sum", "\tx", "\rx", "\n=x"] {
            assert_eq!(neutral(text), format!("'{text}"));
        }
        assert_eq!(neutral("a=b"), "a=b");
    }

    #[test]
    fn json_is_read_back_as_it_was() {
        let value: serde_json::Value = serde_json::from_slice(&written(Format::Json)).unwrap();
        assert_eq!(value["heads"][0], "=head");
        assert_eq!(
            value["rows"][0],
            serde_json::json!(["=1+1", -7, "-1.2345", 0.25, null])
        );
        assert_eq!(value["rows"][1][1], i64::MAX);
    }

    #[test]
    fn a_workbook_is_read_back_as_it_was() {
        use calamine::{Data, Reader as _};
        let bytes = std::io::Cursor::new(written(Format::Xlsx));
        let mut book = calamine::Xlsx::new(bytes).unwrap();
        assert_eq!(book.sheet_names(), ["a b  'x"]);
        let range = book.worksheet_range("a b  'x").unwrap();
        let cell = |row, column| range.get_value((row, column)).cloned().unwrap();
        assert_eq!(cell(0, 0), Data::String("=head".into()));
        assert_eq!(cell(1, 0), Data::String("=1+1".into()));
        assert_eq!(cell(1, 1), Data::Float(-7.0));
        assert_eq!(cell(1, 2), Data::Float(-1.2345));
        assert_eq!(cell(2, 0), Data::String("陈, \"A\"\nB".into()));
        assert_eq!(cell(2, 1), Data::String(i64::MAX.to_string()));
        assert!(
            book.worksheet_formula("a b  'x")
                .unwrap()
                .cells()
                .all(|(_, _, formula)| formula.is_empty())
        );
    }

    #[test]
    fn what_a_workbook_cannot_hold_is_said_with_its_row() {
        let long = vec![vec![Cell::Int(1)], vec![Cell::Text("x".repeat(40_000))]];
        let mut out = Vec::new();
        let error = write(&mut out, Format::Xlsx, "", &heads(), long.into_iter()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("row 2") && text.contains("CSV"), "{text}");
    }

    #[test]
    fn a_writer_that_fails_is_an_error_in_every_format() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        for format in [Format::Csv, Format::Xlsx, Format::Json] {
            let done = write(&mut Full, format, "x", &heads(), rows().into_iter());
            assert!(done.is_err(), "{format:?}");
            assert_eq!(Format::parse(format.as_str()), Some(format));
        }
    }
}
