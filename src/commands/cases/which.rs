//! Many cases at once, chosen by what they are or by a list, and what is done with them for a reason.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::{
    civil::{Date, Time},
    tz::TimeZone,
};

use super::{super::ACTOR, Context};
use crate::{
    cases::{
        bulk,
        money::{Currency, Money},
    },
    ids::CaseId,
    policy::CaseState,
    store::{
        case_states::Act,
        clients,
        selection::{self, CaseFilter},
    },
};

/// Which cases, by what they are.
#[derive(Debug, Args, Clone, Default)]
pub struct FilterArgs {
    /// Code of the client
    #[arg(long, default_value = "", value_name = "CODE")]
    pub client: String,
    /// The client's name of the lot
    #[arg(long, default_value = "", value_name = "CODE")]
    pub batch: String,
    /// open, paused, settled, returned, closed
    #[arg(long, value_parser = state)]
    pub state: Option<CaseState>,
    /// to_90, to_180, to_360, above_360
    #[arg(long, default_value = "")]
    pub bucket: String,
    /// Where the debtor lives, as the client calls it
    #[arg(long, default_value = "")]
    pub region: String,
    /// Colour mark
    #[arg(long, default_value = "")]
    pub mark: String,
    /// Currency
    #[arg(long, default_value = "")]
    pub currency: String,
    /// Least amount owed
    #[arg(long, value_parser = amount)]
    pub from_amount: Option<i64>,
    /// Largest amount owed
    #[arg(long, value_parser = amount)]
    pub to_amount: Option<i64>,
    /// Employee number of who has it
    #[arg(long, default_value = "", value_name = "CODE")]
    pub agent: String,
    /// Code of the team that has it
    #[arg(long, default_value = "", value_name = "CODE")]
    pub team: String,
    /// Only those that no agent has
    #[arg(long)]
    pub unallocated: bool,
    /// Kind of the debts, as the template of the batch calls it
    #[arg(long, default_value = "", value_name = "TYPE")]
    pub case_type: String,
    /// Least days overdue at placement
    #[arg(long, value_name = "DAYS")]
    pub from_days: Option<i64>,
    /// Most days overdue at placement
    #[arg(long, value_name = "DAYS")]
    pub to_days: Option<i64>,
    /// First day on which the batch was placed, YYYY-MM-DD
    #[arg(long, value_name = "DAY")]
    pub placed_from: Option<Date>,
    /// Last day on which the batch was placed
    #[arg(long, value_name = "DAY")]
    pub placed_to: Option<Date>,
    /// Only those that nobody has followed up since this day began, or ever
    #[arg(long, value_name = "DAY")]
    pub not_followed_since: Option<Date>,
    /// A field of the client's own that has this value; may be given several times
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = field)]
    pub fields: Vec<(String, String)>,
}

impl FilterArgs {
    pub(super) fn filter(&self, zone: &TimeZone) -> anyhow::Result<CaseFilter> {
        let begins = |day: Date| zone.to_timestamp(day.to_datetime(Time::midnight()));
        let since = self.not_followed_since.map(begins).transpose()?;
        Ok(CaseFilter {
            client: self.client.clone(),
            batch: self.batch.clone(),
            state: self.state,
            bucket: self.bucket.clone(),
            region: self.region.clone(),
            mark: self.mark.clone(),
            currency: self.currency.clone(),
            from_e4: self.from_amount,
            to_e4: self.to_amount,
            agent: self.agent.clone(),
            team: self.team.clone(),
            unallocated: self.unallocated,
            case_type: self.case_type.clone(),
            from_days: self.from_days,
            to_days: self.to_days,
            placed_from: self.placed_from,
            placed_to: self.placed_to,
            not_followed_since_ms: since.map(|since| since.as_millisecond()),
            fields: self.fields.iter().cloned().collect(),
        })
    }
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Which cases, by what they are or by a list, and why.
#[derive(Debug, Args, Clone)]
pub struct WhichArgs {
    /// By what they are
    #[command(flatten)]
    pub filter: FilterArgs,
    /// A CSV file whose first column holds the client's case numbers; needs --client and nothing else
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// Why
    #[arg(long)]
    pub reason: String,
}

fn state(word: &str) -> Result<CaseState, String> {
    CaseState::parse(word)
        .ok_or_else(|| "must be one of: open, paused, settled, returned, closed".into())
}

fn amount(text: &str) -> Result<i64, String> {
    // The currency of the cases is their own; only the digits are read here.
    Money::parse(text, Currency::CNY)
        .map(|money| money.e4)
        .map_err(|e| e.to_string())
}

pub(super) async fn act(
    which: &WhichArgs,
    act: Act<'_>,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let filter = which.filter.filter(&context.zone)?;
    let mut tx = context.db.read().await?;
    let client = match filter.client.as_str() {
        "" => None,
        code => {
            let client = clients::by_code(&mut tx, code).await?;
            Some(
                client
                    .with_context(|| format!("there is no client {code}"))?
                    .id,
            )
        }
    };
    let (selected, unknown) = match &which.file {
        Some(file) => {
            let only_client = CaseFilter {
                client: filter.client.clone(),
                ..CaseFilter::default()
            };
            let (Some(client), true) = (client, filter == only_client) else {
                bail!("--file: name the client with --client, and no other filter");
            };
            let references = listed(file)?;
            selection::by_references(&mut tx, client, &references).await?
        }
        None if filter == CaseFilter::default() => {
            bail!(
                "name at least one filter, or a list with --file: all cases of all clients are never meant"
            )
        }
        None => (selection::select(&mut tx, None, &filter).await?, Vec::new()),
    };
    tx.rollback().await?;
    let cases: Vec<CaseId> = selected.into_iter().map(|one| one.case).collect();
    let by = (ACTOR, which.reason.as_str());
    let done = Box::pin(bulk::act(
        context.db,
        &context.clock,
        &cases,
        act,
        client,
        by,
    ))
    .await?;
    writeln!(
        out,
        "{} of {} cases changed; from the state of the others there is no such way, or they are so already",
        done.changed, done.asked
    )?;
    for reference in unknown {
        writeln!(out, "unknown: {reference}")?;
    }
    Ok(())
}

/// The case numbers of a file.
pub(super) fn listed(file: &Path) -> anyhow::Result<Vec<String>> {
    let shown = file.display();
    let text = std::fs::File::open(file).with_context(|| format!("cannot open {shown}"))?;
    references(text).with_context(|| shown.to_string())
}

/// The first column of a CSV file; a head that says `case` is none.
fn references(file: impl std::io::Read) -> anyhow::Result<Vec<String>> {
    let mut rows = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(file);
    let mut all = Vec::new();
    for row in rows.records() {
        let row = row?;
        let first = row.get(0).unwrap_or_default();
        let first = first.trim_start_matches('\u{feff}').trim();
        if first.is_empty() || (all.is_empty() && first == "case") {
            continue;
        }
        all.push(first.to_owned());
    }
    if all.is_empty() {
        bail!("the file names no case");
    }
    Ok(all)
}
