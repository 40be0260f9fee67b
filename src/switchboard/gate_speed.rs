//! A decision among many attempts: that it is right, that it reads by index alone, and how long it takes.
//!
//! `cargo test` puts 5,000 attempts in; with `RINGFENCE_ATTEMPTS=1000000`, `--release` and `--nocapture` it prints what
//! docs/calling-rules.md says.

use super::*;
use crate::store::{facts, sql::Value, tallies};

/// Attempts of two years: a hundred a case, each case with a number and a person of its own.
const CASES: i64 = 100;

async fn fill(test: &Test, attempts: i64) -> (AgentId, Vec<ContactPointId>) {
    let cases = (attempts / CASES).max(1);
    let floor = floor(&test.db, 1).await;
    let first = &floor.targets[0];
    let mut tx = test.db.begin().await.unwrap();
    // Ids continue behind those of the first case; the first case's rows are the pattern.
    for text in [
        "INSERT INTO persons (id, created_at_ms)
         WITH RECURSIVE n(i) AS (SELECT CAST(2 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < CAST($1 AS BIGINT)) SELECT i, 0 FROM n",
        "INSERT INTO debtors (id, client_id, reference, person_id, created_at_ms)
         WITH RECURSIVE n(i) AS (SELECT CAST(2 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < CAST($1 AS BIGINT))
         SELECT i, 1, 'D-' || i, i, 0 FROM n",
        "INSERT INTO cases (id, client_id, batch_id, debtor_id, reference, created_at_ms, changed_at_ms, revealed_at_ms)
         WITH RECURSIVE n(i) AS (SELECT CAST(2 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < CAST($1 AS BIGINT))
         SELECT i, 1, 1, i, 'C-' || i, 0, 0, 0 FROM n",
        "INSERT INTO numbers (id, digits, region, created_at_ms, changed_at_ms)
         WITH RECURSIVE n(i) AS (SELECT CAST(2 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < CAST($1 AS BIGINT))
         SELECT i, '+86139' || (10000000 + i), 'CN', 0, 0 FROM n",
        "INSERT INTO contacts (id, case_id, name, relation, created_at_ms)
         WITH RECURSIVE n(i) AS (SELECT CAST(2 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < CAST($1 AS BIGINT))
         SELECT i, i, 'Person', 'debtor', 0 FROM n",
        "INSERT INTO contact_points (id, case_id, contact_id, number_id, created_at_ms)
         WITH RECURSIVE n(i) AS (SELECT CAST(2 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < CAST($1 AS BIGINT))
         SELECT i, i, i, i, 0 FROM n",
    ] {
        let sql = Sql { act: "fill", text };
        tx.execute(&sql, vec![cases.into()]).await.unwrap();
    }
    // A day has no more than one, none is of today, so that every decision passes.
    for text in [
        "INSERT INTO receipts (id, at_ms, allowed, client_id, case_id, contact_point_id, rules_sha256, reasons, body)
         WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < CAST($2 AS BIGINT) - 1)
         SELECT 'r' || i, 0, 1, 1, i % CAST($3 AS BIGINT) + 1, i % CAST($3 AS BIGINT) + 1, '0', '[]', '{}' FROM n",
        "INSERT INTO attempts (id, receipt_id, purpose, node, client_id, batch_id, case_id, debtor_id, contact_point_id,
                               number_id, relation, agent_id, trunk, caller_id, zone, local_date, local_hour,
                               started_at_ms, valid_until_ms, seized_at_ms, answered_at_ms, ended_at_ms, cause, class)
         WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < CAST($2 AS BIGINT) - 1)
         SELECT 'a' || i, 'r' || i, 'case', 'n', 1, 1, i % CAST($3 AS BIGINT) + 1, i % CAST($3 AS BIGINT) + 1,
                i % CAST($3 AS BIGINT) + 1, i % CAST($3 AS BIGINT) + 1, 'debtor', 1, 'pbx', '',
                'Asia/Shanghai', '2026-01-01', 10, at, at, at, CASE WHEN i % 3 = 0 THEN at + 1000 END, at + 2000,
                CASE WHEN i % 3 = 0 THEN 'answered' ELSE 'no_answer' END, 'callee'
         FROM (SELECT i, CAST($4 AS BIGINT) - (i / CAST($3 AS BIGINT) + 1) * 604800000 AS at FROM n) AS x",
    ] {
        let sql = Sql { act: "fill", text };
        // In pieces: a statement may not take longer than the database's patience.
        for from in (0..attempts).step_by(20_000) {
            let to = attempts.min(from + 20_000);
            let mut args: Vec<Value> = vec![from.into(), to.into(), cases.into()];
            if sql.parameters() > 3 {
                args.push(NOW_MS.into());
            }
            tx.execute(&sql, args).await.unwrap();
        }
    }
    tx.commit().await.unwrap();
    let points = (0..cases)
        .step_by(usize::try_from(cases / 500).unwrap_or(1).max(1))
        .map(|n| ContactPointId::new(first.contact_point.get() + n));
    (floor.agent, points.collect())
}

on_both! {
    async fn a_decision_among_many_attempts_is_right(test: Test) {
        let attempts = std::env::var("RINGFENCE_ATTEMPTS").ok();
        let attempts = attempts.map_or(5_000, |attempts| attempts.parse().unwrap());
        let (agent, points) = fill(&test, attempts).await;
        let gate = node("a", test.db.clone(), ten_in_the_morning(), preset());
        let stop_watch = Clock::system(TrustMode::Host);
        let mut took = Vec::new();
        for (n, point) in points.iter().enumerate() {
            let (call, receipt) = ids(u32::try_from(n).unwrap());
            let began = stop_watch.monotonic();
            let gated = gate.decide(&click(*point, agent), call, receipt).await.unwrap();
            took.push(stop_watch.monotonic() - began);
            let Gated::Allowed(_) = gated else { panic!("{point} is refused") };
        }
        took.sort_unstable();
        let at = |of: usize| took[(took.len() * of / 100).min(took.len() - 1)];
        eprintln!(
            "{attempts} attempts, {} decisions one after the other: median {:?}, p99 {:?}",
            took.len(), at(50), at(99)
        );
    }
}

/// SQLite says how it would read; it must not be from one end of a table to the other.
#[tokio::test]
async fn nothing_that_a_decision_asks_reads_a_table_from_end_to_end() {
    let test = Test::sqlite().await;
    let mut tx = test.db.read().await.unwrap();
    let asked = [
        facts::STATEMENTS,
        tallies::STATEMENTS,
        store::outside_counts::STATEMENTS,
        store::agreements::STATEMENTS,
        store::bars::STATEMENTS,
        attempts::STATEMENTS,
    ]
    .concat();
    let decides = |sql: &&Sql| !sql.act.starts_with("list");
    for sql in asked.iter().filter(decides) {
        let text = format!("EXPLAIN QUERY PLAN {}", sql.text);
        let plan = Sql {
            act: sql.act,
            text: Box::leak(text.into_boxed_str()),
        };
        let nothing = (0..plan.parameters()).map(|_| Value::Int(None)).collect();
        for row in tx.fetch_all(&plan, nothing).await.unwrap() {
            let step: String = row.get("detail").unwrap();
            // What was selected before in the same statement (x, s) is a handful of rows.
            let reads_all = step.starts_with("SCAN")
                && !["CONSTANT ROW", "SCAN x", "SCAN s", "SUBQUERY"]
                    .iter()
                    .any(|fine| step.contains(fine));
            assert!(!reads_all, "{}: {step}", sql.act);
        }
    }
}
