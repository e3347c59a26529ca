//! Owns the validated settings that every other room reads, and with their documentation the reference manual of
//! `connectors.yaml`. Does not own their YAML form ([`super`]'s other files). Units live in the types; defaults are
//! applied; references are resolved.
//!
//! # The file
//!
//! One file, or a directory whose `*.yaml` and `*.yml` are taken together in the order of their names.
//!
//! | key | type | what it is |
//! | --- | --- | --- |
//! | `version` | number, required | `1`, in every file |
//! | `daemon` | mapping | settings of the process, see [`DaemonSettings`]; in one file at the most |
//! | `defaults` | mapping | goes under every connector of the same file, or, in a file without `connectors`, under every connector of all files: mappings merge key by key, single values and lists of the connector replace it; a connector's `~` takes a default away |
//! | `connectors` | list, required | see [`ConnectorSettings`]; in a directory, in one file at the least |
//!
//! ```yaml
//! version: 1
//! connectors:
//!   - name: orders
//!     kafka:
//!       topics: [orders]
//!       properties: { bootstrap.servers: "${KAFKA_BROKERS:-localhost:9092}" }
//!     value: { format: avro }
//!     registry: { url: http://localhost:8081 }
//!     storage: { url: s3://lake/raw }
//! ```
//!
//! In a directory one file may hold what all others have in common: `daemon`, and `defaults` for the connectors of all files.
//! Where a file has both connectors and `defaults`, these go over the common ones, for its own connectors.
//!
//! ```yaml
//! # conf.d/00-common.yaml
//! version: 1
//! daemon: { memory: 2GiB }
//! defaults:
//!   kafka: { properties: { bootstrap.servers: kafka:9092 } }
//!   value: { format: avro }
//!   registry: { url: http://registry:8081 }
//!   storage: { url: s3://lake/raw }
//! ```
//!
//! ```yaml
//! # conf.d/orders.yaml
//! version: 1
//! connectors:
//!   - { name: orders, kafka: { topics: [orders] } }
//! ```
//!
//! # Values
//!
//! **YAML 1.2**, read strictly: unknown and duplicate keys, keys without a value and wrong types are errors. `no`, `yes`,
//! `on` and `off` are strings. A number is written in plain decimal digits; a string that looks like a number or boolean
//! needs quotes. `~` and `null` mean "as if the key were not here". Anchors, aliases and `<<` work.
//!
//! **Sizes**: a number of bytes, or a number with `B`, `KB`, `MB`, `GB`, `TB` (by 1000), `KiB`, `MiB`, `GiB`, `TiB` (by
//! 1024): `128MiB`, `1.5GB`. **Times**: a whole number with `ms`, `s`, `m`, `h` or `d`: `90s`.
//!
//! **References**, in values and not in keys. A value from a reference may be of any type, whatever the quotes; inside
//! `{ }` and `[ ]` YAML asks for quotes around it.
//!
//! | written | becomes |
//! | --- | --- |
//! | `${NAME}` | the environment variable; an error if it is not set or empty |
//! | `${NAME:-default}` | the variable, or the default if it is not set or empty |
//! | `${file:PATH}` | what the file holds, without one newline at its end; an error if that is nothing |
//! | `$$` | `$` |
//!
//! **Paths** that are relative start at the directory of the file in which they stand.

mod columns;
mod errors;
mod formats;
mod http;
mod kafka;
mod lake;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

pub use self::columns::{ColumnTypes, NanosAs, TimeAs, UuidAs, WideDecimalAs};
pub use self::errors::{ErrorSettings, OnPoison, OnTombstone};
pub use self::formats::{
    ApicurioIds, Evolution, KeyFormat, MetadataColumns, RegistryApi, RegistryAuth, RegistrySettings,
    SchemaSettings, ValueFormat, WireFormat,
};
pub use self::http::{HttpSettings, TlsFiles};
pub use self::kafka::{KafkaSettings, StartPosition, TopicSelection};
pub use self::lake::{
    ColumnSettings, Compression, Dictionary, ParquetSettings, PartitionRule, RotateSettings, StorageSettings,
    TimeSource,
};
use super::problem::ConfigError;
pub use super::quantity::ByteSize;
pub use super::secret::Secret;

/// A whole configuration: the daemon and its connectors, in file order.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `daemon`: settings of the process.
    pub daemon: DaemonSettings,
    /// `connectors`: at least one; names are unique. No two may read a topic of the same brokers in the same group, nor
    /// write a topic under the same `storage.url`.
    pub connectors: Vec<ConnectorSettings>,
    /// Files that `${file:…}` has read; no key of their own.
    pub referenced: Vec<PathBuf>,
    /// What can be used and yet is hardly meant; no key of its own.
    pub warnings: Vec<ConfigError>,
}

