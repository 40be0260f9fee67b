//! Asterisk 22, a real PBX, started for one test on addresses of its own.
//!
//! It runs in the folder that `scripts/pbx-root` builds, by chroot in a private mount namespace: the host sees nothing of
//! it but a process and a temporary directory. The configuration is `tests/support/asterisk/*.conf`, or a directory that
//! the test names.
//!
//! Who answers what (details in `asterisk/extensions.conf`): the last four digits of a customer's number decide.
//!
//! | digits | the customer |
//! |---|---|
//! | `1fff` | answers at once and plays fff Hz |
//! | `2fnn` | answers, plays 350 + 50 f Hz, hangs up after nn seconds |
//! | `3qqq` | is refused with Q.850 cause qqq |
//! | `4000`, `4fnn` | rings for ever; rings nn seconds, answers, plays 350 + 50 f Hz |
//! | `5000`, `5001`, `5002`, `5003` | busy; congestion; busy after a second of ringing; no response at all |
//! | `6fnn` | early media of 450 Hz for nn seconds, answers, plays 350 + 50 f Hz |
//! | `7000` to `7004` | echo; digits; silence; announcement and refusal; answers and hangs up at once |
//! | `8xxx` | is the SIPp at [`Net::load`], port 5060 |
//! | `0xxx`, `9xxx` | does not exist (404) |
//!
//! Agents: `1001` to `1009` register (password [`PHONE_PASSWORD`]), `1101` to `1109` have fixed addresses
//! ([`Asterisk::phone_address`]), `1fff` with fff from 300 is a phone played by Asterisk with fff Hz, `2xxx` is the SIPp
//! at [`Net::load`], port 5070, and `3xxx` is the same with Asterisk recording the call (MixMonitor).

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::eventually;
use super::net::Net;
use super::process::Process;

/// Account of the daemon.
pub const USER: &str = "ringfence";
/// Password of the daemon's account.
pub const PASSWORD: &str = "bed-secret";
/// Password of the phones that register, whose user names are their extensions.
pub const PHONE_PASSWORD: &str = "phone-secret";

const CONFIGURATION: [(&str, &str); 6] = [
    ("asterisk.conf", include_str!("asterisk/asterisk.conf")),
    ("modules.conf", include_str!("asterisk/modules.conf")),
    ("logger.conf", include_str!("asterisk/logger.conf")),
    ("rtp.conf", include_str!("asterisk/rtp.conf")),
    ("pjsip.conf", include_str!("asterisk/pjsip.conf")),
    ("extensions.conf", include_str!("asterisk/extensions.conf")),
];

/// Files whose absence Asterisk calls an error, although their defaults are what we want.
const DEFAULTS: [&str; 9] = [
    "acl",
    "ccss",
    "cdr",
    "cel",
    "features",
    "indications",
    "manager",
    "pjproject",
    "udptl",
];

// $1 the folder with Asterisk, $2 the run's own folder. Everything execs: the child we hold is Asterisk itself.
const START: &str = r#"
set -e
mount --bind "$2" "$1/mnt"
mount -t proc proc "$1/proc"
mount --bind /dev "$1/dev"
ulimit -n 20000 || true
ulimit -c 0
exec chroot "$1" asterisk -f -C /mnt/etc/asterisk/asterisk.conf
"#;

/// Where files lie that a peer writes beside its audio: in memory if there is a gigabyte for them, for Asterisk stops
/// playing while a disk that others are busy with does not take what it hears.
fn in_memory() -> PathBuf {
    let shared = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(shared).map_or(0, |found| found.f_bavail * found.f_frsize);
    if room >= 1 << 30 {
        shared.to_owned()
    } else {
        std::env::temp_dir()
    }
}

/// A running Asterisk; ended on drop.
pub struct Asterisk {
    net: Net,
    run: TempDir,
    root: PathBuf,
    process: Option<Process>,
}

impl Asterisk {
    /// Starts it with the tests' configuration, on addresses of its own.
    ///
    /// # Panics
    /// If it is not up within 30 s, or not root, or without the folder.
    pub fn start() -> Asterisk {
        Asterisk::start_on(Net::claim())
    }

    /// The same on addresses that the test has claimed.
    pub fn start_on(net: Net) -> Asterisk {
        let mut pbx = Asterisk::lay_out(net);
        for (name, text) in CONFIGURATION {
            let text = pbx.fill_in(text);
            pbx.write_configuration(name, &text);
        }
        pbx.boot();
        pbx
    }

