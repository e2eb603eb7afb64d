//! Which of the hub's items are in the cluster: what survives a restart, so that a resume sends only what differs.
//!
//! Payloads are not kept: what they say is in the cluster, and secrets must not be on a disk. What is kept are digests,
//! owners and grants. Losing the file costs one full resend and nothing else.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{policy::Grant, report::Applied};

/// One item as it was applied.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StoredItem {
    /// Leaf digest, hexadecimal.
    pub digest: String,
    /// Kind, namespace, name and UID of the fleet object.
    pub owner: StoredOwner,
    /// What its workspace may do.
    pub grant: Grant,
    /// Namespace of its Kustomization or HelmRelease.
    pub namespace: String,
    /// Name of its Kustomization or HelmRelease.
    pub name: String,
    /// What its Kustomization or HelmRelease was called before, latest last: those may still be on their way out.
    pub former: Vec<Product>,
    /// Manifest digest, hexadecimal; empty without an artifact.
    pub manifest: String,
    /// Revision of its artifact.
    pub revision: String,
    /// The reconcile request that it carried.
    pub requested_at: String,
    /// The hub has taken it away; what it made is being removed, also after a restart.
    pub leaving: Option<Leaving>,
}

/// Names that are remembered. An item moves rarely, and what it was is gone long before it moves so often again.
const FORMER: usize = 4;

/// Where a Kustomization or HelmRelease stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// How an item leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leaving {
    /// What it applied is pruned.
    Prune,
    /// What it applied stays.
    Orphan,
}

/// A fleet object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredOwner {
    /// `FleetKustomization` or `FleetHelmRelease`.
    pub kind: String,
    /// The workspace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl StoredItem {
    /// Kind of the Flux object that the fleet object is a template of.
    pub fn product(&self) -> &'static str {
        match self.owner.kind.as_str() {
            "FleetHelmRelease" => "HelmRelease",
            _ => "Kustomization",
        }
    }

    /// What was called otherwise before an item got the name that `self` has.
    pub fn formerly(&self, before: Option<&StoredItem>) -> Vec<Product> {
        let Some(before) = before.filter(|before| before.product() == self.product()) else {
            return Vec::new();
        };
        let mut former = before.former.clone();
        former.push(Product {
            namespace: before.namespace.clone(),
            name: before.name.clone(),
        });
        former.retain(|one| !one.name.is_empty() && (&one.namespace, &one.name) != (&self.namespace, &self.name));
        let excess = former.len().saturating_sub(FORMER);
        former.drain(..excess);
        former
    }

    /// What reports on it need.
    pub fn applied(&self) -> Applied {
        Applied {
            payload: unhex(&self.digest),
            manifest: unhex(&self.manifest),
            revision: self.revision.clone(),
            requested_at: self.requested_at.clone(),
        }
    }
}

/// All items, in memory and on disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Items {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    items: Mutex<BTreeMap<String, StoredItem>>,
}

