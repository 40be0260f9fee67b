//! What was placed and what came back of it within the three months of a cycle, by contract and overdue bucket (C16).
//!
//! A cycle begins on the day on which the batch was placed; what comes back within it is kept with the case
//! (`store/repayments.rs`). Deducted, with what came back of them: cases whose debtor is
//! barred as deceased and cases barred as suspected fraud, as long as the bar is not lifted. What a rate means for the fee
//! is `stats/reports/recovery.rs`.

use super::{
    Dialect, Result, Tx,
    sql::{Sql, Value},
};
use crate::ids::ClientId;

/// The sums of placed batches by client, contract, bucket and currency. `$1` and `$2`: first and last day of placement;
/// `$3`: today; `$4`: client, 0 for all; `$repaid`: what came back of a case `k` within the cycle `y`; `$cycle_end`: first
/// day after the cycle of batch `b`. Cases are read from
/// `cases_batch` alone. SQLite reads the batches first only because of the cross join: by itself it goes through all cases
/// in the order of the groups.
macro_rules! sums {
    ($repaid:literal, $cycle_end:literal) => {
        concat!(
            "WITH cycles AS MATERIALIZED (
            SELECT b.id, b.contract_id, b.placed_on, ",
            $cycle_end,
            " AS cycle_end_on
            FROM batches b WHERE b.placed_on BETWEEN $1 AND $2 AND b.revealed_at_ms IS NOT NULL),
           dead AS MATERIALIZED (
            SELECT d.id FROM bars x JOIN debtors d ON d.person_id = x.subject_id
            WHERE x.scope = 'person' AND x.kind = 'deceased' AND x.lifted_at_ms IS NULL
                  AND (x.client_id IS NULL OR x.client_id = d.client_id)),
           counted AS (
            SELECT k.client_id, y.contract_id, k.bucket, k.currency,
                   CASE WHEN k.debtor_id IN (SELECT id FROM dead)
                             OR k.id IN (SELECT subject_id FROM bars WHERE scope = 'case' AND lifted_at_ms IS NULL
                                                                           AND kind IN ('deceased', 'suspected_fraud'))
                        THEN 1 ELSE 0 END AS deducted,
                   COUNT(*) AS cases, SUM(k.placed_e4) AS placed_e4,
                   SUM(",
            $repaid,
            ") AS repaid_e4, COUNT(CASE WHEN y.cycle_end_on > $3 THEN 1 END) AS running
            FROM cycles y CROSS JOIN cases k
            WHERE k.batch_id = y.id AND k.revealed_at_ms IS NOT NULL AND (CAST($4 AS BIGINT) = 0 OR k.client_id = $4)
            GROUP BY k.client_id, y.contract_id, k.bucket, k.currency, deducted)
      SELECT client_id, contract_id, bucket, currency, CAST(SUM(cases) AS BIGINT) AS cases,
             CAST(SUM(placed_e4) AS BIGINT) AS placed_e4,
             CAST(SUM(CASE WHEN deducted = 1 THEN cases ELSE 0 END) AS BIGINT) AS deducted_cases,
             CAST(SUM(CASE WHEN deducted = 1 THEN placed_e4 ELSE 0 END) AS BIGINT) AS deducted_e4,
             CAST(SUM(CASE WHEN deducted = 1 THEN 0 ELSE repaid_e4 END) AS BIGINT) AS repaid_e4,
             CAST(SUM(CASE WHEN deducted = 1 THEN 0 ELSE running END) AS BIGINT) AS running
      FROM counted
      GROUP BY client_id, contract_id, bucket, currency"
        )
    };
}

