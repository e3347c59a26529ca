//! Owns the model of a store: files that appear whole or not at all, never replaced unless a control says so.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sluice::encode::FooterKey;
use sluice::position::TopicPartition;
use sluice::task::message::{FlushFooter, PublishedFlush};
use sluice::task::names::parse_object_name;

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
    /// What its footer says of its flush.
    pub footer: FlushFooter,
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

impl Store {
    /// The published flush of a topic-partition that ends last.
    pub(crate) fn last_flush(&self, tp: &TopicPartition) -> Option<PublishedFlush> {
        let ours = self.files.iter().filter_map(|(name, file)| {
            parse_object_name(name).filter(|(found, _, _)| found == tp).map(|(_, range, _)| (range, file))
        });
        let files: Vec<_> = ours.collect();
        let (range, file) = files.iter().max_by_key(|(range, _)| (range.end, range.start))?;
        Some(PublishedFlush {
            range: *range,
            files: files.iter().filter(|(other, _)| other == range).count(),
            footer: Some(file.footer.clone()),
        })
    }
}

/// Reads what a file says of its flush.
pub(crate) fn read_footer(bytes: Bytes) -> FlushFooter {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("a published file is valid Parquet");
    let pairs = builder.metadata().file_metadata().key_value_metadata().unwrap();
    let value_of = |key: FooterKey| {
        pairs.iter().find(|pair| pair.key == key.as_str()).and_then(|pair| pair.value.clone()).unwrap()
    };
    FlushFooter {
        files: value_of(FooterKey::FlushFiles).parse().unwrap(),
        intent: value_of(FooterKey::Intent),
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
