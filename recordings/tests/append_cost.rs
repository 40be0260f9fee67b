//! What an append costs: no allocation, and one write per full segment.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::*;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged; the counter is a plain cell of the thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Write calls of this process so far.
fn writes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    io.lines()
        .find_map(|l| l.strip_prefix("syscw: "))
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn appending_allocates_nothing_and_writes_once_per_segment() {
    let place = Place::new();
    let vault = place.open();
    let mut live = begin(&vault, id(1));
    let frame = audio(1, 160);
    let writes_before = writes();
    let before = ALLOCATIONS.get();
    let started = std::time::Instant::now();
    for n in 0..20_000 {
        // A pause in between costs nothing either.
        match n {
            5000 => live.pause(),
            5100 => live.resume(),
            _ => {}
        }
        live.append(&frame).unwrap();
    }
    let elapsed = started.elapsed();
    assert_eq!(ALLOCATIONS.get() - before, 0);
    let segments = 1 + (20_000 * 160 - 1010) / 1020;
    assert_eq!(writes() - writes_before, segments);
    // 200 calls append 10,000 times a second.
    println!("one append of 20 ms: {:?}", elapsed / 20_000);
    assert!(
        elapsed.as_millis() < 2000,
        "10,000 appends must take a small part of a second: {elapsed:?}"
    );
}
