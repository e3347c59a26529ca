//! Owns the model of a store: files that appear whole or not at all, never replaced unless a control says so.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

#[derive(Default)]
pub(crate) struct Store {
    pub files: BTreeMap<String, PublishedFile>,
    /// By topic.
    pub claims: BTreeMap<String, String>,
    pub created: u64,
    pub adopted: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PublishedFile {
    pub rows: u64,
    pub checksum: u64,
    pub offsets: Vec<i64>,
}

/// What became of one publication.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    Created,
    Adopted,
    Conflict,
}

impl Store {
    pub(crate) fn publish(&mut self, name: &str, file: &PublishedFile, replace: bool) -> Outcome {
        match self.files.get(name) {
            Some(existing) if (existing.rows, existing.checksum) == (file.rows, file.checksum) => {
                // The same name with the same identity must be the same rows.
                assert_eq!(existing.offsets, file.offsets, "{name}: identity agrees, offsets do not");
                self.adopted += 1;
                Outcome::Adopted
            }
            Some(_) if !replace => Outcome::Conflict,
            _ => {
                self.files.insert(name.to_owned(), file.clone());
                self.created += 1;
                Outcome::Created
            }
        }
    }
}

/// Reads the offsets of a file; K6: they ascend.
pub(crate) fn read_offsets(bytes: Bytes) -> Vec<i64> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("a published file is valid Parquet");
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["_offset"]);
    let mut offsets = Vec::new();
    for batch in builder.with_projection(mask).build().unwrap() {
        offsets.extend(batch.unwrap().column(0).as_primitive::<Int64Type>().values());
    }
    assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]), "K6: offsets ascend within a file");
    offsets
}
