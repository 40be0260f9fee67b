//! The catalogue of reports: each is a table with the meaning of its figures and one SQL query that reproduces it.
//!
//! A report reads what is quickest (the roll-ups, where there are some); its query counts anew from the facts, so that the
//! two prove each other (`src/store/tests/reports.rs` runs every query on both databases). Only the words of [`COMPUTED`] are
//! not in a query: they follow from the other columns, by `docs/figures.md`.
//! Never decides which role may see a report: that is `api/reports.rs`.
//!
//! Read next: [`read`], then `calls`, on which most reports stand, then any report; `shown` writes them out.

pub(super) mod caller_ids;
pub(super) mod calls;
mod causes;
pub(super) mod connect_rate;
mod day_sheet;
mod first_calls;
mod heat_map;
mod promises;
mod recovery;
mod refusals;
pub(crate) mod shown;
mod summaries;

use std::collections::BTreeSet;

use jiff::{civil::Date, tz::TimeZone};

use super::{
    definitions::{DEFINITIONS, Definition},
    report::Rate,
};
use crate::{
    export::Cell,
    ids::ClientId,
    store::{
        self, Dialect, Tx, agent_days, clients, corrections,
        figures::{Axis, Over},
        sql::words,
        users::Scope,
    },
};

words! {
    /// A report of the catalogue.
    pub enum Name {
        /// By any one or two axes, over time.
        ConnectRate = "connect-rate",
        /// Hour of the day by weekday.
        HeatMap = "heat-map",
        /// Per batch (T10).
        FirstCalls = "first-calls",
        /// What agents' days were made of.
        DaySheet = "day-sheet",
        /// Why attempts ended, and whose fault that is.
        Causes = "causes",
        /// Whether a number of ours is answered less than before.
        CallerIds = "caller-ids",
        /// How promises to pay were kept.
        Promises = "promises",
        /// What came back of what was placed, and for what fee (C16).
        Recovery = "recovery",
        /// One line a team.
        Teams = "teams",
        /// One line a client.
        Clients = "clients",
        /// What the rules did not allow.
        Refusals = "refusals",
    }
}

/// Columns that follow from others and the zone shown to operators, and are not in the query.
pub const COMPUTED: [&str; 2] = ["came", "went"];
/// Days of the longest period: beyond it the query of a day sheet gets too long to be read.
const LONGEST_DAYS: i64 = 1_100;
/// Days of grace at most.
const MOST_GRACE: u16 = 90;

