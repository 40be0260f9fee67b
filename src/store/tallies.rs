//! Counters and last calls, as the rules ask for them: ours, ours under way, and those that others made.
//!
//! Per contact point it is the number that counts, across all persons and cases that share it. Per debtor it is the
//! person, across clients: all cases of the person, and the own numbers of the person wherever they were dialled for, also
//! those under which the person is a contact by identity number; a number that several persons share counts for each. Attempts under way count whatever they may become and whenever
//! they began. Each is the strictest reading. Only right under [`super::facts::guards`].

use super::{
    Result, Row, Tx,
    contact_points::Target,
    outside_counts::{self, Over, Sum},
};
use crate::{
    ids::PersonId,
    policy::{After, Count, CountNeeded, Last, LastNeeded, Measure, Scope},
};

/// No rule asks for a rest longer than 366 days; what ended before that is as good as never.
const LONGEST_REST_MS: i64 = 375 * 86_400_000;

/// What is counted of an attempt.
macro_rules! columns {
    () => {
        "a.id, a.started_at_ms, a.ended_at_ms, a.seized_at_ms, a.answered_at_ms"
    };
}

/// Third parties owe nothing (`Relation::is_third_party`).
macro_rules! third {
    () => {
        " AND a.relation NOT IN ('debtor', 'joint_debtor', 'guarantor')"
    };
}

/// Sums over the attempts of a query: `$2` since when, `$3` the length of an effective call.
macro_rules! tally {
    ($($attempts:expr),*) => {
        concat!(
            "SELECT COUNT(CASE WHEN ended_at_ms IS NULL THEN 1 END) AS under_way,
                    COUNT(CASE WHEN ended_at_ms IS NOT NULL AND seized_at_ms IS NOT NULL THEN 1 END) AS seized,
                    COUNT(CASE WHEN ended_at_ms IS NOT NULL AND answered_at_ms IS NOT NULL THEN 1 END) AS connected,
                    COUNT(CASE WHEN ended_at_ms - answered_at_ms >= $3 THEN 1 END) AS effective,
                    MAX(CASE WHEN seized_at_ms IS NOT NULL THEN ended_at_ms END) AS last_attempt_ms,
                    MAX(CASE WHEN answered_at_ms IS NOT NULL THEN ended_at_ms END) AS last_talk_ms
             FROM (",
            $($attempts),*,
            ") AS x"
        )
    };
}

/// The attempts of one number or case, with what more must hold.
macro_rules! by {
    ($column:literal, $more:expr) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM attempts a WHERE a.",
            $column,
            " = $1 AND a.started_at_ms >= $2",
            $more,
            " UNION ALL SELECT ",
            columns!(),
            " FROM attempts a
              WHERE a.",
            $column,
            " = $1 AND a.ended_at_ms IS NULL AND a.started_at_ms < $2",
            $more
        )
    };
}

/// The attempts of one person's cases, with what more must hold.
macro_rules! by_person {
    ($more:expr) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM debtors d JOIN attempts a ON a.debtor_id = d.id
             WHERE d.person_id = $1 AND a.started_at_ms >= $2",
            $more,
            " UNION SELECT ",
            columns!(),
            " FROM debtors d JOIN attempts a ON a.debtor_id = d.id
              WHERE d.person_id = $1 AND a.ended_at_ms IS NULL AND a.started_at_ms < $2",
            $more
        )
    };
}

/// The attempts at one person's own numbers, for whatever case they were made: those of the person's cases, and those of
/// contacts with the person's identity number.
macro_rules! at_own_numbers {
    () => {
        concat!(
            " UNION SELECT ", columns!(), "
              FROM debtors d JOIN cases c ON c.debtor_id = d.id JOIN contacts t ON t.case_id = c.id
                   JOIN contact_points p ON p.contact_id = t.id JOIN attempts a ON a.number_id = p.number_id
              WHERE d.person_id = $1 AND t.relation IN ('debtor', 'joint_debtor') AND a.started_at_ms >= $2
              UNION SELECT ", columns!(), "
              FROM debtors d JOIN cases c ON c.debtor_id = d.id JOIN contacts t ON t.case_id = c.id
                   JOIN contact_points p ON p.contact_id = t.id JOIN attempts a ON a.number_id = p.number_id
              WHERE d.person_id = $1 AND t.relation IN ('debtor', 'joint_debtor') AND a.ended_at_ms IS NULL
                AND a.started_at_ms < $2
              UNION SELECT ", columns!(), "
              FROM persons h JOIN contacts t ON t.identity_hash = h.identity_hash
                   JOIN contact_points p ON p.contact_id = t.id JOIN attempts a ON a.number_id = p.number_id
              WHERE h.id = $1 AND a.started_at_ms >= $2
              UNION SELECT ", columns!(), "
              FROM persons h JOIN contacts t ON t.identity_hash = h.identity_hash
                   JOIN contact_points p ON p.contact_id = t.id JOIN attempts a ON a.number_id = p.number_id
              WHERE h.id = $1 AND a.ended_at_ms IS NULL AND a.started_at_ms < $2"
        )
    };
}

