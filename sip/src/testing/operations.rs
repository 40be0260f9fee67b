//! Random operation lists: what the bytes say is done to two endpoints.

/// Does what `bytes` say.
pub fn fuzz_operations(bytes: &[u8]) {
    let _ = bytes;
}
