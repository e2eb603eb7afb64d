//! The state file: one embedded database, bounded, and replaced when it cannot be read.

mod history;
mod traffic;

use std::{
    collections::HashMap,
    fs,
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Mutex,
};

use prost::Message;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, Table, TableDefinition};

use super::{
    history::Noted,
    record::{FORMAT, RowRecord},
};
use crate::locked;

/// Pages that the database keeps in memory. Rows are read once, at start.
const CACHE: usize = 4 * 1024 * 1024;
/// Key: the cluster, a zero byte, the item. Value: a [`RowRecord`].
const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
/// What the file is.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const FORMAT_KEY: &str = "format";

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of rows of one cluster. One with more has its other rows sent again after a restart.
    pub cluster_rows: u64,
    /// Bytes of rows of all clusters.
    pub rows: u64,
    /// Bytes of the histories of all clusters; what does not fit is not kept.
    pub history: u64,
    /// Bytes that the file may have when it is opened; a larger one is compacted, and begun anew if that does not help.
    pub file: u64,
}

impl Default for Limits {
    /// 512 KiB of rows for a cluster (about a thousand fleet objects), 256 MiB for all, 128 MiB of histories, and a file
    /// of 1 GiB: a copy on write takes at most the same again.
    fn default() -> Self {
        Limits {
            cluster_rows: 512 * 1024,
            rows: 256 * 1024 * 1024,
            history: 128 * 1024 * 1024,
            file: 1024 * 1024 * 1024,
        }
    }
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Another process has it.
    #[error("{path} is in use by another process")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// What it holds is not what was written.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The library failed without an error.
    #[error("{path}: the database panicked")]
    Panicked {
        /// The file.
        path: PathBuf,
    },
    /// The disk or the operating system.
    #[error("{what} {path}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Box<redb::Error>,
    },
}

/// A row as it stands in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRow {
    /// `namespace/name`.
    pub cluster: String,
    /// The item.
    pub key: String,
    /// The row.
    pub record: RowRecord,
}

/// A change of the file.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A row is so now, or is no more.
    Row {
        /// `namespace/name`.
        cluster: String,
        /// The item.
        key: String,
        /// The encoded record.
        record: Option<Vec<u8>>,
    },
    /// Something for the history of an item.
    History {
        /// `namespace/name`.
        cluster: String,
        /// The item.
        key: String,
        /// What.
        noted: Noted,
    },
    /// What the link of a cluster carried; none to be dropped.
    Traffic {
        /// `namespace/name`.
        cluster: String,
        /// The encoded record.
        record: Option<Vec<u8>>,
    },
    /// Nothing of that cluster is kept.
    Forget {
        /// `namespace/name`.
        cluster: String,
    },
}

/// The open file.
pub struct StateFile {
    path: PathBuf,
    limits: Limits,
    database: Database,
    sizes: Mutex<Sizes>,
}

/// How much a file holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Rows.
    pub rows: u64,
    /// Their bytes, keys included.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Sizes {
    of: HashMap<String, u64>,
    total: Held,
    /// Bytes of histories.
    history: u64,
    /// That a limit was reached has been told.
    told: bool,
}

