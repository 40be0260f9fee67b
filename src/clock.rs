//! The only reader of time: the wall clock, the monotonic clock, and whether the wall clock can be trusted.
//!
//! A call is allowed by local time, so a wrong clock is a broken rule. `clock.trust` says what counts:
//! - `kernel` (default): the kernel must call its clock synchronised (adjtimex(2); chrony with `rtcsync`,
//!   systemd-timesyncd and ntpd all tell it so). Its own bound of the error narrows the calling window; the
//!   kernel lets that bound grow by 500 ppm when no time server answers, and at 16 s calls the clock
//!   unsynchronised, which closes the window. A refused or failing read closes it too: a container without
//!   the right to read, or a unit with `ProtectClock=`, is not a synchronised clock.
//! - `host`: the operator vouches for the host's clock (a hypervisor that keeps it, for one); the kernel is not asked.
//!
//! With either, the wall clock is compared with the monotonic clock at every reading; a jump closes the window
//! until the clock has run evenly for a minute. Nothing here sets a clock, and nothing else in the daemon reads one.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::policy::Now;

/// What makes the wall clock trustworthy: `clock.trust` in the configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustMode {
    /// The kernel calls it synchronised, and it does not jump.
    #[default]
    Kernel,
    /// The operator vouches for it; only jumps are watched.
    Host,
}

/// Which clock this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockOrigin {
    /// The machine's.
    System,
    /// The practice clock of the demo: never with a real trunk.
    Practice,
    /// One that a test moves; release builds do not contain it.
    Test,
}

/// Whether the wall clock can be trusted, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ClockTrust {
    /// To within an error either way.
    Trusted {
        /// The largest error, milliseconds.
        error_ms: i64,
    },
    /// Not at all.
    Untrusted {
        /// What is wrong.
        why: Distrust,
    },
}

/// Why the wall clock cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Distrust {
    /// The kernel says that nothing keeps it right.
    Unsynchronised,
    /// The kernel does not let us ask.
    Denied,
    /// Asking failed.
    Failed {
        /// The error number of the system call.
        errno: i32,
    },
    /// It jumped against the monotonic clock, less than a minute ago.
    Jumped {
        /// By how much, milliseconds, forward positive.
        by_ms: i64,
    },
}

impl fmt::Display for Distrust {
    /// Says the cause and the remedy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const OPTION: &str = "or, if something else keeps it right, set clock.trust = \"host\"";
        match self {
            Self::Unsynchronised => write!(
                f,
                "the kernel says it is not synchronised; start chrony (with rtcsync) or systemd-timesyncd, {OPTION}"
            ),
            Self::Denied => write!(
                f,
                "the kernel's synchronisation state may not be read here; allow adjtimex (no ProtectClock=), {OPTION}"
            ),
            Self::Failed { errno } => write!(
                f,
                "reading the kernel's synchronisation state failed with error {errno}; repair that, {OPTION}"
            ),
            Self::Jumped { by_ms } => write!(
                f,
                "it jumped by {by_ms} ms; it is trusted again after {} s of even running",
                SETTLE.as_secs()
            ),
        }
    }
}

impl Distrust {
    /// The cause in Chinese.
    #[must_use]
    pub fn chinese(&self) -> String {
        match self {
            Self::Unsynchronised => "内核报告时钟未同步（clock.trust = \"kernel\"）".into(),
            Self::Denied => "无权读取内核的时钟同步状态（clock.trust = \"kernel\"）".into(),
            Self::Failed { errno } => format!("读取内核时钟同步状态失败，错误号{errno}"),
            Self::Jumped { by_ms } => {
                format!("时钟跳变{by_ms}毫秒，须平稳运行{}秒", SETTLE.as_secs())
            }
        }
    }
}

/// What the kernel says about its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelState {
    /// It is kept right, to within so many microseconds.
    Synchronised {
        /// The kernel's bound of the error, microseconds.
        max_error_us: i64,
    },
    /// Nothing keeps it right.
    Unsynchronised,
    /// We may not ask (EPERM, EACCES).
    Denied,
    /// Asking failed with this error number.
    Failed(i32),
}

impl KernelState {
    /// Asks the kernel, without changing anything.
    #[must_use]
    pub fn read() -> Self {
        // SAFETY: timex is plain data for which all zeroes is a valid value; modes = 0 asks only.
        let mut timex: libc::timex = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is valid for the whole call, and the kernel writes within the structure only.
        let state = unsafe { libc::adjtimex(&raw mut timex) };
        if state < 0 {
            return Self::from_error(&std::io::Error::last_os_error());
        }
        if state == libc::TIME_ERROR || timex.status & libc::STA_UNSYNC != 0 {
            return Self::Unsynchronised;
        }
        Self::Synchronised {
            max_error_us: timex.maxerror,
        }
    }

