//! CSV in the encoding that a bank's program reads: UTF-8, GBK or GB 18030.
//!
//! What GBK cannot hold is an error that names row and column, never a question mark in somebody's name; GB 18030 holds
//! everything. Cells are encoded one by one before they are quoted: no byte of a character of theirs looks like a quote,
//! a comma or the end of a line.

use std::io::Write;

use encoding_rs::{GB18030, GBK};
use serde::Deserialize;

use super::{Cell, ExportError, neutral};

/// How the characters of a CSV file are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// UTF-8 with a byte order mark.
    #[default]
    Utf8,
    /// GBK (code page 936).
    Gbk,
    /// GB 18030, which holds what GBK holds in the same bytes, and everything else.
    Gb18030,
}

impl Encoding {
    /// Media type of an answer that carries it.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Utf8 => "text/csv; charset=utf-8",
            Self::Gbk => "text/csv; charset=gbk",
            Self::Gb18030 => "text/csv; charset=gb18030",
        }
    }
}

/// Writes a table as CSV in an encoding.
///
/// # Errors
/// [`ExportError::Character`] for what the encoding cannot hold, [`ExportError::Io`] from the writer.
pub fn csv_in(
    out: &mut (dyn Write + Send),
    encoding: Encoding,
    heads: &[String],
    rows: impl Iterator<Item = Vec<Cell>>,
) -> Result<(), ExportError> {
    let encoder = match encoding {
        Encoding::Utf8 => return super::csv(out, heads, rows),
        Encoding::Gbk => GBK,
        Encoding::Gb18030 => GB18030,
    };
    let mut csv = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .flexible(true)
        .from_writer(out);
    let texts = heads.iter().map(|head| neutral(head)).collect();
    let mut write = |row: usize, cells: Vec<String>| {
        let mut record = csv::ByteRecord::new();
        for (column, cell) in cells.iter().enumerate() {
            let (bytes, _, lost) = encoder.encode(cell);
            if lost {
                return Err(ExportError::Character { row, column });
            }
            record.push_field(&bytes);
        }
        csv.write_byte_record(&record)
            .map_err(|e| ExportError::Io(e.into()))
    };
    write(0, texts)?;
    for (row, cells) in (1_usize..).zip(rows) {
        let cells = cells.iter().map(|cell| match cell {
            Cell::Text(text) => neutral(text),
            other => other.shown(),
        });
        write(row, cells.collect())?;
    }
    csv.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn written(encoding: Encoding, text: &str) -> Result<Vec<u8>, ExportError> {
        let mut out = Vec::new();
        let rows = vec![
            vec![Cell::Text("一".into()), Cell::Int(1)],
            vec![Cell::Text("=一".into()), Cell::Text(text.into())],
        ];
        let heads = ["姓名".to_owned(), "n".to_owned()];
        csv_in(&mut out, encoding, &heads, rows.into_iter()).map(|()| out)
    }

    #[test]
    fn a_file_in_gbk_is_read_back_as_it_was() {
        // The second bytes of these look like letters, brackets and bars.
        let text = "乗侒乣, \"丂\"\n";
        for (encoding, reader) in [(Encoding::Gbk, GBK), (Encoding::Gb18030, GB18030)] {
            let bytes = written(encoding, text).unwrap();
            let (read, _, lost) = reader.decode(&bytes);
            assert!(!lost);
            assert_eq!(
                read, "姓名,n\r\n一,1\r\n'=一,\"乗侒乣, \"\"丂\"\"\n\"\r\n",
                "{encoding:?}"
            );
        }
        let bytes = written(Encoding::Utf8, text).unwrap();
        assert!(bytes.starts_with("\u{feff}姓名".as_bytes()));
    }

    #[test]
    fn what_gbk_cannot_hold_is_said_with_row_and_column_and_gb18030_holds_it() {
        let error = written(Encoding::Gbk, "𠮷").unwrap_err();
        assert!(
            matches!(error, ExportError::Character { row: 2, column: 1 }),
            "{error}"
        );
        assert!(!error.to_string().contains('𠮷'), "{error}");
        let bytes = written(Encoding::Gb18030, "𠮷").unwrap();
        let (read, _, lost) = GB18030.decode(&bytes);
        assert!(!lost && read.contains('𠮷'));
    }
}
