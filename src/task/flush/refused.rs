//! Owns what becomes of records that make no row of a value: poison and tombstones, by policy, and the dead letters
//! they turn into.

use std::mem;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::finding::{Found, ShelfAndPlan};
use super::reading::{Outcome, Wires, of_key, split_key};
use super::shelf::ShelvedRow;
use super::{FlushContext, OpenFlush};
use crate::config::settings::{OnPoison, OnTombstone, WireFormat};
use crate::decode::DecodeError;
use crate::error::{Failure, Stage};
use crate::position::{Offset, SchemaId, TopicPartition};
use crate::record::{HEADER_OVERHEAD_BYTES, Record};
use crate::task::budget::MemoryBudget;
use crate::task::clock::{Now, Tick};
use crate::task::message::{DeadLetter, Effect, Event};
use crate::task::open_file::RowIdentity;

/// What a letter takes beside the record's key, value and headers, about, bytes: the headers that tell of it, and the
/// client's own books.
const LETTER_OVERHEAD_BYTES: usize = 1_536;

impl OpenFlush {
    /// Does with a poison record what the policy says, unless it would become a letter for which there is no room yet.
    pub(super) fn refuse(
        &mut self,
        record: &Record<'_>,
        schema: Option<SchemaId>,
        failure: Failure,
        context: &mut FlushContext<'_>,
    ) -> Result<Outcome, Failure> {
        let is_poison = matches!(failure, Failure::Poison { .. });
        if is_poison
            && context.settings.errors.on_poison == OnPoison::DeadLetter
            && context.letters.exhausted()
        {
            return Ok(Outcome::LettersFull);
        }
        self.refuse_now(record, schema, failure, context)?;
        Ok(Outcome::Done)
    }

    /// The same where the record cannot wait any more: it has been a row already.
    pub(super) fn refuse_now(
        &mut self,
        record: &Record<'_>,
        schema: Option<SchemaId>,
        failure: Failure,
        context: &mut FlushContext<'_>,
    ) -> Result<(), Failure> {
        let Failure::Poison { stage, kind, reason } = &failure else { return Err(failure) };
        let outcome = match context.settings.errors.on_poison {
            OnPoison::Fail => "failed",
            OnPoison::Skip => "skipped",
            OnPoison::DeadLetter => {
                self.letters.push(letter(record, schema, (*stage, kind, reason), context.letters));
                "dead_letter"
            }
        };
        context.effects.push_back(Effect::Report(Event::Refused {
            tp: context.tp.clone(),
            offset: record.offset,
            stage: *stage,
            kind,
            reason: reason.clone(),
            outcome,
        }));
        if context.settings.errors.on_poison == OnPoison::Fail {
            return Err(locate(&failure, context.tp, record.offset, "errors.on_poison"));
        }
        Ok(())
    }

    pub(super) fn take_tombstone(
        &mut self,
        record: &Record<'_>,
        index: u32,
        wires: &mut Wires,
        context: &mut FlushContext<'_>,
        now: Now,
    ) -> Result<Outcome, Failure> {
        let (stage, kind, reason) =
            (Stage::Wire, "tombstone", "the record is a tombstone: its value is null");
        match context.settings.errors.on_tombstone {
            OnTombstone::Skip => Ok(Outcome::Done),
            OnTombstone::Fail => {
                let failure = Failure::poison(stage, kind, reason);
                Err(locate(&failure, context.tp, record.offset, "errors.on_tombstone"))
            }
            OnTombstone::DeadLetter if context.letters.exhausted() => Ok(Outcome::LettersFull),
            OnTombstone::DeadLetter => {
                self.letters.push(letter(record, None, (stage, kind, reason), context.letters));
                Ok(Outcome::Done)
            }
            OnTombstone::Row => self.take_null_row(record, index, wires, context, now),
        }
    }

