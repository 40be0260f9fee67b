//! The `ringfence` binary: subcommands only, the work is in the library.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use ringfence::{
    commands::{
        Desk, agents, agreements, bars, cases, check, demo, keys, notes, policy, receipts,
        recordings, serve, stats, users, whole,
    },
    config::{Config, Log, LogFormat},
    daemon, logging,
    phone::ShortCodes,
    rulebook::files::Configured,
};

/// The telephone floor of a debt-collection agency as one daemon
#[derive(Debug, Parser)]
#[command(name = "ringfence", version, propagate_version = true)]
struct Cli {
    /// The configuration
    #[arg(
        long,
        short,
        global = true,
        default_value = "/etc/ringfence/ringfence.toml",
        env = "RINGFENCE_CONFIG"
    )]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon until SIGTERM
    Serve,
    /// Try it with the built-in practice PBX: no PBX, no configuration, no harm
    Demo(demo::DemoArgs),
    /// Validate the configuration and reach everything a start needs
    Check,
    /// List, export and verify recordings
    Recordings(recordings::RecordingsArgs),
    /// The calling rules: check, explain, prove
    Policy(policy::PolicyArgs),
    /// Who must not be called
    Bars(bars::BarsArgs),
    /// Who agreed to be called at other hours
    Agreements(agreements::AgreementsArgs),
    /// Decisions of the gate: find, read, prove
    Receipts(receipts::ReceiptsArgs),
    /// Print and recount the figures
    Stats(stats::StatsArgs),
    /// Import and list cases
    Cases(cases::CasesArgs),
    /// Teams, what agents did, calls promised for later
    Agents(agents::AgentsArgs),
    /// Call notes, what may be said in them, and their export in a bank's own form
    Notes(notes::NotesArgs),
    /// Manage the accounts of the API and their tokens
    Users(users::UsersArgs),
    /// Make the root key
    Keys(keys::KeysArgs),
    /// Print the OpenAPI document of the HTTP API
    Openapi,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("ringfence: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringfence: {}", whole(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let load = || Config::load(&cli.config).map_err(anyhow::Error::from);
    // Only the daemon logs its life; commands print, and warn.
    let quiet = || {
        logging::start(&Log {
            level: "warn".into(),
            format: LogFormat::Text,
        })
    };
    let short = || ShortCodes::new(daemon::SHORT_CODES);
    match cli.command {
        Command::Serve => {
            let config = load()?;
            logging::start(&config.log)?;
            serve::run(&config, load).await
        }
        Command::Demo(args) => demo::run(args, &mut out).await,
        Command::Check => {
            quiet()?;
            check::run(&load()?, &mut out).await
        }
        Command::Keys(args) => keys::run(&args, &mut out),
        Command::Openapi => {
            writeln!(out, "{}", ringfence::api::document().to_pretty_json()?)?;
            Ok(())
        }
        Command::Recordings(args) => {
            quiet()?;
            let config = load()?;
            let vault = daemon::open_vault_read_only(&config)?;
            let db = daemon::open_store(&config).await?;
            recordings::run(args, vault, &db, daemon::clock(&config)?, &mut out).await
        }
        Command::Policy(args) => {
            quiet()?;
            // A bank's own CI has no configuration, and needs none.
            let configured = load().ok().and_then(|config| {
                let (_, preset) = daemon::rules(&config).ok()?;
                let dir = config.policy.dir;
                Some(Configured { preset, dir })
            });
            if policy::offline(&args, configured.as_ref(), &mut out)? {
                return Ok(());
            }
            let config = load()?;
            let (db, short) = (daemon::open_store(&config).await?, short()?);
            let desk = Desk::new(&config, &db, &short)?;
            policy::run(args, &desk, &mut out).await
        }
        Command::Bars(args) => {
            quiet()?;
            let config = load()?;
            let (db, short) = (daemon::open_store(&config).await?, short()?);
            let desk = Desk::new(&config, &db, &short)?;
            bars::run(args, &desk, &mut out).await
        }
        Command::Agreements(args) => {
            quiet()?;
            let config = load()?;
            let (db, short) = (daemon::open_store(&config).await?, short()?);
            let desk = Desk::new(&config, &db, &short)?;
            agreements::run(args, &desk, &mut out).await
        }
        Command::Receipts(args) => {
            quiet()?;
            let config = load()?;
            let (db, short) = (daemon::open_store(&config).await?, short()?);
            let desk = Desk::new(&config, &db, &short)?;
            receipts::run(args, &desk, &mut out).await
        }
        Command::Stats(args) => {
            quiet()?;
            let config = load()?;
            let db = daemon::open_store(&config).await?;
            let context = stats::Context {
                db: &db,
                clock: &daemon::clock(&config)?,
                zone: &jiff::tz::TimeZone::get(&config.policy.display_zone)?,
                reports_dir: &config.reports.dir,
            };
            stats::run(args, &context, &mut out).await
        }
        Command::Cases(args) => {
            quiet()?;
            let config = load()?;
            let db = daemon::open_store(&config).await?;
            let context = cases::Context {
                db: &db,
                clock: daemon::clock(&config)?,
                short: ShortCodes::new(daemon::SHORT_CODES)?,
                region: daemon::rules(&config)?.0,
                key: &|make| daemon::field_key(&config, make),
                zone: jiff::tz::TimeZone::get(&config.policy.display_zone)?,
                limits: config.floor.clone(),
            };
            cases::run(args, &context, &mut out).await
        }
        Command::Agents(args) => {
            quiet()?;
            let config = load()?;
            let db = daemon::open_store(&config).await?;
            let now_ms = daemon::clock(&config)?.wall_ms();
            let zone = jiff::tz::TimeZone::get(&config.policy.display_zone)?;
            agents::run(args, &db, now_ms, &zone, &mut out).await
        }
        Command::Notes(args) => {
            quiet()?;
            let config = load()?;
            let db = daemon::open_store(&config).await?;
            let now_ms = daemon::clock(&config)?.wall_ms();
            let zone = jiff::tz::TimeZone::get(&config.policy.display_zone)?;
            notes::run(args, &db, now_ms, &zone, &mut out).await
        }
        Command::Users(args) => {
            quiet()?;
            let config = load()?;
            let db = daemon::open_store(&config).await?;
            let now_ms = daemon::clock(&config)?.wall_ms();
            users::run(args, &db, now_ms, ringfence::random::bits()?, &mut out).await
        }
    }
}
