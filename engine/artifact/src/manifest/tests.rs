//! Manifests made, checked, and put together again.

use super::*;
use crate::{ChunkIndex, digest::Algorithm};

/// Bytes without repetition, the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut data = Vec::with_capacity(length + 8);
    while data.len() < length {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        data.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    data.truncate(length);
    data
}

fn sample() -> FileTree {
    let mut tree = FileTree::new();
    tree.insert("apps/a.yaml", File::plain(b"a: 1\n".as_slice())).unwrap();
    tree.insert("apps/empty", File::plain(b"".as_slice())).unwrap();
    tree.insert("infra/big", File::plain(noise(1, 1 << 20))).unwrap();
    let run = File {
        executable: true,
        data: b"#!/bin/sh\n".as_slice().into(),
    };
    tree.insert("run.sh", run).unwrap();
    tree
}

fn assemble(manifest: &Manifest, tree: &FileTree) -> Result<FileTree, AssembleError> {
    let index = ChunkIndex::new(manifest);
    manifest.assemble(&Limits::default(), |digest| index.read(tree, digest).map(Arc::from))
}

#[test]
fn a_tree_comes_back_from_its_chunks() {
    let tree = sample();
    let manifest = Manifest::of(&tree, &Include::default());
    assert_eq!(assemble(&manifest, &tree).unwrap(), tree);
    assert!(manifest.chunks().iter().all(|chunk| chunk.size as usize <= MAX_CHUNK));
    assert!(manifest.files[2].chunks.len() >= 4);
    let json = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
}

/// A change of this value renames every revision of every fleet: it must not change.
#[test]
fn the_digest_of_a_known_tree_is_pinned() {
    let manifest = Manifest::of(&sample(), &Include::default());
    assert_eq!(
        manifest.digest().to_string(),
        "sha256:c5e88974ed0c780dcdf68415ab88dc770b6309991c4931994b5f9ea91f710024"
    );
}

#[test]
fn the_digest_covers_paths_modes_and_content_but_not_the_cuts() {
    let manifest = Manifest::of(&sample(), &Include::default());
    let digest = manifest.digest();
    let mut recut = manifest.clone();
    recut.files[2].chunks.clear();
    assert_eq!(recut.digest(), digest);
    for change in 0..4 {
        let mut other = manifest.clone();
        match change {
            0 => other.files[0].path.push('x'),
            1 => other.files[0].mode = MODE_EXECUTABLE,
            2 => other.files[0].digest = Digest::sha256(b"other"),
            _ => drop(other.files.pop()),
        }
        assert_ne!(other.digest(), digest, "change {change}");
    }
}

#[test]
fn include_cuts_the_manifest_down() {
    let include = Include::new(&["apps/**"]).unwrap();
    let manifest = Manifest::of(&sample(), &include);
    let paths: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["apps/a.yaml", "apps/empty"]);
}

#[test]
fn a_line_inserted_early_changes_few_chunks() {
    let before = sample();
    let mut after = before.clone();
    let mut data = before.get("infra/big").unwrap().data.to_vec();
    data.splice(1000..1000, *b"one more line\n");
    after.insert("infra/big", File::plain(data)).unwrap();
    let known: HashSet<Digest> = Manifest::of(&before, &Include::default())
        .chunks()
        .iter()
        .map(|chunk| chunk.digest)
        .collect();
    let manifest = Manifest::of(&after, &Include::default());
    let fresh = manifest
        .chunks()
        .iter()
        .filter(|chunk| !known.contains(&chunk.digest))
        .count();
    assert!(
        (1..=2).contains(&fresh),
        "{fresh} of {} chunks are new",
        manifest.chunks().len()
    );
}

#[test]
fn false_chunks_and_manifests_are_refused() {
    let tree = sample();
    let good = Manifest::of(&tree, &Include::default());
    let index = ChunkIndex::new(&good);
    let wrong = good.assemble(&Limits::default(), |digest| {
        let mut data = index.read(&tree, digest)?.to_vec();
        data[0] ^= 1;
        Some(data.into())
    });
    assert!(matches!(wrong, Err(AssembleError::Chunk { .. })));
    let missing = good.assemble(&Limits::default(), |_| None);
    assert!(matches!(missing, Err(AssembleError::Missing { .. })));
    let small = good.check(&Limits { bytes: 1000, files: 10 });
    assert_eq!(small.unwrap_err().to_string(), "manifest names more than 1000 bytes");

    let refused = |change: fn(&mut Manifest), part: &str| {
        let mut manifest = good.clone();
        change(&mut manifest);
        let error = assemble(&manifest, &tree).unwrap_err();
        let text = format!(
            "{error}: {:?}",
            std::error::Error::source(&error).map(ToString::to_string)
        );
        assert!(text.contains(part), "{text}");
    };
    refused(|m| m.files[0].path = "../a".into(), "manifest file 1");
    refused(|m| m.files.swap(0, 1), "is not in order");
    refused(|m| m.files[0].mode = 0o4755, "mode");
    refused(|m| m.files[0].size += 1, "add up");
    refused(|m| m.files[2].chunks[0].size = u32::MAX, "256 KiB");
    refused(|m| m.files[0].digest = Digest::sha256(b"x"), "expected");
    refused(|m| m.files[0].digest = Algorithm::Blake3.digest(b"x"), "not SHA-256");
}
