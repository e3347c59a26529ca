//! Owns what a task needs of a connector's settings, worked out once: the plan hash, the rules, the limits.

use std::sync::Arc;

use crate::config::settings::{
    ConnectorSettings, ErrorSettings, Evolution, KeyFormat, MetadataColumns, OnPoison, OnTombstone,
    PartitionRule, RotateSettings, ValueFormat,
};
use crate::encode::Encoding;
use crate::schema::evolution::ReaderChoice;
use crate::task::intent::PlanHash;
use crate::task::schemas::READER_SCHEMA_FILE;

/// Open files at the most in one flush; reaching it ends the flush.
const OPEN_FILES_PER_FLUSH: usize = 5_000;
/// Bytes that the open row groups of a connector may hold together: where many files are open at once, whole row groups
/// of each would take gigabytes.
const OPEN_ROW_GROUPS_BYTES: usize = 128 << 20;
/// Bytes of records a topic-partition may hold back before its fetching pauses.
const HELD_BYTES: usize = 4 << 20;

/// Settings of a sink task.
#[derive(Clone, Debug)]
pub struct TaskSettings {
    /// Name of the connector.
    pub connector: Arc<str>,
    /// The consumer group.
    pub group: Arc<str>,
    /// Value bytes are a bare datum of the schema file instead of carrying an id.
    pub bare_datum: bool,
    /// Key column.
    pub key: KeyFormat,
    /// Columns beside the value's.
    pub columns: MetadataColumns,
    /// How readers are chosen.
    pub readers: ReaderChoice,
    /// Rules of `partition_by`.
    pub partition_by: Vec<PartitionRule>,
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
            Evolution::Fixed(_) => ReaderChoice::Fixed(READER_SCHEMA_FILE),
        };
        Self {
            connector: connector.name.as_str().into(),
            group: connector.kafka.group.as_str().into(),
            bare_datum: matches!(connector.value, ValueFormat::AvroSchemaFile(_)),
            key: connector.key,
            columns: connector.columns,
            readers,
            partition_by: connector.partition_by.clone(),
            rotate: connector.rotate,
            encoding: Arc::new(Encoding::new(&connector.parquet)),
            open_row_groups_bytes: OPEN_ROW_GROUPS_BYTES / connector.tasks.get(),
            errors: connector.errors.clone(),
            start: connector.kafka.start,
            plan: plan_hash(connector, value_schema, reader_schema),
            open_files: OPEN_FILES_PER_FLUSH,
            held_bytes: HELD_BYTES,
        }
    }

    /// Whether somebody reads record headers.
    #[must_use]
    pub fn wants_headers(&self) -> bool {
        self.columns.headers
            || self.errors.on_poison == OnPoison::DeadLetter
            || self.errors.on_tombstone == OnTombstone::DeadLetter
    }
}

/// Two configurations with the same hash map the same records to the same files with the same rows.
fn plan_hash(
    connector: &ConnectorSettings,
    value_schema: Option<&str>,
    reader_schema: Option<&str>,
) -> PlanHash {
    // Debug text is enough: the hash only ever meets hashes made by the same program, and the version is part of it.
    let text = format!(
        "1|{}|{:?}|{:?}|{:?}|{:?}|{:?}|{:?}|{:?}|{:?}|{:?}",
        connector.storage.url,
        connector.value,
        connector.key,
        connector.schema,
        connector.columns,
        connector.partition_by,
        connector.errors.on_poison,
        connector.errors.on_tombstone,
        value_schema,
        reader_schema,
    );
    PlanHash(xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}
