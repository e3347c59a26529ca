//! Owns the way of shelved rows into the files of a flush: split by storage partition, one file for each and each reader.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use super::shelf::Shelved;
use super::{FlushContext, OpenFlush, append, weight};
use crate::error::{Failure, Stage};
use crate::record::RecordBlock;
use crate::task::open_file::{FileKey, OpenFile, RowIdentity};
use crate::task::partitioner::RowContext;

impl OpenFlush {
    /// Moves every shelved row into its file.
    pub(super) fn clear_shelves(
        &mut self,
        block: &RecordBlock,
        context: &mut FlushContext<'_>,
    ) -> Result<(), Failure> {
        self.shelved_bytes = 0;
        self.shelved_weight_bytes = 0;
        self.shelved_rows = 0;
        for at in 0..self.shelves.len() {
            if self.shelves[at].rows.is_empty() {
                continue;
            }
            let shelved = self.shelves[at].finish()?;
            if context.partitioner.is_none() {
                let identities = shelved.rows.iter().map(|row| row.identity);
                let key = FileKey { directory: String::new(), reader: at };
                self.write_file(key, shelved.batch, identities, context)?;
            } else {
                self.write_partitions(at, &shelved, block, context)?;
            }
        }
        Ok(())
    }

    fn write_partitions(
        &mut self,
        reader: usize,
        shelved: &Shelved,
        block: &RecordBlock,
        context: &mut FlushContext<'_>,
    ) -> Result<(), Failure> {
        let (batch, rows) = (&shelved.batch, &shelved.rows);
        let names = &self.record_names;
        let row_context = RowContext {
            timestamps_ms: &shelved.timestamps_ms,
            flush_wall_ms: self.basis.wall_ms,
            record_name: &|row| Some(&*names[rows[row].name? as usize]),
        };
        let partitioned = context.partitioner.partition(batch, &row_context);
        let file_schema = self.shelves[reader].file_schema.clone();
        let batch = &RecordBatch::try_new(file_schema, batch.columns().to_vec()).map_err(|error| {
            Failure::fatal(Stage::Partition, format!("columns do not fit their file's schema: {error}"))
        })?;
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); partitioned.directories.len()];
        for (row, directory) in partitioned.rows.into_iter().enumerate() {
            match directory {
                Ok(directory) => members[directory as usize].push(row as u32),
                Err(failure) => {
                    self.rows -= 1;
                    if let Some(record) = block.get(rows[row].record as usize) {
                        self.refuse_now(&record, Some(rows[row].identity.schema), failure, context)?;
                    }
                }
            }
        }
        for (directory, members) in partitioned.directories.into_iter().zip(members) {
            if members.is_empty() {
                continue;
            }
            let identities: Vec<RowIdentity> =
                members.iter().map(|row| rows[*row as usize].identity).collect();
            let part = if members.len() == batch.num_rows() {
                batch.clone()
            } else {
                take_record_batch(batch, &UInt32Array::from(members)).map_err(|error| {
                    Failure::fatal(Stage::Partition, format!("cannot split a record batch: {error}"))
                })?
            };
            self.write_file(FileKey { directory, reader }, part, identities.into_iter(), context)?;
        }
        Ok(())
    }

    fn write_file(
        &mut self,
        key: FileKey,
        batch: RecordBatch,
        identities: impl Iterator<Item = RowIdentity>,
        context: &mut FlushContext<'_>,
    ) -> Result<(), Failure> {
        let number = self.files.len();
        let schema = &self.shelves[key.reader].file_schema;
        let (number, file) =
            self.files.entry(key.clone()).or_insert_with(|| (number, OpenFile::new(key, schema.clone())));
        let (number, before) = (*number, weight(file));
        let bytes = file.write(batch, identities, &context.tp.topic, &context.settings.encoding)?;
        let after = weight(file);
        self.note(number, before, after);
        append(context, self.id, number, bytes);
        Ok(())
    }
}