    /// Starts it with the configuration files of `dir` instead of the tests'; what names directories and modules stays
    /// the tests' own. `edit` gets each file's name and text before it is written, to put addresses in.
    pub fn start_with(
        net: Net,
        dir: &Path,
        edit: impl Fn(&Net, &str, String) -> String,
    ) -> Asterisk {
        let mut pbx = Asterisk::lay_out(net);
        for (name, text) in &CONFIGURATION[..4] {
            pbx.write_configuration(name, text);
        }
        for entry in fs::read_dir(dir).expect("cannot list the configuration") {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with(".conf") {
                let text = edit(&pbx.net, &name, fs::read_to_string(&path).unwrap());
                pbx.write_configuration(&name, &text);
            }
        }
        pbx.boot();
        pbx
    }

    fn lay_out(net: Net) -> Asterisk {
        assert!(
            rustix::process::getuid().is_root(),
            "Asterisk runs by chroot in a mount namespace, which needs root: run the tests as root"
        );
        let run = tempfile::Builder::new()
            .prefix("ringfence-pbx-")
            .tempdir_in(in_memory())
            .unwrap();
        for dir in [
            "etc/asterisk",
            "var/lib",
            "var/spool",
            "var/cache",
            "run",
            "log",
            "heard",
        ] {
            fs::create_dir_all(run.path().join(dir)).unwrap();
        }
        let pbx = Asterisk {
            net,
            run,
            root: pbx_root(),
            process: None,
        };
        for name in DEFAULTS {
            pbx.write_configuration(&format!("{name}.conf"), "; the defaults\n");
        }
        pbx
    }

    fn write_configuration(&self, name: &str, text: &str) {
        fs::write(self.run.path().join("etc/asterisk").join(name), text).unwrap();
    }

    fn fill_in(&self, text: &str) -> String {
        use std::fmt::Write as _;
        let mut registered = String::new();
        for extension in 1001..=1009 {
            write!(
                registered,
                "[{extension}](phone)\nauth = {extension}\naors = {extension}\n\
                 [{extension}]\ntype = auth\nauth_type = userpass\nusername = {extension}\npassword = {PHONE_PASSWORD}\n\
                 [{extension}]\ntype = aor\nmax_contacts = 1\nremove_existing = yes\n"
            )
            .unwrap();
        }
        let mut fixed = String::new();
        for extension in 1101..=1109 {
            let address = self.phone_address(extension);
            write!(
                fixed,
                "[{extension}](phone)\naors = {extension}\n\
                 [{extension}]\ntype = aor\ncontact = sip:{extension}@{address}\n"
            )
            .unwrap();
        }
        text.replace("@PBX@", &self.net.pbx().to_string())
            .replace("@LOAD@", &self.net.load().to_string())
            .replace("@CALLERS@", &self.net.callers().to_string())
            .replace("@REGISTERED_PHONES@", &registered)
            .replace("@STATIC_PHONES@", &fixed)
    }

