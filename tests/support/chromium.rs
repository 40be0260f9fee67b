//! A headless Chromium on the agent's page, driven by `tests/browser/agent.mjs` in lines of JSON.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Process;
use super::tone;

/// One browser; ended on drop.
pub struct Chromium {
    /// `None` once it was told to end.
    commands: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    // Before the directory, so that nothing writes there when it goes.
    process: Process,
    _work: TempDir,
}

impl Chromium {
    /// Starts a browser for `url` whose microphone hears a tone of `hz`.
    ///
    /// # Panics
    /// If Chromium, Node or playwright-core is missing, with the remedy.
    pub fn start(url: &str, hz: u32) -> Chromium {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
        fetch_playwright(&scripts);
        let work = tempfile::Builder::new()
            .prefix("ringfence-browser-")
            .tempdir()
            .unwrap();
        // Chromium plays the file round and round; whole seconds of a whole number of Hz join without a jump.
        let arguments = json!({
            "chromium": program("RINGFENCE_CHROMIUM", "chromium"),
            "url": url,
            "microphone": tone::wav_file(work.path(), hz, 10),
            "profile": work.path().join("profile"),
        });
        let mut command = Command::new(program("RINGFENCE_NODE", "node"));
        command
            .arg("agent.mjs")
            .arg(arguments.to_string())
            .current_dir(&scripts)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Process::spawn("node", &mut command);
        let commands = process.child().stdin.take();
        let answers = BufReader::new(process.child().stdout.take().unwrap()).lines();
        Chromium {
            commands,
            answers,
            process,
            _work: work,
        }
    }

    /// Gives a command and returns its answer. The script bounds how long each may take.
    ///
    /// # Panics
    /// If it fails, with what the script said.
    pub fn ask(&mut self, command: Value) -> Value {
        let commands = self.commands.as_mut().expect("told to end only on drop");
        writeln!(commands, "{command}").expect("the browser's script has ended");
        let line = self
            .answers
            .next()
            .unwrap_or_else(|| panic!("the browser's script ended at {command}"))
            .expect("the browser's script cannot be read");
        let answer: Value =
            serde_json::from_str(&line).expect("the browser's script answers in JSON");
        assert_eq!(answer["ok"], true, "{command}: {answer}");
        answer
    }
}

impl Drop for Chromium {
    /// The script ends the browser's many processes, which would go on to write into a directory that goes.
    fn drop(&mut self) {
        self.commands = None;
        if !std::thread::panicking() {
            self.process.wait(Duration::from_secs(20));
        }
    }
}

/// Fetches the pinned playwright-core once.
fn fetch_playwright(scripts: &Path) {
    // Two tests at once: the second waits and finds it done.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    if scripts.join("node_modules/playwright-core").exists() {
        return;
    }
    let status = Command::new(program("RINGFENCE_NPM", "npm"))
        .arg("ci")
        .current_dir(scripts)
        .stdout(Stdio::null())
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "cannot fetch playwright-core: run `npm ci` in {}",
        scripts.display()
    );
}

/// Path of a program that `variable` names, or of that name in the search path.
fn program(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: run scripts/peers or set {variable}"))
}
