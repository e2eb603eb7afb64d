//! Repositories that only the `git` program reaches: by ssh, in a folder of this machine, with a user's own credentials.

use std::{
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result, bail, ensure};
use nave_kustomize::{RepositoryUrl, Tree};
use tokio::process::Command;

use super::disk_tree::DiskTree;

/// Fetches one commit with `git`, as kustomize does for every repository.
///
/// # Errors
/// There is no `git`, it fails, or it takes longer than the URL's timeout.
pub async fn clone_with_git(url: &RepositoryUrl, scratch: &Path) -> Result<Arc<dyn Tree>> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let folder = scratch.join(format!("clone-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
    let reference = match url.reference.as_str() {
        "" => "HEAD",
        reference => reference,
    };
    let address = url.clone_url();
    // Either could be taken for an option.
    ensure!(
        !reference.starts_with('-') && !address.starts_with('-'),
        "a reference or address cannot start with a dash"
    );
    let work = async {
        git(&folder, &["init", "--quiet"]).await?;
        git(&folder, &["fetch", "--quiet", "--depth=1", "--", &address, reference]).await?;
        git(&folder, &["checkout", "--quiet", "FETCH_HEAD"]).await?;
        if url.submodules && folder.join(".gitmodules").exists() {
            git(&folder, &["submodule", "--quiet", "update", "--init", "--recursive"]).await?;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(url.timeout, work).await {
        Ok(done) => done?,
        Err(_) => bail!("it took longer than {:?}; add ?timeout=5m to allow more", url.timeout),
    }
    Ok(Arc::new(DiskTree::below(&folder)?))
}

async fn git(folder: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        // Nobody sits there to be asked.
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("starting git, which this repository needs; is it installed?")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    bail!("git {} failed: {}", arguments[0], nave_net::redact(&said.join("; ")))
}