impl StateFile {
    /// Opens the file and reads its rows. A damaged one is renamed to `….damaged`, and an empty one takes its place.
    ///
    /// # Errors
    /// Another process has the file, or the disk does not do what it should.
    pub fn open(path: &Path, limits: Limits) -> Result<(Self, Vec<StoredRow>), FileError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| failed("making the folder of", path, error))?;
        }
        let what = match open_checked(path, limits) {
            Err(FileError::Damaged { what, .. }) => what,
            Err(FileError::Panicked { .. }) => "the database panicked while it was read".to_owned(),
            result => return result,
        };
        let mut aside = path.as_os_str().to_owned();
        aside.push(".damaged");
        tracing::error!(
            path = %path.display(), kept = %aside.display(), what,
            "what the hub remembered is damaged and put aside; it begins anew, and agents send their status again"
        );
        fs::rename(path, &aside).map_err(|error| failed("putting aside", path, error))?;
        open_checked(path, limits)
    }

    /// How much there is.
    pub fn held(&self) -> Held {
        locked::mutex(&self.sizes).total
    }

    /// Writes changes in one commit. Answers how much there is now.
    ///
    /// # Errors
    /// The disk is full or broken; the file must be opened again then.
    pub fn apply(&self, changes: &[Change]) -> Result<Held, FileError> {
        let mut sizes = locked::mutex(&self.sizes);
        let failed = |source: redb::Error| failed("writing", &self.path, source);
        let transaction = self.database.begin_write().map_err(|error| failed(error.into()))?;
        {
            let mut rows = transaction.open_table(ROWS).map_err(|error| failed(error.into()))?;
            let history = transaction.open_table(history::HISTORY);
            let mut history = history.map_err(|error| failed(error.into()))?;
            let traffic = transaction.open_table(traffic::TRAFFIC);
            let mut traffic = traffic.map_err(|error| failed(error.into()))?;
            for change in changes {
                let done = match change {
                    Change::Row { cluster, key, record } => {
                        self.write_row(&mut rows, &mut sizes, cluster, key, record.as_deref())
                    }
                    Change::History { cluster, key, noted } => history::note(
                        &mut history,
                        &mut sizes.history,
                        self.limits.history,
                        (cluster, key),
                        noted,
                    ),
                    Change::Traffic { cluster, record } => match record {
                        Some(record) => traffic.insert(cluster.as_str(), record.as_slice()).map(drop),
                        None => traffic.remove(cluster.as_str()).map(drop),
                    },
                    Change::Forget { cluster } => forget(&mut rows, &mut sizes, cluster)
                        .and_then(|()| history::forget(&mut history, &mut sizes.history, cluster))
                        .and_then(|()| traffic.remove(cluster.as_str()).map(drop)),
                };
                done.map_err(|error| failed(error.into()))?;
            }
        }
        transaction.commit().map_err(|error| failed(error.into()))?;
        Ok(sizes.total)
    }

    fn write_row(
        &self,
        rows: &mut Table<'_, &'static [u8], &'static [u8]>,
        sizes: &mut Sizes,
        cluster: &str,
        key: &str,
        record: Option<&[u8]>,
    ) -> Result<(), StorageError> {
        let id = row_id(cluster, key);
        // Whatever becomes of it, what was there before is of an older digest.
        let before = rows.remove(id.as_slice())?.map(|old| size(&id, old.value()));
        if let Some(bytes) = before {
            sizes.less(cluster, 1, bytes);
        }
        let Some(record) = record else { return Ok(()) };
        let more = size(&id, record);
        if !sizes.has_room(cluster, more, self.limits) {
            return Ok(());
        }
        rows.insert(id.as_slice(), record)?;
        sizes.more(cluster, more);
        Ok(())
    }
}

impl Sizes {
    fn more(&mut self, cluster: &str, bytes: u64) {
        match self.of.get_mut(cluster) {
            Some(size) => *size += bytes,
            None => {
                self.of.insert(cluster.to_owned(), bytes);
            }
        }
        self.total.bytes += bytes;
        self.total.rows += 1;
    }

    fn less(&mut self, cluster: &str, rows: u64, bytes: u64) {
        let Some(size) = self.of.get_mut(cluster) else { return };
        *size = size.saturating_sub(bytes);
        if *size == 0 {
            self.of.remove(cluster);
        }
        self.total.bytes = self.total.bytes.saturating_sub(bytes);
        self.total.rows = self.total.rows.saturating_sub(rows);
    }

    fn has_room(&mut self, cluster: &str, more: u64, limits: Limits) -> bool {
        let of = self.of.get(cluster).copied().unwrap_or(0);
        let room = of + more <= limits.cluster_rows && self.total.bytes + more <= limits.rows;
        if !room && !std::mem::replace(&mut self.told, true) {
            tracing::warn!(
                cluster,
                bytes = of,
                total = self.total.bytes,
                "no more rows are remembered: agents send the others again after a restart"
            );
        }
        room
    }
}

fn forget(
    rows: &mut Table<'_, &'static [u8], &'static [u8]>,
    sizes: &mut Sizes,
    cluster: &str,
) -> Result<(), StorageError> {
    let (from, to) = rows_of(cluster);
    let mut gone = 0;
    rows.retain_in(from.as_slice()..to.as_slice(), |_, _| {
        gone += 1;
        false
    })?;
    let bytes = sizes.of.get(cluster).copied().unwrap_or(0);
    sizes.less(cluster, gone, bytes);
    Ok(())
}

fn open_checked(path: &Path, limits: Limits) -> Result<(StateFile, Vec<StoredRow>), FileError> {
    // The library returns errors for damage that it looks for, and may panic at other damage.
    let opened = catch_unwind(AssertUnwindSafe(|| open_and_read(path, limits)));
    opened.unwrap_or_else(|_| Err(FileError::Panicked { path: path.to_owned() }))
}

