//! A new commit on top of another: files changed, and the objects that come of it. Nothing is written to a repository.

use std::collections::BTreeMap;

use gix::{
    ObjectId,
    bstr::ByteSlice,
    objs::{Kind, tree::EntryKind},
};
use nave_artifact::File;

use crate::{GitError, session::chain};

/// Who wrote or committed something, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Their name.
    pub name: String,
    /// Their address.
    pub email: String,
}

/// Makes the signature of a commit (`gpgsig`), armoured, from the commit without one.
pub type Sign = std::sync::Arc<dyn Fn(&[u8]) -> Result<String, String> + Send + Sync>;

/// A commit to be made.
#[derive(Clone)]
pub struct NewCommit {
    /// Author and committer.
    pub person: Person,
    /// When, in seconds since 1970.
    pub seconds: i64,
    /// The message; a line break is added at its end.
    pub message: String,
    /// Files by path: their new content, or none to remove them. Everything else stays.
    pub changes: BTreeMap<String, Option<File>>,
    /// Who signs it.
    pub sign: Option<Sign>,
}

/// An object that the remote does not have yet.
pub(crate) struct NewObject {
    pub id: ObjectId,
    pub kind: Kind,
    pub data: Vec<u8>,
}

/// Deeper paths than this are refused, as they are when a tree is read.
const MAX_DEPTH: usize = 256;

/// The new commit with all new objects, the commit last; none when the changes change nothing.
pub(crate) fn build(
    repository: &gix::Repository,
    parent: Option<&ObjectId>,
    new: &NewCommit,
) -> Result<Option<Vec<NewObject>>, GitError> {
    let mut edit = Edit {
        repository,
        objects: Vec::new(),
    };
    let before = match parent {
        Some(parent) => Some(
            repository
                .find_object(*parent)
                .and_then(|object| object.peel_to_tree())
                .map_err(|error| invalid(&chain(&error)))?
                .id,
        ),
        None => None,
    };
    let mut changes: Vec<(Vec<&str>, Option<&File>)> = Vec::new();
    for (path, file) in &new.changes {
        let segments: Vec<&str> = path.split('/').collect();
        let bad = segments
            .iter()
            .any(|segment| matches!(*segment, "" | "." | "..") || segment.eq_ignore_ascii_case(".git"));
        if bad || path.contains('\0') || segments.len() > MAX_DEPTH {
            return Err(invalid(&format!("{path:?} is not a path inside a repository")));
        }
        changes.push((segments, file.as_ref()));
    }
    let root = edit.tree(before, &changes)?;
    let root = match root {
        Some(root) => root,
        None => edit.add(Kind::Tree, Vec::new())?,
    };
    if Some(root) == before {
        return Ok(None);
    }
    let text = text(&root, parent, new)?;
    edit.add(Kind::Commit, text)?;
    Ok(Some(edit.objects))
}

fn invalid(what: &str) -> GitError {
    GitError::InvalidCommit { what: what.to_owned() }
}

struct Edit<'a> {
    repository: &'a gix::Repository,
    objects: Vec<NewObject>,
}

