//! Any bytes as a datagram and as a stream: no panic, nothing lost in printing, the same however they are cut.
#![no_main]

#[path = "../../tests/checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let seed = u64::try_from(bytes.len()).unwrap_or(0);
    checks::message(bytes, &mut checks::Random::new(seed));
});