    fn boot(&mut self) {
        let output = fs::File::create(self.run.path().join("log/console")).unwrap();
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "bash", "-c", START, "asterisk"])
            .args([&self.root, &self.run.path().to_path_buf()])
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        let _ = fs::remove_file(self.run.path().join("run/asterisk.ctl"));
        let mut process = Process::spawn("Asterisk", &mut command);
        let socket = self.run.path().join("run/asterisk.ctl");
        eventually("start of Asterisk", Duration::from_secs(30), || {
            if let Some(status) = process.exited() {
                panic!("Asterisk ended at start ({status}):\n{}", self.log());
            }
            socket.exists().then_some(())
        });
        self.process = Some(process);
        // The socket is there before the modules are; this command answers when they are.
        eventually("boot of Asterisk", Duration::from_secs(30), || {
            self.try_cli("core waitfullybooted")?
                .contains("fully booted")
                .then_some(())
        });
        let log = self.log();
        assert!(
            !log.contains(" ERROR["),
            "Asterisk does not like its configuration:\n{log}"
        );
    }

    /// Addresses of this run.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Its SIP address, for UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.net.pbx(), 5060)
    }

    /// Where a phone of a fixed address (1101 to 1109) must listen.
    pub fn phone_address(&self, extension: u16) -> SocketAddr {
        assert!(
            (1101..=1109).contains(&extension),
            "{extension} has no fixed address"
        );
        SocketAddr::new(self.net.phones(), 5100 + (extension - 1100))
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process
            .as_ref()
            .expect("Asterisk is not running")
            .pid()
    }

    /// CPU used so far, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.process
            .as_ref()
            .expect("Asterisk is not running")
            .cpu_seconds()
    }

    /// Runs a command of its command line and returns what it prints.
    pub fn cli(&self, command: &str) -> String {
        self.try_cli(command)
            .unwrap_or_else(|| panic!("Asterisk does not take '{command}':\n{}", self.log()))
    }

    fn try_cli(&self, command: &str) -> Option<String> {
        let output = Command::new("nsenter")
            .args(["--target", &self.pid().to_string(), "--mount", "chroot"])
            .arg(&self.root)
            .args([
                "asterisk",
                "-C",
                "/mnt/etc/asterisk/asterisk.conf",
                "-rx",
                command,
            ])
            .output()
            .expect("cannot start nsenter");
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// How many channels (legs) are up.
    pub fn channels(&self) -> usize {
        let text = self.cli("core show channels count");
        let line = text
            .lines()
            .find(|line| line.contains("active channel"))
            .unwrap_or("");
        line.split_ascii_whitespace()
            .next()
            .and_then(|count| count.parse().ok())
            .unwrap_or_else(|| {
                panic!("Asterisk counts its channels in an unknown way: {text}");
            })
    }

    /// Waits until exactly `count` channels are up.
    pub fn wait_for_channels(&self, count: usize, limit: Duration) {
        eventually(&format!("{count} channels in Asterisk"), limit, || {
            (self.channels() == count).then_some(())
        });
    }

    /// Waits until the daemon (or another AOR) is registered.
    pub fn wait_for_registration(&self, aor: &str, limit: Duration) {
        eventually(&format!("registration of {aor}"), limit, || {
            self.registered(aor).then_some(())
        });
    }

    /// Whether an AOR has a contact.
    pub fn registered(&self, aor: &str) -> bool {
        self.cli(&format!("pjsip show aor {aor}"))
            .lines()
            .any(|line| {
                // The line before the contacts names the columns in the same form.
                let line = line.trim_start();
                line.starts_with("Contact:  ") && !line.starts_with("Contact:  <")
            })
    }

    /// Ends every call at once, with BYE to both sides.
    pub fn hang_up_all(&self) {
        self.cli("channel request hangup all");
    }

    /// What parties that Asterisk plays (`1fff`, `2fnn`, `4fnn`, `6fnn`, agents `1fff`) heard: one mono WAV a call, whose
    /// name begins with the dialled number. Complete once the channel is gone.
    pub fn heard(&self, dialled: &str) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.run.path().join("heard"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                path.file_name()
                    .unwrap()
                    .to_string_lossy()
                    .starts_with(&format!("{dialled}-"))
            })
            .collect();
        files.sort();
        files
    }

    /// Ends it with SIGKILL, as a crash would: no peer is told.
    pub fn kill(&mut self) {
        self.process.take().expect("Asterisk is not running").kill();
    }

    /// Ends it if it runs (without telling anybody), and starts it again on the same addresses with the same files.
    /// Registrations are forgotten.
    pub fn restart(&mut self) {
        self.process = None;
        let _ = fs::remove_file(self.run.path().join("var/lib/astdb.sqlite3"));
        self.boot();
    }

    /// Freezes it: sockets stay open, nothing is answered.
    pub fn freeze(&mut self) {
        self.process
            .as_mut()
            .expect("Asterisk is not running")
            .signal(Signal::STOP);
    }

    /// Lets it go on after [`Asterisk::freeze`].
    pub fn thaw(&mut self) {
        self.process
            .as_mut()
            .expect("Asterisk is not running")
            .signal(Signal::CONT);
    }

    /// Writes every SIP message into the log from here on.
    pub fn trace_sip(&self) {
        self.cli("pjsip set logger on");
        self.cli("core set verbose 3");
    }

    /// Everything it logged, for the message of a failed test.
    pub fn log(&self) -> String {
        let read = |name: &str| {
            fs::read_to_string(self.run.path().join("log").join(name)).unwrap_or_default()
        };
        let text = format!("{}{}", read("console"), read("messages.log"));
        // our own looking is not news
        text.lines()
            .filter(|line| !line.contains("Remote UNIX connection"))
            .map(|line| format!("{line}\n"))
            .collect()
    }
}

impl Drop for Asterisk {
    /// Of a failed test, the end of its log is shown.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("-- Asterisk's log ends:\n{}", super::tail(&self.log(), 40));
        }
    }
}

/// The folder with Asterisk, which `scripts/pbx-root` prints (and builds the first time).
fn pbx_root() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/pbx-root");
    let output = Command::new(&script)
        .output()
        .expect("cannot run scripts/pbx-root");
    assert!(
        output.status.success(),
        "scripts/pbx-root: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}
