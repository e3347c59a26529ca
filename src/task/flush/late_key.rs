//! Owns rows that came before any key of their flush had a schema: once one has, they get its column, full of nulls, as
//! though it had been known from the beginning. Does not own which schema reads keys.

use std::sync::Arc;

use super::{FlushContext, OpenFlush, weight};
use crate::error::Failure;
use crate::task::schemas::{KEY_COLUMN, KnownSchema};

impl OpenFlush {
    /// Gives the rows so far, all of null keys, the column of `key_reader`, and says so in the intent: a flush that is made
    /// again has it from its first record on, so nothing else decides whether this was done. Nothing is done where a file
    /// without the column has begun to leave, nor where rows went to directories by a field of the value that has the column's
    /// name: they would not go there again.
    ///
    /// # Errors
    /// Fatal when columns and schema do not agree, which would be a mistake of this room.
    pub(super) fn give_keys(
        &mut self,
        key_reader: &Arc<KnownSchema>,
        context: &mut FlushContext<'_>,
    ) -> Result<(), Failure> {
        let without: Vec<usize> =
            (0..self.shelves.len()).filter(|at| self.shelves[*at].key_reader.is_none()).collect();
        let begun = self.files.values().any(|(_, file)| file.has_begun());
        let of_key = |at: &usize| {
            context.partitioner.found_fields(&self.shelves[*at].places).any(|path| path[0] == KEY_COLUMN)
        };
        if self.replaying || without.is_empty() || begun || without.iter().any(of_key) {
            return Ok(());
        }
        for at in &without {
            self.shelves[*at].give_keys(key_reader, context)?;
        }
        let mut changes = Vec::new();
        for (number, file) in self.files.values_mut().filter(|(_, file)| without.contains(&file.key.reader)) {
            let before = weight(file);
            let shelf = &self.shelves[file.key.reader];
            file.insert_nulls(shelf.place_in_schema(KEY_COLUMN)?, &shelf.file_schema)?;
            changes.push((*number, before, weight(file)));
        }
        for (number, before, after) in changes {
            self.note(number, before, after);
        }
        self.basis.readers.key = Some(key_reader.id);
        Ok(())
    }
}
