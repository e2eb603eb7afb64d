//! Writing a tree as the reproducible `tar.gz` that Flux artifacts are.
//!
//! As source-controller does (1.9, `storage.Archive`): entries sorted, owner 0 without names, modification time 0,
//! directories 0750, files 0600, executable files 0700. The bytes depend on the files alone, so the digest is the same
//! on every machine that runs the same version of the compressor.

use std::io::{self, Write};

use tar::{Builder, EntryType, Header};

use crate::{FileTree, gzip::GzipWriter};

/// Mode of every directory in an archive.
pub const MODE_DIRECTORY: u32 = 0o750;
/// Mode of a file without executable bits.
pub const MODE_FILE: u32 = 0o600;
/// Mode of a file with any executable bit.
pub const MODE_EXECUTABLE: u32 = 0o700;

/// Packs a tree into memory.
pub fn pack(tree: &FileTree) -> Vec<u8> {
    write_tarball(tree, Vec::new()).expect("writing to a vector does not fail")
}

/// Packs a tree into `writer`, which is handed back, and not flushed.
///
/// # Errors
/// Only those of the writer.
pub fn write_tarball<W: Write>(tree: &FileTree, writer: W) -> io::Result<W> {
    let mut archive = Builder::new(GzipWriter::new(writer)?);
    let mut open: Vec<&str> = Vec::new();
    for (path, file) in tree.iter() {
        let mut segments: Vec<&str> = path.split('/').collect();
        segments.pop();
        let shared = open
            .iter()
            .zip(&segments)
            .take_while(|(before, now)| before == now)
            .count();
        for depth in shared..segments.len() {
            let directory = segments[..=depth].join("/") + "/";
            append(&mut archive, EntryType::Directory, &directory, MODE_DIRECTORY, &[])?;
        }
        open = segments;
        let mode = if file.executable { MODE_EXECUTABLE } else { MODE_FILE };
        append(&mut archive, EntryType::Regular, path, mode, &file.data)?;
    }
    archive.into_inner()?.finish()
}

fn append<W: Write>(archive: &mut Builder<W>, kind: EntryType, path: &str, mode: u32, data: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(data.len() as u64);
    archive.append_data(&mut header, path, data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, File, Limits, unpack};

    fn sample() -> FileTree {
        let mut tree = FileTree::new();
        let long = format!("long/{}/x.yaml", "n".repeat(180));
        for (path, executable, data) in [
            ("b.yaml", false, "b: 1\n"),
            ("a/c/run.sh", true, "#!/bin/sh\n"),
            ("a/b.yaml", false, ""),
            (long.as_str(), false, "x"),
        ] {
            let file = File {
                executable,
                data: data.as_bytes().into(),
            };
            tree.insert(path, file).unwrap();
        }
        tree
    }

    #[test]
    fn headers_are_what_flux_writes() {
        let packed = pack(&sample());
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
        let seen: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                assert_eq!(
                    (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()),
                    (0, 0, 0)
                );
                assert_eq!(
                    (header.username().unwrap(), header.groupname().unwrap()),
                    (Some(""), Some(""))
                );
                format!("{:o} {}", header.mode().unwrap(), entry.path().unwrap().display())
            })
            .collect();
        let long = "n".repeat(180);
        assert_eq!(
            seen,
            [
                "750 a/".to_owned(),
                "600 a/b.yaml".to_owned(),
                "750 a/c/".to_owned(),
                "700 a/c/run.sh".to_owned(),
                "600 b.yaml".to_owned(),
                "750 long/".to_owned(),
                format!("750 long/{long}/"),
                format!("600 long/{long}/x.yaml"),
            ]
        );
    }

    #[test]
    fn bytes_depend_on_the_files_alone() {
        let packed = pack(&sample());
        assert_eq!(packed, pack(&sample()));
        assert_eq!(unpack(packed.as_slice(), &Limits::default()).unwrap(), sample());
    }

    /// A change of this value changes the digest of every artifact of every user: it must be meant, and said in the
    /// changelog.
    #[test]
    fn the_digest_of_a_known_tree_is_pinned() {
        let mut tree = FileTree::new();
        for number in 0..200 {
            let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c-{number}\n");
            tree.insert(format!("apps/{number}/cm.yaml"), File::plain(text.as_bytes()))
                .unwrap();
        }
        assert_eq!(Digest::sha256(&pack(&tree)).to_string(), PINNED);
    }
    const PINNED: &str = "sha256:214918393a9f700cf9fa386cadb825285a76237ee6c6a929d7391adc39b28979";
}
