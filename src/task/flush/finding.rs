//! Owns finding the way of a kind of record: its schemas, the readers that the evolution rule chooses, their shelf and
//! the plans. Verdicts about schemas are the only ones that another time could give otherwise, so they are kept for the
//! intent. Does not own decoding.

use std::sync::Arc;

use super::reading::Way;
use super::shelf::Shelf;
use super::{FlushContext, OpenFlush};
use crate::error::{Failure, Stage};
use crate::position::SchemaId;
use crate::task::clock::Tick;
use crate::task::intent::{REFUSED_SCHEMAS, SCHEMA_PRINTS};
use crate::task::rotation::RotationReason;
use crate::task::schemas::{KnownSchema, Lookup};

/// Kinds of records remembered at a time.
const WAYS: usize = 8;

/// What a search comes to.
pub(super) enum Found<T> {
    It(T),
    /// A schema has to be had first.
    Missing(SchemaId),
    /// Not in this flush.
    Rotate(RotationReason),
}

/// Passes everything but the thing itself on to the caller.
macro_rules! found {
    ($search:expr) => {
        match $search {
            Found::It(found) => found,
            Found::Missing(id) => return Ok(Found::Missing(id)),
            Found::Rotate(reason) => return Ok(Found::Rotate(reason)),
        }
    };
}

impl OpenFlush {
    /// Finds the way of records with these schemas and remembers it; gives its number.
    ///
    /// # Errors
    /// Poison for the record, and fatal ones.
    pub(super) fn find_way(
        &mut self,
        writer: SchemaId,
        key_writer: Option<SchemaId>,
        context: &mut FlushContext<'_>,
        now: Tick,
    ) -> Result<Found<usize>, Failure> {
        // Everything is looked up before anything is decided, or a replay could decide otherwise.
        let known = found!(self.written_schema(writer, context, now)?);
        found!(self.reader_schema(self.readers.current(), context, now)?);
        for other in self.readers.others().to_vec() {
            found!(self.reader_schema(Some(other), context, now)?);
        }
        let in_force = self.all_readers();
        let key = found!(self.find_key_way(key_writer, context, now)?);
        if context.settings.readers.writers_may_read() {
            // A schema without columns must not become a reader.
            known.layout()?;
        }
        let one_type = context.settings.splits_record_types();
        let reader = self.readers.route(writer, &mut |reader, writer| {
            if one_type {
                context.schemas.absorbs_same_record(reader, writer)
            } else {
                context.schemas.absorbs(reader, writer)
            }
        });
        let Some(reader) = found!(self.reader_schema(Some(reader), context, now)?) else {
            return Err(Failure::fatal(Stage::Schema, "no reader schema"));
        };
        let shelf = self.shelf_of(Some(&reader), key.reader.as_ref(), context)?;
        // The schema as the shelf has it: it may have been forgotten and asked for again.
        let reader = self.shelves[shelf].reader.clone().unwrap_or(reader);
        let plan = context.schemas.plan(&known, &reader)?;
        let key_plan = self.key_plan(shelf, &key, context)?;
        let name = one_type.then(|| self.name_number(known.record_name()));
        if self.all_readers() != in_force || self.ways.len() == WAYS {
            self.ways.clear();
        }
        self.ways.push(Way { writer, key_writer, shelf, plan, key_plan, name });
        Ok(Found::It(self.ways.len() - 1))
    }

    /// What decides where records of known schemas go.
    pub(super) fn all_readers(&self) -> [(Option<SchemaId>, Vec<SchemaId>); 2] {
        [&self.readers, &self.key_readers].map(|set| (set.current(), set.others().to_vec()))
    }

    /// The schema and the reader of a key. The reader in force where the key is null.
    pub(super) fn find_key_way(
        &mut self,
        key_writer: Option<SchemaId>,
        context: &mut FlushContext<'_>,
        now: Tick,
    ) -> Result<Found<KeyWay>, Failure> {
        let Some(id) = key_writer else {
            let reader = found!(self.reader_schema(self.key_readers.current(), context, now)?);
            return Ok(Found::It(KeyWay { writer: None, reader }));
        };
        let writer = found!(self.written_schema(id, context, now)?);
        found!(self.reader_schema(self.key_readers.current(), context, now)?);
        for other in self.key_readers.others().to_vec() {
            found!(self.reader_schema(Some(other), context, now)?);
        }
        // A schema without columns must not become a reader.
        writer.key_layout()?;
        let first = self.key_readers.current().is_none();
        let reader =
            self.key_readers.route(id, &mut |reader, writer| context.schemas.absorbs(reader, writer));
        let reader = found!(self.reader_schema(Some(reader), context, now)?);
        // Where null keys have a reader at all, it is this one from now on.
        if let Some(reader) =
            reader.as_ref().filter(|known| first && self.key_readers.current() == Some(known.id))
        {
            self.give_keys(reader, context)?;
        }
        Ok(Found::It(KeyWay { writer: Some(writer), reader }))
    }

