//! Owns how bytes become records: formats of value and key, registry, evolution, columns beside the value.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::Secret;

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
