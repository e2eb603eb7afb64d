//! What is remembered between builds: repositories on disk, files with their ETag, hosts that do not answer.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use reqwest::header;
use tokio::time::Instant;

/// Repositories whose objects stay on disk, the latest used ones.
const KEPT_REPOSITORIES: usize = 64;
/// Files kept with their ETag, and their size together.
const KEPT_FILES: usize = 256;
const KEPT_BYTES: usize = 8 << 20;
/// A failure that took this long is not sought again for a while: many builds that need a host which does not answer would
/// otherwise hold all workers.
const SLOW: Duration = Duration::from_secs(5);
const REST: Duration = Duration::from_secs(30);
/// Hosts that are remembered for it.
const MOST_SILENT: usize = 256;

#[derive(Default)]
pub(super) struct Kept {
    /// Addresses, the latest used last.
    repositories: VecDeque<String>,
    pub files: HashMap<String, Tagged>,
    bytes: usize,
    /// Hosts that took long to say nothing, and since when they are left alone.
    silent: HashMap<String, (Instant, String)>,
}

#[derive(Clone)]
pub(super) struct Tagged {
    pub etag: header::HeaderValue,
    pub bytes: Arc<[u8]>,
}

impl Kept {
    /// Moves a repository to the end; gives the one that has to go for it.
    pub fn use_repository(&mut self, address: &str) -> Option<String> {
        self.repositories.retain(|other| other != address);
        self.repositories.push_back(address.to_owned());
        (self.repositories.len() > KEPT_REPOSITORIES).then(|| self.repositories.pop_front())?
    }

    /// Why a host is not asked now; none when it is.
    pub fn rests(&self, host: &str, now: Instant) -> Option<String> {
        let (since, why) = self.silent.get(host)?;
        (now.saturating_duration_since(*since) < REST).then(|| format!("{why}; {host} is asked again in a moment"))
    }

    pub fn failed(&mut self, host: String, began: Instant, now: Instant, why: &str) {
        if now.saturating_duration_since(began) < SLOW {
            return;
        }
        self.silent
            .retain(|_, (since, _)| now.saturating_duration_since(*since) < REST);
        if self.silent.len() < MOST_SILENT {
            self.silent.insert(host, (now, why.to_owned()));
        }
    }

    pub fn keep_file(&mut self, address: &str, file: Tagged) {
        if file.bytes.len() > KEPT_BYTES / 4 {
            return;
        }
        if self.files.len() >= KEPT_FILES || self.bytes + file.bytes.len() > KEPT_BYTES {
            self.files.clear();
            self.bytes = 0;
        }
        self.bytes += file.bytes.len();
        if let Some(before) = self.files.insert(address.to_owned(), file) {
            self.bytes -= before.bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_takes_long_to_fail_is_left_alone_for_a_while() {
        let (mut kept, began) = (Kept::default(), Instant::now());
        let host = "git.example.com:443".to_owned();
        kept.failed(host.clone(), began, began + Duration::from_secs(1), "not found");
        assert_eq!(kept.rests(&host, began), None, "a quick answer costs nothing");
        let late = began + Duration::from_secs(20);
        kept.failed(host.clone(), began, late, "no answer");
        assert!(
            kept.rests(&host, late + REST / 2)
                .is_some_and(|why| why.starts_with("no answer; "))
        );
        assert_eq!(kept.rests("other:443", late), None);
        assert_eq!(kept.rests(&host, late + REST), None);
        for number in 0..2 * MOST_SILENT {
            kept.failed(number.to_string(), began, late, "no answer");
        }
        assert!(kept.silent.len() <= MOST_SILENT);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut kept = Kept::default();
        let released: Vec<String> = (0..=KEPT_REPOSITORIES)
            .filter_map(|number| kept.use_repository(&number.to_string()))
            .collect();
        assert_eq!(released, ["0"]);
        assert_eq!(kept.use_repository("1"), None, "it is used again, and none is new");
        assert_eq!(kept.use_repository("new").as_deref(), Some("2"));
        let file = |size: usize| Tagged {
            etag: header::HeaderValue::from_static("x"),
            bytes: vec![0; size].into(),
        };
        for number in 0..10 * KEPT_FILES {
            kept.keep_file(&number.to_string(), file(KEPT_BYTES / 100));
            assert!(kept.files.len() <= KEPT_FILES && kept.bytes <= KEPT_BYTES);
        }
        let before = kept.bytes;
        kept.keep_file("large", file(KEPT_BYTES));
        kept.keep_file(&(10 * KEPT_FILES - 1).to_string(), file(1));
        assert!(kept.bytes < before && !kept.files.contains_key("large"));
    }
}
