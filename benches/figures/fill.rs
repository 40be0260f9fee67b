//! Ten million attempts of 24 months, made in the database itself: 12 banks, 486 batches of which some 60 are at work at a
//! time, 70 agents in 7 teams, 36 caller IDs on 5 trunks, and what belongs to them: persons, contracts, repayments, bars.
//!
//! Every column is arithmetic over the attempt's number, understood by both databases alike.

use std::time::Instant;

use super::raw::Raw;

/// Attempts a day: ten million of them make 24 months. Fewer attempts make fewer days, each as full.
const A_DAY: i64 = 13_699;
/// 2024-11-01 00:00 UTC, 08:00 in Shanghai: a day's calls begin here.
pub const FIRST_MS: i64 = 1_730_419_200_000;
const DAY_MS: i64 = 86_400_000;
/// Attempts at a case.
const PER_CASE: i64 = 20;
/// Rows of one statement.
const PIECE: i64 = 500_000;

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub attempts: i64,
    pub days: i64,
    batches: i64,
    cases: i64,
}

impl Shape {
    pub fn of(attempts: i64) -> Shape {
        let days = (attempts / A_DAY).max(60);
        // Two in three days.
        let batches = days * 2 / 3;
        let cases = (attempts / PER_CASE / batches).max(1) * batches;
        Shape {
            attempts,
            days,
            batches,
            cases,
        }
    }

    fn per_batch(self) -> i64 {
        self.cases / self.batches
    }
}

/// The day with this number.
pub fn date(day: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(FIRST_MS + day * DAY_MS).unwrap();
    jiff::tz::TimeZone::UTC.to_datetime(at).date().to_string()
}

/// Fills an empty database; false if it holds the attempts already.
pub async fn fill(raw: &mut Raw, shape: Shape) -> bool {
    let have = raw.number("SELECT COUNT(*) FROM sealed_days").await;
    let known = raw.number("SELECT COUNT(*) FROM clients").await;
    assert_eq!(have, 0, "this database is somebody's");
    if known > 0 {
        println!("filled already");
        return false;
    }
    let attempts = shape.attempts;
    let indexes = raw
        .texts(if raw.is_sqlite() {
            "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'attempts' AND sql IS NOT NULL"
        } else {
            "SELECT indexdef FROM pg_indexes WHERE tablename = 'attempts' AND indexdef NOT LIKE 'CREATE UNIQUE%'"
        })
        .await;
    let names = raw
        .texts(if raw.is_sqlite() {
            "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'attempts' AND sql IS NOT NULL"
        } else {
            "SELECT indexname::text FROM pg_indexes WHERE tablename = 'attempts' AND indexdef NOT LIKE 'CREATE UNIQUE%'"
        })
        .await;
    let began = Instant::now();
    raw.run(if raw.is_sqlite() {
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -262144"
    } else {
        // Foreign keys are triggers, and replicas fire none.
        "SET session_replication_role = replica; SET synchronous_commit = off"
    })
    .await;
    for name in &names {
        raw.run(&format!("DROP INDEX {name}")).await;
    }
    others(raw, shape).await;
    let mut first = 0;
    while first < attempts {
        let last = (first + PIECE).min(attempts) - 1;
        let rows = attempt_rows(raw, first, last, shape);
        raw.run(&rows).await;
        first = last + 1;
    }
    let rows = began.elapsed();
    for index in &indexes {
        raw.run(index).await;
    }
    println!(
        "filled: {attempts} attempts of {} days at {} cases in {:.0} s, their indexes in {:.0} s more",
        shape.days,
        shape.cases,
        rows.as_secs_f64(),
        (began.elapsed() - rows).as_secs_f64()
    );
    raw.run(if raw.is_sqlite() {
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -2000"
    } else {
        "SET session_replication_role = origin; SET synchronous_commit = on"
    })
    .await;
    raw.settle().await;
    true
}

/// `FROM` that counts from `first` to `last` in column i of n.
fn series(raw: &Raw, first: i64, last: i64) -> String {
    if raw.is_sqlite() {
        format!(
            "(WITH RECURSIVE s(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM s WHERE i < {last}) SELECT i FROM s) AS n"
        )
    } else {
        format!(
            "(SELECT CAST(i AS BIGINT) AS i FROM generate_series({first}, {last}) AS g(i)) AS n"
        )
    }
}

