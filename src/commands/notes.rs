//! `ringfence notes`: call notes, what may be said in them, and the templates by which a bank gets them.

use std::{io::Write, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jiff::tz::TimeZone;

use super::ACTOR;
use crate::{
    agent::{Disposition, Effect},
    cases::{
        money::{Currency, Money},
        note_export,
        note_template::{SHIPPED, Template},
        notes::{self, Begin, Finish, Followed, Promise},
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
    fn filter(&self) -> Filter {
        let day = |day: Option<jiff::civil::Date>| day.map(|d| d.to_string()).unwrap_or_default();
        Filter {
            client: self.client.clone(),
            agent: self.agent.clone(),
            from: day(self.from),
            to: day(self.to),
            disposition: self.disposition.clone(),
            reference: self.case.clone(),
            text: self.text.clone(),
            state: self.state,
        }
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

/// What to do with dispositions.
#[derive(Debug, Subcommand)]
pub enum DispositionsCommand {
    /// List what is offered
    List {
        /// For this client; left out: the general list
        #[arg(long, value_name = "CODE")]
        client: Option<String>,
    },
    /// Enter one, or change it
    Set {
        /// For this client only; left out: for every client without its own
        #[arg(long, value_name = "CODE")]
        client: Option<String>,
        /// The stable word
        code: String,
        /// Shown, in English
        #[arg(long)]
        name_en: String,
        /// Shown, in Chinese
        #[arg(long)]
        name_zh: String,
        /// The right person was spoken to
        #[arg(long)]
        right_party: bool,
        /// What it does; may be given several times
        #[arg(long = "effect", value_parser = effect)]
        effects: Vec<Effect>,
        /// Not offered any more
        #[arg(long)]
        off: bool,
    },
}

/// What to do with templates.
#[derive(Debug, Subcommand)]
pub enum TemplatesCommand {
    /// Enter a template, or a new version of one
    Add {
        /// The file (TOML)
        file: PathBuf,
        /// For this client; left out: for every client without its own
        #[arg(long, value_name = "CODE")]
        client: Option<String>,
        /// Its name
        #[arg(long, default_value = "default")]
        name: String,
    },
    /// List the templates
    List,
    /// Print the one we bring, to begin with
    Sample,
}

fn effect(word: &str) -> Result<Effect, String> {
    let found = Effect::ALL.iter().copied().find(|e| e.as_str() == word);
    found.ok_or_else(|| {
        let words: Vec<_> = Effect::ALL.iter().map(|e| e.as_str()).collect();
        format!("must be one of: {}", words.join(", "))
    })
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
        NotesCommand::List { filter, limit } => list(db, &filter.filter(), limit, zone, out).await,
        NotesCommand::Export {
            filter,
            template,
            dir,
        } => export(db, &filter, &template, &dir, now_ms, zone, out).await,
        NotesCommand::Finish { note, said } => {
            let mut tx = db.begin().await?;
            let id = NoteId::new(note);
            let found = store::notes::by_id(&mut tx, id).await?;
            let found = found.with_context(|| format!("there is no note {note}"))?;
            let said = said.said(&currency(&mut tx, found.case).await?)?;
            let followed = notes::finish(&mut tx, id, &said, ACTOR, now_ms).await?;
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
            let said = said.said(&currency(&mut tx, case).await?)?;
            let today = super::day(now_ms, zone)?;
            let begin = Begin {
                case,
                contact_point: contact_point.map(ContactPointId::new),
                agent,
                today: &today,
            };
            let (id, followed) = notes::write(&mut tx, &begin, &said, ACTOR, now_ms).await?;
            tx.commit().await?;
            say(out, id, &followed)
        }
        NotesCommand::Dispositions(command) => dispositions(command, db, now_ms, out).await,
        NotesCommand::Templates(command) => templates(command, db, now_ms, out).await,
    }
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
    args: &FilterArgs,
    name: &str,
    dir: &std::path::Path,
    now_ms: i64,
    zone: &TimeZone,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let filter = args.filter();
    let mut tx = db.begin().await?;
    let client = client(&mut tx, Some(&args.client).filter(|c| !c.is_empty())).await?;
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
    let mut to = std::fs::File::create_new(&file).with_context(|| {
        format!("cannot make {shown}; remove the old one or choose another --dir")
    })?;
    let mut tx = db.read().await?;
    let written = note_export::write(&mut tx, None, &filter, &template, zone, &mut to).await;
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

async fn dispositions(
    command: DispositionsCommand,
    db: &Db,
    now_ms: i64,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match command {
        DispositionsCommand::List { client: code } => {
            let mut tx = db.read().await?;
            let client = client(&mut tx, code.as_ref()).await?;
            let list = store::dispositions::list(&mut tx, client).await?;
            tx.rollback().await?;
            let mut table =
                super::table(["code", "English", "中文", "right party", "does", "list", ""]);
            for one in list {
                let effects: Vec<_> = one.disposition.effects.iter().map(|e| e.as_str()).collect();
                let yes = |yes: bool, word: &str| if yes { word.to_owned() } else { String::new() };
                table.add_row([
                    one.disposition.code,
                    one.disposition.name_en,
                    one.disposition.name_zh,
                    yes(one.disposition.right_party, "yes"),
                    effects.join(", "),
                    if one.own { "client" } else { "general" }.to_owned(),
                    yes(!one.active, "off"),
                ]);
            }
            Ok(writeln!(out, "{table}")?)
        }
        DispositionsCommand::Set {
            client: code,
            code: word,
            name_en,
            name_zh,
            right_party,
            effects,
            off,
        } => {
            let one = Disposition {
                code: word,
                name_en,
                name_zh,
                right_party,
                effects,
            }
            .checked()?;
            let mut tx = db.begin().await?;
            let client = client(&mut tx, code.as_ref()).await?;
            store::dispositions::set(&mut tx, client, &one, !off).await?;
            let access = Access {
                at_ms: now_ms,
                actor: ACTOR,
                action: "disposition.set",
                object: &one.code,
                client_id: client,
                detail: serde_json::json!({ "effects": one.effects, "right_party": right_party, "off": off }),
            };
            access::log(&mut tx, &access).await?;
            tx.commit().await?;
            let whose = code.unwrap_or_else(|| "every client without its own".into());
            Ok(writeln!(out, "{} stands for {whose}", one.code)?)
        }
    }
}

async fn templates(
    command: TemplatesCommand,
    db: &Db,
    now_ms: i64,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match command {
        TemplatesCommand::Sample => Ok(write!(out, "{SHIPPED}")?),
        TemplatesCommand::List => {
            let mut tx = db.read().await?;
            let list = store::templates::list(&mut tx).await?;
            tx.rollback().await?;
            let mut table = super::table(["client", "name", "version", "by"]);
            for one in list.into_iter().filter(|one| one.kind == note_export::KIND) {
                table.add_row([
                    one.client,
                    one.name,
                    one.version.to_string(),
                    one.created_by,
                ]);
            }
            Ok(writeln!(out, "{table}")?)
        }
        TemplatesCommand::Add {
            file,
            client: code,
            name,
        } => {
            let shown = file.display();
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("cannot read {shown}"))?;
            Template::parse(&text).with_context(|| shown.to_string())?;
            if name.is_empty() || name.chars().count() > 64 {
                bail!("--name has 1 to 64 characters");
            }
            let mut tx = db.begin().await?;
            let client = client(&mut tx, code.as_ref()).await?;
            let kind = note_export::KIND;
            let (_, version) =
                store::templates::add(&mut tx, client, kind, &name, &text, ACTOR, now_ms).await?;
            let access = Access {
                at_ms: now_ms,
                actor: ACTOR,
                action: "template.add",
                object: &name,
                client_id: client,
                detail: serde_json::json!({ "kind": "notes", "version": version }),
            };
            access::log(&mut tx, &access).await?;
            tx.commit().await?;
            Ok(writeln!(out, "template {name}, version {version}")?)
        }
    }
}