    /// The plan for keys on a shelf.
    pub(super) fn key_plan(
        &self,
        shelf: usize,
        key: &KeyWay,
        context: &mut FlushContext<'_>,
    ) -> Result<Option<Arc<crate::decode::DecodePlan>>, Failure> {
        match (&key.writer, &self.shelves[shelf].key_reader) {
            (Some(writer), Some(reader)) => context.schemas.key_plan(writer, reader).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn shelf_of(
        &mut self,
        reader: Option<&Arc<KnownSchema>>,
        key_reader: Option<&Arc<KnownSchema>>,
        context: &mut FlushContext<'_>,
    ) -> Result<usize, Failure> {
        let id_of = |known: &Option<Arc<KnownSchema>>| known.as_ref().map(|known| known.id);
        let wanted = (reader.map(|known| known.id), key_reader.map(|known| known.id));
        let fits = |shelf: &Shelf| (id_of(&shelf.reader), id_of(&shelf.key_reader)) == wanted;
        if let Some(at) = self.shelves.iter().position(fits) {
            return Ok(at);
        }
        self.shelves.push(Shelf::new(reader.cloned(), key_reader.cloned(), context)?);
        Ok(self.shelves.len() - 1)
    }

    /// A schema that a record names. Once refused, it is refused to the end of the flush, also when it is made again.
    fn written_schema(
        &mut self,
        id: SchemaId,
        context: &FlushContext<'_>,
        now: Tick,
    ) -> Result<Found<Arc<KnownSchema>>, Failure> {
        if self.basis.refused.contains(&id) {
            return Err(match context.schemas.look_up(id, now) {
                Lookup::Unusable(failure) => failure,
                Lookup::Ready(_) | Lookup::Missing => Failure::poison(
                    Stage::Schema,
                    "refused_schema",
                    format!("schema {id} was unknown or of no use when the flush met it first"),
                ),
            });
        }
        match context.schemas.look_up(id, now) {
            Lookup::Ready(known) => {
                self.accepted.insert(id);
                self.note_print(&known, context)?;
                Ok(Found::It(known))
            }
            Lookup::Missing => Ok(Found::Missing(id)),
            Lookup::Unusable(failure) if self.replaying => Err(Failure::fatal(
                Stage::Schema,
                format!(
                    "{}: {failure}; records of a flush that is being finished were written with it: restore it in \
                     the registry, then restart the connector",
                    context.tp
                ),
            )),
            Lookup::Unusable(_)
                if self.accepted.contains(&id) || self.basis.refused.len() == REFUSED_SCHEMAS =>
            {
                Ok(Found::Rotate(RotationReason::Schemas))
            }
            Lookup::Unusable(failure) => {
                self.basis.refused.push(id);
                Err(failure)
            }
        }
    }

    /// A reader schema, which some record had before: that it is gone is nobody's poison. The flush ends, and the next one
    /// begins without it.
    pub(super) fn reader_schema(
        &mut self,
        id: Option<SchemaId>,
        context: &FlushContext<'_>,
        now: Tick,
    ) -> Result<Found<Option<Arc<KnownSchema>>>, Failure> {
        let Some(id) = id else { return Ok(Found::It(None)) };
        match context.schemas.look_up(id, now) {
            Lookup::Ready(known) => {
                self.note_print(&known, context)?;
                Ok(Found::It(Some(known)))
            }
            Lookup::Missing => Ok(Found::Missing(id)),
            Lookup::Unusable(failure) if self.replaying => Err(Failure::fatal(
                Stage::Schema,
                format!(
                    "{}: {failure}; records of a flush that is being finished were read with it: restore it in the \
                     registry, then restart the connector",
                    context.tp
                ),
            )),
            Lookup::Unusable(_) => Ok(Found::Rotate(RotationReason::Schemas)),
        }
    }

    /// Keeps the print of a schema for the intent, or holds it against the intent when the flush is made again.
    fn note_print(&mut self, known: &KnownSchema, context: &FlushContext<'_>) -> Result<(), Failure> {
        // The texts of files are part of the plan.
        let Some(prints) = self.basis.prints.as_mut().filter(|_| !known.id.is_file()) else { return Ok(()) };
        if prints.contains(&known.print) {
            return Ok(());
        }
        if self.replaying {
            return Err(Failure::fatal(
                Stage::Schema,
                format!(
                    "{}: schema {} is not what it was when the flush that is being finished was begun, and its \
                     records might go to other files than those that are there: restore the registry, or set \
                     registry.url back to the one it was begun with, then restart the connector",
                    context.tp, known.id
                ),
            ));
        }
        if prints.len() == SCHEMA_PRINTS {
            self.basis.prints = None;
        } else {
            prints.push(known.print);
        }
        Ok(())
    }

    fn name_number(&mut self, name: &str) -> u32 {
        let at = self.record_names.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.record_names.push(name.into());
            self.record_names.len() - 1
        });
        at as u32
    }
}

/// How keys of one kind are read: shelf and plan.
pub(super) type ShelfAndPlan = (usize, Option<Arc<crate::decode::DecodePlan>>);

/// The schemas of a key.
pub(super) struct KeyWay {
    writer: Option<Arc<KnownSchema>>,
    pub(super) reader: Option<Arc<KnownSchema>>,
}
