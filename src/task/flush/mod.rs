//! Owns an open flush: records of one topic-partition become rows of its files. Does not own when it ends nor
//! what happens to it afterwards.

mod filing;
mod finding;
mod late_key;
mod reading;
mod refused;
mod shelf;
#[cfg(test)]
mod tests;
mod totals;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use self::reading::{Outcome, Way, Wires};
use self::shelf::Shelf;
use self::totals::{FileTotals, FileWeight};
use crate::config::settings::OnTombstone;
use crate::error::Failure;
use crate::position::{Offset, OffsetRange, SchemaId, TopicPartition};
use crate::record::RecordBlock;
use crate::schema::evolution::ReaderSet;
use crate::task::budget::MemoryBudget;
use crate::task::clock::{Now, Tick};
use crate::task::intent::{Basis, Intent, OTHER_READERS, Readers};
use crate::task::message::{DeadLetter, Effect, Event, FlushId, SealedFile};
use crate::task::names::object_name;
use crate::task::open_file::{FileKey, FooterContext, OpenFile};
use crate::task::partitioner::Partitioner;
use crate::task::rotation::{FlushSize, RotationReason, due};
use crate::task::schemas::SchemaBook;
use crate::task::settings::TaskSettings;

/// Decoded rows are handed to the encoder when their values were this many bytes, or a fraction of `rotate.bytes`:
/// only then is a file's size known.
const BATCH_BYTES: u64 = 4 << 20;
const SMALLEST_BATCH_BYTES: u64 = 64 << 10;
/// … or took so much memory: a few bytes may stand for a million empty items.
const BATCH_WEIGHT_BYTES: u64 = 16 << 20;

/// What of the task an open flush works with.
pub(super) struct FlushContext<'a> {
    pub(super) tp: &'a TopicPartition,
    pub(super) topic_id: Option<&'a str>,
    pub(super) settings: &'a TaskSettings,
    pub(super) partitioner: &'a Partitioner,
    pub(super) schemas: &'a mut SchemaBook,
    /// Counts dead letters until they are acknowledged.
    pub(super) letters: &'a MemoryBudget,
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
    /// Up to a record that would become a dead letter, for which there is no room before others are acknowledged.
    LettersFull,
    /// Up to the cut.
    Cut,
    /// Up to a record at which the connector must stop. What came before it is complete.
    Stop(Failure),
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
    /// Where the names of its files begin: at `start`, or before it where no file's range holds what is settled in between.
    file_start: Offset,
    end: Offset,
    /// No record at or beyond it belongs to this flush.
    cut: Option<Offset>,
    /// The cut is an intent's: nothing else ends this flush.
    replaying: bool,
    basis: Basis,
    readers: ReaderSet,
    key_readers: ReaderSet,
    /// Schemas of its records that were at hand: what was decided by them stays decided, also where no row came of it.
    accepted: HashSet<SchemaId>,
    shelves: Vec<Shelf>,
    files: BTreeMap<FileKey, (usize, OpenFile)>,
    totals: FileTotals,
    rows: u64,
    /// Bytes of the values whose rows are on shelves.
    shelved_bytes: usize,
    /// What those rows take in memory, about.
    shelved_weight_bytes: u64,
    shelved_rows: usize,
    first_at: Tick,
    last_at: Tick,
    letters: Vec<DeadLetter>,
    letter_batches: usize,
    /// Full names of the records' types, where they make directories.
    record_names: Vec<Arc<str>>,
    /// The ways of the last few kinds of records: most records are like one before.
    ways: Vec<Way>,
}

/// A flush whose files are complete, on its way to storage.
pub(super) struct SealingFlush {
    pub(super) range: OffsetRange,
    /// Where the names of its files begin, or would.
    pub(super) file_start: Offset,
    /// Metadata of the commit that announces it.
    pub(super) intent: String,
    pub(super) files: Vec<SealedFile>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) letter_batches: usize,
}

