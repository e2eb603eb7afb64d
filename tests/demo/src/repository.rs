//! The git repository that a fleet follows: `fleet-examples/`, served over HTTP by a real git.

use anyhow::Result;
use nave_bed::{GitRepo, GitServer, GitServerOptions};

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
            hint: hint.map(str::to_owned),
            ..GitServerOptions::default()
        })
        .await?;
        let work = server.create("fleet").await?;
        let url = server.url("fleet");
        let files = examples::files(&examples::folder())?;
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        work.commit_files("The fleet as it was", &files).await?;
        Ok(ExampleRepository { server, work, url })
    }

    /// Commits `text` as `path` and gives back the commit's id.
    pub async fn write(&self, message: &str, path: &str, text: &str) -> Result<String> {
        self.work.commit_files(message, &[(path, text)]).await
    }

    /// Replaces `from` by `to` in `path`, commits, and gives back the commit's id.
    pub async fn replace(&self, message: &str, path: &str, from: &str, to: &str) -> Result<String> {
        let text = self.work.read(path)?;
        anyhow::ensure!(text.contains(from), "{path} does not contain {from:?}");
        self.write(message, path, &text.replace(from, to)).await
    }
}
