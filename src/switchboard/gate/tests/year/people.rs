//! Who there is in the year: persons and their cases at two banks, agreements, holidays, and what other agencies call.

use jiff::tz::TimeZoneDatabase;

use super::*;
use crate::{
    phone::PhoneNumber,
    policy::{
        Relation, SpecialDay,
        tests::checker::{Agreed, Fault, Outside, Point, Special},
    },
    store::{
        Tx,
        agreements::{self, NewAgreement, Proof},
        number_faults::{self, FaultKind, NewFault},
        outside_counts::{self, OutsideCount},
        special_days,
    },
};

const ZONES: [&str; 5] = [
    "Asia/Shanghai",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
];

fn rows_shared(pair: u32) -> PhoneNumber {
    number(5_000 + pair)
}

/// A click is clicked again when the database was too busy.
async fn point(
    tx: &mut Tx,
    case: CaseId,
    name: &str,
    relation: Relation,
    number: &PhoneNumber,
    zone: &str,
) -> (ContactPointId, i64) {
    let (id, _) = contact_points::ensure(tx, case, name, relation, number, START)
        .await
        .unwrap();
    let sql = Sql {
        act: "record a zone",
        text: "UPDATE contact_points SET zone = $2 WHERE id = $1",
    };
    tx.execute(&sql, vec![id.into(), zone.into()])
        .await
        .unwrap();
    let target = contact_points::target(tx, id).await.unwrap().unwrap();
    (id, target.number_id)
}

