//! SIPp as telephones and callers: each behaves as its scenario says (`tests/support/sipp/*.xml`), with real audio.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::process::Process;
use super::{eventually, tone};

/// Longer than any test: stands for "for ever" in a scenario.
const EVER: Duration = Duration::from_secs(86_400);

/// What a telephone does when it is called.
#[derive(Clone, Debug)]
pub enum Manner {
    /// Rings for `ring`, answers, plays `tone_hz`, hangs up after `talk` (`None`: never by itself).
    Answer {
        ring: Duration,
        tone_hz: u32,
        talk: Option<Duration>,
    },
    /// Rings until the caller gives up.
    RingForEver,
    /// Rings for `ring`, then refuses with a status line such as `486 Busy Here` or `603 Decline`.
    Refuse {
        ring: Duration,
        status: &'static str,
    },
}

impl Manner {
    /// Answers at once, plays `tone_hz`, stays until the other side hangs up.
    pub fn answer(tone_hz: u32) -> Manner {
        Manner::Answer {
            ring: Duration::ZERO,
            tone_hz,
            talk: None,
        }
    }

    /// Answers at once, plays `tone_hz`, hangs up after `talk`.
    pub fn answer_for(tone_hz: u32, talk: Duration) -> Manner {
        Manner::Answer {
            ring: Duration::ZERO,
            tone_hz,
            talk: Some(talk),
        }
    }

    /// Busy at once.
    pub fn busy() -> Manner {
        Manner::Refuse {
            ring: Duration::ZERO,
            status: "486 Busy Here",
        }
    }

    /// Rejected by the person after `ring`.
    pub fn reject(ring: Duration) -> Manner {
        Manner::Refuse {
            ring,
            status: "603 Decline",
        }
    }
}

/// How a caller calls.
#[derive(Clone, Debug)]
pub struct Calls {
    /// Whom, as the user part of the request URI.
    pub number: String,
    /// How many calls in all.
    pub count: u32,
    /// How many a second.
    pub rate: u32,
    /// Tone played to the other side.
    pub tone_hz: u32,
    /// Hangs up after this long.
    pub talk: Duration,
}

/// A running SIPp; ended on drop.
pub struct Sipp {
    process: Process,
    work: TempDir,
}

impl Sipp {
    /// Telephones at `address` (SIP, UDP) for any number of calls at a time, one behaviour for all.
    ///
    /// Its RTP ports follow from its SIP port, so that several instances may share an address.
    pub fn listen(address: SocketAddr, manner: &Manner) -> Sipp {
        let scenario = match manner {
            Manner::Answer { .. } | Manner::RingForEver => include_str!("sipp/answer.xml"),
            Manner::Refuse { .. } => include_str!("sipp/refuse.xml"),
        };
        let (ring, tone_hz, talk, status) = match manner {
            Manner::Answer {
                ring,
                tone_hz,
                talk,
            } => (*ring, *tone_hz, talk.unwrap_or(EVER), ""),
            Manner::RingForEver => (EVER, 440, EVER, ""),
            Manner::Refuse { ring, status } => (*ring, 440, EVER, *status),
        };
        let mut sipp = Sipp::prepare(scenario, ring, tone_hz, talk, status, address);
        sipp.0.arg("-aa");
        let sipp = Sipp::run(sipp);
        sipp.wait_until_bound(address);
        sipp
    }

    /// A PBX with everybody behind it at `address`: registers whoever asks, answers OPTIONS, and answers every call at once
    /// and plays `tone_hz` until the other side hangs up. For load: it costs less than an Asterisk in between.
    pub fn pbx(address: SocketAddr, tone_hz: u32) -> Sipp {
        const PREFACE: &str = r#"<recv request="REGISTER" optional="true" next="fine"/>
  <recv request="OPTIONS" optional="true" next="fine"/>
  <recv request="INVITE" crlf="true" rrs="true">"#;
        const FINE: &str = r#"<send next="end">
    <![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[pid]pbx[call_number]
[last_Call-ID:]
[last_CSeq:]
[last_Contact:]
Expires: 300
Content-Length: 0

    ]]>
  </send>

  <label id="end"/>"#;
        let scenario = include_str!("sipp/answer.xml")
            .replace(r#"<recv request="INVITE" crlf="true" rrs="true">"#, PREFACE)
            .replace(
                r#"<label id="end"/>"#,
                &format!("<label id=\"fine\"/>\n  {FINE}"),
            );
        let mut sipp = Sipp::prepare(&scenario, Duration::ZERO, tone_hz, EVER, "", address);
        sipp.0.arg("-aa");
        let sipp = Sipp::run(sipp);
        sipp.wait_until_bound(address);
        sipp
    }

