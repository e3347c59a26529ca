//! Owns the door of the task: everything it is told ([`Input`]) and everything it asks for ([`Effect`]). Data only.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::{Failure, Stage};
use crate::position::{Epoch, Offset, OffsetRange, SchemaId, TopicPartition};
use crate::record::{Header, RecordBlock};
use crate::task::budget::Reservation;
use crate::task::claim::Claim;
use crate::task::note::BeginningNote;
use crate::task::rotation::RotationReason;

/// Counts the times reading of a topic-partition was begun anew within one epoch. Records and answers that
/// belong to an older attempt are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Attempt(pub u32);

/// Names one flush in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlushId(pub u64);

/// Names one commit in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u64);

/// What the task is told.
#[derive(Debug)]
pub enum Input {
    /// A topic-partition is ours now.
    Assigned {
        /// Which one.
        tp: TopicPartition,
        /// The epoch of this assignment.
        epoch: Epoch,
        /// `--until-end`: deliver everything below this offset, then finish.
        stop: Option<Offset>,
    },
    /// Answer to [`Effect::ReadCommitted`].
    Committed {
        /// Which one.
        tp: TopicPartition,
        /// From the effect.
        epoch: Epoch,
        /// From the effect.
        attempt: Attempt,
        /// What the broker says.
        result: Result<BrokerPosition, Failure>,
    },
    /// Answer to [`Effect::Claim`]: the claim that stands.
    Claimed {
        /// Which one.
        tp: TopicPartition,
        /// From the effect.
        epoch: Epoch,
        /// From the effect.
        attempt: Attempt,
        /// Ours or the one that was there before.
        result: Result<String, Failure>,
    },
    /// Answer to [`Effect::NoteBeginning`]: the note that stands.
    Noted {
        /// Which one.
        tp: TopicPartition,
        /// From the effect.
        epoch: Epoch,
        /// From the effect.
        attempt: Attempt,
        /// Ours or the one that was there before.
        result: Result<String, Failure>,
    },
    /// Answer to [`Effect::ListPublished`].
    Listed {
        /// Which one.
        tp: TopicPartition,
        /// From the effect.
        epoch: Epoch,
        /// From the effect.
        attempt: Attempt,
        /// The flush that ends last of those with files; `None` without any.
        result: Result<Option<PublishedFlush>, Failure>,
    },
    /// Records, in offset order after those handed over before.
    Records {
        /// Which one.
        tp: TopicPartition,
        /// The epoch they were consumed in.
        epoch: Epoch,
        /// The attempt they were consumed in.
        attempt: Attempt,
        /// The records.
        block: RecordBlock,
    },
    /// The consumer's position, also past offsets that have no record.
    Reached {
        /// Which one.
        tp: TopicPartition,
        /// As for records.
        epoch: Epoch,
        /// As for records.
        attempt: Attempt,
        /// The next offset the broker could deliver.
        position: Offset,
    },
    /// Reading a topic-partition failed.
    ReadFailed {
        /// Which one.
        tp: TopicPartition,
        /// As for records.
        epoch: Epoch,
        /// What happened.
        failure: Failure,
    },
    /// Answer to [`Effect::Commit`].
    CommitDone {
        /// From the effect.
        tp: TopicPartition,
        /// From the effect.
        commit: CommitId,
        /// What became of it.
        result: Result<(), CommitError>,
    },
    /// Answer to [`Effect::Seal`], or the news that staging failed earlier.
    Sealed {
        /// From the effect.
        tp: TopicPartition,
        /// From the effect.
        flush: FlushId,
        /// What became of it.
        result: Result<(), StagingError>,
    },
    /// Answer to [`Effect::Publish`].
    Published {
        /// From the effect.
        tp: TopicPartition,
        /// From the effect.
        flush: FlushId,
        /// What became of it.
        result: Result<PublishedFiles, StagingError>,
    },
    /// Answer to [`Effect::FetchSchema`].
    SchemaFetched {
        /// From the effect.
        id: SchemaId,
        /// The schema's text and those it refers to.
        result: Result<SchemaText, Failure>,
    },
    /// Answer to [`Effect::DeadLetter`].
    DeadLettered {
        /// From the effect.
        tp: TopicPartition,
        /// From the effect.
        flush: FlushId,
        /// `Ok`: all acknowledged.
        result: Result<(), Failure>,
    },
    /// The partition is asked back: flush it or drop it, then [`Effect::Release`].
    Revoked {
        /// Which one.
        tp: TopicPartition,
        /// Of this assignment.
        epoch: Epoch,
    },
    /// The partition is gone: drop everything, commit nothing.
    Lost {
        /// Which one.
        tp: TopicPartition,
        /// Of this assignment.
        epoch: Epoch,
    },
    /// The daemon shuts down: as [`Input::Revoked`], for every partition.
    Drain,
    /// An operator asks to end every open flush.
    FlushNow,
    /// An operator asks to stop (true) or go on (false) taking records.
    SetPaused(bool),
    /// Time passed.
    Tick,
}

