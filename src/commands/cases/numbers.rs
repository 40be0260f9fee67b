//! `ringfence cases numbers`: what was found wrong with the numbers of a case, and that one is good again.

use std::io::Write;

use clap::Subcommand;

use super::{
    super::{ACTOR, instant},
    Context, table,
};
use crate::{
    cases::numbers,
    ids::{CaseId, ContactPointId},
    store::number_faults,
};

/// What to do with numbers.
#[derive(Debug, Subcommand)]
pub enum NumbersCommand {
    /// List what was found wrong with the numbers of a case: not this person's, or dead
    Faults {
        /// Our number of the case
        case: CaseId,
    },
    /// Say that a number reaches its person again; third parties are locked until there is other evidence of loss of contact
    Good {
        /// The contact point
        contact_point: ContactPointId,
        /// Why
        #[arg(long)]
        reason: String,
        /// Who does it, as the books will say
        #[arg(long, value_name = "NAME", default_value = ACTOR)]
        by: String,
    },
}

pub(super) async fn run(
    command: NumbersCommand,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match command {
        NumbersCommand::Faults { case } => {
            let mut tx = context.db.read().await?;
            let faults = number_faults::of_case(&mut tx, case).await?;
            tx.rollback().await?;
            let mut table = table(&[
                "fault",
                "contact point",
                "what",
                "counts",
                "note",
                "found",
                "by",
                "lifted",
            ]);
            for fault in faults {
                let lifted = match (fault.lifted_at_ms, fault.lifted_by, fault.lifted_why) {
                    (Some(at_ms), by, why) => format!(
                        "{} by {}: {}",
                        instant(at_ms, &context.zone),
                        by.unwrap_or_default(),
                        why.unwrap_or_default()
                    ),
                    (None, ..) => String::new(),
                };
                table.add_row([
                    fault.id.to_string(),
                    fault.contact_point.to_string(),
                    fault.kind.to_string(),
                    if fault.counts { "yes" } else { "no" }.to_owned(),
                    fault.note.map(|note| note.to_string()).unwrap_or_default(),
                    instant(fault.at_ms, &context.zone),
                    fault.actor,
                    lifted,
                ]);
            }
            Ok(writeln!(out, "{table}")?)
        }
        NumbersCommand::Good {
            contact_point,
            reason,
            by,
        } => {
            let now_ms = context.clock.wall_ms();
            let mut tx = context.db.begin().await?;
            let lifted =
                numbers::good_again(&mut tx, contact_point, None, &reason, &by, now_ms).await?;
            tx.commit().await?;
            Ok(writeln!(
                out,
                "the number of contact point {contact_point} is good again; {lifted} faults lifted"
            )?)
        }
    }
}
