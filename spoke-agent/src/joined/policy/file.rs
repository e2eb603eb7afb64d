//! The policy file as it is now: a mounted ConfigMap changes under the running agent.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use nave_proto::Digest;
use nave_runtime::Tasks;
use tokio::sync::watch;

use super::rules::Rules;

/// How often the file is looked at; the kubelet itself takes up to a minute to bring a change.
const LOOK: Duration = Duration::from_secs(10);

/// The newest rules that could be read. Cheap to clone.
#[derive(Clone, Default)]
pub struct PolicyFile {
    path: Option<Arc<Path>>,
    now: Arc<watch::Sender<Option<Arc<Read>>>>,
}

/// A file that was read.
pub struct Read {
    /// What it says.
    pub rules: Rules,
    /// Digest of its text, which the hub is told.
    pub digest: Digest,
    text: String,
}

impl PolicyFile {
    /// Reads the file, if one is named and there.
    ///
    /// # Errors
    /// It is there and cannot be read, or makes no sense: an agent that was given limits does not run without them.
    pub fn open(path: Option<&PathBuf>) -> Result<Self> {
        let file = PolicyFile {
            path: path.map(|path| Arc::from(path.as_path())),
            now: Arc::default(),
        };
        file.look()?;
        Ok(file)
    }

    /// Follows the file. One that makes no sense, or is gone, leaves the rules as they were until the next start.
    pub fn follow(&self, tasks: &Tasks) {
        if self.path.is_none() {
            return;
        }
        let (file, shutdown) = (self.clone(), tasks.shutdown_token().clone());
        tasks.spawn("policy-file", async move {
            let mut problem = String::new();
            while shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
                let seen = file.look().err().map(|error| format!("{error:#}")).unwrap_or_default();
                if seen != problem && !seen.is_empty() {
                    tracing::error!("{seen}; the policy before it stays in force");
                }
                problem = seen;
            }
        });
    }

    /// What is in force.
    pub fn now(&self) -> Option<Arc<Read>> {
        self.now.borrow().clone()
    }

    /// Told when other rules are in force.
    pub fn changes(&self) -> watch::Receiver<Option<Arc<Read>>> {
        self.now.subscribe()
    }

    fn look(&self) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                anyhow::ensure!(self.now().is_none(), "policy file {} is gone", path.display());
                return Ok(());
            }
            Err(error) => return Err(error).with_context(|| format!("reading policy file {}", path.display())),
        };
        if self.now().is_some_and(|read| read.text == text) {
            return Ok(());
        }
        let rules = Rules::parse(&text).with_context(|| format!("reading policy file {}", path.display()))?;
        let digest = Digest::of_content(text.as_bytes());
        tracing::info!(path = %path.display(), %digest, "the policy of this cluster caps what a hub may do");
        self.now.send_replace(Some(Arc::new(Read { rules, digest, text })));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_and_what_makes_no_sense_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        let file = PolicyFile::open(Some(&path)).unwrap();
        assert!(file.now().is_none(), "no file is no policy");
        std::fs::write(&path, "workspaces: [platform]\n").unwrap();
        file.look().unwrap();
        let first = file.now().unwrap().digest;
        let mut changes = file.changes();
        std::fs::write(&path, "workspace: [platform]\n").unwrap();
        let error = format!("{:#}", file.look().unwrap_err());
        assert!(error.contains("policy.yaml") && error.contains("workspace"), "{error}");
        assert_eq!(file.now().unwrap().digest, first);
        std::fs::remove_file(&path).unwrap();
        assert!(file.look().is_err(), "limits do not end by losing the file");
        assert_eq!(file.now().unwrap().digest, first);
        std::fs::write(&path, "workspaces: [platform, team-a]\n").unwrap();
        file.look().unwrap();
        assert_ne!(file.now().unwrap().digest, first);
        assert!(changes.has_changed().unwrap());
        assert_eq!(
            changes.borrow_and_update().as_ref().unwrap().digest,
            file.now().unwrap().digest
        );
        file.look().unwrap();
        assert!(!changes.has_changed().unwrap(), "the same text is no change");
        std::fs::write(&path, "nonsense").unwrap();
        assert!(
            PolicyFile::open(Some(&path)).is_err(),
            "an agent does not start without its limits"
        );
    }
}
