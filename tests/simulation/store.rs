//! Owns the model of a store: files that appear whole or not at all, never replaced unless a control says so.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sluice::encode::FooterKey;
use sluice::position::{OffsetRange, TopicPartition};
use sluice::task::claim::Claim;
use sluice::task::message::{FlushFooter, PublishedFlush, SealedFile};
use sluice::task::names::parse_object_name;

#[derive(Default)]
pub(crate) struct Store {
    files: BTreeMap<String, Visible>,
    /// Claims and notes, by path.
    small: BTreeMap<String, String>,
}

struct Visible {
    rows: u64,
    checksum: u64,
    footer: FlushFooter,
}

/// What became of one publication; with the offsets of the file that is visible since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Created(Vec<i64>),
    Adopted,
    Conflict,
}

impl Store {
    pub(crate) fn publish(&mut self, file: &SealedFile, bytes: &[u8], replace: bool) -> Outcome {
        match self.files.get(&file.name) {
            Some(existing) if (existing.rows, existing.checksum) == (file.rows, file.checksum) => {
                return Outcome::Adopted;
            }
            Some(_) if !replace => return Outcome::Conflict,
            _ => {}
        }
        let (offsets, footer) = read(Bytes::copy_from_slice(bytes));
        self.files.insert(file.name.clone(), Visible { rows: file.rows, checksum: file.checksum, footer });
        Outcome::Created(offsets)
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

    /// The flush that ends last of those with files.
    pub(crate) fn last_flush(&self, tp: &TopicPartition) -> Option<PublishedFlush> {
        let files = self.list(tp);
        let (name, range) = files.iter().max_by_key(|(_, range)| (range.end, range.start))?;
        Some(PublishedFlush {
            range: *range,
            files: files.iter().filter(|(_, other)| other == range).count(),
            footer: Some(self.files[name].footer.clone()),
        })
    }

    /// Makes a small file unless it is there; gives the one that stands.
    pub(crate) fn write_once(&mut self, path: &str, content: String) -> String {
        self.small.entry(path.to_owned()).or_insert(content).clone()
    }

    pub(crate) fn has_claim(&self, tp: &TopicPartition) -> bool {
        self.small.contains_key(&Claim::path(&tp.topic))
    }

    /// Whether somebody has noted where the partition is begun.
    pub(crate) fn has_note(&self, tp: &TopicPartition) -> bool {
        let notes = format!(".sluice/claims/{}+", tp.topic);
        let name = format!("/{}.json", tp.partition);
        self.small.keys().any(|path| path.starts_with(&notes) && path.ends_with(&name))
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.files.remove(name);
    }

    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }
}

/// The offsets of a file's rows, in their order, and what its footer says of its flush.
fn read(bytes: Bytes) -> (Vec<i64>, FlushFooter) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("a published file is valid Parquet");
    let pairs = builder.metadata().file_metadata().key_value_metadata().unwrap();
    let value_of = |key: FooterKey| {
        pairs.iter().find(|pair| pair.key == key.as_str()).and_then(|pair| pair.value.clone()).unwrap()
    };
    let footer = FlushFooter {
        files: value_of(FooterKey::FlushFiles).parse().unwrap(),
        intent: value_of(FooterKey::Intent),
    };
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["_offset"]);
    let mut offsets = Vec::new();
    for batch in builder.with_projection(mask).build().unwrap() {
        offsets.extend(batch.unwrap().column(0).as_primitive::<Int64Type>().values());
    }
    (offsets, footer)
}
