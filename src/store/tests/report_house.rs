//! What the tests of reports are about: clients, agents, calls, work and money, made by arithmetic.

use super::super::{
    agent_states::{self, Change, Doing},
    agents, attempts,
    attempts::Closing,
    batches,
    contact_points::Target,
    contracts::{self, Tier},
    receipts, repayments,
    sql::Sql,
    teams,
};
use super::{DATE, NOW_MS, Test, attempt, call_id, case, number};
use crate::{
    call::{Cause, Party},
    ids::{AgentId, BatchId, ClientId, ReceiptId},
    store::Tx,
};

const DAY_MS: i64 = 86_400_000;
/// Reasons of a refusal as they were stored before each was named once: two windows at once, and a cap.
const REPEATED: &str = "[\"window\",\"cap_reached\",\"window\"]";

/// Two clients, three agents in two teams, five weeks of calls, and all that hangs on them.
pub(super) struct House {
    pub targets: Vec<Target>,
    pub agents: Vec<AgentId>,
    pub zone: jiff::tz::TimeZone,
}

async fn run(tx: &mut Tx, text: String) -> u64 {
    let sql = Sql {
        act: "prepare a test",
        text: Box::leak(text.into_boxed_str()),
    };
    tx.execute(&sql, vec![]).await.unwrap()
}

/// The day `n` days after the first, and its noon in Shanghai.
fn day(n: i64) -> (String, i64) {
    let first: jiff::civil::Date = DATE.parse().unwrap();
    let day = first.checked_add(jiff::Span::new().days(n)).unwrap();
    (day.to_string(), NOW_MS + n * DAY_MS)
}

pub(super) async fn house(test: &Test) -> House {
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
    let mut tx = test.db.begin().await.unwrap();
    let mut house = House {
        targets: Vec::new(),
        agents: Vec::new(),
        zone,
    };
    let mut team_ids = Vec::new();
    for code in ["north", "south"] {
        team_ids.push(teams::ensure(&mut tx, code, code, 0).await.unwrap().id);
    }
    for (n, code) in ["b7", "A1", "Ä2", "a0"].into_iter().enumerate() {
        let agent = agents::ensure(&mut tx, code, code, &format!("80{n}"), 0)
            .await
            .unwrap();
        // The last one is in no team.
        let team = team_ids.get(n / 2).copied().filter(|_| n < 3);
        teams::join(&mut tx, agent.id, team).await.unwrap();
        house.agents.push(agent.id);
    }
    for n in 0..12 {
        let client = ["o'bank", "Zbank", "abank"][n % 3];
        let (debtor, reference) = (format!("D{n}"), format!("C{n}"));
        let target = case(&mut tx, client, &debtor, &reference, &number(n as u32)).await;
        let bucket = ["to_90", "to_180", "above_360", ""][n % 4];
        let text = format!(
            "UPDATE cases SET bucket = '{bucket}', placed_e4 = {}, revealed_at_ms = 0 WHERE id = {}",
            1_000_000 + 10_000 * n,
            target.case
        );
        run(&mut tx, text).await;
        house.targets.push(target);
    }
    tx.commit().await.unwrap();
    calls(test, &house).await;
    work(test, &house).await;
    money(test, &house).await;
    house
}

