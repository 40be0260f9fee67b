//! Sums of calls by one or two axes, named and sorted; their columns; and the query that counts the same from the facts.

use std::collections::{BTreeMap, HashMap};

use super::{Within, number, with_interval};
use crate::{
    export::Cell,
    ids::ClientId,
    stats::rollup::{Dimension, Sums},
    store::{
        Result, Tx, agents, batches, clients,
        figures::{self, Axis, Only},
        sql::literal,
    },
};

/// A value of an axis as it is shown, in the order of the lines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    /// An hour of the day.
    Hour(i64),
    /// A day, a code, or the dimension's own word.
    Text(String),
}

impl Label {
    pub(super) fn cell(&self) -> Cell {
        match self {
            Self::Hour(hour) => Cell::Int(*hour),
            Self::Text(text) => Cell::Text(text.clone()),
        }
    }
}

/// The dimension of the roll-ups; `None` for the time of the call.
const fn dimension(axis: Axis) -> Option<Dimension> {
    Some(match axis {
        Axis::Day | Axis::Hour => return None,
        Axis::Agent => Dimension::Agent,
        Axis::Batch => Dimension::Batch,
        Axis::Bucket => Dimension::Bucket,
        Axis::CallerId => Dimension::CallerId,
        Axis::Cause => Dimension::Cause,
        Axis::Client => Dimension::Client,
        Axis::Disposition => Dimension::Disposition,
        Axis::NumberKind => Dimension::NumberKind,
        Axis::Relation => Dimension::Relation,
        Axis::Team => Dimension::Team,
        Axis::Trunk => Dimension::Trunk,
    })
}

/// Sums by the stored values of one or two axes, from the quickest place that has them.
pub(super) async fn sums(
    tx: &mut Tx,
    axes: &[Axis],
    within: &Within<'_>,
) -> Result<Vec<(Vec<String>, Sums)>> {
    let (from, to) = (within.from_text, within.to_text);
    // Over all clients, or over one: both stand in the roll-ups by time.
    let (whole, id) = match within.client {
        None => (Dimension::All, String::new()),
        Some(client) => (Dimension::Client, client.to_string()),
    };
    let only = Only {
        client: within.client.map(ClientId::get),
        ..Only::default()
    };
    let rows = match (axes, within.client) {
        ([Axis::Day], _) => {
            let days = figures::by_day(tx, whole, Some(&id), from, to).await?;
            days.into_iter()
                .map(|(_, day, sums)| (vec![day], sums))
                .collect()
        }
        ([Axis::Hour], _) => by_hour(tx, whole, Some(&id), within).await?,
        ([axis], None) if let Some(dimension) = dimension(*axis) => {
            let totals = figures::totals(tx, dimension, from, to).await?;
            totals
                .into_iter()
                .map(|(value, sums)| (vec![value], sums))
                .collect()
        }
        ([axis], _) => {
            // The second axis has one value only.
            let pairs = figures::pair(tx, *axis, Axis::Client, from, to, only).await?;
            pairs
                .into_iter()
                .map(|(value, _, sums)| (vec![value], sums))
                .collect()
        }
        ([a, b], None) if let (Axis::Day, Some(dimension)) = (*a, dimension(*b)) => {
            turned(by_day(tx, dimension, within).await?)
        }
        ([a, b], None) if let (Some(dimension), Axis::Day) = (dimension(*a), *b) => {
            by_day(tx, dimension, within).await?
        }
        ([a, b], None) if let (Axis::Hour, Some(dimension)) = (*a, dimension(*b)) => {
            turned(by_value_and_hour(tx, dimension, within).await?)
        }
        ([a, b], None) if let (Some(dimension), Axis::Hour) = (dimension(*a), *b) => {
            by_value_and_hour(tx, dimension, within).await?
        }
        ([a, b, ..], _) => {
            let pairs = figures::pair(tx, *a, *b, from, to, only).await?;
            pairs
                .into_iter()
                .map(|(a, b, sums)| (vec![a, b], sums))
                .collect()
        }
        ([], _) => Vec::new(),
    };
    // A roll-up keeps rows that corrections brought down to nothing.
    Ok(rows
        .into_iter()
        .filter(|(_, sums)| !sums.is_zero())
        .collect())
}

type Rows = Vec<(Vec<String>, Sums)>;

fn turned(mut rows: Rows) -> Rows {
    rows.iter_mut().for_each(|(values, _)| values.reverse());
    rows
}

async fn by_hour(
    tx: &mut Tx,
    dimension: Dimension,
    value: Option<&str>,
    within: &Within<'_>,
) -> Result<Rows> {
    let (from, to) = (within.from_text, within.to_text);
    let hours = figures::by_hour(tx, dimension, value, from, to).await?;
    Ok(hours
        .into_iter()
        .map(|(_, hour, sums)| (vec![hour.to_string()], sums))
        .collect())
}

async fn by_day(tx: &mut Tx, dimension: Dimension, within: &Within<'_>) -> Result<Rows> {
    let (from, to) = (within.from_text, within.to_text);
    let days = figures::by_day(tx, dimension, None, from, to).await?;
    Ok(days
        .into_iter()
        .map(|(value, day, sums)| (vec![value, day], sums))
        .collect())
}

