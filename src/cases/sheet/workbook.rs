//! XLSX, read cell by cell by `calamine`, after a look at what it would become when unpacked.
//!
//! Numbers and dates of a workbook are turned into the text that the spreadsheet shows: fifteen significant digits, as
//! Excel keeps them, and ISO dates. A number with more digits than that was rounded before it came here.

use std::io::{BufReader, Read, SeekFrom};

use calamine::{DataRef, ExcelDateTime, Reader as _, Xlsx};
use rust_decimal::Decimal;

use super::{Bytes, Gone, Options, SheetError, SheetRow, Sink};

/// The most bytes that the texts shared by all cells may become: they are held in memory.
const MOST_SHARED: u64 = 64 << 20;
/// The most bytes between two tags: one cell's text, held in memory.
const MOST_OF_A_CELL: usize = 256 * 1024;
/// The most digits that a spreadsheet keeps of a number.
const DIGITS: usize = 15;

const ROUNDED: &str = "a number with more digits than a spreadsheet keeps, so it was rounded: format the column as text \
                       and enter the number again";
const ERROR: &str = "holds an error of the spreadsheet instead of a value";

/// Reads all rows of one sheet.
pub(super) fn read(
    mut bytes: Box<dyn Bytes>,
    options: &Options,
    sink: &mut Sink,
) -> Result<Result<(), Gone>, SheetError> {
    check(&mut bytes, options.limits.unpacked)?;
    bytes
        .seek(SeekFrom::Start(0))
        .map_err(|e| SheetError::whole(format!("cannot be read: {e}")))?;
    let broken = |_| {
        SheetError::whole("not an XLSX file: open it in a spreadsheet program and save it anew")
    };
    let mut book = Xlsx::new(BufReader::new(bytes)).map_err(broken)?;
    let names = book.sheet_names();
    let name = match &options.sheet {
        Some(wanted) => names
            .iter()
            .find(|name| *name == wanted)
            .ok_or_else(|| SheetError::whole("there is no sheet of the name that was asked for"))?,
        None => names
            .first()
            .ok_or_else(|| SheetError::whole("the workbook has no sheet"))?,
    }
    .clone();
    let mut cells = book.worksheet_cells_reader(&name).map_err(broken)?;
    let mut row = SheetRow::default();
    loop {
        let cell = cells.next_cell().map_err(|_| {
            SheetError::at(
                row.line.max(1),
                "the sheet is damaged behind this row: open it in a spreadsheet program and save it anew",
            )
        })?;
        let line = cell
            .as_ref()
            .map(|cell| u64::from(cell.get_position().0) + 1);
        if line != Some(row.line) {
            let done = std::mem::take(&mut row);
            if let Err(gone) = sink.push(done)? {
                return Ok(Err(gone));
            }
        }
        let (Some(cell), Some(line)) = (cell, line) else {
            return Ok(Ok(()));
        };
        row.line = line;
        let column = cell.get_position().1 as usize;
        let text = match text(cell.get_value()) {
            Ok(text) if text.is_empty() => continue,
            Ok(text) => text,
            Err(problem) => {
                row.faults.push((column, problem));
                String::new()
            }
        };
        if column >= options.limits.cells {
            return Err(SheetError {
                line: Some(line),
                column: Some(column),
                problem: format!(
                    "further right than {} columns: remove the columns that are not needed",
                    options.limits.cells
                ),
            });
        }
        if row.cells.len() <= column {
            row.cells.resize(column + 1, String::new());
        }
        if let Some(cell) = row.cells.get_mut(column) {
            *cell = text;
        }
    }
}

/// Unpacks everything once without keeping it, so that a small file that would fill the memory is refused before.
fn check(bytes: &mut impl Bytes, most: u64) -> Result<(), SheetError> {
    let broken = || SheetError::whole("not an XLSX file, or a damaged one: save it anew");
    let bomb = || {
        SheetError::whole(
            "the file becomes too large when it is unpacked: split it, or save it as CSV",
        )
    };
    let mut archive = zip::ZipArchive::new(BufReader::new(bytes)).map_err(|_| broken())?;
    if archive.len() > 2_000 {
        return Err(bomb());
    }
    let (mut total, mut buffer) = (0u64, vec![0; 64 * 1024]);
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|_| broken())?;
        let name = entry.name().map_err(|_| broken())?.to_ascii_lowercase();
        let shared = name.ends_with("sharedstrings.xml");
        let (mut length, mut run) = (0u64, 0usize);
        loop {
            let n = entry.read(&mut buffer).map_err(|_| broken())?;
            let part = buffer.get(..n).unwrap_or_default();
            if part.is_empty() {
                break;
            }
            length += n as u64;
            total += n as u64;
            let tags = part.iter().filter(|b| **b == b'<').count();
            run = if tags == 0 { run + n } else { 0 };
            if total > most || (shared && length > MOST_SHARED) || run > MOST_OF_A_CELL {
                return Err(bomb());
            }
        }
    }
    Ok(())
}

/// What a cell shows.
fn text(value: &DataRef<'_>) -> Result<String, &'static str> {
    match value {
        DataRef::Empty => Ok(String::new()),
        DataRef::String(text) => Ok(text.trim().to_owned()),
        DataRef::SharedString(text) => Ok(text.trim().to_owned()),
        DataRef::Int(number) if number.unsigned_abs() < 10u64.pow(DIGITS as u32) => {
            Ok(number.to_string())
        }
        DataRef::Int(_) => Err(ROUNDED),
        DataRef::Float(number) => number_text(*number),
        DataRef::Bool(value) => Ok(if *value { "TRUE" } else { "FALSE" }.to_owned()),
        DataRef::DateTime(at) => Ok(date_text(at)),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => Ok(text.replace('T', " ")),
        DataRef::Error(_) => Err(ERROR),
    }
}

/// The digits that a spreadsheet shows of a number at its full precision.
fn number_text(number: f64) -> Result<String, &'static str> {
    if !number.is_finite() {
        return Err(ERROR);
    }
    if number.abs() >= 1e15 {
        return Err(ROUNDED);
    }
    // 15 significant digits: one before the point of the exponent form and 14 behind it.
    let exact = Decimal::from_scientific(&format!("{number:.14e}")).map_err(|_| ROUNDED)?;
    Ok(exact.normalize().to_string())
}

fn date_text(at: &ExcelDateTime) -> String {
    let (year, month, day, hour, minute, second, _) = at.to_ymd_hms_milli();
    match (hour, minute, second) {
        (0, 0, 0) => format!("{year:04}-{month:02}-{day:02}"),
        _ => format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_number_reads_as_the_spreadsheet_shows_it() {
        for (number, shown) in [
            (0.1 + 0.2, "0.3"),
            (1_234.56, "1234.56"),
            (13_800_138_000.0, "13800138000"),
            (-5.0, "-5"),
            (999_999_999_999_999.0, "999999999999999"),
            (0.0001, "0.0001"),
        ] {
            assert_eq!(number_text(number).unwrap(), shown);
        }
        for number in [6.222e18, 1e15, f64::NAN, f64::INFINITY] {
            assert!(number_text(number).is_err(), "{number}");
        }
    }
}
