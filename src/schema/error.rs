//! Owns what can be wrong with a schema. Does not own what is wrong with a datum: that is [`crate::decode`].

use crate::error::{Failure, Stage};

/// Bytes of a path or a reason.
const MAX_TEXT_BYTES: usize = 500;

/// Why a schema cannot be used, by what somebody must do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The text is not an Avro schema: whoever registered it must mend it.
    #[error("invalid avro schema at {path}: {reason}")]
    Invalid {
        /// Where in the schema, `a.b.element`; `the root` for the whole.
        path: String,
        /// What is wrong, lower case.
        reason: String,
    },
    /// A valid schema that no Parquet file can hold: leave the field out with a reader schema.
    #[error("unsupported avro schema at {path}: {reason}")]
    Unsupported {
        /// Where in the schema.
        path: String,
        /// What is not supported, lower case.
        reason: String,
    },
    /// Datums of the writer schema cannot be read with the reader schema.
    #[error("writer and reader schema do not match at {path}: {reason}")]
    Incompatible {
        /// Where in the reader schema.
        path: String,
        /// What does not match, lower case.
        reason: String,
    },
}

impl SchemaError {
    /// Short constant word for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid_schema",
            Self::Unsupported { .. } => "unsupported_schema",
            Self::Incompatible { .. } => "incompatible_schema",
        }
    }

    pub(crate) fn invalid(path: &[String], reason: impl Into<String>) -> Self {
        Self::Invalid { path: spell(path), reason: shorten(reason.into()) }
    }

    pub(crate) fn unsupported(path: &[String], reason: impl Into<String>) -> Self {
        Self::Unsupported { path: spell(path), reason: shorten(reason.into()) }
    }

    pub(crate) fn incompatible(path: &[String], reason: impl Into<String>) -> Self {
        Self::Incompatible { path: spell(path), reason: shorten(reason.into()) }
    }
}

/// A schema that cannot be used makes every record written with it poison.
impl From<SchemaError> for Failure {
    fn from(error: SchemaError) -> Self {
        Self::poison(Stage::Schema, error.kind(), error.to_string())
    }
}

fn spell(path: &[String]) -> String {
    if path.is_empty() { "the root".to_owned() } else { shorten(path.join(".")) }
}

/// Parts of schemas are quoted, and those can be of any length.
fn shorten(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let boundary = (0..=MAX_TEXT_BYTES).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(boundary.unwrap_or(0));
        text.push('…');
    }
    text
}
