//! Import of special days: public holidays, and weekends that are worked instead.

use std::path::Path;

use super::{
    By, Refused,
    table::{Column, Faults, rows},
};
use crate::{
    policy::{Span, SpecialDay},
    store::{
        Db,
        access::{self, Access},
        special_days,
    },
};

const COLUMNS: [Column; 3] = [
    Column::needed("date"),
    Column::needed("name"),
    Column::needed("hours"),
];

/// Reads a file and puts its days in the place of what is known of their years; gives how many. All rows or none.
///
/// # Errors
/// [`Refused::Invalid`] with the faults of the file, by line and column.
pub async fn import(db: &Db, file: &Path, region: &str, by: By<'_>) -> Result<usize, Refused> {
    let region = region_of(region)?;
    let days = read(file, &region)?;
    let mut tx = db.begin().await?;
    special_days::replace(&mut tx, &region, &days, None).await?;
    let access = Access {
        at_ms: by.now_ms,
        actor: by.actor,
        action: "special_days.import",
        object: &region,
        client_id: None,
        detail: serde_json::json!({ "days": days.len() }),
    };
    access::log(&mut tx, &access).await?;
    tx.commit().await?;
    Ok(days.len())
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
