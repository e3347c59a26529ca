//! Owns an open flush: records of one topic-partition become rows of its files. Does not own when it ends nor
//! what happens to it afterwards.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::config::settings::{OnPoison, OnTombstone};
use crate::decode::metadata::MetadataBuilder;
use crate::decode::{BatchBuilder, DecodeError, DecodePlan, wire};
use crate::error::{Failure, Stage};
use crate::position::{Offset, OffsetRange, SchemaId, TopicPartition};
use crate::record::{Record, RecordBlock};
use crate::schema::evolution::ReaderSet;
use crate::task::clock::{Now, Tick};
use crate::task::message::{DeadLetter, Effect, Event, FlushId, SealedFile};
use crate::task::names::object_name;
use crate::task::open_file::{FileKey, FooterContext, OpenFile, RowIdentity};
use crate::task::partitioner::{Partitioner, RowContext};
use crate::task::rotation::{FlushSize, RotationReason, due};
use crate::task::schemas::{KnownSchema, Lookup, SCHEMA_FILE, SchemaBook};
use crate::task::settings::TaskSettings;

/// Decoded rows are handed to the encoder when their values were this many bytes, or a fraction of `rotate.bytes`:
/// only then is a file's size known.
const BATCH_BYTES: u64 = 4 << 20;
const SMALLEST_BATCH_BYTES: u64 = 64 << 10;

/// What of the task an open flush works with.
pub(super) struct FlushContext<'a> {
    pub(super) tp: &'a TopicPartition,
    pub(super) topic_id: Option<&'a str>,
    pub(super) settings: &'a TaskSettings,
    pub(super) partitioner: &'a Partitioner,
    pub(super) schemas: &'a mut SchemaBook,
    pub(super) effects: &'a mut VecDeque<Effect>,
}

/// How far a block was taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// To its end.
    All,
    /// Up to a record whose schema is not known yet.
    NeedSchema(SchemaId),
    /// The flush should end here.
    Rotate(RotationReason),
    /// Up to the cut.
    Cut,
}

/// Where a flush must end at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nowhere in particular.
    None,
    /// At the end of a bounded run.
    Stop(Offset),
    /// Exactly at the end of an intent, whatever the rotation rule says.
    Replay(Offset),
}

pub(super) struct OpenFlush {
    pub(super) id: FlushId,
    start: Offset,
    end: Offset,
    /// No record at or beyond it belongs to this flush.
    cut: Option<Offset>,
    /// The cut is an intent's: nothing else ends this flush.
    replaying: bool,
    base: Option<SchemaId>,
    wall_ms: i64,
    readers: ReaderSet,
    shelves: Vec<Shelf>,
    files: BTreeMap<FileKey, (usize, OpenFile)>,
    rows: u64,
    /// Bytes of the values whose rows are on shelves.
    shelved_bytes: usize,
    first_at: Tick,
    last_at: Tick,
    letters: Vec<DeadLetter>,
    letter_batches: usize,
    /// The last record's writer, reader shelf and plan: most records are like the one before.
    hot: Option<(SchemaId, usize, Arc<DecodePlan>)>,
}

/// A flush whose files are complete, on its way to storage.
pub(super) struct SealingFlush {
    pub(super) range: OffsetRange,
    pub(super) base: Option<SchemaId>,
    pub(super) wall_ms: i64,
    pub(super) files: Vec<SealedFile>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) letter_batches: usize,
}

/// Rows of one reader schema that are not in a file yet.
struct Shelf {
    reader: Option<Arc<KnownSchema>>,
    schema: SchemaRef,
    builder: Option<BatchBuilder>,
    metadata: MetadataBuilder,
    rows: Vec<ShelvedRow>,
    timestamps_ms: Vec<Option<i64>>,
}

/// What was on a shelf.
struct Shelved {
    batch: RecordBatch,
    rows: Vec<ShelvedRow>,
    timestamps_ms: Vec<Option<i64>>,
}

#[derive(Clone, Copy)]
struct ShelvedRow {
    identity: RowIdentity,
    /// Index of the record in the block at hand.
    record: u32,
}

enum Outcome {
    Done,
    NeedSchema(SchemaId),
    BatchFull,
}

