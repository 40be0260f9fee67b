//! Special days: public holidays, and weekends that are worked instead. Imported from files, and removed.

use std::path::Path;

use super::{
    By, Refused,
    table::{Column, Faults, rows},
};
use crate::{
    policy::{Span, SpecialDay},
    store::{
        Db, Tx,
        access::{self, Access},
        special_days,
    },
};

const COLUMNS: [Column; 3] = [
    Column::needed("date"),
    Column::needed("name"),
    Column::needed("hours"),
];

/// What became of a file of special days.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    /// Days of the file.
    pub days: usize,
    /// Of these, not known before.
    pub new: usize,
    /// Known with another name or other hours.
    pub changed: usize,
    /// Known as they are.
    pub same: usize,
    /// Known days of the same years that the file does not hold.
    pub removed: Vec<SpecialDay>,
}

impl Imported {
    fn of(known: &[SpecialDay], days: &[SpecialDay]) -> Self {
        let mut done = Self {
            days: days.len(),
            ..Self::default()
        };
        for day in days {
            match known.iter().find(|known| known.date == day.date) {
                None => done.new += 1,
                Some(known) if known == day => done.same += 1,
                Some(_) => done.changed += 1,
            }
        }
        let kept = |known: &&SpecialDay| days.iter().any(|day| day.date == known.date);
        done.removed = known.iter().filter(|known| !kept(known)).cloned().collect();
        done
    }
}

/// Days named in an answer; more are counted.
const NAMED: usize = 20;

/// Days as people read them: dates with their names.
#[must_use]
pub fn named(days: &[SpecialDay]) -> String {
    let mut words: Vec<String> = days
        .iter()
        .take(NAMED)
        .map(|day| format!("{} {}", day.date, day.name))
        .collect();
    if days.len() > NAMED {
        words.push(format!("and {} more", days.len() - NAMED));
    }
    words.join(", ")
}

/// Reads a file and puts its days in the place of what is known of their years; says what that came to. All rows or none. A
/// day that falls away opens its hours again: without `replace` that is refused.
///
/// # Errors
/// [`Refused::Invalid`] with the faults of the file, by line and column; [`Refused::Conflict`] with the days that would fall
/// away.
pub async fn import(
    db: &Db,
    file: &Path,
    region: &str,
    replace: bool,
    by: By<'_>,
) -> Result<Imported, Refused> {
    let region = region_of(region)?;
    let days = read(file, &region)?;
    let mut tx = db.begin().await?;
    let mut known = Vec::new();
    for year in years(&days) {
        known.extend(special_days::of_year(&mut tx, &region, year).await?);
    }
    let done = Imported::of(&known, &days);
    if !replace && !done.removed.is_empty() {
        return Err(Refused::Conflict(format!(
            "it leaves out {} days of {region} that are known: {}; add them to the file, or give --replace if they shall be \
             days like others again",
            done.removed.len(),
            named(&done.removed)
        )));
    }
    special_days::replace(&mut tx, &region, &days, None).await?;
    let detail = serde_json::json!({
        "days": done.days, "new": done.new, "changed": done.changed, "removed": dates(&done.removed),
    });
    log(&mut tx, "special_days.import", &region, detail, by).await?;
    tx.commit().await?;
    Ok(done)
}

/// Which days to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// These.
    Dates(Vec<jiff::civil::Date>),
    /// All of a year.
    Year(i16),
}

/// Removes special days of a region, so that they are days like others again; gives those that were there. All or none.
///
/// # Errors
/// [`Refused::Unknown`] if one of them is no special day.
pub async fn remove(
    db: &Db,
    region: &str,
    which: &Which,
    by: By<'_>,
) -> Result<Vec<SpecialDay>, Refused> {
    let region = region_of(region)?;
    let mut tx = db.begin().await?;
    let mut gone = Vec::new();
    match which {
        Which::Year(year) => gone.extend(special_days::of_year(&mut tx, &region, *year).await?),
        Which::Dates(dates) => {
            for date in dates {
                let known = special_days::of_year(&mut tx, &region, date.year()).await?;
                let day = known.into_iter().find(|day| day.date == *date);
                gone.push(day.ok_or_else(|| {
                    Refused::Unknown(format!("{date} is no special day of {region}"))
                })?);
            }
        }
    }
    if gone.is_empty() {
        return Err(Refused::Unknown(format!(
            "{region} has no special days in that year"
        )));
    }
    for day in &gone {
        special_days::remove(&mut tx, &region, day.date).await?;
    }
    let detail = serde_json::json!({ "removed": dates(&gone) });
    log(&mut tx, "special_days.remove", &region, detail, by).await?;
    tx.commit().await?;
    Ok(gone)
}

fn years(days: &[SpecialDay]) -> Vec<i16> {
    let mut years: Vec<i16> = days.iter().map(|day| day.date.year()).collect();
    years.sort_unstable();
    years.dedup();
    years
}

fn dates(days: &[SpecialDay]) -> Vec<String> {
    days.iter().map(|day| day.date.to_string()).collect()
}

async fn log(
    tx: &mut Tx,
    action: &'static str,
    region: &str,
    detail: serde_json::Value,
    by: By<'_>,
) -> Result<(), Refused> {
    let access = Access {
        at_ms: by.now_ms,
        actor: by.actor,
        action,
        object: region,
        client_id: None,
        detail,
    };
    Ok(access::log(tx, &access).await?)
}

fn region_of(text: &str) -> Result<String, Refused> {
    let text = text.to_ascii_uppercase();
    let (country, subdivision) = text.split_once('-').unwrap_or((&text, "A"));
    let fits = crate::phone::Region::parse(country).is_ok()
        && (1..=3).contains(&subdivision.len())
        && subdivision.bytes().all(|b| b.is_ascii_alphanumeric());
    if fits {
        return Ok(text);
    }
    Err(Refused::Invalid(
        "region: two letters of a country such as CN, or country and subdivision such as CN-XJ"
            .into(),
    ))
}

fn read(file: &Path, region: &str) -> Result<Vec<SpecialDay>, Refused> {
    let mut faults = Faults::default();
    let mut days: Vec<SpecialDay> = Vec::new();
    for row in rows(file, &COLUMNS)? {
        let date: Option<jiff::civil::Date> = row.cell(0).parse().ok();
        let spans: Result<Vec<Span>, &str> = row
            .cell(2)
            .split([';', ',', '；'])
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::parse)
            .collect();
        let name = row.cell(1);
        let hours = spans.unwrap_or_else(|problem| {
            faults.add(row.line, Some("hours"), problem);
            Vec::new()
        });
        if name.is_empty() || name.chars().count() > 60 {
            faults.add(row.line, Some("name"), "1 to 60 characters");
        }
        let Some(date) = date else {
            faults.add(row.line, Some("date"), "write a day as 2027-02-06");
            continue;
        };
        if days.iter().any(|day| day.date == date) {
            faults.add(row.line, Some("date"), "the day stands in the file twice");
        }
        days.push(SpecialDay {
            region: region.to_owned(),
            date,
            name: name.to_owned(),
            hours,
        });
    }
    if days.is_empty() && faults.listed.is_empty() {
        faults.add(1, None, "the file has no days");
    }
    faults.refuse()?;
    Ok(days)
}
