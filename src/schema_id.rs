//! Owns the names under which records and registries know a schema. Does not own where they stand in a record
//! ([`crate::decode::wire`]) nor who knows the schema ([`crate::registry`]).

use std::fmt;
use std::str::FromStr;

/// What names a schema: the identity on the wire itself, so it means the same after a restart and in another process.
/// Cheap to copy and to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchemaId {
    /// Number that the registry of the connector gave it; whether Apicurio's global or content id is a matter of
    /// settings.
    Number(u64),
    /// Apicurio's global id, said to be one by a record header.
    GlobalId(u64),
    /// Apicurio's content id, said to be one by a record header.
    ContentId(u64),
    /// CRC-64-AVRO of its parsing canonical form (Avro 1.12, "Schema Fingerprints").
    Fingerprint(u64),
    /// 16 bytes, as a UUID is written: a schema version in AWS Glue, a schema's GUID in Confluent's registry.
    Uuid([u8; 16]),
    /// The schema of `value.schema_file`: records do not name it.
    ValueFile,
    /// The schema of `schema.reader_schema_file`: records do not name it.
    ReaderFile,
}

impl SchemaId {
    /// Whether it comes from a file named in the settings, so that no record and no registry knows it.
    #[must_use]
    pub fn is_file(self) -> bool {
        matches!(self, Self::ValueFile | Self::ReaderFile)
    }
}

impl From<u32> for SchemaId {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// Plain digits for a number; a word and a colon before everything else. [`FromStr`] reads it back.
impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::GlobalId(number) => write!(f, "globalId:{number}"),
            Self::ContentId(number) => write!(f, "contentId:{number}"),
            Self::Fingerprint(hash) => write!(f, "crc64:{hash:016x}"),
            Self::Uuid(bytes) => write!(f, "uuid:{}", hyphenated(bytes)),
            Self::ValueFile => f.write_str("file:value"),
            Self::ReaderFile => f.write_str("file:reader"),
        }
    }
}

/// A text that [`SchemaId`] does not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this names no schema")]
pub struct NotASchemaId;

impl FromStr for SchemaId {
    type Err = NotASchemaId;

    fn from_str(text: &str) -> Result<Self, NotASchemaId> {
        let number = |digits: &str| digits.parse().map_err(|_| NotASchemaId);
        match text.split_once(':') {
            None => number(text).map(Self::Number),
            Some(("globalId", digits)) => number(digits).map(Self::GlobalId),
            Some(("contentId", digits)) => number(digits).map(Self::ContentId),
            Some(("crc64", hex)) if hex.len() == 16 => {
                u64::from_str_radix(hex, 16).map(Self::Fingerprint).map_err(|_| NotASchemaId)
            }
            Some(("uuid", text)) => uuid_bytes(text).map(Self::Uuid).ok_or(NotASchemaId),
            Some(("file", "value")) => Ok(Self::ValueFile),
            Some(("file", "reader")) => Ok(Self::ReaderFile),
            _ => Err(NotASchemaId),
        }
    }
}

/// A UUID as RFC 9562 writes it: 32 hexadecimal digits in lower case, in five groups.
#[must_use]
pub fn hyphenated(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    text
}

fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 || !digits.is_ascii() {
        return None;
    }
    let mut bytes = [0; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    (hyphenated(&bytes) == text.to_ascii_lowercase()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_read_back_from_its_text() {
        let ids = [
            SchemaId::Number(0),
            SchemaId::Number(u64::MAX),
            SchemaId::GlobalId(7),
            SchemaId::ContentId(7),
            SchemaId::Fingerprint(7),
            SchemaId::Fingerprint(u64::MAX),
            SchemaId::Uuid([0xab; 16]),
            SchemaId::Uuid(*b"0123456789abcdef"),
            SchemaId::ValueFile,
            SchemaId::ReaderFile,
        ];
        let texts: std::collections::BTreeSet<String> = ids.iter().map(SchemaId::to_string).collect();
        assert_eq!(texts.len(), ids.len());
        for id in ids {
            assert_eq!(id.to_string().parse(), Ok(id));
            assert!(id.to_string().len() <= 41, "an intent holds several of them");
        }
        assert_eq!(SchemaId::from(7).to_string(), "7");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "x",
            "-1",
            "crc64:1",
            "uuid:0",
            "globalId:",
            "file:x",
            "uuid:zz345678-1234-1234-1234-123456789012",
        ] {
            assert_eq!(text.parse::<SchemaId>(), Err(NotASchemaId), "{text}");
        }
    }
}
