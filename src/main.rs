//! The `ringfence` binary: subcommands only, the work is in the library.
fn main() {}
