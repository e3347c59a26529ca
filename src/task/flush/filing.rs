//! Owns the way of shelved rows into the files of a flush: split by storage partition, one file for each and each reader. Does
//! not own what becomes of a row without a directory, but where its block is left because of it.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use super::refused::lacks_room;
use super::shelf::Shelved;
use super::{FlushContext, OpenFlush, Taken, append, weight};
use crate::error::{Failure, Stage};
use crate::position::SchemaId;
use crate::record::RecordBlock;
use crate::task::open_file::{FileKey, OpenFile, RowIdentity};
use crate::task::partitioner::{Partitioned, RowContext};

/// Where a block is left although more of it was on shelves: nothing from this record on is in a file.
pub(super) struct Halt {
    /// Index in the block.
    pub(super) record: usize,
    pub(super) why: Taken,
}

/// Rows of one shelf, and where they go.
struct Batch {
    reader: usize,
    shelved: Shelved,
    partitioned: Partitioned,
}

impl OpenFlush {
    /// Moves every shelved row into its file. Records before `cursor` were taken; the ones from [`Halt::record`] on, where there
    /// is one, are not any more.
    pub(super) fn clear_shelves(
        &mut self,
        block: &RecordBlock,
        cursor: usize,
        context: &mut FlushContext<'_>,
    ) -> Result<Option<Halt>, Failure> {
        self.shelved_bytes = 0;
        self.shelved_weight_bytes = 0;
        self.shelved_rows = 0;
        self.shelved_letters_bytes = 0;
        let mut batches = Vec::new();
        for reader in 0..self.shelves.len() {
            if self.shelves[reader].rows.is_empty() {
                continue;
            }
            let shelved = self.shelves[reader].finish()?;
            if context.partitioner.is_none() {
                let identities = shelved.rows.iter().map(|row| row.identity);
                let key = FileKey { directory: String::new(), reader };
                self.write_file(key, shelved.batch, identities, context)?;
            } else {
                let partitioned = self.partition(reader, &shelved, context);
                batches.push(Batch { reader, shelved, partitioned });
            }
        }
        let halt = self.refuse_rows(&batches, block, cursor, context);
        let until = halt.as_ref().map_or(cursor, |halt| halt.record);
        for batch in batches {
            self.write_partitions(batch, until, context)?;
        }
        Ok(halt)
    }

    fn partition(&self, reader: usize, shelved: &Shelved, context: &FlushContext<'_>) -> Partitioned {
        let (names, rows) = (&self.record_names, &shelved.rows);
        let row_context = RowContext {
            timestamps_ms: &shelved.timestamps_ms,
            flush_wall_ms: self.basis.wall_ms,
            record_name: &|row| Some(&*names[rows[row].name? as usize]),
        };
        context.partitioner.partition(&shelved.batch, &self.shelves[reader].places, &row_context)
    }

    /// Does with rows that have no directory what the policy says, in the order of their records, up to one at which the block
    /// is to be left.
    fn refuse_rows(
        &mut self,
        batches: &[Batch],
        block: &RecordBlock,
        cursor: usize,
        context: &mut FlushContext<'_>,
    ) -> Option<Halt> {
        let mut refused: Vec<(usize, SchemaId, &Failure)> = Vec::new();
        for Batch { shelved, partitioned, .. } in batches {
            let rows = shelved.rows.iter().zip(&partitioned.rows);
            refused.extend(rows.filter_map(|(row, directory)| {
                Some((row.record as usize, row.identity.schema, directory.as_ref().err()?))
            }));
        }
        refused.sort_unstable_by_key(|(record, ..)| *record);
        for (index, schema, failure) in refused {
            let Some(record) = block.get(index) else { continue };
            // Only the last record can wait: what came after another one has been decided upon, as a replay decides too. There
            // is room for the letters of those before it, see `shelves_full`.
            if index + 1 == cursor && lacks_room(failure, context) {
                return Some(Halt { record: index, why: Taken::LettersFull });
            }
            if let Err(failure) = self.refuse_now(&record, Some(schema), failure.clone(), context) {
                return Some(Halt { record: index, why: Taken::Stop(failure) });
            }
        }
        None
    }

    /// Writes the rows of the records before `until` that have a directory.
    fn write_partitions(
        &mut self,
        batch: Batch,
        until: usize,
        context: &mut FlushContext<'_>,
    ) -> Result<(), Failure> {
        let Batch { reader, shelved: Shelved { batch, rows, .. }, partitioned } = batch;
        let file_schema = self.shelves[reader].file_schema.clone();
        let batch = &RecordBatch::try_new(file_schema, batch.columns().to_vec()).map_err(|error| {
            Failure::fatal(Stage::Partition, format!("columns do not fit their file's schema: {error}"))
        })?;
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); partitioned.directories.len()];
        for (row, directory) in partitioned.rows.into_iter().enumerate() {
            match directory {
                Ok(directory) if (rows[row].record as usize) < until => {
                    members[directory as usize].push(row as u32);
                }
                _ => self.rows -= 1,
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
