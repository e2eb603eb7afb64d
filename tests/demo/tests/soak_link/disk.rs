//! A disk that can be filled: a small one in memory, where this user may mount one.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Room for what a hub or an agent of this soak keeps, and little more.
const SIZE: &str = "size=48m";
/// Fills in pieces of this size, and then byte by byte as far as it matters.
const PIECE: usize = 64 * 1024;

/// A folder on a disk of its own; gone when it is dropped.
pub struct Disk {
    folder: PathBuf,
    /// Why it is not a disk of its own.
    whole: Option<String>,
}

impl Disk {
    /// Mounts one at `folder`; without the right to do so it is a plain folder.
    pub fn make(folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "tmpfs"])
            .arg(&folder)
            .output();
        let whole = match mount {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Some(format!("running mount: {error}")),
        };
        Ok(Disk { folder, whole })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Why it cannot be filled.
    pub fn is_whole(&self) -> Option<&str> {
        self.whole.as_deref()
    }

    /// Writes until nothing more fits.
    pub fn fill(&self) -> Result<()> {
        if self.whole.is_some() {
            return Ok(());
        }
        let path = self.filler();
        let mut file = std::fs::File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        let piece = vec![0xa5; PIECE];
        let mut written = 0_u64;
        while let Ok(bytes) = file.write(&piece) {
            written += bytes as u64;
        }
        ensure!(written > 0, "{} was full before", self.folder.display());
        Ok(())
    }

    /// Takes that away again.
    pub fn empty(&self) -> Result<()> {
        let path = self.filler();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.whole.is_none() {
            // Lazily: whoever still holds a file keeps it until he ends.
            let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
        }
    }
}
