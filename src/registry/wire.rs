//! Owns the JSON forms of the Schema Registry API that we read and write. Does not own what they mean.
//!
//! Form: <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>

use serde::{Deserialize, Serialize};

/// A schema's pointer to another one, as the registry writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reference {
    /// The name under which the referring schema uses it; for Avro the full name of the type.
    pub name: String,
    /// Subject under which it is registered.
    pub subject: String,
    /// Version within that subject, from 1.
    pub version: u32,
}

/// Answer of `GET /schemas/ids/{id}`, of `GET /subjects/{subject}/versions/{version}` (which adds fields that nobody
/// needs here), and the body of `POST /subjects/{subject}/versions`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SchemaBody {
    pub(super) schema: String,
    /// Left out for Avro by most registries.
    #[serde(rename = "schemaType", default, skip_serializing_if = "Option::is_none")]
    pub(super) schema_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) references: Option<Vec<Reference>>,
}

impl SchemaBody {
    /// The schema type if it is not Avro.
    pub(super) fn foreign_type(&self) -> Option<&str> {
        self.schema_type.as_deref().filter(|name| !name.eq_ignore_ascii_case("AVRO"))
    }
}

/// What a registry says when it says no.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ErrorBody {
    /// The HTTP status, or five digits that begin with it.
    pub(super) error_code: Option<i64>,
    pub(super) message: String,
    /// Apicurio's kind of refusal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    /// Apicurio's message, version 3.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) title: String,
}

impl ErrorBody {
    pub(super) const SUBJECT_NOT_FOUND: i64 = 40401;
    pub(super) const VERSION_NOT_FOUND: i64 = 40402;
    pub(super) const SCHEMA_NOT_FOUND: i64 = 40403;
    pub(super) const INVALID_SCHEMA: i64 = 42201;
    pub(super) const INVALID_VERSION: i64 = 42202;
}
