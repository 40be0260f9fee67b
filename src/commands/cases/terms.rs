//! `ringfence cases contracts`: what was agreed with a client, for what fee.

use std::io::Write;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{ACTOR, Context, client, table};
use crate::{
    cases::bucket::Bucket,
    cases::import::{is_to_come, today},
    store::{
        Tx,
        access::{self, Access},
        batches,
        clients::Client,
        contracts,
        contracts::Tier,
    },
};

/// Arguments of `ringfence cases contracts`.
#[derive(Debug, Args)]
pub struct ContractsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ContractsCommand,
}

/// What to do with contracts.
#[derive(Debug, Subcommand)]
pub enum ContractsCommand {
    /// List the contracts with their terms
    List,
    /// Enter a contract
    Add(AddArgs),
    /// Put a batch under a contract
    Assign {
        /// Code of the client
        #[arg(long, value_name = "CODE")]
        client: String,
        /// Number of the contract
        #[arg(long)]
        contract: String,
        /// The client's name of the lot
        #[arg(long)]
        batch: String,
    },
    /// Say, or correct, on which day the client placed a batch: recovery is reckoned from it
    Placed {
        /// Code of the client
        #[arg(long, value_name = "CODE")]
        client: String,
        /// The client's name of the lot
        #[arg(long)]
        batch: String,
        /// The day, YYYY-MM-DD
        #[arg(long, value_name = "DATE")]
        on: jiff::civil::Date,
    },
}

/// Arguments of `ringfence cases contracts add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Code of the client
    #[arg(long, value_name = "CODE")]
    pub client: String,
    /// Number of the contract
    #[arg(long)]
    pub contract: String,
    /// First day, YYYY-MM-DD
    #[arg(long)]
    pub from: jiff::civil::Date,
    /// Last day, YYYY-MM-DD; until ended if not told
    #[arg(long)]
    pub to: Option<jiff::civil::Date>,
    /// Base recovery rates in per cent for debts overdue to 90, 180, 360 days and above
    #[arg(long, value_delimiter = ',', num_args = 1.., default_values = ["85", "65", "45", "40"])]
    pub base: Vec<String>,
    /// Minimum rates in per cent, in the same order
    #[arg(long, value_delimiter = ',', num_args = 1.., default_values = ["60", "30", "15", "5"])]
    pub minimum: Vec<String>,
    /// Fees in per cent of what comes back, in the same order
    #[arg(long, value_delimiter = ',', num_args = 1.., required = true)]
    pub fee: Vec<String>,
    /// Fees in per cent where the base rate was not reached but the minimum was, in the same order; without them a report
    /// leaves such a fee open
    #[arg(long, value_delimiter = ',', num_args = 1..)]
    pub reduced_fee: Vec<String>,
}

/// Four rates in hundredths of a per cent.
fn rates(name: &str, texts: &[String]) -> anyhow::Result<[i64; 4]> {
    let mut rates = [0; 4];
    if texts.len() != rates.len() {
        anyhow::bail!(
            "--{name}: four rates are needed, for debts overdue to 90, 180, 360 days and above"
        );
    }
    for (rate, text) in rates.iter_mut().zip(texts) {
        let exact: rust_decimal::Decimal = text
            .trim()
            .parse()
            .ok()
            .filter(|rate| (rust_decimal::Decimal::ZERO..=100.into()).contains(rate))
            .with_context(|| format!("--{name}: {text:?} is no rate from 0 to 100"))?;
        let hundredths = (exact * rust_decimal::Decimal::ONE_HUNDRED).normalize();
        if hundredths.scale() > 0 {
            anyhow::bail!("--{name}: {text:?} is finer than a hundredth of a per cent");
        }
        *rate = i64::try_from(hundredths)?;
    }
    Ok(rates)
}

fn shown(bp: i64) -> String {
    format!("{} %", rust_decimal::Decimal::new(bp, 2).normalize())
}

