//! What a decision looks at, read inside the deciding transaction.
//!
//! The order: look the target up with a reading transaction; begin; [`super::guards::touch`] of [`guards`] (the first
//! statement); [`super::contact_points::target`] again, for it may have changed; [`read`]; `policy::decide`;
//! [`super::receipts::insert`]; if allowed, [`super::attempts::insert`] with [`LocalMoment`]; commit.

use std::sync::Arc;

use super::{Result, Tx, contact_points::Target, guards::Guard};
use crate::{
    ids::CaseId,
    policy::{
        CaseFacts, ContactPointFacts, Count, CountNeeded, Facts, Measure, OwnNumbers, RuleSet,
        Scope, ZoneTimes, Zones,
    },
};

/// The guards of a decision about this target: nobody else decides about the debtor or the number meanwhile.
#[must_use]
pub fn guards(target: &Target) -> [Guard; 2] {
    [
        Guard::Debtor(target.debtor),
        Guard::Number(target.number_id),
    ]
}

statements! {
    COUNT_NUMBER("count the attempts to a number") =
        "SELECT COUNT(CASE WHEN ended_at_ms IS NULL THEN 1 END) AS under_way,
                COUNT(CASE WHEN ended_at_ms IS NOT NULL AND seized_at_ms IS NOT NULL AND started_at_ms >= $2
                           THEN 1 END) AS seized,
                COUNT(CASE WHEN ended_at_ms IS NOT NULL AND answered_at_ms IS NOT NULL AND started_at_ms >= $2
                           THEN 1 END) AS connected
         FROM attempts WHERE number_id = $1 AND (started_at_ms >= $2 OR ended_at_ms IS NULL)";
    COUNT_DEBTOR("count the attempts to a debtor") =
        "SELECT COUNT(CASE WHEN ended_at_ms IS NULL THEN 1 END) AS under_way,
                COUNT(CASE WHEN ended_at_ms IS NOT NULL AND seized_at_ms IS NOT NULL AND started_at_ms >= $2
                           THEN 1 END) AS seized,
                COUNT(CASE WHEN ended_at_ms IS NOT NULL AND answered_at_ms IS NOT NULL AND started_at_ms >= $2
                           THEN 1 END) AS connected
         FROM attempts WHERE debtor_id = $1 AND (started_at_ms >= $2 OR ended_at_ms IS NULL)";
    COUNT_CASE("count the attempts of a case") =
        "SELECT COUNT(CASE WHEN ended_at_ms IS NULL THEN 1 END) AS under_way,
                COUNT(CASE WHEN ended_at_ms IS NOT NULL AND seized_at_ms IS NOT NULL AND started_at_ms >= $2
                           THEN 1 END) AS seized,
                COUNT(CASE WHEN ended_at_ms IS NOT NULL AND answered_at_ms IS NOT NULL AND started_at_ms >= $2
                           THEN 1 END) AS connected
         FROM attempts WHERE case_id = $1 AND (started_at_ms >= $2 OR ended_at_ms IS NULL)";
    OWN_NUMBERS("look up the debtor's own numbers") =
        "SELECT COUNT(*) AS total, COUNT(CASE WHEN n.state = 'invalid' THEN 1 END) AS invalid
         FROM contact_points p JOIN contacts t ON t.id = p.contact_id JOIN numbers n ON n.id = p.number_id
         WHERE p.case_id = $1 AND t.relation = 'debtor'";
    FAILURES("count the failures in a row to reach the debtor") =
        "SELECT COUNT(*) AS failures FROM attempts a
         WHERE a.case_id = $1 AND a.relation = 'debtor' AND a.ended_at_ms IS NOT NULL AND a.seized_at_ms IS NOT NULL
           AND a.answered_at_ms IS NULL AND a.class <> 'ours' AND a.started_at_ms > COALESCE(
               (SELECT MAX(b.started_at_ms) FROM attempts b
                WHERE b.case_id = $1 AND b.relation = 'debtor' AND b.answered_at_ms IS NOT NULL), 0)";
}

