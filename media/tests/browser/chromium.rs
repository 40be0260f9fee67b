//! Starts the script that drives Chromium and speaks to it in lines of JSON.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Above the script's own limit per command, so that its complaint arrives before ours.
const LIMIT: Duration = Duration::from_secs(60);

/// One browser. It ends with the test: the script closes it when its standard input ends.
pub struct Chromium {
    child: Child,
    commands: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    _folder: tempfile::TempDir,
}

impl Chromium {
    /// Starts a browser for `url` whose microphone plays a sine of `hz`.
    pub async fn start(url: &str, hz: f64) -> Self {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/browser");
        let chromium = program("RINGFENCE_CHROMIUM", "chromium", "chromium");
        let node = program("RINGFENCE_NODE", "node", "nodejs");
        if !scripts.join("node_modules/playwright-core").exists() {
            let npm = program("RINGFENCE_NPM", "npm", "npm");
            let status = Command::new(npm)
                .arg("ci")
                .current_dir(&scripts)
                .status()
                .await;
            assert!(
                status.is_ok_and(|s| s.success()),
                "cannot fetch playwright-core: run `npm ci` in {scripts:?}"
            );
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let wav = folder.path().join("microphone.wav");
        write_tone(&wav, hz);
        let arguments = serde_json::json!({ "chromium": chromium, "url": url, "microphone": wav, "profile": folder.path().join("profile") });
        let mut child = Command::new(node)
            .arg("agent.mjs")
            .arg(arguments.to_string())
            .current_dir(&scripts)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node starts");
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self {
            child,
            commands,
            answers,
            _folder: folder,
        }
    }

    /// Gives a command and returns its answer; a command that fails ends the test.
    pub async fn ask(&mut self, command: Value) -> Value {
        let line = format!("{command}\n");
        let begun = std::time::Instant::now();
        self.commands
            .as_mut()
            .expect("not quit yet")
            .write_all(line.as_bytes())
            .await
            .expect("the script reads");
        let answer = tokio::time::timeout(LIMIT, self.answers.next_line()).await;
        let answer = answer
            .unwrap_or_else(|_| panic!("no answer to {command}"))
            .expect("the script writes");
        let answer =
            answer.unwrap_or_else(|| panic!("the script ended at {command}; its error is above"));
        let answer: Value = serde_json::from_str(&answer).expect("JSON from the script");
        assert_eq!(answer["ok"], true, "{command}: {answer}");
        println!(
            "{:5} ms  {command} -> {answer}",
            begun.elapsed().as_millis()
        );
        answer
    }

    /// Closes the browser.
    pub async fn quit(mut self) {
        drop(self.commands.take());
        let ended = tokio::time::timeout(LIMIT, self.child.wait())
            .await
            .expect("the browser closes");
        assert!(ended.expect("the script ran").success());
    }
}

/// Path of a program from `variable` or the search path.
fn program(variable: &str, name: &str, package: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: run scripts/peers, or apt-get install {package}, or set {variable}"))
}

/// Ten seconds of a sine that joins its own beginning, because Chromium plays the file round and round.
fn write_tone(file: &Path, hz: f64) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(file, spec).expect("a WAV file");
    for n in 0..480_000 {
        let phase = f64::from(n) * hz / 48_000.0 * std::f64::consts::TAU;
        wav.write_sample((phase.sin() * 12_000.0) as i16)
            .expect("a sample");
    }
    wav.finalize().expect("a WAV file");
}
