//! Summaries: one line a team, one line a client.

use std::collections::{BTreeMap, HashMap};

use super::{Body, ReportError, Within, calls, day_sheet, heads, number, with_interval};
use crate::{
    export::Cell,
    stats::{report::wilson, rollup::Sums},
    store::{
        Tx,
        agent_days::{self, Worked},
        clients as client_list,
        figures::Axis,
        promises::{self, Due},
        receipts,
        sql::filled,
        teams as team_list,
    },
};

/// Columns of a team beside those of its calls.
const WORK: [&str; 8] = [
    "agents",
    "logged_in_ms",
    "ready_ms",
    "reserved_ms",
    "wrap_up_ms",
    "break_ms",
    "occupancy",
    "aht_ms",
];

#[derive(Default)]
struct Team {
    calls: Sums,
    worked: Worked,
    agents: i64,
}

pub(super) async fn teams(tx: &mut Tx, within: &Within<'_>) -> Result<Body, ReportError> {
    let mut lines = BTreeMap::<String, Team>::new();
    for (mut labels, sums) in calls::labelled(tx, &[Axis::Team], within).await? {
        if let Some(calls::Label::Text(team)) = labels.pop() {
            lines.entry(team).or_default().calls += sums;
        }
    }
    let members = team_list::members(tx).await?;
    let teams: HashMap<_, _> = members
        .into_iter()
        .map(|m| (m.agent, m.team_code.unwrap_or_default()))
        .collect();
    for (agent, worked) in agent_days::totals(tx, within.from_text, within.to_text).await? {
        let team = teams.get(&agent).cloned().unwrap_or_default();
        let line = lines.entry(team).or_default();
        line.worked += worked;
        line.agents += 1;
    }
    let rows = lines.into_iter().map(|(team, line)| {
        let mut row = vec![Cell::Text(team)];
        row.extend(calls::cells(&line.calls));
        let w = line.worked;
        row.extend([
            Cell::Int(line.agents),
            Cell::Int(w.logged_in_ms()),
            Cell::Int(w.ready_ms),
            Cell::Int(w.reserved_ms),
            Cell::Int(w.wrap_up_ms),
            Cell::Int(w.break_ms),
            w.occupancy(),
            number((w.talk_ms + w.wrap_up_ms).checked_div(line.calls.connected)),
        ]);
        row
    });
    Ok(Body {
        heads: heads(&[["team"].as_slice(), &calls::HEADS, &WORK].concat()),
        rows: rows.collect(),
        total: None,
        meanings: [calls::MEANINGS, &["logged_in_ms",
            "occupancy",
            "aht_ms"]].concat(),
        notes: vec![
            "calls count for the team of the agent when it was dialled, in days of the person called; time logged in counts \
             for the agent's team of now, in days of the zone shown to operators: after somebody changed teams, occupancy \
             and handling time mix the two; '' is no team"
                .into(),
        ],
        sealed: true,
        sql_of_total: None,
        sql: teams_sql(within)?,
    })
}

fn teams_sql(within: &Within<'_>) -> Result<String, ReportError> {
    Ok(format!(
        "{stretches}SELECT COALESCE(t.code, '') AS team, {columns},
       COALESCE(w.agents, 0) AS agents, COALESCE(w.logged_in_ms, 0) AS logged_in_ms, COALESCE(w.ready_ms, 0) AS ready_ms,
       COALESCE(w.reserved_ms, 0) AS reserved_ms, COALESCE(w.wrap_up_ms, 0) AS wrap_up_ms,
       COALESCE(w.break_ms, 0) AS break_ms,
       (w.reserved_ms + w.talk_ms + w.wrap_up_ms) * 1.0
           / NULLIF(w.reserved_ms + w.talk_ms + w.wrap_up_ms + w.ready_ms, 0) AS occupancy,
       (COALESCE(w.talk_ms, 0) + COALESCE(w.wrap_up_ms, 0)) / NULLIF(f.connected, 0) AS aht_ms
FROM (SELECT COALESCE(a.team_id, 0) AS id FROM attempts a
      WHERE a.purpose = 'case' AND a.ended_at_ms IS NOT NULL AND a.local_date BETWEEN '{from}' AND '{to}'
      UNION SELECT COALESCE(g.team_id, 0) FROM stretches s JOIN agents g ON g.id = s.agent_id) AS k
     LEFT JOIN ({facts}) AS f ON f.k1 = k.id
     LEFT JOIN (SELECT COALESCE(g.team_id, 0) AS team_id, COUNT(DISTINCT s.agent_id) AS agents, {sums}
                FROM stretches s JOIN agents g ON g.id = s.agent_id
                GROUP BY COALESCE(g.team_id, 0)) AS w ON w.team_id = k.id
     LEFT JOIN teams t ON t.id = k.id
ORDER BY COALESCE(t.code, ''){collate}",
        stretches = day_sheet::stretches(within)?,
        columns = calls::columns_or_zero(),
        from = within.from_text,
        to = within.to_text,
        facts = calls::facts(&["COALESCE(a.team_id, 0)"], within),
        sums = day_sheet::sums_of_states(),
        collate = within.collate()
    ))
}

