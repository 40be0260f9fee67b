//! `ringfence cases check` and `pull`: cases that are kept elsewhere.

use std::io::Write;

use super::{ACTOR, Context, client};
use crate::{
    cases::{
        entry::Reading,
        foreign,
        import::{ImportError, Placed, today},
    },
    store,
};

pub(super) async fn check(
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    refuse_sqlite(context)?;
    let mut tx = context.db.read().await?;
    let (mut problems, _) = store::foreign::check_views(&mut tx).await?;
    if problems.is_empty() {
        problems = store::foreign::check_rows(&mut tx, "").await?;
    }
    tx.rollback().await?;
    for problem in &problems {
        writeln!(out, "{problem}")?;
    }
    match problems.len() {
        0 => Ok(writeln!(
            out,
            "the views of the foreign case store can be pulled from"
        )?),
        n => anyhow::bail!("{n} things are wrong with the views of the foreign case store"),
    }
}

pub(super) async fn pull(
    code: &str,
    placed_on: Option<jiff::civil::Date>,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    refuse_sqlite(context)?;
    let mut tx = context.db.read().await?;
    let client = client(&mut tx, code).await?;
    tx.rollback().await?;
    let template = foreign::template()?;
    // Made now if there is none; each import then opens it.
    context.field_key().await?;
    let reading = || {
        let key = (context.key)(false).map_err(|_| ImportError::NoKey)?;
        Ok(Reading {
            client: client.id,
            region: context.region,
            short: context.short.clone(),
            key: Some(key.into()),
        })
    };
    let pulled = foreign::pull(
        context.db,
        &context.clock,
        &client,
        &template,
        (
            Placed::told_or_today(placed_on, context.clock.wall_ms(), &context.zone).assumed(),
            today(context.clock.wall_ms(), &context.zone),
        ),
        ACTOR,
        reading,
    )
    .await?;
    let mut faulty = 0;
    for (batch, report) in &pulled.batches {
        let counts = report.counts;
        faulty += counts.faulty;
        writeln!(
            out,
            "batch {batch}: {} rows: {} new cases, {} new numbers; {} rows changed, {} faulty",
            counts.read, report.new_cases, report.new_contact_points, counts.changed, counts.faulty
        )?;
        for fault in &report.faults {
            writeln!(out, "  {fault}")?;
        }
    }
    writeln!(out, "{} cases have another state", pulled.states)?;
    for (batch, error) in &pulled.failed {
        writeln!(out, "batch {batch}: {error}")?;
    }
    for problem in &pulled.problems {
        writeln!(out, "left out: {problem}")?;
    }
    if !pulled.failed.is_empty() {
        anyhow::bail!(
            "{} batches were not brought in, see above",
            pulled.failed.len()
        );
    }
    if faulty > 0 || !pulled.problems.is_empty() {
        anyhow::bail!(
            "everything else was brought in, but rows were left out, see above: correct them where the cases are kept"
        );
    }
    Ok(())
}

fn refuse_sqlite(context: &Context<'_>) -> anyhow::Result<()> {
    if context.db.one_writer() {
        anyhow::bail!(
            "views of a foreign case store need PostgreSQL (store.url); on SQLite push cases with POST /api/v1/cases"
        );
    }
    Ok(())
}
