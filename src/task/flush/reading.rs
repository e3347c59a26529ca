//! Owns the way of one record into a row: which schema wrote it, which reader's shelf takes it, and its decoding.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::shelf::Shelf;
use super::{FlushContext, OpenFlush};
use crate::decode::{DecodeError, wire};
use crate::error::{Failure, Stage};
use crate::position::SchemaId;
use crate::record::Record;
use crate::task::clock::{Now, Tick};
use crate::task::open_file::RowIdentity;
use crate::task::schemas::{KnownSchema, Lookup, SCHEMA_FILE};

/// What became of a record.
pub(super) enum Outcome {
    Done,
    NeedSchema(SchemaId),
    BatchFull,
}

impl OpenFlush {
    pub(super) fn take_record(
        &mut self,
        record: &Record<'_>,
        index: u32,
        tombstones: &mut u64,
        context: &mut FlushContext<'_>,
        now: Now,
    ) -> Result<Outcome, Failure> {
        let Some(value) = record.value else {
            *tombstones += 1;
            return self.take_tombstone(record, index, context, now);
        };
        let (writer, datum) = if context.settings.bare_datum {
            (SCHEMA_FILE, value)
        } else {
            match wire::split_confluent(value) {
                Ok((id, datum)) => (SchemaId(id.get()), datum),
                Err(error) => return self.refuse(record, None, error.into(), context),
            }
        };
        let hot = match &self.hot {
            Some(hot) if hot.0 == writer => hot,
            _ => match self.warm_up(writer, context, now.tick) {
                Ok(None) => match &self.hot {
                    Some(hot) => hot,
                    None => return Err(Failure::fatal(Stage::Decode, "no plan for a known schema")),
                },
                Ok(Some(missing)) => return Ok(Outcome::NeedSchema(missing)),
                Err(failure) => return self.refuse(record, Some(writer), failure, context),
            },
        };
        let shelf = &mut self.shelves[hot.1];
        if let Err(failure) = shelf.metadata.check(record) {
            return self.refuse(record, Some(writer), failure, context);
        }
        let Some(builder) = &mut shelf.builder else {
            return Err(Failure::fatal(Stage::Decode, "a reader schema without columns"));
        };
        match hot.2.decode(builder, datum) {
            Ok(()) => {}
            Err(DecodeError::BatchFull) if !shelf.rows.is_empty() => return Ok(Outcome::BatchFull),
            Err(error) => {
                return self.refuse(record, Some(writer), error.into(), context);
            }
        }
        let hash = xxh3_64_with_seed(value, record.offset.as_i64() as u64);
        shelf.push(record, index, RowIdentity { offset: record.offset, hash, schema: writer });
        self.rows += 1;
        self.shelved_bytes += value.len();
        Ok(Outcome::Done)
    }

    /// Makes `hot` fit `writer`; gives the id of a schema that is missing for it.
    fn warm_up(
        &mut self,
        writer: SchemaId,
        context: &mut FlushContext<'_>,
        now: Tick,
    ) -> Result<Option<SchemaId>, Failure> {
        // The reader in force must be known before the verdict about a new writer, or a replay could route otherwise.
        let find = |id| match context.schemas.look_up(id, now) {
            Lookup::Ready(known) => Ok(Ok(known)),
            Lookup::Missing => Ok(Err(id)),
            Lookup::Unusable(failure) => Err(failure),
        };
        let writer = match find(writer)? {
            Ok(known) => known,
            Err(missing) => return Ok(Some(missing)),
        };
        if let Some(current) = self.readers.current()
            && let Err(missing) = find(current)?
        {
            return Ok(Some(missing));
        }
        let reader =
            self.readers.route(writer.id, &mut |reader, writer| context.schemas.absorbs(reader, writer));
        let reader = match context.schemas.look_up(reader, now) {
            Lookup::Ready(known) => known,
            Lookup::Missing => return Ok(Some(reader)),
            Lookup::Unusable(failure) => return Err(failure),
        };
        let shelf = self.shelf_of(Some(&reader), context);
        let reader = self.shelves[shelf].reader.clone().unwrap_or(reader);
        let plan = context.schemas.plan(&writer, &reader)?;
        self.hot = Some((writer.id, shelf, plan));
        Ok(None)
    }

    pub(super) fn shelf_of(
        &mut self,
        reader: Option<&Arc<KnownSchema>>,
        context: &FlushContext<'_>,
    ) -> usize {
        let wanted = reader.map(|known| known.id);
        if let Some(at) =
            self.shelves.iter().position(|shelf| shelf.reader.as_ref().map(|known| known.id) == wanted)
        {
            return at;
        }
        self.shelves.push(Shelf::new(reader.cloned(), context));
        self.shelves.len() - 1
    }
}
