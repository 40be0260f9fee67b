//! The machine that dies on demand: tests only.
//!
//! `disk.rs` counts its acts here, per thread. At the n-th the machine is dead: that act and all later ones fail, also
//! those of destructors, as if the process had been killed. Afterwards the state can be worn down further to what a loss
//! of power leaves: files fall back to the length of their last sync, and renames whose directory was not synced are
//! taken back.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

#[derive(Default)]
struct Machine {
    armed: bool,
    acts: u64,
    dies_at: Option<u64>,
    /// The act that fails once, as a disk may, while the machine lives on.
    fails_at: Option<u64>,
    /// What the disk holds for certain, by present path.
    durable: HashMap<PathBuf, Vec<u8>>,
    /// Renames whose directory was not synced: from, to, and what `to` held before.
    renamed: Vec<(PathBuf, PathBuf, Option<Vec<u8>>)>,
    /// Removals whose directory was not synced.
    removed: Vec<(PathBuf, Vec<u8>)>,
}

thread_local! {
    static MACHINE: RefCell<Machine> = RefCell::default();
}

/// Runs `work` on a machine that dies before its act number `dies_at`; `None` lets it live. Returns what `work` gave
/// and how many acts were tried.
pub(crate) fn run<T>(dies_at: Option<u64>, work: impl FnOnce() -> T) -> (T, u64) {
    MACHINE.with_borrow_mut(|m| {
        *m = Machine {
            armed: true,
            dies_at,
            ..Machine::default()
        }
    });
    let value = work();
    let acts = MACHINE.with_borrow_mut(|m| {
        m.armed = false;
        m.acts
    });
    (value, acts)
}

/// Runs `work` on a machine of which act number `fails_at` fails, and none after it.
pub(crate) fn run_with_one_failure<T>(fails_at: u64, work: impl FnOnce() -> T) -> T {
    MACHINE.with_borrow_mut(|m| {
        *m = Machine {
            armed: true,
            fails_at: Some(fails_at),
            ..Machine::default()
        }
    });
    let value = work();
    MACHINE.with_borrow_mut(|m| m.armed = false);
    value
}

/// After [`run`]: leaves on the disk only what a loss of power would.
pub(crate) fn lose_power(root: &Path) {
    let machine = MACHINE.with_borrow_mut(std::mem::take);
    for (path, bytes) in machine.removed.into_iter().rev() {
        std::fs::write(path, bytes).unwrap();
    }
    for (from, to, before) in machine.renamed.into_iter().rev() {
        std::fs::rename(&to, from).unwrap();
        if let Some(before) = before {
            std::fs::write(to, before).unwrap();
        }
    }
    for path in files(root) {
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        match machine.durable.get(&path) {
            Some(durable) if *durable != bytes => std::fs::write(&path, durable).unwrap(),
            _ => {}
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries
        .flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] })
        .collect()
}

/// Counts one act; an error once the machine is dead.
pub(crate) fn step(act: &'static str, path: &Path) -> io::Result<()> {
    MACHINE.with_borrow_mut(|m| {
        if !m.armed {
            return Ok(());
        }
        m.acts += 1;
        if m.dies_at.is_some_and(|at| m.acts >= at) {
            return Err(io::Error::other(format!(
                "the machine is dead: {act} {}",
                path.display()
            )));
        }
        if m.fails_at == Some(m.acts) {
            return Err(io::Error::other(format!(
                "failed once: {act} {}",
                path.display()
            )));
        }
        if act == "create" {
            // Until it is synced a new file may come back empty.
            m.durable.insert(path.to_owned(), Vec::new());
        }
        Ok(())
    })
}

/// Everything written to the file is durable.
pub(crate) fn synced(file: &File, path: &Path) {
    MACHINE.with_borrow_mut(|m| {
        if m.armed {
            let len = file.metadata().unwrap().len() as usize;
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, 0).unwrap();
            m.durable.insert(path.to_owned(), bytes);
        }
    });
}

/// A rename happened.
pub(crate) fn renaming(from: &Path, to: &Path) {
    MACHINE.with_borrow_mut(|m| {
        if m.armed {
            let before = std::fs::read(to).ok();
            m.renamed.push((from.to_owned(), to.to_owned(), before));
            if let Some(bytes) = m.durable.remove(from) {
                m.durable.insert(to.to_owned(), bytes);
            }
        }
    });
}

/// A file is about to be removed.
pub(crate) fn removing(path: &Path) {
    MACHINE.with_borrow_mut(|m| {
        if m.armed
            && let Ok(bytes) = std::fs::read(path)
        {
            let bytes = m.durable.remove(path).unwrap_or(bytes);
            m.removed.push((path.to_owned(), bytes));
        }
    });
}

/// The entries of a directory are durable.
pub(crate) fn dir_synced(dir: &Path) {
    MACHINE.with_borrow_mut(|m| {
        m.renamed.retain(|(_, to, _)| to.parent() != Some(dir));
        m.removed.retain(|(path, _)| path.parent() != Some(dir));
    });
}
