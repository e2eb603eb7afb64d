//! How the program is linked.

fn main() {
    // A command lives for milliseconds: a fixed address spares its start some hundred thousand relocations and the copies
    // of their pages. Go's programs do the same. Agent and hub keep theirs random.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
