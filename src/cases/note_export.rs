//! Notes as a file in a bank's own template: reads them page by page, writes the file's bytes.

use std::io::Write;

use jiff::tz::TimeZone;

use super::note_template::{SHIPPED, Template, TemplateError};
use crate::{
    export::{self, ExportError, Format},
    ids::{ClientId, NoteId},
    store::{
        self, Tx,
        notes::{Filter, NoteState},
        users::User,
    },
};

/// What templates for notes are called among the others.
pub const KIND: &str = "notes";
/// Notes of one page.
const PAGE: u32 = 2_000;
/// Notes of one file: a workbook holds about a million rows, a month of a large bank far fewer.
pub const MOST: usize = 500_000;

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub enum NoteExportError {
    /// No template of that name.
    #[error(
        "there is no template {0} for notes; `ringfence notes templates list` shows those there are"
    )]
    NoTemplate(String),
    /// The stored template cannot be read by this version.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// More than one file should hold.
    #[error("there are more than {MOST} notes; narrow the days, or name a client or an agent")]
    TooMany,
    /// The encoding of the file cannot hold a character.
    #[error(
        "note {note}, column {column:?}: a character that GBK cannot hold; let the template say encoding = \"gb18030\" or \
         \"utf8\", or format = \"xlsx\""
    )]
    Character {
        /// The note, or what the heads are called.
        note: String,
        /// Head of the column.
        column: String,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// The template of that name: the client's own, the general one, or for the name `default` the one we bring.
pub async fn template(
    tx: &mut Tx,
    client: Option<ClientId>,
    name: &str,
) -> Result<Template, NoteExportError> {
    // No client has the number 0: of none only what stands for every client.
    let client = client.unwrap_or(ClientId::new(0));
    let stored = store::templates::newest(tx, client, KIND, name).await?;
    match stored {
        Some(stored) => Ok(Template::parse(&stored.body)?),
        None if name == "default" => Ok(Template::parse(SHIPPED)?),
        None => Err(NoteExportError::NoTemplate(name.chars().take(64).collect())),
    }
}

/// Writes the notes that a filter selects and a user may see (`None`: the command line); returns how many.
pub async fn write(
    tx: &mut Tx,
    viewer: Option<&User>,
    filter: &Filter,
    template: &Template,
    zone: &TimeZone,
    out: &mut (dyn Write + Send),
) -> Result<usize, NoteExportError> {
    let mut filter = filter.clone();
    if !template.drafts() {
        filter.state = Some(NoteState::Final);
    }
    let (mut rows, mut ids) = (Vec::new(), Vec::new());
    let mut after = NoteId::new(0);
    loop {
        let page = store::notes::after(tx, viewer, &filter, after, PAGE).await?;
        for line in &page {
            after = line.note.id;
            rows.push(template.row(line, zone));
            ids.push(line.note.id);
        }
        if rows.len() > MOST {
            return Err(NoteExportError::TooMany);
        }
        if page.len() < PAGE as usize {
            break;
        }
    }
    let count = rows.len();
    let heads = template.heads();
    let written = match template.format() {
        Format::Csv => export::csv_in(out, template.encoding(), &heads, rows.into_iter()),
        format => export::write(out, format, template.sheet(), &heads, rows.into_iter()),
    };
    written.map_err(|error| match error {
        ExportError::Character { row, column } => NoteExportError::Character {
            note: row
                .checked_sub(1)
                .and_then(|row| ids.get(row))
                .map_or_else(|| "(the heads)".to_owned(), NoteId::to_string),
            column: heads.get(column).cloned().unwrap_or_default(),
        },
        other => other.into(),
    })?;
    Ok(count)
}
