//! `ringfence keys`: the root key, without which no recording can be opened.

use std::{io::Write, path::PathBuf};

use clap::{Args, Subcommand};
use ringfence_recordings::RootKey;

/// Arguments of `ringfence keys`.
#[derive(Debug, Args)]
pub struct KeysArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KeysCommand,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a new root key in a new file that only its owner can read
    Create {
        /// The file; it must not exist yet
        file: PathBuf,
    },
}

/// Runs `ringfence keys`.
///
/// # Errors
/// A file that exists already, or a place that cannot be written.
pub fn run(args: &KeysArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let KeysCommand::Create { file } = &args.command;
    RootKey::create(file)?;
    writeln!(
        out,
        "made {}; keep a copy off this machine: without it no recording can be opened",
        file.display()
    )?;
    Ok(())
}
