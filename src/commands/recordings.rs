//! `ringfence recordings`: list, export and verify, beside a running daemon. Every export is in the log of accesses.

use std::{
    collections::HashSet,
    io::{Read, Seek as _, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use ringfence_recordings::Vault;

use super::ACTOR;
use crate::{
    clock::Clock,
    ids::RecordingId,
    library::{Library, Purpose},
    store::{
        self, Db,
        access::Verdict as Chain,
        recordings::{Recording, RecordingState},
        users::{Role, Scope, User},
    },
};

/// Rows read at once.
const PAGE: u32 = 500;

/// Arguments of `ringfence recordings`.
#[derive(Debug, Args)]
pub struct RecordingsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RecordingsCommand,
}

/// What to do with recordings.
#[derive(Debug, Subcommand)]
pub enum RecordingsCommand {
    /// List the newest recordings
    List {
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Write a recording as a stereo WAV: agent left, customer right
    Export {
        /// The recording's id
        id: RecordingId,
        /// The file; ID.wav if left out. It must not exist yet
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
    /// Say which recording a WAV is and whether it is unchanged, by its SHA-256
    Identify {
        /// The file, exported here once
        file: PathBuf,
    },
    /// Read every recording to its end and prove that nothing is missing or altered, in vault, database and access log
    Verify {
        /// Only this one
        id: Option<RecordingId>,
    },
}

/// Runs `ringfence recordings`.
///
/// # Errors
/// An unknown recording, a damaged one, a file that exists, the vault or the database.
pub async fn run(
    args: RecordingsArgs,
    vault: Vault,
    db: &Db,
    clock: Clock,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match args.command {
        RecordingsCommand::List { limit } => list(db, limit, out).await,
        RecordingsCommand::Export { id, output } => {
            let output = output.unwrap_or_else(|| PathBuf::from(format!("{id}.wav")));
            let bytes = export(vault, db, clock, id, &output).await?;
            writeln!(out, "wrote {} ({bytes} bytes)", output.display())?;
            Ok(())
        }
        RecordingsCommand::Identify { file } => identify(db, &file, out).await,
        RecordingsCommand::Verify { id } => verify(&vault, db, id, out).await,
    }
}

/// Recordings that the database counts as kept and the vault does not have; says which.
async fn missing(
    vault: &Vault,
    db: &Db,
    found: &HashSet<RecordingId>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u64> {
    let (mut missing, mut before) = (0, None);
    loop {
        let mut tx = db.read().await?;
        let page = store::recordings::list(&mut tx, &everything(), None, before, PAGE).await?;
        drop(tx);
        let Some(last) = page.last() else {
            return Ok(missing);
        };
        before = Some(last.id);
        for row in page {
            let why = match row.state {
                RecordingState::Sealed | RecordingState::Recovered
                    // Asked again: it may have been sealed while the others were read.
                    if !found.contains(&row.id) && vault.describe(row.id.uuid()).is_err() =>
                {
                    "the database knows it and the vault does not have it"
                }
                RecordingState::Lost => "it was lost: audio was expected and no file was found",
                _ => continue,
            };
            missing += 1;
            writeln!(out, "{}: {why}", row.id)?;
        }
    }
}

/// The command line sees all clients: whoever runs it can read database and key anyway.
fn everything() -> User {
    User {
        id: crate::ids::UserId::new(0),
        name: ACTOR.into(),
        role: Role::Admin,
        agent_id: None,
        scope: Scope::All,
        revoked_at_ms: None,
        used_at_ms: None,
    }
}

async fn list(db: &Db, limit: u32, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let mut tx = db.read().await?;
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "recording",
        "call",
        "state",
        "started",
        "seconds",
        "coverage",
        "kept until",
    ]);
    let date = |ms: i64| {
        jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |t| t.to_string())
    };
    for recording in store::recordings::list(&mut tx, &everything(), None, None, limit).await? {
        let Recording {
            id,
            call,
            state,
            created_at_ms,
            seal,
            ..
        } = recording;
        let sealed = seal.as_ref();
        #[expect(clippy::cast_precision_loss, reason = "a duration to print")]
        table.add_row([
            id.to_string(),
            call.to_string(),
            state.as_str().to_owned(),
            date(
                sealed
                    .and_then(|s| s.started_at_ms)
                    .unwrap_or(created_at_ms),
            ),
            sealed.map_or_else(String::new, |s| {
                format!("{:.2}", s.duration_ms as f64 / 1_000.0)
            }),
            sealed.map_or_else(String::new, |s| {
                format!("{:.2} %", 100.0 * crate::coverage::share(s))
            }),
            sealed.map_or_else(String::new, |s| date(s.retain_until_ms)),
        ]);
    }
    writeln!(out, "{table}")?;
    Ok(())
}

async fn export(
    vault: Vault,
    db: &Db,
    clock: Clock,
    id: RecordingId,
    output: &Path,
) -> anyhow::Result<u64> {
    let mut tx = db.read().await?;
    let recording = store::recordings::by_id(&mut tx, id).await?;
    let recording = recording
        .with_context(|| format!("there is no recording {id}; see `ringfence recordings list`"))?;
    drop(tx);
    // Before the access is logged: a file that cannot be made is no access.
    // It is plaintext from here on: for its owner only.
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(output).with_context(|| {
        format!(
            "cannot make {}; choose a name that does not exist yet",
            output.display()
        )
    })?;
    let library = Library::new(vault, db.clone(), clock);
    let opened = match library.find(&recording).await {
        Ok(found) => {
            let whole = (0, found.length().saturating_sub(1));
            library.open(found, ACTOR, Purpose::Export, whole).await
        }
        Err(error) => Err(error),
    };
    let written = opened.map_err(anyhow::Error::new).and_then(|opened| {
        let mut reader = opened.into_reader();
        let mut buffer = vec![0; 256 * 1024];
        let mut written = 0;
        loop {
            let length = reader.read(&mut buffer).context("reading the recording")?;
            if length == 0 {
                file.sync_all()?;
                return Ok(written);
            }
            file.write_all(buffer.get(..length).unwrap_or_default())
                .with_context(|| format!("writing {}", output.display()))?;
            written += length as u64;
        }
    });
    if written.is_err() {
        // Half a WAV that looks whole is worse than none.
        let _ = std::fs::remove_file(output);
    }
    written
}

/// What an auditor asks of a file that he was given.
async fn identify(db: &Db, path: &Path, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let shown = path.display();
    let mut file = std::fs::File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let wav = ringfence_recordings::wav::inspect(&file)
        .with_context(|| format!("{shown} is not an export of ours"))?;
    file.rewind()?;
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let length = file
            .read(&mut buffer)
            .with_context(|| format!("cannot read {shown}"))?;
        if length == 0 {
            break;
        }
        digest.update(buffer.get(..length).unwrap_or_default());
    }
    let sha256 = store::users::hex(digest.finish().as_ref());
    let mut tx = db.read().await?;
    let Some(recording) = store::recordings::by_hash(&mut tx, &sha256).await? else {
        bail!(
            "{shown} is a WAV of {} channels, {} samples each at {} Hz, but no recording here has its SHA-256 {sha256}: \
             it was altered, or comes from elsewhere; export the recording again and compare",
            wav.channels,
            wav.samples,
            wav.sample_rate
        );
    };
    writeln!(
        out,
        "{shown} is recording {} of call {}, unchanged: SHA-256 {sha256}",
        recording.id, recording.call
    )?;
    Ok(())
}

