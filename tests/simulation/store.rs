//! Owns the model of a store: files that appear whole or not at all, never replaced unless a control says so.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sluice::position::{OffsetRange, TopicPartition};
use sluice::task::message::SealedFile;
use sluice::task::names::parse_object_name;

#[derive(Default)]
pub(crate) struct Store {
    /// Identity of each visible file: rows and checksum.
    files: BTreeMap<String, (u64, u64)>,
}

/// What became of one publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Created,
    Adopted,
    Replaced,
    Conflict,
}

impl Store {
    pub(crate) fn publish(&mut self, file: &SealedFile, replace: bool) -> Outcome {
        let identity = (file.rows, file.checksum);
        let outcome = match self.files.get(&file.name) {
            None => Outcome::Created,
            Some(existing) if *existing == identity => return Outcome::Adopted,
            Some(_) if replace => Outcome::Replaced,
            Some(_) => return Outcome::Conflict,
        };
        self.files.insert(file.name.clone(), identity);
        outcome
    }

    /// Name and range of every file of a topic-partition.
    pub(crate) fn list(&self, tp: &TopicPartition) -> Vec<(String, OffsetRange)> {
        self.files
            .keys()
            .filter_map(|name| Some((name, parse_object_name(name)?)))
            .filter(|(_, (found, _, _))| found == tp)
            .map(|(name, (_, range, _))| (name.clone(), range))
            .collect()
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.files.remove(name);
    }

    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }
}

/// The offsets of a file's rows, in their order.
pub(crate) fn read_offsets(bytes: Bytes) -> Vec<i64> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("a published file is valid Parquet");
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["_offset"]);
    let mut offsets = Vec::new();
    for batch in builder.with_projection(mask).build().unwrap() {
        offsets.extend(batch.unwrap().column(0).as_primitive::<Int64Type>().values());
    }
    offsets
}
