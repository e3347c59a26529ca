//! Tests of decoding as a whole: values in, columns out.

mod choices;
mod differential;
mod encode;
mod hostile;
mod limits;
mod orders;
mod random;
mod resolution;

use std::sync::Arc;

pub(crate) use encode::varint;

use super::{BatchBuilder, ColumnLayout, DecodeError, DecodePlan};
use crate::schema::{AvroSchema, ColumnOptions, SchemaError};

fn schema(json: &str) -> Arc<AvroSchema> {
    Arc::new(AvroSchema::parse(json, &[]).unwrap())
}

fn layout(json: &str) -> Arc<ColumnLayout> {
    ColumnLayout::new(schema(json), ColumnOptions::default()).unwrap()
}

/// Plan and batch for datums of `json` read as they were written.
fn same(json: &str) -> (DecodePlan, BatchBuilder) {
    read_as(json, json).unwrap()
}

fn read_as(writer: &str, reader: &str) -> Result<(DecodePlan, BatchBuilder), SchemaError> {
    let layout = layout(reader);
    let plan = DecodePlan::compile(&schema(writer), &layout)?;
    let batch = BatchBuilder::new(&layout);
    Ok((plan, batch))
}

/// The kind of fault that `datum` of a schema ends in; the batch must be as before.
fn fault_of(json: &str, datum: &[u8]) -> &'static str {
    let (plan, mut batch) = same(json);
    let error = plan.decode(&mut batch, datum).unwrap_err();
    assert_eq!(batch.rows(), 0);
    assert_eq!(batch.finish().num_rows(), 0);
    assert_ne!(error, DecodeError::BatchFull);
    error.kind()
}
