//! Import of outside counts: calls that a client's other agencies made, added to ours in every cap.
//!
//! Every row is judged before the first is written: by default one fault refuses the file. They are then brought in whole
//! or not at all, in small pieces, so that dialling goes on (`lists.rs`).

use std::{collections::HashMap, path::Path};

use jiff::{
    civil::Date,
    tz::{TimeZone, TimeZoneDatabase},
};

use super::{
    By, Refused,
    find::{self, Numbering},
    lists::{self, Rows},
    table::{Column, Fault, Faults, Line, rows},
};
use crate::{
    clock::Clock,
    phone::PhoneNumber,
    policy::{Relation, Zones},
    store::{
        Db, Tx, cases,
        clients::Client,
        contact_points::{self, Target},
        outside_counts::OutsideCount,
        rule_lists::{Kind, NewList},
    },
};

const CASE: usize = 0;
const DATE: usize = 1;
const ATTEMPTS: usize = 2;
const CONNECTED: usize = 3;
const SOURCE: usize = 4;
const NUMBER: usize = 5;
const COLUMNS: [Column; 6] = [
    Column::needed("case"),
    Column::needed("date"),
    Column::needed("attempts"),
    Column::needed("connected"),
    Column::needed("source"),
    Column::optional("number"),
];

/// More calls of one day are a slip of the pen.
const MOST: u32 = 10_000;

/// What an import came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Rows of the file.
    pub rows: u64,
    /// Counts that were not known.
    pub new: u64,
    /// Counts that were other ones.
    pub changed: u64,
    /// Counts that were known.
    pub same: u64,
    /// Rows that were left out.
    pub faulty: u64,
    /// What is wrong with them, the first hundred.
    pub faults: Vec<Fault>,
}

/// Imports a file. With `good_rows` the faulty ones are left out and listed; without, one fault refuses the file.
/// `zone` counts where a case has no number to say in which zone its days are.
///
/// # Errors
/// [`Refused`]: the faults of the file by line and column, an unknown client, or the database.
#[expect(
    clippy::too_many_arguments,
    reason = "one act, named where it is asked for"
)]
pub async fn import(
    db: &Db,
    clock: &Clock,
    file: &Path,
    client: &str,
    numbering: &Numbering<'_>,
    zone: &TimeZone,
    good_rows: bool,
    by: By<'_>,
) -> Result<Done, Refused> {
    let lines = rows(file, &COLUMNS)?;
    let mut tx = db.read().await?;
    let client = find::client(&mut tx, client, None).await?;
    let mut reader = Reader {
        tx: &mut tx,
        client: &client,
        numbering,
        zone,
        now_ms: by.now_ms,
        known: HashMap::new(),
    };
    let mut faults = Faults::default();
    let (mut counts, mut faulty) = (Vec::new(), 0);
    let mut keys = HashMap::new();
    for line in &lines {
        let count = match reader.count(line).await? {
            Ok(count) => count,
            Err((column, problem)) => {
                faulty += 1;
                faults.add(line.line, Some(column), problem);
                continue;
            }
        };
        let key = (
            count.case,
            count.date.clone(),
            count.source.clone(),
            count.number,
        );
        // Of two that differ nobody knows which is right: until one is corrected, the higher counts.
        let (first, before) = *keys.entry(key).or_insert((line.line, counts.len()));
        match counts.get_mut(before) {
            None => counts.push(count),
            Some(told) => {
                told.attempts = told.attempts.max(count.attempts);
                told.connected = told.connected.max(count.connected);
                faulty += 1;
                let problem = format!(
                    "line {first} says something of the same day, source and number; the higher of both counts"
                );
                faults.add(line.line, None, problem);
            }
        }
    }
    tx.rollback().await?;
    if !good_rows {
        faults.refuse()?;
    }
    let new = NewList {
        kind: Kind::OutsideCounts,
        client: Some(client.id),
        file_name: &file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        read: lines.len() as u64,
        faulty,
    };
    let became = lists::bring(db, clock, &new, Rows::Calls(&counts), by).await?;
    Ok(Done {
        rows: lines.len() as u64,
        new: became.new,
        changed: became.changed,
        same: became.same,
        faulty,
        faults: faults.listed,
    })
}

