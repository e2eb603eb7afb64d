//! Writing a tree as the reproducible `tar.gz` that Flux artifacts are.
//!
//! As source-controller does (1.9, `storage.Archive`): entries sorted, owner 0 without names, modification time 0,
//! directories 0750, files 0600, executable files 0700. The bytes depend on the files alone, so the digest is the same
//! on every machine that runs the same version of the compressor.
//!
//! The entries are compressed in stretches of some dozen files, each by itself: [`crate::repack`] copies those that have
//! not changed. Where a stretch ends depends on the paths alone.

use std::io::{self, Read, Write};

use tar::{Builder, EntryType, Header};

use crate::{
    FileTree,
    gzip::{GzipWriter, Stretch},
};

/// Mode of every directory in an archive.
pub const MODE_DIRECTORY: u32 = 0o750;
/// Mode of a file without executable bits.
pub const MODE_FILE: u32 = 0o600;
/// Mode of a file with any executable bit.
pub const MODE_EXECUTABLE: u32 = 0o700;

/// One path in so many ends a stretch.
const FILES_IN_STRETCH: u32 = 64;
/// No stretch has more files.
const MAX_FILES_IN_STRETCH: usize = 256;

/// Whether the file of that path, the `count`th of its stretch, is the last one of it.
pub(crate) fn ends_stretch(path: &str, count: usize) -> bool {
    count >= MAX_FILES_IN_STRETCH || crc32fast::hash(path.as_bytes()).is_multiple_of(FILES_IN_STRETCH)
}

/// Packs a tree into memory.
pub fn pack(tree: &FileTree) -> Vec<u8> {
    write_tarball(tree, Vec::new()).expect("writing to a vector does not fail")
}

/// Packs a tree into `writer`, which is handed back, and not flushed.
///
/// # Errors
/// Only those of the writer.
pub fn write_tarball<W: Write>(tree: &FileTree, writer: W) -> io::Result<W> {
    let mut tarball = Tarball::new(writer)?;
    for (path, file) in tree.iter() {
        tarball.file(path, file.executable, file.data.len() as u64, &*file.data)?;
    }
    tarball.finish()
}

/// A tarball written file by file, for trees that do not fit into memory. Nothing is complete before [`Tarball::finish`].
pub struct Tarball<W: Write> {
    archive: Builder<GzipWriter<W>>,
    /// The directory of the last file, segment by segment.
    open: Vec<String>,
    last: String,
    /// How many files the stretch that is being written has.
    in_stretch: usize,
}

impl<W: Write> Tarball<W> {
    /// An empty one.
    ///
    /// # Errors
    /// Only those of the writer.
    pub fn new(writer: W) -> io::Result<Self> {
        Ok(Tarball {
            archive: Builder::new(GzipWriter::new(writer)?),
            open: Vec::new(),
            last: String::new(),
            in_stretch: 0,
        })
    }

    /// Adds a file with its directories. Paths are plain, as in a [`FileTree`], and come in ascending order.
    ///
    /// # Errors
    /// Those of reader and writer, a reader that does not give `size` bytes, and a path out of order.
    pub fn file(&mut self, path: &str, executable: bool, size: u64, content: impl Read) -> io::Result<()> {
        self.file_in_stretch(path, executable, size, content)?;
        self.in_stretch += 1;
        if ends_stretch(path, self.in_stretch) {
            self.cut()?;
        }
        Ok(())
    }

    /// As [`Tarball::file`], but ends no stretch.
    pub(crate) fn file_in_stretch(
        &mut self,
        path: &str,
        executable: bool,
        size: u64,
        content: impl Read,
    ) -> io::Result<()> {
        for directory in self.enter(path)? {
            append(
                &mut self.archive,
                EntryType::Directory,
                &directory,
                MODE_DIRECTORY,
                0,
                io::empty(),
            )?;
        }
        let mode = if executable { MODE_EXECUTABLE } else { MODE_FILE };
        let mut content = Exactly {
            inner: content.take(size),
            left: size,
        };
        append(&mut self.archive, EntryType::Regular, path, mode, size, &mut content)?;
        if content.left > 0 {
            return Err(io::Error::other(format!(
                "'{path}' has {} bytes less than it should",
                content.left
            )));
        }
        Ok(())
    }

    /// Where the compressed bytes go.
    pub(crate) fn writer(&mut self) -> &mut W {
        self.archive.get_mut().writer()
    }

    /// Goes on to `path`, and says which directories come before it.
    fn enter(&mut self, path: &str) -> io::Result<Vec<String>> {
        if path <= self.last.as_str() {
            return Err(io::Error::other(format!(
                "'{path}' comes after '{}' in an archive, whose entries are sorted",
                self.last
            )));
        }
        path.clone_into(&mut self.last);
        let made = directories(&mut self.open, path);
        Ok(made)
    }

    /// Ends the stretch, and says where it lies. None where it has no file.
    pub(crate) fn cut(&mut self) -> io::Result<Option<Stretch>> {
        self.in_stretch = 0;
        self.archive.get_mut().cut()
    }

    /// Takes a whole stretch over from another tarball; `last` is the path of its last file.
    pub(crate) fn copy(&mut self, last: &str, bytes: &[u8], plain: u64, checksum: u32) -> io::Result<Stretch> {
        self.enter(last)?;
        self.in_stretch = 0;
        self.archive.get_mut().copy(bytes, plain, checksum)
    }

    /// Writes the end, and hands the writer back, not flushed.
    ///
    /// # Errors
    /// Only those of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.cut()?;
        self.archive.into_inner()?.finish()
    }
}

/// The directories that `path` is in and the path before it was not, each with its closing slash; `open` are those of the
/// path before.
pub(crate) fn directories(open: &mut Vec<String>, path: &str) -> Vec<String> {
    let mut segments: Vec<&str> = path.split('/').collect();
    segments.pop();
    let shared = open
        .iter()
        .zip(&segments)
        .take_while(|(before, now)| before == *now)
        .count();
    let made = (shared..segments.len())
        .map(|depth| segments[..=depth].join("/") + "/")
        .collect();
    open.truncate(shared);
    open.extend(segments[shared..].iter().map(|segment| (*segment).to_owned()));
    made
}

/// Counts what a reader still owes.
struct Exactly<R> {
    inner: io::Take<R>,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left -= read as u64;
        Ok(read)
    }
}

fn append<W: Write>(
    archive: &mut Builder<W>,
    kind: EntryType,
    path: &str,
    mode: u32,
    size: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    archive.append_data(&mut header, path, content)
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

    #[test]
    fn a_file_that_shrank_or_comes_late_is_an_error() {
        let mut tarball = Tarball::new(Vec::new()).unwrap();
        tarball.file("b", false, 2, &b"xy"[..]).unwrap();
        let late = tarball.file("a", false, 0, io::empty()).unwrap_err();
        assert!(late.to_string().contains("sorted"), "{late}");
        let short = tarball.file("c", false, 3, &b"xy"[..]).unwrap_err();
        assert!(short.to_string().contains("1 bytes less"), "{short}");
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
    const PINNED: &str = "sha256:e5f8a9af083824f2dae7a2e8d89d4dbe66ce91b09b5d14dd926f669c44fa54e1";
}
