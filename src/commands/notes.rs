//! `ringfence notes`: call notes; what may be said in them and the templates by which a bank gets them are in `lists`.

mod lists;

use std::{io::Write, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::tz::TimeZone;

use self::lists::{DispositionsCommand, TemplatesCommand, dispositions, templates};
use super::ACTOR;
use crate::{
    api::{Right, may},
    cases::{
        money::{Currency, Money},
        note_export,
        note_filter::{Asked, FilterError},
        notes::{self, Author, Begin, Finish, Followed, Promise},
    },
    ids::{CaseId, ContactPointId, NoteId},
    store::{
        self, Db, Tx,
        access::{self, Access},
        notes::{Filter, NoteState},
    },
};

/// Arguments of `ringfence notes`.
#[derive(Debug, Args)]
pub struct NotesArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: NotesCommand,
}

/// What to do with notes.
#[derive(Debug, Subcommand)]
pub enum NotesCommand {
    /// List notes, newest first
    List {
        /// Which
        #[command(flatten)]
        filter: FilterArgs,
        /// The most notes to list
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Write notes into a file in the client's own template
    Export {
        /// Which
        #[command(flatten)]
        filter: FilterArgs,
        /// Name of the template
        #[arg(long, default_value = "default")]
        template: String,
        /// The folder; the template names the file
        #[arg(long, default_value = ".")]
        dir: PathBuf,
    },
    /// Finish the note of a call, or change what a finished one says
    Finish {
        /// Number of the note
        note: i64,
        /// What it says
        #[command(flatten)]
        said: SaidArgs,
    },
    /// Write a note without a call
    Write {
        /// The case
        #[arg(long, value_name = "ID")]
        case: i64,
        /// The number it is about
        #[arg(long, value_name = "ID")]
        contact_point: Option<i64>,
        /// Employee number of who writes it
        #[arg(long, value_name = "CODE")]
        agent: Option<String>,
        /// What it says
        #[command(flatten)]
        said: SaidArgs,
    },
    /// What may be said to have come of a call
    #[command(subcommand)]
    Dispositions(DispositionsCommand),
    /// The banks' own forms
    #[command(subcommand)]
    Templates(TemplatesCommand),
}

/// Which notes.
#[derive(Debug, Args, Clone)]
pub struct FilterArgs {
    /// Code of the client
    #[arg(long, default_value = "", value_name = "CODE")]
    pub client: String,
    /// Employee number of the agent
    #[arg(long, default_value = "", value_name = "CODE")]
    pub agent: String,
    /// First day, YYYY-MM-DD
    #[arg(long, value_name = "DAY")]
    pub from: Option<jiff::civil::Date>,
    /// Last day
    #[arg(long, value_name = "DAY")]
    pub to: Option<jiff::civil::Date>,
    /// Code of the disposition
    #[arg(long, default_value = "", value_name = "CODE")]
    pub disposition: String,
    /// The client's case number
    #[arg(long, default_value = "", value_name = "REFERENCE")]
    pub case: String,
    /// Words in the text
    #[arg(long, default_value = "")]
    pub text: String,
    /// draft or final
    #[arg(long)]
    pub state: Option<NoteState>,
}

impl FilterArgs {
    fn filter(self) -> Result<Filter, FilterError> {
        let asked = Asked {
            client: self.client,
            agent: self.agent,
            from: self.from,
            to: self.to,
            disposition: self.disposition,
            case: self.case,
            text: self.text,
            state: self.state,
        };
        asked.filter()
    }
}

/// What a note says.
#[derive(Debug, Args, Clone)]
pub struct SaidArgs {
    /// Code of what came of it
    #[arg(long, value_name = "CODE")]
    pub disposition: String,
    /// Free words
    #[arg(long, default_value = "")]
    pub text: String,
    /// Promised amount
    #[arg(long, requires = "promise_on")]
    pub promise: Option<String>,
    /// Promised day, YYYY-MM-DD
    #[arg(long, requires = "promise", value_name = "DAY")]
    pub promise_on: Option<jiff::civil::Date>,
    /// When to call back, such as 2026-11-24T10:00:00+08:00
    #[arg(long, value_name = "INSTANT")]
    pub callback_at: Option<jiff::Timestamp>,
    /// One of the client's own fields; may be given several times
    #[arg(long = "field", value_name = "NAME=TEXT")]
    pub fields: Vec<String>,
    /// The account it is booked to; what is wrong with a number counts without a call only if that one may judge numbers
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

impl SaidArgs {
    fn said(&self, currency: &str) -> anyhow::Result<Finish> {
        let promise = match (&self.promise, self.promise_on) {
            (Some(amount), Some(on)) => Some(Promise {
                amount_e4: Money::parse(amount, Currency::parse(currency)?)
                    .context("--promise")?
                    .e4,
                on,
            }),
            _ => None,
        };
        let mut fields = serde_json::Map::new();
        for field in &self.fields {
            let (name, text) = field
                .split_once('=')
                .with_context(|| format!("--field {field:?}: write NAME=TEXT"))?;
            fields.insert(name.to_owned(), text.into());
        }
        Ok(Finish {
            disposition: self.disposition.clone(),
            text: self.text.clone(),
            promise,
            callback_at_ms: self.callback_at.map(|at| at.as_millisecond()),
            // Hours that were agreed in a call are entered where it can be heard.
            agreement: None,
            fields,
        })
    }
}

/// Runs `ringfence notes`. Times are shown, and a note without a call gets its day, in `zone`.
///
/// # Errors
/// What is missing or wrong in a note, a template or a filter, or the database.
pub async fn run(
    args: NotesArgs,
    db: &Db,
    now_ms: i64,
    zone: &TimeZone,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match args.command {
        NotesCommand::List { filter, limit } => list(db, &filter.filter()?, limit, zone, out).await,
        NotesCommand::Export {
            filter,
            template,
            dir,
        } => export(db, &filter.filter()?, &template, &dir, now_ms, zone, out).await,
        NotesCommand::Finish { note, said } => {
            let mut tx = db.begin().await?;
            let id = NoteId::new(note);
            let found = store::notes::by_id(&mut tx, id).await?;
            let found = found.with_context(|| format!("there is no note {note}"))?;
            let by = said.by.as_deref();
            let vouches = vouches(&mut tx, by, found.client).await?;
            let author = Author {
                name: by.unwrap_or(ACTOR),
                vouches,
            };
            let words = said.said(&currency(&mut tx, found.case).await?)?;
            let followed = notes::finish(&mut tx, id, &words, author, now_ms).await?;
            tx.commit().await?;
            say(out, id, &followed)
        }
        NotesCommand::Write {
            case,
            contact_point,
            agent,
            said,
        } => {
            let mut tx = db.begin().await?;
            let case = CaseId::new(case);
            let agent = match agent {
                Some(code) => Some(
                    store::agents::by_code(&mut tx, &code)
                        .await?
                        .with_context(|| format!("there is no agent {code}"))?
                        .id,
                ),
                None => None,
            };
            let words = said.said(&currency(&mut tx, case).await?)?;
            let known = store::cases::by_id(&mut tx, case).await?;
            let known = known.with_context(|| format!("there is no case {case}"))?;
            let by = said.by.as_deref();
            let vouches = vouches(&mut tx, by, known.client_id).await?;
            let author = Author {
                name: by.unwrap_or(ACTOR),
                vouches,
            };
            let today = super::day(now_ms, zone)?;
            let begin = Begin {
                case,
                contact_point: contact_point.map(ContactPointId::new),
                agent,
                today: &today,
            };
            let (id, followed) = notes::write(&mut tx, &begin, &words, author, now_ms).await?;
            tx.commit().await?;
            say(out, id, &followed)
        }
        NotesCommand::Dispositions(command) => dispositions(command, db, now_ms, out).await,
        NotesCommand::Templates(command) => templates(command, db, now_ms, zone, out).await,
    }
}

/// Whether the account that a note is booked to may judge numbers; nobody does who is not named.
async fn vouches(
    tx: &mut Tx,
    by: Option<&str>,
    client: crate::ids::ClientId,
) -> anyhow::Result<bool> {
    let Some(name) = by else { return Ok(false) };
    let user = store::users::by_name(tx, name).await?;
    let user = user
        .filter(|user| user.revoked_at_ms.is_none() && user.scope.includes(client))
        .with_context(|| {
            format!(
                "--by {name}: there is no valid account of this name that sees the client; `ringfence users list` shows them"
            )
        })?;
    Ok(may(user.role, Right::Numbers))
}

async fn currency(tx: &mut Tx, case: CaseId) -> anyhow::Result<String> {
    let found = store::notes::currency(tx, case).await?;
    found.with_context(|| format!("there is no case {case}"))
}

fn say(out: &mut (dyn Write + Send), id: NoteId, followed: &Followed) -> anyhow::Result<()> {
    let effects: Vec<_> = followed.effects.iter().map(|e| e.as_str()).collect();
    let effects = match effects.as_slice() {
        [] => "nothing else follows".to_owned(),
        some => format!("done with it: {}", some.join(", ")),
    };
    writeln!(out, "note {id} is finished; {effects}")?;
    for (what, id) in [
        ("callback", followed.callback),
        ("agreement (waits for a second person)", followed.agreement),
        ("major matter (to be reported)", followed.major_matter),
    ] {
        if let Some(id) = id {
            writeln!(out, "{what} {id}")?;
        }
    }
    if followed.counts == Some(false) {
        writeln!(
            out,
            "what is wrong with the number is kept, but is no evidence of loss of contact: that takes a call of ours whose note says \
             so from the first (for a wrong number one that was answered), or --by somebody who may judge numbers"
        )?;
    }
    if followed.taken_back > 0 {
        writeln!(
            out,
            "{} faults of the number are taken back",
            followed.taken_back
        )?;
    }
    if !followed.stands.is_empty() {
        let stands: Vec<_> = followed.stands.iter().map(|e| e.as_str()).collect();
        writeln!(
            out,
            "what the note did before stands until somebody lifts it: {}",
            stands.join(", ")
        )?;
    }
    Ok(())
}

async fn list(
    db: &Db,
    filter: &Filter,
    limit: u32,
    zone: &TimeZone,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut tx = db.read().await?;
    let lines = store::notes::newest(&mut tx, None, filter, None, None, limit).await?;
    tx.rollback().await?;
    let mut table = super::table([
        "note",
        "client",
        "case",
        "agent",
        "began",
        "relation",
        "cause",
        "state",
        "came of it",
        "text",
    ]);
    for line in lines {
        let note = line.note;
        table.add_row([
            note.id.to_string(),
            line.client,
            line.reference,
            line.agent,
            super::instant(note.started_at_ms, zone),
            note.relation.as_str().to_owned(),
            note.cause.unwrap_or_default(),
            note.state.to_string(),
            note.disposition.unwrap_or_default(),
            note.text,
        ]);
    }
    Ok(writeln!(out, "{table}")?)
}

async fn export(
    db: &Db,
    filter: &Filter,
    name: &str,
    dir: &std::path::Path,
    now_ms: i64,
    zone: &TimeZone,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut tx = db.begin().await?;
    let client = client(&mut tx, Some(&filter.client).filter(|c| !c.is_empty())).await?;
    let template = note_export::template(&mut tx, client, name).await?;
    let access = Access {
        at_ms: now_ms,
        actor: ACTOR,
        action: "note.export",
        object: name,
        client_id: client,
        detail: serde_json::json!({ "from": filter.from, "to": filter.to, "agent": filter.agent }),
    };
    access::log(&mut tx, &access).await?;
    tx.commit().await?;
    let today = super::day(now_ms, zone)?;
    let file = dir.join(template.file_name(&filter.client, &filter.from, &filter.to, &today));
    let shown = file.display();
    // It holds names, numbers and what people said: its owner's alone.
    let mut to = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .with_context(|| {
            format!("cannot make {shown}; remove the old one or choose another --dir")
        })?;
    let mut tx = db.read().await?;
    let written = note_export::write(&mut tx, None, filter, &template, zone, &mut to).await;
    tx.rollback().await?;
    let count = match written {
        Ok(count) => count,
        Err(error) => {
            // Half a file would be taken for a whole one.
            std::fs::remove_file(&file).with_context(|| format!("cannot remove {shown}"))?;
            return Err(error).with_context(|| shown.to_string());
        }
    };
    Ok(writeln!(out, "{count} notes in {shown}")?)
}

async fn client(
    tx: &mut Tx,
    code: Option<&String>,
) -> anyhow::Result<Option<crate::ids::ClientId>> {
    match code {
        None => Ok(None),
        Some(code) => {
            let client = store::clients::by_code(tx, code).await?;
            Ok(Some(
                client
                    .with_context(|| format!("there is no client {code}"))?
                    .id,
            ))
        }
    }
}
