//! Owns what becomes of records that make no row of a value: poison and tombstones, by policy, and the dead letters
//! they turn into.

use std::mem;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::reading::Outcome;
use super::{FlushContext, OpenFlush};
use crate::config::settings::{OnPoison, OnTombstone};
use crate::error::{Failure, Stage};
use crate::position::{Offset, SchemaId, TopicPartition};
use crate::record::Record;
use crate::task::clock::{Now, Tick};
use crate::task::message::{DeadLetter, Effect, Event};
use crate::task::open_file::RowIdentity;
use crate::task::schemas::{Lookup, SCHEMA_FILE};

impl OpenFlush {
    /// Does with a poison record what the policy says.
    pub(super) fn refuse(
        &mut self,
        record: &Record<'_>,
        schema: Option<SchemaId>,
        failure: Failure,
        context: &mut FlushContext<'_>,
    ) -> Result<Outcome, Failure> {
        let Failure::Poison { stage, kind, reason } = &failure else { return Err(failure) };
        let outcome = match context.settings.errors.on_poison {
            OnPoison::Fail => return Err(locate(&failure, context.tp, record.offset, "errors.on_poison")),
            OnPoison::Skip => "skipped",
            OnPoison::DeadLetter => {
                self.letters.push(letter(record, schema, &failure));
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
        Ok(Outcome::Done)
    }

    pub(super) fn take_tombstone(
        &mut self,
        record: &Record<'_>,
        index: u32,
        context: &mut FlushContext<'_>,
        now: Now,
    ) -> Result<Outcome, Failure> {
        let failure =
            || Failure::poison(Stage::Wire, "tombstone", "the record is a tombstone: its value is null");
        match context.settings.errors.on_tombstone {
            OnTombstone::Skip => Ok(Outcome::Done),
            OnTombstone::Fail => Err(locate(&failure(), context.tp, record.offset, "errors.on_tombstone")),
            OnTombstone::DeadLetter => {
                self.letters.push(letter(record, None, &failure()));
                Ok(Outcome::Done)
            }
            OnTombstone::Row => {
                let shelf = match self.tombstone_shelf(context, now.tick)? {
                    Ok(shelf) => shelf,
                    Err(missing) => return Ok(Outcome::NeedSchema(missing)),
                };
                let shelf = &mut self.shelves[shelf];
                if let Err(failure) = shelf.metadata.check(record) {
                    return self.refuse(record, None, failure, context);
                }
                if let Some(builder) = &mut shelf.builder {
                    builder.append_null_row();
                }
                let hash = xxh3_64_with_seed(b"tombstone", record.offset.as_i64() as u64);
                let schema = shelf.reader.as_ref().map_or(SCHEMA_FILE, |known| known.id);
                shelf.push(record, index, RowIdentity { offset: record.offset, hash, schema });
                self.rows += 1;
                Ok(Outcome::Done)
            }
        }
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

    /// The shelf for rows without a value: that of the reader in force, or one with metadata columns only.
    fn tombstone_shelf(
        &mut self,
        context: &mut FlushContext<'_>,
        now: Tick,
    ) -> Result<Result<usize, SchemaId>, Failure> {
        let reader = if context.settings.bare_datum { Some(SCHEMA_FILE) } else { self.readers.current() };
        let known = match reader.map(|id| (id, context.schemas.look_up(id, now))) {
            None => None,
            Some((_, Lookup::Ready(known))) => Some(known),
            Some((id, Lookup::Missing)) => return Ok(Err(id)),
            Some((_, Lookup::Unusable(failure))) => return Err(failure),
        };
        Ok(Ok(self.shelf_of(known.as_ref(), context)))
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

fn letter(record: &Record<'_>, schema: Option<SchemaId>, failure: &Failure) -> DeadLetter {
    DeadLetter {
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record.headers.to_vec(),
        schema,
        stage: failure.stage(),
        reason: failure.reason().to_owned(),
    }
}
