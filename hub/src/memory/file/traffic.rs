//! Accounts of traffic in the state file: one record for each cluster, so their number bounds them.

use prost::Message;
use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::{FileError, StateFile, failed};
use crate::memory::traffic::TrafficRecord;

/// Key: the cluster. Value: a [`TrafficRecord`].
pub const TRAFFIC: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("traffic");

impl StateFile {
    /// All accounts. One that cannot be read is left out: it is worth a day's numbers.
    ///
    /// # Errors
    /// The disk is broken.
    pub fn traffic(&self) -> Result<Vec<(String, TrafficRecord)>, FileError> {
        let read = || -> Result<Vec<(String, TrafficRecord)>, redb::Error> {
            let transaction = self.database.begin_read()?;
            let table = match transaction.open_table(TRAFFIC) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let mut found = Vec::new();
            for entry in table.iter()? {
                let (cluster, value) = entry?;
                if let Ok(record) = TrafficRecord::decode(value.value()) {
                    found.push((cluster.value().to_owned(), record));
                }
            }
            Ok(found)
        };
        read().map_err(|error| failed("reading accounts of traffic in", &self.path, error))
    }
}