/// 1,400 calls over 35 days; of the second caller ID fewer and fewer are answered.
async fn calls(test: &Test, house: &House) {
    let codes = [
        "promised",
        "deceased",
        "suspected_fraud",
        "wrong_number",
        "own_word",
    ];
    let mut tx = test.db.begin().await.unwrap();
    run(
        &mut tx,
        "INSERT INTO dispositions (client_id, code, name_en, name_zh, right_party, effects, active)
         SELECT id, 'own_word', 'Own', '自有', 1, '[\"promise\",\"callback\"]', 1 FROM clients WHERE code = 'Zbank'"
            .into(),
    )
    .await;
    for n in 0..1_400_u32 {
        let i = n as usize;
        let (date, noon) = day(i64::from(n / 40));
        let hour = [8, 9, 10, 14, 20][i % 5];
        let target = &house.targets[i * 7 % 12];
        let at = noon + i64::from(n % 40) * 60_000;
        let agent = house.agents[i % 3];
        let id = call_id(n);
        attempt(&mut tx, id, target, agent, &date, hour, at, "node-a").await;
        let second = n % 2 == 1;
        let text = format!(
            "UPDATE attempts SET caller_id = '{}', trunk = '{}', relation = '{}' WHERE id = '{id}'",
            if second { "+8610222" } else { "+8610111" },
            ["pbx", "pbx2"][i % 2],
            ["debtor", "relative"][i % 2],
        );
        run(&mut tx, text).await;
        let answered = if second && n >= 1_120 {
            n % 10 == 1
        } else {
            n % 4 < 2
        };
        let cause = match answered {
            true => Cause::Answered,
            false => Cause::ALL[i % Cause::ALL.len()],
        };
        let cause = if !answered && cause == Cause::Answered {
            Cause::NoAnswer
        } else {
            cause
        };
        let seized = answered || n % 13 != 0;
        let end = Closing {
            cause,
            ended_by: Party::Customer,
            sip_status: None,
            q850: None,
            seized_at_ms: seized.then_some(at + 1_000),
            rang_at_ms: (n % 3 != 0).then_some(at + 2_500),
            answered_at_ms: answered.then_some(at + 9_000 + i64::from(n)),
            ended_at_ms: at + 40_000 + i64::from(n * 3),
            overrun_ms: 0,
        };
        attempts::close(&mut tx, id, &end).await.unwrap();
        if answered && n % 3 != 0 {
            let code = codes[i % codes.len()];
            attempts::set_disposition(&mut tx, id, code, n % 5 == 0, "A1", at + 60_000)
                .await
                .unwrap();
        }
    }
    tx.commit().await.unwrap();
}