    fn from_error(error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Denied,
            other => Self::Failed(other.unwrap_or(0)),
        }
    }

    fn trust(self) -> ClockTrust {
        let why = match self {
            Self::Synchronised { max_error_us } => {
                let error_ms = max_error_us.max(0).saturating_add(999) / 1000;
                return ClockTrust::Trusted { error_ms };
            }
            Self::Unsynchronised => Distrust::Unsynchronised,
            Self::Denied => Distrust::Denied,
            Self::Failed(errno) => Distrust::Failed { errno },
        };
        ClockTrust::Untrusted { why }
    }
}

/// After a jump the clock has to run evenly for this long.
const SETTLE: Duration = Duration::from_secs(60);
/// The two clocks may part by this much without it being a jump...
const SLACK_MS: i64 = 1_000;
/// ...and by a thousandth of the time since they were last compared: twice what the kernel slews by.
const SLACK_PER_MILLE: i64 = 1;
/// They are compared over at most this long, so that honest slewing is never added up to a jump.
const ANCHOR_LIFE: Duration = Duration::from_secs(3600);

/// Compares wall and monotonic clock from reading to reading.
#[derive(Debug)]
struct JumpWatch {
    anchor: (i64, Instant),
    jumped: Option<(i64, Instant)>,
}

impl JumpWatch {
    fn new(wall_ms: i64, monotonic: Instant) -> Self {
        Self {
            anchor: (wall_ms, monotonic),
            jumped: None,
        }
    }

    /// Takes one reading; gives the jump that is still to be settled, in milliseconds.
    fn observe(&mut self, wall_ms: i64, monotonic: Instant) -> Option<i64> {
        let elapsed = monotonic.saturating_duration_since(self.anchor.1);
        let elapsed_ms = millis(elapsed);
        let off_ms = wall_ms.saturating_sub(self.anchor.0.saturating_add(elapsed_ms));
        let slack_ms = SLACK_MS + elapsed_ms / 1000 * SLACK_PER_MILLE;
        if off_ms.saturating_abs() > slack_ms {
            self.jumped = Some((off_ms, monotonic));
            self.anchor = (wall_ms, monotonic);
        } else if elapsed > ANCHOR_LIFE {
            self.anchor = (wall_ms, monotonic);
        }
        if let Some((_, since)) = self.jumped
            && monotonic.saturating_duration_since(since) >= SETTLE
        {
            self.jumped = None;
        }
        self.jumped.map(|(by_ms, _)| by_ms)
    }
}

/// Where readings come from.
enum Source {
    System,
    /// Runs evenly from a chosen start.
    Practice {
        start_ms: i64,
        began: Instant,
    },
    #[cfg(debug_assertions)]
    Test(TestClock),
}

struct Inner {
    source: Source,
    mode: TrustMode,
    watch: Mutex<JumpWatch>,
}

/// The clock of the daemon. Cloning it is cheap, and all clones are one clock.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:?}, {:?})", self.origin(), self.0.mode)
    }
}

/// The practice clock could not be set to ten in the morning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{zone:?} is not a time zone; use a name such as Asia/Shanghai")]
pub struct UnknownZone {
    zone: String,
}

impl Clock {
    /// The machine's own clock.
    #[must_use]
    pub fn system(mode: TrustMode) -> Self {
        Self::over(Source::System, mode)
    }

    /// The practice clock: it starts at 10:00 of today in `zone` and runs evenly from there.
    ///
    /// # Errors
    /// [`UnknownZone`] when `zone` is no IANA name.
    pub fn practice(zone: &str) -> Result<Self, UnknownZone> {
        let start_ms = jiff::tz::TimeZoneDatabase::bundled()
            .get(zone)
            .ok()
            .and_then(|tz| {
                let today = tz
                    .to_datetime(jiff::Timestamp::from_millisecond(system_ms()).ok()?)
                    .date();
                tz.to_timestamp(today.at(10, 0, 0, 0)).ok()
            })
            .map(jiff::Timestamp::as_millisecond)
            .ok_or_else(|| UnknownZone {
                zone: zone.to_owned(),
            })?;
        let source = Source::Practice {
            start_ms,
            began: Instant::now(),
        };
        Ok(Self::over(source, TrustMode::Host))
    }

    /// The practice clock of a floor that is so far ahead of the machine's.
    #[must_use]
    pub fn practice_ahead(ahead_ms: i64) -> Self {
        let source = Source::Practice {
            start_ms: system_ms().saturating_add(ahead_ms),
            began: Instant::now(),
        };
        Self::over(source, TrustMode::Host)
    }

    /// How far it is ahead of the machine's clock.
    #[must_use]
    pub fn ahead_ms(&self) -> i64 {
        self.wall_ms().saturating_sub(system_ms())
    }

    /// A clock that a test moves. Release builds do not contain it.
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn test(test: TestClock, mode: TrustMode) -> Self {
        Self::over(Source::Test(test), mode)
    }

    fn over(source: Source, mode: TrustMode) -> Self {
        let (wall_ms, monotonic) = source.read();
        let watch = Mutex::new(JumpWatch::new(wall_ms, monotonic));
        Self(Arc::new(Inner {
            source,
            mode,
            watch,
        }))
    }