statements! {
    NUMBER("count the attempts to a number") = tally!(by!("number_id", ""));
    CASE("count the attempts of a case") = tally!(by!("case_id", ""));
    PERSON("count the attempts to a person") = tally!(by_person!(""), at_own_numbers!());
    THIRD_NUMBER("count the attempts to a third party's number") = tally!(by!("number_id", third!()));
    THIRD_CASE("count the attempts to a case's third parties") = tally!(by!("case_id", third!()));
    THIRD_PERSON("count the attempts to a person's third parties") = tally!(by_person!(third!()));
}

/// One scope's attempts and outside counts; with the person where the scope is one.
struct Tally {
    person: Option<PersonId>,
    ours: Row,
    others: Sum,
}

/// Reads a scope: once, or for each person that the call counts for.
async fn tallies(
    tx: &mut Tx,
    target: &Target,
    persons: &[PersonId],
    scope: Scope,
    since_ms: i64,
    at_least_ms: i64,
) -> Result<Vec<Tally>> {
    let (number, case) = (target.number_id, target.case);
    let (sql, over) = match scope {
        Scope::ContactPoint => (&NUMBER, Over::Number(number, case)),
        Scope::ThirdParty => (&THIRD_NUMBER, Over::Number(number, case)),
        Scope::Case => (&CASE, Over::Case(case)),
        Scope::ThirdPartiesOfCase => (&THIRD_CASE, Over::ThirdPartiesOfCase(case)),
        Scope::Debtor => {
            let mut all = Vec::with_capacity(persons.len());
            for &person in persons {
                let args = args![person, since_ms, at_least_ms];
                all.push(Tally {
                    person: Some(person),
                    ours: tx.fetch_one(&PERSON, args).await?,
                    others: outside_counts::sum(tx, Over::Person(person), since_ms).await?,
                });
            }
            return Ok(all);
        }
        // Whose third parties: those of who owes the case.
        Scope::ThirdPartiesOfDebtor => {
            let person = target.person;
            let args = args![person, since_ms, at_least_ms];
            let over = Over::ThirdPartiesOfPerson(person);
            return Ok(vec![Tally {
                person: Some(person),
                ours: tx.fetch_one(&THIRD_PERSON, args).await?,
                others: outside_counts::sum(tx, over, since_ms).await?,
            }]);
        }
    };
    let key = match over {
        Over::Case(case) | Over::ThirdPartiesOfCase(case) => case.get(),
        _ => number,
    };
    Ok(vec![Tally {
        person: None,
        ours: tx.fetch_one(sql, args![key, since_ms, at_least_ms]).await?,
        others: outside_counts::sum(tx, over, since_ms).await?,
    }])
}

/// The counters that the rules ask for.
pub async fn counts(
    tx: &mut Tx,
    target: &Target,
    persons: &[PersonId],
    needed: &[CountNeeded],
) -> Result<Vec<Count>> {
    let mut counts = Vec::with_capacity(needed.len());
    let asked = |need: &&CountNeeded| need.scope.applies_to(target.relation);
    for need in needed.iter().filter(asked) {
        let (since_ms, at_least_ms) = (need.since_ms, need.at_least_ms);
        let all = tallies(tx, target, persons, need.scope, since_ms, at_least_ms).await?;
        for Tally {
            person,
            ours,
            others,
        } in all
        {
            let (seized, connected): (u32, u32) = (ours.small("seized")?, ours.small("connected")?);
            let (settled, outside) = match need.measure {
                Measure::Seized => (seized, others.attempts),
                Measure::Connected => (connected, others.connected),
                // Nobody tells how long calls of others were, so each counts.
                Measure::Effective => (ours.small("effective")?, others.connected),
                // Nothing is answered that was not seized (a CHECK of the table, and of the import).
                Measure::Unanswered => (
                    seized.saturating_sub(connected),
                    others.attempts.saturating_sub(others.connected),
                ),
            };
            counts.push(Count {
                person,
                settled,
                outside,
                under_way: ours.small("under_way")?,
                ..Count::none(*need)
            });
        }
    }
    Ok(counts)
}

/// When the last calls were over that the rules ask for.
pub async fn lasts(
    tx: &mut Tx,
    target: &Target,
    persons: &[PersonId],
    needed: &[LastNeeded],
    now_ms: i64,
) -> Result<Vec<Last>> {
    let mut lasts = Vec::with_capacity(needed.len());
    let since_ms = now_ms.saturating_sub(LONGEST_REST_MS);
    let asked = |need: &&LastNeeded| need.scope.applies_to(target.relation);
    for need in needed.iter().filter(asked) {
        for Tally {
            person,
            ours,
            others,
        } in tallies(tx, target, persons, need.scope, since_ms, 0).await?
        {
            let (ended_ms, outside_ms) = match need.after {
                After::Attempt => (ours.get("last_attempt_ms")?, others.last_attempt_ms),
                After::Conversation => (ours.get("last_talk_ms")?, others.last_talk_ms),
            };
            lasts.push(Last {
                after: need.after,
                scope: need.scope,
                person,
                ended_ms,
                outside_ms,
                under_way: ours.small("under_way")?,
            });
        }
    }
    Ok(lasts)
}