/// Everything that a decision about this target looks at. Only right under [`guards`].
pub async fn read(tx: &mut Tx, target: &Target, rules: Arc<RuleSet>, now_ms: i64) -> Result<Facts> {
    let zones = Zones::of(&target.number);
    let needed = rules.counts_needed(now_ms, &zones);
    Ok(Facts {
        case: CaseFacts {
            id: target.case,
            debtor: target.debtor,
            person: None,
            client: target.client,
            state: target.case_state,
            hidden: false,
        },
        contact_point: ContactPointFacts {
            id: target.contact_point,
            case: target.case,
            relation: target.relation,
            state: target.number_state,
            refused: target.refused,
        },
        number: target.number.clone(),
        counts: counts(tx, target, &needed).await?,
        lasts: Vec::new(),
        own_numbers: own_numbers(tx, target.case).await?,
        bars: Vec::new(),
        agreements: Vec::new(),
        special_days: Vec::new(),
        zones,
        rules,
    })
}

/// Day and hour of the person called, as an attempt stores them for the figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMoment {
    /// The first of the plausible zones.
    pub zone: String,
    /// `YYYY-MM-DD`.
    pub date: String,
    /// 0 to 23.
    pub hour: u8,
}

impl LocalMoment {
    /// The local day and hour at an instant; `None` if no zone is known, which no decision allows.
    #[must_use]
    pub fn of(zones: &Zones, at_ms: i64) -> Option<LocalMoment> {
        let zone = zones.names.first()?;
        let times = ZoneTimes::around(zone, at_ms)?;
        let (_, offset_s) = times
            .offsets
            .iter()
            .rev()
            .find(|(from_ms, _)| *from_ms <= at_ms)?;
        let offset = jiff::tz::Offset::from_seconds(*offset_s).ok()?;
        let local = offset.to_datetime(jiff::Timestamp::from_millisecond(at_ms).ok()?);
        Some(LocalMoment {
            zone: zone.clone(),
            date: local.date().to_string(),
            hour: u8::try_from(local.hour()).ok()?,
        })
    }
}

/// The counters that the rules ask for. Attempts under way count whatever they may become and whenever they began.
///
/// Per contact point it is the number that counts, across all persons and cases that share it: the strictest reading.
pub async fn counts(tx: &mut Tx, target: &Target, needed: &[CountNeeded]) -> Result<Vec<Count>> {
    let mut counts = Vec::with_capacity(needed.len());
    for &CountNeeded {
        measure,
        scope,
        since_ms,
        at_least_ms,
    } in needed
    {
        let row = match scope {
            Scope::ContactPoint => {
                tx.fetch_one(&COUNT_NUMBER, args![target.number_id, since_ms])
                    .await?
            }
            Scope::Debtor => {
                tx.fetch_one(&COUNT_DEBTOR, args![target.debtor, since_ms])
                    .await?
            }
            Scope::Case => {
                tx.fetch_one(&COUNT_CASE, args![target.case, since_ms])
                    .await?
            }
            // Not counted yet: a missing counter refuses.
            Scope::ThirdParty | Scope::ThirdPartiesOfCase | Scope::ThirdPartiesOfDebtor => continue,
        };
        let (seized, connected): (u32, u32) = (row.small("seized")?, row.small("connected")?);
        let settled = match measure {
            Measure::Seized => seized,
            Measure::Connected => connected,
            // Nothing is answered that was not seized (a CHECK of the table).
            Measure::Unanswered => seized - connected,
            // Every answered call is effective where no length is asked for; longer ones are not counted yet.
            Measure::Effective if at_least_ms == 0 => connected,
            Measure::Effective => continue,
        };
        counts.push(Count {
            measure,
            scope,
            person: None,
            since_ms,
            at_least_ms,
            settled,
            under_way: row.small("under_way")?,
            outside: 0,
        });
    }
    Ok(counts)
}

/// What is on record about the debtor's own numbers on this case.
pub async fn own_numbers(tx: &mut Tx, case: CaseId) -> Result<OwnNumbers> {
    let numbers = tx.fetch_one(&OWN_NUMBERS, args![case]).await?;
    Ok(OwnNumbers {
        total: numbers.small("total")?,
        invalid: numbers.small("invalid")?,
        failures_in_a_row: tx
            .fetch_one(&FAILURES, args![case])
            .await?
            .small("failures")?,
    })
}
