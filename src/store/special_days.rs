//! Special days: public holidays and other days with hours of their own, by region. Imported from files.

use super::{Error, Result, Tx, db::Row};
use crate::policy::{Span, SpecialDay};

statements! {
    FORGET("replace the special days of a year") =
        "DELETE FROM special_days WHERE region = $1 AND on_date >= $2 AND on_date <= $3";
    OF_YEAR("look up the special days of a year") =
        "SELECT region, on_date, name, hours FROM special_days WHERE region = $1 AND on_date >= $2 AND on_date <= $3
         ORDER BY on_date";
    REMOVE("remove a special day") = "DELETE FROM special_days WHERE region = $1 AND on_date = $2";
    INSERT("enter a special day") =
        "INSERT INTO special_days (region, on_date, name, hours, import_id) VALUES ($1, $2, $3, $4, $5)";
    /// A number does not say in which subdivision it rings, so those of the whole country count.
    AROUND("look up special days") =
        "SELECT region, on_date, name, hours FROM special_days
         WHERE (region = $1 OR (region > $1 AND substr(region, 1, 3) = $1 || '-')) AND on_date >= $2 AND on_date <= $3
         ORDER BY on_date, region";
    LIST("list the special days") =
        "SELECT region, on_date, name, hours FROM special_days WHERE ($1 = '' OR region = $1) AND on_date >= $2
         ORDER BY region, on_date";
}

/// Puts these days in the place of what is known of the region in their years.
pub async fn replace(
    tx: &mut Tx,
    region: &str,
    days: &[SpecialDay],
    import: Option<i64>,
) -> Result<()> {
    let mut years: Vec<i16> = days.iter().map(|day| day.date.year()).collect();
    years.sort_unstable();
    years.dedup();
    for year in years {
        tx.execute(&FORGET, of(region, year)).await?;
    }
    for day in days {
        let hours: Vec<String> = day.hours.iter().map(Span::to_string).collect();
        let args = args![
            region,
            day.date.to_string(),
            &day.name,
            serde_json::json!(hours).to_string(),
            import
        ];
        tx.execute(&INSERT, args).await?;
    }
    Ok(())
}

/// The arguments that name a year of a region.
fn of(region: &str, year: i16) -> Vec<super::sql::Value> {
    args![
        region,
        format!("{year:04}-01-01"),
        format!("{year:04}-12-31")
    ]
}

/// The special days of a region itself, without its subdivisions, in a year.
pub async fn of_year(tx: &mut Tx, region: &str, year: i16) -> Result<Vec<SpecialDay>> {
    tx.fetch_all(&OF_YEAR, of(region, year))
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Makes a special day one like others again.
pub async fn remove(tx: &mut Tx, region: &str, date: jiff::civil::Date) -> Result<()> {
    tx.execute(&REMOVE, args![region, date.to_string()])
        .await
        .map(drop)
}

/// The special days of a region and its subdivisions from one day to another, both included.
pub async fn around(
    tx: &mut Tx,
    region: &str,
    from: jiff::civil::Date,
    to: jiff::civil::Date,
) -> Result<Vec<SpecialDay>> {
    tx.fetch_all(&AROUND, args![region, from.to_string(), to.to_string()])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// The special days of a region, or of all, from a day on.
pub async fn list(
    tx: &mut Tx,
    region: Option<&str>,
    from: jiff::civil::Date,
) -> Result<Vec<SpecialDay>> {
    tx.fetch_all(&LIST, args![region.unwrap_or(""), from.to_string()])
        .await?
        .iter()
        .map(read)
        .collect()
}

fn read(row: &Row) -> Result<SpecialDay> {
    let unknown = |column| Error::unknown("look up special days", column);
    Ok(SpecialDay {
        region: row.get("region")?,
        date: row
            .get::<String>("on_date")?
            .parse()
            .map_err(|_| unknown("special_days.on_date"))?,
        name: row.get("name")?,
        hours: serde_json::from_str(&row.get::<String>("hours")?)
            .map_err(|_| unknown("special_days.hours"))?,
    })
}
