//! `ringfence cases allocate`: who gets which case; plan, look, carry out, undo.

use std::{collections::BTreeMap, io::Write, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{
    super::{ACTOR, instant, table},
    Context,
    which::{FilterArgs, listed},
};
use crate::{
    cases::{
        allocate::{self, Outcome, Request},
        allocation::Method,
    },
    export::money,
    ids::AllocationId,
    store::allocations::{self, Total},
};

/// What to do with allocations.
#[derive(Debug, Subcommand)]
pub enum AllocateCommand {
    /// Plan, and show what each would get; nothing changes hands yet
    Plan(Box<PlanArgs>),
    /// Carry a plan out
    Apply {
        /// The allocation
        allocation: i64,
    },
    /// Undo an allocation as a whole; cases dealt again since are left and named
    Undo {
        /// The allocation
        allocation: i64,
    },
    /// Show an allocation with its totals; without a number, list the last ones
    Show {
        /// The allocation
        allocation: Option<i64>,
    },
}

/// Arguments of `ringfence cases allocate plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// match, even-count, even-amount, even-both, cumulative or manual
    #[arg(long)]
    pub method: Method,
    /// Which cases
    #[command(flatten)]
    pub filter: FilterArgs,
    /// A CSV file whose first column holds the client's case numbers; needs --client, and no other filter than --state
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// Employee number of one who gets cases; may be given several times
    #[arg(long = "to-agent", value_name = "CODE")]
    pub agents: Vec<String>,
    /// Code of a team whose active agents get cases; may be given several times
    #[arg(long = "to-team", value_name = "CODE")]
    pub teams: Vec<String>,
    /// The teams get the cases as a whole, and not their agents
    #[arg(long, requires = "teams")]
    pub as_teams: bool,
    /// For match: the agents of a region; may be given several times
    #[arg(long = "for-region", value_name = "REGION=CODE,CODE")]
    pub regions: Vec<String>,
}

pub(super) async fn run(
    command: AllocateCommand,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let (db, clock) = (context.db, &context.clock);
    match command {
        AllocateCommand::Plan(args) => {
            let mut regions = BTreeMap::new();
            for region in &args.regions {
                let (name, codes) = region
                    .split_once('=')
                    .with_context(|| format!("--for-region {region:?}: write REGION=CODE,CODE"))?;
                let codes = codes.split(',').map(|code| code.trim().to_owned());
                regions.insert(name.to_owned(), codes.collect());
            }
            let mut cases = args.filter.filter(&context.zone)?;
            let (mut client, mut references) = (String::new(), Vec::new());
            if let Some(file) = &args.file {
                client = std::mem::take(&mut cases.client);
                if client.is_empty() {
                    anyhow::bail!("--file: name the client with --client");
                }
                references = listed(file)?;
            }
            let request = Request {
                method: args.method,
                cases,
                client,
                references,
                agents: args.agents,
                teams: args.teams,
                to_teams: args.as_teams,
                regions,
            };
            let planned = allocate::plan(db, clock, &request, None, ACTOR).await?;
            let id = planned.id;
            show(&planned.totals, out)?;
            for reference in &planned.left_out {
                writeln!(
                    out,
                    "left out, for it is not there or not in this state: {reference}"
                )?;
            }
            Ok(writeln!(
                out,
                "allocation {id} is planned; `ringfence cases allocate apply {id}` carries it out"
            )?)
        }
        AllocateCommand::Apply { allocation } => {
            let id = AllocationId::new(allocation);
            let outcome = allocate::apply(db, clock, id, ACTOR).await?;
            say(&outcome, "changed hands", out)
        }
        AllocateCommand::Undo { allocation } => {
            let id = AllocationId::new(allocation);
            let outcome = allocate::undo(db, clock, id, ACTOR).await?;
            say(&outcome, "went back", out)
        }
        AllocateCommand::Show { allocation: None } => {
            let mut tx = db.read().await?;
            let list = allocations::list(&mut tx, None, 50).await?;
            tx.rollback().await?;
            let mut table = table(["allocation", "method", "state", "by", "planned"]);
            for one in list {
                table.add_row([
                    one.id.to_string(),
                    one.method,
                    one.state.to_string(),
                    one.actor,
                    instant(one.created_at_ms, &context.zone),
                ]);
            }
            Ok(writeln!(out, "{table}")?)
        }
        AllocateCommand::Show {
            allocation: Some(allocation),
        } => {
            let id = AllocationId::new(allocation);
            let mut tx = db.read().await?;
            let found = allocations::by_id(&mut tx, id).await?;
            let found = found.with_context(|| format!("there is no allocation {id}"))?;
            let totals = allocations::totals(&mut tx, id).await?;
            tx.rollback().await?;
            show(&totals, out)?;
            Ok(writeln!(
                out,
                "allocation {id}, {}, {}, planned by {}",
                found.method, found.state, found.actor
            )?)
        }
    }
}

fn show(totals: &[Total], out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let mut table = table([
        "agent",
        "team",
        "cases",
        "households",
        "amount",
        "carried out",
    ]);
    for total in totals {
        table.add_row([
            total.agent.clone().unwrap_or_else(|| "(team)".into()),
            total.team.clone().unwrap_or_default(),
            total.cases.to_string(),
            total.households.to_string(),
            money(total.amount_e4),
            total.applied.to_string(),
        ]);
    }
    Ok(writeln!(out, "{table}")?)
}

fn say(outcome: &Outcome, what: &str, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    writeln!(
        out,
        "{} cases {what}; {} are left as they are; no piece held the writer longer than {} ms",
        outcome.changed, outcome.left, outcome.longest_ms
    )?;
    for (client, reference) in &outcome.left_cases {
        writeln!(out, "left: {client} {reference}")?;
    }
    let named = i64::try_from(outcome.left_cases.len())?;
    if outcome.left > named {
        writeln!(out, "left: and {} more", outcome.left - named)?;
    }
    Ok(())
}
