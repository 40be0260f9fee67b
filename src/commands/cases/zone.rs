//! `ringfence cases zone`: in which time zone a person of a case lives.

use std::io::Write;

use anyhow::bail;
use clap::Args;

use super::{ACTOR, Context};
use crate::rulebook::{
    By,
    find::{self, CaseName, Numbering},
    zones,
};

/// Arguments of `ringfence cases zone`.
#[derive(Debug, Args)]
pub struct ZoneArgs {
    /// The case
    #[arg(value_name = "CLIENT/CASE")]
    pub case: CaseName,
    /// A number of the case, at which the person is called
    #[arg(long)]
    pub number: String,
    /// Who it is, where several persons of the case share the number: id of the contact
    #[arg(long, value_name = "ID")]
    pub contact: Option<i64>,
    /// IANA name of the zone, such as America/New_York
    #[arg(long, required_unless_present = "none", conflicts_with = "none")]
    pub zone: Option<String>,
    /// Nothing on record: by the number again
    #[arg(long)]
    pub none: bool,
    /// Where that is known from, in words, without numbers and names
    #[arg(long)]
    pub reason: String,
    /// Who does it, as the books will say
    #[arg(long, value_name = "NAME", default_value = ACTOR)]
    pub by: String,
}

pub(super) async fn run(
    args: &ZoneArgs,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let numbering = Numbering {
        region: context.region,
        short: &context.short,
    };
    let number = numbering.number(&args.number)?;
    let mut tx = context.db.read().await?;
    let case = find::case(&mut tx, &args.case, None).await?;
    let mut points = find::points(&mut tx, &case, &number).await?;
    tx.rollback().await?;
    points.retain(|point| args.contact.is_none_or(|id| point.contact == id));
    let point = match points.as_slice() {
        [point] => point,
        [] => bail!("--contact: nobody of the case with this id has this number"),
        several => {
            let who: Vec<String> = several
                .iter()
                .map(|p| format!("{} ({})", p.contact, p.relation.as_str()))
                .collect();
            bail!(
                "several persons share this number; say with --contact which one is meant: {}",
                who.join(", ")
            );
        }
    };
    let by = By {
        actor: &args.by,
        now_ms: context.clock.wall_ms(),
    };
    let (id, zone) = (point.contact_point, args.zone.as_deref());
    let new = zones::set(context.db, id, zone, &args.reason, None, by).await?;
    let then = if new {
        "from now on"
    } else {
        "as it was before"
    };
    match zone {
        Some(_) => writeln!(out, "contact point {id} is called by this zone, {then}")?,
        None => writeln!(
            out,
            "contact point {id} is called by the zones of its number, {then}"
        )?,
    }
    Ok(())
}
