//! `ringfence demo`: the whole product on one machine without a PBX. `--once` runs one call and judges it.

mod once;
mod seed;

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use ringfence_recordings::RootKey;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    clock::Clock,
    config::{Config, Log, LogFormat, PRACTICE, Transport},
    daemon::{self, Daemon, PRACTICE_MARK},
    logging,
    practice::{self, PracticePbx},
    trunk::{TrunkSettings, TrunkState},
};

/// Its configuration, in its directory.
const CONFIG: &str = "ringfence.toml";
/// The folder of the practice floor that rule files are put into.
const RULES: &str = "rules";
/// Zone of the practice floor; its clock starts at 10:00 there.
const ZONE: &str = "Asia/Shanghai";

/// Arguments of `ringfence demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Run one whole call unattended, print what happened, and fail if anything is not as it should be
    #[arg(long)]
    once: bool,
    /// Directory of the practice floor; `serve` refuses it. Left out: one below your data directory, for --once a
    /// temporary one
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the API and the agent's page listen
    #[arg(long, default_value = "127.0.0.1:8085")]
    listen: SocketAddr,
    /// Log what the daemon does
    #[arg(long, short)]
    verbose: bool,
}

/// Runs the demo.
///
/// # Errors
/// A directory that is not the practice floor's, a port in use, or with `--once` anything not as it should be.
pub async fn run(args: DemoArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let level = if args.verbose { "info" } else { "error" };
    logging::start(&Log {
        level: level.into(),
        format: LogFormat::Text,
    })?;
    let temporary = match (&args.data, args.once) {
        (None, true) => Some(scratch()?),
        _ => None,
    };
    let dir = match (&args.data, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(dir)) => dir.0.clone(),
        (None, None) => default_dir()?,
    };
    let dir = std::path::absolute(&dir)
        .with_context(|| format!("{} cannot be made absolute", dir.display()))?;
    let listen = if args.once {
        SocketAddr::new(args.listen.ip(), 0)
    } else {
        args.listen
    };
    let config = prepare(&dir, listen)?;

    let clock = Clock::practice(ZONE)?;
    mark(&dir, &clock)?;
    let password = seed::secret()?;
    let pbx = PracticePbx::start(clock.clone(), crate::random::bits()?, password.clone())
        .await
        .context("the practice PBX cannot listen on loopback")?;
    let daemon = Daemon::start(&config, clock.clone(), trunk(&pbx, password)).await?;
    let mut state = daemon.trunk().watch();
    tokio::time::timeout(Duration::from_secs(10), state.wait_for(TrunkState::is_up))
        .await
        .context("the daemon did not register at the practice PBX within 10 s")??;
    let floor = seed::floor(&daemon.db, clock.wall_ms()).await?;

    let outcome = if args.once {
        once::run(&daemon, &floor, &clock, out).await
    } else {
        welcome(&daemon, &floor, &dir, &clock, out)?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => break interrupted?,
                _ = terminate.recv() => break,
                _ = hangup.recv() => daemon.reload_rules().await,
            }
        }
        writeln!(out, "\nending what is up and sealing it …")?;
        Ok(())
    };
    daemon.stop(Duration::ZERO).await;
    outcome
}

fn welcome(
    daemon: &Daemon,
    floor: &seed::Floor,
    dir: &Path,
    clock: &Clock,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let address = daemon.address;
    let now = jiff::Timestamp::from_millisecond(clock.wall_ms())?.in_tz(ZONE)?;
    writeln!(out, "Ringfence practice floor: http://{address}")?;
    writeln!(
        out,
        "  PRACTICE CLOCK: it is {} here, whatever the hour is outside",
        now.strftime("%Y-%m-%d %H:%M %Z")
    )?;
    writeln!(out, "  data: {} (delete it to begin afresh)", dir.display())?;
    writeln!(out, "\nLogins (bearer tokens, made anew at each start):")?;
    for (name, role, token) in &floor.logins {
        writeln!(out, "  {name:<10} {role:<11} {token}")?;
    }
    writeln!(out, "\nDebtors:")?;
    for (debtor, point) in &floor.debtors {
        writeln!(
            out,
            "  contact point {point}: {} — {}",
            debtor.number,
            debtor.behaviour.words()
        )?;
    }
    writeln!(
        out,
        "  The rules count here too: 3 conversations with a debtor and 6 unanswered calls to a number a day, then 422."
    )?;
    let token = floor
        .logins
        .first()
        .map_or("TOKEN", |(_, _, token)| token.as_str());
    let point = floor.debtors.first().map_or(1, |(_, point)| *point);
    writeln!(out, "\nDial (rings desk phone 1001, then the debtor):")?;
    writeln!(
        out,
        "  curl -s http://{address}/api/v1/calls -H 'Authorization: Bearer {token}' --json '{{\"contact_point_id\":{point}}}'"
    )?;
    writeln!(
        out,
        "\nWatch: curl -sN http://{address}/api/v1/events -H 'Authorization: Bearer {token}'"
    )?;
    if let Some((_, _, qa)) = floor.logins.iter().find(|(_, role, _)| *role == "qa") {
        writeln!(
            out,
            "Hear it afterwards (agent left, debtor right):\n  curl -s http://{address}/api/v1/recordings -H 'Authorization: Bearer {qa}'\n  \
             curl -fsS -o call.wav http://{address}/api/v1/recordings/RECORDING/export -H 'Authorization: Bearer {qa}'"
        )?;
    }
    let program = std::env::current_exe().unwrap_or_else(|_| "ringfence".into());
    let config = dir.join(CONFIG);
    for (what, command) in [
        ("Count", "stats connect-rate --by hour"),
        ("Verify", "recordings verify"),
    ] {
        writeln!(
            out,
            "{what}: {} -c '{}' {command}",
            program.display(),
            config.display()
        )?;
    }
    writeln!(
        out,
        "Rules of a bank's own: write {}, then kill -HUP {}; docs/calling-rules.md says what stands in it",
        dir.join(RULES).join("practice.toml").display(),
        std::process::id()
    )?;
    writeln!(
        out,
        "Talk yourself: open http://{address}/agent and paste the same token."
    )?;
    writeln!(out, "Ctrl-C ends it.")?;
    out.flush()?;
    Ok(())
}

