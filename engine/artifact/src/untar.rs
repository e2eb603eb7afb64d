//! Reading a `tar.gz` from anywhere into a tree, with bounds.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use crate::{File, FileTree, Limits, PathError};

/// An archive that could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// Damaged, cut off, or not a gzipped tarball.
    #[error("reading the archive after {entries} entries")]
    Read {
        /// How many entries were read before.
        entries: usize,
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// A path that leads out of the archive, or two entries that exclude each other.
    #[error("archive entry {number}")]
    Path {
        /// Which entry, from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        source: PathError,
    },
    /// A path that is not text.
    #[error("archive entry {number} has path {path:?}, which is not valid UTF-8")]
    NotText {
        /// Which entry, from 1.
        number: usize,
        /// The path, as far as it can be shown.
        path: String,
    },
    /// A device, a pipe or another special.
    #[error("archive entry {path:?} is a {kind}, only files and directories are allowed")]
    Special {
        /// The path.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// More than the limits allow.
    #[error("archive holds more than {limit} {what}")]
    TooLarge {
        /// The limit that was passed.
        limit: u64,
        /// Of what: `bytes` or `files`.
        what: &'static str,
    },
}

/// Unpacks a gzipped tarball.
///
/// Symbolic and hard links are dropped, as Flux drops them. A later entry replaces an earlier one of the same path.
/// The input is read as it is needed and never held as a whole.
///
/// # Errors
/// The archive is damaged, leads out of itself, holds specials, or is larger than `limits` (counted after
/// decompression, so that a bomb ends early).
pub fn unpack(compressed: impl Read, limits: &Limits) -> Result<FileTree, UnpackError> {
    // Headers, padding and long names count too: each entry may add 4 KiB of them before it is a bomb of its own.
    let overhead = (limits.files as u64).saturating_mul(4096).saturating_add(1 << 20);
    let bounded = Bounded {
        inner: MultiGzDecoder::new(compressed),
        left: limits.bytes.saturating_add(overhead),
    };
    let mut archive = Archive::new(bounded);
    let mut tree = FileTree::new();
    let mut entries = 0;
    let failed = |entries, source: io::Error| {
        if source.get_ref().is_some_and(|inner| inner.is::<Exhausted>()) {
            UnpackError::TooLarge {
                limit: limits.bytes,
                what: "bytes",
            }
        } else {
            UnpackError::Read { entries, source }
        }
    };
    for entry in archive.entries().map_err(|source| failed(0, source))? {
        let mut entry = entry.map_err(|source| failed(entries, source))?;
        entries += 1;
        let raw = entry.path_bytes().into_owned();
        let path = match std::str::from_utf8(&raw) {
            Ok(path) => path.strip_prefix("./").unwrap_or(path),
            Err(_) => {
                return Err(UnpackError::NotText {
                    number: entries,
                    path: String::from_utf8_lossy(&raw).chars().take(512).collect(),
                });
            }
        };
        let bad_path = |source| UnpackError::Path {
            number: entries,
            source,
        };
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {}
            EntryType::Directory => {
                let directory = path.trim_end_matches('/');
                if !matches!(directory, "" | ".") || raw.starts_with(b"/") {
                    crate::tree::check_plain(directory).map_err(bad_path)?;
                }
                continue;
            }
            EntryType::Symlink | EntryType::Link | EntryType::XGlobalHeader => continue,
            kind => {
                let kind = match kind {
                    EntryType::Char => "character device",
                    EntryType::Block => "block device",
                    EntryType::Fifo => "named pipe",
                    _ => "special entry",
                };
                return Err(UnpackError::Special {
                    path: path.chars().take(512).collect(),
                    kind,
                });
            }
        }
        let size = entry.size();
        if tree.bytes().saturating_add(size) > limits.bytes {
            return Err(UnpackError::TooLarge {
                limit: limits.bytes,
                what: "bytes",
            });
        }
        if tree.len() >= limits.files {
            return Err(UnpackError::TooLarge {
                limit: limits.files as u64,
                what: "files",
            });
        }
        let executable = entry.header().mode().unwrap_or_default() & 0o111 != 0;
        let path = path.to_owned();
        // What the header promises is not reserved: a header may lie.
        let mut data = Vec::with_capacity(size.min(1 << 20) as usize);
        entry.read_to_end(&mut data).map_err(|source| failed(entries, source))?;
        let file = File {
            executable,
            data: data.into(),
        };
        tree.insert(path, file).map_err(bad_path)?;
    }
    // The end marker of the tarball comes before the checksum of the compressed stream: only reading on to the very end
    // tells a whole archive from one that was cut off or altered.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|source| failed(entries, source))?;
    Ok(tree)
}

