//! A decision among many attempts: that it is right, that it reads by index alone, and how long it takes.
//!
//! `cargo test` puts 5,000 attempts in; with `RINGFENCE_ATTEMPTS=1000000`, `--release` and `--nocapture` it prints what
//! docs/calling-rules.md says.

use super::*;
use crate::store::{facts, sql::Value, tallies};

/// Attempts of two years, each case with a number and a person of its own.
async fn fill(test: &Test, attempts: i64, cases: i64) -> (AgentId, Vec<ContactPointId>) {
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
        let (agent, points) = fill(&test, attempts, (attempts / 100).max(1)).await;
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

/// What is selected before in the same statement (x, s) is a handful of rows; calls under way are some hundreds at most.
const FINE: [&str; 5] = ["CONSTANT ROW", "SCAN x", "SCAN s", "SUBQUERY", UNDER_WAY];
const UNDER_WAY: &str = "attempts_open";

/// The steps of a plan that read a table or an index from one end to the other.
fn reads_all(plan: &[String]) -> Vec<&String> {
    let mut found = Vec::new();
    for (n, step) in plan.iter().enumerate() {
        let all = if step.starts_with("SCAN") {
            !FINE.iter().any(|fine| step.contains(fine))
        } else if step.contains("Index Scan") || step.contains("Index Only Scan") {
            // PostgreSQL: the line below says by which values: one that was asked for, or one of a row that was found. A
            // word that stands in the statement itself, such as a relation, is that of every third row.
            let by_values = plan.get(n + 1).is_some_and(|next| {
                let rows = |word: &str| word.contains('.') && !word.contains('\'');
                next.contains("Index Cond:") && (next.contains('$') || next.split(' ').any(rows))
            });
            !by_values && !step.contains(UNDER_WAY)
        } else {
            step.contains("Seq Scan")
        };
        if all {
            found.push(step);
        }
    }
    found
}

on_both! {
    /// The database says how it would read, whatever it knows of its tables; it must not be from one end to the other.
    async fn nothing_that_a_decision_asks_reads_a_table_from_end_to_end(test: Test) {
        let asked = [
            facts::STATEMENTS,
            tallies::STATEMENTS,
            store::outside_counts::STATEMENTS,
            store::agreements::STATEMENTS,
            store::bars::STATEMENTS,
            store::contact_points::STATEMENTS,
            store::number_faults::STATEMENTS,
            attempts::STATEMENTS,
        ]
        .concat();
        // A table of a few rows is read at once, whatever else there is; so is what a table of some thousand seems to hold few of.
        fill(&test, 20_000, 10_000).await;
        let mut tx = test.db.begin().await.unwrap();
        for text in [
            "INSERT INTO bars (scope, subject_id, kind, reason, from_ms, actor)
             WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
             SELECT CASE i % 2 WHEN 0 THEN 'number' ELSE 'person' END, i, 'do_not_call', 'asked', 0, 'lin' FROM n",
            "INSERT INTO outside_counts (client_id, case_id, number_id, on_date, day_began_ms, day_ended_ms, attempts, connected, source)
             WITH RECURSIVE n(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < 19999)
             SELECT 1, i % 200 + 1, i % 200 + 1, '2026-01-01', 0, 0, 1, 0, 'agency-' || (i / 200) FROM n",
            "INSERT INTO number_faults (number_id, contact_point_id, kind, counts, at_ms, actor)
             WITH RECURSIVE n(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < 19999)
             SELECT i % 200 + 1, i % 200 + 1, CASE i % 2 WHEN 0 THEN 'wrong_number' ELSE 'number_dead' END, 1, 0, 'lin' FROM n",
            "INSERT INTO agreements (client_id, case_id, contact_id, hours, from_ms, until_ms, proof, letter_sha256, letter_box,
                                     state, proposed_by, proposed_at_ms)
             WITH RECURSIVE n(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < 4999)
             SELECT 1, i % 200 + 1, i % 200 + 1, '{}', 0, 0, 'letter', '', '', 'active', 'lin', 0 FROM n",
            "INSERT INTO agreement_numbers (agreement_id, number_id) SELECT id, case_id FROM agreements",
            "INSERT INTO agreement_uses (receipt_id, agreement_id) SELECT 'r' || id, id FROM agreements",
        ] {
            tx.execute(&Sql { act: "fill", text }, vec![]).await.unwrap();
        }
        tx.commit().await.unwrap();
        // Once as after a large import, once as on the day after, when PostgreSQL has counted its tables by itself.
        for counted in [false, true] {
            let mut tx = test.db.begin_deciding().await.unwrap();
            if counted && !test.db.one_writer() {
                tx.execute(&Sql { act: "count", text: "ANALYZE" }, vec![]).await.unwrap();
            }
            for sql in asked.iter().filter(|sql| !sql.act.starts_with("list")) {
                let plan = tx.plan(sql).await.unwrap();
                assert_eq!(reads_all(&plan), Vec::<&String>::new(), "{}:\n{}", sql.act, plan.join("\n"));
            }
        }
        let mut tx = test.db.begin_deciding().await.unwrap();
        // The test itself finds what it looks for.
        let all = Sql { act: "x", text: "SELECT COUNT(*) AS n FROM attempts WHERE class = $1" };
        assert_ne!(reads_all(&tx.plan(&all).await.unwrap()), Vec::<&String>::new());
    }
}