impl Name {
    /// What it shows, in one sentence.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::ConnectRate => {
                "Attempts, connected volume and rates by any one or two of: hour, day, week, month, client, batch, team, agent, bucket, relation, number-kind, caller-id, trunk, cause, disposition; and over days, weeks or months"
            }
            Self::HeatMap => "Connect rate by weekday (1 is Monday) and hour of the day",
            Self::FirstCalls => "First calls of each batch and what came of them",
            Self::DaySheet => {
                "Each agent's day: when he came and went, logged in, ready, talk, wrap-up, breaks by reason, occupancy"
            }
            Self::Causes => {
                "Why attempts ended: our own faults, the trunk's, the callee's and the caller's apart"
            }
            Self::CallerIds => {
                "Connect rate of each caller ID in the last 7 days against the days before, with an alarm where it fell"
            }
            Self::Promises => "Promises to pay that came due, and how many were kept",
            Self::Recovery => {
                "Repaid within three months against placed, by contract and overdue bucket, with standing and fee"
            }
            Self::Teams => {
                "One line a team: calls, rates, time logged in, occupancy, handling time"
            }
            Self::Clients => "One line a client: calls, rates, refusals, promises",
            Self::Refusals => "Calls that the rules did not allow, by client and reason",
        }
    }

    /// Whether it can be limited to one client. Agents' time cannot: nobody is logged in for one client.
    #[must_use]
    pub const fn by_client(self) -> bool {
        !matches!(self, Self::DaySheet | Self::Teams)
    }

    /// Days of the period if none is told.
    #[must_use]
    pub const fn usual_days(self) -> i32 {
        match self {
            Self::CallerIds => 28,
            Self::Promises | Self::Recovery => 92,
            _ => 1,
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Which report.
    pub name: Name,
    /// First day, included.
    pub from: Date,
    /// Last day, included.
    pub to: Date,
    /// First axis, of `connect-rate`; by day if neither this nor `over` is told.
    pub by: Option<Axis>,
    /// Second axis, of `connect-rate`.
    pub and: Option<Axis>,
    /// The time over which these are shown, of `connect-rate`.
    pub over: Option<Over>,
    /// Code of the client to which it is limited.
    pub client: Option<String>,
    /// Days of grace, of `promises`; none if not told.
    pub grace_days: Option<u16>,
}

impl Asked {
    /// A report over its period: `to` is today if not told, `from` so much earlier as is usual.
    #[must_use]
    pub fn new(name: Name, from: Option<Date>, to: Option<Date>, today: Date) -> Asked {
        let to = to.or(from.filter(|from| *from > today)).unwrap_or(today);
        let earlier = jiff::Span::new().days(name.usual_days() - 1);
        let from = from.unwrap_or_else(|| to.checked_sub(earlier).unwrap_or(to));
        Asked {
            name,
            from,
            to,
            by: None,
            and: None,
            over: None,
            client: None,
            grace_days: None,
        }
    }

    /// The axes, in the order of the columns.
    fn axes(&self) -> Vec<Axis> {
        let over = self.over.map(Axis::from);
        let by = self.by.or(over.is_none().then_some(Axis::Day));
        [by, self.and, over].into_iter().flatten().collect()
    }
}

/// For whom and when it is asked.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Zone of the days that are not local to the person called.
    pub zone: &'a TimeZone,
    /// Today, in that zone.
    pub today: Date,
    /// Whose figures may be seen.
    pub scope: &'a Scope,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It was asked for in a way that does not fit.
    #[error("{0}")]
    Unfit(String),
    /// It would show more than may be seen.
    #[error("{0}")]
    Forbidden(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// A report.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Which one.
    pub name: Name,
    /// First day, included.
    pub from: String,
    /// Last day, included.
    pub to: String,
    /// Code of the client to which it is limited.
    pub client: Option<String>,
    /// Names of the columns.
    pub heads: Vec<String>,
    /// The lines, in the order of the query.
    pub rows: Vec<Vec<Cell>>,
    /// All lines together, where that means something.
    pub total: Option<Vec<Cell>>,
    /// What the figures mean.
    pub definitions: Vec<&'static Definition>,
    /// What has to be known to read it: limits, thresholds, days left out.
    pub notes: Vec<String>,
    /// Corrections made to these days after they were sealed. The figures hold them.
    pub corrections: i64,
    /// One query that reproduces the lines, in the dialect of the database that was asked. What it is about stands in a
    /// comment at its end, for what begins with `-` is no query to a command line.
    pub sql: String,
    /// The query that reproduces the total, where there is one.
    pub sql_of_total: Option<String>,
}

/// The table of a report with what is said about it, before it becomes a [`Report`].
struct Body {
    heads: Vec<String>,
    rows: Vec<Vec<Cell>>,
    total: Option<Vec<Cell>>,
    meanings: Vec<&'static str>,
    notes: Vec<String>,
    /// Whether it stands on attempts, whose days are sealed.
    sealed: bool,
    sql: String,
    sql_of_total: Option<String>,
}

/// The period and client, as the reports ask the store.
pub(super) struct Within<'a> {
    from: Date,
    to: Date,
    from_text: &'a str,
    to_text: &'a str,
    client: Option<ClientId>,
    zone: &'a TimeZone,
    today: Date,
    dialect: Dialect,
}

impl<'a> Within<'a> {
    /// These days over all clients, for what asks for nothing else of the frame.
    pub(super) fn days(
        (from, to): (Date, Date),
        (from_text, to_text): (&'a str, &'a str),
        zone: &'a TimeZone,
        dialect: Dialect,
    ) -> Self {
        Self {
            from,
            to,
            from_text,
            to_text,
            client: None,
            zone,
            today: to,
            dialect,
        }
    }

    /// When the period begins and ends in the zone shown to operators, in milliseconds UTC.
    fn ms(&self) -> Result<(i64, i64), ReportError> {
        let begin = agent_days::midnight(self.from, self.zone);
        let end = self.to.tomorrow().ok();
        let end = end.and_then(|day| agent_days::midnight(day, self.zone));
        begin
            .zip(end)
            .ok_or_else(|| ReportError::Unfit("these days are beyond the calendar".into()))
    }

    /// Sorts texts by their bytes, as this code does, whatever the locale of the database.
    fn collate(&self) -> &'static str {
        match self.dialect {
            Dialect::Sqlite => "",
            Dialect::Postgres => " COLLATE \"C\"",
        }
    }
}

