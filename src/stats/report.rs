//! Reports: sums divided by sums, each rate with its interval.

use super::{
    definitions::{DEFINITIONS, Definition},
    reports::calls,
    rollup::{Dimension, Sums},
};
use crate::{
    export::Cell,
    store::{Result, Tx, agents, batches, clients, corrections, figures, sql::words},
};

words! {
    /// What a connect-rate report is broken down by.
    pub enum By {
        /// Hour local to the person called.
        Hour = "hour",
        /// Day local to the person called.
        Day = "day",
        /// Who called.
        Agent = "agent",
        /// The bank.
        Client = "client",
        /// The lot.
        Batch = "batch",
        /// The team of the agent at dial time.
        Team = "team",
        /// How long the debt was overdue at placement.
        Bucket = "bucket",
        /// Relation of the person called to the debtor.
        Relation = "relation",
        /// Mobile, fixed line, …
        NumberKind = "number-kind",
        /// The trunk.
        Trunk = "trunk",
        /// The number of ours that was shown.
        CallerId = "caller-id",
        /// Why the attempts ended.
        Cause = "cause",
        /// What the agents said came of them.
        Disposition = "disposition",
    }
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Hour, day, code of the agent or client, or the dimension's own word.
    pub label: String,
    /// The sums behind the figures.
    pub sums: Sums,
}

/// A connect-rate report.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What it is broken down by.
    pub by: By,
    /// First day, included.
    pub from: String,
    /// Last day, included.
    pub to: String,
    /// The lines in the order of their labels.
    pub lines: Vec<Line>,
    /// All of them together.
    pub total: Sums,
    /// Corrections made to these days after they were sealed. The sums hold them.
    pub corrections: usize,
}

/// A rate with its Wilson interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Numerator / denominator.
    pub rate: f64,
    /// Lower bound at 95 %.
    pub low: f64,
    /// Upper bound at 95 %.
    pub high: f64,
}

/// The Wilson score interval at 95 % (E. B. Wilson, JASA 22, 1927); `None` without observations. Right also for few
/// observations and rates near 0 or 1, where the textbook interval is not.
#[must_use]
pub fn wilson(successes: i64, observations: i64) -> Option<Rate> {
    if observations <= 0 || successes < 0 || successes > observations {
        return None;
    }
    /// Quantile of the normal distribution at 97.5 %.
    const Z: f64 = 1.959_963_984_540_054;
    // Exact up to 2^53 observations.
    let (n, p) = (observations as f64, successes as f64 / observations as f64);
    let denominator = 1.0 + Z * Z / n;
    let centre = (p + Z * Z / (2.0 * n)) / denominator;
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt() / denominator;
    Some(Rate {
        rate: p,
        low: (centre - half).max(0.0).min(p),
        high: (centre + half).min(1.0).max(p),
    })
}

impl Sums {
    /// connected / (attempts - lost by our own fault).
    #[must_use]
    pub fn connect_rate(&self) -> Option<Rate> {
        wilson(self.connected, self.attempts - self.lost_ours)
    }

    /// connected / attempts.
    #[must_use]
    pub fn raw_rate(&self) -> Option<Rate> {
        wilson(self.connected, self.attempts)
    }

    /// answered / seizures.
    #[must_use]
    pub fn asr(&self) -> Option<Rate> {
        wilson(self.connected, self.seizures)
    }

    /// (answered + busy + no answer + rejected by the called party) / seizures.
    #[must_use]
    pub fn ner(&self) -> Option<Rate> {
        wilson(self.effective, self.seizures)
    }

    /// right-party contacts / connected.
    #[must_use]
    pub fn rpc_rate(&self) -> Option<Rate> {
        wilson(self.right_party, self.connected)
    }

    /// Talk time / connected, in milliseconds.
    #[must_use]
    pub fn mean_talk_ms(&self) -> Option<i64> {
        self.talk_ms.checked_div(self.connected)
    }

    /// INVITE to first ringing, mean, in milliseconds.
    #[must_use]
    pub fn mean_pdd_ms(&self) -> Option<i64> {
        self.pdd_ms.checked_div(self.rung)
    }

    /// First ringing to answer or end, mean, in milliseconds.
    #[must_use]
    pub fn mean_ring_ms(&self) -> Option<i64> {
        self.ring_ms.checked_div(self.rung)
    }
}

/// Reads the report of the days from `from` to `to` (both included) from the roll-ups.
pub async fn connect_rate(
    tx: &mut Tx,
    by: By,
    from: jiff::civil::Date,
    to: jiff::civil::Date,
) -> Result<Report> {
    let (from, to) = (from.to_string(), to.to_string());
    let dimension = match by {
        By::Hour | By::Day => None,
        By::Agent => Some(Dimension::Agent),
        By::Client => Some(Dimension::Client),
        By::Batch => Some(Dimension::Batch),
        By::Relation => Some(Dimension::Relation),
        By::Trunk => Some(Dimension::Trunk),
        By::CallerId => Some(Dimension::CallerId),
        By::Cause => Some(Dimension::Cause),
        By::Team => Some(Dimension::Team),
        By::Bucket => Some(Dimension::Bucket),
        By::NumberKind => Some(Dimension::NumberKind),
        By::Disposition => Some(Dimension::Disposition),
    };
    let all = Dimension::All;
    let rows: Vec<(String, Sums)> = match dimension {
        Some(dimension) => figures::totals(tx, dimension, &from, &to).await?,
        None if by == By::Day => {
            let days = figures::by_day(tx, all, None, &from, &to).await?;
            days.into_iter().map(|(_, day, sums)| (day, sums)).collect()
        }
        None => {
            let hours = figures::by_hour(tx, all, None, &from, &to).await?;
            hours
                .into_iter()
                .map(|(_, hour, sums)| (hour.to_string(), sums))
                .collect()
        }
    };
    let corrections = corrections::list(tx, &from, &to).await?.len();
    let names = labels(tx, by).await?;
    let mut total = Sums::default();
    let mut lines: Vec<Line> = Vec::with_capacity(rows.len());
    for (value, sums) in rows {
        total += sums;
        if sums != Sums::default() {
            let named = names
                .iter()
                .find(|(id, _)| *id == value)
                .map(|(_, label)| label.clone());
            lines.push(Line {
                label: named.unwrap_or(value),
                sums,
            });
        }
    }
    if !names.is_empty() {
        lines.sort_by(|a, b| a.label.cmp(&b.label));
    }
    Ok(Report {
        by,
        from,
        to,
        lines,
        total,
        corrections,
    })
}

