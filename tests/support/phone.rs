//! A desk phone that registers, is told what to do, and keeps what it heard: baresip, driven over its control port.
//!
//! SIPp (`sipp.rs`) plays phones that only follow a scenario. This one is for tests about registering with a password
//! and about what a person with the handset at the ear hears.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::process::Process;
use super::{eventually, tone};

/// What a phone is started with.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where the phone lives.
    pub ip: IpAddr,
    /// SIP port; the next one is its TLS port, the one after that takes commands; RTP ports follow from it.
    pub port: u16,
    /// Registrar (or peer).
    pub pbx: SocketAddr,
    /// User name, extension and digest user at once.
    pub user: String,
    /// Digest password.
    pub password: String,
    /// Picks up by itself.
    pub answers: bool,
    /// Registers; otherwise it can only dial.
    pub registers: bool,
    /// Tone that the person at this phone hums.
    pub tone_hz: u32,
}

/// A running baresip; ended on drop.
pub struct Phone {
    // First, so that it is dropped before the directory it writes into.
    process: Process,
    work: TempDir,
    control: TcpStream,
    pending: Vec<u8>,
    events: Vec<Value>,
}

impl Phone {
    /// Starts it; returns when it takes commands.
    pub fn start(line: &Line) -> Phone {
        let work = tempfile::Builder::new()
            .prefix("ringfence-phone-")
            .tempdir()
            .unwrap();
        let control = SocketAddr::new(line.ip, line.port + 2);
        let hum = tone::wav_file(work.path(), line.tone_hz, 120);
        let first_rtp = 28_000 + (line.port % 40) * 50;
        let config = format!(
            "poll_method epoll\n\
             sip_listen {ip}:{port}\n\
             audio_player aubridge,nowhere\n\
             audio_source aufile,{hum}\n\
             audio_alert aufile,{alert}\n\
             ausrc_srate 8000\nauplay_srate 8000\nausrc_channels 1\nauplay_channels 1\n\
             audio_level no\n\
             rtp_ports {first_rtp}-{last_rtp}\n\
             net_interface {ip}\n\
             module_path /usr/lib/baresip/modules\n\
             module g711.so\nmodule aufile.so\nmodule aubridge.so\n\
             module sndfile.so\nsnd_path {heard}\n\
             module_app account.so\nmodule_app menu.so\n\
             module ctrl_tcp.so\nctrl_tcp_listen {control}\n",
            ip = line.ip,
            port = line.port,
            heard = work.path().display(),
            alert = work.path().join("alert.wav").display(),
            hum = hum.display(),
            last_rtp = first_rtp + 49,
        );
        fs::write(work.path().join("config"), config).unwrap();
        let account = format!(
            "<sip:{user}@{pbx}>;auth_user={user};auth_pass={password};answermode={mode};regint={regint};\
             audio_codecs=PCMA/8000/1\n",
            user = line.user,
            pbx = line.pbx,
            password = line.password,
            mode = if line.answers { "auto" } else { "manual" },
            regint = if line.registers { 60 } else { 0 },
        );
        fs::write(work.path().join("accounts"), account).unwrap();

        let log = fs::File::create(work.path().join("log")).unwrap();
        let mut command = Command::new("baresip");
        command
            .arg("-f")
            .arg(work.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let process = Process::spawn("baresip", &mut command);
        let stream = eventually("start of baresip", Duration::from_secs(10), || {
            TcpStream::connect(control).ok()
        });
        stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        Phone {
            process,
            work,
            control: stream,
            pending: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Waits until the registrar has accepted it.
    pub fn wait_until_registered(&self, limit: Duration) {
        // The event may have passed before the control port was there; the log keeps it.
        eventually("registration of a phone", limit, || {
            self.log().contains(" binding").then_some(())
        });
    }

    /// Dials; what comes of it are events.
    pub fn dial(&mut self, uri: &str) {
        self.command("dial", uri);
    }

    /// Picks up.
    pub fn accept(&mut self) {
        self.command("accept", "");
    }

    /// Hangs up, or rejects what rings.
    pub fn hang_up(&mut self) {
        self.command("hangup", "");
    }

    /// Presses a key.
    pub fn press(&mut self, digit: char) {
        self.command("sndcode", &digit.to_string());
    }

    /// Puts the call on hold.
    pub fn hold(&mut self) {
        self.command("hold", "");
    }

    /// Takes it up again.
    pub fn resume(&mut self) {
        self.command("resume", "");
    }

    fn command(&mut self, command: &str, parameters: &str) {
        let json = serde_json::json!({"command": command, "params": parameters, "token": command})
            .to_string();
        write!(self.control, "{}:{json},", json.len()).expect("baresip takes no commands");
    }

    /// Waits for an event of this type (`CALL_INCOMING`, `CALL_RINGING`, `CALL_ESTABLISHED`, `CALL_CLOSED`, …) that was
    /// not waited for before, and returns it.
    pub fn wait_for(&mut self, kind: &str, limit: Duration) -> Value {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(at) = self.events.iter().position(|event| event["type"] == kind) {
                let found = self.events[at].clone();
                self.events.drain(..=at);
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "a phone waits for {kind}; it saw {:?} and logged\n{}",
                self.events,
                self.log()
            );
            self.read();
        }
    }

    // Netstrings: length, colon, JSON, comma.
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        match self.control.read(&mut buffer) {
            Ok(0) => panic!("baresip is gone:\n{}", self.log()),
            Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(error) => panic!("cannot read from baresip: {error}"),
        }
        while let Some(colon) = self.pending.iter().position(|&byte| byte == b':') {
            let length: usize = std::str::from_utf8(&self.pending[..colon])
                .unwrap()
                .trim()
                .parse()
                .unwrap();
            if self.pending.len() < colon + 1 + length + 1 {
                return;
            }
            let message: Value =
                serde_json::from_slice(&self.pending[colon + 1..colon + 1 + length]).unwrap();
            self.pending.drain(..colon + 1 + length + 1);
            if message["event"] == true {
                self.events.push(message);
            }
        }
    }

    /// What the person heard: a mono WAV for each call so far (and one more after each hold), oldest first. Complete once
    /// the call has ended.
    pub fn heard(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.work.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().ends_with("-dec.wav"))
            .collect();
        files.sort();
        files
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.work.path().join("log")).unwrap_or_default()
    }

    /// Ends it without a word, as a phone that loses power.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
