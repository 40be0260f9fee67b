//! A report written out: JSON, CSV, a workbook, and the lines that explain it.

use std::io::Write;

use super::Report;
use crate::{
    export::{self, Cell, ExportError, Format},
    stats::report::definition_json,
};

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
            "sql": self.sql,
        })
    }

    /// The lines with the total last.
    pub fn lines(&self) -> impl Iterator<Item = Vec<Cell>> {
        self.rows.iter().chain(&self.total).cloned()
    }

    /// What stands below a table or on a workbook's second sheet: notes, meanings, and the query.
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
        lines.extend(self.sql.lines().map(str::to_owned));
        lines
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
