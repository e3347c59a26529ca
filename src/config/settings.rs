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
//! | `defaults` | mapping | goes under every connector of the same file: mappings merge key by key, single values and lists of the connector replace it; a connector's `~` takes a default away |
//! | `connectors` | list, required | see [`ConnectorSettings`] |
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
mod http;

use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

pub use self::columns::{ColumnTypes, NanosAs, TimeAs, UuidAs, WideDecimalAs};
pub use self::http::{HttpSettings, TlsFiles};
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
    /// memory.
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
}

/// `kafka`: what a connector reads and as whom.
///
/// ```yaml
/// kafka:
///   topics: [orders, returns]
///   group: lake
///   start: latest
///   properties:
///     bootstrap.servers: kafka-1:9092,kafka-2:9092
///     security.protocol: SASL_SSL
///     sasl.password: ${file:/run/secrets/kafka-password}
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct KafkaSettings {
    /// `topics` or `topics_regex`, one of them required.
    pub topics: TopicSelection,
    /// `group`: the consumer group that keeps the offsets. Another name begins anew. Default `sluice-<name>`.
    pub group: String,
    /// `start`: where a group begins that has never committed: `earliest`, `latest` or `error`. Default `earliest`.
    pub start: StartPosition,
    /// `properties`: librdkafka's own, by name, passed through as written. `bootstrap.servers` is required and so
    /// always here. Values may be secrets.
    ///
    /// Refused, because delivery depends on them: `enable.auto.commit`, `enable.auto.offset.store`,
    /// `auto.commit.interval.ms`, `offset.store.*`, `auto.offset.reset` (use `start`), `group.id` (use `group`),
    /// `enable.partition.eof`, `isolation.level` other than `read_committed`, `check.crcs` other than `true`,
    /// `partition.assignment.strategy` other than `cooperative-sticky`. With `group.protocol: consumer` librdkafka
    /// itself refuses `session.timeout.ms`, `heartbeat.interval.ms`, `partition.assignment.strategy` and
    /// `group.protocol.type`.
    pub properties: BTreeMap<String, Secret>,
}

/// Which topics a connector reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicSelection {
    /// `topics`: at least one name, each once.
    Names(Vec<String>),
    /// `topics_regex`: a pattern that starts with `^`, as librdkafka asks: `'^shop\..*'`. Topics made later join by
    /// themselves.
    Regex(String),
}

/// `kafka.start`: where a group begins that has never committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPosition {
    /// `earliest`: the first offset the broker still has.
    Earliest,
    /// `latest`: only records produced from now on: the end is committed before anything is read. Partitions that the topic gets
    /// later are read from their beginning.
    Latest,
    /// `error`: refuse to start without a committed offset.
    Error,
}

/// `value`: what the values of records are. `format` is required; this release reads `avro`.
///
/// ```yaml
/// value: { format: avro }                               # a schema id in front, needs `registry`
/// value: { format: avro, wire: apicurio }               # ids of 8 bytes in front
/// value: { format: avro, wire: single_object, schema_files: [schemas] }
/// value: { format: avro, schema_file: order.avsc }      # one schema, no registry
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueFormat {
    /// `format: avro`: each record names its schema, resolved by the registry. `wire` says how: `confluent`,
    /// `apicurio`, `glue` or `header`. Default `confluent`.
    AvroRegistry(WireFormat),
    /// `format: avro` with `schema_file`: datums with nothing in front (`wire: none`); every record has the schema of
    /// this file, which must exist.
    AvroSchemaFile(PathBuf),
    /// `format: avro` with `wire: single_object`: each record names its schema by fingerprint. `schema_files`: the
    /// files that hold the schemas, or directories whose `*.avsc` do; each file is complete by itself.
    AvroSchemaFiles(Vec<PathBuf>),
}

impl ValueFormat {
    /// What stands in front of a datum.
    #[must_use]
    pub fn wire(&self) -> WireFormat {
        match self {
            Self::AvroRegistry(wire) => *wire,
            Self::AvroSchemaFile(_) => WireFormat::None,
            Self::AvroSchemaFiles(_) => WireFormat::SingleObject,
        }
    }
}