/// What is wrong with a row: the column and the problem.
type RowFault = (&'static str, String);

struct Reader<'a> {
    tx: &'a mut Tx,
    client: &'a Client,
    numbering: &'a Numbering<'a>,
    zone: &'a TimeZone,
    now_ms: i64,
    /// Cases that were looked up, with their numbers.
    known: HashMap<String, Option<(cases::Case, Vec<Target>)>>,
}

impl Reader<'_> {
    async fn count(&mut self, line: &Line) -> Result<Result<OutsideCount, RowFault>, Refused> {
        let reference = line.cell(CASE);
        if !self.known.contains_key(reference) {
            let found = cases::by_reference(self.tx, self.client.id, reference).await?;
            let found = match found {
                Some(case) => {
                    let points = contact_points::of_case(self.tx, case.id).await?;
                    Some((case, points))
                }
                None => None,
            };
            self.known.insert(reference.to_owned(), found);
        }
        let Some(Some((case, points))) = self.known.get(reference) else {
            return Ok(Err(("case", "this client has no such case".into())));
        };
        Ok(self.judge(line, case, points))
    }

    fn judge(
        &self,
        line: &Line,
        case: &cases::Case,
        points: &[Target],
    ) -> Result<OutsideCount, RowFault> {
        let date: Date = line
            .cell(DATE)
            .parse()
            .map_err(|_| ("date", "write a day as 2026-11-23".to_owned()))?;
        let number = |column, name| -> Result<u32, RowFault> {
            let count = line.cell(column).parse().ok();
            count
                .filter(|count| *count <= MOST)
                .ok_or_else(|| (name, format!("a whole number from 0 to {MOST}")))
        };
        let attempts = number(ATTEMPTS, "attempts")?;
        let connected = number(CONNECTED, "connected")?;
        if connected > attempts {
            return Err(("connected", "more were answered than made".into()));
        }
        let source = line.cell(SOURCE);
        if source.is_empty() || source.chars().count() > 100 {
            return Err(("source", "which agency: 1 to 100 characters".into()));
        }
        let at = self.number(line.cell(NUMBER), points)?;
        let (day_began_ms, day_ended_ms) = self.day(date, at, points)?;
        Ok(OutsideCount {
            client: case.client_id,
            case: case.id,
            number: at.map(|point| point.number_id),
            date: date.to_string(),
            day_began_ms,
            day_ended_ms,
            attempts,
            connected,
            source: source.to_owned(),
        })
    }

    fn number<'p>(&self, text: &str, points: &'p [Target]) -> Result<Option<&'p Target>, RowFault> {
        if text.is_empty() {
            return Ok(None);
        }
        let number = self
            .numbering
            .number(text)
            .map_err(|e| ("number", e.to_string()))?;
        let point = points.iter().find(|point| point.number == number);
        point
            .map(Some)
            .ok_or_else(|| ("number", "the case has no such number".into()))
    }

    /// The day where the person called is: in the zones of the number, or of every own number of the debtor. It ends now
    /// at the latest, for nobody can tell of calls to come.
    fn day(
        &self,
        date: Date,
        at: Option<&Target>,
        points: &[Target],
    ) -> Result<(i64, i64), RowFault> {
        let own = || {
            points
                .iter()
                .filter(|point| point.relation == Relation::Debtor)
        };
        let numbers: Vec<&PhoneNumber> = match at {
            Some(point) => vec![&point.number],
            None => own().map(|point| &point.number).collect(),
        };
        let mut zones: Vec<TimeZone> = numbers
            .iter()
            .flat_map(|number| Zones::of(number).names)
            .filter_map(|name| TimeZoneDatabase::bundled().get(&name).ok())
            .collect();
        if zones.is_empty() {
            zones.push(self.zone.clone());
        }
        let began = |date: Date, zone: &TimeZone| {
            let midnight = zone.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
            Some(midnight.as_millisecond())
        };
        let wrong = || ("date", "beyond the calendar".to_owned());
        let next = date.tomorrow().map_err(|_| wrong())?;
        let first = zones.iter().filter_map(|zone| began(date, zone)).min();
        let last = zones.iter().filter_map(|zone| began(next, zone)).max();
        let (first, last) = first.zip(last).ok_or_else(wrong)?;
        if first > self.now_ms {
            return Err(("date", "this day has not begun".into()));
        }
        Ok((first, last.min(self.now_ms + 1)))
    }
}
