//! What joins an agent to a hub: a file for agents run by hand, a secret in the cluster otherwise.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nave_identity::JoinToken;
use nave_object::yaml::{self, Dialect};
use serde::Deserialize;

/// The contents of `--hub-config`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubConfig {
    /// `nave1.…`; needed until the agent has joined.
    #[serde(default)]
    pub token: Option<String>,
    /// The name to join under, when the token leaves a choice.
    #[serde(default)]
    pub name: Option<String>,
    /// The HTTP proxy for the link over TCP: `http://user:password@host:port`. Else that of the environment.
    #[serde(default)]
    pub proxy: Option<String>,
    /// Where key, certificate, roots and boot counter are kept. The file is made with mode 0600.
    pub state: PathBuf,
}

impl HubConfig {
    /// Names the token without giving it away. None without one, or with one that is none.
    pub fn token_id(&self) -> Option<String> {
        let token: JoinToken = self.token.as_deref()?.parse().ok()?;
        Some(token.id)
    }

    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("reading {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut documents = yaml::read_documents(text, Dialect::K8s)?;
        ensure!(
            documents.len() == 1,
            "expected one YAML document, found {}",
            documents.len()
        );
        let Some(document) = documents.pop() else {
            bail!("the file is empty");
        };
        let config: HubConfig = serde_json::from_value(document)?;
        ensure!(
            config.token.as_deref().is_none_or(|token| token.starts_with("nave1.")),
            "token: a join token starts with nave1."
        );
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_checked() {
        let config = HubConfig::parse("token: nave1.abc\nname: eu-1\nstate: /var/lib/nave/state.json\n").unwrap();
        assert_eq!(
            (config.token.as_deref(), config.name.as_deref()),
            (Some("nave1.abc"), Some("eu-1"))
        );
        for (text, named) in [
            ("token: abc\nstate: s\n", "nave1."),
            ("token: nave1.a\n", "state"),
            ("state: s\ntokn: nave1.a\n", "tokn"),
            ("", "empty"),
        ] {
            let error = format!("{:#}", HubConfig::parse(text).unwrap_err());
            assert!(error.contains(named) || text.is_empty(), "{error}");
        }
    }
}