/// Reads a report at one moment.
///
/// # Errors
/// [`ReportError`]: it does not fit, it is not for this scope, or the database.
pub async fn read(tx: &mut Tx, asked: &Asked, frame: Frame<'_>) -> Result<Report, ReportError> {
    fits(asked)?;
    let (client, code) = limit(tx, asked, frame.scope).await?;
    let (from_text, to_text) = (asked.from.to_string(), asked.to.to_string());
    let within = Within {
        from: asked.from,
        to: asked.to,
        from_text: &from_text,
        to_text: &to_text,
        client,
        zone: frame.zone,
        today: frame.today,
        dialect: tx.dialect(),
    };
    let body = match asked.name {
        Name::ConnectRate => connect_rate::read(tx, &asked.axes(), &within).await?,
        Name::HeatMap => heat_map::read(tx, &within).await?,
        Name::FirstCalls => first_calls::read(tx, &within).await?,
        Name::DaySheet => day_sheet::read(tx, &within).await?,
        Name::Causes => causes::read(tx, &within).await?,
        Name::CallerIds => caller_ids::read(tx, &within).await?,
        Name::Promises => promises::read(tx, asked.grace_days.unwrap_or(0), &within).await?,
        Name::Recovery => recovery::read(tx, &within).await?,
        Name::Teams => summaries::teams(tx, &within).await?,
        Name::Clients => summaries::clients(tx, &within).await?,
        Name::Refusals => refusals::read(tx, &within).await?,
    };
    let corrections = match body.sealed {
        true => corrections::count(tx, &from_text, &to_text).await?,
        false => 0,
    };
    // A code has no line breaks; what else it holds is a comment here.
    let one_client = code.as_ref().map(|_| ", one client").unwrap_or_default();
    let with_comment = |sql: String, what: &str| {
        format!(
            "{sql}\n-- ringfence report {}{what}, {from_text} to {to_text}{one_client}; low and high: Wilson's interval at 95 %",
            asked.name,
        )
    };
    let sql = with_comment(body.sql, "");
    let sql_of_total = body.sql_of_total.map(|sql| with_comment(sql, ", total"));
    Ok(Report {
        name: asked.name,
        from: from_text,
        to: to_text,
        client: code,
        heads: body.heads,
        rows: body.rows,
        total: body.total,
        definitions: DEFINITIONS
            .iter()
            .filter(|d| body.meanings.contains(&d.name))
            .collect(),
        notes: body.notes,
        corrections,
        sql,
        sql_of_total,
    })
}

/// What can be refused without the database.
fn fits(asked: &Asked) -> Result<(), ReportError> {
    let unfit = |text: String| Err(ReportError::Unfit(text));
    let Asked { name, from, to, .. } = asked;
    if to < from {
        return unfit(format!("to: {to} is before from: {from}"));
    }
    // Sums of calls may be asked of all time; nothing of their query grows with the days.
    if *name != Name::ConnectRate && i64::from((*to - *from).get_days()) >= LONGEST_DAYS {
        return unfit(format!(
            "{from} to {to} is too long: ask for at most {LONGEST_DAYS} days"
        ));
    }
    let told = [asked.by, asked.and, asked.over.map(Axis::from)];
    if *name != Name::ConnectRate && told.iter().any(Option::is_some) {
        return unfit(format!(
            "{name} has columns of its own; by, and, over are for connect-rate"
        ));
    }
    let axes = asked.axes();
    let distinct: BTreeSet<Axis> = axes.iter().copied().collect();
    if distinct.len() < axes.len() {
        return unfit("two of by, and, over are the same; tell each thing once".into());
    }
    if *name != Name::Promises && asked.grace_days.is_some() {
        return unfit(format!("{name} knows no grace; it is for promises"));
    }
    if asked.grace_days.is_some_and(|days| days > MOST_GRACE) {
        return unfit(format!("grace: at most {MOST_GRACE} days"));
    }
    Ok(())
}

/// The client to which the report is limited, and its code.
async fn limit(
    tx: &mut Tx,
    asked: &Asked,
    scope: &Scope,
) -> Result<(Option<ClientId>, Option<String>), ReportError> {
    if !asked.name.by_client() && (asked.client.is_some() || *scope != Scope::All) {
        let why = format!(
            "{} cannot be limited to a client, for agents' time belongs to none",
            asked.name
        );
        return Err(match scope {
            Scope::All => ReportError::Unfit(why),
            Scope::Clients(_) => {
                ReportError::Forbidden(format!("{why}; it needs an account that sees all clients"))
            }
        });
    }
    let found = match (&asked.client, scope) {
        (None, Scope::All) => return Ok((None, None)),
        (None, Scope::Clients(ids)) => {
            let [only] = ids.as_slice() else {
                return Err(ReportError::Forbidden(
                    "figures over all clients need an account that sees all clients; name one of yours with client"
                        .into(),
                ));
            };
            clients::by_id(tx, *only).await?
        }
        (Some(code), _) => {
            let found = clients::by_code(tx, code).await?;
            found.filter(|client| scope.includes(client.id))
        }
    };
    // A client that the account does not see is answered as one that does not exist.
    let client = found.ok_or_else(|| {
        ReportError::Unfit(
            "client: there is no client of this code, or not for this account".into(),
        )
    })?;
    Ok((Some(client.id), Some(client.code)))
}

/// Names of columns.
fn heads(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A rate, and the ends of its interval.
fn with_interval(rate: Option<Rate>) -> [Cell; 3] {
    [
        Cell::Rate(rate.map(|r| r.rate)),
        Cell::Rate(rate.map(|r| r.low)),
        Cell::Rate(rate.map(|r| r.high)),
    ]
}

/// A share of a sum, nothing of nothing.
fn share(part: i64, whole: i64) -> Cell {
    // Exact up to 2^53, far beyond what anybody counts.
    Cell::Rate((whole != 0).then(|| part as f64 / whole as f64))
}

/// A number, or nothing.
fn number(v: Option<i64>) -> Cell {
    v.map_or(Cell::Empty, Cell::Int)
}
