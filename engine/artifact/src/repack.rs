//! Packing a tree that is mostly what it was: stretches of the tarball before are copied, not compressed again.
//!
//! A monorepo of a hundred thousand files changes by a handful in each commit. What is kept of the tarball before is one
//! row for some dozen files; the files themselves are read only where a row does not fit any more, one by one.

use std::io::{self, Write};

use crate::{
    PathError,
    tarball::{Tarball, directories, ends_stretch},
    tree::check_plain,
};

/// A file that is to be packed, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Plain path, as in a [`crate::FileTree`].
    pub path: Box<str>,
    /// Whether any executable bit is set.
    pub executable: bool,
    /// What names the content, such as the hash that git gives it: equal names are equal contents.
    pub id: [u8; 32],
}

/// The content of a listed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The bytes.
    pub data: Vec<u8>,
    /// Whether the caller wants to hear of this file each time that it is packed, also where it is copied.
    pub marked: bool,
}

/// Sorts files for [`repack`], and checks that their paths could be those of a [`crate::FileTree`].
///
/// # Errors
/// A path is not plain, or is both a file and a directory.
pub fn sort_listed(files: &mut Vec<Listed>) -> Result<(), PathError> {
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files.dedup_by(|one, other| one.path == other.path);
    for file in files.iter() {
        check_plain(&file.path)?;
        for (at, _) in file.path.match_indices('/') {
            let directory = &file.path[..at];
            if files.binary_search_by(|file| (*file.path).cmp(directory)).is_ok() {
                return Err(PathError::FileAndDirectory {
                    path: directory.to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// How a tarball is laid out: what is needed to copy from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    rows: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    key: [u8; 32],
    at: u64,
    length: u64,
    plain: u64,
    checksum: u32,
    /// BLAKE3 of the compressed bytes, so that a damaged file is not copied from.
    stored: [u8; 32],
    marked: Vec<Box<str>>,
}

/// What a repack did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repacked {
    /// The new tarball's.
    pub layout: Layout,
    /// Files whose content was copied, and not read.
    pub copied: usize,
    /// Paths of the marked files, in order.
    pub marked: Vec<Box<str>>,
    /// Bytes of all entries before compression, headers among them.
    pub plain: u64,
}

/// Writes the tarball of `files`, sorted by path; its bytes are those of [`crate::write_tarball`] over the same files.
///
/// `before` is the layout of an earlier tarball of these files, and `read(at, length)` gives bytes of it; what it cannot
/// read, or reads damaged, is packed anew. `content` is asked for files that are new or changed, and for their neighbours.
///
/// # Errors
/// Those of the writer, of `content`, and a path out of order.
pub fn repack<W: Write, E: From<io::Error>>(
    files: &[Listed],
    before: Option<&Layout>,
    mut read: impl FnMut(u64, u64) -> io::Result<Vec<u8>>,
    mut content: impl FnMut(&Listed) -> Result<Content, E>,
    writer: W,
) -> Result<(W, Repacked), E> {
    let mut known: Vec<&Row> = before.map(|layout| layout.rows.iter().collect()).unwrap_or_default();
    known.sort_by_key(|row| row.key);
    let mut tarball = Tarball::new(Counted { writer, hasher: None })?;
    let mut done = Repacked::default();
    let mut open = Vec::new();
    let mut rest = files;
    while !rest.is_empty() {
        let count = rest
            .iter()
            .zip(1..)
            .find(|(file, count)| ends_stretch(&file.path, *count))
            .map_or(rest.len(), |(_, count)| count);
        let (stretch, after) = rest.split_at(count);
        rest = after;
        let key = key(&mut open, stretch);
        let row = known
            .binary_search_by_key(&key, |row| row.key)
            .ok()
            .map(|index| known[index]);
        if let Some(row) = row
            && let Ok(bytes) = read(row.at, row.length)
            && *blake3::hash(&bytes).as_bytes() == row.stored
        {
            let last = &stretch[count - 1].path;
            let copied = tarball.copy(last, &bytes, row.plain, row.checksum)?;
            done.copied += count;
            done.plain += row.plain;
            done.marked.extend(row.marked.iter().cloned());
            done.layout.rows.push(Row {
                at: copied.at,
                ..row.clone()
            });
            continue;
        }
        tarball.writer().hasher = Some(blake3::Hasher::new());
        let mut marked = Vec::new();
        for file in stretch {
            let Content { data, marked: mark } = content(file)?;
            tarball.file_in_stretch(&file.path, file.executable, data.len() as u64, data.as_slice())?;
            if mark {
                marked.push(file.path.clone());
            }
        }
        let written = tarball.cut()?.expect("a stretch with a file has at least its header");
        let hasher = tarball.writer().hasher.take().expect("it was put there above");
        done.plain += written.plain;
        done.marked.extend(marked.iter().cloned());
        done.layout.rows.push(Row {
            key,
            at: written.at,
            length: written.length,
            plain: written.plain,
            checksum: written.checksum,
            stored: *hasher.finalize().as_bytes(),
            marked,
        });
    }
    Ok((tarball.finish()?.writer, done))
}

/// Names a stretch by all that its bytes depend on. `open` are the directories of the file before.
fn key(open: &mut Vec<String>, stretch: &[Listed]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    // Only the first file's directories depend on what came before.
    let first = directories(open, &stretch[0].path);
    text(&first.concat());
    for file in stretch {
        text(&file.path);
    }
    for file in stretch {
        hasher.update(&[u8::from(file.executable)]);
        hasher.update(&file.id);
    }
    directories(open, &stretch[stretch.len() - 1].path);
    *hasher.finalize().as_bytes()
}

/// Hashes a stretch on its way to the file.
struct Counted<W> {
    writer: W,
    hasher: Option<blake3::Hasher>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes[..written]);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{File, FileTree, pack};

    fn text(path: &str, version: u32) -> Vec<u8> {
        format!("path: {path}\nversion: {version}\n").repeat(5).into_bytes()
    }

    fn listed(path: &str, version: u32) -> Listed {
        Listed {
            path: path.into(),
            executable: path.ends_with(".sh"),
            id: *blake3::hash(&text(path, version)).as_bytes(),
        }
    }

    fn paths(count: usize) -> Vec<String> {
        let mut paths: Vec<String> = (0..count)
            .map(|n| match n % 3 {
                0 => format!("apps/{}/{n}.yaml", n % 40),
                1 => format!("apps/{}/deep/er/{n}.sh", n % 17),
                _ => format!("{n}.yaml"),
            })
            .collect();
        paths.sort();
        paths
    }

    struct Tree(Vec<(String, u32)>);

    impl Tree {
        fn packed(&self) -> Vec<u8> {
            let mut tree = FileTree::new();
            for (path, version) in &self.0 {
                let file = File {
                    executable: path.ends_with(".sh"),
                    data: text(path, *version).into(),
                };
                tree.insert(path.as_str(), file).unwrap();
            }
            pack(&tree)
        }

        /// Packs with what is left of `before`; how many files were read.
        fn repack(&self, before: Option<(&Layout, &[u8])>) -> (Vec<u8>, Repacked, usize) {
            let files: Vec<Listed> = self.0.iter().map(|(path, version)| listed(path, *version)).collect();
            let mut reads = 0;
            let (bytes, done) = repack(
                &files,
                before.map(|(layout, _)| layout),
                |at, length| {
                    let bytes = before.expect("asked only of a tarball that is there").1;
                    bytes
                        .get(at as usize..(at + length) as usize)
                        .map(<[u8]>::to_vec)
                        .ok_or_else(|| io::Error::other("cut short"))
                },
                |file| {
                    reads += 1;
                    let version = self.0.iter().find(|(path, _)| **path == *file.path).unwrap().1;
                    Ok::<_, io::Error>(Content {
                        data: text(&file.path, version),
                        marked: file.path.ends_with("77.yaml"),
                    })
                },
                Vec::new(),
            )
            .unwrap();
            (bytes, done, reads)
        }
    }

    #[test]
    fn a_change_costs_its_neighbours_and_no_more() {
        let mut tree = Tree(paths(3000).into_iter().map(|path| (path, 1)).collect());
        let (first, before, reads) = tree.repack(None);
        assert_eq!((first == tree.packed(), reads, before.copied), (true, 3000, 0));
        let marked = before.marked.clone();
        assert!(marked.len() > 5);

        let (same, again, reads) = tree.repack(Some((&before.layout, &first)));
        assert_eq!((same == first, reads, again.copied), (true, 0, 3000));
        assert_eq!((again.layout == before.layout, again.marked), (true, marked));

        tree.0[1500].1 = 2;
        tree.0.remove(2700);
        tree.0.insert(1, (format!("{}-", tree.0[0].0), 1));
        let (changed, done, reads) = tree.repack(Some((&before.layout, &first)));
        assert!(changed == tree.packed());
        assert!(reads > 0 && reads < 1200 && reads + done.copied == 3000, "{reads}");
        let (_, last, reads) = tree.repack(Some((&done.layout, &changed)));
        assert_eq!((reads, last.layout == done.layout), (0, true));
    }

    #[test]
    fn what_is_damaged_is_packed_anew() {
        let tree = Tree(paths(1000).into_iter().map(|path| (path, 1)).collect());
        let (first, before, _) = tree.repack(None);
        let mut damaged = first.clone();
        damaged[first.len() / 2] ^= 1;
        let (again, _, reads) = tree.repack(Some((&before.layout, &damaged)));
        assert!(again == first && reads > 0 && reads < 1000, "{reads}");
        let (again, _, reads) = tree.repack(Some((&before.layout, &first[..first.len() / 3])));
        assert!(again == first && reads > 300, "{reads}");
    }

    #[test]
    fn paths_are_sorted_and_checked() {
        let list = |paths: &[&str]| -> Vec<Listed> { paths.iter().map(|path| listed(path, 1)).collect() };
        let mut files = list(&["b", "a/c", "a-b/c", "a/c"]);
        sort_listed(&mut files).unwrap();
        assert_eq!(files, list(&["a-b/c", "a/c", "b"]));
        for wrong in [&["a", "a-b", "a/b"][..], &["a//b"], &["../a"], &["a/b/c", "a/b"]] {
            assert!(sort_listed(&mut list(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn nothing_is_an_archive_too() {
        let (bytes, done, _) = Tree(Vec::new()).repack(None);
        assert_eq!((bytes, done.plain), (pack(&FileTree::new()), 0));
    }
}
