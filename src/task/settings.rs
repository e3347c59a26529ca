//! Owns what a task needs of a connector's settings, worked out once: the plan hash, the rules, the limits.

use std::sync::Arc;

use crate::config::settings::{
    ColumnTypes, ConnectorSettings, ErrorSettings, Evolution, KeyFormat, MetadataColumns, OnPoison,
    OnTombstone, PartitionRule, RotateSettings, WireFormat,
};
use crate::encode::Encoding;
use crate::schema::evolution::ReaderChoice;
use crate::schema_id::SchemaId;
use crate::task::intent::PlanHash;
use crate::task::plan::plan_hash;

/// Open files at the most in one flush; reaching it ends the flush.
const OPEN_FILES_PER_FLUSH: usize = 5_000;
/// Bytes that the open row groups of a connector may hold together: where many files are open at once, whole row groups
/// of each would take gigabytes.
const OPEN_ROW_GROUPS_BYTES: usize = 96 << 20;
/// Bytes of records a topic-partition may hold back before its fetching pauses.
const HELD_BYTES: usize = 4 << 20;

/// Bytes of records that the topic-partitions of a connector which cannot go on may hold back together before their fetching
/// pauses. Less than what may be on its way from the consumer thread.
const HELD_TOGETHER_BYTES: usize = 12 << 20;

/// Bytes of dead letters of a connector that may wait for their acknowledgement.
const LETTERS_BYTES: u64 = 16 << 20;
/// With less even one task would stop and go.
const LEAST_LETTERS_BYTES: u64 = 1 << 20;

/// Settings of a sink task.
#[derive(Clone, Debug)]
pub struct TaskSettings {
    /// Name of the connector.
    pub connector: Arc<str>,
    /// The consumer group.
    pub group: Arc<str>,
    /// What names the schema of a value.
    pub wire: WireFormat,
    /// Key column.
    pub key: KeyFormat,
    /// Columns beside the value's.
    pub columns: MetadataColumns,
    /// How the types of values are written.
    pub types: ColumnTypes,
    /// How readers of values are chosen.
    pub readers: ReaderChoice,
    /// How readers of keys are chosen.
    pub key_readers: ReaderChoice,
    /// Rules of `partition_by`.
    pub partition_by: Vec<PartitionRule>,
    /// Bytes that stand before a file's name in its key: the output prefix of an object store.
    pub prefix_bytes: usize,
    /// When flushes end.
    pub rotate: RotateSettings,
    /// How files are encoded.
    pub encoding: Arc<Encoding>,
    /// Bytes that the open row groups of a task may hold together before the largest is closed early.
    pub open_row_groups_bytes: usize,
    /// What becomes of poison and tombstones.
    pub errors: ErrorSettings,
    /// Where a group without a commit begins.
    pub start: crate::config::settings::StartPosition,
    /// Hash of every setting that maps records to files.
    pub plan: PlanHash,
    /// Open files at the most in one flush.
    pub open_files: usize,
    /// Bytes a topic-partition may hold back before its fetching pauses.
    pub held_bytes: usize,
    /// Bytes that the topic-partitions of a task may hold back together before each that holds any is paused.
    pub held_together_bytes: usize,
    /// Bytes of dead letters of a task that may wait for their acknowledgement. Beyond it no record becomes one.
    pub letters_bytes: usize,
}

impl TaskSettings {
    /// Takes what a task needs. `value_schema` and `reader_schema` are the texts of the schema files, where named:
    /// they are part of the plan.
    #[must_use]
    pub fn of(
        connector: &ConnectorSettings,
        value_schema: Option<&str>,
        reader_schema: Option<&str>,
    ) -> Self {
        let readers = match connector.schema.evolution {
            Evolution::Lossless => ReaderChoice::Lossless,
            Evolution::PerVersion => ReaderChoice::PerVersion,
            Evolution::Latest => ReaderChoice::Latest,
            Evolution::Fixed(_) => ReaderChoice::Fixed(SchemaId::ReaderFile),
        };
        Self {
            connector: connector.name.as_str().into(),
            group: connector.kafka.group.as_str().into(),
            wire: connector.value.wire(),
            key: connector.key,
            columns: connector.columns,
            types: connector.types,
            readers,
            key_readers: key_readers(readers, connector.key),
            partition_by: connector.partition_by.clone(),
            prefix_bytes: connector.storage.prefix_bytes(),
            rotate: connector.rotate,
            encoding: Arc::new(Encoding::new(&connector.parquet)),
            open_row_groups_bytes: OPEN_ROW_GROUPS_BYTES / connector.tasks.get(),
            errors: connector.errors.clone(),
            start: connector.kafka.start,
            plan: plan_hash(connector, value_schema, reader_schema),
            open_files: OPEN_FILES_PER_FLUSH,
            held_bytes: HELD_BYTES,
            held_together_bytes: HELD_TOGETHER_BYTES / connector.tasks.get(),
            letters_bytes: LETTERS_BYTES as usize / connector.tasks.get(),
        }
    }

    /// With limits that fit into a memory budget which `connectors` share: dead letters of all of them take an eighth of it
    /// at the most, unless that would be very little for each.
    #[must_use]
    pub fn within(mut self, budget_bytes: u64, connectors: usize) -> Self {
        let share_bytes = budget_bytes / 8 / connectors.max(1) as u64;
        let share_bytes = share_bytes.clamp(LEAST_LETTERS_BYTES, LETTERS_BYTES) as usize;
        self.letters_bytes = (share_bytes as u64 * self.letters_bytes as u64 / LETTERS_BYTES) as usize;
        self
    }

    /// Whether each type of record has directories of its own.
    #[must_use]
    pub fn splits_record_types(&self) -> bool {
        self.partition_by.iter().any(|rule| matches!(rule, PartitionRule::Record { .. }))
    }

    /// Whether somebody reads record headers.
    #[must_use]
    pub fn wants_headers(&self) -> bool {
        self.columns.headers
            || self.wire == WireFormat::Header
            || self.key == KeyFormat::Avro(WireFormat::Header)
            || self.errors.on_poison == OnPoison::DeadLetter
            || self.errors.on_tombstone == OnTombstone::DeadLetter
    }
}

/// Keys evolve as values do, but for what only values can: a schema of the settings, and the highest number of ids
/// that have none.
fn key_readers(readers: ReaderChoice, key: KeyFormat) -> ReaderChoice {
    let numbered = matches!(key, KeyFormat::Avro(WireFormat::Confluent | WireFormat::Apicurio));
    match readers {
        ReaderChoice::Fixed(_) => ReaderChoice::Lossless,
        ReaderChoice::Latest if !numbered => ReaderChoice::Lossless,
        other => other,
    }
}