/// The codes behind ids.
async fn labels(tx: &mut Tx, by: By) -> Result<Vec<(String, String)>> {
    Ok(match by {
        By::Agent => agents::list(tx)
            .await?
            .into_iter()
            .map(|a| (a.id.to_string(), a.code))
            .collect(),
        By::Client => clients::list(tx)
            .await?
            .into_iter()
            .map(|c| (c.id.to_string(), c.code))
            .collect(),
        By::Team => figures::team_codes(tx).await?,
        By::Batch => batches::list(tx)
            .await?
            .into_iter()
            .map(|b| (b.id.to_string(), b.label()))
            .collect(),
        _ => Vec::new(),
    })
}

impl Report {
    /// The report as JSON: figures, sums, intervals, definitions.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let line = |label: &str, s: &Sums| {
            serde_json::json!({
                self.by.as_str(): label,
                "attempts": s.attempts, "seizures": s.seizures, "connected": s.connected, "lost_ours": s.lost_ours,
                "connect_rate": rate_json(s.connect_rate()), "raw_rate": rate_json(s.raw_rate()),
                "asr": rate_json(s.asr()), "ner": rate_json(s.ner()),
                "right_party": s.right_party, "rpc_rate": rate_json(s.rpc_rate()),
                "talk_ms": s.talk_ms, "mean_talk_ms": s.mean_talk_ms(), "mean_pdd_ms": s.mean_pdd_ms(),
                "mean_ring_ms": s.mean_ring_ms(),
            })
        };
        serde_json::json!({
            "by": self.by.as_str(), "from": self.from, "to": self.to, "corrections": self.corrections,
            "lines": self.lines.iter().map(|l| line(&l.label, &l.sums)).collect::<Vec<_>>(),
            "total": line("total", &self.total),
            "definitions": DEFINITIONS.iter().map(definition_json).collect::<Vec<_>>(),
        })
    }

    /// The heads of the table: those of the report `connect-rate`.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        let heads = std::iter::once(self.by.as_str()).chain(calls::HEADS);
        heads.map(str::to_owned).collect()
    }

    /// The lines of the table with the total last.
    pub fn rows(&self) -> impl Iterator<Item = Vec<Cell>> {
        let row = |label: &str, sums: &Sums| {
            let mut cells = vec![Cell::Text(label.to_owned())];
            cells.extend(calls::cells(sums));
            cells
        };
        let total = std::iter::once(row("total", &self.total));
        self.lines
            .iter()
            .map(move |line| row(&line.label, &line.sums))
            .chain(total)
    }
}

fn rate_json(rate: Option<Rate>) -> serde_json::Value {
    match rate {
        Some(r) => serde_json::json!({ "rate": r.rate, "low": r.low, "high": r.high }),
        None => serde_json::Value::Null,
    }
}

pub(super) fn definition_json(d: &Definition) -> serde_json::Value {
    serde_json::json!({ "name": d.name, "version": d.version, "unit": d.unit, "formula": d.formula, "en": d.en, "zh": d.zh })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// 81/263: R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3; the others by hand.
    #[test]
    fn the_interval_is_wilsons() {
        for (x, n, low, high) in [
            (0, 10, 0.0, 0.277_533),
            (5, 10, 0.236_593, 0.763_407),
            (10, 10, 0.722_467, 1.0),
            (81, 263, 0.2553, 0.3662),
        ] {
            let rate = wilson(x, n).unwrap();
            assert!((rate.low - low).abs() < 5e-5, "{x}/{n}: {rate:?}");
            assert!((rate.high - high).abs() < 5e-5, "{x}/{n}: {rate:?}");
        }
    }

    #[test]
    fn nothing_observed_is_no_rate() {
        assert_eq!(wilson(0, 0), None);
        assert_eq!(Sums::default().connect_rate(), None);
        assert_eq!(Sums::default().mean_talk_ms(), None);
    }

    #[test]
    fn our_own_faults_leave_the_connect_rate_and_stay_in_the_raw_rate() {
        let sums = Sums {
            attempts: 10,
            lost_ours: 2,
            seizures: 8,
            connected: 4,
            effective: 6,
            ..Sums::default()
        };
        assert_eq!(sums.connect_rate().unwrap().rate, 0.5);
        assert_eq!(sums.raw_rate().unwrap().rate, 0.4);
        assert_eq!(sums.asr().unwrap().rate, 0.5);
        assert_eq!(sums.ner().unwrap().rate, 0.75);
    }
}
