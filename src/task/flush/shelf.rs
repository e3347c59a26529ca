//! Owns rows that are decoded but in no file yet: columns of one reader schema and what identifies each row.

use std::mem;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::FlushContext;
use crate::config::settings::KeyFormat;
use crate::decode::BatchBuilder;
use crate::decode::metadata::MetadataBuilder;
use crate::error::{Failure, Stage};
use crate::position::SchemaId;
use crate::record::Record;
use crate::task::message::{Effect, Event};
use crate::task::open_file::RowIdentity;
use crate::task::partition_fields::FieldPlaces;
use crate::task::schemas::{KEY_COLUMN, KnownSchema};

/// Rows of one reader schema that are not in a file yet.
pub(super) struct Shelf {
    pub(super) reader: Option<Arc<KnownSchema>>,
    /// Reader of keys; `None` as long as no key has had a schema, and where keys are not Avro.
    pub(super) key_reader: Option<Arc<KnownSchema>>,
    schema: SchemaRef,
    /// The same columns by the names they have in files.
    pub(super) file_schema: SchemaRef,
    /// Where the fields of `partition_by` are.
    pub(super) places: FieldPlaces,
    pub(super) builder: Option<BatchBuilder>,
    pub(super) metadata: MetadataBuilder,
    pub(super) rows: Vec<ShelvedRow>,
    pub(super) timestamps_ms: Vec<Option<i64>>,
}

/// What was on a shelf.
pub(super) struct Shelved {
    pub(super) batch: RecordBatch,
    pub(super) rows: Vec<ShelvedRow>,
    pub(super) timestamps_ms: Vec<Option<i64>>,
}

#[derive(Clone, Copy)]
pub(super) struct ShelvedRow {
    pub(super) identity: RowIdentity,
    /// Index of the record in the block at hand.
    pub(super) record: u32,
    /// Number of the name of its record type, where those make directories.
    pub(super) name: Option<u32>,
}

impl Shelf {
    pub(super) fn new(
        reader: Option<Arc<KnownSchema>>,
        key_reader: Option<Arc<KnownSchema>>,
        context: &mut FlushContext<'_>,
    ) -> Result<Self, Failure> {
        let key_layout = key_reader.as_ref().map(|known| known.key_layout()).transpose()?;
        let settings = context.settings;
        let metadata = MetadataBuilder::new(settings.columns, settings.key, context.tp.clone())
            .with_avro_keys(key_layout.as_ref());
        let layout = reader.as_ref().map(|known| known.layout()).transpose()?;
        let builder = layout.as_ref().map(BatchBuilder::new);
        let mut fields: Vec<Field> = match &layout {
            Some(layout) => layout.schema().fields().iter().map(|field| field.as_ref().clone()).collect(),
            None => Vec::new(),
        };
        fields.extend(metadata.fields());
        let schema = Arc::new(Schema::new(fields));
        let places = context.partitioner.place_fields(&schema, layout.as_deref(), key_layout.as_deref());
        if let Some(reader) = &reader {
            report_missing_fields(reader.id, key_reader.is_some(), &places, context);
        }
        Ok(Self {
            reader,
            key_reader,
            file_schema: context.partitioner.file_schema(&schema, &places),
            places,
            schema,
            builder,
            metadata,
            rows: Vec::new(),
            timestamps_ms: Vec::new(),
        })
    }

    /// About what its rows take in memory, those of metadata but for keys not counted, bytes.
    pub(super) fn weight_bytes(&self) -> u64 {
        self.metadata.weight_bytes() + self.builder.as_ref().map_or(0, BatchBuilder::weight_bytes)
    }

    /// Gives every row, all of null keys, the column of this reader of keys.
    pub(super) fn give_keys(
        &mut self,
        key_reader: &Arc<KnownSchema>,
        context: &mut FlushContext<'_>,
    ) -> Result<(), Failure> {
        let Self { key_reader, schema, file_schema, places, .. } =
            Self::new(self.reader.clone(), Some(key_reader.clone()), context)?;
        if let Some(known) = &key_reader {
            self.metadata.begin_avro_keys(&known.key_layout()?);
        }
        (self.key_reader, self.schema, self.file_schema, self.places) =
            (key_reader, schema, file_schema, places);
        Ok(())
    }

    /// Where the column of this name is, by the name it has before directories take theirs.
    pub(super) fn place_in_schema(&self, column: &str) -> Result<usize, Failure> {
        self.schema.index_of(column).map_err(|error| Failure::fatal(Stage::Decode, error.to_string()))
    }

    /// Adds what a decoded row has beside its columns of the value.
    pub(super) fn push(&mut self, record: &Record<'_>, row: ShelvedRow) {
        self.metadata.push(record);
        self.timestamps_ms.push(record.timestamp_ms);
        self.rows.push(row);
    }

    pub(super) fn finish(&mut self) -> Result<Shelved, Failure> {
        let mut columns = match &mut self.builder {
            Some(builder) => builder.finish().columns().to_vec(),
            None => Vec::new(),
        };
        columns.extend(self.metadata.finish());
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(|error| {
            Failure::fatal(Stage::Decode, format!("columns do not fit their schema: {error}"))
        })?;
        let (rows, timestamps_ms) = (mem::take(&mut self.rows), mem::take(&mut self.timestamps_ms));
        Ok(Shelved { batch, rows, timestamps_ms })
    }
}

/// Tells people of fields of `partition_by` that rows read with `reader` do not have: those all go to one directory.
fn report_missing_fields(
    reader: SchemaId,
    has_key: bool,
    places: &FieldPlaces,
    context: &mut FlushContext<'_>,
) {
    let partitioner = context.partitioner;
    for path in partitioner.found_fields(places) {
        context.schemas.missing_fields.note_found(path);
    }
    // As long as no key had a schema, nobody knows.
    let awaited = |path: &[String]| {
        !has_key && matches!(context.settings.key, KeyFormat::Avro(_)) && path[0] == KEY_COLUMN
    };
    for path in partitioner.missing_fields(places).filter(|path| !awaited(path)) {
        if context.schemas.missing_fields.is_news(path, reader) {
            context.effects.push_back(Effect::Report(Event::FieldMissing {
                tp: context.tp.clone(),
                field: path.join("."),
                schema: reader,
            }));
        }
    }
}
