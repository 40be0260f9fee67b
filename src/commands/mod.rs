//! Subcommands: their arguments, and what they do and print.
//!
//! `main.rs` reads the configuration, opens what a command needs and hands it in. What is printed goes to a writer,
//! errors go up to `main`, so that tests see both.

pub mod agents;
pub mod agreements;
pub mod bars;
pub mod cases;
pub mod check;
pub mod demo;
mod desk;
pub mod keys;
pub mod notes;
pub mod policy;
pub mod receipts;
pub mod recordings;
#[cfg(test)]
mod rule_tests;
pub mod serve;
pub mod stats;
pub mod stored_templates;
pub mod users;

pub use self::desk::Desk;

/// The account under which commands write to the access log.
const ACTOR: &str = "command line";

/// An empty table with these heads.
fn table<const N: usize>(heads: [&str; N]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(heads);
    table
}

/// The day of an instant in a zone, `YYYY-MM-DD`.
fn day(at_ms: i64, zone: &jiff::tz::TimeZone) -> anyhow::Result<String> {
    let at = jiff::Timestamp::from_millisecond(at_ms)?;
    Ok(zone.to_datetime(at).date().to_string())
}

/// An instant as a table shows it.
fn instant(at_ms: i64, zone: &jiff::tz::TimeZone) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(
        |_| String::new(),
        |at| {
            zone.to_datetime(at)
                .strftime("%Y-%m-%d %H:%M:%S")
                .to_string()
        },
    )
}

/// An error with its causes, each said once: many of ours repeat the system's reason in their own sentence.
#[must_use]
pub fn whole(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests;
