//! Child processes that never outlive the test process, even when that is killed.
//!
//! One guard (`bash`) per test process holds the list of children; it reads the list from a pipe whose other end closes
//! when the test process ends, and then kills what is still on it.

use std::io::Write;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use rustix::process::{Pid, Signal};

const GUARD: &str = r#"
trap '' INT TERM HUP
declare -A alive
while read -r verb pid; do
  if [ "$verb" = add ]; then alive[$pid]=1; else unset "alive[$pid]"; fi
done
for pid in "${!alive[@]}"; do kill -KILL "$pid" 2>/dev/null; done
"#;

fn guard(verb: &str, pid: u32) {
    static GUARD_PROCESS: OnceLock<Mutex<Child>> = OnceLock::new();
    let guard = GUARD_PROCESS.get_or_init(|| {
        let mut command = Command::new("bash");
        command
            .args(["-c", GUARD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Mutex::new(
            command
                .spawn()
                .expect("cannot start the guard of child processes"),
        )
    });
    let mut guard = guard
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let input = guard.stdin.as_mut().expect("the guard's input is a pipe");
    writeln!(input, "{verb} {pid}").expect("the guard of child processes is gone");
}

/// Puts a process, or the calling thread, before compilers and other tests in the queue for a processor: whoever sends or
/// carries audio must be in time, as on any telephone floor. What it starts later inherits that. Without root it stays as
/// it is.
pub fn come_first(process: Option<Pid>) {
    let _ = rustix::process::setpriority_process(process, -10);
}

/// A running child; killed and reaped on drop.
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts `command`.
    ///
    /// # Panics
    /// If it cannot be started, with what is probably missing.
    pub fn spawn(name: &str, command: &mut Command) -> Process {
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("cannot start {name}: {error}; scripts/peers installs what tests need")
        });
        guard("add", child.id());
        come_first(Pid::from_raw(child.id() as i32));
        Process {
            name: name.to_owned(),
            child,
        }
    }

    /// The process id; of the program itself, not of a wrapper, as long as the wrappers `exec`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal. A process that has already ended takes none.
    pub fn signal(&mut self, signal: Signal) {
        if self.exited().is_none()
            && let Some(pid) = Pid::from_raw(self.child.id() as i32)
        {
            rustix::process::kill_process(pid, signal).expect("cannot signal a child of ours");
        }
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child
            .try_wait()
            .expect("cannot wait for a child of ours")
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it has not ended within `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("end of {}", self.name);
        super::eventually(&what, limit, || self.exited())
    }

    /// Kills it at once (SIGKILL) and reaps it.
    pub fn kill(&mut self) {
        if self.exited().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// CPU used so far by all its threads, user and system, in seconds (resolution 10 ms).
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        guard("del", self.child.id());
    }
}

/// CPU used so far by process `pid`, user and system, in seconds.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is gone");
    // The second field is the name in brackets and may hold anything; what follows its last bracket is regular.
    let rest = stat
        .rsplit_once(')')
        .expect("/proc/PID/stat has a name in brackets")
        .1;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // The kernel shows user space a hundredth of a second, whatever it counts in itself.
    ticks as f64 / 100.0
}

/// Resident memory of process `pid` in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is gone");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("/proc/PID/status has VmRSS");
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}
