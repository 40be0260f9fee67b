//! A disk that is slow, or at which the program dies: every act by which a program makes something durable (fsync,
//! fdatasync, rename, unlink) is counted, can be delayed, and can be the last thing the process tried.
//!
//! `disk.c` is laid over the programs of a [`Setup`] by the loader and shares a page with the test.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::daemon::Setup;

const ACTS: u64 = 0;
const DIE_AT: u64 = 4;
const DELAY_MS: u64 = 8;

/// The disk under all programs of one setup.
pub struct Disk(File);

impl Disk {
    /// Lays it under every program that `setup` starts from now on.
    pub fn under(setup: Setup) -> (Setup, Disk) {
        let path = setup.path("disk");
        fs::write(&path, [0; 4096]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let setup = setup
            .preload(library())
            .env("RINGFENCE_TEST_DISK", &path.to_string_lossy());
        (setup, Disk(file))
    }

    /// From now on the process that tries act number `act`, counted from here and from 1, dies before it.
    pub fn die_at(&self, act: u32) {
        self.set(DIE_AT, 0);
        self.set(ACTS, 0);
        self.set(DIE_AT, act);
    }

    /// Nothing dies any more; returns how many acts were tried since [`Disk::die_at`].
    pub fn live(&self) -> u32 {
        self.set(DIE_AT, 0);
        let mut acts = [0; 4];
        self.0.read_exact_at(&mut acts, ACTS).unwrap();
        u32::from_ne_bytes(acts)
    }

    /// Every act takes so much longer from now on.
    pub fn slow_down(&self, milliseconds: u32) {
        self.set(DELAY_MS, milliseconds);
    }

    fn set(&self, at: u64, value: u32) {
        self.0.write_all_at(&value.to_ne_bytes(), at).unwrap();
    }
}

/// Builds the library, once a test process.
fn library() -> PathBuf {
    static LIBRARY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LIBRARY.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/disk.c");
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&path, &source])
            .status()
            .expect("cannot run cc, which the README names among what a machine must bring");
        assert!(status.success(), "the test's disk cannot be built");
        (dir, path)
    });
    path.clone()
}
