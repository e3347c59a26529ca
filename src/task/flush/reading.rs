//! Owns the way of one record into a row: its schemas, which readers' shelf takes it, and its decoding.
//! Does not own which schema is to be had ([`super::finding`]).

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::finding::Found;
use super::shelf::ShelvedRow;
use super::{FlushContext, OpenFlush};
use crate::config::settings::KeyFormat;
use crate::decode::wire::{Side, WireReader};
use crate::decode::{DecodeError, DecodePlan};
use crate::error::{Failure, Stage};
use crate::position::SchemaId;
use crate::record::Record;
use crate::task::clock::Now;
use crate::task::open_file::RowIdentity;
use crate::task::rotation::RotationReason;
use crate::task::settings::TaskSettings;

/// What became of a record.
pub(super) enum Outcome {
    Done,
    NeedSchema(SchemaId),
    Rotate(RotationReason),
    BatchFull,
    /// The record would become a dead letter, and too many bytes of them are not acknowledged. Nothing was done.
    LettersFull,
}

/// How records of one kind become rows.
pub(super) struct Way {
    pub(super) writer: SchemaId,
    /// Schema of the key; `None` for null keys, and where keys are not Avro.
    pub(super) key_writer: Option<SchemaId>,
    pub(super) shelf: usize,
    pub(super) plan: Arc<DecodePlan>,
    pub(super) key_plan: Option<Arc<DecodePlan>>,
    /// Number of the name of the record type, where those make directories.
    pub(super) name: Option<u32>,
}

/// Takes values and keys apart.
pub(super) struct Wires {
    value: WireReader,
    pub(super) key: Option<WireReader>,
}

impl Wires {
    pub(super) fn new(settings: &TaskSettings) -> Self {
        let key = match settings.key {
            KeyFormat::Avro(wire) if settings.columns.key => Some(WireReader::new(wire, Side::Key)),
            _ => None,
        };
        Self { value: WireReader::new(settings.wire, Side::Value), key }
    }
}

/// The schema and datum of an Avro key; no schema for a null key, and where keys are not Avro.
pub(super) fn split_key<'r>(
    key: &'r mut Option<WireReader>,
    record: &Record<'r>,
) -> Result<(Option<SchemaId>, &'r [u8]), Failure> {
    match (key, record.key) {
        (Some(reader), Some(key)) => match reader.split(key, record.headers) {
            Ok((id, datum)) => Ok((Some(id), datum)),
            Err(error) => Err(error.into_failure("key")),
        },
        _ => Ok((None, &[])),
    }
}

/// The failure of a record whose key this is.
pub(super) fn of_key(error: &DecodeError) -> Failure {
    Failure::poison(Stage::Decode, error.kind(), format!("the key cannot be read: {error}"))
}

impl OpenFlush {
    /// Counts a row that came on a shelf.
    pub(super) fn note_shelved(&mut self, record: &Record<'_>) {
        self.rows += 1;
        self.shelved_bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        self.shelved_rows += 1;
    }

    pub(super) fn take_record(
        &mut self,
        record: &Record<'_>,
        index: u32,
        wires: &mut Wires,
        tombstones: &mut u64,
        context: &mut FlushContext<'_>,
        now: Now,
    ) -> Result<Outcome, Failure> {
        let Some(value) = record.value else {
            let outcome = self.take_tombstone(record, index, wires, context, now)?;
            *tombstones += u64::from(matches!(outcome, Outcome::Done));
            return Ok(outcome);
        };
        let (writer, datum) = match wires.value.split(value, record.headers) {
            Ok(split) => split,
            Err(error) => return self.refuse(record, None, error.into(), context),
        };
        let (key_writer, key_datum) = match split_key(&mut wires.key, record) {
            Ok(split) => split,
            Err(failure) => return self.refuse(record, Some(writer), failure, context),
        };
        let known = |way: &Way| way.writer == writer && way.key_writer == key_writer;
        let at = match self.ways.iter().position(known) {
            Some(at) => at,
            None => match self.find_way(writer, key_writer, context, now.tick) {
                Ok(Found::It(at)) => at,
                Ok(Found::Missing(id)) => return Ok(Outcome::NeedSchema(id)),
                Ok(Found::Rotate(reason)) => return Ok(Outcome::Rotate(reason)),
                Err(failure) => return self.refuse(record, Some(writer), failure, context),
            },
        };
        let way = &self.ways[at];
        let shelf = &mut self.shelves[way.shelf];
        if let Err(failure) = shelf.metadata.check(record) {
            return self.refuse(record, Some(writer), failure, context);
        }
        let full = |error: &DecodeError| *error == DecodeError::BatchFull && !shelf.rows.is_empty();
        let before = shelf.weight_bytes();
        match shelf.metadata.decode_key(way.key_plan.as_deref(), key_datum) {
            Ok(()) => {}
            Err(error) if full(&error) => return Ok(Outcome::BatchFull),
            Err(error) => return self.refuse(record, Some(writer), of_key(&error), context),
        }
        let Some(builder) = &mut shelf.builder else {
            return Err(Failure::fatal(Stage::Decode, "a reader schema without columns"));
        };
        if let Err(error) = way.plan.decode(builder, datum) {
            shelf.metadata.remove_key();
            if full(&error) {
                return Ok(Outcome::BatchFull);
            }
            return self.refuse(record, Some(writer), error.into(), context);
        }
        self.shelved_weight_bytes += shelf.weight_bytes() - before;
        let hash = xxh3_64_with_seed(value, record.offset.as_i64() as u64);
        let identity = RowIdentity { offset: record.offset, hash, schema: writer };
        shelf.push(record, ShelvedRow { identity, record: index, name: way.name });
        self.note_shelved(record);
        Ok(Outcome::Done)
    }
}
