//! How call notes are written for a client: columns, formats, words and the file's name, all of it data (TOML).
//!
//! Pure: a template and a note in, a row out. `config/notes-template.toml` is the one for everybody without their own and
//! says what may stand in it. Versions are `store::templates`; the file itself is written by `crate::export`.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use serde::Deserialize;

use crate::{
    export::{Cell, Encoding, Format},
    store::notes::Line,
};

/// The template for everybody without one of their own.
pub const SHIPPED: &str = include_str!("../../config/notes-template.toml");
/// How an instant is written where the template does not say.
const TIME: &str = "%Y-%m-%d %H:%M:%S";
/// Columns of the widest template.
const MOST_COLUMNS: usize = 200;

/// What of a note a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Code of the client.
    Client,
    /// The client's name of the lot.
    Batch,
    /// The client's case number.
    Case,
    /// Name of the debtor.
    Debtor,
    /// Last four digits of the card or account.
    #[serde(rename = "card_last4")]
    CardLast4,
    /// Currency of the case.
    Currency,
    /// What is owed now.
    Balance,
    /// Name of the person reached.
    Person,
    /// What that person is to the debt.
    Relation,
    /// The number.
    Number,
    /// Employee number of the agent.
    Agent,
    /// The agent's name.
    AgentName,
    /// Code of the agent's team.
    Team,
    /// Code of what came of it.
    Disposition,
    /// Its English name.
    DispositionEn,
    /// Its Chinese name.
    DispositionZh,
    /// Free words.
    Text,
    /// Promised amount.
    Promise,
    /// Promised day.
    PromiseOn,
    /// Day of the call, local to the person called.
    Day,
    /// When the call began.
    Started,
    /// When it was answered.
    Answered,
    /// When it ended.
    Ended,
    /// When the note was finished.
    Finished,
    /// Seconds of talk; 0 if nobody answered.
    TalkS,
    /// What ended the call.
    Cause,
    /// Id of the call.
    Call,
    /// Id of the recording.
    Recording,
    /// Number of the note.
    Note,
    /// `draft` or `final`.
    State,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    head: String,
    value: Option<Value>,
    field: Option<String>,
    #[serde(rename = "const")]
    constant: Option<String>,
    time: Option<String>,
    #[serde(default)]
    words: BTreeMap<String, String>,
    #[serde(default)]
    empty: String,
}

/// A template.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    file: String,
    format: FileFormat,
    #[serde(default)]
    encoding: Option<Encoding>,
    #[serde(default = "sheet")]
    sheet: String,
    #[serde(default)]
    drafts: bool,
    column: Vec<Column>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileFormat {
    Csv,
    Xlsx,
}

fn sheet() -> String {
    "notes".into()
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a template for notes: {0}")]
pub struct TemplateError(String);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// The place and the fault.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let wrong = |problem: String| Err(TemplateError(problem));
        let template: Self =
            toml::from_str(text).map_err(|e| TemplateError(e.to_string().trim().to_owned()))?;
        if !(1..=MOST_COLUMNS).contains(&template.column.len()) {
            return wrong(format!("it has 1 to {MOST_COLUMNS} columns"));
        }
        for column in &template.column {
            let sources = [
                column.value.is_some(),
                column.field.is_some(),
                column.constant.is_some(),
            ];
            if sources.into_iter().filter(|given| *given).count() != 1 {
                return wrong(format!(
                    "column {:?}: give one of value, field and const",
                    column.head
                ));
            }
            if let Some(time) = &column.time {
                let instant = [
                    Value::Started,
                    Value::Answered,
                    Value::Ended,
                    Value::Finished,
                ];
                if !column.value.is_some_and(|value| instant.contains(&value)) {
                    return wrong(format!(
                        "column {:?}: time is for started, answered, ended and finished",
                        column.head
                    ));
                }
                if jiff::fmt::strtime::format(
                    time,
                    &Timestamp::UNIX_EPOCH.to_zoned_datetime(TimeZone::UTC),
                )
                .is_err()
                {
                    return wrong(format!(
                        "column {:?}: {time:?} is no form of time; write it like {TIME}",
                        column.head
                    ));
                }
            }
        }
        if template.encoding.is_some() && template.format == FileFormat::Xlsx {
            return wrong(
                "encoding: only a CSV file has one; a workbook holds every character".into(),
            );
        }
        if template.file.trim().is_empty() || template.file.chars().count() > 120 {
            return wrong("file: write a name of 1 to 120 characters".into());
        }
        Ok(template)
    }

    /// As what the file is written.
    #[must_use]
    pub fn format(&self) -> Format {
        match self.format {
            FileFormat::Csv => Format::Csv,
            FileFormat::Xlsx => Format::Xlsx,
        }
    }

    /// How the characters of a CSV file are written.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding.unwrap_or_default()
    }

    /// Media type of an answer that carries the file.
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        match self.format {
            FileFormat::Csv => self.encoding().media_type(),
            FileFormat::Xlsx => self.format().media_type(),
        }
    }

    /// Name of the sheet of a workbook.
    #[must_use]
    pub fn sheet(&self) -> &str {
        &self.sheet
    }

    /// Whether unfinished notes are written too.
    #[must_use]
    pub fn drafts(&self) -> bool {
        self.drafts
    }

    /// The heads of the columns.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        self.column.iter().map(|c| c.head.clone()).collect()
    }

    /// The file's name with its ending, safe on every file system.
    #[must_use]
    pub fn file_name(&self, client: &str, from: &str, to: &str, today: &str) -> String {
        let name = self
            .file
            .replace("{client}", client)
            .replace("{from}", from)
            .replace("{to}", to)
            .replace("{today}", today);
        let safe: String = name
            .chars()
            .map(|c| match c {
                '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
                c if c.is_control() => '_',
                c => c,
            })
            .collect();
        format!(
            "{}.{}",
            safe.trim_matches(['.', ' ']),
            self.format().as_str()
        )
    }

    /// The row of a note; instants in `zone`.
    #[must_use]
    pub fn row(&self, line: &Line, zone: &TimeZone) -> Vec<Cell> {
        let own: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&line.note.fields).unwrap_or_default();
        self.column
            .iter()
            .map(|column| column.cell(line, &own, zone))
            .collect()
    }
}

