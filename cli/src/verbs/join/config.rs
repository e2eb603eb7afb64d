//! The file for an agent that is run by hand: `nave-agent --hub-config FILE`.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nave_object::yaml;
use serde_json::{Value, json};

use crate::say;

/// The token as it was given, or from standard input for `-`, so that it stays out of the list of processes.
pub fn read_token(given: &str) -> Result<String> {
    if given != "-" {
        return Ok(given.trim().to_owned());
    }
    let mut text = String::new();
    // A token has at most 4,096 characters; whatever is longer is none.
    std::io::stdin()
        .take(8192)
        .read_to_string(&mut text)
        .context("reading the token from standard input")?;
    Ok(text.trim().to_owned())
}

/// Writes the configuration to a file that only its owner may read, or to standard output.
pub(super) fn write(file: &Path, token: &str, name: Option<&str>, state: Option<&Path>) -> Result<()> {
    let to_stdout = file == Path::new("-");
    let state = match state {
        Some(state) => state.to_owned(),
        None if to_stdout => PathBuf::from("nave-agent.state"),
        None => beside(file),
    };
    let text = yaml::write(&config(token, name, &state));
    if to_stdout {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        return Ok(());
    }
    let what = || format!("writing {}", file.display());
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(file)
        .with_context(what)?
        .write_all(text.as_bytes())
        .with_context(what)?;
    say::success(&format!(
        "{} written; start the agent with --hub-config {}",
        file.display(),
        file.display()
    ));
    Ok(())
}

fn config(token: &str, name: Option<&str>, state: &Path) -> Value {
    let mut config = json!({"token": token, "state": state.to_string_lossy()});
    if let Some(name) = name {
        config["name"] = json!(name);
    }
    config
}

/// `hub.yaml` keeps its state in `hub.state`.
fn beside(file: &Path) -> PathBuf {
    let state = file.with_extension("state");
    if state == file {
        file.with_extension("agent.state")
    } else {
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_the_agent_reads() {
        assert_eq!(
            yaml::write(&config("nave1.x", Some("eu-1"), &beside(Path::new("/tmp/hub.yaml")))),
            "name: eu-1\nstate: /tmp/hub.state\ntoken: nave1.x\n"
        );
        assert_eq!(beside(Path::new("a.state")), Path::new("a.agent.state"));
    }
}