/// Refusals, and two days of agents' work with quotes in the reasons of breaks.
async fn work(test: &Test, house: &House) {
    let mut tx = test.db.begin().await.unwrap();
    for n in 0..9_u32 {
        let receipt = receipts::NewReceipt {
            id: ReceiptId::from_uuid(call_id(100_000 + n).uuid()),
            at_ms: NOW_MS + i64::from(n) * 3_600_000,
            allowed: n == 8,
            target: &house.targets[n as usize],
            agent: None,
            user: None,
            rules_sha256: "0",
            reasons: [REPEATED, "[\"window\"]"][n as usize % 2],
            body: "{}",
        };
        receipts::insert(&mut tx, &receipt).await.unwrap();
    }
    let mut changes = Vec::new();
    for (n, agent) in house.agents.iter().enumerate() {
        let steps = [
            (Some(Doing::Ready), ""),
            (Some(Doing::Reserved), ""),
            (Some(Doing::Talk), ""),
            (Some(Doing::WrapUp), ""),
            (Some(Doing::Break), "it's \"lunch\""),
            (Some(Doing::Ready), ""),
            (Some(Doing::Break), ""),
            (Some(Doing::Talk), ""),
            // Over midnight.
            (Some(Doing::Break), "training"),
            (None, ""),
        ];
        for (m, (doing, reason)) in steps.into_iter().enumerate() {
            changes.push(Change {
                agent: *agent,
                doing,
                reason: reason.into(),
                at_ms: NOW_MS + (m as i64) * 7_000_000 / (n as i64 + 1) + 13 * n as i64,
            });
        }
        // What lasts is in no day.
        changes.push(Change {
            agent: *agent,
            doing: Some(Doing::Ready),
            reason: String::new(),
            at_ms: NOW_MS + 2 * DAY_MS,
        });
    }
    agent_states::change(&mut tx, "node-a", &changes, &house.zone)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// The batch in which a client placed its cases.
async fn batch(tx: &mut Tx, client: ClientId) -> BatchId {
    batches::ensure(tx, client, "2026-11", NOW_MS)
        .await
        .unwrap()
}

/// Contracts of two clients, placements, repayments inside and outside of their cycles, promises.
async fn money(test: &Test, house: &House) {
    let mut tx = test.db.begin().await.unwrap();
    let tier = |bucket: &str, base_bp, minimum_bp, reduced_bp| Tier {
        bucket: bucket.into(),
        base_bp,
        minimum_bp,
        fee_bp: 2_850,
        reduced_bp,
    };
    for (n, code) in ["K'1", "K2"].into_iter().enumerate() {
        let tiers = [
            tier("to_90", 8_500, 6_000, Some(1_333)),
            tier("to_180", 6_500, 3_000, None),
            tier("above_360", 4_000, 500, Some(100)),
        ];
        let client = house.targets[n].client;
        let id = contracts::insert(&mut tx, client, code, "2026-01-01", None, &tiers, 0)
            .await
            .unwrap();
        let lot = batch(&mut tx, client).await;
        contracts::assign(&mut tx, lot, id).await.unwrap();
    }
    for (n, placed_on) in ["2026-08-31", "2026-11-30", "2026-11-15"]
        .into_iter()
        .enumerate()
    {
        let lot = batch(&mut tx, house.targets[n].client).await;
        batches::place(&mut tx, lot, placed_on.parse().unwrap())
            .await
            .unwrap();
    }
    // The first client's cycle ends on the last of November, the thirtieth.
    let days = [
        "2026-08-30",
        "2026-08-31",
        "2026-11-29",
        "2026-11-30",
        "2026-12-02",
    ];
    let mut n = 0;
    for (c, target) in house.targets.iter().enumerate() {
        for (d, paid_on) in days.iter().enumerate() {
            n += 1;
            let new = repayments::NewRepayment {
                reference: format!("R{n}"),
                amount_e4: [100_001, 250_000, 610_000, 40_000, 300_000][(c + d) % 5],
                currency: "CNY".into(),
                paid_on: (*paid_on).into(),
                settles: false,
            };
            repayments::enter(&mut tx, target.case, &new, None, "test", 0)
                .await
                .unwrap();
        }
        for (m, on) in ["2026-11-29", "2026-12-01", "2026-12-20"]
            .iter()
            .enumerate()
        {
            let agent = house.agents[(c + m) % 3];
            let text = format!(
                "INSERT INTO notes (case_id, client_id, relation, agent_id, state, promise_e4, promise_currency, promise_on, local_date,
                                    started_at_ms, changed_at_ms)
                 VALUES ({}, {}, 'debtor', {agent}, '{}', {}, 'CNY', '{on}', '2026-11-{}', {c}, 0)",
                target.case,
                target.client,
                if c == 11 { "draft" } else { "final" },
                [300_000, 600_000][(c + m) % 2],
                23 + m,
            );
            run(&mut tx, text).await;
        }
    }
    // A debtor who died, and a case under suspicion of fraud; one bar was lifted.
    run(
        &mut tx,
        format!(
            "INSERT INTO bars (scope, subject_id, kind, reason, from_ms, actor)
             SELECT 'person', d.person_id, 'deceased', 'said so', 0, 'x' FROM cases k JOIN debtors d ON d.id = k.debtor_id
             WHERE k.id = {}",
            house.targets[0].case
        ),
    )
    .await;
    // Dead for one client only: of the case of that client, and of one of another's.
    for (n, client) in [(1, house.targets[1].client), (9, house.targets[1].client)] {
        let text = format!(
            "INSERT INTO bars (scope, subject_id, client_id, kind, reason, from_ms, actor)
             SELECT 'person', d.person_id, {client}, 'deceased', 'said so', 0, 'x' FROM cases k
                    JOIN debtors d ON d.id = k.debtor_id WHERE k.id = {}",
            house.targets[n].case
        );
        run(&mut tx, text).await;
    }
    for (n, lifted) in [(3, "NULL"), (6, "7")] {
        let text = format!(
            "INSERT INTO bars (scope, subject_id, kind, reason, from_ms, actor, lifted_at_ms)
             VALUES ('case', {}, 'suspected_fraud', 'said so', 0, 'x', {lifted})",
            house.targets[n].case
        );
        run(&mut tx, text).await;
    }
    tx.commit().await.unwrap();
}