/// `value.wire`, `key.wire`: what stands in front of a datum, or in the record's headers, and names its schema.
/// `docs/formats.md` shows each of them byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireFormat {
    /// `confluent`: byte 0 and a schema id of 4 bytes. Apicurio's serializers with 4-byte ids write the same.
    Confluent,
    /// `apicurio`: byte 0 and an id of 8 bytes.
    Apicurio,
    /// `single_object`: Avro's single-object encoding: C3 01 and the schema's CRC-64-AVRO fingerprint. Values only.
    SingleObject,
    /// `glue`: AWS Glue's header: byte 3, compression (none or zlib), the UUID of a schema version.
    Glue,
    /// `header`: a record header: `__value_schema_id` of Confluent's serializers, `apicurio.value.globalId` or
    /// `apicurio.value.contentId` of Apicurio's; `key` instead of `value` for keys. A record without any of them is
    /// read as `confluent`.
    Header,
    /// `none`: nothing; with `schema_file`.
    None,
}

/// `key`: what the keys of records are, and whether there is a column for them.
///
/// ```yaml
/// key: { format: avro, wire: confluent }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// `format: none`, the default: no key column.
    None,
    /// `bytes`: a binary column `_key`.
    Bytes,
    /// `string`: a UTF-8 column `_key`; a key that is not UTF-8 is poison.
    String,
    /// `avro`: a column `_key` of the key's schema, a struct where that is a record; each key names its schema,
    /// resolved by the registry. A null key is null; a key that cannot be read is poison. `wire`: as for values,
    /// without `single_object` and `none`. Default: as the values have it, else `confluent`.
    Avro(WireFormat),
}

/// `registry`: the schema registry.
///
/// ```yaml
/// registry:
///   url: https://registry-1:8081,https://registry-2:8081
///   username: sluice
///   password: ${REGISTRY_PASSWORD}
///   ca_file: company-ca.pem
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RegistrySettings {
    /// `url`, required: one or more (a list, or separated by commas), tried in order. `http` or `https`, without user,
    /// query or fragment.
    pub urls: Vec<Url>,
    /// `username` with `password`, or `token`, or none of them.
    pub auth: RegistryAuth,
    /// `ca_file`: PEM certificates to trust beside the system's; must exist.
    pub ca_file: Option<PathBuf>,
    /// `timeout` of one request. Default `10s`.
    pub timeout: Duration,
    /// `api`: which registry it is. Default: what `wire` suggests, else `confluent`.
    pub api: RegistryApi,
}

/// `registry.api`: whose API the registry speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryApi {
    /// `confluent`: Confluent's, which Apicurio (`/apis/ccompat/v7`), Karapace and Redpanda speak too.
    Confluent {
        /// `context`: where ids and subjects are looked up, as in `:.context:subject`. Default: the registry's default
        /// context.
        context: Option<String>,
    },
    /// `apicurio`: Apicurio's own; the URL ends in `/apis/registry/v2` or `/apis/registry/v3`. The default for
    /// `wire: apicurio`.
    Apicurio {
        /// `ids`: what the numbers on the wire are: `global` or `content`. Default as the serializers have it:
        /// `global` for `wire: apicurio`, otherwise `content`.
        ids: ApicurioIds,
    },
    /// `glue`: AWS Glue; the default and only one for `wire: glue`. `url` may be left out. Requests are signed with
    /// the credentials that AWS's environment gives (variables, web identity, container, machine).
    Glue {
        /// `region`, required.
        region: String,
    },
}

/// `registry.ids`: which of Apicurio's numbers is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApicurioIds {
    /// `global`: of a version of an artifact.
    Global,
    /// `content`: of a text, whichever artifacts have it.
    Content,
}

/// How to authenticate to the registry.
#[derive(Clone, Debug, PartialEq)]
pub enum RegistryAuth {
    /// Nothing is sent.
    None,
    /// `username` and `password`: HTTP basic.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
    /// `token`: HTTP bearer.
    Bearer(Secret),
}

/// `schema`: what happens when the schema of a topic changes.
///
/// ```yaml
/// schema: { evolution: fixed, reader_schema_file: order-v3.avsc }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaSettings {
    /// `evolution`: `lossless`, `per_version`, `latest` or `fixed`. Default `lossless`.
    pub evolution: Evolution,
}

