//! Owns the columns beside those of the value: `_topic _partition _offset _timestamp _key _headers`.
//! Does not own which of them a connector asks for.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Array, Int64Builder, ListBuilder, StringArray, StringBuilder,
    StructBuilder, TimestampMillisecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use super::{BatchBuilder, ColumnLayout, DecodeError, DecodePlan};
use crate::config::settings::{KeyFormat, MetadataColumns};
use crate::error::{Failure, Stage};
use crate::position::TopicPartition;
use crate::record::Record;

/// Builds the metadata columns of one topic-partition, row by row.
pub struct MetadataBuilder {
    columns: MetadataColumns,
    tp: TopicPartition,
    rows: usize,
    offsets: Int64Builder,
    timestamps: TimestampMillisecondBuilder,
    key: KeyBuilder,
    headers: ListBuilder<StructBuilder>,
}

enum KeyBuilder {
    None,
    Bytes(BinaryBuilder),
    Text(StringBuilder),
    Avro(Box<BatchBuilder>),
}

impl MetadataBuilder {
    /// An empty builder for the records of `tp`.
    #[must_use]
    pub fn new(columns: MetadataColumns, key: KeyFormat, tp: TopicPartition) -> Self {
        let key = match key {
            KeyFormat::Bytes if columns.key => KeyBuilder::Bytes(BinaryBuilder::new()),
            KeyFormat::String if columns.key => KeyBuilder::Text(StringBuilder::new()),
            _ => KeyBuilder::None,
        };
        Self {
            columns,
            tp,
            rows: 0,
            offsets: Int64Builder::new(),
            timestamps: TimestampMillisecondBuilder::new().with_timezone("UTC"),
            key,
            headers: ListBuilder::new(StructBuilder::new(
                header_fields(),
                vec![Box::new(StringBuilder::new()), Box::new(BinaryBuilder::new())],
            ))
            .with_field(Field::new("element", DataType::Struct(header_fields()), false)),
        }
    }

    /// With keys of this schema, see [`ColumnLayout::whole`]; `None` leaves the column out: no key had a schema yet.
    /// Without effect where there is no key column.
    #[must_use]
    pub fn with_avro_keys(mut self, layout: Option<&Arc<ColumnLayout>>) -> Self {
        if let Some(layout) = layout.filter(|_| self.columns.key) {
            self.key = KeyBuilder::Avro(Box::new(BatchBuilder::new(layout)));
        }
        self
    }

    /// From now on with keys of this schema; those of the rows so far are null. Without effect where there is no key column.
    ///
    /// # Panics
    /// When it has keys of a schema already.
    pub fn begin_avro_keys(&mut self, layout: &Arc<ColumnLayout>) {
        assert!(matches!(self.key, KeyBuilder::None), "keys have a schema already");
        if !self.columns.key {
            return;
        }
        let mut builder = BatchBuilder::new(layout);
        for _ in 0..self.rows {
            builder.append_null_row();
        }
        self.key = KeyBuilder::Avro(Box::new(builder));
    }