fn open_and_read(path: &Path, limits: Limits) -> Result<(StateFile, Vec<StoredRow>), FileError> {
    let database = |source| database_error(path, source);
    let mut file = Builder::new()
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(true)
        .create(path)
        .map_err(database)?;
    if bytes_of(path)? > limits.file {
        // A file that stays too large is not worth more trouble: what it holds comes again.
        let _ = file.compact();
        let bytes = bytes_of(path)?;
        if bytes > limits.file {
            let what = format!("it has {bytes} bytes and may have {}", limits.file);
            return Err(FileError::Damaged {
                path: path.to_owned(),
                what,
            });
        }
    }
    prepare(&file, path)?;
    let (mut sizes, mut rows, mut unreadable) = (Sizes::default(), Vec::new(), 0_u64);
    read(&file, |id, value| match stored(id, value) {
        Some(row) => {
            sizes.more(&row.cluster, size(id, value));
            rows.push(row);
        }
        None => unreadable += 1,
    })
    .map_err(|error| table_error(path, error))?;
    if unreadable > 0 {
        return Err(FileError::Damaged {
            path: path.to_owned(),
            what: format!("{unreadable} of its rows cannot be read"),
        });
    }
    let file = StateFile {
        path: path.to_owned(),
        limits,
        database: file,
        sizes: Mutex::new(sizes),
    };
    file.measure_history().map_err(|error| table_error(path, error))?;
    Ok((file, rows))
}

/// Makes what a new file lacks, and refuses one that another version wrote in another way.
fn prepare(file: &Database, path: &Path) -> Result<(), FileError> {
    let found = (|| -> Result<u64, redb::Error> {
        let transaction = file.begin_write()?;
        let found = {
            transaction.open_table(ROWS)?;
            let mut meta = transaction.open_table(META)?;
            let found = meta.get(FORMAT_KEY)?.map(|format| format.value());
            match found {
                Some(format) => format,
                None => {
                    meta.insert(FORMAT_KEY, FORMAT)?;
                    FORMAT
                }
            }
        };
        transaction.commit()?;
        Ok(found)
    })();
    match found {
        Ok(FORMAT) => Ok(()),
        Ok(other) => Err(FileError::Damaged {
            path: path.to_owned(),
            what: format!("it has format {other}, this version writes {FORMAT}"),
        }),
        Err(error) => Err(table_error(path, error)),
    }
}

fn read(file: &Database, mut each: impl FnMut(&[u8], &[u8])) -> Result<(), redb::Error> {
    let transaction = file.begin_read()?;
    let rows = transaction.open_table(ROWS)?;
    for row in rows.iter()? {
        let (id, value) = row?;
        each(id.value(), value.value());
    }
    Ok(())
}

fn stored(id: &[u8], value: &[u8]) -> Option<StoredRow> {
    let (cluster, key) = std::str::from_utf8(id).ok()?.split_once('\0')?;
    Some(StoredRow {
        cluster: cluster.to_owned(),
        key: key.to_owned(),
        record: RowRecord::decode(value).ok()?,
    })
}

fn row_id(cluster: &str, key: &str) -> Vec<u8> {
    [cluster.as_bytes(), b"\0", key.as_bytes()].concat()
}

/// From the first row of a cluster to behind its last.
fn rows_of(cluster: &str) -> (Vec<u8>, Vec<u8>) {
    (
        [cluster.as_bytes(), b"\0"].concat(),
        [cluster.as_bytes(), b"\x01"].concat(),
    )
}

fn size(id: &[u8], value: &[u8]) -> u64 {
    (id.len() + value.len()) as u64
}

fn bytes_of(path: &Path) -> Result<u64, FileError> {
    let data = fs::metadata(path).map_err(|error| failed("looking at", path, error))?;
    Ok(data.len())
}

fn failed(what: &'static str, path: &Path, source: impl Into<redb::Error>) -> FileError {
    FileError::Io {
        what,
        path: path.to_owned(),
        source: Box::new(source.into()),
    }
}

fn database_error(path: &Path, error: DatabaseError) -> FileError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            FileError::InUse { path: path.to_owned() }
        }
        other => table_error(path, other.into()),
    }
}

fn table_error(path: &Path, error: redb::Error) -> FileError {
    let is_damage = match &error {
        // A file that ends too early, or is none of the library's.
        redb::Error::Io(io) => matches!(io.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData),
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::RepairAborted
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableIsMultimap(_) => true,
        _ => false,
    };
    if is_damage {
        return FileError::Damaged {
            path: path.to_owned(),
            what: error.to_string(),
        };
    }
    failed("reading", path, error)
}

#[cfg(test)]
mod tests;