/// A number below `below` that looks random, of the expression `of`; `salt` makes several of them differ.
fn random(of: &str, salt: i64, below: i64) -> String {
    let factor = 1_103_515_245 + 2 * salt * 7_919;
    format!("((({of}) * {factor} + {salt} * 12345) % 2147483648 / 65536 % {below})")
}

/// Everything but the attempts.
async fn others(raw: &mut Raw, shape: Shape) {
    let Shape {
        attempts,
        days,
        batches,
        cases,
    } = shape;
    let created = FIRST_MS;
    let persons = cases * 9 / 10;
    let per_batch = shape.per_batch();
    let s = |first, last| series(raw, first, last);
    let batch_day = format!("((n.i - 1) * {days} / {batches})");
    let date_of = |day: &str| -> String {
        if raw.is_sqlite() {
            format!("date('2024-11-01', '+' || ({day}) || ' days')")
        } else {
            format!("to_char(DATE '2024-11-01' + CAST({day} AS INTEGER), 'YYYY-MM-DD')")
        }
    };
    let placed_on = date_of(&batch_day);
    let cycle_end = if raw.is_sqlite() {
        format!(
            "min(date({placed_on}, '+3 months'), date({placed_on}, 'start of month', '+4 months', '-1 day'))"
        )
    } else {
        format!("to_char(CAST({placed_on} AS DATE) + INTERVAL '3 months', 'YYYY-MM-DD')")
    };
    let batch_of_case = format!("(((n.i - 1) / {per_batch}) % {batches} + 1)");
    let amount = random("n.i", 3, 30_000);
    let statements = [
        format!("INSERT INTO clients (id, code, name, created_at_ms) SELECT n.i, 'bank' || n.i, 'Bank', {created} FROM {}", s(1, 12)),
        format!("INSERT INTO teams (id, code, name, created_at_ms) SELECT n.i, 'team' || n.i, 'Team', {created} FROM {}", s(1, 7)),
        format!("INSERT INTO agents (id, code, name, extension, team_id, created_at_ms)
                 SELECT n.i, 'A' || n.i, 'Agent', CAST(8000 + n.i AS TEXT), n.i % 7 + 1, {created} FROM {}", s(1, 70)),
        format!("INSERT INTO contracts (id, client_id, code, valid_from_on, created_at_ms)
                 SELECT n.i, n.i, 'contract' || n.i, '2024-11-01', {created} FROM {}", s(1, 12)),
        format!("INSERT INTO contract_tiers (contract_id, bucket, base_bp, minimum_bp, fee_bp, reduced_bp)
                 SELECT (n.i - 1) / 4 + 1, {}, 4000, 1000, 2000, 1000 FROM {}", bucket("n.i"), s(1, 48)),
        format!("INSERT INTO batches (id, client_id, code, placed_on, cycle_end_on, contract_id, revealed_at_ms, created_at_ms)
                 SELECT n.i, n.i % 12 + 1, 'batch' || n.i, {}, {}, n.i % 12 + 1, {created}, {created} FROM {}",
                placed_on, cycle_end, s(1, batches)),
        // Every tenth person owes to two clients.
        format!("INSERT INTO persons (id, identity_hash, created_at_ms) SELECT n.i, 'P' || n.i, {created} FROM {}", s(1, persons)),
        format!("INSERT INTO debtors (id, client_id, reference, person_id, created_at_ms)
                 SELECT n.i, {batch_of_case} % 12 + 1, 'D' || n.i, n.i % {persons} + 1, {created} FROM {}", s(1, cases)),
        format!("INSERT INTO cases (id, client_id, batch_id, debtor_id, reference, placed_e4, balance_e4, bucket,
                        revealed_at_ms, created_at_ms, changed_at_ms)
                 SELECT n.i, {batch_of_case} % 12 + 1, {batch_of_case}, n.i, 'C' || n.i, {amount} * 10000, {amount} * 10000,
                        {}, {created}, {created}, {created}
                 FROM {}", bucket("n.i"), s(1, cases)),
        format!("INSERT INTO numbers (id, digits, region, created_at_ms, changed_at_ms)
                 SELECT n.i, '+86138' || CAST(10000000 + n.i AS TEXT), 'CN', {created}, {created} FROM {}", s(1, cases)),
        format!("INSERT INTO contacts (id, case_id, name, relation, created_at_ms)
                 SELECT n.i, n.i, 'Person', 'debtor', {created} FROM {}", s(1, cases)),
        format!("INSERT INTO contact_points (id, case_id, contact_id, number_id, created_at_ms)
                 SELECT n.i, n.i, n.i, n.i, {created} FROM {}", s(1, cases)),
        // Two and a half of each case, in the order of their days, up to four months after the placement.
        format!("INSERT INTO repayments (client_id, case_id, reference, amount_e4, currency, paid_on, settles, created_at_ms)
                 SELECT ((q.k - 1) / {per_batch} % {batches} + 1) % 12 + 1, q.k, 'R' || q.i, q.amount * 1500, 'CNY', q.paid_on, 0, {created}
                 FROM (SELECT n.i, (n.i - 1) * 2 / 5 + 1 AS k, {amount} AS amount, {} AS paid_on FROM {}) AS q ORDER BY q.paid_on, q.i",
                date_of(&format!("((n.i - 1) * 2 / 5 / {per_batch} % {batches}) * {days} / {batches} + {}", random("n.i", 5, 120))),
                s(1, cases * 5 / 2)),
        "UPDATE cases SET repaid_e4 = (SELECT COALESCE(SUM(r.amount_e4), 0) FROM repayments r WHERE r.case_id = cases.id),
         cycle_repaid_e4 =
             (SELECT COALESCE(SUM(r.amount_e4), 0) FROM repayments r JOIN batches b ON b.id = cases.batch_id
              WHERE r.case_id = cases.id AND r.paid_on >= b.placed_on AND r.paid_on < b.cycle_end_on)".to_owned(),
        // Of a hundred cases one is deducted, half of them for the person's sake; every tenth of these bars was lifted. And
        // numbers that must not be called.
        format!("INSERT INTO bars (scope, subject_id, kind, reason, from_ms, actor, lifted_at_ms)
                 SELECT CASE n.i % 2 WHEN 0 THEN 'case' ELSE 'person' END, n.i * 97 % {persons} + 1,
                        CASE n.i % 2 WHEN 0 THEN 'suspected_fraud' ELSE 'deceased' END, 'said so', {created}, 'bench',
                        CASE n.i % 10 WHEN 0 THEN {created} END
                 FROM {}", s(1, cases / 100)),
        format!("INSERT INTO bars (scope, subject_id, kind, reason, from_ms, actor)
                 SELECT 'number', n.i * 19, 'do_not_call', 'said so', {created}, 'bench' FROM {}", s(1, cases / 20)),
        // A promise of every 80th attempt, due within three weeks.
        format!("INSERT INTO notes (case_id, client_id, relation, agent_id, state, disposition, promise_e4, promise_currency, promise_on, local_date,
                        started_at_ms, changed_at_ms)
                 SELECT n.i * 7919 % {cases} + 1, n.i % 12 + 1, 'debtor', n.i % 70 + 1, 'final', 'promise_to_pay', 10000000, 'CNY', {}, {},
                        {created}, {created}
                 FROM {}",
                date_of(&format!("n.i * {days} / {} + n.i % 21", attempts / 80 + 1)),
                date_of(&format!("n.i * {days} / {}", attempts / 80 + 1)),
                s(1, attempts / 80)),
        // One refusal to twenty attempts.
        format!("INSERT INTO receipts (id, at_ms, allowed, client_id, case_id, contact_point_id, rules_sha256, reasons, body)
                 SELECT '01980000-0000-7000-9000-' || CAST(100000000000 + n.i AS TEXT),
                        {FIRST_MS} + n.i * {} , 0, n.i % 12 + 1, n.i % {cases} + 1, n.i % {cases} + 1, '0',
                        CASE n.i % 5 WHEN 0 THEN '[\"window\"]' WHEN 1 THEN '[\"cap_unanswered\"]' WHEN 2 THEN '[\"cap_connected\"]'
                             WHEN 3 THEN '[\"third_party_locked\"]' ELSE '[\"window\",\"cap_unanswered\"]' END, '{{}}'
                 FROM {}", days * DAY_MS / (attempts / 20 + 1), s(1, attempts / 20)),
        format!("INSERT INTO rollup_agent_days (agent_id, on_date, state, reason, spans, ms, came_ms, went_ms)
                 SELECT n.i % 70 + 1, {}, CASE n.i / 70 % 5 WHEN 0 THEN 'ready' WHEN 1 THEN 'reserved' WHEN 2 THEN 'talk'
                        WHEN 3 THEN 'wrap_up' ELSE 'break' END, '', 200, 5000000,
                        {FIRST_MS} + n.i / 350 * {DAY_MS}, {FIRST_MS} + n.i / 350 * {DAY_MS} + 35400000 FROM {}",
                date_of("n.i / 350"), s(0, 350 * days - 1)),
        // Fewer stretches than these sums hold: only the printed query reads them.
        format!("INSERT INTO agent_states (agent_id, node, state, reason, from_ms, until_ms)
                 SELECT q.i % 70 + 1, 'bench', 'ready', '', q.from_ms, q.from_ms + 3000000
                 FROM (SELECT n.i, {FIRST_MS} + n.i / 700 * {DAY_MS} + n.i / 70 % 10 * 3600000 AS from_ms FROM {}) AS q",
                s(0, 700 * days - 1)),
    ];
    for statement in statements {
        raw.run(&statement).await;
    }
}

fn bucket(case: &str) -> String {
    format!(
        "CASE {case} % 4 WHEN 0 THEN 'to_90' WHEN 1 THEN 'to_180' WHEN 2 THEN 'to_360' ELSE 'above_360' END"
    )
}

/// Columns of an attempt as it is when it is dialled; [`dialled`] gives their values.
pub const DIALLED: &str = "id, receipt_id, purpose, node, client_id, batch_id, case_id, debtor_id, contact_point_id, number_id,
    relation, agent_id, trunk, caller_id, zone, local_date, local_hour, started_at_ms, valid_until_ms, team_id, bucket,
    number_kind, first_call";

/// Values of [`DIALLED`] from [`picks`].
fn dialled(raw: &Raw) -> String {
    let date = if raw.is_sqlite() {
        "date('2024-11-01', '+' || h.day || ' days')"
    } else {
        "to_char(DATE '2024-11-01' + CAST(h.day AS INTEGER), 'YYYY-MM-DD')"
    };
    format!(
        "'01980000-0000-7000-8000-' || CAST(100000000000 + h.i AS TEXT), '01980000-0000-7000-8000-' || CAST(100000000000 + h.i AS TEXT),
         'case', 'bench', h.batch % 12 + 1, h.batch, h.case_id, h.case_id, h.case_id, h.case_id,
         CASE WHEN h.r < 600 THEN 'debtor' WHEN h.r < 700 THEN 'joint_debtor' WHEN h.r < 800 THEN 'relative'
              WHEN h.r < 870 THEN 'colleague' WHEN h.r < 950 THEN 'friend' ELSE 'other' END,
         h.case_id % 70 + 1, 'trunk-' || CAST(h.batch % 5 AS TEXT), '+8610888800' || CAST(10 + h.batch % 12 * 3 + h.pick % 3 AS TEXT),
         'Asia/Shanghai', {date}, 8 + h.hour, h.began, h.began + 60000, (h.case_id % 70 + 1) % 7 + 1, {},
         CASE WHEN h.case_id % 10 < 8 THEN 'mobile' ELSE 'fixed' END, CASE WHEN h.first = 0 THEN 1 ELSE 0 END",
        bucket("h.case_id")
    )
}

/// What is picked for the attempts from number `first` to `last` of `attempts`, as h.
fn picks(raw: &Raw, first: i64, last: i64, shape: Shape, hour: &str) -> String {
    let Shape {
        attempts,
        days,
        batches,
        ..
    } = shape;
    let per_batch = shape.per_batch();
    let at_work = batches.min(60);
    let r = |salt, below| random("n.i", salt, below);
    format!(
        "(SELECT g.*, (g.batch - 1) * {per_batch} + g.which % {per_batch} + 1 AS case_id,
                 {FIRST_MS} + g.day * {DAY_MS} + g.hour * 3600000 + g.r * 3600 AS began
          FROM (SELECT f.*, CASE WHEN f.day * {batches} / {days} < {at_work} THEN f.young ELSE f.day * {batches} / {days} - {at_work} + 1 + f.young END
                       + 1 AS batch
                FROM (SELECT n.i, CASE WHEN n.i >= {attempts} THEN {days} - 1 ELSE n.i * {days} / {attempts} END AS day, {} AS r,
                             {} AS hour, {} AS pick, {} AS young, {} AS which, {} AS c, {} AS talk, {} AS first
                      FROM {}) AS f) AS g) AS h",
        r(4, 1000),
        hour,
        r(7, 30),
        r(1, at_work),
        r(2, 30_000),
        r(9, 1000),
        r(11, 30_000),
        r(13, PER_CASE),
        series(raw, first, last)
    )
}

/// Inserts the attempts from number `first` to `last`, ended.
fn attempt_rows(raw: &Raw, first: i64, last: i64, shape: Shape) -> String {
    format!(
        "INSERT INTO attempts ({DIALLED}, seized_at_ms, rang_at_ms, answered_at_ms, ended_at_ms, cause, class, ended_by,
                disposition, right_party)
         SELECT {}, CASE WHEN h.c < 970 THEN h.began + 1500 END, CASE WHEN h.c < 710 THEN h.began + 3000 END,
                CASE WHEN h.c < 250 THEN h.began + 12000 END,
                CASE WHEN h.c < 250 THEN h.began + 12000 + h.talk * 4 ELSE h.began + 30000 END,
                CASE WHEN h.c < 250 THEN 'answered' WHEN h.c < 550 THEN 'no_answer' WHEN h.c < 630 THEN 'busy'
                     WHEN h.c < 710 THEN 'rejected' WHEN h.c < 830 THEN 'unreachable' WHEN h.c < 880 THEN 'unknown_number'
                     WHEN h.c < 910 THEN 'congestion' WHEN h.c < 950 THEN 'cancelled' WHEN h.c < 970 THEN 'trunk_fault'
                     WHEN h.c < 985 THEN 'agent_no_answer' ELSE 'internal' END,
                CASE WHEN h.c < 880 THEN 'callee' WHEN h.c < 910 THEN 'trunk' WHEN h.c < 950 THEN 'caller'
                     WHEN h.c < 970 THEN 'trunk' WHEN h.c < 985 THEN 'caller' ELSE 'ours' END, 'customer',
                CASE WHEN h.c >= 250 THEN '' ELSE CASE h.pick % 10 WHEN 0 THEN 'promise_to_pay' WHEN 1 THEN 'refuses'
                     WHEN 2 THEN 'wrong_number' WHEN 3 THEN 'deceased' WHEN 4 THEN 'suspected_fraud' WHEN 5 THEN 'third_party'
                     WHEN 6 THEN 'call_back' ELSE 'no_result' END END,
                CASE WHEN h.c < 250 THEN h.pick % 2 ELSE 0 END
         FROM {}",
        dialled(raw),
        picks(raw, first, last, shape, &random("n.i", 6, 13))
    )
}

/// Inserts attempts that are under way, from number `first` to `last`; returns their ids.
pub async fn under_way(raw: &mut Raw, first: i64, last: i64, shape: Shape) -> Vec<String> {
    let sql = format!(
        "INSERT INTO attempts ({DIALLED}) SELECT {} FROM {}",
        dialled(raw),
        // What ends at the same time was dialled in the same hour.
        picks(raw, first, last, shape, "5")
    );
    raw.run(if raw.is_sqlite() {
        "PRAGMA foreign_keys = OFF"
    } else {
        "SET session_replication_role = replica"
    })
    .await;
    raw.run(&sql).await;
    let id = |i: i64| format!("01980000-0000-7000-8000-{}", 100_000_000_000 + i);
    (first..=last).map(id).collect()
}
