//! The hot paths on data of their own, for counting instructions and for timing: `hot_paths decode|encode|partition [TIMES]`.
//! `make bench-instructions` runs it under callgrind, which counts only inside [`measured_decode`],
//! [`measured_encode`] and [`measured_partition`]; alone it prints nanoseconds a record.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use sluice::config::settings::{
    ByteSize, Compression, Dictionary, ParquetSettings, PartitionRule, TimeSource,
};
use sluice::decode::{BatchBuilder, ColumnLayout, DecodePlan};
use sluice::demo::orders::{ORDER_SCHEMA, OrderGenerator};
use sluice::encode::{Encoding, FileEncoder};
use sluice::schema::{AvroSchema, ColumnOptions};
use sluice::task::partitioner::{Partitioner, RowContext};

const RECORDS: usize = 20_000;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments.first().ok_or("usage: hot_paths decode|encode|partition [TIMES]")?;
    let times: usize = arguments.get(1).map_or(Ok(1), |times| times.parse())?;
    let schema = Arc::new(AvroSchema::parse(ORDER_SCHEMA, &[])?);
    let layout = ColumnLayout::new(schema.clone(), ColumnOptions::default())?;
    let plan = DecodePlan::compile(&schema, &layout)?;
    let mut generator = OrderGenerator::new(42);
    let datums: Vec<Vec<u8>> = (0..RECORDS)
        .map(|_| {
            let mut datum = Vec::new();
            generator.append_order(&mut datum);
            datum
        })
        .collect();
    let mut builder = BatchBuilder::new(&layout);
    // Twice: a builder makes room for as many rows as it held before.
    let mut batch = warm(&plan, &mut builder, &datums)?;
    let encoding = encoding()?;
    let partitioner = partitioner();
    for _ in 0..times {
        let began = Instant::now();
        match path.as_str() {
            "decode" => batch = measured_decode(&plan, &mut builder, &datums)?,
            "encode" => assert!(measured_encode(&encoding, &batch)? > 0),
            "partition" => assert!(measured_partition(&partitioner, &batch) > 200),
            other => return Err(format!("no path {other}").into()),
        }
        println!("{path}: {} ns a record", began.elapsed().as_nanos() / RECORDS as u128);
    }
    assert_eq!(batch.num_rows(), RECORDS);
    Ok(())
}

fn warm(plan: &DecodePlan, builder: &mut BatchBuilder, datums: &[Vec<u8>]) -> Fallible<RecordBatch> {
    for datum in datums {
        plan.decode(builder, datum)?;
    }
    Ok(builder.finish())
}

#[inline(never)]
fn measured_decode(
    plan: &DecodePlan,
    builder: &mut BatchBuilder,
    datums: &[Vec<u8>],
) -> Fallible<RecordBatch> {
    for datum in datums {
        plan.decode(builder, datum)?;
    }
    Ok(builder.finish())
}

#[inline(never)]
fn measured_encode(encoding: &Encoding, batch: &RecordBatch) -> Fallible<u64> {
    let mut file = FileEncoder::new(&"orders".into(), batch.schema(), encoding, std::slice::from_ref(batch))?;
    file.write(batch)?;
    Ok(file.finish(Vec::new())?.size_bytes)
}

#[inline(never)]
fn measured_partition(partitioner: &Partitioner, batch: &RecordBatch) -> usize {
    let timestamps_ms: Vec<Option<i64>> = (0..batch.num_rows() as i64)
        .map(|row| Some(1_699_999_980_000 + row * 7_919 % (35 * 60) * 1_000))
        .collect();
    let context = RowContext { timestamps_ms: &timestamps_ms, flush_wall_ms: 0, record_name: &|_| None };
    partitioner.partition(batch, &context).directories.len()
}

/// Eight countries, and a directory for each of 35 minutes.
fn partitioner() -> Partitioner {
    let country = vec!["shipping".to_owned(), "country".to_owned()];
    let pattern = "at=%Y-%m-%dT%H%M".to_owned();
    let minute = PartitionRule::Time { source: TimeSource::Record, pattern, timezone: chrono_tz::UTC };
    Partitioner::new(vec![PartitionRule::Field { path: country, name: "country".to_owned() }, minute], 100)
}

fn encoding() -> Fallible<Encoding> {
    Ok(Encoding::new(&ParquetSettings {
        compression: Compression::Snappy,
        row_group_bytes: ByteSize(64 << 20),
        row_group_rows: 1_000_000.try_into()?,
        dictionary: Dictionary::Auto,
        columns: [].into(),
        sort_by: Vec::new(),
    }))
}
