//! Trees of recent artifacts in memory, by the digest of the artifact.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use nave_artifact::{Digest, FileTree};

/// Least recently used first to go, bounded by bytes.
#[derive(Debug)]
pub(crate) struct Trees {
    limit: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Digest, Entry>,
    bytes: u64,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    tree: Arc<FileTree>,
    cost: u64,
    used: u64,
}

impl Trees {
    pub fn new(limit: u64) -> Self {
        Trees {
            limit,
            state: Mutex::default(),
        }
    }

    pub fn get(&self, digest: &Digest) -> Option<Arc<FileTree>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let now = state.clock;
        let entry = state.entries.get_mut(digest)?;
        entry.used = now;
        Some(entry.tree.clone())
    }

    /// Keeps a tree unless it alone is larger than the bound.
    pub fn insert(&self, digest: Digest, tree: Arc<FileTree>) {
        // A map entry with its path and two allocations costs about 200 bytes beside the content.
        let cost = tree.bytes() + 200 * tree.len() as u64;
        if cost > self.limit {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let used = state.clock;
        if let Some(before) = state.entries.insert(digest, Entry { tree, cost, used }) {
            state.bytes -= before.cost;
        }
        state.bytes += cost;
        while state.bytes > self.limit {
            // A handful of entries at most: trees are large against the bound, or few.
            let oldest = state.entries.iter().min_by_key(|(_, entry)| entry.used);
            let oldest = *oldest.expect("bytes are only counted for entries").0;
            if let Some(entry) = state.entries.remove(&oldest) {
                state.bytes -= entry.cost;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_artifact::File;

    fn tree(bytes: usize) -> Arc<FileTree> {
        let mut tree = FileTree::new();
        tree.insert("f", File::plain(vec![0; bytes])).unwrap();
        Arc::new(tree)
    }

    #[test]
    fn what_was_not_used_longest_goes_first() {
        let trees = Trees::new(3000);
        let names: Vec<Digest> = (0..4u8).map(|n| Digest::sha256(&[n])).collect();
        for name in &names[..2] {
            trees.insert(*name, tree(1000));
        }
        assert!(trees.get(&names[0]).is_some());
        trees.insert(names[2], tree(1000));
        assert!(trees.get(&names[0]).is_some() && trees.get(&names[1]).is_none());
        trees.insert(names[3], tree(5000));
        assert!(trees.get(&names[3]).is_none() && trees.get(&names[2]).is_some());
    }
}