impl OpenFlush {
    /// Begins a flush at `start`.
    pub(super) fn new(
        id: FlushId,
        start: Offset,
        cut: Cut,
        basis: Basis,
        settings: &TaskSettings,
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
            file_start: start,
            end: start,
            cut,
            replaying,
            readers: ReaderSet::begin(settings.readers, basis.readers.value)
                .with_others(&basis.readers.others),
            key_readers: ReaderSet::begin(settings.key_readers, basis.readers.key),
            accepted: HashSet::new(),
            basis,
            shelves: Vec::new(),
            files: BTreeMap::new(),
            totals: FileTotals::default(),
            rows: 0,
            shelved_bytes: 0,
            shelved_weight_bytes: 0,
            shelved_rows: 0,
            first_at: now,
            last_at: now,
            letters: Vec::new(),
            letter_batches: 0,
            record_names: Vec::new(),
            ways: Vec::new(),
        }
    }

    /// Names its files from `file_start` on: everything between there and its start is settled, and in no file's range.
    pub(super) fn named_from(self, file_start: Offset) -> Self {
        assert!(
            file_start <= self.start,
            "files that begin at {file_start} leave out what is before {}",
            self.start
        );
        Self { file_start, ..self }
    }

    pub(super) fn range(&self) -> OffsetRange {
        OffsetRange::new(self.start, self.end)
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// The reader schemas in force at its end: those that the next flush begins with.
    pub(super) fn readers(&self) -> Readers {
        let others = self.readers.others();
        let others = &others[others.len().saturating_sub(OTHER_READERS)..];
        Readers { value: self.readers.current(), others: others.to_vec(), key: self.key_readers.current() }
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
            largest_file_bytes: self.totals.largest_size_bytes(),
            first_at: self.first_at,
            last_at: self.last_at,
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.totals.memory_bytes()
    }

    /// Ends the largest open row group, so that its memory can go: which rows a file has does not depend on it.
    ///
    /// # Errors
    /// Fatal when it cannot be encoded.
    pub(super) fn close_largest_row_group(&mut self, context: &mut FlushContext<'_>) -> Result<(), Failure> {
        let largest = self.files.values_mut().max_by_key(|(_, file)| file.memory_bytes());
        let Some((number, file)) = largest else { return Ok(()) };
        let (number, before) = (*number, weight(file));
        let (pieces, after) = (file.close_row_group()?, weight(file));
        self.note(number, before, after);
        append(context, self.id, number, pieces);
        Ok(())
    }

    /// Keeps the totals after a file has changed.
    fn note(&mut self, number: usize, before: FileWeight, after: FileWeight) {
        let files = &self.files;
        self.totals
            .change(number, before, after, || files.values().map(|(number, file)| (*number, weight(file))));
    }

    /// Memory of the largest open file.
    pub(super) fn largest_file_memory_bytes(&self) -> usize {
        self.totals.largest_memory_bytes()
    }

    /// Moves the end past offsets that have no record, but never beyond the cut.
    pub(super) fn advance(&mut self, position: Offset) {
        self.end = self.end.max(self.cut.map_or(position, |cut| position.min(cut)));
    }

    /// Takes records of `block` from `cursor` on, as far as they belong to this flush.
    ///
    /// # Errors
    /// Fatal ones, and poison where the policy is to fail; the flush is then of no use. Of a record that leaves what came before
    /// it as it was, [`Taken::Stop`] tells instead, but in a replay, which must not end early.
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
        let mut wires = Wires::new(context.settings);
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
            let outcome =
                match self.take_record(&record, *cursor as u32, &mut wires, &mut tombstones, context, now) {
                    Ok(outcome) => outcome,
                    Err(failure) if self.replaying => return Err(failure),
                    Err(failure) => {
                        taken = Taken::Stop(failure);
                        break;
                    }
                };
            match outcome {
                Outcome::Done => {}
                Outcome::NeedSchema(id) => {
                    taken = Taken::NeedSchema(id);
                    break;
                }
                Outcome::Rotate(reason) => {
                    taken = Taken::Rotate(reason);
                    break;
                }
                Outcome::LettersFull => {
                    taken = Taken::LettersFull;
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
            if self.shelves_full(batch_bytes, context) {
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
        let named = OffsetRange::new(self.file_start, self.end);
        let unfiled = OffsetRange::new(self.file_start, self.start);
        let flush_files = self.files.len();
        let intent = Intent {
            end: range.end,
            plan: context.settings.plan,
            basis: self.basis,
            unfiled: (!unfiled.is_empty()).then_some(unfiled),
        };
        let intent = intent.to_metadata();
        let mut files: Vec<Option<SealedFile>> = vec![None; flush_files];
        let (mut bytes, mut ordinal, mut directory) = (0, 0, None::<String>);
        // In order of directory, then reader: the ordinal depends on which files there are, not on when they began.
        for (key, (number, file)) in self.files {
            ordinal = if directory.as_ref() == Some(&key.directory) { ordinal + 1 } else { 0 };
            directory = Some(key.directory.clone());
            let footer = FooterContext {
                connector: &context.settings.connector,
                tp: context.tp,
                topic_id: context.topic_id,
                range: named,
                flush_files,
                intent: &intent,
                avro_schema: self.shelves[key.reader].reader.as_ref().map(|known| known.json.as_str()),
            };
            let closed = file.close(&footer, &context.settings.encoding)?;
            bytes += closed.size_bytes;
            files[number] = Some(SealedFile {
                name: object_name(context.tp, named, &closed.key.directory, ordinal),
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
            file_start: self.file_start,
            intent,
            files,
            rows: self.rows,
            bytes,
            letter_batches: self.letter_batches,
        })
    }

    /// Rows that may wait on shelves, so that the cap on open files is passed by a tenth at the most: each may begin a file.
    fn shelves_full(&self, batch_bytes: usize, context: &FlushContext<'_>) -> bool {
        self.shelved_bytes >= batch_bytes
            || self.shelved_weight_bytes >= BATCH_WEIGHT_BYTES
            || self.shelved_rows >= self.rows_to_shelve(context)
    }

    fn rows_to_shelve(&self, context: &FlushContext<'_>) -> usize {
        if self.replaying || context.partitioner.is_none() {
            return usize::MAX;
        }
        let cap = context.settings.open_files;
        cap.saturating_sub(self.files.len()).max(cap / 10).max(1)
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
}

fn batch_bytes(settings: &TaskSettings) -> usize {
    let share = settings.rotate.bytes.map_or(BATCH_BYTES, |bytes| bytes.0 / 4);
    share.clamp(SMALLEST_BATCH_BYTES, BATCH_BYTES) as usize
}

fn weight(file: &OpenFile) -> FileWeight {
    FileWeight { memory_bytes: file.memory_bytes(), size_bytes: file.estimated_bytes() }
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
        context.effects.push_back(Effect::Report(Event::Tombstones {
            tp: context.tp.clone(),
            count: tombstones,
            skipped: context.settings.errors.on_tombstone == OnTombstone::Skip,
        }));
    }
}
