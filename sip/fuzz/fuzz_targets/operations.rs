//! Random operation lists on two endpoints, against a reference model.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringfence_sip::testing::fuzz_operations(bytes));
