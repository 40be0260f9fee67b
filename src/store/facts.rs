//! What a decision looks at, read inside the deciding transaction.
//!
//! The order: begin; look the target up; [`super::guards::touch`] of [`guards`] (the first statement that writes);
//! [`super::contact_points::target`] and [`guards`] again, for both may have changed; [`read`]; `policy::decide`;
//! [`super::receipts::insert`]; if allowed, [`super::attempts::insert`] with [`LocalMoment`], and
//! [`super::agreements::note_use`] where an agreement allowed it; commit. Counters and last calls are in `tallies.rs`.

use std::sync::Arc;

use super::{
    Result, Tx,
    agreements::{self, AgreementState},
    bars,
    contact_points::Target,
    guards::Guard,
    number_faults::answered_since,
    special_days, tallies,
};
use crate::{
    ids::PersonId,
    policy::{
        AgreementFacts, CaseFacts, ContactPointFacts, Facts, OwnNumbers, RuleSet, SpecialDay,
        ZoneTimes, Zones, dates_around, regions_of,
    },
};

/// The persons that a call to this target counts for: who owes the case, everybody whose own number this is, and
/// everybody who is a contact at this number by the identity number that a client gave of the contact.
/// What is capped per person is capped for each of them.
pub async fn persons(tx: &mut Tx, target: &Target) -> Result<Vec<PersonId>> {
    let rows = tx
        .fetch_all(&PERSONS, args![target.person, target.number_id])
        .await?;
    rows.iter()
        .map(|row| Ok(PersonId::new(row.get("person_id")?)))
        .collect()
}

/// The guards of a decision about this target: nobody else decides meanwhile about the number, or about anybody that
/// the call counts for.
pub async fn guards(tx: &mut Tx, target: &Target) -> Result<Vec<Guard>> {
    let mut guards: Vec<Guard> = persons(tx, target)
        .await?
        .into_iter()
        .map(Guard::Person)
        .collect();
    guards.push(Guard::Number(target.number_id));
    Ok(guards)
}

statements! {
    PERSONS("look up whom a call counts for") =
        "SELECT CAST($1 AS BIGINT) AS person_id
         UNION
         SELECT d.person_id FROM contact_points p JOIN contacts t ON t.id = p.contact_id JOIN cases c ON c.id = p.case_id
                JOIN debtors d ON d.id = c.debtor_id
         WHERE p.number_id = $2 AND t.relation IN ('debtor', 'joint_debtor')
         UNION
         SELECT h.id FROM contact_points p JOIN contacts t ON t.id = p.contact_id
                JOIN persons h ON h.identity_hash = t.identity_hash
         WHERE p.number_id = $2
         ORDER BY person_id";
    /// A number once, in however many cases of the person it stands; also those under which the person is a contact in
    /// somebody else's case. It is invalid by what was found of this very person and number, or of the dead number, and
    /// only until somebody answers: the person there, or at a number that was dead anybody.
    OWN_NUMBERS("look up the debtor's own numbers") = concat!(
        "WITH x AS (
             SELECT p.id AS point, p.number_id FROM debtors d JOIN cases c ON c.debtor_id = d.id
                    JOIN contact_points p ON p.case_id = c.id JOIN contacts t ON t.id = p.contact_id
             WHERE d.person_id = $1 AND t.relation = 'debtor'
             UNION
             SELECT p.id, p.number_id FROM persons h JOIN contacts t ON t.identity_hash = h.identity_hash
                    JOIN contact_points p ON p.contact_id = t.id
             WHERE h.id = $1)
         SELECT COUNT(DISTINCT x.number_id) AS total, COUNT(DISTINCT CASE WHEN EXISTS (
             SELECT 1 FROM number_faults f
             WHERE f.number_id = x.number_id AND f.lifted_at_ms IS NULL AND f.counts = 1
               AND ((f.kind = 'number_dead' AND NOT EXISTS (
                         SELECT 1 FROM attempts a WHERE a.number_id = f.number_id AND ", answered_since!(), "))
                    OR (f.kind = 'wrong_number' AND f.contact_point_id = x.point AND NOT EXISTS (
                         SELECT 1 FROM x AS s JOIN attempts a ON a.number_id = s.number_id AND a.contact_point_id = s.point
                         WHERE s.number_id = f.number_id AND ", answered_since!(), "))))
             THEN x.number_id END) AS invalid
         FROM x");
    /// Only what the person called or their number did is a failure to reach them: an agent who hangs up and a trunk
    /// that is down say nothing about the debtor. And it says something only if it began after the last conversation was
    /// over; five seconds later, for the clocks of two nodes may disagree by that much. While they are being called nobody
    /// knows yet that they do not answer.
    FAILURES("count the failures in a row to reach the debtor") =
        "SELECT COUNT(*) AS failures FROM debtors d JOIN attempts a ON a.debtor_id = d.id
         WHERE d.person_id = $1 AND a.relation = 'debtor' AND a.ended_at_ms IS NOT NULL AND a.seized_at_ms IS NOT NULL
           AND a.answered_at_ms IS NULL AND a.class = 'callee' AND a.started_at_ms > COALESCE(
               (SELECT MAX(CASE WHEN x.ended_at_ms IS NULL THEN 9223372036854775807 ELSE x.ended_at_ms + 5000 END)
                FROM (SELECT b.ended_at_ms FROM debtors e JOIN attempts b ON b.debtor_id = e.id
                      WHERE e.person_id = $1 AND b.relation = 'debtor' AND (b.answered_at_ms IS NOT NULL OR b.ended_at_ms IS NULL)
                      UNION ALL
                      SELECT b.ended_at_ms FROM persons h JOIN contacts t ON t.identity_hash = h.identity_hash
                             JOIN contact_points p ON p.contact_id = t.id
                             JOIN attempts b ON b.number_id = p.number_id AND b.contact_point_id = p.id
                      WHERE h.id = $1 AND (b.answered_at_ms IS NOT NULL OR b.ended_at_ms IS NULL)) AS x), 0)";
}