pub(super) async fn run(
    args: ContractsArgs,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match args.command {
        ContractsCommand::List => {
            let mut tx = context.db.read().await?;
            let all = contracts::list(&mut tx).await?;
            tx.rollback().await?;
            let mut table = table(&[
                "client", "contract", "from", "to", "overdue", "base", "minimum", "fee", "reduced",
            ]);
            for contract in all {
                for tier in contract.tiers {
                    table.add_row([
                        contract.client.clone(),
                        contract.code.clone(),
                        contract.valid_from_on.clone(),
                        contract.valid_to_on.clone().unwrap_or_default(),
                        tier.bucket,
                        shown(tier.base_bp),
                        shown(tier.minimum_bp),
                        shown(tier.fee_bp),
                        tier.reduced_bp.map(shown).unwrap_or_default(),
                    ]);
                }
            }
            Ok(writeln!(out, "{table}")?)
        }
        ContractsCommand::Add(args) => add(&args, context, out).await,
        ContractsCommand::Assign {
            client: code,
            contract,
            batch,
        } => {
            let now_ms = context.clock.wall_ms();
            let mut tx = context.db.begin().await?;
            let client = client(&mut tx, &code).await?;
            let id = contracts::by_code(&mut tx, client.id, &contract)
                .await?
                .context("the client has no contract of this number")?;
            let lot = lot(&mut tx, &client, &batch).await?;
            contracts::assign(&mut tx, lot.id, id).await?;
            let access = Access {
                at_ms: now_ms,
                actor: ACTOR,
                action: "contract.assign",
                object: &id.to_string(),
                client_id: Some(client.id),
                detail: serde_json::json!({ "batch": lot.id.get() }),
            };
            access::log(&mut tx, &access).await?;
            tx.commit().await?;
            Ok(writeln!(out, "{batch} is under contract {contract}")?)
        }
        ContractsCommand::Placed {
            client: code,
            batch,
            on,
        } => {
            let now_ms = context.clock.wall_ms();
            if is_to_come(on, today(now_ms, &context.zone)) {
                anyhow::bail!("--on {on}: that day is yet to come");
            }
            let mut tx = context.db.begin().await?;
            let client = client(&mut tx, &code).await?;
            let lot = lot(&mut tx, &client, &batch).await?;
            batches::place(&mut tx, lot.id, on).await?;
            let access = Access {
                at_ms: now_ms,
                actor: ACTOR,
                action: "batch.placed",
                object: &lot.id.to_string(),
                client_id: Some(client.id),
                detail: serde_json::json!({ "placed_on": on.to_string() }),
            };
            access::log(&mut tx, &access).await?;
            tx.commit().await?;
            Ok(writeln!(out, "{batch} was placed on {on}")?)
        }
    }
}

/// The client's batch of this name.
async fn lot(tx: &mut Tx, client: &Client, batch: &str) -> anyhow::Result<batches::Batch> {
    batches::list(tx)
        .await?
        .into_iter()
        .find(|lot| lot.client == client.code && lot.code == batch)
        .context("the client has no batch of this name")
}

async fn add(
    args: &AddArgs,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let (base, minimum, fee) = (
        rates("base", &args.base)?,
        rates("minimum", &args.minimum)?,
        rates("fee", &args.fee)?,
    );
    let reduced = match args.reduced_fee.as_slice() {
        [] => None,
        texts => Some(rates("reduced-fee", texts)?),
    };
    if args.to.is_some_and(|to| to < args.from) {
        anyhow::bail!("--to is before --from");
    }
    let mut tiers = Vec::new();
    for (index, bucket) in Bucket::KNOWN.into_iter().enumerate() {
        if minimum[index] > base[index] {
            anyhow::bail!(
                "--minimum: {} is above the base rate {}",
                shown(minimum[index]),
                shown(base[index])
            );
        }
        if reduced.is_some_and(|reduced| reduced[index] > fee[index]) {
            anyhow::bail!(
                "--reduced-fee: {} is above the fee {}",
                shown(reduced.unwrap_or(fee)[index]),
                shown(fee[index])
            );
        }
        tiers.push(Tier {
            bucket: bucket.as_str().to_owned(),
            base_bp: base[index],
            minimum_bp: minimum[index],
            fee_bp: fee[index],
            reduced_bp: reduced.map(|reduced| reduced[index]),
        });
    }
    let now_ms = context.clock.wall_ms();
    let mut tx = context.db.begin().await?;
    let client = client(&mut tx, &args.client).await?;
    let (from, to) = (args.from.to_string(), args.to.map(|to| to.to_string()));
    let entered = contracts::insert(
        &mut tx,
        client.id,
        &args.contract,
        &from,
        to.as_deref(),
        &tiers,
        now_ms,
    )
    .await;
    let id = match entered {
        Err(error) if error.exists_already() => {
            anyhow::bail!("the client has a contract of this number already")
        }
        other => other?,
    };
    let access = Access {
        at_ms: now_ms,
        actor: ACTOR,
        action: "contract.add",
        object: &id.to_string(),
        client_id: Some(client.id),
        detail: serde_json::json!({ "contract": args.contract }),
    };
    access::log(&mut tx, &access).await?;
    tx.commit().await?;
    Ok(writeln!(out, "contract {} entered", args.contract)?)
}