impl World {
    pub(super) async fn people(&mut self, persons: u32) {
        let mut tx = self.db.begin().await.unwrap();
        let mut numbers = std::collections::HashMap::new();
        let mut cases_seen = 0;
        for person in 0..persons {
            let zone = ZONES[person as usize % ZONES.len()];
            let pair = person / 2;
            let mut debtors = Vec::new();
            let friends = [("Friend", Relation::Friend), ("Cousin", Relation::Relative)];
            for (bank, friend) in [person % 5, (person + 1) % 5].into_iter().zip(friends) {
                let (code, demands, _) = BANKS[bank as usize];
                let own = number(person * 10);
                let target = case(
                    &mut tx,
                    code,
                    &format!("D{person}"),
                    &format!("C{person}"),
                    &own,
                )
                .await;
                debtors.push(target.debtor);
                let rows = [
                    ("Person", Relation::Debtor, own),
                    ("Person", Relation::Debtor, number(5_000 + pair)),
                    (friend.0, friend.1, number(person * 10 + 1)),
                ];
                for (name, relation, digits) in rows {
                    let (id, row) =
                        point(&mut tx, target.case, name, relation, &digits, zone).await;
                    let next = numbers.len();
                    let number = *numbers.entry(row).or_insert(next);
                    let shared = digits == rows_shared(pair);
                    let partner = person ^ 1;
                    let mut counted = vec![person as usize];
                    if shared && partner < persons {
                        counted.push(partner as usize);
                    }
                    self.points.push((id, target.case, row));
                    self.book.points.push(Point {
                        demands,
                        number,
                        case: cases_seen,
                        client: bank as usize,
                        persons: counted,
                        third_party: relation.is_third_party(),
                        debtor: person as usize,
                        zones: vec![TimeZoneDatabase::bundled().get(zone).unwrap()],
                        region: "CN",
                    });
                    // Noted at one bank, it holds for the person at the other, and not for the partner with the same number:
                    // of some pairs all is wrong, of others the shared number for the one and the own one for the other.
                    let wrong = match pair % 3 {
                        2 => true,
                        1 => shared == person.is_multiple_of(2),
                        _ => false,
                    };
                    if wrong && relation == Relation::Debtor && debtors.len() == 1 {
                        let new = NewFault {
                            contact_point: id,
                            kind: FaultKind::WrongNumber,
                            counts: true,
                            note: None,
                            call: None,
                            at_ms: START,
                            actor: "lin",
                        };
                        number_faults::enter(&mut tx, &new).await.unwrap();
                        self.book.faults.push(Fault {
                            number,
                            debtor: Some(person as usize),
                            from: START,
                            until: i64::MAX,
                        });
                    }
                }
                cases_seen += 1;
            }
            let same = Sql {
                act: "merge",
                text: "UPDATE debtors SET person_id = (SELECT person_id FROM debtors WHERE id = $1) WHERE id = $2",
            };
            tx.execute(&same, vec![debtors[0].into(), debtors[1].into()])
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// Every fifth own number may be called until 23:00 for some weeks, three times.
    pub(super) async fn agreements(&mut self) {
        let mut tx = self.db.begin().await.unwrap();
        for (index, (id, case, number)) in self.points.iter().enumerate() {
            if index % 15 != 0 {
                continue;
            }
            let target = contact_points::target(&mut tx, *id).await.unwrap().unwrap();
            let (from, until) = (START + 20 * DAY, START + 200 * DAY);
            let new = NewAgreement {
                client: target.client,
                case: *case,
                contact: target.contact,
                numbers: &[*number],
                hours: &crate::rulebook::agreements::hours(&["08:00-23:00".into()]).unwrap(),
                from_ms: from,
                until_ms: until,
                uses_most: Some(3),
                proof: &Proof::Letter {
                    sha256: "0".into(),
                    name: "letter.pdf".into(),
                },
                letter_box: Some("box"),
                waits: false,
                proposed_by: "lin",
                now_ms: START,
            };
            agreements::propose(&mut tx, &new).await.unwrap();
            self.book.agreed.push(Agreed {
                point: index,
                from_hour: 8,
                to_hour: 23,
                from,
                until,
                uses: 3,
            });
        }
        tx.commit().await.unwrap();
    }

    pub(super) async fn holidays_and_other_agencies(&mut self) {
        let mut tx = self.db.begin().await.unwrap();
        let mut days = Vec::new();
        for (date, from, to) in [
            ("2026-05-01", 0, 0),
            ("2026-10-01", 9, 12),
            ("2027-02-06", 10, 11),
        ] {
            let date: jiff::civil::Date = date.parse().unwrap();
            let hours = match to {
                0 => Vec::new(),
                _ => vec![format!("{from:02}:00-{to:02}:00").parse().unwrap()],
            };
            days.push(SpecialDay {
                region: "CN".into(),
                date,
                name: "holiday".into(),
                hours,
            });
            self.book.special.push(Special {
                region: "CN",
                date,
                from_hour: from,
                to_hour: to,
            });
        }
        special_days::replace(&mut tx, "CN", &days, None)
            .await
            .unwrap();
        for index in (0..self.points.len()).step_by(9) {
            let (id, case, _) = self.points[index];
            let target = contact_points::target(&mut tx, id).await.unwrap().unwrap();
            let person = self.book.points[index].persons[0];
            let zone = &self.book.points[index].zones[0];
            for day in 0..60 {
                let date =
                    jiff::civil::date(2026, 3, 10).saturating_add(jiff::Span::new().days(day * 5));
                let began = zone
                    .to_timestamp(date.at(0, 0, 0, 0))
                    .unwrap()
                    .as_millisecond();
                let ended = zone
                    .to_timestamp(date.tomorrow().unwrap().at(0, 0, 0, 0))
                    .unwrap()
                    .as_millisecond();
                let connected = self.dice.small(3);
                let count = OutsideCount {
                    client: target.client,
                    case,
                    number: None,
                    date: date.to_string(),
                    day_began_ms: began,
                    day_ended_ms: ended,
                    attempts: connected + 1,
                    connected,
                    source: "agency B".into(),
                };
                outside_counts::put(&mut tx, &count, None).await.unwrap();
                self.book.outside.push(Outside {
                    person,
                    from: began,
                    until: ended,
                    connected: connected as usize,
                });
            }
        }
        tx.commit().await.unwrap();
    }
}
