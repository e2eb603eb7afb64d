//! How a release of the agent is linked: its own text is the larger half of its memory at rest.
//!
//! A position-independent program reads three megabytes of relocations when it starts, and they stay resident. Packed
//! (`DT_RELR`) they take a thirtieth; the C library understands that from glibc 2.36 on, so a machine with an older one
//! builds as before.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=PROFILE");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let is_release = variable("PROFILE") == "release";
    let is_gnu_linux = variable("CARGO_CFG_TARGET_OS") == "linux" && variable("CARGO_CFG_TARGET_ENV") == "gnu";
    // Somebody else's flags may name another linker.
    let is_native = variable("HOST") == variable("TARGET") && variable("CARGO_ENCODED_RUSTFLAGS").is_empty();
    if !(is_release && is_gnu_linux && is_native) {
        return;
    }
    if glibc() >= Some((2, 36)) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Major and minor version of this machine's C library.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