/// Every step of the report in one statement, added up from days of placement and repayments: sums, terms, standing, fee.
macro_rules! recount {
    ($cycle_end:literal) => {
        concat!(
            "SELECT client, contract, bucket, currency, cases, running, placed_e4 / 10000.0 AS placed, deducted_cases,
       deducted_e4 / 10000.0 AS deducted, repaid_e4 / 10000.0 AS repaid,
       CASE WHEN notified_e4 > 0 THEN repaid_e4 * 1.0 / notified_e4 END AS recovery_rate,
       base_bp / 10000.0 AS base, minimum_bp / 10000.0 AS minimum, standing,
       CASE standing WHEN 'full' THEN (repaid_e4 * fee_bp + 5000) / 10000 WHEN 'reduced' THEN (repaid_e4 * reduced_bp + 5000) / 10000
                     WHEN 'none' THEN 0 END / 10000.0 AS fee
FROM (SELECT s.*, CASE WHEN base_bp IS NULL OR notified_e4 <= 0 THEN ''
                       WHEN CAST(repaid_e4 AS NUMERIC) * 10000 >= CAST(notified_e4 AS NUMERIC) * base_bp THEN 'full'
                       WHEN CAST(repaid_e4 AS NUMERIC) * 10000 >= CAST(notified_e4 AS NUMERIC) * minimum_bp THEN 'reduced'
                       WHEN running > 0 THEN 'running' ELSE 'none' END AS standing
      FROM (SELECT c.code AS client, COALESCE(o.code, '') AS contract, f.bucket, f.currency, f.cases, f.running, f.placed_e4,
                   f.deducted_cases, f.deducted_e4, f.repaid_e4, f.placed_e4 - f.deducted_e4 AS notified_e4,
                   t.base_bp, t.minimum_bp, t.fee_bp, t.reduced_bp
            FROM (",
            sums!(
                "(SELECT CAST(COALESCE(SUM(r.amount_e4), 0) AS BIGINT) FROM repayments r
                    WHERE r.case_id = k.id AND r.currency = k.currency
                          AND r.paid_on >= y.placed_on AND r.paid_on < y.cycle_end_on)",
                $cycle_end
            ),
            ") AS f
                 JOIN clients c ON c.id = f.client_id LEFT JOIN contracts o ON o.id = f.contract_id
                 LEFT JOIN contract_tiers t ON t.contract_id = f.contract_id AND t.bucket = f.bucket) AS s) AS report"
        )
    };
}

statements! {
    PLACED("add up what was placed and what came back") = sums!("k.cycle_repaid_e4", "b.cycle_end_on");
}

/// The whole report in one statement for people who run it by themselves.
pub(crate) const fn recount(dialect: Dialect) -> &'static Sql {
    match dialect {
        Dialect::Sqlite => &Sql {
            act: "add up what was placed and what came back",
            text: recount!(
                "min(date(b.placed_on, '+3 months'), date(b.placed_on, 'start of month', '+4 months', '-1 day'))"
            ),
        },
        Dialect::Postgres => &Sql {
            act: "add up what was placed and what came back",
            text: recount!(
                "to_char(CAST(b.placed_on AS DATE) + INTERVAL '3 months', 'YYYY-MM-DD')"
            ),
        },
    }
}

/// Which placements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placements {
    /// First day of placement.
    pub from: String,
    /// Last day of placement, included.
    pub to: String,
    /// Today: cycles that end later still run.
    pub today: String,
    /// Of this client only.
    pub client: Option<ClientId>,
}

impl Placements {
    pub(crate) fn args(&self) -> Vec<Value> {
        let client = self.client.map_or(0, ClientId::get);
        args![&self.from, &self.to, &self.today, client]
    }
}

/// What was placed and what came back, of one client, contract, bucket and currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The client.
    pub client: i64,
    /// The contract, where one is on file.
    pub contract: Option<i64>,
    /// Overdue bucket at placement.
    pub bucket: String,
    /// ISO 4217.
    pub currency: String,
    /// Cases.
    pub cases: i64,
    /// Of those that are not deducted, the cases whose cycle still runs.
    pub running: i64,
    /// Amount notified at placement, in ten-thousandths.
    pub placed_e4: i64,
    /// Cases deducted.
    pub deducted_cases: i64,
    /// Amount of the cases deducted, in ten-thousandths.
    pub deducted_e4: i64,
    /// Repaid within the cycle of the cases that are not deducted, in ten-thousandths.
    pub repaid_e4: i64,
}

/// What was placed from day to day, and what came back of it.
pub async fn placed(tx: &mut Tx, placements: &Placements) -> Result<Vec<Placed>> {
    let rows = tx.fetch_all(&PLACED, placements.args()).await?;
    rows.iter()
        .map(|row| {
            Ok(Placed {
                client: row.get("client_id")?,
                contract: row.get("contract_id")?,
                bucket: row.get("bucket")?,
                currency: row.get("currency")?,
                cases: row.get("cases")?,
                running: row.get("running")?,
                placed_e4: row.get("placed_e4")?,
                deducted_cases: row.get("deducted_cases")?,
                deducted_e4: row.get("deducted_e4")?,
                repaid_e4: row.get("repaid_e4")?,
            })
        })
        .collect()
}