/// What the broker says about a topic-partition of our group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerPosition {
    /// Committed offset, if there is one.
    pub committed: Option<Offset>,
    /// The commit's metadata; empty without one.
    pub metadata: String,
    /// First offset that can still be read.
    pub low: Offset,
    /// The offset after the last one that can be read (with open transactions: the last stable offset).
    pub high: Offset,
    /// Id that the broker gave the topic when it was made, where it tells.
    pub topic_id: Option<Arc<str>>,
    /// How many partitions the topic has, where the broker tells.
    pub partitions: Option<i32>,
}

/// A flush as its published files show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedFlush {
    /// By the names.
    pub range: OffsetRange,
    /// How many of its files are there.
    pub files: usize,
    /// What the footer of one of them says, where it was asked for.
    pub footer: Option<FlushFooter>,
}

/// What a file's footer says of its flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushFooter {
    /// How many files the flush made.
    pub files: usize,
    /// The intent, as it was committed.
    pub intent: String,
}

/// Why a commit was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// The coordinator, or our own guard, does not see us as the owner.
    Refused(String),
    /// It may work later; whether it was made is unknown.
    Unknown(String),
    /// It will never work as things are: authorization, metadata too large.
    Denied(String),
}

/// What became of staged files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StagingError {
    /// The same step may work later.
    Retriable(Failure),
    /// The staged bytes are gone or in doubt: read the records again.
    Spoiled(Failure),
    /// It will not work: another file under our name, no access.
    Fatal(Failure),
}

/// What publication did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PublishedFiles {
    /// Files made visible now.
    pub created: usize,
    /// Files that were there already with the same content.
    pub adopted: usize,
}

/// A schema as the registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaText {
    /// The schema itself.
    pub json: String,
    /// Name and text of each schema it refers to, dependencies first.
    pub references: Vec<(String, String)>,
}

