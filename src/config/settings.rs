//! Owns the validated settings that every other room reads. Does not own their YAML form ([`super`]'s other files).
//! Units live in the types; defaults are applied; references (`${…}`) are resolved.

use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

pub use super::quantity::ByteSize;
pub use super::secret::Secret;

/// A whole configuration: the daemon and its connectors, in file order.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Settings of the process.
    pub daemon: DaemonSettings,
    /// At least one connector; names are unique.
    pub connectors: Vec<ConnectorSettings>,
}

/// `daemon:`, settings of the process.
#[derive(Clone, Debug)]
pub struct DaemonSettings {
    /// `listen`: address of the HTTP endpoints. Default `127.0.0.1:9464`.
    pub listen: std::net::SocketAddr,
    /// `log.format`. Default `json`.
    pub log_format: LogFormat,
    /// `log.level`. Default `info`.
    pub log_level: LogLevel,
    /// `memory`: budget for all connectors together. Default: 60 % of the cgroup limit or of the machine's memory.
    pub memory: ByteSize,
    /// `shutdown_timeout`: how long a drain may take. Default `60s`.
    pub shutdown_timeout: Duration,
    /// `scratch_dir`: where encoded bytes wait for their upload to an object store; files there have no name and
    /// vanish with the process. Default: the system's temporary directory.
    pub scratch_dir: PathBuf,
}

/// `log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// `log.level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Only connectors that stopped.
    Error,
    /// And what someone should look at.
    Warn,
    /// And every change of state.
    Info,
    /// And what the protocol does step by step.
    Debug,
    /// And each call to a service.
    Trace,
}

/// One entry of `connectors:`.
#[derive(Clone, Debug)]
pub struct ConnectorSettings {
    /// `name`: unique in the process; ASCII letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// `kafka:`
    pub kafka: KafkaSettings,
    /// `value:`
    pub value: ValueFormat,
    /// `key:`
    pub key: KeyFormat,
    /// `registry:`; required unless the value format carries its own schema.
    pub registry: Option<RegistrySettings>,
    /// `schema:`
    pub schema: SchemaSettings,
    /// `columns:`
    pub columns: MetadataColumns,
    /// `partition_by:`, in order; empty = no partitioning.
    pub partition_by: Vec<PartitionRule>,
    /// `rotate:`
    pub rotate: RotateSettings,
    /// `parquet:`
    pub parquet: ParquetSettings,
    /// `storage:`
    pub storage: StorageSettings,
    /// `errors:`
    pub errors: ErrorSettings,
    /// `tasks`: worker threads. Default: the machine's cores.
    pub tasks: NonZeroUsize,
}

/// `kafka:` of a connector.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `topics` or `topics_regex`.
    pub topics: TopicSelection,
    /// `group`. Default `sluice-<name>`.
    pub group: String,
    /// `start`: where a group begins that has never committed. Default `earliest`.
    pub start: StartPosition,
    /// `properties`: librdkafka's own, passed through. `bootstrap.servers` is always there. Values may be secrets.
    pub properties: BTreeMap<String, Secret>,
}

/// Which topics a connector reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicSelection {
    /// `topics`: at least one name, each once.
    Names(Vec<String>),
    /// `topics_regex`: starts with `^`, as librdkafka asks.
    Regex(String),
}

/// `kafka.start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPosition {
    /// The first offset the broker still has.
    Earliest,
    /// Only records produced from now on.
    Latest,
    /// Refuse to start without a committed offset.
    Error,
}

/// `value.format` and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueFormat {
    /// Avro with a schema id in front of each datum, resolved by the registry.
    AvroRegistry,
    /// Avro datums with nothing in front; every record has the schema of this file (`schema_file`).
    AvroSchemaFile(PathBuf),
}

/// `key.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// No key column.
    None,
    /// A binary column `_key`.
    Bytes,
    /// A UTF-8 column `_key`; a key that is not UTF-8 is poison.
    String,
    /// Avro with a schema id, resolved by the registry.
    Avro,
}

/// `registry:`.
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// `url`: one or more (a list, or separated by commas); tried in order. No user info inside.
    pub urls: Vec<Url>,
    /// `username` and `password`, or `token`.
    pub auth: RegistryAuth,
    /// `ca_file`: PEM certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// `timeout` of one request. Default `10s`.
    pub timeout: Duration,
}

/// How to authenticate to the registry.
#[derive(Clone, Debug)]
pub enum RegistryAuth {
    /// Nothing is sent.
    None,
    /// HTTP basic.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
    /// HTTP bearer token.
    Bearer(Secret),
}

/// `schema:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaSettings {
    /// `evolution`. Default `lossless`.
    pub evolution: Evolution,
}

