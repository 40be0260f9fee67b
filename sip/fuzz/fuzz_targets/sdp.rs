//! Any bytes as a session description: no panic, nothing lost in printing, an answer that fits.
#![no_main]

#[path = "../../tests/checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::sdp(bytes));
