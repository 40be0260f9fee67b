//! One tree of options. Unknown keys are refused, secrets are named by path or systemd credential, never held.
//!
//! `config/ringfence.toml` lists every option with its default and its reason; a test parses it and finds
//! exactly these defaults. What needs another file or a socket (keys, PBX) is checked where it is opened.

mod defaults;
mod secret;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de::Error as _};

pub use self::secret::SecretSource;
use crate::clock::TrustMode;

/// The whole configuration of a daemon.
#[derive(Debug, Clone, PartialEq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// HTTP API.
    pub server: Server,
    /// Logs.
    pub log: Log,
    /// Database.
    pub store: Store,
    /// Recordings.
    pub vault: Vault,
    /// The PBX.
    pub trunk: Trunk,
    /// Audio sockets.
    pub media: Media,
    /// Times and limits of calls.
    pub calls: Calls,
    /// The day's work: how soon what has to be done.
    pub floor: Floor,
    /// Rules.
    pub policy: Policy,
    /// What makes the wall clock trusted.
    pub clock: Clock,
    /// Figures.
    pub figures: Figures,
    /// Reports that are written by themselves.
    pub reports: Reports,
}

/// HTTP API and pages.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address of the API.
    pub listen: SocketAddr,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A `tracing` filter.
    pub level: String,
    /// How lines are written.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// The database beside the cases.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// `sqlite:PATH` or `postgres://…`.
    pub url: String,
    /// This daemon's name among those that share the database.
    pub node: String,
    /// Where the ends of calls wait, encrypted, while the database is away.
    pub journal_dir: PathBuf,
}

/// Where recordings rest.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Vault {
    /// Encrypted recordings.
    pub dir: PathBuf,
    /// Wrapped month keys.
    pub keys_dir: PathBuf,
    /// The root key.
    pub root_key: SecretSource,
    /// Calendar years from the call's end; at least 2 (PRODUCT.md T4).
    pub retention_years: u32,
    /// MiB never given to a new call.
    pub reserve_mib: u64,
}

/// The PBX.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trunk {
    /// Name in figures and messages.
    pub name: String,
    /// `host:port` of the PBX.
    pub server: String,
    /// Transport of SIP.
    pub transport: Transport,
    /// Local address of the SIP socket.
    pub bind: SocketAddr,
    /// Address told to the PBX, where it differs.
    pub advertise: String,
    /// Host part of From and To; empty means the server's host.
    pub domain: String,
    /// Account.
    pub user: String,
    /// Its password.
    pub password: SecretSource,
    /// Seconds a registration is asked to last.
    pub register_expires_s: u32,
    /// Seconds between OPTIONS.
    pub qualify_s: u32,
    /// Session timer in seconds (RFC 4028); at least 90.
    pub session_expires_s: u32,
    /// How a number is written to the PBX.
    pub dial: String,
    /// Number shown to customers; empty lets the PBX decide.
    pub caller_id: String,
}

/// Transport of SIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// One connection, made again when it breaks.
    Tcp,
}

/// Audio sockets.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    /// Local address; `None` means the SIP address.
    #[serde(deserialize_with = "empty_is_none")]
    pub bind: Option<IpAddr>,
    /// Address offered to the PBX; `None` means the SIP address.
    #[serde(deserialize_with = "empty_is_none")]
    pub advertise: Option<IpAddr>,
    /// UDP ports, first and last.
    #[serde(deserialize_with = "port_range")]
    pub ports: RangeInclusive<u16>,
    /// Seconds a closed port rests.
    pub quarantine_s: u64,
    /// Threads that own the sockets.
    pub threads: usize,
    /// Address for browsers; `None` means `bind`.
    #[serde(deserialize_with = "empty_is_none")]
    pub browser: Option<IpAddr>,
    /// Address told to browsers, where it differs (one-to-one NAT).
    #[serde(deserialize_with = "empty_is_none")]
    pub browser_advertise: Option<IpAddr>,
}

/// Times and limits of calls.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Calls {
    /// Seconds the agent's phone may ring.
    pub agent_ring_s: u64,
    /// Seconds the customer's phone may ring.
    pub customer_ring_s: u64,
    /// Calls at once.
    pub max: usize,
    /// Seconds SIGTERM waits.
    pub drain_s: u64,
    /// Seconds of wrap-up; 0 means none.
    pub wrap_up_s: u64,
    /// Seconds without audio before an alarm.
    pub silence_alarm_s: u64,
    /// Seconds that both sides may stay silent after the alarm before the line is taken for lost.
    pub silence_limit_s: u64,
}

/// The day's work: how soon what has to be done.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Floor {
    /// Seconds that a callback which is due waits for its agent before it is missed.
    pub callback_wait_s: u64,
    /// Seconds within which a new case is worked.
    pub new_case_s: u64,
    /// Seconds within which a new case is called first.
    pub first_call_s: u64,
    /// Seconds within which a major matter is reported.
    pub major_matter_s: u64,
}

