//! Scheduled reports: whoever moves the time of a due one on writes it, on one node, into its folder.
//!
//! A file gets its name when it is whole; until then it has another, which begins with a dot. CSV has what explains it in a
//! file of its own beside it, which is there first. What was missed while no
//! node ran is caught up once, for the last time at which it was due. Never writes outside of `reports.dir`.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufWriter, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};
use tokio_util::sync::CancellationToken;

use super::{
    reports::{self, Frame, Report},
    timetable::{Planned, Timetable},
};
use crate::{
    clock::Clock,
    export::{ExportError, Format},
    store::{
        self, Db,
        report_schedules::{self, Schedule},
        users::Scope,
    },
};

/// How often it is looked for reports that are due.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// What the name of the file ends in that explains a CSV.
const ABOUT: &str = ".about.txt";
/// Letters of the longest name.
const LONGEST_NAME: usize = 64;

/// What the scheduled reports work with.
#[derive(Debug, Clone)]
pub struct Writer {
    /// The database.
    pub db: Db,
    /// Time.
    pub clock: Clock,
    /// Zone in which times and days are meant.
    pub zone: TimeZone,
    /// The folder below which everything is written.
    pub root: PathBuf,
    /// This node.
    pub node: String,
}

/// Why a report was not written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    /// The stored schedule cannot be read.
    #[error("the schedule cannot be read: {0}; remove it and add it again")]
    Stored(String),
    /// The report cannot be had.
    #[error(transparent)]
    Report(#[from] reports::ReportError),
    /// The folder is not below the one of the configuration.
    #[error("{0} is not below reports.dir: a link leads out of it")]
    Outside(String),
    /// The file cannot be written.
    #[error("cannot write {path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be written in this form.
    #[error(transparent)]
    Export(#[from] ExportError),
}

impl From<store::Error> for WriteError {
    fn from(error: store::Error) -> Self {
        Self::Report(error.into())
    }
}

/// A schedule's name becomes part of a file's.
///
/// # Errors
/// What it may be.
pub fn checked_name(name: &str) -> Result<&str, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(fits) {
        Ok(name)
    } else {
        Err(format!(
            "the name must be 1 to {LONGEST_NAME} letters, digits, - and _, for files are called by it"
        ))
    }
}

/// A folder below `root`, told relative to it or whole; the way down from `root`.
///
/// # Errors
/// It is not below.
pub fn below<'a>(root: &Path, dir: &'a Path) -> Result<&'a Path, String> {
    let down = dir.strip_prefix(root).unwrap_or(dir);
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    if down.components().all(plain) && down.to_str().is_some() {
        Ok(down)
    } else {
        Err(format!(
            "{} is not below reports.dir, {}: name a folder in it",
            dir.display(),
            root.display()
        ))
    }
}