impl Column {
    fn cell(
        &self,
        line: &Line,
        own: &serde_json::Map<String, serde_json::Value>,
        zone: &TimeZone,
    ) -> Cell {
        let cell = match (self.value, &self.field, &self.constant) {
            (Some(value), ..) => self.value_of(value, line, zone),
            (_, Some(field), _) => match own.get(field) {
                Some(serde_json::Value::String(text)) => Cell::Text(text.clone()),
                Some(serde_json::Value::Null) | None => Cell::Empty,
                Some(other) => Cell::Text(other.to_string()),
            },
            (_, _, Some(text)) => Cell::Text(text.clone()),
            (None, None, None) => Cell::Empty,
        };
        match cell {
            Cell::Text(text) if text.is_empty() => self.nothing(),
            Cell::Text(text) => Cell::Text(self.words.get(&text).cloned().unwrap_or(text)),
            Cell::Empty => self.nothing(),
            other => other,
        }
    }

    fn nothing(&self) -> Cell {
        if self.empty.is_empty() {
            Cell::Empty
        } else {
            Cell::Text(self.empty.clone())
        }
    }

    fn value_of(&self, value: Value, line: &Line, zone: &TimeZone) -> Cell {
        let note = &line.note;
        let text = |text: &str| Cell::Text(text.to_owned());
        let maybe = |found: Option<String>| found.map_or(Cell::Empty, Cell::Text);
        let money = |e4: Option<i64>| e4.map_or(Cell::Empty, Cell::Money);
        match value {
            Value::Client => text(&line.client),
            Value::Batch => text(&line.batch),
            Value::Case => text(&line.reference),
            Value::Debtor => text(&line.debtor),
            Value::CardLast4 => text(&line.card_last4),
            Value::Currency => text(&line.currency),
            Value::Balance => Cell::Money(line.balance_e4),
            Value::Person => text(&line.person),
            Value::Relation => text(note.relation.as_str()),
            Value::Number => text(&line.number),
            Value::Agent => text(&line.agent),
            Value::AgentName => text(&line.agent_name),
            Value::Team => text(&line.team),
            Value::Disposition => maybe(note.disposition.clone()),
            Value::DispositionEn => text(&line.disposition_names.0),
            Value::DispositionZh => text(&line.disposition_names.1),
            Value::Text => text(&note.text),
            Value::Promise => money(note.promise_e4),
            Value::PromiseOn => maybe(note.promise_on.clone()),
            Value::Day => text(&note.local_date),
            Value::Started => self.time_of(Some(note.started_at_ms), zone),
            Value::Answered => self.time_of(note.answered_at_ms, zone),
            Value::Ended => self.time_of(note.ended_at_ms, zone),
            Value::Finished => self.time_of(note.finished_at_ms, zone),
            Value::TalkS => Cell::Int(match (note.answered_at_ms, note.ended_at_ms) {
                (Some(from), Some(to)) => to.saturating_sub(from) / 1_000,
                _ => 0,
            }),
            Value::Cause => maybe(note.cause.clone()),
            Value::Call => maybe(note.call.map(|call| call.to_string())),
            Value::Recording => maybe(line.recording.map(|id| id.to_string())),
            Value::Note => text(&note.id.to_string()),
            Value::State => text(note.state.as_str()),
        }
    }