/// `daemon`: settings of the process. All of it may be left out.
///
/// ```yaml
/// daemon:
///   listen: 0.0.0.0:9464
///   log: { format: text, level: debug }
///   memory: 50%
///   shutdown_timeout: 2m
///   scratch_dir: /var/tmp
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonSettings {
    /// `listen`: IP address and port of the HTTP endpoints. Default `127.0.0.1:9464`, which only this machine reaches.
    pub listen: std::net::SocketAddr,
    /// `http`: who may ask, and who may command.
    pub http: HttpSettings,
    /// `log.format`: `json` or `text`. Default `json`.
    pub log_format: LogFormat,
    /// `log.level`: `error`, `warn`, `info`, `debug` or `trace`. Default `info`.
    pub log_level: LogLevel,
    /// `memory`: budget for the records and files of all connectors together; a size, or a share of what the process
    /// may use (`50%`). Default `60%`. What it may use is the smallest of its control groups' limits and the machine's
    /// memory; a size beyond that is told of as a warning, and the default is taken.
    pub memory: ByteSize,
    /// `shutdown_timeout`: how long a stop may take to finish what is begun; afterwards it is dropped and read again at
    /// the next start. Default `60s`.
    pub shutdown_timeout: Duration,
    /// `reload_on_change`: reload, as SIGHUP does, within some ten seconds after a change of a file that the configuration
    /// names: `${file:…}`, schemas, certificates, keys. So rotated secrets are taken up by themselves. The configuration's
    /// own files are not looked at. Default `true`.
    pub reload_on_change: bool,
    /// `scratch_dir`: where encoded bytes wait for their upload to an object store; files there have no name and
    /// vanish with the process. Default: the system's temporary directory.
    pub scratch_dir: PathBuf,
}

/// `daemon.log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `json`: one JSON object a line.
    Json,
    /// `text`: for people.
    Text,
}

/// `daemon.log.level`: each says what those above it say, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `error`: only connectors that stopped.
    Error,
    /// `warn`: and what someone should look at.
    Warn,
    /// `info`: and every change of state.
    Info,
    /// `debug`: and what the protocol does step by step.
    Debug,
    /// `trace`: and each call to a service.
    Trace,
}

impl LogLevel {
    /// Every level, the quietest first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// One entry of `connectors`: some topics, and the place in the lake where their records go.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectorSettings {
    /// `name`, required: unique in the process; at most 128 ASCII letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// `kafka`, required.
    pub kafka: KafkaSettings,
    /// `value`, required.
    pub value: ValueFormat,
    /// `key`: how record keys are written. Default `{ format: none }`.
    pub key: KeyFormat,
    /// `registry`: required unless `value.schema_file` or `value.schema_files` is there and `key.format` is not `avro`.
    pub registry: Option<RegistrySettings>,
    /// `schema`.
    pub schema: SchemaSettings,
    /// `columns`: see `columns.metadata`, and [`ColumnTypes`] for the types of values.
    pub columns: MetadataColumns,
    /// How types are written for which engines disagree; no key of its own.
    pub types: ColumnTypes,
    /// `partition_by`: a list, in order; no two entries may make the same directories. Default empty: no partitioning.
    pub partition_by: Vec<PartitionRule>,
    /// `rotate`.
    pub rotate: RotateSettings,
    /// `parquet`.
    pub parquet: ParquetSettings,
    /// `storage`, required.
    pub storage: StorageSettings,
    /// `errors`.
    pub errors: ErrorSettings,
    /// `tasks`: worker threads, 1 to 1024. Default: the machine's cores.
    pub tasks: NonZeroUsize,
    /// Where it is written; no key of its own.
    pub written_at: WrittenAt,
}

impl ConnectorSettings {
    /// Whether both say the same, wherever they are written.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        Self { written_at: WrittenAt::default(), ..self.clone() }
            == Self { written_at: WrittenAt::default(), ..other.clone() }
    }
}

/// Where the parts of a connector stand in the configuration, `file:line:column`, for messages about its services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenAt {
    /// The connector.
    pub connector: String,
    /// `kafka`
    pub kafka: String,
    /// `registry`
    pub registry: String,
    /// `storage.url`
    pub storage: String,
    /// The keys under `kafka.properties` and `storage.options`, by their whole path.
    pub keys: BTreeMap<String, String>,
}

impl WrittenAt {
    /// The place of the first key that a message names, where it names one that is written.
    #[must_use]
    pub fn of_key_in(&self, message: &str) -> Option<&str> {
        let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let words = message.split(|c| !is_key(c)).map(|word| word.trim_end_matches('.'));
        let of_word = |word: &str| {
            let of_kafka = || self.keys.get(&format!("kafka.properties.{word}"));
            self.keys.get(word).or_else(of_kafka).map(String::as_str)
        };
        // Without a point it may be any word of the language.
        words.filter(|word| word.contains('.')).find_map(of_word)
    }
}
