//! Owns the formats that put a few fixed bytes before the datum: Confluent's, Apicurio's, Avro's single-object encoding.

use super::WireError;
use crate::schema_id::SchemaId;

const CONFLUENT_MAGIC: u8 = 0;
/// Avro 1.12, "Single-object encoding".
const SINGLE_OBJECT_MARKER: [u8; 2] = [0xC3, 0x01];

/// Byte 0, schema id (4 bytes, big endian), datum. Apicurio's 4-byte ids look the same.
pub(super) fn confluent(bytes: &[u8]) -> Result<(SchemaId, &[u8]), WireError> {
    match *bytes {
        [CONFLUENT_MAGIC, a, b, c, d, ref datum @ ..] => {
            Ok((SchemaId::from(u32::from_be_bytes([a, b, c, d])), datum))
        }
        _ => Err(refusal(bytes, CONFLUENT_MAGIC, 5)),
    }
}

/// Byte 0, id (8 bytes, big endian, never negative), datum.
pub(super) fn apicurio(bytes: &[u8]) -> Result<(SchemaId, &[u8]), WireError> {
    match bytes.split_first_chunk::<9>() {
        Some(([CONFLUENT_MAGIC, id @ ..], datum)) => Ok((SchemaId::Number(u64::from_be_bytes(*id)), datum)),
        _ => Err(refusal(bytes, CONFLUENT_MAGIC, 9)),
    }
}

/// C3 01, fingerprint (8 bytes, little endian), datum.
pub(super) fn single_object(bytes: &[u8]) -> Result<(SchemaId, &[u8]), WireError> {
    let [first, second] = SINGLE_OBJECT_MARKER;
    match bytes.split_first_chunk::<10>() {
        Some(([a, b, hash @ ..], datum)) if [*a, *b] == SINGLE_OBJECT_MARKER => {
            Ok((SchemaId::Fingerprint(u64::from_le_bytes(*hash)), datum))
        }
        _ => Err(match *bytes {
            [byte, other, ..] if byte == first && other != second => {
                WireError::Marker { byte: other, reason: "the single-object encoding begins with C3 01" }
            }
            _ => refusal(bytes, first, 10),
        }),
    }
}

/// The error for bytes that are not `magic` and `needed` bytes in all.
pub(super) fn refusal(bytes: &[u8], magic: u8, needed: usize) -> WireError {
    match *bytes {
        [] => WireError::Empty,
        [byte, ..] if byte == magic => WireError::TooShort { bytes: bytes.len(), needed },
        [byte, ..] => WireError::Magic { byte, expected: magic, hint: looks_like(bytes) },
    }
}

fn looks_like(bytes: &[u8]) -> &'static str {
    match bytes {
        [b'{' | b'[' | b'"', ..] => "; it looks like JSON",
        [0xC3, 0x01, ..] => "; it looks like the single-object encoding of Avro (C3 01), see value.wire",
        [b'O', b'b', b'j', 1, ..] => "; it looks like an Avro container file",
        [3, 0 | 5, ..] if bytes.len() >= 18 => "; it may be AWS Glue's format, see value.wire",
        [0, ..] if bytes.len() >= 5 => "; it may be Confluent's or Apicurio's format, see value.wire",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Failure, Stage};

    #[test]
    fn a_value_is_split_into_id_and_datum() {
        assert_eq!(confluent(&[0, 0, 1, 0, 2, 7, 8]), Ok((SchemaId::Number(65_538), &[7, 8][..])));
        assert_eq!(confluent(&[0, 255, 255, 255, 255]), Ok((SchemaId::Number(u32::MAX.into()), &[][..])));
        assert_eq!(
            apicurio(&[0, 0, 0, 0, 1, 0, 0, 0, 2, 7]),
            Ok((SchemaId::Number((1 << 32) + 2), &[7][..]))
        );
        let framed = [0xC3, 1, 0x63, 0xDD, 0x24, 0xE7, 0xCC, 0x25, 0x8F, 0x8A, 9];
        assert_eq!(single_object(&framed), Ok((SchemaId::Fingerprint(0x8A8F_25CC_E724_DD63), &[9][..])));
    }

    #[test]
    fn fault_44_empty_and_short_values_are_poison() {
        type Split = fn(&[u8]) -> Result<(SchemaId, &[u8]), WireError>;
        for (split, needed, start) in
            [(confluent as Split, 5, [0, 0]), (apicurio, 9, [0, 0]), (single_object, 10, [0xC3, 1])]
        {
            assert_eq!(split(&[]), Err(WireError::Empty));
            let mut whole = start.to_vec();
            whole.resize(needed, 0);
            for bytes in 1..needed {
                assert_eq!(split(&whole[..bytes]), Err(WireError::TooShort { bytes, needed }));
            }
            assert!(split(&whole).is_ok());
        }
        let failure = Failure::from(WireError::Empty);
        assert!(matches!(failure, Failure::Poison { stage: Stage::Wire, kind: "empty", .. }));
    }

    #[test]
    fn fault_45_another_magic_byte_is_named() {
        let reason = |value: &[u8]| confluent(value).unwrap_err().to_string();
        assert!(reason(br#"{"a":1}"#).contains("0x7b") && reason(br#"{"a":1}"#).contains("JSON"));
        assert!(reason(&[0xC3, 0x01, 0, 0, 0, 0]).contains("single-object"));
        assert!(reason(b"Obj\x01....").contains("container"));
        assert!(reason(&[9]).contains("0x09"));
        assert!(reason(&[[3, 5].as_slice(), &[0; 16]].concat()).contains("Glue"));
        assert!(single_object(&[0, 0, 0, 0, 7]).unwrap_err().to_string().contains("0x00 instead of 0xc3"));
        for bytes in 2..20 {
            let mut value = vec![0; bytes];
            value[..2].copy_from_slice(&[0xC3, 2]);
            assert!(single_object(&value).unwrap_err().to_string().contains("0x02"), "{bytes}");
        }
        let error = apicurio(&[7; 12]).unwrap_err();
        assert!(matches!(error, WireError::Magic { byte: 7, expected: 0, .. }), "{error}");
    }
}