    /// A row without a value, on the shelf of the readers in force.
    fn take_null_row(
        &mut self,
        record: &Record<'_>,
        index: u32,
        wires: &mut Wires,
        context: &mut FlushContext<'_>,
        now: Now,
    ) -> Result<Outcome, Failure> {
        let (key_writer, key_datum) = match split_key(&mut wires.key, record) {
            Ok(split) => split,
            Err(failure) => return self.refuse(record, None, failure, context),
        };
        let (shelf, key_plan) = match self.tombstone_way(key_writer, context, now.tick) {
            Ok(Found::It(way)) => way,
            Ok(Found::Missing(id)) => return Ok(Outcome::NeedSchema(id)),
            Ok(Found::Rotate(reason)) => return Ok(Outcome::Rotate(reason)),
            Err(failure) => return self.refuse(record, None, failure, context),
        };
        let shelf = &mut self.shelves[shelf];
        if let Err(failure) = shelf.metadata.check(record) {
            return self.refuse(record, None, failure, context);
        }
        let before = shelf.weight_bytes();
        match shelf.metadata.decode_key(key_plan.as_deref(), key_datum) {
            Ok(()) => {}
            Err(DecodeError::BatchFull) if !shelf.rows.is_empty() => return Ok(Outcome::BatchFull),
            Err(error) => return self.refuse(record, None, of_key(&error), context),
        }
        if let Some(builder) = &mut shelf.builder {
            builder.append_null_row();
        }
        self.shelved_weight_bytes += shelf.weight_bytes() - before;
        let hash = xxh3_64_with_seed(b"tombstone", record.offset.as_i64() as u64);
        let schema = shelf.reader.as_ref().map_or(SchemaId::ValueFile, |known| known.id);
        let identity = RowIdentity { offset: record.offset, hash, schema };
        shelf.push(record, ShelvedRow { identity, record: index, name: None });
        self.note_shelved(record);
        Ok(Outcome::Done)
    }

    pub(super) fn send_letters(&mut self, context: &mut FlushContext<'_>) {
        if self.letters.is_empty() {
            return;
        }
        self.letter_batches += 1;
        context.effects.push_back(Effect::DeadLetter {
            tp: context.tp.clone(),
            flush: self.id,
            letters: mem::take(&mut self.letters),
        });
    }

    /// Shelf and key plan for rows without a value: the shelf of the reader in force, or one with metadata columns only.
    fn tombstone_way(
        &mut self,
        key_writer: Option<SchemaId>,
        context: &mut FlushContext<'_>,
        now: Tick,
    ) -> Result<Found<ShelfAndPlan>, Failure> {
        let of_file = context.settings.wire == WireFormat::None;
        let reader = if of_file { Some(SchemaId::ValueFile) } else { self.readers.current() };
        let reader = match self.reader_schema(reader, context, now)? {
            Found::It(reader) => reader,
            Found::Missing(id) => return Ok(Found::Missing(id)),
            Found::Rotate(reason) => return Ok(Found::Rotate(reason)),
        };
        let in_force = self.all_readers();
        let key = match self.find_key_way(key_writer, context, now)? {
            Found::It(key) => key,
            Found::Missing(id) => return Ok(Found::Missing(id)),
            Found::Rotate(reason) => return Ok(Found::Rotate(reason)),
        };
        if self.all_readers() != in_force {
            self.ways.clear();
        }
        let shelf = self.shelf_of(reader.as_ref(), key.reader.as_ref(), context)?;
        let plan = self.key_plan(shelf, &key, context)?;
        Ok(Found::It((shelf, plan)))
    }
}

fn locate(failure: &Failure, tp: &TopicPartition, offset: Offset, policy: &str) -> Failure {
    Failure::fatal(
        failure.stage(),
        format!(
            "{failure}; topic {}, partition {}, offset {offset}; the offset is held: mend the record's schema, or set {policy} to skip or dead_letter",
            tp.topic, tp.partition
        ),
    )
}

fn letter(
    record: &Record<'_>,
    schema: Option<SchemaId>,
    (stage, kind, reason): (Stage, &'static str, &str),
    letters: &MemoryBudget,
) -> DeadLetter {
    let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    let headers: usize = record
        .headers
        .iter()
        .map(|header| header.key.len() + length(header.value.as_deref()) + HEADER_OVERHEAD_BYTES)
        .sum();
    let told = reason.len() + LETTER_OVERHEAD_BYTES;
    DeadLetter {
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record.headers.to_vec(),
        schema,
        stage,
        kind,
        reason: reason.to_owned(),
        counted: letters.hold((length(record.key) + length(record.value) + headers + told) as u64),
    }
}
