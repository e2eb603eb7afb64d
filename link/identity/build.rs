//! Records when this build was made, as the lowest time at which a certificate is ever judged.
//!
//! `SOURCE_DATE_EPOCH` wins, so that reproducible builds stay reproducible.

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo:rerun-if-changed=build.rs");
    let given = std::env::var("SOURCE_DATE_EPOCH").ok();
    let seconds = given
        .and_then(|text| text.trim().parse::<u64>().ok())
        .unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.map(|age| age.as_secs()).unwrap_or_default()
        });
    println!("cargo:rustc-env=NAVE_BUILD_EPOCH_SECONDS={seconds}");
}
