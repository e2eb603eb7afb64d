//! What an agent may fetch: manifests of its own desired set, and the chunks in them.

use std::sync::Arc;

use bytes::Bytes;
use nave_proto::{ChunkPolicy, Digest, wire::Manifest};

use crate::{artifacts::ManifestCache, desired::ClusterState};

/// The right of one cluster to fetch.
pub struct Fetch<'a> {
    /// Its desired set.
    pub state: &'a ClusterState,
    /// What can be served at all.
    pub manifests: &'a ManifestCache,
}

impl ChunkPolicy for Fetch<'_> {
    fn holds_manifest(&self, manifest: &Digest) -> bool {
        self.state.names_manifest(&artifact_digest(manifest))
    }

    fn has_chunk(&self, manifest: &Digest, chunk: &Digest) -> bool {
        self.manifests
            .get(&artifact_digest(manifest))
            .is_some_and(|served| served.chunk(&artifact_digest(chunk)).is_some())
    }
}

impl Fetch<'_> {
    /// A manifest that the policy let through.
    pub fn manifest(&self, manifest: &Digest) -> Option<Arc<Manifest>> {
        Some(self.manifests.get(&artifact_digest(manifest))?.manifest.clone())
    }

    /// The bytes of a chunk that the policy let through. None when the hub has let go of it meanwhile.
    pub fn chunk(&self, manifest: &Digest, chunk: &Digest) -> Option<Bytes> {
        let served = self.manifests.get(&artifact_digest(manifest))?;
        served.chunk(&artifact_digest(chunk)).map(Bytes::copy_from_slice)
    }
}

impl Fetch<'_> {
    /// What an older manifest of this cluster holds in the place of a chunk that the policy let through. None of another
    /// cluster's: how small a chunk becomes would tell what that one has.
    pub fn dictionary(&self, manifest: &Digest, chunk: &Digest, older: &Digest) -> Option<Bytes> {
        let older = artifact_digest(older);
        if !self.state.had_manifest(&older) {
            return None;
        }
        let (served, older) = (
            self.manifests.get(&artifact_digest(manifest))?,
            self.manifests.get(&older)?,
        );
        served
            .dictionary(&artifact_digest(chunk), &older)
            .map(Bytes::copy_from_slice)
    }
}

/// The same digest, as artifacts name it.
pub fn artifact_digest(digest: &Digest) -> nave_artifact::Digest {
    nave_artifact::Digest::Sha256(*digest.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_artifact::{File, FileTree};

    #[test]
    fn a_digest_alone_is_no_permission() {
        let manifests = ManifestCache::default();
        let mut tree = FileTree::new();
        tree.insert("a.yaml", File::plain(b"a".to_vec())).unwrap();
        let served = manifests
            .make(nave_artifact::Digest::sha256(b"artifact"), "r", &tree, &[])
            .unwrap();
        let manifest = Digest::from_slice(served.digest.bytes()).unwrap();
        let chunk = Digest::of_content(b"a");

        let state = ClusterState::default();
        let fetch = Fetch {
            state: &state,
            manifests: &manifests,
        };
        assert!(!fetch.holds_manifest(&manifest), "another cluster's");
        assert!(fetch.has_chunk(&manifest, &chunk));
        assert!(!fetch.has_chunk(&manifest, &Digest::of_content(b"b")));
        let state = ClusterState::naming("FleetKustomization/team/apps", served.digest);
        let fetch = Fetch {
            state: &state,
            manifests: &manifests,
        };
        assert!(fetch.holds_manifest(&manifest));
        let mut older = FileTree::new();
        older.insert("a.yaml", File::plain(b"before".to_vec())).unwrap();
        let older = manifests
            .make(nave_artifact::Digest::sha256(b"older"), "r", &older, &[])
            .unwrap();
        let older = Digest::from_slice(older.digest.bytes()).unwrap();
        assert_eq!(fetch.dictionary(&manifest, &chunk, &older), None, "another cluster's");
        assert_eq!(
            fetch.dictionary(&manifest, &chunk, &manifest),
            Some(Bytes::from_static(b"a"))
        );
        assert_eq!(fetch.chunk(&manifest, &chunk).unwrap(), b"a".as_slice());
    }
}