impl Items {
    /// Reads what was kept in `folder`. A file that cannot be read is set aside and counts as empty.
    pub fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let path = folder.join("items.json");
        let items = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "the list of items cannot be read; the hub sends them again");
                BTreeMap::new()
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        Ok(Items {
            inner: Arc::new(Inner {
                path,
                items: Mutex::new(items),
            }),
        })
    }

    /// Everything that is held.
    pub fn all(&self) -> BTreeMap<String, StoredItem> {
        self.lock().clone()
    }

    /// One item.
    pub fn get(&self, key: &str) -> Option<StoredItem> {
        self.lock().get(key).cloned()
    }

    /// The item whose product is of that kind and has that namespace and name.
    pub fn of_product(&self, kind: &str, namespace: &str, name: &str) -> Option<(String, StoredItem)> {
        self.lock()
            .iter()
            .find(|(_, item)| item.product() == kind && item.namespace == namespace && item.name == name)
            .map(|(key, item)| (key.clone(), item.clone()))
    }

    /// The item whose product is or was of that kind and has or had that namespace and name.
    pub fn with_product(&self, kind: &str, namespace: &str, name: &str) -> Option<(String, StoredItem)> {
        self.of_product(kind, namespace, name).or_else(|| {
            let had = |item: &StoredItem| {
                item.former
                    .iter()
                    .any(|one| one.namespace == namespace && one.name == name)
            };
            self.lock()
                .iter()
                .find(|(_, item)| item.product() == kind && had(item))
                .map(|(key, item)| (key.clone(), item.clone()))
        })
    }

    /// Keeps one item.
    pub fn put(&self, key: &str, item: StoredItem) -> Result<()> {
        self.change(|items| {
            items.insert(key.to_owned(), item);
        })
    }

    /// Forgets one item.
    pub fn remove(&self, key: &str) -> Result<()> {
        self.change(|items| {
            items.remove(key);
        })
    }

    /// Forgets all of them.
    pub fn clear(&self) -> Result<()> {
        self.change(BTreeMap::clear)
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, StoredItem>)) -> Result<()> {
        let mut items = self.lock();
        change(&mut items);
        let text = serde_json::to_vec(&*items)?;
        // Written under the lock, so that the file never goes back in time. It is small and rarely written.
        write(&self.inner.path, &text).with_context(|| format!("writing {}", self.inner.path.display()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, StoredItem>> {
        self.inner.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = std::fs::File::create(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

/// Hexadecimal text of bytes.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hexadecimal text; empty when it is not.
pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|value| value as u8))
        .collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_survive_a_restart_and_a_damaged_file_is_not_fatal() {
        let folder = tempfile::tempdir().unwrap();
        let items = Items::open(folder.path()).unwrap();
        let item = StoredItem {
            digest: hex(&[7; 32]),
            namespace: "flux-system".into(),
            name: "apps".into(),
            ..StoredItem::default()
        };
        items.put("a", item.clone()).unwrap();
        items.put("b", StoredItem::default()).unwrap();
        items.remove("b").unwrap();
        let again = Items::open(folder.path()).unwrap();
        assert_eq!(again.all().len(), 1);
        let found = again.of_product("Kustomization", "flux-system", "apps");
        assert_eq!(found, Some(("a".into(), item)));
        assert_eq!(again.of_product("HelmRelease", "flux-system", "apps"), None);
        std::fs::write(folder.path().join("items.json"), "{oops").unwrap();
        assert!(Items::open(folder.path()).unwrap().all().is_empty());
    }

    #[test]
    fn an_item_that_moved_still_answers_for_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let items = Items::open(folder.path()).unwrap();
        let mut before = None;
        for namespace in ["one", "two", "one", "three"] {
            let mut item = StoredItem {
                namespace: namespace.into(),
                name: "apps".into(),
                ..StoredItem::default()
            };
            item.former = item.formerly(before.as_ref());
            items.put("a", item.clone()).unwrap();
            before = Some(item);
        }
        let found = |namespace: &str| {
            items
                .with_product("Kustomization", namespace, "apps")
                .map(|(key, _)| key)
        };
        for namespace in ["one", "two", "three"] {
            assert_eq!(found(namespace), Some("a".into()), "{namespace}");
        }
        assert_eq!(found("four"), None);
        assert_eq!(
            items.of_product("Kustomization", "two", "apps"),
            None,
            "it is not what is there now"
        );
        let former = before.unwrap().former;
        let names: Vec<&str> = former.iter().map(|one| one.namespace.as_str()).collect();
        assert_eq!(names, ["two", "one"]);
    }

    #[test]
    fn hexadecimal_text_goes_both_ways() {
        assert_eq!(unhex(&hex(&[0, 15, 255])), [0, 15, 255]);
        assert!(unhex("xyz").is_empty() && unhex("abc").is_empty());
    }
}
