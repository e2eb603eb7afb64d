//! Parsed files, shared between builds and threads.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use nave_object::yaml::{Dialect, Node, YamlError, parse_nodes};
use sha2::{Digest, Sha256};

/// Locks: builds run in parallel, and most of them look up different files at any moment.
const SHARDS: usize = 16;

/// Files by the digest of their content, parsed once. The caller owns it and says what lives how
/// long by dropping it or calling [`Cache::clear`].
#[derive(Default)]
pub struct Cache {
    shards: [Shard; SHARDS],
}

type Shard = RwLock<HashMap<[u8; 32], Arc<Vec<Node>>>>;

impl Cache {
    /// An empty cache.
    pub fn new() -> Cache {
        Cache::default()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        for shard in &self.shards {
            shard.write().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
        }
    }

    /// The number of files kept.
    pub fn len(&self) -> usize {
        let kept = |shard: &Shard| shard.read().unwrap_or_else(|poisoned| poisoned.into_inner()).len();
        self.shards.iter().map(kept).sum()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn nodes(&self, bytes: &[u8]) -> Result<Arc<Vec<Node>>, YamlError> {
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        let shard = &self.shards[usize::from(digest[0]) % SHARDS];
        if let Some(nodes) = shard
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .get(&digest)
        {
            return Ok(nodes.clone());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| YamlError {
            line: 1,
            column: 0,
            problem: "the file is not UTF-8".to_owned(),
        })?;
        let nodes = Arc::new(parse_nodes(text, Dialect::Kyaml)?);
        shard
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .insert(digest, nodes.clone());
        Ok(nodes)
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cache({} files)", self.len())
    }
}