/// Everything that a decision about this target looks at. Only right under [`guards`].
pub async fn read(tx: &mut Tx, target: &Target, rules: Arc<RuleSet>, now_ms: i64) -> Result<Facts> {
    let zones = match &target.zone {
        Some(zone) => Zones::recorded(zone),
        None => Zones::of(&target.number),
    };
    let persons = persons(tx, target).await?;
    let counts = rules.counts_needed(now_ms, &zones);
    let lasts = rules.lasts_needed();
    Ok(Facts {
        case: CaseFacts {
            id: target.case,
            debtor: target.debtor,
            person: Some(target.person),
            client: target.client,
            state: target.case_state,
            // A hidden case has no targets.
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
        counts: tallies::counts(tx, target, &persons, &counts).await?,
        lasts: tallies::lasts(tx, target, &persons, &lasts, now_ms).await?,
        bars: bars::active_for(tx, target, now_ms).await?,
        agreements: agreed(tx, target, &rules, now_ms).await?,
        special_days: holidays(tx, target, now_ms).await?,
        own_numbers: own_numbers(tx, target.person).await?,
        zones,
        rules,
    })
}

/// The agreements on the number. One that waits for a second person is told only where the rules ask for one, so that
/// it can never count by itself.
async fn agreed(
    tx: &mut Tx,
    target: &Target,
    rules: &RuleSet,
    now_ms: i64,
) -> Result<Vec<AgreementFacts>> {
    let two_persons = rules
        .agreements
        .as_ref()
        .is_some_and(|agreements| agreements.two_persons);
    let found = agreements::on_number(tx, target, now_ms).await?;
    Ok(found
        .into_iter()
        .filter(|agreement| two_persons || agreement.state == AgreementState::Active)
        .map(|agreement| AgreementFacts {
            id: agreement.id,
            hours: agreement.hours,
            from_ms: agreement.from_ms,
            until_ms: agreement.until_ms,
            uses_left: agreement
                .uses_most
                .map(|most| most.saturating_sub(agreement.uses)),
            approved: agreement.state == AgreementState::Active && agreement.approved_by.is_some(),
        })
        .collect())
}

/// The special days of every region the number may ring in.
async fn holidays(tx: &mut Tx, target: &Target, now_ms: i64) -> Result<Vec<SpecialDay>> {
    let (first, last) = dates_around(now_ms);
    let mut days = Vec::new();
    for region in regions_of(&target.number) {
        days.extend(special_days::around(tx, &region, first, last).await?);
    }
    Ok(days)
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

/// What is on record about a debtor's own numbers, in whatever case of theirs.
pub async fn own_numbers(tx: &mut Tx, person: PersonId) -> Result<OwnNumbers> {
    let numbers = tx.fetch_one(&OWN_NUMBERS, args![person]).await?;
    Ok(OwnNumbers {
        total: numbers.small("total")?,
        invalid: numbers.small("invalid")?,
        failures_in_a_row: tx
            .fetch_one(&FAILURES, args![person])
            .await?
            .small("failures")?,
    })
}
