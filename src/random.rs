//! The only reader of randomness. Pure code takes the bits as arguments.

use ring::rand::{SecureRandom, SystemRandom};

/// The kernel gave no random bits; nothing that needs to be unique or secret can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kernel gave no random bits")]
pub struct NoRandomness;

/// Fresh bits from the kernel.
///
/// # Errors
/// [`NoRandomness`], which only a broken sandbox shows.
pub fn bits<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bits = [0; N];
    SystemRandom::new()
        .fill(&mut bits)
        .map_err(|_| NoRandomness)?;
    Ok(bits)
}