impl Writer {
    /// Writes what is due, now and every twenty seconds, until told to stop.
    pub async fn keep(self, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut told = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => {}
            }
            match self.once().await {
                Ok(_) => told = false,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%error, "scheduled reports cannot be looked after; trying on");
                    }
                }
            }
        }
    }

    /// One round: writes every report that is due and that no other node took. Returns how many were written. What goes
    /// wrong with one of them stands in its `last_error`, in the log and in a metric.
    ///
    /// # Errors
    /// The database.
    pub async fn once(&self) -> Result<usize, store::Error> {
        let mut tx = self.db.read().await?;
        let due = report_schedules::due(&mut tx, self.clock.wall_ms()).await?;
        tx.rollback().await?;
        let mut written = 0;
        for schedule in due {
            let now_ms = self.clock.wall_ms();
            let times = schedule.cron.parse::<Timetable>().ok();
            let at_ms = times.as_ref().and_then(|t| t.last_ms(now_ms, &self.zone));
            let next = times.and_then(|t| t.next_ms(now_ms, &self.zone));
            let unfinished = format!("{} took it and has not finished it", self.node);
            let mut tx = self.db.begin().await?;
            // One that never comes again rests for good.
            let next = next.unwrap_or(i64::MAX);
            let ours =
                report_schedules::take(&mut tx, &schedule, next, now_ms, &unfinished).await?;
            tx.commit().await?;
            if ours && self.run(&schedule, at_ms.unwrap_or(now_ms)).await?.is_ok() {
                written += 1;
            }
        }
        Ok(written)
    }

    /// Writes the report of a schedule as if it were due at an instant, and notes how that went.
    ///
    /// # Errors
    /// The database, when the outcome is noted; otherwise the file, or what went wrong in words.
    pub async fn run(
        &self,
        schedule: &Schedule,
        due_ms: i64,
    ) -> Result<Result<PathBuf, String>, store::Error> {
        let done = self.write(schedule, due_ms).await;
        let error = done.as_ref().err().map(ToString::to_string);
        match &error {
            None => {
                metrics::counter!("ringfence_reports_written_total").increment(1);
                tracing::info!(schedule = %schedule.name, "a scheduled report is written");
            }
            Some(error) => {
                metrics::counter!("ringfence_reports_failed_total").increment(1);
                tracing::error!(schedule = %schedule.name, %error, "a scheduled report is not written; `ringfence stats schedule run` tries again");
            }
        }
        let mut tx = self.db.begin().await?;
        let now_ms = self.clock.wall_ms();
        report_schedules::done(&mut tx, schedule.id, now_ms, error.as_deref()).await?;
        tx.commit().await?;
        Ok(done.map_err(|e| e.to_string()))
    }

    async fn write(&self, schedule: &Schedule, due_ms: i64) -> Result<PathBuf, WriteError> {
        let stored = |what: &str| WriteError::Stored(what.to_owned());
        let planned: Planned =
            serde_json::from_str(&schedule.report).map_err(|_| stored("the report"))?;
        let format = Format::parse(&schedule.format).ok_or_else(|| stored("the format"))?;
        let due = Timestamp::from_millisecond(due_ms).map_err(|_| stored("the time"))?;
        let due = self.zone.to_datetime(due);
        let asked = planned.asked(due.date()).map_err(WriteError::Stored)?;
        let frame = Frame {
            zone: &self.zone,
            today: due.date(),
            scope: &Scope::All,
        };
        let mut tx = self.db.read().await?;
        let report = reports::read(&mut tx, &asked, frame).await?;
        tx.rollback().await?;
        let file = format!(
            "{}_{}_{:02}{:02}.{}",
            schedule.name,
            due.date(),
            due.hour(),
            due.minute(),
            format.as_str()
        );
        let (root, dir) = (self.root.clone(), PathBuf::from(&schedule.dir));
        let placed =
            tokio::task::spawn_blocking(move || place(&root, &dir, &file, &report, format));
        match placed.await {
            Ok(done) => done,
            Err(error) => Err(WriteError::Io {
                path: schedule.dir.clone(),
                source: std::io::Error::other(error),
            }),
        }
    }
}

/// Writes a report, and before it what explains it where the form cannot hold that.
fn place(
    root: &Path,
    dir: &Path,
    name: &str,
    report: &Report,
    format: Format,
) -> Result<PathBuf, WriteError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source| WriteError::Io { path, source }
    };
    let dir = root.join(below(root, dir).map_err(WriteError::Outside)?);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(failed(&dir))?;
    let real = dir.canonicalize().map_err(failed(&dir))?;
    if !real.starts_with(root.canonicalize().map_err(failed(root))?) {
        return Err(WriteError::Outside(dir.display().to_string()));
    }
    if format == Format::Csv {
        whole(&real, &format!("{name}{ABOUT}"), |out| {
            for line in report.explained() {
                writeln!(out, "{line}")?;
            }
            Ok(())
        })?;
    }
    whole(&real, name, |out| report.write(out, format))
}

/// Writes a file that is either not there or whole.
fn whole(
    dir: &Path,
    name: &str,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), ExportError>,
) -> Result<PathBuf, WriteError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source| WriteError::Io { path, source }
    };
    let (path, part) = (dir.join(name), dir.join(format!(".{name}.part")));
    let written = (|| {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)
            .map_err(failed(&part))?;
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush().map_err(failed(&part))?;
        out.get_ref().sync_all().map_err(failed(&part))?;
        fs::rename(&part, &path).map_err(failed(&path))?;
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(failed(dir))
    })();
    if written.is_err() {
        // It may not be there; nobody takes it for a report.
        let _ = fs::remove_file(&part);
    }
    written.map(|()| path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_folders_below_the_configured_one_are_taken() {
        let root = Path::new("/var/lib/x");
        for (dir, down) in [
            ("a/b", "a/b"),
            ("/var/lib/x/a", "a"),
            ("", ""),
            ("./a", "./a"),
        ] {
            assert_eq!(below(root, Path::new(dir)), Ok(Path::new(down)));
        }
        for dir in [
            "/etc",
            "../y",
            "a/../../y",
            "/var/lib/xy",
            "/var/lib/x/../y",
        ] {
            assert!(
                below(root, Path::new(dir))
                    .unwrap_err()
                    .contains("reports.dir"),
                "{dir}"
            );
        }
    }

    #[test]
    fn a_name_is_one_that_files_can_have() {
        assert!(checked_name("daily_7-b").is_ok());
        for name in ["", "a/b", "..", "a b", &"x".repeat(65)] {
            assert!(checked_name(name).is_err(), "{name}");
        }
    }
}