/// Rules.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Preset of calling rules.
    pub preset: String,
    /// Rule files that make it stricter; empty: none.
    pub dir: PathBuf,
    /// Zone of times shown to operators.
    pub display_zone: String,
    /// Country by whose habits a number without `+` is read.
    pub region: String,
}

/// Figures.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Figures {
    /// Hours after which a day that is over everywhere is sealed.
    pub seal_after_h: u64,
}

/// Reports that are written by themselves.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reports {
    /// The folder below which they are written.
    pub dir: PathBuf,
}

/// What makes the wall clock trusted.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clock {
    /// `kernel` or `host`.
    pub trust: TrustMode,
    /// Which clock.
    pub source: ClockSource,
}

/// Which clock the daemon goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockSource {
    /// The machine's.
    System,
    /// The demo's, which starts at 10:00; with the practice PBX only.
    Practice,
}

/// What stands in `trunk.server` for the built-in practice PBX.
pub const PRACTICE: &str = "practice";

/// What is wrong with a configuration, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}; give its path with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not a configuration: unknown key, wrong type, bad value.
    #[error("{path} is not a valid configuration:\n{message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        message: String,
    },
    /// A value is out of bounds.
    #[error("{key}: {problem}; {remedy}")]
    Value {
        /// The option, `section.key`.
        key: &'static str,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A secret cannot be read.
    #[error("{key}: cannot read the secret in {place}: {source}; {remedy}")]
    Secret {
        /// The option.
        key: &'static str,
        /// The file.
        place: PathBuf,
        /// Why.
        source: std::io::Error,
        /// What to do.
        remedy: &'static str,
    },
}

