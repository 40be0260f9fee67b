//! The work clocks: a new case is worked within 2 hours and called within 2 days, notes are written on their day, major
//! matters are reported within 30 minutes (C18, C19, T10). The limits are configuration (`[floor]`).

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::{
    config::Floor,
    store::{
        self, Tx,
        users::User,
        work_clocks::{self, LateCase, Whose},
    },
};

/// A work clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// A new case is worked.
    NewCase,
    /// A new case is called for the first time.
    FirstCall,
    /// The note of a conversation is written.
    Note,
    /// A major matter is reported.
    MajorMatter,
}

impl Clock {
    /// Every clock.
    pub const ALL: &'static [Self] = &[
        Self::NewCase,
        Self::FirstCall,
        Self::Note,
        Self::MajorMatter,
    ];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewCase => "new_case",
            Self::FirstCall => "first_call",
            Self::Note => "note",
            Self::MajorMatter => "major_matter",
        }
    }
}

impl std::str::FromStr for Clock {
    type Err = String;

    /// The message lists the words that are allowed.
    fn from_str(word: &str) -> Result<Self, String> {
        let word = word.replace('-', "_");
        let found = Self::ALL.iter().copied().find(|c| c.as_str() == word);
        found.ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().map(|c| c.as_str()).collect();
            format!("must be one of: {}", words.join(", "))
        })
    }
}

/// Something that has passed its clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// Which clock.
    pub clock: Clock,
    /// Id of the case, note or major matter.
    pub id: i64,
    /// Code of the client.
    pub client: String,
    /// The client's case number.
    pub reference: Option<String>,
    /// Employee number of who has it.
    pub agent: Option<String>,
    /// Since when the clock runs.
    pub since_ms: i64,
    /// When it was due.
    pub due_ms: i64,
}

/// Whose lists, at which instant, by which limits.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who asks (`None`: the command line).
    pub viewer: Option<&'a User>,
    /// Code of a client; empty for all.
    pub client: &'a str,
    /// Employee number; empty for all.
    pub agent: &'a str,
    /// Now.
    pub now_ms: i64,
    /// Zone of days shown to operators.
    pub zone: &'a TimeZone,
    /// The limits.
    pub limits: &'a Floor,
    /// At most so many of each clock.
    pub limit: u32,
}

/// What has passed these clocks, clock by clock, the oldest first.
///
/// # Errors
/// The database.
pub async fn list(
    tx: &mut Tx,
    clocks: &[Clock],
    asked: &Asked<'_>,
) -> Result<Vec<Late>, store::Error> {
    let whose = Whose {
        viewer: asked.viewer,
        client: asked.client,
        agent: asked.agent,
    };
    let mut all = Vec::new();
    for &clock in clocks {
        match clock {
            Clock::NewCase => {
                let limit_ms = ms(asked.limits.new_case_s);
                let late =
                    work_clocks::unworked(tx, &whose, asked.now_ms - limit_ms, asked.limit).await?;
                all.extend(late.into_iter().map(|one| case(clock, one, limit_ms)));
            }
            Clock::FirstCall => {
                let limit_ms = ms(asked.limits.first_call_s);
                let late =
                    work_clocks::uncalled(tx, &whose, asked.now_ms - limit_ms, asked.limit).await?;
                all.extend(late.into_iter().map(|one| case(clock, one, limit_ms)));
            }
            Clock::Note => {
                let today = day(asked.now_ms, asked.zone);
                let late = work_clocks::unwritten(tx, &whose, &today, asked.limit).await?;
                all.extend(late.into_iter().map(|one| Late {
                    clock,
                    id: one.note.get(),
                    client: one.client,
                    reference: Some(one.reference),
                    agent: one.agent,
                    since_ms: one.since_ms,
                    due_ms: day_ends(&one.local_date, asked.zone).unwrap_or(one.since_ms),
                }));
            }
            Clock::MajorMatter if asked.agent.is_empty() => {
                let limit_ms = ms(asked.limits.major_matter_s);
                let before_ms = asked.now_ms - limit_ms;
                let waiting =
                    store::major_matters::waiting(tx, &whose, before_ms, asked.limit).await?;
                all.extend(waiting.into_iter().map(|one| Late {
                    clock,
                    id: one.id,
                    client: one.client_code,
                    reference: None,
                    agent: None,
                    since_ms: one.occurred_at_ms,
                    due_ms: one.occurred_at_ms.saturating_add(limit_ms),
                }));
            }
            // A matter belongs to no agent.
            Clock::MajorMatter => {}
        }
    }
    Ok(all)
}

fn case(clock: Clock, one: LateCase, limit_ms: i64) -> Late {
    Late {
        clock,
        id: one.case.get(),
        client: one.client,
        reference: Some(one.reference),
        agent: one.agent,
        since_ms: one.since_ms,
        due_ms: one.since_ms.saturating_add(limit_ms),
    }
}

fn ms(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

/// The day of an instant, `YYYY-MM-DD`.
fn day(at_ms: i64, zone: &TimeZone) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    zone.to_datetime(at).date().to_string()
}

fn day_ends(day: &str, zone: &TimeZone) -> Option<i64> {
    let tomorrow = day.parse::<Date>().ok()?.tomorrow().ok()?;
    begins(tomorrow, zone).ok()
}

fn begins(day: Date, zone: &TimeZone) -> Result<i64, jiff::Error> {
    let midnight = day.to_datetime(jiff::civil::Time::midnight());
    Ok(zone.to_timestamp(midnight)?.as_millisecond())
}

/// The instants between which days lie, the second one excluded; without a day, as far as time goes.
///
/// # Errors
/// Days beyond the calendar, or in the wrong order.
pub fn span(from: Option<Date>, to: Option<Date>, zone: &TimeZone) -> Result<(i64, i64), String> {
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return Err(format!("{from} is after {to}"));
    }
    let at = |day: Date| begins(day, zone).map_err(|e| e.to_string());
    let from_ms = from.map_or(Ok(i64::MIN), at)?;
    let until_ms = match to {
        Some(to) => at(to.tomorrow().map_err(|e| e.to_string())?)?,
        None => i64::MAX,
    };
    Ok((from_ms, until_ms))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn days_lie_between_their_midnights_where_operators_are() {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        let day: Date = "2026-11-23".parse().unwrap();
        let (from, until) = span(Some(day), Some(day), &zone).unwrap();
        assert_eq!(until - from, 86_400_000);
        assert_eq!(super::day(from, &zone), "2026-11-23");
        assert_eq!(super::day(until, &zone), "2026-11-24");
        assert_eq!(day_ends("2026-11-23", &zone), Some(until));
        let tomorrow = day.tomorrow().unwrap();
        assert!(span(Some(tomorrow), Some(day), &zone).is_err());
        assert_eq!(span(None, None, &zone), Ok((i64::MIN, i64::MAX)));
    }

    #[test]
    fn a_clock_is_known_by_its_word() {
        for clock in Clock::ALL {
            assert_eq!(clock.as_str().parse(), Ok(*clock));
        }
        assert!("moon".parse::<Clock>().unwrap_err().contains("first_call"));
    }
}
