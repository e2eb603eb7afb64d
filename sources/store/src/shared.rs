//! Artifacts on S3-compatible storage, so that several replicas serve the same.
//!
//! The disk of a replica then holds what it made itself, for readers in its own process. What is served comes from the
//! shared storage alone: a disk may be behind.

use std::{fs, io, path::Path, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutPayload, buffered::BufWriter,
    path::Path as Key,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::place::Owner;

/// A storage that replicas share. The trait is `object_store`'s: S3 in a cluster ([`crate::s3`]), anything in a test.
#[derive(Debug, Clone)]
pub struct Shared {
    objects: Arc<dyn ObjectStore>,
    prefix: Key,
}

/// Links lie apart from artifacts: names that begin with a dot are none of theirs.
const LINKS: &str = ".links";
/// Read and sent at once.
const PIECE: usize = 1 << 20;

/// A file of the shared storage, being read.
pub(crate) struct Found {
    pub meta: ObjectMeta,
    pub range: std::ops::Range<u64>,
    pub content: BoxStream<'static, object_store::Result<bytes::Bytes>>,
}

impl Shared {
    /// Everything goes below `prefix`, which may be empty.
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        let prefix = prefix.split('/').filter(|segment| !segment.is_empty()).collect();
        Shared { objects, prefix }
    }

    fn key(&self, path: &str) -> Key {
        path.split('/')
            .fold(self.prefix.clone(), |key, segment| key.join(segment))
    }

    fn link_key(&self, path: &str) -> Key {
        self.key(&format!("{LINKS}/{path}"))
    }

    /// Writes a file, whole or not at all.
    pub(crate) async fn upload(&self, path: &str, file: &Path) -> io::Result<()> {
        let mut from = tokio::fs::File::open(file).await?;
        let mut to = BufWriter::new(self.objects.clone(), self.key(path));
        let mut piece = vec![0; PIECE];
        loop {
            let read = from.read(&mut piece).await?;
            if read == 0 {
                break;
            }
            if let Err(error) = to.write_all(&piece[..read]).await {
                // Parts that were sent would be kept, and paid for, until somebody looks.
                let _ = to.abort().await;
                return Err(error);
            }
        }
        to.shutdown().await
    }

    /// Whether there is such a file.
    pub(crate) async fn has(&self, path: &str) -> io::Result<bool> {
        match self.objects.head(&self.key(path)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// A file, from its beginning or a part of it; none when there is no such file.
    pub(crate) async fn find(&self, path: &str, range: Option<GetRange>) -> io::Result<Option<Found>> {
        let options = GetOptions {
            range,
            ..GetOptions::default()
        };
        match self.objects.get_opts(&self.key(path), options).await {
            Ok(found) => Ok(Some(Found {
                meta: found.meta.clone(),
                range: found.range.clone(),
                content: found.into_stream(),
            })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a file into one on disk; false when there is no such file.
    pub(crate) async fn download(&self, path: &str, to: fs::File) -> io::Result<bool> {
        let Some(mut found) = self.find(path, None).await? else {
            return Ok(false);
        };
        let mut to = tokio::fs::File::from_std(to);
        while let Some(piece) = found.content.next().await {
            to.write_all(&piece?).await?;
        }
        to.flush().await?;
        to.sync_all().await?;
        Ok(true)
    }

    /// Removes a file. Not there is fine.
    pub(crate) async fn remove(&self, path: &str) -> io::Result<()> {
        self.delete(&self.key(path)).await
    }

    async fn delete(&self, key: &Key) -> io::Result<()> {
        match self.objects.delete(key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes everything of one object, links included.
    pub(crate) async fn remove_all(&self, owner: &Owner) -> io::Result<()> {
        for directory in [self.key(owner.directory()), self.link_key(owner.directory())] {
            let keys: Vec<Key> = self
                .objects
                .list(Some(&directory))
                .map_ok(|meta| meta.location)
                .try_collect()
                .await?;
            for key in keys {
                self.delete(&key).await?;
            }
        }
        Ok(())
    }

    /// Names of one object's files, with when they were written.
    pub(crate) async fn files(&self, owner: &Owner) -> io::Result<Vec<(String, std::time::SystemTime)>> {
        let listed = self
            .objects
            .list_with_delimiter(Some(&self.key(owner.directory())))
            .await?;
        Ok(listed
            .objects
            .into_iter()
            .filter_map(|meta| Some((meta.location.filename()?.to_owned(), meta.last_modified.into())))
            .collect())
    }

    /// What lies in a directory, directories with a slash at the end; none when there is nothing.
    pub(crate) async fn names(&self, directory: &str) -> io::Result<Option<Vec<String>>> {
        let key = match directory {
            "" => self.prefix.clone(),
            directory => self.key(directory),
        };
        let mut names = Vec::new();
        for at in [key.clone(), links_beside(&self.prefix, directory)] {
            let listed = self.objects.list_with_delimiter(Some(&at)).await?;
            // Some servers list the directory itself for a while after its last file is gone.
            let below = |key: &Key| {
                let name = key.prefix_match(&at)?.next()?;
                Some(name.as_ref().to_owned())
            };
            names.extend(listed.objects.iter().filter_map(|meta| below(&meta.location)));
            let folders = listed.common_prefixes.iter().filter_map(below);
            names.extend(folders.map(|name| format!("{name}/")));
        }
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names.dedup();
        Ok((!names.is_empty() || directory.is_empty()).then_some(names))
    }

    /// Points a link at a file of the same directory.
    pub(crate) async fn link(&self, path: &str, file_name: &str) -> io::Result<()> {
        let key = self.link_key(path);
        if self.target(path).await?.as_deref() == Some(file_name) {
            return Ok(());
        }
        self.objects
            .put(&key, PutPayload::from(file_name.as_bytes().to_vec()))
            .await?;
        Ok(())
    }

    /// The file that a link leads to; none when there is no such link.
    pub(crate) async fn target(&self, path: &str) -> io::Result<Option<String>> {
        match self.objects.get(&self.link_key(path)).await {
            Ok(found) => Ok(String::from_utf8(found.bytes().await?.to_vec()).ok()),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn links_beside(prefix: &Key, directory: &str) -> Key {
    let links = prefix.clone().join(LINKS);
    directory
        .split('/')
        .filter(|segment| !segment.is_empty())
        .fold(links, |key, segment| key.join(segment))
}