    /// Decodes the key of the record whose row is pushed next; without a plan it is null. After an error nothing has
    /// changed.
    ///
    /// # Errors
    /// As [`DecodePlan::decode`].
    pub fn decode_key(&mut self, plan: Option<&DecodePlan>, datum: &[u8]) -> Result<(), DecodeError> {
        match (&mut self.key, plan) {
            (KeyBuilder::Avro(builder), Some(plan)) => plan.decode(builder, datum),
            (KeyBuilder::Avro(builder), None) => {
                builder.append_null_row();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// About what the keys of the rows take in memory where they are Avro, bytes, as [`BatchBuilder::weight_bytes`].
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        match &self.key {
            KeyBuilder::Avro(builder) => builder.weight_bytes(),
            _ => 0,
        }
    }

    /// Takes back a key that was decoded for a row that does not come.
    pub fn remove_key(&mut self) {
        if let KeyBuilder::Avro(builder) = &mut self.key {
            builder.remove_last_row();
        }
    }

    /// Whether the record's metadata can become a row.
    ///
    /// # Errors
    /// Poison when a key that should be text is not UTF-8.
    pub fn check(&self, record: &Record<'_>) -> Result<(), Failure> {
        if let (KeyBuilder::Text(_), Some(key)) = (&self.key, record.key)
            && let Err(error) = std::str::from_utf8(key)
        {
            return Err(Failure::poison(
                Stage::Decode,
                "key_not_utf8",
                format!("the key is not UTF-8: {error}"),
            ));
        }
        Ok(())
    }

    /// Appends a row for a record that [`Self::check`] let pass.
    pub fn push(&mut self, record: &Record<'_>) {
        self.rows += 1;
        if self.columns.position {
            self.offsets.append_value(record.offset.as_i64());
            self.timestamps.append_option(record.timestamp_ms);
        }
        match &mut self.key {
            // Decoded before.
            KeyBuilder::None | KeyBuilder::Avro(_) => {}
            KeyBuilder::Bytes(builder) => builder.append_option(record.key),
            KeyBuilder::Text(builder) => {
                builder.append_option(record.key.and_then(|key| std::str::from_utf8(key).ok()));
            }
        }
        if self.columns.headers {
            self.push_headers(record);
        }
    }

    /// The fields, in the order of [`Self::finish`].
    #[must_use]
    pub fn fields(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        if self.columns.position {
            fields.push(Field::new("_topic", DataType::Utf8, false));
            fields.push(Field::new("_partition", DataType::Int32, false));
            fields.push(Field::new("_offset", DataType::Int64, false));
            let timestamp = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
            fields.push(Field::new("_timestamp", timestamp, true));
        }
        match &self.key {
            KeyBuilder::None => {}
            KeyBuilder::Avro(builder) => {
                fields.extend(builder.layout().schema().fields().iter().map(|field| field.as_ref().clone()));
            }
            KeyBuilder::Bytes(_) => fields.push(Field::new("_key", DataType::Binary, true)),
            KeyBuilder::Text(_) => fields.push(Field::new("_key", DataType::Utf8, true)),
        }
        if self.columns.headers {
            let element = Field::new("element", DataType::Struct(header_fields()), false);
            fields.push(Field::new("_headers", DataType::List(Arc::new(element)), false));
        }
        fields
    }

    /// The columns of the rows so far; begins anew.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        let rows = std::mem::take(&mut self.rows);
        let mut arrays: Vec<ArrayRef> = Vec::new();
        if self.columns.position {
            arrays.push(Arc::new(StringArray::new_repeated(&self.tp.topic, rows)));
            arrays.push(Arc::new(Int32Array::from_value(self.tp.partition, rows)));
            arrays.push(Arc::new(self.offsets.finish()));
            arrays.push(Arc::new(self.timestamps.finish()));
        }
        match &mut self.key {
            KeyBuilder::None => {}
            KeyBuilder::Avro(builder) => arrays.extend(builder.finish().columns().iter().cloned()),
            KeyBuilder::Bytes(builder) => arrays.push(Arc::new(builder.finish())),
            KeyBuilder::Text(builder) => arrays.push(Arc::new(builder.finish())),
        }
        if self.columns.headers {
            arrays.push(Arc::new(self.headers.finish()));
        }
        arrays
    }

    fn push_headers(&mut self, record: &Record<'_>) {
        for header in record.headers {
            let entries = self.headers.values();
            if let Some(keys) = entries.field_builder::<StringBuilder>(0) {
                keys.append_value(&header.key);
            }
            if let Some(values) = entries.field_builder::<BinaryBuilder>(1) {
                values.append_option(header.value.as_deref());
            }
            entries.append(true);
        }
        self.headers.append(true);
    }
}

fn header_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Binary, true)])
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, RecordBatch};
    use arrow::datatypes::Schema;

    use super::*;
    use crate::position::Offset;
    use crate::record::Header;

    #[test]
    fn fault_18_null_keys_headers_and_missing_timestamps_become_columns() {
        let columns = MetadataColumns { position: true, key: true, headers: true };
        let mut builder = MetadataBuilder::new(columns, KeyFormat::String, TopicPartition::new("t", 3));
        let headers = vec![
            Header { key: "h".into(), value: None },
            Header { key: "h".into(), value: Some(vec![0; 70_000]) },
        ];
        let record =
            Record { offset: Offset::ZERO, timestamp_ms: None, key: None, value: None, headers: &headers };
        builder.check(&record).unwrap();
        builder.push(&record);
        builder.push(&Record { timestamp_ms: Some(5), key: Some(b"k"), headers: &[], ..record });
        let schema = Arc::new(Schema::new(builder.fields()));
        let batch = RecordBatch::try_new(schema, builder.finish()).unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (2, 6));
        let nulls: Vec<usize> = batch.columns().iter().map(Array::null_count).collect();
        assert_eq!(nulls, [0, 0, 0, 1, 1, 0]);
        let headers = batch.column(5).as_list::<i32>().values().as_struct().clone();
        assert_eq!(
            (headers.len(), headers.column(1).null_count(), headers.column(1).is_null(0)),
            (2, 1, true)
        );
    }

    #[test]
    fn fault_18_a_null_key_of_bytes_is_not_an_empty_one() {
        let columns = MetadataColumns { position: false, key: true, headers: false };
        let mut builder = MetadataBuilder::new(columns, KeyFormat::Bytes, TopicPartition::new("t", 3));
        let record =
            Record { offset: Offset::ZERO, timestamp_ms: None, key: None, value: None, headers: &[] };
        builder.push(&record);
        builder.push(&Record { key: Some(&[]), ..record });
        let column = builder.finish().remove(0);
        assert!(column.is_null(0) && column.is_valid(1));
    }

    #[test]
    fn a_key_whose_row_does_not_come_is_taken_back() {
        let schema = Arc::new(crate::schema::AvroSchema::parse(r#""int""#, &[]).unwrap());
        let layout =
            ColumnLayout::whole(schema.clone(), "_key", crate::schema::ColumnOptions::default()).unwrap();
        let plan = DecodePlan::compile(&schema, &layout).unwrap();
        let columns = MetadataColumns { position: false, key: true, headers: false };
        let wire = crate::config::settings::WireFormat::Confluent;
        let mut builder = MetadataBuilder::new(columns, KeyFormat::Avro(wire), TopicPartition::new("t", 3))
            .with_avro_keys(Some(&layout));
        let record =
            Record { offset: Offset::ZERO, timestamp_ms: None, key: Some(b"k"), value: None, headers: &[] };
        for (datum, comes) in [(2, true), (4, false), (6, true)] {
            builder.decode_key(Some(&plan), &[datum]).unwrap();
            if comes { builder.push(&record) } else { builder.remove_key() }
        }
        let column = builder.finish().remove(0);
        assert_eq!(column.as_primitive::<arrow::datatypes::Int32Type>().values(), &[1, 3]);
    }

    #[test]
    fn a_key_that_is_not_text_is_poison() {
        let columns = MetadataColumns { position: false, key: true, headers: false };
        let builder = MetadataBuilder::new(columns, KeyFormat::String, TopicPartition::new("t", 3));
        let record = Record {
            offset: Offset::ZERO,
            timestamp_ms: None,
            key: Some(&[0xff]),
            value: None,
            headers: &[],
        };
        assert!(matches!(builder.check(&record), Err(Failure::Poison { kind: "key_not_utf8", .. })));
    }
}