    /// Wall clock, milliseconds since 1970 UTC.
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        self.0.source.read().0
    }

    /// Monotonic clock.
    #[must_use]
    pub fn monotonic(&self) -> Instant {
        self.0.source.read().1
    }

    /// Which clock this is.
    #[must_use]
    pub fn origin(&self) -> ClockOrigin {
        match self.0.source {
            Source::System => ClockOrigin::System,
            Source::Practice { .. } => ClockOrigin::Practice,
            #[cfg(debug_assertions)]
            Source::Test(_) => ClockOrigin::Test,
        }
    }

    /// Whether the wall clock can be trusted at this moment.
    #[must_use]
    pub fn trust(&self) -> ClockTrust {
        self.now().trust
    }

    /// One consistent reading for a decision.
    #[must_use]
    pub fn now(&self) -> Now {
        // Read under the lock: two threads must not hand their readings over in the wrong order.
        let mut watch = lock(&self.0.watch);
        let (wall_ms, monotonic) = self.0.source.read();
        let jumped = watch.observe(wall_ms, monotonic);
        drop(watch);
        let trust = match (jumped, self.0.mode) {
            (Some(by_ms), _) => ClockTrust::Untrusted {
                why: Distrust::Jumped { by_ms },
            },
            (None, TrustMode::Kernel) => self.0.source.kernel().trust(),
            (None, TrustMode::Host) => ClockTrust::Trusted { error_ms: 0 },
        };
        Now {
            wall_ms,
            trust,
            origin: self.origin(),
        }
    }

    /// The monotonic instant at which the wall clock will show `wall_ms`, if it runs on evenly; an instant
    /// that has passed gives now.
    #[must_use]
    pub fn instant_of(&self, wall_ms: i64) -> Instant {
        let (now_ms, monotonic) = self.0.source.read();
        let ahead_ms = u64::try_from(wall_ms.saturating_sub(now_ms)).unwrap_or(0);
        // A year is beyond every timer; more could leave the range of an instant.
        monotonic + Duration::from_millis(ahead_ms.min(366 * 86_400_000))
    }
}

impl Source {
    fn read(&self) -> (i64, Instant) {
        match self {
            Self::System => (system_ms(), Instant::now()),
            Self::Practice { start_ms, began } => {
                let now = Instant::now();
                (
                    start_ms + millis(now.saturating_duration_since(*began)),
                    now,
                )
            }
            #[cfg(debug_assertions)]
            Self::Test(test) => test.read(),
        }
    }

    fn kernel(&self) -> KernelState {
        match self {
            Self::System => KernelState::read(),
            Self::Practice { .. } => KernelState::Synchronised { max_error_us: 0 },
            #[cfg(debug_assertions)]
            Self::Test(test) => lock(&test.0).kernel,
        }
    }
}

fn system_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => -millis(before.duration()),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is plain numbers, written whole: a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(debug_assertions)]
#[derive(Debug)]
struct TestState {
    start_ms: i64,
    began: Instant,
    runs: bool,
    advanced: Duration,
    jumped_ms: i64,
    kernel: KernelState,
}

/// The hand of a test on its clock: it stands still unless moved, or runs if asked to.
#[cfg(debug_assertions)]
#[derive(Debug, Clone)]
pub struct TestClock(Arc<Mutex<TestState>>);

#[cfg(debug_assertions)]
impl TestClock {
    /// Stands at `wall_ms` (milliseconds UTC), and the kernel calls it synchronised without error.
    #[must_use]
    pub fn standing(wall_ms: i64) -> Self {
        Self(Arc::new(Mutex::new(TestState {
            start_ms: wall_ms,
            began: Instant::now(),
            runs: false,
            advanced: Duration::ZERO,
            jumped_ms: 0,
            kernel: KernelState::Synchronised { max_error_us: 0 },
        })))
    }

    /// Starts at `wall_ms` and runs at the speed of the machine's monotonic clock.
    #[must_use]
    pub fn running(wall_ms: i64) -> Self {
        let clock = Self::standing(wall_ms);
        lock(&clock.0).runs = true;
        clock
    }

    /// Moves wall and monotonic clock forward together.
    pub fn advance(&self, by: Duration) {
        lock(&self.0).advanced += by;
    }

    /// Moves the wall clock alone.
    pub fn jump(&self, by_ms: i64) {
        lock(&self.0).jumped_ms += by_ms;
    }

    /// Says what the kernel answers from now on.
    pub fn set_kernel(&self, kernel: KernelState) {
        lock(&self.0).kernel = kernel;
    }

    fn read(&self) -> (i64, Instant) {
        let state = lock(&self.0);
        let run = if state.runs {
            state.began.elapsed()
        } else {
            Duration::ZERO
        };
        let passed = state.advanced + run;
        (
            state.start_ms + millis(passed) + state.jumped_ms,
            state.began + passed,
        )
    }
}

#[cfg(test)]
mod tests;
