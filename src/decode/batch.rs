//! Owns a batch while it grows: rows in, [`RecordBatch`] out, and the promise that every column has the same length
//! between calls. Does not own decoding ([`super::plan`]).

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::assemble;
use super::buffers::{Buffers, Fill};
use super::layout::ColumnLayout;

/// A batch that grows row by row. Plans of several writer schemas may append to it as long as they share its layout.
pub struct BatchBuilder {
    pub(super) layout: Arc<ColumnLayout>,
    pub(super) buffers: Buffers,
    pub(super) rows: usize,
    null_row: Vec<Fill>,
    pub(super) weight_bytes: u64,
}

impl BatchBuilder {
    /// An empty batch with the columns of `layout`.
    #[must_use]
    pub fn new(layout: &Arc<ColumnLayout>) -> Self {
        let null_row = layout.root.fills();
        Self { layout: Arc::clone(layout), buffers: layout.buffers(), rows: 0, null_row, weight_bytes: 0 }
    }

    /// The layout it was made with.
    #[must_use]
    pub fn layout(&self) -> &Arc<ColumnLayout> {
        &self.layout
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes that the rows take in memory, spare capacity not counted. Walks every column: ask once in a while, not
    /// for every row.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buffers.size()
    }

    /// About what the rows take in memory, bytes, kept while they come: what a datum of few bytes is decoded to may be
    /// many times its size. Rows taken back still count.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// Appends a row of nulls, as for a tombstone.
    ///
    /// # Panics
    /// When a top-level column may not be null: the layout needs [`ColumnOptions::nullable_top_level`].
    ///
    /// [`ColumnOptions::nullable_top_level`]: crate::schema::ColumnOptions::nullable_top_level
    pub fn append_null_row(&mut self) {
        let nullable = self.layout.schema().fields().iter().all(|field| field.is_nullable());
        assert!(nullable, "a row of nulls needs a layout whose columns may all be null");
        self.buffers.fill(&self.null_row);
        self.rows += 1;
        self.weight_bytes += self.layout.row_bytes();
    }

    /// Takes the last row back.
    ///
    /// # Panics
    /// When there is none.
    pub fn remove_last_row(&mut self) {
        assert!(self.rows > 0, "no row to take back");
        self.rows -= 1;
        self.roll_back();
    }

    /// Hands out the rows and starts an empty batch, with room for about as many.
    ///
    /// # Panics
    /// When columns differ in length, which would be a mistake of this room.
    #[must_use]
    pub fn finish(&mut self) -> RecordBatch {
        let batch = assemble::record_batch(&self.layout, &mut self.buffers, self.rows);
        self.rows = 0;
        self.weight_bytes = 0;
        batch
    }

    /// Takes back everything beyond the committed rows.
    pub(super) fn roll_back(&mut self) {
        self.layout.root.truncate(self.rows, &mut self.buffers);
    }
}

impl fmt::Debug for BatchBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchBuilder")
            .field("rows", &self.rows)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}