impl OpenFlush {
    /// Begins a flush at `start`. `base` is the reader schema in force.
    pub(super) fn new(
        id: FlushId,
        start: Offset,
        cut: Cut,
        base: Option<SchemaId>,
        settings: &TaskSettings,
        wall_ms: i64,
        now: Tick,
    ) -> Self {
        let (cut, replaying) = match cut {
            Cut::None => (None, false),
            Cut::Stop(offset) => (Some(offset), false),
            Cut::Replay(end) => (Some(end), true),
        };
        Self {
            id,
            start,
            end: start,
            cut,
            replaying,
            base,
            wall_ms,
            readers: ReaderSet::begin(settings.readers, base),
            shelves: Vec::new(),
            files: BTreeMap::new(),
            rows: 0,
            shelved_bytes: 0,
            first_at: now,
            last_at: now,
            letters: Vec::new(),
            letter_batches: 0,
            hot: None,
        }
    }

    pub(super) fn range(&self) -> OffsetRange {
        OffsetRange::new(self.start, self.end)
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// The reader schema in force at its end: the base of the next flush.
    pub(super) fn reader(&self) -> Option<SchemaId> {
        self.readers.current()
    }

    pub(super) fn reached_cut(&self) -> bool {
        self.cut.is_some_and(|cut| self.end >= cut)
    }

    pub(super) fn opened_at(&self) -> Tick {
        self.first_at
    }

    pub(super) fn size(&self) -> FlushSize {
        FlushSize {
            rows: self.rows,
            largest_file_bytes: self
                .files
                .values()
                .map(|(_, file)| file.estimated_bytes())
                .max()
                .unwrap_or(0),
            first_at: self.first_at,
            last_at: self.last_at,
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let files: usize = self.files.values().map(|(_, file)| file.memory_bytes()).sum();
        files + self.letters.iter().map(|letter| letter.value.as_ref().map_or(0, Vec::len)).sum::<usize>()
    }

    /// Ends the largest open row group, so that its memory can go: which rows a file has does not depend on it.
    ///
    /// # Errors
    /// Fatal when it cannot be encoded.
    pub(super) fn close_largest_row_group(&mut self, context: &mut FlushContext<'_>) -> Result<(), Failure> {
        let largest = self.files.values_mut().max_by_key(|(_, file)| file.memory_bytes());
        let Some((number, file)) = largest else { return Ok(()) };
        let (number, pieces) = (*number, file.close_row_group()?);
        append(context, self.id, number, pieces);
        Ok(())
    }

    /// Memory of the largest open file.
    pub(super) fn largest_file_memory_bytes(&self) -> usize {
        self.files.values().map(|(_, file)| file.memory_bytes()).max().unwrap_or(0)
    }

    /// Moves the end past offsets that have no record, but never beyond the cut.
    pub(super) fn advance(&mut self, position: Offset) {
        self.end = self.end.max(self.cut.map_or(position, |cut| position.min(cut)));
    }

    /// Takes records of `block` from `cursor` on, as far as they belong to this flush.
    ///
    /// # Errors
    /// Fatal ones, and poison where the policy is to fail; the flush is then of no use.
    pub(super) fn take(
        &mut self,
        block: &RecordBlock,
        cursor: &mut usize,
        context: &mut FlushContext<'_>,
        now: Now,
    ) -> Result<Taken, Failure> {
        let (first, rows_before, from) = (self.end == self.start, self.rows, *cursor);
        let mut bytes = 0;
        let mut tombstones = 0;
        let mut taken = Taken::All;
        let batch_bytes = batch_bytes(context.settings);
        while let Some(record) = block.get(*cursor) {
            if record.offset < self.end {
                *cursor += 1;
                continue;
            }
            if self.cut.is_some_and(|cut| record.offset >= cut) {
                self.advance(record.offset);
                taken = Taken::Cut;
                break;
            }
            if !self.replaying && context.settings.rotate.rows.is_some_and(|rows| self.rows >= rows.get()) {
                taken = Taken::Rotate(RotationReason::Rows);
                break;
            }
            match self.take_record(&record, *cursor as u32, &mut tombstones, context, now)? {
                Outcome::Done => {}
                Outcome::NeedSchema(id) => {
                    taken = Taken::NeedSchema(id);
                    break;
                }
                Outcome::BatchFull => {
                    self.clear_shelves(block, context)?;
                    continue;
                }
            }
            self.end = record.offset.next();
            bytes += (record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)) as u64;
            *cursor += 1;
            if self.shelved_bytes >= batch_bytes {
                self.clear_shelves(block, context)?;
                if let Some(reason) = self.full(context.settings, now.tick) {
                    taken = Taken::Rotate(reason);
                    break;
                }
            }
        }
        self.clear_shelves(block, context)?;
        self.send_letters(context);
        if self.end > self.start {
            self.first_at = if first { now.tick } else { self.first_at };
            self.last_at = now.tick;
        }
        report(context, (*cursor - from) as u64, bytes, self.rows - rows_before, tombstones);
        if taken == Taken::All
            && let Some(reason) = self.full(context.settings, now.tick)
        {
            taken = Taken::Rotate(reason);
        }
        Ok(taken)
    }

    /// Completes every file of the range `[start, end)` and hands the last bytes out.
    ///
    /// # Errors
    /// Fatal when a file cannot be encoded.
    pub(super) fn seal(self, context: &mut FlushContext<'_>) -> Result<SealingFlush, Failure> {
        let range = OffsetRange::new(self.start, self.end);
        let mut files: Vec<Option<SealedFile>> = vec![None; self.files.len()];
        let (mut bytes, mut ordinal, mut directory) = (0, 0, None::<String>);
        // In order of directory, then reader: the ordinal depends on which files there are, not on when they began.
        for (key, (number, file)) in self.files {
            ordinal = if directory.as_ref() == Some(&key.directory) { ordinal + 1 } else { 0 };
            directory = Some(key.directory.clone());
            let footer = FooterContext {
                connector: &context.settings.connector,
                tp: context.tp,
                topic_id: context.topic_id,
                range,
                avro_schema: self.shelves[key.reader].reader.as_ref().map(|known| known.json.as_str()),
            };
            let closed = file.close(&footer, &context.settings.encoding)?;
            bytes += closed.size_bytes;
            files[number] = Some(SealedFile {
                name: object_name(context.tp, range, &closed.key.directory, ordinal),
                rows: closed.rows,
                checksum: closed.checksum,
                size_bytes: closed.size_bytes,
            });
            append(context, self.id, number, closed.tail);
        }
        let files: Vec<SealedFile> = files.into_iter().flatten().collect();
        if !files.is_empty() {
            context.effects.push_back(Effect::Seal {
                tp: context.tp.clone(),
                flush: self.id,
                files: files.clone(),
            });
        }
        Ok(SealingFlush {
            range,
            base: self.base,
            wall_ms: self.wall_ms,
            files,
            rows: self.rows,
            bytes,
            letter_batches: self.letter_batches,
        })
    }

    fn full(&self, settings: &TaskSettings, now: Tick) -> Option<RotationReason> {
        if self.replaying {
            return None;
        }
        if self.files.len() >= settings.open_files {
            return Some(RotationReason::OpenFiles);
        }
        due(&settings.rotate, &self.size(), now)
    }

    fn take_record(
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

    fn take_tombstone(
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

    fn shelf_of(&mut self, reader: Option<&Arc<KnownSchema>>, context: &FlushContext<'_>) -> usize {
        let wanted = reader.map(|known| known.id);
        if let Some(at) =
            self.shelves.iter().position(|shelf| shelf.reader.as_ref().map(|known| known.id) == wanted)
        {
            return at;
        }
        self.shelves.push(Shelf::new(reader.cloned(), context));
        self.shelves.len() - 1
    }

    /// Does with a poison record what the policy says.
    fn refuse(
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

    /// Moves every shelved row into its file.
    fn clear_shelves(&mut self, block: &RecordBlock, context: &mut FlushContext<'_>) -> Result<(), Failure> {
        self.shelved_bytes = 0;
        for at in 0..self.shelves.len() {
            if self.shelves[at].rows.is_empty() {
                continue;
            }
            let shelved = self.shelves[at].finish()?;
            if context.partitioner.is_none() {
                let identities = shelved.rows.iter().map(|row| row.identity);
                let key = FileKey { directory: String::new(), reader: at };
                self.write_file(key, shelved.batch, identities, context)?;
            } else {
                self.write_partitions(at, &shelved, block, context)?;
            }
        }
        Ok(())
    }

    fn write_partitions(
        &mut self,
        reader: usize,
        shelved: &Shelved,
        block: &RecordBlock,
        context: &mut FlushContext<'_>,
    ) -> Result<(), Failure> {
        let (batch, rows) = (&shelved.batch, &shelved.rows);
        let row_context = RowContext { timestamps_ms: &shelved.timestamps_ms, flush_wall_ms: self.wall_ms };
        let partitioned = context.partitioner.partition(batch, &row_context);
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); partitioned.directories.len()];
        for (row, directory) in partitioned.rows.into_iter().enumerate() {
            match directory {
                Ok(directory) => members[directory as usize].push(row as u32),
                Err(failure) => {
                    self.rows -= 1;
                    if let Some(record) = block.get(rows[row].record as usize) {
                        self.refuse(&record, Some(rows[row].identity.schema), failure, context)?;
                    }
                }
            }
        }
        for (directory, members) in partitioned.directories.into_iter().zip(members) {
            if members.is_empty() {
                continue;
            }
            let identities: Vec<RowIdentity> =
                members.iter().map(|row| rows[*row as usize].identity).collect();
            let part = if members.len() == batch.num_rows() {
                batch.clone()
            } else {
                take_record_batch(batch, &UInt32Array::from(members)).map_err(|error| {
                    Failure::fatal(Stage::Partition, format!("cannot split a record batch: {error}"))
                })?
            };
            self.write_file(FileKey { directory, reader }, part, identities.into_iter(), context)?;
        }
        Ok(())
    }

    fn write_file(
        &mut self,
        key: FileKey,
        batch: RecordBatch,
        identities: impl Iterator<Item = RowIdentity>,
        context: &mut FlushContext<'_>,
    ) -> Result<(), Failure> {
        let number = self.files.len();
        let schema = &self.shelves[key.reader].schema;
        let (number, file) =
            self.files.entry(key.clone()).or_insert_with(|| (number, OpenFile::new(key, schema.clone())));
        let bytes = file.write(batch, identities, &context.tp.topic, &context.settings.encoding)?;
        let number = *number;
        append(context, self.id, number, bytes);
        Ok(())
    }

    fn send_letters(&mut self, context: &mut FlushContext<'_>) {
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
}

impl Shelf {
    fn new(reader: Option<Arc<KnownSchema>>, context: &FlushContext<'_>) -> Self {
        let metadata =
            MetadataBuilder::new(context.settings.columns, context.settings.key, context.tp.clone());
        let builder = reader.as_ref().map(|known| BatchBuilder::new(&known.layout));
        let mut fields: Vec<Field> = match &reader {
            Some(known) => {
                known.layout.schema().fields().iter().map(|field| field.as_ref().clone()).collect()
            }
            None => Vec::new(),
        };
        fields.extend(metadata.fields());
        Self {
            reader,
            schema: Arc::new(Schema::new(fields)),
            builder,
            metadata,
            rows: Vec::new(),
            timestamps_ms: Vec::new(),
        }
    }

    fn push(&mut self, record: &Record<'_>, index: u32, identity: RowIdentity) {
        self.metadata.push(record);
        self.timestamps_ms.push(record.timestamp_ms);
        self.rows.push(ShelvedRow { identity, record: index });
    }

    fn finish(&mut self) -> Result<Shelved, Failure> {
        let mut columns = match &mut self.builder {
            Some(builder) => builder.finish().columns().to_vec(),
            None => Vec::new(),
        };
        columns.extend(self.metadata.finish());
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(|error| {
            Failure::fatal(Stage::Decode, format!("columns do not fit their schema: {error}"))
        })?;
        let (rows, timestamps_ms) = (mem::take(&mut self.rows), mem::take(&mut self.timestamps_ms));
        Ok(Shelved { batch, rows, timestamps_ms })
    }
}

fn batch_bytes(settings: &TaskSettings) -> usize {
    let share = settings.rotate.bytes.map_or(BATCH_BYTES, |bytes| bytes.0 / 4);
    share.clamp(SMALLEST_BATCH_BYTES, BATCH_BYTES) as usize
}

fn append(context: &mut FlushContext<'_>, flush: FlushId, file: usize, pieces: Vec<bytes::Bytes>) {
    for bytes in pieces {
        context.effects.push_back(Effect::Append { tp: context.tp.clone(), flush, file, bytes });
    }
}

fn report(context: &mut FlushContext<'_>, records: u64, bytes: u64, rows: u64, tombstones: u64) {
    if records > 0 {
        context.effects.push_back(Effect::Report(Event::Consumed {
            tp: context.tp.clone(),
            records,
            bytes,
            rows,
        }));
    }
    if tombstones > 0 {
        context
            .effects
            .push_back(Effect::Report(Event::Tombstones { tp: context.tp.clone(), count: tombstones }));
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
