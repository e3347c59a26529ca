//! Owns what stands in front of a datum and says which schema wrote it. Does not own the datum.
//!
//! One function a format, each from a record's value to (what names the schema, datum): another format is another
//! function.

use std::fmt;

use crate::error::{Failure, Stage};

/// Number of a schema in its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaId(u32);

impl SchemaId {
    /// Wraps a registry's number.
    #[must_use]
    pub fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// The registry's number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a value does not start as its format says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// No byte at all. Not a tombstone: that is a null value.
    #[error("the value is empty (0 bytes), not even a schema id; a tombstone would be null")]
    Empty,
    /// Cut off inside the schema id.
    #[error("the value has {bytes} bytes; the magic byte and the schema id alone take 5")]
    TooShort {
        /// Bytes of the value.
        bytes: usize,
    },
    /// Another first byte than 0.
    #[error("the value starts with byte 0x{byte:02x} instead of 0x00 and a schema id{hint}")]
    Magic {
        /// The first byte.
        byte: u8,
        /// What it looks like, as a clause to append; may be empty.
        hint: &'static str,
    },
}

impl WireError {
    /// Short constant word for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooShort { .. } => "too_short",
            Self::Magic { .. } => "bad_magic",
        }
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self::poison(Stage::Wire, error.kind(), error.to_string())
    }
}

/// Splits the Confluent format: byte 0, schema id (4 bytes, big endian), datum.
///
/// # Errors
/// [`WireError`] when the value does not start so. The datum may be empty.
pub fn split_confluent(value: &[u8]) -> Result<(SchemaId, &[u8]), WireError> {
    match *value {
        [] => Err(WireError::Empty),
        [0, a, b, c, d, ref datum @ ..] => Ok((SchemaId(u32::from_be_bytes([a, b, c, d])), datum)),
        [0, ..] => Err(WireError::TooShort { bytes: value.len() }),
        [byte, ..] => Err(WireError::Magic { byte, hint: looks_like(value) }),
    }
}

fn looks_like(value: &[u8]) -> &'static str {
    match value {
        [b'{' | b'[' | b'"', ..] => "; it looks like JSON",
        [0xC3, 0x01, ..] => "; it looks like the single-object encoding of Avro (C3 01)",
        [b'O', b'b', b'j', 1, ..] => "; it looks like an Avro container file",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_split_into_id_and_datum() {
        assert_eq!(split_confluent(&[0, 0, 1, 0, 2, 7, 8]), Ok((SchemaId::new(65_538), &[7, 8][..])));
        assert_eq!(split_confluent(&[0, 255, 255, 255, 255]), Ok((SchemaId::new(u32::MAX), &[][..])));
    }

    #[test]
    fn fault_44_empty_and_short_values_are_poison() {
        assert_eq!(split_confluent(&[]), Err(WireError::Empty));
        for bytes in 1..5 {
            assert_eq!(split_confluent(&[0; 5][..bytes]), Err(WireError::TooShort { bytes }));
        }
        let failure = Failure::from(WireError::Empty);
        assert!(matches!(failure, Failure::Poison { stage: Stage::Wire, kind: "empty", .. }));
    }

    #[test]
    fn fault_45_another_magic_byte_is_named() {
        let reason = |value: &[u8]| split_confluent(value).unwrap_err().to_string();
        assert!(reason(br#"{"a":1}"#).contains("0x7b") && reason(br#"{"a":1}"#).contains("JSON"));
        assert!(reason(&[0xC3, 0x01, 0, 0, 0, 0]).contains("single-object"));
        assert!(reason(b"Obj\x01....").contains("container"));
        assert!(reason(&[9]).contains("0x09"));
    }
}