    fn time_of(&self, at_ms: Option<i64>, zone: &TimeZone) -> Cell {
        let written = at_ms
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            .and_then(|at| {
                let form = self.time.as_deref().unwrap_or(TIME);
                jiff::fmt::strtime::format(form, &at.to_zoned_datetime(zone.clone())).ok()
            });
        written.map_or(Cell::Empty, Cell::Text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        ids::{AgentId, CaseId, ClientId, ContactPointId, NoteId},
        policy::Relation,
        store::notes::{Note, NoteState},
    };

    fn line() -> Line {
        Line {
            note: Note {
                id: NoteId::new(7),
                case: CaseId::new(1),
                client: ClientId::new(1),
                call: None,
                contact_point: Some(ContactPointId::new(1)),
                relation: Relation::Debtor,
                agent: Some(AgentId::new(1)),
                state: NoteState::Final,
                disposition: Some("promised".into()),
                text: "=1+1".into(),
                promise_e4: Some(12_345_600),
                promise_on: Some("2026-11-30".into()),
                fields: "{\"支行\":\"浦东\",\"n\":3}".into(),
                local_date: "2026-11-23".into(),
                started_at_ms: 1_795_399_200_000,
                answered_at_ms: Some(1_795_399_205_000),
                ended_at_ms: Some(1_795_399_266_000),
                cause: Some("answered".into()),
                finished_at_ms: None,
            },
            client: "bank".into(),
            batch: "1".into(),
            reference: "C1".into(),
            debtor: String::new(),
            person: "王".into(),
            number: "+8613800138000".into(),
            agent: "A1".into(),
            agent_name: "Li".into(),
            team: String::new(),
            recording: None,
            currency: "CNY".into(),
            balance_e4: 0,
            card_last4: String::new(),
            disposition_names: ("Promised".into(), "承诺还款".into()),
        }
    }

    #[test]
    fn a_bank_gets_its_columns_words_times_and_name() {
        let template = Template::parse(
            r#"
            file = "{client}_{from}/x"
            format = "csv"
            column = [
                { head = "结果", value = "disposition", words = { promised = "PTP" } },
                { head = "时间", value = "started", time = "%d/%m/%Y %H:%M" },
                { head = "秒", value = "talk_s" },
                { head = "金额", value = "promise" },
                { head = "支行", field = "支行" },
                { head = "n", field = "n" },
                { head = "小组", value = "team", empty = "-" },
                { head = "公司", const = "RF" },
                { head = "完成", value = "finished" },
            ]"#,
        )
        .unwrap();
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        let text = |t: &str| Cell::Text(t.into());
        assert_eq!(
            template.row(&line(), &zone),
            [
                text("PTP"),
                text("23/11/2026 10:00"),
                Cell::Int(61),
                Cell::Money(12_345_600),
                text("浦东"),
                text("3"),
                text("-"),
                text("RF"),
                Cell::Empty
            ]
        );
        let name = template.file_name("bank", "2026-11-01", "2026-11-30", "2026-12-01");
        assert_eq!(name, "bank_2026-11-01_x.csv");
        assert!(!template.drafts());
    }

    #[test]
    fn the_shipped_template_reads_and_writes_every_column() {
        let template = Template::parse(SHIPPED).unwrap();
        let row = template.row(&line(), &TimeZone::UTC);
        assert_eq!(row.len(), template.heads().len());
        assert!(row.contains(&Cell::Text("本人".into())), "{row:?}");
    }

    #[test]
    fn a_template_with_a_fault_is_refused_by_column() {
        let with = |column: &str| {
            format!("file = \"x\"\nformat = \"csv\"\ncolumn = [{{ head = \"H\", {column} }}]")
        };
        for (column, said) in [
            ("value = \"moon\"", "moon"),
            ("value = \"case\", const = \"x\"", "one of value"),
            ("colour = 1", "colour"),
            ("value = \"case\", time = \"%Y\"", "time is for"),
            ("value = \"started\", time = \"%!\"", "no form of time"),
        ] {
            let error = Template::parse(&with(column)).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(Template::parse("file = \"x\"\nformat = \"csv\"\ncolumn = []").is_err());
        let with = |format: &str, encoding: &str| {
            let column = "column = [{ head = \"H\", value = \"case\" }]";
            let text =
                format!("file = \"x\"\nformat = {format:?}\nencoding = {encoding:?}\n{column}");
            Template::parse(&text)
        };
        assert_eq!(
            with("csv", "gbk").unwrap().media_type(),
            "text/csv; charset=gbk"
        );
        assert!(
            with("xlsx", "gbk")
                .unwrap_err()
                .to_string()
                .contains("only a CSV")
        );
        assert!(
            with("csv", "latin1")
                .unwrap_err()
                .to_string()
                .contains("gb18030")
        );
    }
}
