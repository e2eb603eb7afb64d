//! Random numbers for what templates make.

use anyhow::{Context, Result};

/// A seed, another one each time.
///
/// # Errors
/// The system has no random numbers.
pub fn seed() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .ok()
        .context("asking for random numbers")?;
    Ok(bytes)
}
