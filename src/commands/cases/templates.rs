//! `ringfence cases templates`: how files are read, listed, shown, tried, entered and withdrawn.

use std::{
    io::{Read as _, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{
    super::{
        instant,
        stored_templates::{self, WhichTemplate},
    },
    ACTOR, Context,
    bring::FileKind,
    client, table,
};
use crate::{
    cases::template::{self, Template},
    store::{
        access::{self, Access},
        templates,
    },
};

/// Arguments of `ringfence cases templates`.
#[derive(Debug, Args)]
pub struct TemplatesArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TemplatesCommand,
}

/// What to do with templates.
#[derive(Debug, Subcommand)]
pub enum TemplatesCommand {
    /// List the templates: those entered, and those that come with the program
    List,
    /// Print a template: one that was entered, or else one that comes with the program, to be copied and changed
    Show {
        /// Which
        #[command(flatten)]
        which: WhichTemplate,
        /// What its files hold, if templates of several kinds have the name
        #[arg(long, value_enum)]
        kind: Option<FileKind>,
    },
    /// Withdraw a version that was entered by mistake: the one before it counts again
    Withdraw {
        /// Which
        #[command(flatten)]
        which: WhichTemplate,
        /// What its files hold, if templates of several kinds have the name
        #[arg(long, value_enum)]
        kind: Option<FileKind>,
    },
    /// Say whether a template can be used
    Check {
        /// The file
        file: PathBuf,
    },
    /// Enter a template; the newest of its name counts
    Add {
        /// The file
        file: PathBuf,
        /// Code of the client whose files it reads; every client without one of its own if not told
        #[arg(long, value_name = "CODE")]
        client: Option<String>,
    },
}

pub(super) async fn run(
    args: TemplatesArgs,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match args.command {
        TemplatesCommand::List => {
            let mut tx = context.db.read().await?;
            let lines = templates::list(&mut tx).await?;
            tx.rollback().await?;
            let mut table = table(&["kind", "name", "client", "version", "by", "withdrawn"]);
            for line in lines {
                let client = if line.client.is_empty() {
                    "all".to_owned()
                } else {
                    line.client
                };
                table.add_row([
                    line.kind,
                    line.name,
                    client,
                    line.version.to_string(),
                    line.created_by,
                    line.withdrawn_at_ms
                        .map(|at_ms| instant(at_ms, &context.zone))
                        .unwrap_or_default(),
                ]);
            }
            for (name, text) in template::SHIPPED {
                let kind = Template::parse(text)?.kind.as_str().to_owned();
                let by = "comes with the program";
                table.add_row([kind.as_str(), name, "all", "", by, ""]);
            }
            Ok(writeln!(out, "{table}")?)
        }
        TemplatesCommand::Show { which, kind } => {
            if stored_templates::show(&which, &kinds(kind), context.db, out).await? {
                return Ok(());
            }
            match template::shipped(&which.name).filter(|_| which.client.is_none()) {
                Some(text) => Ok(write!(out, "{text}")?),
                None => anyhow::bail!(
                    "there is no such template; `ringfence cases templates list` lists them with their clients"
                ),
            }
        }
        TemplatesCommand::Withdraw { which, kind } => {
            let now_ms = context.clock.wall_ms();
            stored_templates::withdraw(&which, &kinds(kind), context.db, now_ms, out).await
        }
        TemplatesCommand::Check { file } => {
            let (template, _) = read_template(&file)?;
            Ok(writeln!(
                out,
                "the template {} for {} can be used",
                template.name,
                template.kind.as_str()
            )?)
        }
        TemplatesCommand::Add { file, client: code } => {
            let (template, text) = read_template(&file)?;
            let now_ms = context.clock.wall_ms();
            let mut tx = context.db.begin().await?;
            let client_id = match &code {
                Some(code) => Some(client(&mut tx, code).await?.id),
                None => None,
            };
            let (id, version) = templates::add(
                &mut tx,
                client_id,
                template.kind.as_str(),
                &template.name,
                &text,
                ACTOR,
                now_ms,
            )
            .await?;
            let access = Access {
                at_ms: now_ms,
                actor: ACTOR,
                action: "template.add",
                object: &id.to_string(),
                client_id,
                detail: serde_json::json!({ "kind": template.kind.as_str(), "name": template.name, "version": version }),
            };
            access::log(&mut tx, &access).await?;
            tx.commit().await?;
            Ok(writeln!(
                out,
                "template {} for {}, version {version}",
                template.name,
                template.kind.as_str()
            )?)
        }
    }
}

fn kinds(told: Option<FileKind>) -> Vec<&'static str> {
    let all = [FileKind::Cases, FileKind::Updates, FileKind::Repayments];
    let of = told.map_or_else(|| all.to_vec(), |kind| vec![kind]);
    of.into_iter().map(|kind| kind.kind().as_str()).collect()
}

fn read_template(file: &Path) -> anyhow::Result<(Template, String)> {
    let shown = file.display();
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|file| {
            file.take(template::MOST_BYTES as u64 + 1)
                .read_to_string(&mut text)
        })
        .with_context(|| format!("cannot read {shown}"))?;
    let template = Template::parse(&text).with_context(|| shown.to_string())?;
    Ok((template, text))
}
