//! `ringfence notes dispositions` and `ringfence notes templates`: what may be said, and how banks get it.

use std::{io::Write, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use jiff::tz::TimeZone;

use super::{
    super::{
        ACTOR, instant,
        stored_templates::{self, WhichTemplate},
    },
    client,
};
use crate::{
    agent::{Disposition, Effect},
    cases::{
        note_export,
        note_template::{SHIPPED, Template},
    },
    store::{
        self, Db,
        access::{self, Access},
    },
};

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
    /// Print a template that was entered
    Show(WhichTemplate),
    /// Withdraw a version that was entered by mistake: the one before it counts again
    Withdraw(WhichTemplate),
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

pub(super) async fn dispositions(
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
                super::super::table(["code", "English", "中文", "right party", "does", "list", ""]);
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

pub(super) async fn templates(
    command: TemplatesCommand,
    db: &Db,
    now_ms: i64,
    zone: &TimeZone,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match command {
        TemplatesCommand::Sample => Ok(write!(out, "{SHIPPED}")?),
        TemplatesCommand::Show(which) => {
            match stored_templates::show(&which, &[note_export::KIND], db, out).await? {
                true => Ok(()),
                false => bail!(
                    "there is no such template; `notes templates list` lists them with their clients, `sample` prints ours"
                ),
            }
        }
        TemplatesCommand::Withdraw(which) => {
            stored_templates::withdraw(&which, &[note_export::KIND], db, now_ms, out).await
        }
        TemplatesCommand::List => {
            let mut tx = db.read().await?;
            let list = store::templates::list(&mut tx).await?;
            tx.rollback().await?;
            let mut table = super::super::table(["client", "name", "version", "by", "withdrawn"]);
            for one in list.into_iter().filter(|one| one.kind == note_export::KIND) {
                table.add_row([
                    one.client,
                    one.name,
                    one.version.to_string(),
                    one.created_by,
                    one.withdrawn_at_ms
                        .map(|at_ms| instant(at_ms, zone))
                        .unwrap_or_default(),
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