async fn by_value_and_hour(tx: &mut Tx, dimension: Dimension, within: &Within<'_>) -> Result<Rows> {
    let (from, to) = (within.from_text, within.to_text);
    let hours = figures::by_hour(tx, dimension, None, from, to).await?;
    Ok(hours
        .into_iter()
        .map(|(value, hour, sums)| (vec![value, hour.to_string()], sums))
        .collect())
}

/// The same, named and sorted.
pub(super) async fn labelled(
    tx: &mut Tx,
    axes: &[Axis],
    within: &Within<'_>,
) -> Result<Vec<(Vec<Label>, Sums)>> {
    let rows = sums(tx, axes, within).await?;
    let mut names = HashMap::new();
    for axis in axes {
        names.insert(*axis, self::names(tx, *axis).await?);
    }
    let mut labelled = BTreeMap::<Vec<Label>, Sums>::new();
    for (values, sums) in rows {
        let labels = axes
            .iter()
            .zip(values)
            .map(|(axis, value)| match (axis, value.parse()) {
                (Axis::Hour, Ok(hour)) => Label::Hour(hour),
                _ => Label::Text(names[axis].get(&value).cloned().unwrap_or(value)),
            });
        *labelled.entry(labels.collect()).or_default() += sums;
    }
    Ok(labelled.into_iter().collect())
}

/// The codes behind ids.
async fn names(tx: &mut Tx, axis: Axis) -> Result<HashMap<String, String>> {
    Ok(match axis {
        Axis::Agent => {
            let agents = agents::list(tx).await?;
            agents
                .into_iter()
                .map(|a| (a.id.to_string(), a.code))
                .collect()
        }
        Axis::Client => {
            let clients = clients::list(tx).await?;
            clients
                .into_iter()
                .map(|c| (c.id.to_string(), c.code))
                .collect()
        }
        Axis::Team => figures::team_codes(tx).await?.into_iter().collect(),
        Axis::Batch => {
            let batches = batches::list(tx).await?;
            batches
                .into_iter()
                .map(|b| (b.id.to_string(), b.label()))
                .collect()
        }
        _ => HashMap::new(),
    })
}

/// The columns of sums.
pub(in crate::stats) const HEADS: [&str; 24] = [
    "attempts",
    "seizures",
    "connected",
    "lost_ours",
    "connect_rate",
    "low",
    "high",
    "raw_rate",
    "raw_low",
    "raw_high",
    "asr",
    "asr_low",
    "asr_high",
    "ner",
    "ner_low",
    "ner_high",
    "right_party",
    "rpc_rate",
    "rpc_low",
    "rpc_high",
    "talk_ms",
    "mean_talk_ms",
    "mean_pdd_ms",
    "mean_ring_ms",
];

/// What they mean: names of definitions, where the columns have them.
pub(super) const MEANINGS: &[&str] = &[
    "attempts",
    "seizures",
    "connected",
    "connect_rate",
    "raw_rate",
    "lost_ours",
    "asr",
    "ner",
    "right_party",
    "rpc_rate",
    "talk_ms",
    "mean_talk_ms",
    "mean_pdd_ms",
    "mean_ring_ms",
];

/// The cells of sums, in the order of [`HEADS`].
pub(in crate::stats) fn cells(s: &Sums) -> Vec<Cell> {
    let mut cells = [s.attempts, s.seizures, s.connected, s.lost_ours]
        .map(Cell::Int)
        .to_vec();
    for rate in [s.connect_rate(), s.raw_rate(), s.asr(), s.ner()] {
        cells.extend(with_interval(rate));
    }
    cells.push(Cell::Int(s.right_party));
    cells.extend(with_interval(s.rpc_rate()));
    cells.extend([
        Cell::Int(s.talk_ms),
        number(s.mean_talk_ms()),
        number(s.mean_pdd_ms()),
        number(s.mean_ring_ms()),
    ]);
    cells
}

/// A rate in SQL with the ends of its interval: `over` of `of`, under three names.
pub(super) fn rate(over: &str, of: &str, [rate, low, high]: [&str; 3]) -> String {
    // z², z² / 2 and z² / 4 of the z in `stats::report::wilson`. What is more than all is no rate, and has no root.
    let end = |sign: &str, name: &str| {
        format!(
            "CASE WHEN {of} > 0 AND {over} <= {of} THEN ({over} + 1.9207294103470618 {sign} 1.959963984540054 * \
             sqrt({over} * 1.0 * ({of} - {over}) / ({of}) + 0.9603647051735309)) / ({of} + 3.8414588206941236) END AS {name}"
        )
    };
    format!(
        "{over} * 1.0 / NULLIF({of}, 0) AS {rate},\n       {},\n       {}",
        end("-", low),
        end("+", high)
    )
}

/// The columns of sums in SQL, from the facts as `f`.
pub(super) fn columns() -> String {
    columns_with(|sum| sum.to_owned())
}

