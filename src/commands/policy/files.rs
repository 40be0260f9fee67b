//! The rule files, special days and outside counts on the command line.

use std::{io::Write, path::Path};

use anyhow::Context as _;

use super::{super::Desk, OutsideCountsCommand, SpecialDaysCommand};
use crate::{
    policy::RuleSet,
    rulebook::{
        self, By,
        files::{Configured, Single},
        find,
        special_days::Which,
    },
    store::{outside_counts, rule_lists, rules, special_days},
};

/// Checks a rule file against the preset that it names; with the configured one, warns if that is another.
///
/// # Errors
/// What is wrong with it, with its line.
pub(super) fn check(
    file: &Path,
    configured: Option<&Configured>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let shown = file.display();
    let text = rulebook::files::read(file)?;
    let rules = RuleSet::stricter(&text).with_context(|| shown.to_string())?;
    writeln!(
        out,
        "{shown}: good, and in nothing looser than its base; merged: {} revision {}, SHA-256 {}",
        rules.name,
        rules.revision,
        rules.hash()
    )?;
    if let Some(set) = Single::read(file, configured)?.in_force {
        writeln!(
            out,
            "in force it is {}: {} revision {}, SHA-256 {}",
            set.source, set.rules.name, set.rules.revision, set.sha256
        )?;
    }
    let warning = configured.and_then(|configured| {
        rulebook::files::warning(configured.preset, &shown.to_string(), &text)
    });
    if let Some(warning) = warning {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}

/// Prints the rules in force for a client, or those that the files say now.
///
/// # Errors
/// No such client, or a bad file where the files are asked for.
pub(super) async fn show(
    client: Option<&str>,
    files: bool,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let deciding = desk.deciding(client, files).await?;
    for warning in &deciding.warnings {
        writeln!(out, "# warning: {}", warning.replace('\n', "\n# "))?;
    }
    let set = &deciding.set;
    writeln!(out, "# {}, {}", set.source, deciding.from)?;
    writeln!(out, "# SHA-256 {}", set.sha256)?;
    writeln!(out, "{}", toml_text(&set.rules)?)?;
    Ok(())
}

/// Prints a rule set that ever decided.
///
/// # Errors
/// No such set, or the database.
pub(super) async fn show_kept(
    sha256: &str,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let sha256 = sha256.to_ascii_lowercase();
    let mut tx = desk.db.read().await?;
    let rules = rulebook::stored::kept(&mut tx, &sha256).await?;
    writeln!(out, "# SHA-256 {sha256}")?;
    writeln!(out, "{}", toml_text(&rules)?)?;
    Ok(())
}

fn toml_text(rules: &RuleSet) -> anyhow::Result<String> {
    toml::to_string_pretty(rules).context("the rules cannot be written as TOML")
}

/// Lists which rules were in force since when.
///
/// # Errors
/// The database.
pub(super) async fn history(
    client: Option<&str>,
    limit: u32,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut tx = desk.db.read().await?;
    if let Some(code) = client {
        find::client(&mut tx, code, None).await?;
    }
    let found = rules::history(&mut tx, client, None, limit).await?;
    let mut table = super::super::table([
        "since", "client", "rules", "revision", "SHA-256", "from", "node", "by",
    ]);
    for row in found {
        table.add_row([
            desk.local(row.from_ms),
            row.client.unwrap_or_else(|| "every other".into()),
            row.name,
            row.revision,
            row.sha256,
            row.source,
            row.node,
            row.actor,
        ]);
    }
    writeln!(out, "{table}")?;
    Ok(())
}

/// Lists that were brought in.
///
/// # Errors
/// The database.
pub(super) async fn lists(
    limit: u32,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut tx = desk.db.read().await?;
    let mut table = super::super::table([
        "list", "holds", "client", "file", "state", "rows", "new", "changed", "same", "faulty",
        "since", "by",
    ]);
    for line in rule_lists::list(&mut tx, limit).await? {
        let counts = line.counts;
        table.add_row([
            line.id.to_string(),
            line.kind.to_string(),
            line.client,
            line.file_name,
            line.state.to_string(),
            counts.read.to_string(),
            counts.new.to_string(),
            counts.changed.to_string(),
            counts.same.to_string(),
            counts.faulty.to_string(),
            desk.local(line.started_at_ms),
            line.actor,
        ]);
    }
    writeln!(out, "{table}")?;
    Ok(())
}

/// Special days.
///
/// # Errors
/// The faults of the file with line and column, or the database.
pub(super) async fn special_days(
    command: SpecialDaysCommand,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match command {
        SpecialDaysCommand::Import {
            file,
            region,
            replace,
            by,
        } => {
            let by = By {
                actor: &by,
                now_ms: desk.now_ms,
            };
            let done = rulebook::special_days::import(desk.db, &file, &region, replace, by)
                .await
                .with_context(|| file.display().to_string())?;
            let region = region.to_ascii_uppercase();
            writeln!(
                out,
                "{} special days of {region}: {} new, {} changed, {} as known; {} removed",
                done.days,
                done.new,
                done.changed,
                done.same,
                done.removed.len()
            )?;
            if let Some((country, _)) = region.split_once('-') {
                writeln!(
                    out,
                    "no number says in which part of {country} it rings, so they hold for every number of {country}"
                )?;
            }
        }
        SpecialDaysCommand::Remove {
            region,
            dates,
            year,
            by,
        } => {
            let by = By {
                actor: &by,
                now_ms: desk.now_ms,
            };
            let which = match year {
                Some(year) => Which::Year(year),
                None => Which::Dates(dates),
            };
            let gone = rulebook::special_days::remove(desk.db, &region, &which, by).await?;
            writeln!(
                out,
                "{} special days removed: {}",
                gone.len(),
                rulebook::special_days::named(&gone)
            )?;
        }
        SpecialDaysCommand::List { region, from } => {
            let from = match from {
                Some(day) => day,
                None => desk.today(),
            };
            let mut tx = desk.db.read().await?;
            let found = special_days::list(&mut tx, region.as_deref(), from).await?;
            let mut table = super::super::table(["region", "date", "name", "hours"]);
            for day in found {
                let hours: Vec<String> = day.hours.iter().map(ToString::to_string).collect();
                let hours = if hours.is_empty() {
                    "no calls".to_owned()
                } else {
                    hours.join(", ")
                };
                table.add_row([day.region, day.date.to_string(), day.name, hours]);
            }
            writeln!(out, "{table}")?;
        }
    }
    Ok(())
}

/// Outside counts.
///
/// # Errors
/// The faults of the file with line and column, or the database.
pub(super) async fn outside_counts(
    command: OutsideCountsCommand,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match command {
        OutsideCountsCommand::Import {
            file,
            client,
            good_rows,
            by,
        } => {
            let by = By {
                actor: &by,
                now_ms: desk.now_ms,
            };
            let done = rulebook::outside::import(
                desk.db,
                &desk.clock,
                &file,
                &client,
                &desk.numbering,
                &desk.zone,
                good_rows,
                by,
            )
            .await
            .with_context(|| file.display().to_string())?;
            for fault in &done.faults {
                writeln!(out, "  {fault}")?;
            }
            writeln!(
                out,
                "{} rows: {} new, {} changed, {} as known, {} faulty",
                done.rows, done.new, done.changed, done.same, done.faulty
            )?;
        }
        OutsideCountsCommand::List { case } => {
            let mut tx = desk.db.read().await?;
            let case = find::case(&mut tx, &case, None).await?;
            let found = outside_counts::of_case_by_day(&mut tx, case.id).await?;
            let mut table =
                super::super::table(["date", "number", "attempts", "connected", "source"]);
            for count in found {
                table.add_row([
                    count.date,
                    count
                        .number
                        .map_or_else(|| "not told".to_owned(), |id| id.to_string()),
                    count.attempts.to_string(),
                    count.connected.to_string(),
                    count.source,
                ]);
            }
            writeln!(out, "{table}")?;
        }
    }
    Ok(())
}
