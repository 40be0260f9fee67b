//! Sums of calls by up to three axes, named and sorted; their columns; and the query that counts the same from the facts.

use std::collections::{BTreeMap, HashMap, HashSet};

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
pub(in crate::stats) enum Label {
    /// An hour of the day.
    Hour(i64),
    /// A day, a code, or the dimension's own word.
    Text(String),
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hour(hour) => hour.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
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
        Axis::Day | Axis::Hour | Axis::Week | Axis::Month => return None,
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

/// Sums of one value of one dimension, on one day and in one hour as far as these were asked for.
struct Slice {
    value: String,
    day: Option<String>,
    hour: Option<i64>,
    sums: Sums,
}

/// Sums by the stored values of up to three axes, from the quickest place that has them.
pub(super) async fn sums(
    tx: &mut Tx,
    axes: &[Axis],
    within: &Within<'_>,
) -> Result<Vec<(Vec<String>, Sums)>> {
    // Limited to a client, which client it is tells nothing apart.
    let limited = |axis: &Axis| *axis == Axis::Client && within.client.is_some();
    let dimensions: Vec<Dimension> = axes
        .iter()
        .filter(|axis| !limited(axis))
        .filter_map(|axis| dimension(*axis))
        .collect();
    let rows = match (dimensions.as_slice(), within.client) {
        ([], None) => sliced(tx, Dimension::All, Some(""), axes, within).await?,
        ([], Some(client)) => {
            let id = client.to_string();
            sliced(tx, Dimension::Client, Some(&id), axes, within).await?
        }
        ([dimension], None) => sliced(tx, *dimension, None, axes, within).await?,
        ([Dimension::Batch], Some(client)) => {
            let batches: HashSet<String> = batches::of_client(tx, client)
                .await?
                .into_iter()
                .map(|id| id.to_string())
                .collect();
            let mut slices = sliced(tx, Dimension::Batch, None, axes, within).await?;
            slices.retain(|slice| batches.contains(&slice.value));
            slices
        }
        ([dimension], Some(client)) if !axes.contains(&Axis::Hour) => {
            sliced_of(tx, client, *dimension, axes, within).await?
        }
        _ => return counted(tx, axes, within).await,
    };
    let client = within.client.map(|client| client.to_string());
    let mut sums = BTreeMap::<Vec<String>, Sums>::new();
    for slice in rows {
        let values = axes.iter().map(|axis| match axis {
            Axis::Hour => slice.hour.map(|hour| hour.to_string()).unwrap_or_default(),
            Axis::Client if client.is_some() => client.clone().unwrap_or_default(),
            axis if dimension(*axis).is_some() => slice.value.clone(),
            time => {
                let day = slice.day.as_deref();
                day.and_then(|day| time.of_day(day)).unwrap_or_default()
            }
        });
        *sums.entry(values.collect()).or_default() += slice.sums;
    }
    // A roll-up keeps rows that corrections brought down to nothing.
    sums.retain(|_, sums| !sums.is_zero());
    Ok(sums.into_iter().collect())
}

/// Whether any of the axes is a matter of days.
fn by_days(axes: &[Axis]) -> bool {
    let days = [Axis::Day, Axis::Week, Axis::Month];
    axes.iter().any(|axis| days.contains(axis))
}

/// A dimension of the roll-ups, or one value of it, as finely as the axes need it.
async fn sliced(
    tx: &mut Tx,
    dimension: Dimension,
    value: Option<&str>,
    axes: &[Axis],
    within: &Within<'_>,
) -> Result<Vec<Slice>> {
    let (from, to) = (within.from_text, within.to_text);
    Ok(match (by_days(axes), axes.contains(&Axis::Hour)) {
        (true, true) => {
            let rows = figures::by_day_and_hour(tx, dimension, value, from, to).await?;
            let slice = |(value, day, hour, sums)| Slice {
                value,
                day: Some(day),
                hour: Some(hour),
                sums,
            };
            rows.into_iter().map(slice).collect()
        }
        (false, true) => {
            let rows = figures::by_hour(tx, dimension, value, from, to).await?;
            let slice = |(value, hour, sums)| Slice {
                value,
                day: None,
                hour: Some(hour),
                sums,
            };
            rows.into_iter().map(slice).collect()
        }
        (false, false) if value.is_none() => {
            of_days(figures::totals(tx, dimension, from, to).await?)
        }
        (_, false) => by_day(figures::by_day(tx, dimension, value, from, to).await?),
    })
}

/// The same of one client's calls.
async fn sliced_of(
    tx: &mut Tx,
    client: ClientId,
    dimension: Dimension,
    axes: &[Axis],
    within: &Within<'_>,
) -> Result<Vec<Slice>> {
    let (from, to) = (within.from_text, within.to_text);
    Ok(match by_days(axes) {
        true => by_day(figures::client_by_day(tx, client, dimension, from, to).await?),
        false => of_days(figures::client_totals(tx, client, dimension, from, to).await?),
    })
}

fn by_day(rows: Vec<(String, String, Sums)>) -> Vec<Slice> {
    let slice = |(value, day, sums)| Slice {
        value,
        day: Some(day),
        hour: None,
        sums,
    };
    rows.into_iter().map(slice).collect()
}

fn of_days(rows: Vec<(String, Sums)>) -> Vec<Slice> {
    let slice = |(value, sums)| Slice {
        value,
        day: None,
        hour: None,
        sums,
    };
    rows.into_iter().map(slice).collect()
}

/// From the facts: two dimensions that no roll-up has together.
async fn counted(
    tx: &mut Tx,
    axes: &[Axis],
    within: &Within<'_>,
) -> Result<Vec<(Vec<String>, Sums)>> {
    let only = Only {
        client: within.client.map(ClientId::get),
        ..Only::default()
    };
    figures::counted(tx, axes, within.from_text, within.to_text, only).await
}

/// The same, named and sorted.
pub(in crate::stats) async fn labelled(
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

/// The facts of the period grouped by expressions over `attempts a`, as `k1`, `k2`, …, or all together; `also` is a condition
/// more.
pub(super) fn facts_where(keys: &[&str], also: &str, within: &Within<'_>) -> String {
    let named: String = (1..)
        .zip(keys)
        .map(|(n, key)| format!("{key} AS k{n}, "))
        .collect();
    let client = within
        .client
        .map(|client| format!(" AND a.client_id = {client}"))
        .unwrap_or_default();
    let group = match keys {
        [] => String::new(),
        keys => format!("\n      GROUP BY {}", keys.join(", ")),
    };
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
      WHERE a.purpose = 'case' AND a.ended_at_ms IS NOT NULL AND a.local_date BETWEEN {} AND {}{client}{also}{group}",
        literal(within.from_text),
        literal(within.to_text),
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
