//! A repository of the git server with a work tree to commit from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::git::{State, git_environment};

/// A repository that is served, and the work tree its commits are made in. The two live as long as the server.
#[derive(Debug)]
pub struct GitRepo {
    name: String,
    url: String,
    bare: PathBuf,
    work: PathBuf,
    state: Arc<State>,
}

impl GitRepo {
    pub(crate) async fn create(name: &str, url: String, state: Arc<State>) -> Result<GitRepo> {
        if name.is_empty() || name.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
            bail!("{name:?} is no name for a repository");
        }
        let bare = state.bare(name);
        let work = state.root.join("work").join(name);
        if bare.exists() {
            bail!("repository {name} exists already");
        }
        fs::create_dir_all(&work).with_context(|| format!("creating {}", work.display()))?;
        let repo = GitRepo {
            name: name.to_owned(),
            url,
            bare,
            work,
            state,
        };
        let bare_path = repo.bare.display().to_string();
        repo.run(&["init", "--quiet", "--bare", "--initial-branch=main", &bare_path])
            .await?;
        // Forges allow both: fetching a commit by its name, and partial clones.
        for (key, value) in [
            ("http.receivepack", "true"),
            ("uploadpack.allowAnySHA1InWant", "true"),
            ("uploadpack.allowFilter", "true"),
            ("gc.auto", "0"),
        ] {
            git(&repo.bare, &repo.state.root, &["config", key, value]).await?;
        }
        repo.run(&["init", "--quiet", "--initial-branch=main"]).await?;
        repo.run(&["remote", "add", "origin", &bare_path]).await?;
        Ok(repo)
    }

    /// Its name on the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address clients use.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its files are, for what the methods here do not offer; see [`GitRepo::commit`].
    pub fn work_tree(&self) -> &Path {
        &self.work
    }

    /// The served, bare repository.
    pub fn bare(&self) -> &Path {
        &self.bare
    }

    /// Writes files (paths with `/`, folders are made), commits and pushes them. Returns the commit.
    ///
    /// Writing what is there already makes an empty commit: the revision changes, the content does not.
    pub async fn commit_files(&self, files: &[(&str, &str)]) -> Result<String> {
        self.write_files(files)?;
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        self.commit(&format!("Write {}", names.join(", "))).await
    }

    /// Copies a folder with all its files into the work tree (below `to`, which may be empty), commits and pushes.
    pub async fn commit_dir(&self, from: &Path, to: &str) -> Result<String> {
        copy(from, &self.inside(to)?)?;
        self.commit(&format!("Copy {}", from.file_name().unwrap_or_default().display()))
            .await
    }

    /// Removes files or folders, commits and pushes. A path that is not there is an error.
    pub async fn remove_files(&self, paths: &[&str]) -> Result<String> {
        let mut arguments = vec!["rm", "-r", "--quiet", "--"];
        arguments.extend(paths);
        self.run(&arguments).await?;
        self.commit(&format!("Remove {}", paths.join(", "))).await
    }

    /// Commits whatever the work tree holds, and pushes. Returns the commit.
    pub async fn commit(&self, message: &str) -> Result<String> {
        let commit = self.commit_local(message).await?;
        self.push().await?;
        Ok(commit)
    }

    /// Writes files into the work tree without committing them.
    pub fn write_files(&self, files: &[(&str, &str)]) -> Result<()> {
        for (name, content) in files {
            let path = self.inside(name)?;
            let folder = path.parent().expect("a path inside the work tree has a parent");
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
            fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }

    /// Commits whatever the work tree holds, without pushing.
    pub async fn commit_local(&self, message: &str) -> Result<String> {
        self.run(&["add", "--all"]).await?;
        self.run(&["commit", "--quiet", "--allow-empty", "--no-gpg-sign", "-m", message])
            .await?;
        self.head().await
    }

    /// The commit the work tree stands on.
    pub async fn head(&self) -> Result<String> {
        self.run(&["rev-parse", "HEAD"]).await
    }

    /// Switches to a branch, which begins here when it is new.
    pub async fn branch(&self, name: &str) -> Result<()> {
        let reference = format!("refs/heads/{name}");
        let known = self
            .run(&["rev-parse", "--verify", "--quiet", &reference])
            .await
            .is_ok();
        let arguments: &[&str] = if known {
            &["switch", "--quiet", name]
        } else {
            &["switch", "--quiet", "--create", name]
        };
        self.run(arguments).await.map(drop)
    }

    /// Tags the commit the work tree stands on (moving the tag if it exists), and pushes the tag.
    pub async fn tag(&self, name: &str) -> Result<()> {
        self.run(&["tag", "--force", "--annotate", "-m", name, name]).await?;
        self.push().await
    }

    /// Goes back to an earlier commit and pushes that, as history is rewritten.
    pub async fn reset(&self, commit: &str) -> Result<()> {
        self.run(&["reset", "--hard", "--quiet", commit]).await?;
        self.push().await
    }

    /// Pushes the current branch and all tags, by force, and announces it where hints go.
    pub async fn push(&self) -> Result<()> {
        let before = references(&self.bare).await?;
        self.run(&["push", "--quiet", "--force", "--tags", "origin", "HEAD"])
            .await?;
        let updates = changes(&before, &references(&self.bare).await?);
        self.state.announce(&self.name, updates).await;
        Ok(())
    }

    async fn run(&self, arguments: &[&str]) -> Result<String> {
        git(&self.work, &self.state.root, arguments).await
    }

    fn inside(&self, name: &str) -> Result<PathBuf> {
        if name.starts_with('/') || name.split('/').any(|part| part == ".." || part == ".git") {
            bail!("{name:?} is not a path inside repository {}", self.name);
        }
        Ok(self.work.join(name))
    }
}

/// Says what to install when there is no git.
pub(crate) async fn check_git() -> Result<()> {
    git(Path::new("/"), Path::new("/"), &["version"]).await.map(drop).context(
        "running git: tests with a git server need it (package `git`, and `git-daemon` where http-backend is apart)",
    )
}

/// All references of a bare repository with the object they name.
pub(crate) async fn references(bare: &Path) -> Result<BTreeMap<String, String>> {
    let output = git(bare, bare, &["for-each-ref", "--format=%(refname) %(objectname)"]).await?;
    Ok(output
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, id)| (name.into(), id.into()))
        .collect())
}

/// What differs, as the updates of an announcement; a reference that was not there, or is no more, is all zeros.
pub(crate) fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Value {
    let nothing = "0".repeat(40);
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let at = |references: &BTreeMap<String, String>, name: &str| references.get(name).unwrap_or(&nothing).clone();
    names
        .into_iter()
        .filter(|&name| before.get(name) != after.get(name))
        .map(|name| json!({"ref": name, "before": at(before, name), "after": at(after, name)}))
        .collect()
}

async fn git(dir: &Path, root: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(dir)
        .envs(git_environment(root))
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("running git {}", arguments.join(" ")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "git {} in {} ended with {}: {}",
            arguments.join(" "),
            dir.display(),
            output.status,
            said.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let entry = entry.with_context(|| format!("listing {}", from.display()))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry
            .file_type()
            .with_context(|| format!("looking at {}", source.display()))?
            .is_dir()
        {
            copy(&source, &target)?;
        } else {
            fs::copy(&source, &target).with_context(|| format!("copying {}", source.display()))?;
        }
    }
    Ok(())
}
