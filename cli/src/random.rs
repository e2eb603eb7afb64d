//! Random numbers for what templates make.

use anyhow::{Context, Result};
use rand::{TryRngCore, rngs::OsRng};

/// A seed, another one each time. It comes from the operating system: the TLS library measures the jitter of the
/// processor before its first random number, which takes longer than rendering a chart.
///
/// # Errors
/// The system has no random numbers.
pub fn seed() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    OsRng.try_fill_bytes(&mut bytes).context("asking for random numbers")?;
    Ok(bytes)
}