    /// Callers at `from`, towards `to`.
    pub fn call(from: SocketAddr, to: SocketAddr, calls: &Calls) -> Sipp {
        let scenario = include_str!("sipp/call.xml");
        let (mut command, work) = Sipp::prepare(
            scenario,
            Duration::ZERO,
            calls.tone_hz,
            calls.talk,
            "",
            from,
        );
        command
            .args([
                "-m",
                &calls.count.to_string(),
                "-r",
                &calls.rate.to_string(),
            ])
            .args(["-l", &calls.count.to_string(), "-s", &calls.number])
            .arg(to.to_string());
        Sipp::run((command, work))
    }

    fn prepare(
        scenario: &str,
        ring: Duration,
        tone_hz: u32,
        talk: Duration,
        status: &str,
        address: SocketAddr,
    ) -> (Command, TempDir) {
        let work = tempfile::Builder::new()
            .prefix("ringfence-sipp-")
            .tempdir()
            .unwrap();
        let tone = tone::alaw_file(work.path(), tone_hz, 10);
        // SIPp takes a time-out of 0 for none at all.
        let milliseconds = |time: Duration| time.as_millis().max(1).to_string();
        let text = scenario
            .replace("@RING_MS@", &milliseconds(ring))
            .replace("@TALK_MS@", &milliseconds(talk))
            .replace("@STATUS@", status)
            .replace("@TONE@", &tone.to_string_lossy());
        let path = work.path().join("scenario.xml");
        fs::write(&path, text).unwrap();

        let first = first_rtp_port(address.port());
        let ip = address.ip().to_string();
        let mut command = Command::new("sipp");
        command
            .current_dir(work.path())
            .arg("-sf")
            .arg(&path)
            .args(["-i", &ip, "-mi", &ip, "-p", &address.port().to_string()])
            .args(["-mp", &first.to_string()])
            .args(["-nostdin", "-trace_err", "-error_file", "errors.log"])
            .args(["-trace_msg", "-message_file", "messages.log"])
            .stdin(Stdio::null())
            .stdout(fs::File::create(work.path().join("screen.log")).unwrap())
            .stderr(fs::File::create(work.path().join("stderr.log")).unwrap());
        (command, work)
    }

    fn run((mut command, work): (Command, TempDir)) -> Sipp {
        Sipp {
            process: Process::spawn("SIPp", &mut command),
            work,
        }
    }

    fn wait_until_bound(&self, address: SocketAddr) {
        // The kernel is asked: binding the address to see whether it is taken would take it from SIPp.
        let SocketAddr::V4(v4) = address else {
            panic!("SIPp listens on IPv4 addresses only");
        };
        let ip = u32::from_ne_bytes(v4.ip().octets());
        let line = format!(" {ip:08X}:{:04X} ", v4.port());
        eventually("SIPp listening", Duration::from_secs(10), || {
            let sockets = fs::read_to_string("/proc/net/udp").unwrap();
            sockets.contains(&line).then_some(())
        });
    }

    /// Waits until a caller has made all its calls.
    ///
    /// # Panics
    /// If not all of them went as the scenario says, or not within `limit`.
    pub fn finish(mut self, limit: Duration) {
        let status = self.process.wait(limit);
        assert!(
            status.success(),
            "SIPp: not every call went well ({status}):\n{}",
            self.errors()
        );
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        self.process.exited().is_none()
    }

    /// Every SIP message it sent and received so far.
    pub fn messages(&self) -> String {
        fs::read_to_string(self.file("messages.log")).unwrap_or_default()
    }

    /// Waits until a message with `text` in it was sent or received.
    pub fn wait_for_message(&self, text: &str, limit: Duration) {
        eventually(&format!("'{text}' at a SIPp"), limit, || {
            self.messages().contains(text).then_some(())
        });
    }

    /// What it complained of.
    pub fn errors(&self) -> String {
        let read = |name| fs::read_to_string(self.file(name)).unwrap_or_default();
        format!("{}{}", read("errors.log"), read("stderr.log"))
    }

    /// CPU used so far, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.process.cpu_seconds()
    }

    /// Ends it without a word to its peers, as a phone whose cable is pulled.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }
}

impl Drop for Sipp {
    /// Of a failed test, what it complained of and its last messages are shown.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (errors, messages) = (self.errors(), self.messages());
            eprintln!(
                "-- SIPp complains:\n{}-- its last messages:\n{}",
                super::tail(&errors, 20),
                super::tail(&messages, 60)
            );
        }
    }
}

/// First RTP port of the SIPp on a SIP port, far enough from its neighbours: single phones (51xx) have 100 ports each,
/// what carries load (5060, 5070) has 4,000.
fn first_rtp_port(port: u16) -> u16 {
    match port {
        5101..=5199 => 10_000 + (port - 5100) * 100,
        5060 => 20_000,
        5070 => 24_000,
        _ => 28_000 + (port % 40) * 100,
    }
}
