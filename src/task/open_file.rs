//! Owns one Parquet file of an open flush: its rows, identity and encoder. Does not own its name nor its bytes' way.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use crate::encode::{EncodedFile, Encoding, FileEncoder, FileFacts};
use crate::error::{Failure, Stage};
use crate::position::{Offset, OffsetRange, SchemaId, TopicPartition};

/// Rows are kept as Arrow until a file has this many bytes of them: a flush over thousands of storage partitions
/// would otherwise hold thousands of encoders.
const ENCODER_FROM_BYTES: usize = 1 << 20;
/// Pending batches are made one when there are this many, so that tiny ones do not pile up.
const PENDING_BATCHES: usize = 32;

/// Where a file belongs in its flush.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileKey {
    /// Storage partition; empty for none.
    pub(super) directory: String,
    /// Number of the reader schema in the flush, in order of first use.
    pub(super) reader: usize,
}

/// What identifies a row to its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowIdentity {
    pub(super) offset: Offset,
    pub(super) hash: u64,
    pub(super) schema: SchemaId,
}

pub(super) struct OpenFile {
    pub(super) key: FileKey,
    schema: SchemaRef,
    pending: Vec<RecordBatch>,
    pending_bytes: usize,
    encoder: Option<FileEncoder>,
    rows: u64,
    checksum: u64,
    schema_ids: BTreeSet<SchemaId>,
    last_offset: Option<Offset>,
}

/// A complete file: its last bytes and what it is.
pub(super) struct ClosedFile {
    pub(super) key: FileKey,
    pub(super) tail: Vec<Bytes>,
    pub(super) rows: u64,
    pub(super) checksum: u64,
    pub(super) size_bytes: u64,
}

/// What a footer needs that the file does not know.
pub(super) struct FooterContext<'a> {
    pub(super) connector: &'a str,
    pub(super) tp: &'a TopicPartition,
    pub(super) topic_id: Option<&'a str>,
    pub(super) range: OffsetRange,
    pub(super) flush_files: usize,
    pub(super) intent: &'a str,
    pub(super) avro_schema: Option<&'a str>,
}

impl OpenFile {
    pub(super) fn new(key: FileKey, schema: SchemaRef) -> Self {
        Self {
            key,
            schema,
            pending: Vec::new(),
            pending_bytes: 0,
            encoder: None,
            rows: 0,
            checksum: 0,
            schema_ids: BTreeSet::new(),
            last_offset: None,
        }
    }

    /// Appends rows; gives the bytes that are ready to leave.
    pub(super) fn write(
        &mut self,
        batch: RecordBatch,
        identities: impl Iterator<Item = RowIdentity>,
        topic: &Arc<str>,
        encoding: &Encoding,
    ) -> Result<Vec<Bytes>, Failure> {
        let mut rows = 0;
        for identity in identities {
            // K6: offsets ascend within a file.
            assert!(
                self.last_offset < Some(identity.offset),
                "offset {} written out of order",
                identity.offset
            );
            self.last_offset = Some(identity.offset);
            self.checksum = combine(self.checksum, identity.hash);
            if self.schema_ids.last() != Some(&identity.schema) {
                self.schema_ids.insert(identity.schema);
            }
            rows += 1;
        }
        assert_eq!(rows, batch.num_rows(), "a file's rows and their identities must agree");
        self.rows += rows as u64;
        if let Some(encoder) = &mut self.encoder {
            encoder.write(&batch)?;
            return Ok(encoder.take_bytes());
        }
        self.pending_bytes += batch.get_array_memory_size();
        self.pending.push(batch);
        if self.pending_bytes >= ENCODER_FROM_BYTES {
            return Ok(self.encode_pending(topic, encoding)?.take_bytes());
        }
        if self.pending.len() >= PENDING_BATCHES {
            let one = concat_batches(&self.schema, &self.pending).map_err(|error| {
                Failure::fatal(Stage::Encode, format!("cannot join record batches: {error}"))
            })?;
            self.pending_bytes = one.get_array_memory_size();
            self.pending = vec![one];
        }
        Ok(Vec::new())
    }

    /// Whether its columns are settled: bytes of it may have left.
    pub(super) fn has_begun(&self) -> bool {
        self.encoder.is_some()
    }

    /// Gives it the columns of `schema`, which has one more at `place`: of nulls for the rows so far.
    ///
    /// # Panics
    /// When it has begun.
    pub(super) fn insert_nulls(&mut self, place: usize, schema: &SchemaRef) -> Result<(), Failure> {
        assert!(!self.has_begun(), "the columns of a file that has begun do not change");
        for batch in &mut self.pending {
            let mut columns = batch.columns().to_vec();
            columns.insert(place, new_null_array(schema.field(place).data_type(), batch.num_rows()));
            *batch = RecordBatch::try_new(schema.clone(), columns).map_err(|error| {
                Failure::fatal(Stage::Encode, format!("columns do not fit their file's schema: {error}"))
            })?;
        }
        self.pending_bytes = self.pending.iter().map(RecordBatch::get_array_memory_size).sum();
        self.schema = schema.clone();
        Ok(())
    }

    /// Estimate of the file's size were it finished now.
    pub(super) fn estimated_bytes(&self) -> u64 {
        // Half of the Arrow form is a fair guess at what Snappy Parquet makes of it; it only matters below 1 MiB.
        self.encoder.as_ref().map_or(self.pending_bytes as u64 / 2, FileEncoder::estimated_bytes)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.pending_bytes + self.encoder.as_ref().map_or(0, FileEncoder::memory_bytes)
    }

    /// Ends the open row group, so that its bytes can leave; gives them.
    pub(super) fn close_row_group(&mut self) -> Result<Vec<Bytes>, Failure> {
        let Some(encoder) = &mut self.encoder else { return Ok(Vec::new()) };
        encoder.close_row_group()?;
        Ok(encoder.take_bytes())
    }

    /// Completes the file.
    pub(super) fn close(
        mut self,
        context: &FooterContext<'_>,
        encoding: &Encoding,
    ) -> Result<ClosedFile, Failure> {
        self.encode_pending(&context.tp.topic, encoding)?;
        let facts = FileFacts {
            connector: context.connector,
            topic_partition: context.tp,
            topic_id: context.topic_id,
            range: context.range,
            flush_files: context.flush_files,
            intent: context.intent,
            rows: self.rows,
            schema_ids: self.schema_ids.into_iter().filter(|id| !id.is_file()).collect(),
            avro_schema: context.avro_schema,
            checksum: self.checksum,
        };
        let encoder = self
            .encoder
            .take()
            .ok_or_else(|| Failure::fatal(Stage::Encode, "a file was closed without an encoder"))?;
        let EncodedFile { tail, size_bytes } = encoder.finish(facts.key_values())?;
        Ok(ClosedFile { key: self.key, tail, rows: self.rows, checksum: self.checksum, size_bytes })
    }

    fn encode_pending(&mut self, topic: &Arc<str>, encoding: &Encoding) -> Result<&mut FileEncoder, Failure> {
        let encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => FileEncoder::new(topic, self.schema.clone(), encoding, &self.pending)?,
        };
        let encoder = self.encoder.insert(encoder);
        for batch in self.pending.drain(..) {
            encoder.write(&batch)?;
        }
        self.pending_bytes = 0;
        Ok(encoder)
    }
}

/// Order matters: the checksum of a file says which rows it has and in which order.
fn combine(checksum: u64, row: u64) -> u64 {
    (checksum.rotate_left(7) ^ row).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