struct Bounded<R> {
    inner: R,
    left: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the archive is larger than allowed")]
struct Exhausted;

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(Exhausted));
        }
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..room])?;
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    /// A tarball with one entry per (type, path, content), paths written as they are.
    fn archive(entries: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (kind, path, data) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_size(data.len() as u64);
            header.set_cksum();
            tar.extend_from_slice(header.as_bytes());
            tar.extend_from_slice(data);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        tar.resize(tar.len() + 1024, 0);
        gzip(&tar)
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[track_caller]
    fn check_refused(entries: &[(EntryType, &str, &[u8])], expected: &str) {
        let error = unpack(archive(entries).as_slice(), &Limits::default()).unwrap_err();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text += &format!(": {cause}");
            source = cause.source();
        }
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn paths_out_of_the_archive_are_refused() {
        use EntryType as T;
        check_refused(
            &[(T::Regular, "../a", b"x")],
            "entry 1: path \"../a\" is not a plain relative path",
        );
        check_refused(&[(T::Regular, "/etc/passwd", b"x")], "is not a plain relative path");
        check_refused(&[(T::Regular, "a/../../b", b"x")], "is not a plain relative path");
        check_refused(&[(T::Directory, "../d/", b"")], "is not a plain relative path");
        check_refused(&[(T::Directory, "/", b"")], "is not a plain relative path");
        check_refused(
            &[(T::Regular, "a", b"x"), (T::Regular, "a/b", b"y")],
            "both a file and a directory",
        );
        check_refused(&[(T::Char, "dev", b"")], "is a character device");
        check_refused(&[(T::Fifo, "pipe", b"")], "is a named pipe");
    }

    #[test]
    fn links_are_dropped_and_the_root_entry_is_fine() {
        use EntryType as T;
        let packed = archive(&[
            (T::Directory, "./", b""),
            (T::Symlink, "link", b""),
            (T::Link, "hard", b""),
            (T::Regular, "./a/b", b"x"),
            (T::Regular, "a/b", b"y"),
        ]);
        let tree = unpack(packed.as_slice(), &Limits::default()).unwrap();
        assert_eq!(tree.len(), 1);
        assert_eq!(&*tree.get("a/b").unwrap().data, b"y");
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let limits = Limits { bytes: 1000, files: 2 };
        let entries: Vec<(EntryType, String)> = (0..3).map(|n| (EntryType::Regular, format!("f{n}"))).collect();
        let borrowed: Vec<(EntryType, &str, &[u8])> = entries
            .iter()
            .map(|(kind, path)| (*kind, path.as_str(), b"x".as_slice()))
            .collect();
        let error = unpack(archive(&borrowed).as_slice(), &limits).unwrap_err();
        assert_eq!(error.to_string(), "archive holds more than 2 files");

        let big = vec![0u8; 2000];
        let error = unpack(archive(&[(EntryType::Regular, "big", &big)]).as_slice(), &limits).unwrap_err();
        assert_eq!(error.to_string(), "archive holds more than 1000 bytes");

        // A long name is read whole by the tar reader; the bound on the stream stops it.
        let name = vec![b'a'; 4 << 20];
        let error = unpack(
            archive(&[(EntryType::GNULongName, "././@LongLink", &name)]).as_slice(),
            &limits,
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "archive holds more than 1000 bytes");
    }

    #[test]
    fn what_is_cut_off_or_no_archive_is_an_error() {
        let whole = archive(&[(EntryType::Regular, "a", &[7; 5000])]);
        for end in [0, 1, 10, whole.len() / 2, whole.len() - 9] {
            assert!(unpack(&whole[..end], &Limits::default()).is_err(), "cut at {end}");
        }
        assert!(unpack(b"hello".as_slice(), &Limits::default()).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let limits = Limits { bytes: 1 << 16, files: 16 };
            let _ = unpack(data.as_slice(), &limits);
            let _ = unpack(gzip(&data).as_slice(), &limits);
        }
    }
}
