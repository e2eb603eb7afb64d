//! The git repository that a fleet follows: `fleet-examples/`, served over HTTP by a real git.

use std::fs;

use anyhow::{Context, Result, ensure};
use nave_bed::{Auth, GitRepo, GitServer, GitServerOptions};

use crate::examples;

/// A repository with the examples in it, and the server that serves it.
pub struct ExampleRepository {
    /// The server; request counts and faults are there.
    pub server: GitServer,
    /// The work tree that commits are made in.
    pub work: GitRepo,
    /// What a GitRepository's `spec.url` says.
    pub url: String,
}

impl ExampleRepository {
    /// Serves a new repository. After each push the hook calls `hint`, if there is one.
    pub async fn start(hint: Option<&str>) -> Result<Self> {
        let server = GitServer::start(GitServerOptions {
            hint_url: hint.map(str::to_owned),
            ..GitServerOptions::default()
        })
        .await?;
        let work = server.create_repo("fleet").await?;
        let url = work.url().to_owned();
        let files = examples::files(&examples::folder())?;
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        work.commit_files(&files).await?;
        Ok(ExampleRepository { server, work, url })
    }

    /// The text of `path` as it stands in the work tree.
    pub fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.work.work_tree().join(path))
            .with_context(|| format!("reading {path} of the repository"))
    }

    /// Commits `text` as `path` and gives back the commit's id.
    pub async fn write(&self, message: &str, path: &str, text: &str) -> Result<String> {
        self.work.write_files(&[(path, text)])?;
        self.work.commit(message).await
    }

    /// Replaces `from` by `to` in `path`, commits, and gives back the commit's id.
    pub async fn replace(&self, message: &str, path: &str, from: &str, to: &str) -> Result<String> {
        let text = self.read(path)?;
        ensure!(text.contains(from), "{path} does not contain {from:?}");
        self.write(message, path, &text.replace(from, to)).await
    }

    /// From now on clients must know this password.
    pub fn require_basic_auth(&self, user: &str, password: &str) {
        self.server.set_auth(Auth::Basic {
            user: user.to_owned(),
            password: password.to_owned(),
        });
    }
}
