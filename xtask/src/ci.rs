//! What CI runs: one list of steps, each stopping at its first failure, and one closing line with the totals.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{crds, layers, tables};

/// Runs every step, or only the tests whose name contains `only`.
pub fn run(only: Option<&str>) -> Result<()> {
    let started = Instant::now();
    if only.is_none() {
        step("format", || cargo(&["fmt", "--all", "--check"]))?;
        step("layers", layers::check)?;
        step("generated files", || crds::run(true))?;
        step("tables of the kustomize engine", tables::check)?;
        step("lints", || {
            cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--quiet",
                "--",
                "--deny",
                "warnings",
            ])
        })?;
        step("licences and bans", deny)?;
    }
    step("test control plane", || {
        cargo(&["run", "--quiet", "--package", "nave-bed", "--bin", "bed", "--", "build"])
    })?;
    let mut totals = Totals::default();
    let tests = step("tests", || test(only, &mut totals));
    println!("\nafter {:.0} s", started.elapsed().as_secs_f64());
    println!(
        "{} passed, {} failed, {} skipped",
        totals.passed, totals.failed, totals.ignored
    );
    tests?;
    if totals.passed == 0 {
        match only {
            Some(name) => bail!("no test has {name:?} in its name; tests/promises lists the promises"),
            None => bail!("no test ran"),
        }
    }
    Ok(())
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    println!("==> {name}");
    work().with_context(|| format!("step failed: {name}"))?;
    println!("    {name}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    Ok(())
}

/// Advisories need a data base from the network; licences, bans and sources are checked from the lock file alone.
fn deny() -> Result<()> {
    let installed = Command::new("cargo-deny")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !installed {
        println!("    skipped: cargo-deny is not installed (cargo install cargo-deny --locked)");
        return Ok(());
    }
    cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"])
}

#[derive(Default)]
struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Totals {
    /// Adds one `test result: ok. 3 passed; 0 failed; 1 ignored; …` line.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else {
            return;
        };
        for part in counts.split([';', '.']) {
            let mut words = part.split_whitespace();
            if let (Some(count), Some(word)) = (words.next(), words.next())
                && let Ok(count) = count.parse::<u64>()
            {
                match word {
                    "passed" => self.passed += count,
                    "failed" => self.failed += count,
                    "ignored" => self.ignored += count,
                    _ => {}
                }
            }
        }
    }
}

/// Runs the tests and names at the end those that failed.
///
/// What needs Flux's own controllers, which take many minutes to build, runs when it is asked for by name.
fn test(only: Option<&str>, totals: &mut Totals) -> Result<()> {
    let mut arguments = vec!["test", "--workspace", "--no-fail-fast"];
    arguments.extend(only);
    let everything = cargo_test(&arguments, totals);
    let Some(name) = only else {
        return everything;
    };
    let beside_flux = cargo_test(
        &[
            "test",
            "--package",
            "nave-flux",
            "--no-fail-fast",
            "--",
            name,
            "--ignored",
        ],
        totals,
    );
    everything.and(beside_flux)
}

fn cargo_test(arguments: &[&str], totals: &mut Totals) -> Result<()> {
    let mut child = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .env("RUST_BACKTRACE", "0") // of every error of every failed test: the message is buried
        .stdout(Stdio::piped())
        .spawn()
        .context("starting cargo test")?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let mut failures = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        totals.add(&line);
        if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            failures.push(name.to_owned());
        }
        println!("{line}");
    }
    ensure!(
        child.wait()?.success(),
        "cargo test failed: {}",
        if failures.is_empty() {
            "see above".to_owned()
        } else {
            failures.join(", ")
        }
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_over_test_binaries() {
        let mut totals = Totals::default();
        totals.add("test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s");
        totals.add("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.5s");
        totals.add("running 3 tests");
        assert_eq!((totals.passed, totals.failed, totals.ignored), (10, 2, 1));
    }
}
