//! `ringfence cases list`, `find`, `show`, `mark` and `repayments`.

use std::io::{Read, Write};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::{ACTOR, Context, client, table};
use crate::{
    cases::{
        identity::{Card, Identity, masked},
        marks,
        money::{Currency, Money},
        template::Amount,
    },
    ids::CaseId,
    phone::PhoneNumber,
    store::{
        Db,
        access::{self, Access},
        bars, cases, contact_points, repayments,
    },
};

pub(super) async fn list(db: &Db, limit: u32, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let mut tx = db.read().await?;
    let lines = cases::list(&mut tx, CaseId::new(0), limit.saturating_add(1)).await?;
    tx.rollback().await?;
    let mut table = table(&["id", "client", "batch", "case", "state", "numbers"]);
    for line in lines.iter().take(limit as usize) {
        table.add_row([
            line.case.id.to_string(),
            line.client.clone(),
            line.batch.clone(),
            line.case.reference.clone(),
            line.case.state.as_str().to_owned(),
            line.contact_points.to_string(),
        ]);
    }
    writeln!(out, "{table}")?;
    if lines.len() > limit as usize {
        writeln!(out, "more than {limit}: raise --limit")?;
    }
    Ok(())
}

/// Arguments of `ringfence cases find`.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct FindArgs {
    /// The line on standard input is an identity number
    #[arg(long)]
    pub identity: bool,
    /// The line on standard input is a card or account number
    #[arg(long)]
    pub card: bool,
    /// The line on standard input is a telephone number
    #[arg(long)]
    pub number: bool,
}

pub(super) async fn find(
    args: &FindArgs,
    context: &Context<'_>,
    input: &mut (dyn Read + Send),
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    // On standard input, so that it stands in no list of processes and in no history of a shell.
    let mut text = String::new();
    input
        .take(200)
        .read_to_string(&mut text)
        .context("standard input")?;
    let text = text.lines().next().unwrap_or_default();
    let value = if args.identity {
        context
            .field_key()
            .await?
            .identity_hash(&Identity::parse(text)?)
    } else if args.card {
        context.field_key().await?.card_hash(&Card::parse(text)?)
    } else {
        PhoneNumber::parse(text, context.region, &context.short)?
            .dial_string()
            .to_owned()
    };
    let by = if args.identity {
        cases::FindBy::Identity(&value)
    } else if args.card {
        cases::FindBy::Card(&value)
    } else {
        cases::FindBy::Number(&value)
    };
    let mut tx = context.db.read().await?;
    let found = cases::find(&mut tx, by).await?;
    let mut table = table(&["id", "case", "state"]);
    for id in &found {
        if let Some(case) = cases::by_id(&mut tx, *id).await? {
            table.add_row([
                id.to_string(),
                case.reference,
                case.state.as_str().to_owned(),
            ]);
        }
    }
    tx.rollback().await?;
    writeln!(out, "{table}")?;
    match found.len() {
        0 => anyhow::bail!("no case with this number"),
        200 => Ok(writeln!(out, "200 cases at most are listed")?),
        _ => Ok(()),
    }
}

/// Arguments of `ringfence cases show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Our number of the case, as `cases list` shows it
    pub case: CaseId,
    /// Show identity and card number whole; why stands in the access log
    #[arg(long, value_name = "REASON")]
    pub reveal: Option<String>,
}

pub(super) async fn show(
    args: &ShowArgs,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut tx = context.db.read().await?;
    let case = cases::by_id(&mut tx, args.case).await?;
    let case = case.context("there is no such case")?;
    let detail = cases::detail(&mut tx, case.id).await?;
    let detail = detail.context("there is no such case")?;
    let people = contact_points::people_of_case(&mut tx, case.id).await?;
    let barred = bars::kinds_on(&mut tx, case.id, context.clock.wall_ms()).await?;
    let barred: Vec<_> = barred.iter().map(|kind| kind.as_str()).collect();
    tx.rollback().await?;
    let (mut identity, mut card) = (None, detail.card_last4.as_deref().map(masked));
    if let Some(reason) = &args.reveal {
        // Noted before it is shown.
        let mut tx = context.db.begin().await?;
        let access = Access {
            at_ms: context.clock.wall_ms(),
            actor: ACTOR,
            action: "case.reveal",
            object: &case.id.to_string(),
            client_id: Some(case.client_id),
            detail: serde_json::json!({ "reason": reason }),
        };
        access::log(&mut tx, &access).await?;
        tx.commit().await?;
    }
    if detail.identity.is_some() || (args.reveal.is_some() && detail.card_box.is_some()) {
        let key = context.field_key().await?;
        if let Some((hash, boxed)) = &detail.identity {
            let whole = key.open_identity(hash, boxed)?;
            identity = Some(if args.reveal.is_some() {
                whole
            } else {
                masked(&whole)
            });
        }
        if let (Some(_), Some(boxed)) = (&args.reveal, &detail.card_box) {
            card = Some(key.open_card(case.client_id, &case.reference, boxed)?);
        }
    }
    let currency = Currency::parse(&detail.currency).unwrap_or(Currency::CNY);
    let money = |e4| format!("{} {currency}", Money { e4, currency });
    let mut lines = vec![
        ("case", case.reference.clone()),
        ("batch", detail.batch),
        ("state", case.state.as_str().to_owned()),
        ("why", detail.reason.unwrap_or_default()),
        ("mark", detail.mark),
        ("barred", barred.join(", ")),
        (
            "debtor",
            format!("{} {}", detail.debtor, detail.debtor_name),
        ),
        ("identity", identity.unwrap_or_default()),
        ("card", card.unwrap_or_default()),
        ("region", detail.region),
        (
            "overdue",
            detail
                .overdue_days
                .map(|days| format!("{days} days"))
                .unwrap_or_default(),
        ),
        ("repaid", money(detail.repaid_e4)),
    ];
    for (amount, e4) in Amount::ALL.into_iter().zip(detail.amounts) {
        lines.push((amount.as_str(), money(e4)));
    }
    lines.push(("owed as of", detail.balance_on.unwrap_or_default()));
    for (name, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "{name:10} {value}")?;
    }
    let fields: std::collections::BTreeMap<String, String> =
        serde_json::from_str(&detail.fields).unwrap_or_default();
    for (name, value) in fields {
        writeln!(out, "{name:10} {value}")?;
    }
    for (target, name) in people {
        let zone = target.zone.map(|zone| format!(", {zone}"));
        writeln!(
            out,
            "{:10} {name} {} ({}{})",
            target.relation.as_str(),
            target.number.dial_string(),
            target.number_state.as_str(),
            zone.unwrap_or_default()
        )?;
    }
    Ok(())
}

