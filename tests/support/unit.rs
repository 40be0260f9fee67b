//! The system-call filter of `systemd/ringfence.service`, laid over a program without systemd.
//!
//! The sets (`@system-service` and so on) are expanded by `systemd-analyze`, in the unit's order. `strace` then makes
//! every other call fail with EPERM, which is what the unit's `SystemCallErrorNumber=` does.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The unit's text.
pub fn unit() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/ringfence.service");
    std::fs::read_to_string(path).expect("the unit is not there")
}

/// Names of the calls that the unit allows.
pub fn allowed_calls() -> BTreeSet<String> {
    let unit = unit();
    // What systemd allows whatever the list says.
    let mut allowed = expand("@default");
    for line in unit.lines() {
        let Some(list) = line.strip_prefix("SystemCallFilter=") else {
            continue;
        };
        let (remove, list) = match list.strip_prefix('~') {
            Some(rest) => (true, rest),
            None => (false, list),
        };
        for name in list.split_ascii_whitespace() {
            let calls = expand(name);
            if remove {
                allowed.retain(|call| !calls.contains(call));
            } else {
                allowed.extend(calls);
            }
        }
    }
    allowed
}

fn expand(name: &str) -> BTreeSet<String> {
    if !name.starts_with('@') {
        return BTreeSet::from([name.to_owned()]);
    }
    let output = Command::new("systemd-analyze")
        .args(["--no-pager", "syscall-filter", name])
        .output()
        .expect("cannot run systemd-analyze; scripts/peers installs it");
    assert!(
        output.status.success(),
        "systemd-analyze does not know {name}"
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let members: Vec<&str> = text
        .lines()
        .skip(1)
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    members.into_iter().flat_map(expand).collect()
}

/// `command`, allowed to make only `calls`; every other fails with EPERM and is written to `report`.
pub fn confine(command: &Command, calls: &BTreeSet<String>, report: &Path) -> Command {
    // A question mark: names that this machine's kernel headers do not have are passed over.
    let names: Vec<String> = calls.iter().map(|name| format!("?{name}")).collect();
    let names = names.join(",");
    let mut confined = Command::new("strace");
    confined
        .args([
            "--quiet=all",
            "--follow-forks",
            "--seccomp-bpf",
            "--signal=none",
        ])
        .arg("--output")
        .arg(report)
        .arg(format!("--trace=!{names}"))
        .arg(format!("--inject=!{names}:error=EPERM"))
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            confined.env(name, value);
        }
    }
    confined
}
