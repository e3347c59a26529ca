//! What decoding an order into Arrow costs: `cargo run --release --example decode_cost`.

use std::sync::Arc;
use std::time::Instant;

use sluice::decode::{BatchBuilder, ColumnLayout, DecodePlan};
use sluice::demo::orders::{ORDER_SCHEMA, OrderGenerator};
use sluice::schema::{AvroSchema, ColumnOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schema = Arc::new(AvroSchema::parse(ORDER_SCHEMA, &[])?);
    let layout = ColumnLayout::new(schema.clone(), ColumnOptions { nullable_top_level: false })?;
    let plan = DecodePlan::compile(&schema, &layout)?;
    let mut batch = BatchBuilder::new(&layout);
    let mut generator = OrderGenerator::new(42);
    let datums: Vec<Vec<u8>> = (0..10_000)
        .map(|_| {
            let mut datum = Vec::new();
            generator.append_order(&mut datum);
            datum
        })
        .collect();
    let bytes: usize = datums.iter().map(Vec::len).sum();
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..10 {
            for datum in &datums {
                plan.decode(&mut batch, datum)?;
            }
            assert_eq!(batch.finish().num_rows(), datums.len());
        }
        let nanos = start.elapsed().as_nanos() / (10 * datums.len() as u128);
        println!("{nanos} ns a record of {} bytes", bytes / datums.len());
    }
    Ok(())
}
