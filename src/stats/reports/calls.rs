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
pub(super) const HEADS: [&str; 16] = [
    "attempts",
    "seizures",
    "connected",
    "lost_ours",
    "connect_rate",
    "low",
    "high",
    "raw_rate",
    "asr",
    "ner",
    "right_party",
    "rpc_rate",
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
pub(super) fn cells(s: &Sums) -> Vec<Cell> {
    let [connect_rate, low, high] = with_interval(s.connect_rate());
    let rate = |r: Option<crate::stats::report::Rate>| Cell::Rate(r.map(|r| r.rate));
    vec![
        Cell::Int(s.attempts),
        Cell::Int(s.seizures),
        Cell::Int(s.connected),
        Cell::Int(s.lost_ours),
        connect_rate,
        low,
        high,
        rate(s.raw_rate()),
        rate(s.asr()),
        rate(s.ner()),
        Cell::Int(s.right_party),
        rate(s.rpc_rate()),
        Cell::Int(s.talk_ms),
        number(s.mean_talk_ms()),
        number(s.mean_pdd_ms()),
        number(s.mean_ring_ms()),
    ]
}

macro_rules! columns {
    ($open:literal, $close:literal) => {
        concat!(
            $open, "f.attempts", $close, " AS attempts, ", $open, "f.seizures", $close, " AS seizures,
       ", $open, "f.connected", $close, " AS connected, ", $open, "f.lost_ours", $close, " AS lost_ours,
       f.connected * 1.0 / NULLIF(f.attempts - f.lost_ours, 0) AS connect_rate,
       f.connected * 1.0 / NULLIF(f.attempts, 0) AS raw_rate, f.connected * 1.0 / NULLIF(f.seizures, 0) AS asr,
       f.effective * 1.0 / NULLIF(f.seizures, 0) AS ner, ", $open, "f.right_party", $close, " AS right_party,
       f.right_party * 1.0 / NULLIF(f.connected, 0) AS rpc_rate, ", $open, "f.talk_ms", $close, " AS talk_ms,
       f.talk_ms / NULLIF(f.connected, 0) AS mean_talk_ms, f.pdd_ms / NULLIF(f.rung, 0) AS mean_pdd_ms,
       f.ring_ms / NULLIF(f.rung, 0) AS mean_ring_ms"
        )
    };
}

/// The columns of sums in SQL, from the facts as `f`.
pub(super) const COLUMNS: &str = columns!("", "");
/// The same where there may have been no calls: sums of 0, no rates.
pub(super) const COLUMNS_OR_ZERO: &str = columns!("COALESCE(", ", 0)");

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