/// `schema.evolution`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evolution {
    /// Read up to the newest schema seen wherever nothing is lost; otherwise a file of its own.
    Lossless,
    /// A file a schema id.
    PerVersion,
    /// Read everything with the newest schema seen, dropping what it no longer has.
    Latest,
    /// Read everything with this schema (`reader_schema_file`).
    Fixed(PathBuf),
}

/// `columns.metadata`: columns added beside those of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MetadataColumns {
    /// `_topic` (UTF-8, dictionary), `_partition` (int32), `_offset` (int64), `_timestamp` (ms, UTC). Default true.
    pub position: bool,
    /// `_key`, with the type of `key.format`; asked for by that format.
    pub key: bool,
    /// `_headers`: list of struct of key (UTF-8) and value (binary).
    pub headers: bool,
}

/// One entry of `partition_by:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionRule {
    /// `{ field: a.b }`: a directory `a.b=<value>`; `name` overrides the left side.
    Field {
        /// Path of field names into nested records.
        path: Vec<String>,
        /// Left side of the directory name. Default: the path's last element.
        name: String,
    },
    /// `{ time: …, path: …, timezone: … }`: directories made by a strftime pattern.
    Time {
        /// Where the instant comes from.
        source: TimeSource,
        /// strftime pattern, may hold several `/`. Checked: only specifiers of date and time.
        pattern: String,
        /// Zone the pattern is written in. Default UTC.
        timezone: chrono_tz::Tz,
    },
}

/// `time:` of a partition rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeSource {
    /// `record`: the Kafka timestamp.
    Record,
    /// `wallclock`: the clock when the flush's first record arrived; constant within a flush, carried by its intent.
    Wallclock,
    /// A field of date, timestamp or local timestamp type.
    Field(Vec<String>),
}

/// `rotate:`; at least one of `bytes`, `rows`, `every` is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotateSettings {
    /// `bytes` of Parquet as written, over the open files of a flush: any one file reaching it ends the flush.
    pub bytes: Option<ByteSize>,
    /// `rows` of a flush.
    pub rows: Option<NonZeroU64>,
    /// `every`: age since the flush's first record.
    pub every: Option<Duration>,
    /// `idle`: time since the flush's last record.
    pub idle: Option<Duration>,
}

/// `parquet:`.
#[derive(Clone, Debug, PartialEq)]
pub struct ParquetSettings {
    /// `compression`. Default snappy.
    pub compression: Compression,
    /// `row_group.bytes`, encoded. Default 64 MiB.
    pub row_group_bytes: ByteSize,
    /// `row_group.rows`. Default 1,000,000.
    pub row_group_rows: NonZeroUsize,
    /// `dictionary`. Default auto.
    pub dictionary: Dictionary,
    /// `columns`: overrides by column path (`a.b.c`).
    pub columns: BTreeMap<String, ColumnSettings>,
    /// `sort_by`: columns to sort by within a row group; empty = offset order.
    pub sort_by: Vec<String>,
}

/// `parquet.compression`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// `none`
    None,
    /// `snappy`
    Snappy,
    /// `zstd` (level 3) or `zstd(1..22)`
    Zstd(i32),
    /// `gzip`
    Gzip,
    /// `lz4`: LZ4_RAW
    Lz4,
    /// `brotli`
    Brotli,
}

/// `parquet.dictionary`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dictionary {
    /// Learns from the data which columns gain.
    Auto,
    /// Every column.
    Always,
    /// No column.
    Never,
}

/// One entry of `parquet.columns:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ColumnSettings {
    /// `dictionary`, over the file's.
    pub dictionary: Option<Dictionary>,
    /// `bloom_filter`. Default false.
    pub bloom_filter: bool,
}

/// `storage:`.
#[derive(Clone, Debug)]
pub struct StorageSettings {
    /// `url`: `file://`, `s3://`, `gs://` or `az://`; the path is the output prefix. No user info inside.
    pub url: Url,
    /// `options`: object_store's own keys. Values may be secrets.
    pub options: BTreeMap<String, Secret>,
}

/// `errors:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorSettings {
    /// `on_poison`. Default fail.
    pub on_poison: OnPoison,
    /// `dead_letter_topic`; there whenever a policy says `dead_letter`.
    pub dead_letter_topic: Option<String>,
    /// `on_tombstone`. Default skip.
    pub on_tombstone: OnTombstone,
}

/// `errors.on_poison`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPoison {
    /// Stop the connector, hold the offset.
    Fail,
    /// Count it and go on.
    Skip,
    /// Produce it to the dead-letter topic and go on.
    DeadLetter,
}

/// `errors.on_tombstone`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTombstone {
    /// Count it and go on.
    Skip,
    /// Stop the connector, hold the offset.
    Fail,
    /// Produce it to the dead-letter topic and go on.
    DeadLetter,
    /// A row of nulls with its metadata columns.
    Row,
}