/// `schema.evolution`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evolution {
    /// `lossless`: read up to the newest schema seen wherever nothing is lost; otherwise a file of its own.
    Lossless,
    /// `per_version`: a file a schema id.
    PerVersion,
    /// `latest`: read everything with the schema of the highest id seen, dropping what it no longer has. Not where
    /// schemas are named by something else than a number (`wire: single_object`, `glue` and `header`).
    Latest,
    /// `fixed`: read everything with the schema in `reader_schema_file`, which must exist.
    Fixed(PathBuf),
}

/// `columns.metadata`: columns added beside those of the value. `true`, `false`, or a list of `position`, `key` and
/// `headers`; a list always means the columns of the position too. Default `true`.
///
/// ```yaml
/// columns: { metadata: [headers] }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MetadataColumns {
    /// `_topic` (UTF-8, dictionary), `_partition` (int32), `_offset` (int64), `_timestamp` (ms, UTC). Unless `false`.
    pub position: bool,
    /// `_key`, whenever `key.format` is not `none`, with the type of that format. Listing `key` without such a format
    /// is an error.
    pub key: bool,
    /// `_headers`: list of struct of key (UTF-8) and value (binary). Only if listed.
    pub headers: bool,
}

/// One entry of `partition_by`: directories between the topic's and the file.
///
/// ```yaml
/// partition_by:
///   - { field: shipping.country }
///   - { time: created_at, path: 'dt=%Y-%m-%d/hour=%H', timezone: Europe/Berlin }
///   - { record: full_name }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionRule {
    /// `{ field, name }`: a directory `<name>=<value of the field>`.
    Field {
        /// `field`: path of field names into nested records, separated by `.`; a backslash before a point makes it part
        /// of a name. At least one element.
        path: Vec<String>,
        /// `name`: left side of the directory name. Default: the path's last element.
        name: String,
    },
    /// `{ time, path, timezone }`: directories made by a strftime pattern.
    Time {
        /// `time`: where the instant comes from: `record`, `wallclock`, or the path of a field.
        source: TimeSource,
        /// `path`, required: strftime pattern as [`chrono::format::strftime`] reads it; may hold several `/`. Checked:
        /// relative, no empty or hidden parts, at least one part of a date or time, no zone.
        pattern: String,
        /// `timezone`: name in the IANA database of the zone that the pattern is written in. Default `UTC`.
        timezone: chrono_tz::Tz,
    },
    /// `{ record, name }`: a directory for each type of record, so that a topic with several of them makes tables of
    /// one schema each.
    Record {
        /// `record`: `full_name` (`shop.Order`) or `name` (`Order`) of the schema that a record was written with.
        full: bool,
        /// `name`: left side of the directory name. Default `record`.
        name: String,
    },
}

/// `time` of a partition rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeSource {
    /// `record`: the Kafka timestamp.
    Record,
    /// `wallclock`: the clock when the flush's first record arrived; constant within a flush, carried by its intent.
    Wallclock,
    /// Any other word is the path of a field of date, timestamp or local timestamp type.
    Field(Vec<String>),
}

/// `rotate`: when a flush ends and its files are published; whichever comes first.
///
/// At least one of `bytes`, `rows`, `every` must be there, and none may be zero. A connector without `rotate` has
/// `{ bytes: 128MiB, every: 5m }`; one with it has what it writes and nothing else.
///
/// ```yaml
/// rotate: { bytes: 256MiB, rows: 5000000, every: 10m, idle: 30s }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotateSettings {
    /// `bytes` of Parquet as written, over the open files of a flush: any one file reaching it ends the flush.
    pub bytes: Option<ByteSize>,
    /// `rows` of a flush.
    pub rows: Option<NonZeroU64>,
    /// `every`: age since the flush's first record, also when no more come.
    pub every: Option<Duration>,
    /// `idle`: time since the flush's last record.
    pub idle: Option<Duration>,
}