/// Marks the directory as a practice floor's, with how far its clock is ahead: the other commands go by it.
fn mark(dir: &Path, clock: &Clock) -> anyhow::Result<()> {
    for place in [dir, &dir.join("vault")] {
        let text = format!(
            "made by `ringfence demo` on a practice clock\n{}{}\n",
            daemon::AHEAD,
            clock.ahead_ms()
        );
        std::fs::write(place.join(PRACTICE_MARK), text)
            .with_context(|| format!("cannot write in {}", place.display()))?;
    }
    Ok(())
}

/// The embedded configuration of the practice floor, in a directory of its own.
fn prepare(dir: &Path, listen: SocketAddr) -> anyhow::Result<Config> {
    let at = |name: &str| dir.join(name);
    let strange = at("ringfence.db").exists() && !at(PRACTICE_MARK).exists();
    if strange {
        bail!(
            "{} is not a practice floor: choose another --data; the demo never touches a real one",
            dir.display()
        );
    }
    for place in [at("vault"), at(RULES)] {
        std::fs::create_dir_all(&place)
            .with_context(|| format!("cannot make {}", place.display()))?;
    }
    let key = at("root-key");
    if !key.exists() {
        RootKey::create(&key)?;
    }
    // Written down, so that the other commands can be tried on the practice floor.
    let file = at(CONFIG);
    let text = configuration(dir, listen)?;
    std::fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(Config::parse(&text, &file, [])?)
}

/// The configuration as text; `dir` is absolute.
fn configuration(dir: &Path, listen: SocketAddr) -> anyhow::Result<String> {
    let dir = dir
        .to_str()
        .with_context(|| format!("{} is no UTF-8; choose another --data", dir.display()))?;
    let text = |value: String| toml::Value::String(value).to_string();
    let at = |name: &str| text(format!("{dir}/{name}"));
    Ok(format!(
        "# Written by `ringfence demo` at each start, for the commands that are tried on its floor.\n\
         [server]\nlisten = \"{listen}\"\n\
         [store]\nurl = {}\njournal_dir = {}\n\
         [vault]\ndir = {}\nkeys_dir = {}\nroot_key = {}\nreserve_mib = 16\n\
         [trunk]\nserver = \"{PRACTICE}\"\n\
         [media]\nports = \"24000-27999\"\n\
         [calls]\nwrap_up_s = 0\n\
         [reports]\ndir = {}\n\
         [policy]\ndir = {}\n\
         [clock]\nsource = \"practice\"\n",
        text(format!("sqlite:{dir}/ringfence.db")),
        at("journal"),
        at("vault"),
        at("keys"),
        at("root-key"),
        at("reports"),
        at(RULES),
    ))
}

fn trunk(pbx: &PracticePbx, password: secrecy::SecretString) -> TrunkSettings {
    TrunkSettings {
        name: PRACTICE.into(),
        server: pbx.address,
        transport: Transport::Udp,
        bind: SocketAddr::new(pbx.address.ip(), 0),
        advertise: None,
        domain: pbx.address.to_string(),
        user: practice::USER.into(),
        password,
        register_expires: Duration::from_secs(60),
        qualify: Duration::from_secs(10),
        session_expires: Duration::from_secs(120),
        dial: "{e164}".into(),
        caller_id: None,
    }
}

fn default_dir() -> anyhow::Result<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME")
        .filter(|d| !d.is_empty())
        .map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let data = data
        .or_else(home)
        .context("neither XDG_DATA_HOME nor HOME is set; give --data DIR")?;
    Ok(data.join("ringfence-demo"))
}

/// A directory that goes away with the demo.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn scratch() -> anyhow::Result<Scratch> {
    let name = format!(
        "ringfence-demo-{:032x}",
        u128::from_ne_bytes(crate::random::bits()?)
    );
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(Scratch(dir))
}