async fn verify(
    vault: &Vault,
    db: &Db,
    id: Option<RecordingId>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let (mut good, mut bad) = (0_u64, 0_u64);
    let mut found = HashSet::new();
    let mut chain = true;
    let verdicts: Box<dyn Iterator<Item = ringfence_recordings::Verdict>> = match id {
        Some(id) => Box::new(std::iter::once(ringfence_recordings::Verdict {
            recording: id.uuid(),
            result: vault.verify(id.uuid()),
        })),
        None => Box::new(vault.verify_all()?),
    };
    for verdict in verdicts {
        let id = RecordingId::from_uuid(verdict.recording);
        found.insert(id);
        match verdict.result {
            Ok(sealed) => {
                let mut tx = db.read().await?;
                let row = store::recordings::by_id(&mut tx, id).await?;
                let unlinked = match row
                    .as_ref()
                    .map(|r| (r.state, r.seal.as_ref().map(|s| s.wav_sha256.as_str())))
                {
                    // Two deaths in a row, before its row and before the start could write that: nothing was said on it.
                    None if sealed.samples() == 0 => None,
                    None => Some("the database does not know it"),
                    Some((RecordingState::Sealed | RecordingState::Recovered, Some(hash)))
                        if hash != sealed.facts.wav_sha256.to_string() =>
                    {
                        Some("the database has another hash of it")
                    }
                    Some(_) => None,
                };
                match unlinked {
                    None => good += 1,
                    Some(why) => {
                        bad += 1;
                        writeln!(out, "{id}: whole, but {why}")?;
                    }
                }
            }
            Err(error) => {
                bad += 1;
                writeln!(out, "{id}: {error}")?;
            }
        }
    }
    if id.is_none() {
        bad += missing(vault, db, &found, out).await?;
        let mut tx = db.read().await?;
        match store::access::verify(&mut tx).await? {
            Chain::Intact { rows, last_hash } => {
                writeln!(
                    out,
                    "access log: {rows} entries, chain whole, ends in {last_hash}"
                )?;
            }
            Chain::Broken { seq } => {
                chain = false;
                writeln!(
                    out,
                    "access log: entry {seq} is missing, altered or out of place"
                )?;
            }
        }
    }
    writeln!(out, "{good} recordings are whole, {bad} are not")?;
    if bad > 0 {
        bail!("{bad} recordings are not as they should be");
    }
    if !chain {
        bail!("the access log is not as it was written");
    }
    Ok(())
}
