//! The programs of this workspace, built as the running test is.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

type Built = Arc<OnceLock<Result<PathBuf, String>>>;

/// Builds a program of the workspace by the name of its binary, once per process, and returns its path.
///
/// The profile is that of the running test, and `CARGO` and `CARGO_TARGET_DIR` are respected. This blocks while cargo
/// runs (whose messages go to standard error): use `spawn_blocking` where that matters.
pub fn binary(name: &str) -> Result<PathBuf> {
    static BUILT: Mutex<Option<HashMap<String, Built>>> = Mutex::new(None);
    let built = {
        let mut all = BUILT.lock().expect("nothing panics while it holds the table");
        all.get_or_insert_default().entry(name.to_owned()).or_default().clone()
    };
    built
        .get_or_init(|| build(name).map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(|error| anyhow::anyhow!("building {name}: {error}"))
}

fn build(name: &str) -> Result<PathBuf> {
    let package = package_of(name)?;
    let mut cargo = cargo();
    cargo.args([
        "build",
        "--quiet",
        "--message-format=json-render-diagnostics",
        "--bin",
        name,
        "-p",
        &package,
    ]);
    if let Some(profile) = profile() {
        cargo.args(["--profile", &profile]);
    }
    let output = cargo
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("running cargo build")?;
    if !output.status.success() {
        bail!("cargo build -p {package} --bin {name} ended with {}", output.status);
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo build -p {package} --bin {name} named no executable"))
}

fn package_of(name: &str) -> Result<String> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version=1"])
        .output()
        .context("running cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("reading the answer of cargo metadata")?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata listed no packages")?;
    let has_binary = |package: &&Value| {
        package["targets"].as_array().is_some_and(|targets| {
            targets.iter().any(|target| {
                target["name"] == name
                    && target["kind"]
                        .as_array()
                        .is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"))
            })
        })
    };
    let package = packages
        .iter()
        .find(has_binary)
        .with_context(|| format!("no package of the workspace has a binary {name}"))?;
    Ok(package["name"]
        .as_str()
        .context("cargo metadata gave a package without a name")?
        .to_owned())
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// The profile by the folder the test runs from (`target/<profile>/deps/…`), or nothing for the default one.
fn profile() -> Option<String> {
    profile_of(&std::env::current_exe().ok()?)
}

fn profile_of(executable: &Path) -> Option<String> {
    let folder = executable.parent()?;
    let folder = if folder.ends_with("deps") || folder.ends_with("examples") {
        folder.parent()?
    } else {
        folder
    };
    match folder.file_name()?.to_str()? {
        "debug" => None,
        profile => Some(profile.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_that_of_the_folder() {
        let profile = |path: &str| profile_of(Path::new(path));
        assert_eq!(profile("/t/debug/deps/x-1"), None);
        assert_eq!(profile("/t/debug/bed"), None);
        assert_eq!(profile("/t/release/deps/x-1"), Some("release".into()));
        assert_eq!(
            profile("/t/x86_64-unknown-linux-gnu/bench/deps/x-1"),
            Some("bench".into())
        );
    }

    #[test]
    fn a_binary_is_found_by_its_name() {
        assert_eq!(package_of("bed").unwrap(), "nave-bed");
        let text = format!("{:#}", binary("no-such-program").unwrap_err());
        assert_eq!(
            text,
            "building no-such-program: no package of the workspace has a binary no-such-program"
        );
    }
}
