//! A report written out: JSON, CSV, a workbook, and the lines that explain it.

use std::io::Write;

use super::Report;
use crate::{
    export::{self, Cell, ExportError, Format},
    stats::report::definition_json,
};

/// Heads and lines as a terminal shows them: each rate with the ends of its interval in one cell, on a line of its own.
#[must_use]
pub fn folded(
    heads: &[String],
    lines: impl Iterator<Item = Vec<Cell>>,
) -> (Vec<String>, Vec<Vec<String>>) {
    // A rate is followed by its two ends, which are called so.
    let ends = |at: usize| {
        let called = |n: usize, end: &str| heads.get(n).is_some_and(|head| head.ends_with(end));
        called(at + 1, "low") && called(at + 2, "high")
    };
    let mut at = 0;
    let mut columns = Vec::new();
    while at < heads.len() {
        columns.push((at, ends(at)));
        at += if ends(at) { 3 } else { 1 };
    }
    let named = columns.iter().filter_map(|(at, _)| heads.get(*at).cloned());
    let line = |cells: Vec<Cell>| {
        let shown = |at: usize| cells.get(at).map(Cell::shown).unwrap_or_default();
        let cell = |(at, folded): &(usize, bool)| match folded {
            true if !shown(*at).is_empty() => {
                format!("{}\n{}–{}", shown(*at), shown(at + 1), shown(at + 2))
            }
            _ => shown(*at),
        };
        columns.iter().map(cell).collect()
    };
    (named.collect(), lines.map(line).collect())
}

/// Queries as they are printed. A semicolon stands between two only, so that one alone can stand within another.
pub(in crate::stats) fn queries(sql: &str, of_total: Option<&str>) -> String {
    match of_total {
        Some(of_total) => format!("{sql}\n;\n{of_total}\n;"),
        None => sql.to_owned(),
    }
}

impl Report {
    /// The report as JSON: columns, lines, what they mean, and the query.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let line = |row: &Vec<Cell>| row.iter().map(Cell::json).collect::<Vec<_>>();
        serde_json::json!({
            "report": self.name.as_str(), "about": self.name.about(),
            "from": self.from, "to": self.to, "client": self.client,
            "heads": self.heads, "rows": self.rows.iter().map(line).collect::<Vec<_>>(),
            "total": self.total.as_ref().map(line),
            "corrections": self.corrections, "notes": self.notes,
            "definitions": self.definitions.iter().map(|d| definition_json(d)).collect::<Vec<_>>(),
            "sql": self.sql, "sql_of_total": self.sql_of_total,
        })
    }

    /// The lines with the total last.
    pub fn lines(&self) -> impl Iterator<Item = Vec<Cell>> {
        self.rows.iter().chain(&self.total).cloned()
    }

    /// What stands below a table, on a workbook's second sheet or beside CSV: notes, meanings, and the query.
    #[must_use]
    pub fn explained(&self) -> Vec<String> {
        let client = self.client.as_ref();
        let mut lines = vec![format!(
            "{}: {}, {} to {}{}",
            self.name,
            self.name.about(),
            self.from,
            self.to,
            client.map(|c| format!(", client {c}")).unwrap_or_default()
        )];
        lines.extend(self.notes.iter().cloned());
        if self.corrections > 0 {
            lines.push(format!(
                "{} corrections were made after these days were sealed; the figures hold them",
                self.corrections
            ));
        }
        lines.push(String::new());
        for d in &self.definitions {
            lines.push(format!("{} = {}: {} {}", d.name, d.formula, d.en, d.zh));
        }
        lines.push(String::new());
        lines.extend(self.queries().lines().map(str::to_owned));
        lines
    }

    /// The query of the lines, and that of the total behind it.
    #[must_use]
    pub fn queries(&self) -> String {
        queries(&self.sql, self.sql_of_total.as_deref())
    }

    /// Writes it: CSV is the table alone, JSON holds everything, a workbook has what explains it on a second sheet.
    ///
    /// # Errors
    /// The writer failed, or it is more than a workbook can hold.
    pub fn write(&self, out: &mut (dyn Write + Send), format: Format) -> Result<(), ExportError> {
        match format {
            Format::Csv => {
                export::write(out, format, self.name.as_str(), &self.heads, self.lines())
            }
            Format::Json => Ok(writeln!(out, "{:#}", self.json())?),
            Format::Xlsx => export::workbook(
                out,
                self.name.as_str(),
                &self.heads,
                self.lines(),
                ("explained", &self.explained()),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_and_its_interval_share_a_cell() {
        let heads = ["hour", "rate", "low", "high", "n"].map(String::from);
        let line = |rate: Option<f64>| {
            let rates = [rate, rate.map(|r| r - 0.1), rate.map(|r| r + 0.1)].map(Cell::Rate);
            let mut line = vec![Cell::Int(9)];
            line.extend(rates);
            line.push(Cell::Int(2));
            line
        };
        let (heads, rows) = folded(&heads, [line(Some(0.5)), line(None)].into_iter());
        assert_eq!(heads, ["hour", "rate", "n"]);
        assert_eq!(rows, [["9", "0.5000\n0.4000–0.6000", "2"], ["9", "", "2"]]);
    }
}
