//! Owns what the lake gets: partition directories, the ends of files, Parquet, where they go.

use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use url::Url;

use super::{ByteSize, Secret};

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
        /// of a name. At least one element. Names as in Avro, also where columns are called otherwise; columns of metadata
        /// (`_partition`, `_key.shop`) can be named, too. What stands in the directory is in `docs/types.md`.
        path: Vec<String>,
        /// `name`: left side of the directory name. Default: the path's last element.
        name: String,
    },
    /// `{ time, path, timezone }`: directories made by a strftime pattern.
    Time {
        /// `time`: where the instant comes from: `record`, `wallclock`, or the path of a field.
        source: TimeSource,
        /// `path`, required: strftime pattern as [`chrono::format::strftime`] reads it; may hold several `/`. Checked:
        /// relative, no empty or hidden parts, none of the characters that Hive escapes (such as `:` and `%`) but one `=` in
        /// each part, at least one part of a date or time, no zone.
        pattern: String,
        /// `timezone`: name in the IANA database of the zone that the pattern is written in. Default `UTC`. Dates and local
        /// timestamps have no zone, and none moves them.
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

impl PartitionRule {
    /// The path of the field that it takes values of, where it does.
    #[must_use]
    pub fn field_path(&self) -> Option<&[String]> {
        match self {
            Self::Field { path, .. } | Self::Time { source: TimeSource::Field(path), .. } => Some(path),
            Self::Time { .. } | Self::Record { .. } => None,
        }
    }
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
    /// `options`: the store's own, by the names of the crate `object_store`, passed through as written; what the
    /// store does not know or take is refused at its line. Without
    /// credentials here the usual chain of the cloud is asked. Values may be secrets.
    pub options: BTreeMap<String, Secret>,
}

impl StorageSettings {
    /// Bytes that the prefix puts in front of a file's name in its key, with the slash between them; 0 for a local directory
    /// and for a whole bucket.
    #[must_use]
    pub fn prefix_bytes(&self) -> usize {
        let path = self.url.path().trim_matches('/').as_bytes();
        if self.url.scheme() == "file" || path.is_empty() {
            return 0;
        }
        let is_escape = |bytes: &[u8]| bytes[0] == b'%' && bytes[1..].iter().all(u8::is_ascii_hexdigit);
        path.len() - 2 * path.windows(3).filter(|bytes| is_escape(bytes)).count() + 1
    }

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