/// The same where there may have been no calls: sums of 0, no rates.
pub(super) fn columns_or_zero() -> String {
    columns_with(|sum| format!("COALESCE({sum}, 0)"))
}

fn columns_with(sum: impl Fn(&str) -> String) -> String {
    format!(
        "{attempts} AS attempts, {seizures} AS seizures, {connected} AS connected, {lost_ours} AS lost_ours,
       {connect_rate},
       {raw_rate},
       {asr},
       {ner},
       {right_party} AS right_party,
       {rpc_rate},
       {talk_ms} AS talk_ms,
       f.talk_ms / NULLIF(f.connected, 0) AS mean_talk_ms, f.pdd_ms / NULLIF(f.rung, 0) AS mean_pdd_ms,
       f.ring_ms / NULLIF(f.rung, 0) AS mean_ring_ms",
        attempts = sum("f.attempts"),
        seizures = sum("f.seizures"),
        connected = sum("f.connected"),
        lost_ours = sum("f.lost_ours"),
        connect_rate = connect_rate(),
        raw_rate = rate("f.connected", "f.attempts", ["raw_rate", "raw_low", "raw_high"]),
        asr = rate("f.connected", "f.seizures", ["asr", "asr_low", "asr_high"]),
        ner = rate("f.effective", "f.seizures", ["ner", "ner_low", "ner_high"]),
        right_party = sum("f.right_party"),
        rpc_rate = rate("f.right_party", "f.connected", ["rpc_rate", "rpc_low", "rpc_high"]),
        talk_ms = sum("f.talk_ms"),
    )
}

/// The connect rate in SQL, from the facts as `f`.
pub(super) fn connect_rate() -> String {
    let names = ["connect_rate", "low", "high"];
    rate("f.connected", "(f.attempts - f.lost_ours)", names)
}

/// The facts of the period grouped by expressions over `attempts a`, as `k1`, `k2`, …; `also` is a condition more.
pub(super) fn facts_where(keys: &[&str], also: &str, within: &Within<'_>) -> String {
    let named: String = (1..)
        .zip(keys)
        .map(|(n, key)| format!("{key} AS k{n}, "))
        .collect();
    let client = within
        .client
        .map(|client| format!(" AND a.client_id = {client}"))
        .unwrap_or_default();
    format!(
        "SELECT {named}COUNT(*) AS attempts,
             COUNT(CASE WHEN a.class = 'ours' AND a.answered_at_ms IS NULL THEN 1 END) AS lost_ours,
             COUNT(a.seized_at_ms) AS seizures, COUNT(a.answered_at_ms) AS connected,
             COUNT(CASE WHEN a.seized_at_ms IS NOT NULL AND (a.answered_at_ms IS NOT NULL
                   OR a.cause IN ('answered', 'busy', 'no_answer', 'rejected')) THEN 1 END) AS effective,
             COUNT(CASE WHEN a.answered_at_ms IS NOT NULL AND a.right_party = 1 THEN 1 END) AS right_party,
             CAST(COALESCE(SUM(a.ended_at_ms - a.answered_at_ms), 0) AS BIGINT) AS talk_ms,
             COUNT(a.rang_at_ms - a.seized_at_ms) AS rung,
             CAST(COALESCE(SUM(a.rang_at_ms - a.seized_at_ms), 0) AS BIGINT) AS pdd_ms,
             CAST(COALESCE(SUM(CASE WHEN a.seized_at_ms IS NOT NULL THEN COALESCE(a.answered_at_ms, a.ended_at_ms)
                   - a.rang_at_ms END), 0) AS BIGINT) AS ring_ms
      FROM attempts a
      WHERE a.purpose = 'case' AND a.ended_at_ms IS NOT NULL AND a.local_date BETWEEN {} AND {}{client}{also}
      GROUP BY {}",
        literal(within.from_text),
        literal(within.to_text),
        keys.join(", ")
    )
}

/// All facts of the period, grouped.
pub(super) fn facts(keys: &[&str], within: &Within<'_>) -> String {
    facts_where(keys, "", within)
}

/// How key `k{n}` of the facts is shown: the expression, the tables it needs, and whether it is a text.
pub(super) fn label(axis: Axis, n: usize) -> (String, String, bool) {
    let named = |table: &str, code: &str| {
        (
            format!("COALESCE({code}, CAST(f.k{n} AS TEXT), '')"),
            format!("\n     LEFT JOIN {table} t{n} ON t{n}.id = f.k{n}"),
            true,
        )
    };
    match axis {
        Axis::Hour => (format!("f.k{n}"), String::new(), false),
        Axis::Agent => named("agents", &format!("t{n}.code")),
        Axis::Client => named("clients", &format!("t{n}.code")),
        Axis::Team => named("teams", &format!("t{n}.code")),
        Axis::Batch => {
            let (expression, join, text) =
                named("batches", &format!("c{n}.code || '/' || t{n}.code"));
            let client = format!(" LEFT JOIN clients c{n} ON c{n}.id = t{n}.client_id");
            (expression, join + &client, text)
        }
        _ => (format!("COALESCE(f.k{n}, '')"), String::new(), true),
    }
}