/// What the task asks for.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Read the committed offset, its metadata and the watermarks.
    ReadCommitted {
        /// Which one.
        tp: TopicPartition,
        /// Of this assignment.
        epoch: Epoch,
        /// To be given back.
        attempt: Attempt,
    },
    /// Write the claim of a topic unless there is one, and read what stands.
    Claim {
        /// Which one.
        tp: TopicPartition,
        /// Of this assignment.
        epoch: Epoch,
        /// To be given back.
        attempt: Attempt,
        /// Ours.
        claim: Claim,
    },
    /// Write the note of where reading begins unless there is one, and read what stands.
    NoteBeginning {
        /// Which one.
        tp: TopicPartition,
        /// Of this assignment.
        epoch: Epoch,
        /// To be given back.
        attempt: Attempt,
        /// Where the note is kept, relative to the output prefix.
        path: String,
        /// Ours.
        note: BeginningNote,
    },
    /// Find the published flush of a topic-partition that ends last.
    ListPublished {
        /// Which one.
        tp: TopicPartition,
        /// Of this assignment.
        epoch: Epoch,
        /// To be given back.
        attempt: Attempt,
        /// Whether the footer of one of its files is wanted.
        with_footer: bool,
    },
    /// Begin to deliver records from `offset`.
    Start {
        /// Which one.
        tp: TopicPartition,
        /// Of this assignment.
        epoch: Epoch,
        /// To be given with the records.
        attempt: Attempt,
        /// Where.
        offset: Offset,
    },
    /// Stop fetching for a while; records on their way may still arrive.
    Pause {
        /// Which one.
        tp: TopicPartition,
        /// Of this assignment.
        epoch: Epoch,
    },
    /// Go on fetching.
    Resume {
        /// Which one.
        tp: TopicPartition,
        /// Of this assignment.
        epoch: Epoch,
    },
    /// Commit an offset with metadata and wait for the answer.
    Commit {
        /// Which one.
        tp: TopicPartition,
        /// Of this assignment.
        epoch: Epoch,
        /// To be given back.
        commit: CommitId,
        /// The offset.
        offset: Offset,
        /// An intent, or empty.
        metadata: String,
    },
    /// Everything of this partition is settled or dropped: it may be given up.
    Release {
        /// Which one.
        tp: TopicPartition,
        /// Of this assignment.
        epoch: Epoch,
    },
    /// The offset asked for by `--until-end` is committed.
    Finished {
        /// Which one.
        tp: TopicPartition,
        /// Of this assignment.
        epoch: Epoch,
    },
    /// Add bytes to a staged file; the first ones open it.
    Append {
        /// Of this partition.
        tp: TopicPartition,
        /// The flush it belongs to.
        flush: FlushId,
        /// Number of the file in the flush.
        file: usize,
        /// The bytes.
        bytes: Bytes,
    },
    /// Make the staged files of a flush durable where no reader sees them.
    Seal {
        /// Of this partition.
        tp: TopicPartition,
        /// Which flush.
        flush: FlushId,
        /// All its files, in the order of their numbers.
        files: Vec<SealedFile>,
    },
    /// Make the files of a sealed flush visible.
    Publish {
        /// Of this partition.
        tp: TopicPartition,
        /// Which flush.
        flush: FlushId,
    },
    /// Forget the staged files of a flush.
    Discard {
        /// Which flush.
        flush: FlushId,
    },
    /// Get a schema from the registry.
    FetchSchema {
        /// Which one.
        id: SchemaId,
    },
    /// Produce records to the dead-letter topic and wait for all acknowledgements.
    DeadLetter {
        /// Of this partition.
        tp: TopicPartition,
        /// The flush whose range holds them.
        flush: FlushId,
        /// The records.
        letters: Vec<DeadLetter>,
    },
    /// The connector must stop, offsets held.
    Fail {
        /// Where, if it is one partition's trouble.
        tp: Option<TopicPartition>,
        /// Why.
        failure: Failure,
    },
    /// Something to tell people.
    Report(Event),
}

/// Final name and identity of a staged file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedFile {
    /// Path relative to the output prefix.
    pub name: String,
    /// Rows in the file.
    pub rows: u64,
    /// Checksum over its source records.
    pub checksum: u64,
    /// Size, bytes.
    pub size_bytes: u64,
}

/// A record for the dead-letter topic.
#[derive(Debug, PartialEq)]
pub struct DeadLetter {
    /// Where it was.
    pub offset: Offset,
    /// Kafka timestamp, ms.
    pub timestamp_ms: Option<i64>,
    /// Key as it was.
    pub key: Option<Vec<u8>>,
    /// Value as it was.
    pub value: Option<Vec<u8>>,
    /// Headers as they were.
    pub headers: Vec<Header>,
    /// Schema id, where one was read.
    pub schema: Option<SchemaId>,
    /// Where it failed.
    pub stage: Stage,
    /// The kind of [`Failure::Poison`], a short constant word.
    pub kind: &'static str,
    /// Why.
    pub reason: String,
    /// Counts the letter's bytes. To be kept until the letter is acknowledged or given up, wherever its bytes are by then.
    pub counted: Reservation,
}