#[derive(Default)]
struct Client {
    calls: Sums,
    refusals: i64,
    promises: i64,
    kept: i64,
}

pub(super) async fn clients(tx: &mut Tx, within: &Within<'_>) -> Result<Body, ReportError> {
    let (from_ms, to_ms) = within.ms()?;
    let due = due(within);
    let mut lines = BTreeMap::<String, Client>::new();
    for (mut labels, sums) in calls::labelled(tx, &[Axis::Client], within).await? {
        if let Some(calls::Label::Text(client)) = labels.pop() {
            lines.entry(client).or_default().calls += sums;
        }
    }
    let codes = client_list::list(tx).await?;
    let codes: HashMap<i64, String> = codes.into_iter().map(|c| (c.id.get(), c.code)).collect();
    for (client, refusals) in receipts::refused(tx, from_ms, to_ms).await? {
        if within.client.is_none_or(|only| only.get() == client)
            && let Some(code) = codes.get(&client)
        {
            lines.entry(code.clone()).or_default().refusals += refusals;
        }
    }
    for promised in promises::due(tx, &due).await? {
        let line = lines.entry(promised.client).or_default();
        line.promises += promised.promises;
        line.kept += promised.kept;
    }
    let rows = lines.into_iter().map(|(client, line)| {
        let mut row = vec![Cell::Text(client)];
        row.extend(calls::cells(&line.calls));
        row.extend([line.refusals, line.promises, line.kept].map(Cell::Int));
        row.extend(with_interval(wilson(line.kept, line.promises)));
        row
    });
    Ok(Body {
        heads: heads(
            &[
                ["client"].as_slice(),
                &calls::HEADS,
                &[
                    "refusals",
                    "promises",
                    "kept",
                    "kept_rate",
                    "kept_low",
                    "kept_high",
                ],
            ]
            .concat(),
        ),
        rows: rows.collect(),
        total: None,
        meanings: [calls::MEANINGS, &["refusals", "promise_kept_rate"]].concat(),
        notes: vec![
            "refusals: each counted once, by days of the zone shown to operators".into(),
            match due.from <= due.to {
                true => format!("promises: for {} to {}, without grace", due.from, due.to),
                false => "promises: none of these days is over yet".into(),
            },
        ],
        sealed: true,
        sql_of_total: None,
        sql: clients_sql((from_ms, to_ms), &due, within),
    })
}

/// Promises whose day is over.
fn due(within: &Within<'_>) -> Due {
    let yesterday = within.today.yesterday().unwrap_or(within.today);
    Due {
        from: within.from_text.to_owned(),
        to: yesterday.min(within.to).to_string(),
        grace_days: 0,
        client: within.client,
    }
}

fn clients_sql((from_ms, to_ms): (i64, i64), due: &Due, within: &Within<'_>) -> String {
    let client = within
        .client
        .map(|client| format!(" AND c.id = {client}"))
        .unwrap_or_default();
    format!(
        "SELECT c.code AS client, {columns},
       COALESCE(r.refusals, 0) AS refusals, COALESCE(p.promises, 0) AS promises, COALESCE(p.kept, 0) AS kept,
       {kept_rate}
FROM clients c
     LEFT JOIN ({facts}) AS f ON f.k1 = c.id
     LEFT JOIN (SELECT client_id, COUNT(*) AS refusals FROM receipts
                WHERE allowed = 0 AND at_ms >= {from_ms} AND at_ms < {to_ms} GROUP BY client_id) AS r ON r.client_id = c.id
     LEFT JOIN (SELECT client, CAST(SUM(promises) AS BIGINT) AS promises, CAST(SUM(kept) AS BIGINT) AS kept
                FROM ({promises}) AS q GROUP BY client) AS p ON p.client = c.code
WHERE (f.attempts IS NOT NULL OR r.refusals IS NOT NULL OR p.promises IS NOT NULL){client}
ORDER BY c.code{collate}",
        columns = calls::columns_or_zero(),
        kept_rate = calls::rate("p.kept", "p.promises", ["kept_rate", "kept_low", "kept_high"]),
        facts = calls::facts(&["a.client_id"], within),
        promises = filled(promises::statement(within.dialect).text, &due.args()),
        collate = within.collate()
    )
}