/// Arguments of `ringfence cases mark`.
#[derive(Debug, Args)]
pub struct MarkArgs {
    /// Our number of the case
    pub case: CaseId,
    /// red, orange, yellow, green, blue or purple; none takes the mark away
    #[arg(value_parser = marks::stored)]
    pub mark: &'static str,
}

pub(super) async fn mark(
    args: &MarkArgs,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let now_ms = context.clock.wall_ms();
    let mut tx = context.db.begin().await?;
    let case = cases::by_id(&mut tx, args.case).await?;
    let case = case.context("there is no such case")?;
    cases::change_mark(&mut tx, case.id, args.mark, ACTOR, now_ms).await?;
    tx.commit().await?;
    Ok(writeln!(out, "marked")?)
}

/// Arguments of `ringfence cases repayments`.
#[derive(Debug, Args)]
pub struct RepaymentsArgs {
    /// Code of the client; all of them if not told
    #[arg(long, value_name = "CODE")]
    pub client: Option<String>,
    /// First day, YYYY-MM-DD
    #[arg(long, default_value = "0001-01-01")]
    pub from: jiff::civil::Date,
    /// Last day, YYYY-MM-DD
    #[arg(long, default_value = "9999-12-31")]
    pub to: jiff::civil::Date,
    /// As a table for people or as CSV
    #[arg(long, value_enum, default_value_t = RepaymentsFormat::Table)]
    pub format: RepaymentsFormat,
}

/// How repayments are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RepaymentsFormat {
    /// For people
    Table,
    /// For spreadsheets
    Csv,
}

const HEADS: [&str; 8] = [
    "client", "case", "payment", "amount", "currency", "paid_on", "settled", "agent",
];

pub(super) async fn repayments(
    args: &RepaymentsArgs,
    context: &Context<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut tx = context.db.read().await?;
    let client = match &args.client {
        Some(code) => Some(client(&mut tx, code).await?.id),
        None => None,
    };
    let (from, to) = (args.from.to_string(), args.to.to_string());
    let mut table = table(&HEADS);
    let csv = args.format == RepaymentsFormat::Csv;
    let mut writer = csv::Writer::from_writer(Vec::new());
    if csv {
        write!(out, "\u{feff}")?;
        writer.write_record(HEADS)?;
    }
    let mut after = 0;
    loop {
        let lines = repayments::list(&mut tx, client, &from, &to, after, 1_000).await?;
        let Some(last) = lines.last() else { break };
        after = last.id;
        for line in lines {
            let currency = Currency::parse(&line.currency).unwrap_or(Currency::CNY);
            let amount = Money {
                e4: line.amount_e4,
                currency,
            }
            .to_string();
            let row = [
                line.client,
                line.case_reference,
                line.reference,
                amount,
                line.currency,
                line.paid_on,
                if line.settles { "yes" } else { "no" }.to_owned(),
                line.agent,
            ];
            if csv {
                // An amount may begin with a minus; it is a number and no formula.
                let safe = row
                    .iter()
                    .enumerate()
                    .map(|(at, cell)| match cell.chars().next() {
                        Some('=' | '+' | '-' | '@' | '\t') if at != 3 => format!("'{cell}"),
                        _ => cell.clone(),
                    });
                writer.write_record(safe)?;
            } else {
                table.add_row(row);
            }
        }
        if csv {
            writer.flush()?;
            out.write_all(writer.get_ref())?;
            writer = csv::Writer::from_writer(Vec::new());
        }
    }
    tx.rollback().await?;
    if csv {
        writer.flush()?;
        out.write_all(writer.get_ref())?;
        return Ok(());
    }
    Ok(writeln!(out, "{table}")?)
}
