//! Histories in the state file. They are worth less than rows: one that is unreadable is dropped alone, and what does not
//! fit is not kept.

use prost::Message;
use redb::{ReadableDatabase, ReadableTable, StorageError, Table, TableDefinition, TableError};

use super::{FileError, StateFile, failed, row_id, rows_of, size};
use crate::{
    locked,
    memory::history::{HistoryRecord, Noted},
};

/// Key: the cluster, a zero byte, the item. Value: a [`HistoryRecord`].
pub const HISTORY: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("history");

pub type Histories<'a> = Table<'a, &'static [u8], &'static [u8]>;

/// Adds to what is kept of an item. `bytes` are those of all histories, and `limit` is their bound.
pub fn note(
    table: &mut Histories<'_>,
    bytes: &mut u64,
    limit: u64,
    (cluster, key): (&str, &str),
    noted: &Noted,
) -> Result<(), StorageError> {
    let id = row_id(cluster, key);
    let before = table.remove(id.as_slice())?;
    let (mut record, freed) = match &before {
        Some(old) => (
            HistoryRecord::decode(old.value()).unwrap_or_default(),
            size(&id, old.value()),
        ),
        None => (HistoryRecord::default(), 0),
    };
    drop(before);
    *bytes = bytes.saturating_sub(freed);
    record.add(noted.clone());
    let mut value = record.encode_to_vec();
    if *bytes + size(&id, &value) > limit {
        // The latest alone, if even that fits.
        record.shrink();
        value = record.encode_to_vec();
    }
    if *bytes + size(&id, &value) <= limit {
        table.insert(id.as_slice(), value.as_slice())?;
        *bytes += size(&id, &value);
    }
    Ok(())
}

/// Drops what is kept of a cluster.
pub fn forget(table: &mut Histories<'_>, bytes: &mut u64, cluster: &str) -> Result<(), StorageError> {
    let (from, to) = rows_of(cluster);
    table.retain_in(from.as_slice()..to.as_slice(), |id, value| {
        *bytes = bytes.saturating_sub(size(id, value));
        false
    })
}

impl StateFile {
    /// What is kept of a cluster's items: key and transitions.
    ///
    /// # Errors
    /// The disk is broken.
    pub fn history(&self, cluster: &str) -> Result<Vec<(String, HistoryRecord)>, FileError> {
        let read = || -> Result<Vec<(String, HistoryRecord)>, redb::Error> {
            let transaction = self.database.begin_read()?;
            let table = match transaction.open_table(HISTORY) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let (from, to) = rows_of(cluster);
            let mut found = Vec::new();
            for entry in table.range(from.as_slice()..to.as_slice())? {
                let (id, value) = entry?;
                let key = id
                    .value()
                    .get(from.len()..)
                    .and_then(|key| std::str::from_utf8(key).ok());
                if let (Some(key), Ok(record)) = (key, HistoryRecord::decode(value.value())) {
                    found.push((key.to_owned(), record));
                }
            }
            Ok(found)
        };
        read().map_err(|error| failed("reading histories of", &self.path, error))
    }

    /// Bytes of all histories, as they stand in the file.
    pub(super) fn measure_history(&self) -> Result<(), redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = match transaction.open_table(HISTORY) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            table => table?,
        };
        let mut bytes = 0;
        for entry in table.iter()? {
            let (id, value) = entry?;
            bytes += size(id.value(), value.value());
        }
        locked::mutex(&self.sizes).history = bytes;
        Ok(())
    }
}