impl Edit<'_> {
    fn add(&mut self, kind: Kind, data: Vec<u8>) -> Result<ObjectId, GitError> {
        let id =
            gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, &data).map_err(|error| invalid(&error.to_string()))?;
        self.objects.push(NewObject { id, kind, data });
        Ok(id)
    }

    /// The tree with the changes below it; none when nothing is left in it, as git knows no empty directories.
    fn tree(
        &mut self,
        before: Option<ObjectId>,
        changes: &[(Vec<&str>, Option<&File>)],
    ) -> Result<Option<ObjectId>, GitError> {
        // By name, with mode and object.
        let mut entries: BTreeMap<Vec<u8>, (EntryKind, ObjectId)> = BTreeMap::new();
        if let Some(before) = before {
            let tree = self
                .repository
                .find_tree(before)
                .map_err(|error| invalid(&chain(&error)))?;
            for entry in tree.iter() {
                let entry = entry.map_err(|error| invalid(&chain(&error)))?;
                let place = (entry.mode().kind(), entry.object_id());
                entries.insert(entry.filename().as_bytes().to_vec(), place);
            }
        }
        let mut at = 0;
        while at < changes.len() {
            let name = changes[at].0[0];
            let end = changes[at..]
                .iter()
                .position(|(segments, _)| segments[0] != name)
                .map_or(changes.len(), |length| at + length);
            let here = &changes[at..end];
            at = end;
            if let [(segments, file)] = here
                && segments.len() == 1
            {
                match file {
                    None => {
                        entries.remove(name.as_bytes());
                    }
                    Some(file) => {
                        let kind = if file.executable {
                            EntryKind::BlobExecutable
                        } else {
                            EntryKind::Blob
                        };
                        let id = self.add(Kind::Blob, file.data.to_vec())?;
                        entries.insert(name.as_bytes().to_vec(), (kind, id));
                    }
                }
                continue;
            }
            if here
                .iter()
                .any(|(segments, file)| segments.len() == 1 && file.is_some())
            {
                return Err(invalid(&format!(
                    "{name:?} is changed both as a file and as a directory"
                )));
            }
            let below: Vec<(Vec<&str>, Option<&File>)> = here
                .iter()
                .filter(|(segments, _)| segments.len() > 1)
                .map(|(segments, file)| (segments[1..].to_vec(), *file))
                .collect();
            let directory = match entries.get(name.as_bytes()) {
                Some((EntryKind::Tree, id)) => Some(*id),
                _ => None,
            };
            match self.tree(directory, &below)? {
                Some(id) => {
                    entries.insert(name.as_bytes().to_vec(), (EntryKind::Tree, id));
                }
                // What only removes from a place that is no directory leaves it alone.
                None if directory.is_some() => {
                    entries.remove(name.as_bytes());
                }
                None => {}
            }
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let mut sorted: Vec<(&Vec<u8>, &(EntryKind, ObjectId))> = entries.iter().collect();
        // Git sorts directories as if their names ended with a slash.
        sorted.sort_by_key(|(name, (kind, _))| {
            let mut key = (*name).clone();
            if *kind == EntryKind::Tree {
                key.push(b'/');
            }
            key
        });
        let mut data = Vec::new();
        for (name, (kind, id)) in sorted {
            data.extend_from_slice(mode(*kind));
            data.push(b' ');
            data.extend_from_slice(name);
            data.push(0);
            data.extend_from_slice(id.as_bytes());
        }
        let id = gix::objs::compute_hash(gix::hash::Kind::Sha1, Kind::Tree, &data)
            .map_err(|error| invalid(&error.to_string()))?;
        if before != Some(id) {
            self.objects.push(NewObject {
                id,
                kind: Kind::Tree,
                data,
            });
        }
        Ok(Some(id))
    }
}

fn mode(kind: EntryKind) -> &'static [u8] {
    match kind {
        EntryKind::Tree => b"40000",
        EntryKind::Blob => b"100644",
        EntryKind::BlobExecutable => b"100755",
        EntryKind::Link => b"120000",
        EntryKind::Commit => b"160000",
    }
}

fn text(tree: &ObjectId, parent: Option<&ObjectId>, new: &NewCommit) -> Result<Vec<u8>, GitError> {
    let forbidden = |c: char| matches!(c, '<' | '>' | '\n' | '\0');
    if new.person.name.contains(forbidden) || new.person.email.contains(forbidden) {
        return Err(invalid("name and address of the author hold '<', '>' or a line break"));
    }
    if new.message.contains('\0') {
        return Err(invalid("the message holds a zero byte"));
    }
    let mut head = format!("tree {tree}\n");
    if let Some(parent) = parent {
        head += &format!("parent {parent}\n");
    }
    let person = format!("{} <{}> {} +0000", new.person.name, new.person.email, new.seconds);
    head += &format!("author {person}\ncommitter {person}\n");
    let message = format!("\n{}\n", new.message.trim_end());
    let plain = format!("{head}{message}");
    let Some(sign) = &new.sign else {
        return Ok(plain.into_bytes());
    };
    let signature = sign(plain.as_bytes()).map_err(|why| invalid(&format!("it cannot be signed: {why}")))?;
    let header = signature.trim_end().replace('\n', "\n ");
    Ok(format!("{head}gpgsig {header}\n{message}").into_bytes())
}
