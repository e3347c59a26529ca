//! Owns decoding records to ready batches, and encoding those with the settings of a connector, each timed by itself.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use rustix::time::ClockId;
use sluice::config::settings::{ConnectorSettings, KeyFormat, WireFormat};
use sluice::decode::metadata::MetadataBuilder;
use sluice::decode::wire::{Side, WireReader};
use sluice::decode::{BatchBuilder, ColumnLayout, DecodePlan};
use sluice::encode::{Encoding, FileEncoder};
use sluice::position::{Offset, TopicPartition};
use sluice::record::Record;
use sluice::schema::{AvroSchema, ColumnOptions};

use crate::consume::OwnedMessage;
use crate::library::LibraryFiles;
use crate::{Fallible, cpu_seconds};

/// Bytes of values that make a batch, as in a whole run.
const BATCH_BYTES: usize = 4 << 20;

pub(crate) struct Encoded {
    pub(crate) decode_seconds: f64,
    pub(crate) encode_seconds: f64,
    pub(crate) library_seconds: f64,
    pub(crate) parquet_bytes: u64,
}

pub(crate) fn decode_and_encode(
    connector: &ConnectorSettings,
    schema: &str,
    topic: &str,
    partitions: &[Vec<OwnedMessage>],
) -> Fallible<Encoded> {
    let reader = Arc::new(AvroSchema::parse(schema, &[])?);
    let layout = ColumnLayout::new(reader.clone(), ColumnOptions::default())?;
    let plan = DecodePlan::compile(&reader, &layout)?;
    let encoding = Encoding::new(&connector.parquet);
    let topic: Arc<str> = topic.into();
    let mut done =
        Encoded { decode_seconds: 0.0, encode_seconds: 0.0, library_seconds: 0.0, parquet_bytes: 0 };
    for (number, messages) in partitions.iter().enumerate() {
        let tp = TopicPartition::new(topic.clone(), number as i32);
        let mut metadata = MetadataBuilder::new(connector.columns, KeyFormat::None, tp);
        let mut fields: Vec<Field> = layout.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.extend(metadata.fields());
        let schema = Arc::new(Schema::new(fields));
        let mut builder = BatchBuilder::new(&layout);
        let mut file: Option<FileEncoder> = None;
        let mut library = LibraryFiles::new(connector);
        let mut wires = WireReader::new(WireFormat::Confluent, Side::Value);
        let mut rest = messages.as_slice();
        while !rest.is_empty() {
            let began = cpu_seconds(ClockId::ThreadCPUTime);
            let mut bytes = 0;
            while let Some((message, after)) = rest.split_first().filter(|_| bytes < BATCH_BYTES) {
                let datum = wires.split(&message.value, &[])?.1;
                plan.decode(&mut builder, datum)?;
                metadata.push(&Record {
                    offset: Offset::new(message.offset).ok_or("a negative offset")?,
                    timestamp_ms: Some(message.timestamp_ms),
                    key: None,
                    value: None,
                    headers: &[],
                });
                bytes += message.value.len();
                rest = after;
            }
            let mut columns = builder.finish().columns().to_vec();
            columns.extend(metadata.finish());
            let batch = RecordBatch::try_new(schema.clone(), columns)?;
            let decoded = cpu_seconds(ClockId::ThreadCPUTime);
            let open = match &mut file {
                Some(open) => open,
                none => none.insert(FileEncoder::new(
                    &topic,
                    schema.clone(),
                    &encoding,
                    std::slice::from_ref(&batch),
                )?),
            };
            open.write(&batch)?;
            drop(open.take_bytes());
            if connector.rotate.bytes.is_some_and(|limit| open.estimated_bytes() >= limit.0) {
                done.parquet_bytes += finish(file.take())?;
            }
            done.decode_seconds += decoded - began;
            done.encode_seconds += cpu_seconds(ClockId::ThreadCPUTime) - decoded;
            library.write(&schema, &batch)?;
        }
        let began = cpu_seconds(ClockId::ThreadCPUTime);
        done.parquet_bytes += finish(file)?;
        done.encode_seconds += cpu_seconds(ClockId::ThreadCPUTime) - began;
        library.close()?;
        done.library_seconds += library.seconds;
    }
    Ok(done)
}

fn finish(file: Option<FileEncoder>) -> Fallible<u64> {
    Ok(match file {
        Some(file) => file.finish(Vec::new())?.size_bytes,
        None => 0,
    })
}