/// `parquet`: how files are written.
///
/// ```yaml
/// parquet:
///   compression: zstd(6)
///   row_group: { bytes: 64MiB, rows: 1000000 }
///   columns:
///     order_id: { dictionary: never, bloom_filter: true }
///   sort_by: [customer_id]
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ParquetSettings {
    /// `compression`: `snappy`, `zstd`, `zstd(1)` to `zstd(22)`, `gzip`, `lz4`, `brotli` or `none`. Default `snappy`.
    pub compression: Compression,
    /// `row_group.bytes`, encoded. Default `64MiB`.
    pub row_group_bytes: ByteSize,
    /// `row_group.rows`. Default 1000000.
    pub row_group_rows: NonZeroUsize,
    /// `dictionary`: `auto`, `always` or `never`. Default `auto`.
    pub dictionary: Dictionary,
    /// `columns`: overrides by column path (`a.b.c`); a backslash before a point makes it part of a name. Default none.
    pub columns: BTreeMap<String, ColumnSettings>,
    /// `sort_by`: paths of columns (`a.b`, points escaped as above) to sort by within each row group, each once: ascending, rows without a value
    /// last, equal rows in the order of offsets. The footer says so. Columns that a file lacks are passed over. Default
    /// empty: the order of offsets.
    pub sort_by: Vec<String>,
}

/// `parquet.compression`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// `none`
    None,
    /// `snappy`
    Snappy,
    /// `zstd` (level 3) or `zstd(1)` to `zstd(22)`
    Zstd(i32),
    /// `gzip`
    Gzip,
    /// `lz4`, which Parquet calls `LZ4_RAW`
    Lz4,
    /// `brotli`
    Brotli,
}

/// `parquet.dictionary`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dictionary {
    /// `auto`: learns from the data which columns gain.
    Auto,
    /// `always`: every column.
    Always,
    /// `never`: no column.
    Never,
}

/// One entry of `parquet.columns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ColumnSettings {
    /// `dictionary`, over the file's. Default: the file's.
    pub dictionary: Option<Dictionary>,
    /// `bloom_filter`. Default `false`.
    pub bloom_filter: bool,
}

/// `storage`: where files go.
///
/// ```yaml
/// storage:
///   url: s3://lake/raw
///   options: { endpoint: http://localhost:9000, region: us-east-1, allow_http: true }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct StorageSettings {
    /// `url`, required: `file:///absolute/path`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`;
    /// files go to `<url>/<topic>/…`. Without user, query or fragment.
    pub url: Url,
    /// `options`: the store's own, by the names of the crate `object_store`, passed through as written. Without
    /// credentials here the usual chain of the cloud is asked. Values may be secrets.
    pub options: BTreeMap<String, Secret>,
}

impl StorageSettings {
    /// Where the storage is, for messages: the URL, and the endpoint where `options` name one (without user and query).
    #[must_use]
    pub fn place(&self) -> String {
        let endpoint = ["endpoint", "aws_endpoint", "endpoint_url", "aws_endpoint_url", "azure_endpoint"]
            .iter()
            .find_map(|key| self.options.get(*key))
            .and_then(|endpoint| Url::parse(endpoint.expose()).ok());
        match endpoint.as_ref().and_then(|endpoint| Some((endpoint, endpoint.host_str()?))) {
            Some((endpoint, host)) => match endpoint.port_or_known_default() {
                Some(port) => format!("{} at {host}:{port}", self.url),
                None => format!("{} at {host}", self.url),
            },
            None => self.url.to_string(),
        }
    }
}

/// `errors`: what happens to records that cannot become rows.
///
/// ```yaml
/// errors:
///   on_poison: dead_letter
///   dead_letter_topic: orders.dead
///   on_tombstone: row
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorSettings {
    /// `on_poison`: `fail`, `skip` or `dead_letter`. Default `fail`.
    pub on_poison: OnPoison,
    /// `dead_letter_topic`: there whenever a policy says `dead_letter`; none of the topics that the connector reads.
    pub dead_letter_topic: Option<String>,
    /// `on_tombstone`: `skip`, `fail`, `dead_letter` or `row`. Default `skip`.
    pub on_tombstone: OnTombstone,
}

/// `errors.on_poison`: a record that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPoison {
    /// `fail`: stop the connector, hold the offset.
    Fail,
    /// `skip`: count it and go on.
    Skip,
    /// `dead_letter`: produce it to the dead-letter topic and go on.
    DeadLetter,
}

/// `errors.on_tombstone`: a record without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTombstone {
    /// `skip`: count it and go on.
    Skip,
    /// `fail`: stop the connector, hold the offset.
    Fail,
    /// `dead_letter`: produce it to the dead-letter topic and go on.
    DeadLetter,
    /// `row`: a row of nulls with its metadata columns.
    Row,
}
