//! `ringfence cases matters`: what a client must be told of within half an hour.

use std::io::Write;

use clap::Subcommand;

use super::{
    super::{ACTOR, instant, table},
    Context,
};
use crate::{
    cases::matters::{self, NewMatter},
    ids::CaseId,
    store::major_matters::{self, Grade, MatterKind},
};

/// What to do with major matters.
#[derive(Debug, Subcommand)]
pub enum MattersCommand {
    /// List them, newest first
    List {
        /// Only those that were not reported
        #[arg(long)]
        waiting: bool,
        /// The most to list
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Enter one; it has to be reported within 30 minutes of becoming known
    Enter {
        /// Code of the client
        #[arg(long, value_name = "CODE")]
        client: String,
        /// The case, if it is about one
        #[arg(long, value_name = "ID")]
        case: Option<i64>,
        /// complaint, threat, death, police, media or other
        #[arg(long)]
        kind: MatterKind,
        /// light, ordinary or serious
        #[arg(long, default_value = "ordinary")]
        grade: Grade,
        /// When it became known; now if left out
        #[arg(long, value_name = "INSTANT")]
        at: Option<jiff::Timestamp>,
        /// What happened
        text: String,
    },
    /// Note that the client was told
    Report {
        /// The matter
        matter: i64,
        /// Who was told, and how
        #[arg(long)]
        told: String,
        /// How grave it is, where that was found out
        #[arg(long)]
        grade: Option<Grade>,
    },
}

pub(super) async fn run(
    command: MattersCommand,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let now_ms = context.clock.wall_ms();
    match command {
        MattersCommand::List { waiting, limit } => {
            let mut tx = context.db.read().await?;
            let list = major_matters::list(&mut tx, None, waiting, i64::MAX, limit).await?;
            tx.rollback().await?;
            let mut table = table([
                "id", "client", "case", "kind", "grade", "known", "reported", "told", "text",
            ]);
            for one in list {
                table.add_row([
                    one.id.to_string(),
                    one.client_code,
                    one.case_reference.unwrap_or_default(),
                    one.kind.to_string(),
                    one.grade.to_string(),
                    instant(one.occurred_at_ms, &context.zone),
                    one.reported_at_ms
                        .map(|at_ms| instant(at_ms, &context.zone))
                        .unwrap_or_default(),
                    one.told,
                    one.text,
                ]);
            }
            Ok(writeln!(out, "{table}")?)
        }
        MattersCommand::Enter {
            client,
            case,
            kind,
            grade,
            at,
            text,
        } => {
            let new = NewMatter {
                client: &client,
                case: case.map(CaseId::new),
                kind,
                grade,
                text: &text,
                occurred_at_ms: at.map_or(now_ms, |at| at.as_millisecond()),
            };
            let mut tx = context.db.begin().await?;
            let entered = matters::enter(&mut tx, &new, None, ACTOR, now_ms).await?;
            tx.commit().await?;
            let limit_ms = i64::try_from(context.limits.major_matter_s)?.saturating_mul(1_000);
            let due = instant(
                entered.occurred_at_ms.saturating_add(limit_ms),
                &context.zone,
            );
            Ok(writeln!(
                out,
                "major matter {} is entered; report it by {due}",
                entered.id
            )?)
        }
        MattersCommand::Report {
            matter,
            told,
            grade,
        } => {
            let mut tx = context.db.begin().await?;
            matters::report(&mut tx, matter, &told, grade, (None, ACTOR), now_ms).await?;
            tx.commit().await?;
            Ok(writeln!(out, "major matter {matter} is reported")?)
        }
    }
}
