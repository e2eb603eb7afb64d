//! Which earlier artifacts of an object are kept, and removing the others.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use crate::{
    Owner,
    store::{Store, blocking},
};

/// What is kept beside the current artifact (`--artifact-retention-ttl`, `--artifact-retention-records`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Files older than this go.
    pub ttl: Duration,
    /// Of the rest so many stay, the current one included; the oldest go first.
    pub records: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            ttl: Duration::from_secs(60),
            records: 2,
        }
    }
}

/// Flux looks at no more per reconcile; the next one goes on.
const SCANNED: usize = 1000;

impl Store {
    /// Removes what retention no longer allows beside `current` (a file name), and says what was removed.
    ///
    /// # Errors
    /// The disk's; a directory that is not there is fine.
    pub async fn collect(&self, owner: &Owner, current: &str, now: SystemTime) -> io::Result<Vec<String>> {
        let directory = self.directory().join(owner.directory());
        let retention = self.inner.options.retention;
        let current = current.to_owned();
        let store = self.clone();
        if let Some(shared) = self.shared() {
            for name in garbage(&shared.files(owner).await?, &current, retention, now) {
                shared.remove(&format!("{}/{name}", owner.directory())).await?;
            }
        }
        blocking(move || {
            let files = match list(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                other => other?,
            };
            let garbage = garbage(&files, &current, retention, now);
            for name in &garbage {
                let file = directory.join(name);
                remove(&file)?;
                store.inner.verified.forget(&file);
                // A volume taken over from Flux has a lock file beside each artifact.
                remove(&directory.join(format!("{name}.lock")))?;
            }
            Ok(garbage)
        })
        .await
    }
}

/// Names and modification times of the regular files that are artifacts.
fn list(directory: &Path) -> io::Result<Vec<(String, SystemTime)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)?.take(SCANNED) {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name.ends_with(".lock") {
            continue;
        }
        let metadata = match fs::symlink_metadata(entry.path()) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if metadata.is_file() {
            files.push((name, metadata.modified()?));
        }
    }
    Ok(files)
}

fn garbage(files: &[(String, SystemTime)], current: &str, retention: Retention, now: SystemTime) -> Vec<String> {
    let mut others: Vec<&(String, SystemTime)> = files.iter().filter(|(name, _)| name != current).collect();
    others.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    let has_current = others.len() < files.len();
    let room = retention.records.saturating_sub(usize::from(has_current));
    let expired = |time: &SystemTime| now.duration_since(*time).is_ok_and(|age| age > retention.ttl);
    let old = others.iter().filter(|(_, time)| expired(time)).count();
    let surplus = others.len().saturating_sub(room);
    others[..old.max(surplus)]
        .iter()
        .map(|(name, _)| name.clone())
        .collect()
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ages in seconds; "now" is at 1,000,000.
    #[track_caller]
    fn check(files: &[(&str, u64)], current: &str, expected: &[&str]) {
        let at = |age: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age);
        let files: Vec<(String, SystemTime)> = files.iter().map(|(name, age)| ((*name).to_owned(), at(*age))).collect();
        assert_eq!(garbage(&files, current, Retention::default(), at(0)), expected);
    }

    #[test]
    fn old_files_go_and_of_the_young_two_stay() {
        check(&[("a", 5)], "a", &[]);
        check(&[("a", 500)], "a", &[]);
        check(&[("a", 500), ("b", 5)], "b", &["a"]);
        check(&[("a", 50), ("b", 5)], "b", &[]);
        check(&[("a", 50), ("b", 40), ("c", 5)], "c", &["a"]);
        check(&[("a", 500), ("b", 40), ("c", 30), ("d", 5)], "d", &["a", "b"]);
        // The current one stays although it is the oldest, after a branch went back.
        check(&[("a", 500), ("b", 40), ("c", 30)], "a", &["b"]);
        // The current file is gone: two others stay.
        check(&[("a", 50), ("b", 40), ("c", 30)], "x", &["a"]);
        // A clock that went back removes by count only.
        check(&[("a", 0)], "x", &[]);
    }
}
