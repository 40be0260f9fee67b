//! Reports: sums divided by sums, each rate with its interval.

use jiff::tz::TimeZone;

use super::{
    definitions::{DEFINITIONS, Definition},
    reports::{Within, calls, connect_rate},
    rollup::Sums,
};
use crate::store::{Result, Tx, corrections, figures::Axis};

/// One line of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Hour, day, code of the agent or client, or the dimension's own word.
    pub label: String,
    /// The sums behind the figures.
    pub sums: Sums,
}

/// Connect rates by one axis over all clients, with their total: the report `connect-rate` in few words.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What it is broken down by.
    pub by: Axis,
    /// First day, included.
    pub from: String,
    /// Last day, included.
    pub to: String,
    /// The lines in the order of their labels.
    pub lines: Vec<Line>,
    /// All of them together.
    pub total: Sums,
    /// Corrections made to these days after they were sealed. The sums hold them.
    pub corrections: i64,
    /// The query that reproduces the lines.
    pub sql: String,
    /// The query that reproduces the total.
    pub sql_of_total: String,
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
    by: Axis,
    from: jiff::civil::Date,
    to: jiff::civil::Date,
) -> Result<Report> {
    let (from_text, to_text) = (from.to_string(), to.to_string());
    // Sums of calls go by the days of the persons called.
    let zone = TimeZone::UTC;
    let within = Within::days((from, to), (&from_text, &to_text), &zone, tx.dialect());
    let labelled = calls::labelled(tx, &[by], &within).await?;
    let mut total = Sums::default();
    let mut lines = Vec::with_capacity(labelled.len());
    for (labels, sums) in labelled {
        total += sums;
        let label = labels.first().map(ToString::to_string).unwrap_or_default();
        lines.push(Line { label, sums });
    }
    Ok(Report {
        by,
        lines,
        total,
        corrections: corrections::count(tx, &from_text, &to_text).await?,
        sql: connect_rate::sql(&[by], &within),
        sql_of_total: connect_rate::sql_of_total(&[by], &within),
        from: from_text,
        to: to_text,
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
            "sql": self.sql, "sql_of_total": self.sql_of_total,
        })
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