/// Changes of state and counts worth telling.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A topic-partition starts to be read.
    Started {
        /// Which one.
        tp: TopicPartition,
        /// From where.
        offset: Offset,
        /// The end of an intent that is being replayed.
        replay: Option<Offset>,
        /// How the offset was found: `committed`, `files`, `noted`, `earliest`, `latest`.
        found: &'static str,
    },
    /// The committed offset lies before the end of files that are there: somebody set the group back.
    SetBack {
        /// Which one.
        tp: TopicPartition,
        /// The committed offset.
        offset: Offset,
        /// The end of the last published flush.
        published: Offset,
    },
    /// The group has committed this topic, and neither its claim nor a file of it is at the output.
    OutputEmpty {
        /// Which one.
        tp: TopicPartition,
        /// The committed offset.
        offset: Offset,
    },
    /// Given up while a flush that was announced is not finished: whoever gets the partition next finishes it.
    LeftPending {
        /// Which one.
        tp: TopicPartition,
        /// The flush.
        range: OffsetRange,
    },
    /// A flush ended.
    Rotated {
        /// Which one.
        tp: TopicPartition,
        /// Its range.
        range: OffsetRange,
        /// Why.
        reason: RotationReason,
        /// Rows.
        rows: u64,
        /// Files.
        files: usize,
        /// Bytes of all files.
        bytes: u64,
    },
    /// The files of a flush are visible.
    Published {
        /// Which one.
        tp: TopicPartition,
        /// Its range.
        range: OffsetRange,
        /// Names of the files.
        names: Vec<String>,
        /// Size of each, in the same order.
        sizes_bytes: Vec<u64>,
        /// Rows.
        rows: u64,
        /// Bytes of all files.
        bytes: u64,
        /// Files that were there already.
        adopted: usize,
        /// Whether an intent was replayed.
        replayed: bool,
        /// Since the flush ended.
        took: Duration,
    },
    /// The end of a flush is committed.
    Settled {
        /// Which one.
        tp: TopicPartition,
        /// Its range.
        range: OffsetRange,
    },
    /// Records taken, once a block.
    Consumed {
        /// Which one.
        tp: TopicPartition,
        /// Records.
        records: u64,
        /// Bytes of keys and values.
        bytes: u64,
        /// Rows written.
        rows: u64,
    },
    /// Records that became no row.
    Refused {
        /// Which one.
        tp: TopicPartition,
        /// First of them.
        offset: Offset,
        /// Stage.
        stage: Stage,
        /// Kind.
        kind: &'static str,
        /// Why, for the log.
        reason: String,
        /// What became of it: `skipped` or `dead_letter`.
        outcome: &'static str,
    },
    /// Rows read with a schema lack a field that `partition_by` names.
    FieldMissing {
        /// Where it was seen first.
        tp: TopicPartition,
        /// The field's path.
        field: String,
        /// The reader schema.
        schema: SchemaId,
    },
    /// Tombstones met.
    Tombstones {
        /// Which one.
        tp: TopicPartition,
        /// How many.
        count: u64,
        /// Whether the policy is to skip them.
        skipped: bool,
    },
    /// A step failed and will be tried again.
    Retrying {
        /// Which one, if it is one partition's.
        tp: Option<TopicPartition>,
        /// Why.
        failure: Failure,
        /// When.
        after: Duration,
    },
    /// Everything unsettled of a partition was dropped and will be read again.
    Dropped {
        /// Which one.
        tp: TopicPartition,
        /// Why.
        reason: String,
    },
}