impl Config {
    /// Reads a file, lays `RINGFENCE__section__key` variables over it and checks every bound.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.into(),
            source,
        })?;
        let mut overrides = Vec::new();
        // Other programs' variables may be no UTF-8; ours may not.
        for (key, value) in std::env::vars_os() {
            let Some(name) = key.to_str().and_then(|key| key.strip_prefix("RINGFENCE__")) else {
                continue;
            };
            let value = value.into_string().map_err(|_| ConfigError::Parse {
                path: path.into(),
                message: format!("RINGFENCE__{name}: the variable's value is not UTF-8"),
            })?;
            overrides.push((name.to_owned(), value));
        }
        Self::parse(&text, path, overrides)
    }

    /// Parses a text; `overrides` are `section__key` with their values.
    pub fn parse(
        text: &str,
        path: &Path,
        overrides: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let parse_error = |message: String| ConfigError::Parse {
            path: path.into(),
            message,
        };
        // Not the error's own Display: that prints the line, which may hold a secret put in the wrong place.
        let at = |e: toml::de::Error| parse_error(place(text, &e));
        let mut config: Self = toml::from_str(text).map_err(at)?;
        let overrides: Vec<_> = overrides.into_iter().collect();
        if !overrides.is_empty() {
            let mut table: toml::Table = toml::from_str(text).map_err(at)?;
            for (name, value) in &overrides {
                let (section, key) = name.split_once("__").ok_or_else(|| {
                    parse_error(format!("RINGFENCE__{name}: write RINGFENCE__section__key"))
                })?;
                let section = table
                    .entry(section)
                    .or_insert_with(|| toml::Value::Table(toml::Table::new()))
                    .as_table_mut()
                    .ok_or_else(|| parse_error(format!("RINGFENCE__{name}: no such section")))?;
                section.insert(key.to_owned(), scalar(value));
            }
            config = table.try_into().map_err(|e: toml::de::Error| {
                parse_error(format!("with RINGFENCE__ variables: {}", e.message()))
            })?;
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let bound = |key, wrong: bool, problem: String, remedy| {
            if wrong {
                Err(ConfigError::Value {
                    key,
                    problem,
                    remedy,
                })
            } else {
                Ok(())
            }
        };
        bound(
            "clock.source",
            self.clock.source == ClockSource::Practice && self.trunk.server != PRACTICE,
            "the practice clock would let calls leave at any hour of the day".into(),
            "use it with trunk.server = \"practice\" only, which `ringfence demo` does; a real trunk needs \"system\"",
        )?;
        bound(
            "vault.retention_years",
            self.vault.retention_years < 2,
            format!(
                "{} is below the floor of 2 calendar years",
                self.vault.retention_years
            ),
            "recordings are kept two years or longer; raise it",
        )?;
        bound(
            "media.ports",
            self.media.ports.clone().count() < 8 || *self.media.ports.start() < 1024,
            format!(
                "{}-{} is too small or privileged",
                self.media.ports.start(),
                self.media.ports.end()
            ),
            "a call uses four ports; choose a range above 1023, such as \"20000-23999\"",
        )?;
        bound(
            "media.threads",
            !(1..=64).contains(&self.media.threads),
            format!("{} threads", self.media.threads),
            "choose 1 to 64",
        )?;
        bound(
            "trunk.session_expires_s",
            self.trunk.session_expires_s < 90,
            format!(
                "{} s is below the minimum of RFC 4028",
                self.trunk.session_expires_s
            ),
            "choose 90 or more",
        )?;
        bound(
            "trunk.register_expires_s",
            self.trunk.register_expires_s < 30,
            format!("{} s", self.trunk.register_expires_s),
            "choose 30 or more",
        )?;
        bound(
            "trunk.qualify_s",
            self.trunk.qualify_s == 0,
            "0 s".into(),
            "choose 1 or more",
        )?;
        bound(
            "trunk.dial",
            !["{e164}", "{digits}"]
                .iter()
                .any(|p| self.trunk.dial.contains(p)),
            "the number has no place in it".into(),
            "write {e164} or {digits} where the number goes",
        )?;
        bound(
            "calls.customer_ring_s",
            !(15..=180).contains(&self.calls.customer_ring_s),
            format!("{} s", self.calls.customer_ring_s),
            "choose 15 to 180: less than 15 s of ringing is no attempt to reach anyone",
        )?;
        bound(
            "calls.agent_ring_s",
            !(1..=180).contains(&self.calls.agent_ring_s),
            format!("{} s", self.calls.agent_ring_s),
            "choose 1 to 180",
        )?;
        bound(
            "calls.silence_limit_s",
            !(1..=3_600).contains(&self.calls.silence_limit_s),
            format!("{} s", self.calls.silence_limit_s),
            "choose 1 to 3600",
        )?;
        bound(
            "calls.max",
            self.calls.max == 0,
            "0 calls".into(),
            "choose 1 or more",
        )?;
        // Longer than a day is a slip of the pen, and instants that far away overflow.
        for (key, seconds) in [
            ("calls.drain_s", self.calls.drain_s),
            ("calls.wrap_up_s", self.calls.wrap_up_s),
            ("calls.silence_alarm_s", self.calls.silence_alarm_s),
            ("media.quarantine_s", self.media.quarantine_s),
        ] {
            bound(
                key,
                seconds > 86_400,
                format!("{seconds} s"),
                "choose a day (86400) at most",
            )?;
        }
        // Sixty days are longer than any client waits for the first sign of work.
        for (key, seconds) in [
            ("floor.callback_wait_s", self.floor.callback_wait_s),
            ("floor.new_case_s", self.floor.new_case_s),
            ("floor.first_call_s", self.floor.first_call_s),
            ("floor.major_matter_s", self.floor.major_matter_s),
        ] {
            bound(
                key,
                !(60..=5_184_000).contains(&seconds),
                format!("{seconds} s"),
                "choose a minute (60) to sixty days (5184000)",
            )?;
        }
        bound(
            "calls.silence_alarm_s",
            self.calls.silence_alarm_s == 0,
            "0 s would call every pause a fault".into(),
            "choose 1 or more",
        )?;
        bound(
            "vault.reserve_mib",
            self.vault.reserve_mib > 1 << 30,
            format!("{} MiB", self.vault.reserve_mib),
            "choose 2^30 MiB (a pebibyte) at most",
        )?;
        bound(
            "figures.seal_after_h",
            self.figures.seal_after_h > 24 * 31,
            format!("{} h", self.figures.seal_after_h),
            "choose a month (744) at most",
        )?;
        bound(
            "reports.dir",
            !self.reports.dir.is_absolute(),
            format!("{:?} is not a whole path", self.reports.dir),
            "write one from / on, such as \"/var/lib/ringfence/reports\"",
        )?;
        bound(
            "policy.display_zone",
            jiff::tz::TimeZone::get(&self.policy.display_zone).is_err(),
            format!("{:?} is no time zone", self.policy.display_zone),
            "write an IANA name such as \"Asia/Shanghai\"",
        )?;
        Ok(())
    }
}

fn place(text: &str, error: &toml::de::Error) -> String {
    let before = error
        .span()
        .and_then(|span| text.get(..span.start))
        .unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("line {line}, column {column}: {}", error.message())
}

fn scalar(text: &str) -> toml::Value {
    if let Ok(number) = text.parse::<i64>() {
        return toml::Value::Integer(number);
    }
    match text {
        "true" => toml::Value::Boolean(true),
        "false" => toml::Value::Boolean(false),
        _ => toml::Value::String(text.to_owned()),
    }
}

fn empty_is_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| D::Error::custom(format!("{text:?} is no IP address"))),
    }
}

fn port_range<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RangeInclusive<u16>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.split_once('-')
        .and_then(|(first, last)| Some(first.trim().parse().ok()?..=last.trim().parse().ok()?))
        .filter(|range: &RangeInclusive<u16>| !range.is_empty())
        .ok_or_else(|| {
            D::Error::custom(format!("{text:?} is no port range; write \"20000-23999\""))
        })
}
