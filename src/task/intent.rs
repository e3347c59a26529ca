//! Owns the metadata string of a committed offset: the durable statement "the next flush is exactly `[start, end)`", and
//! that the offsets before it are in no file's range yet. Does not own when it is committed.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::position::{Offset, OffsetRange, SchemaId};

const VERSION: u64 = 1;
/// Of an intent whose files are named from before the committed offset on: who does not know that would name them otherwise.
const UNFILED_VERSION: u64 = 2;
/// Refused schemas that an intent names at the most: the broker takes 4 KiB of metadata, and an id 44 bytes of it.
pub const REFUSED_SCHEMAS: usize = 48;

/// Readers of unrelated types that an intent names at the most.
pub const OTHER_READERS: usize = 16;

/// Schemas whose prints an intent holds at the most, 6 bytes each.
pub const SCHEMA_PRINTS: usize = 64;

/// What a flush needs to be made again, besides its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// First offset after the flush.
    pub end: Offset,
    /// Hash of every setting that maps records to files.
    pub plan: PlanHash,
    /// Everything else.
    pub basis: Basis,
    /// Offsets in front of the flush that are settled and that no file's range holds, because nothing of them became a row:
    /// the names of its files begin where these do. Not empty; ends at the committed offset.
    pub unfiled: Option<OffsetRange>,
}

/// What decides the files of a flush, besides its records, its range and the settings.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Basis {
    /// Reader schemas in force when the flush began.
    pub readers: Readers,
    /// Wall clock when the flush began, milliseconds since the epoch: what `time: wallclock` partitions use.
    pub wall_ms: i64,
    /// Schemas that were not to be had or of no use, so that records naming them were poison. A registry may say
    /// otherwise later; the flush stays as it is. At most [`REFUSED_SCHEMAS`].
    pub refused: Vec<SchemaId>,
    /// Prints of all schemas that records of it were read by, 24 bits each: a registry may have others under the same ids
    /// later. `None` in intents of versions that kept none, and where there were more than [`SCHEMA_PRINTS`].
    pub prints: Option<Vec<u32>>,
}

/// Reader schemas in force; `None` where no record has had a schema yet, or the settings say which it is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Readers {
    /// Of values.
    pub value: Option<SchemaId>,
    /// Of values of unrelated types in the same topic. At most [`OTHER_READERS`].
    pub others: Vec<SchemaId>,
    /// Of keys, where they are Avro. In an intent also that of the first key of the flush, where rows before it were given
    /// its column.
    pub key: Option<SchemaId>,
}

/// Hash of every setting that maps records to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanHash(pub u64);

/// Why a committed offset's metadata cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntentError {
    /// Written by a later version of this program.
    #[error(
        "the committed offset carries an intent of version {0}, which this version does not know; finish it with the version that wrote it"
    )]
    Newer(u64),
    /// Our form, but damaged.
    #[error(
        "the committed offset carries an unreadable intent ({0}); commit the offset again without metadata to abandon it"
    )]
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
struct Wire {
    v: u64,
    end: i64,
    #[serde(default)]
    schema: Option<WireId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_schema: Option<WireId>,
    plan: String,
    #[serde(default)]
    wall: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<WireId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refused: Vec<WireId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prints: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    no_file_since: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<i64>,
}

/// Metadata of an offset at which nothing is announced.
#[derive(Serialize, Deserialize)]
struct UnfiledWire {
    no_file_since: i64,
}

/// The metadata that says: from `since` to the committed offset everything is settled, and no file's range holds it. Without
/// a version, so that a program that does not know it takes it for none of ours, and begins at the offset.
///
/// # Panics
/// Never: a number has a JSON form.
#[must_use]
pub fn unfiled_metadata(since: Offset) -> String {
    serde_json::to_string(&UnfiledWire { no_file_since: since.as_i64() }).expect("a number has a JSON form")
}

/// The settled offsets in front of `committed` that no file's range holds, as its metadata says; also where it announces a
/// flush. `None` where it says nothing, or what cannot be.
#[must_use]
pub fn unfiled_before(committed: Offset, metadata: &str) -> Option<OffsetRange> {
    let wire: UnfiledWire = serde_json::from_str(metadata).ok()?;
    let since = Offset::new(wire.no_file_since).filter(|since| *since < committed)?;
    Some(OffsetRange::new(since, committed))
}

/// An id as it is on the wire: numbers as such, everything else as text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WireId {
    Number(u64),
    Text(String),
}

impl WireId {
    fn of(id: SchemaId) -> Self {
        match id {
            SchemaId::Number(number) => Self::Number(number),
            other => Self::Text(other.to_string()),
        }
    }

    fn read(self) -> Result<SchemaId, IntentError> {
        match self {
            Self::Number(number) => Ok(SchemaId::Number(number)),
            Self::Text(text) => {
                text.parse().map_err(|_| IntentError::Damaged(format!("{text:?} names no schema")))
            }
        }
    }
}

/// Six hexadecimal digits each, without anything between them.
fn print_text(prints: &[u32]) -> String {
    let mut text = String::with_capacity(prints.len() * 6);
    for print in prints {
        let _ = write!(text, "{print:06x}");
    }
    text
}

fn read_prints(text: &str) -> Option<Vec<u32>> {
    let digits =
        text.as_bytes().chunks(6).map(|digits| str::from_utf8(digits).ok().filter(|it| it.len() == 6));
    digits.map(|digits| u32::from_str_radix(digits?, 16).ok()).collect()
}

fn read_all(ids: Vec<WireId>) -> Result<Vec<SchemaId>, IntentError> {
    ids.into_iter().map(WireId::read).collect()
}

impl Intent {
    /// The metadata string, well under the broker's limit of 4 KiB.
    ///
    /// # Panics
    /// Never: nothing of it lacks a JSON form.
    #[must_use]
    pub fn to_metadata(&self) -> String {
        let wire = Wire {
            v: if self.unfiled.is_some() { UNFILED_VERSION } else { VERSION },
            end: self.end.as_i64(),
            schema: self.basis.readers.value.map(WireId::of),
            key_schema: self.basis.readers.key.map(WireId::of),
            plan: format!("{:016x}", self.plan.0),
            wall: self.basis.wall_ms,
            others: self.basis.readers.others.iter().copied().map(WireId::of).collect(),
            refused: self.basis.refused.iter().copied().map(WireId::of).collect(),
            no_file_since: self.unfiled.map(|unfiled| unfiled.start.as_i64()),
            start: self.unfiled.map(|unfiled| unfiled.end.as_i64()),
            prints: self.basis.prints.as_deref().map(print_text),
        };
        // Empty metadata would be a commit that announces nothing.
        serde_json::to_string(&wire).expect("numbers and strings have a JSON form")
    }

    /// Reads a committed offset's metadata. Empty metadata and that of other programs is no intent.
    ///
    /// # Errors
    /// When it is an intent that cannot be followed.
    pub fn from_metadata(metadata: &str) -> Result<Option<Self>, IntentError> {
        let Ok(serde_json::Value::Object(object)) = serde_json::from_str(metadata) else { return Ok(None) };
        match object.get("v").and_then(serde_json::Value::as_u64) {
            None => return Ok(None),
            Some(VERSION | UNFILED_VERSION) => {}
            Some(version) => return Err(IntentError::Newer(version)),
        }
        let damaged = |reason: &str| IntentError::Damaged(reason.to_owned());
        let wire: Wire =
            serde_json::from_value(object.into()).map_err(|error| damaged(&error.to_string()))?;
        let end = Offset::new(wire.end).ok_or_else(|| damaged("negative end"))?;
        let unfiled = match (wire.no_file_since.map(Offset::new), wire.start.map(Offset::new)) {
            (None, None) if wire.v == VERSION => None,
            (Some(Some(since)), Some(Some(start))) if wire.v != VERSION && since < start && start < end => {
                Some(OffsetRange::new(since, start))
            }
            _ => return Err(damaged("it does not say where its files begin")),
        };
        Ok(Some(Self {
            end,
            unfiled,
            plan: PlanHash(u64::from_str_radix(&wire.plan, 16).map_err(|_| damaged("plan is no hash"))?),
            basis: Basis {
                readers: Readers {
                    value: wire.schema.map(WireId::read).transpose()?,
                    others: read_all(wire.others)?,
                    key: wire.key_schema.map(WireId::read).transpose()?,
                },
                wall_ms: wire.wall,
                refused: read_all(wire.refused)?,
                prints: match wire.prints {
                    None => None,
                    Some(text) => Some(read_prints(&text).ok_or_else(|| damaged("prints are no hashes"))?),
                },
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_survives_the_metadata_string() {
        let readers = Readers { value: Some(SchemaId::Number(u64::MAX)), ..Readers::default() };
        let intent = Intent {
            end: Offset::new(i64::MAX - 1).unwrap(),
            plan: PlanHash(0xfeed_0000_0000_0001),
            basis: Basis { readers, wall_ms: -1, refused: Vec::new(), prints: Some(vec![7, 0xff_ffff]) },
            unfiled: None,
        };
        let metadata = intent.to_metadata();
        assert!(metadata.len() < 200 && metadata.contains("\"v\":1,"), "{metadata}");
        assert_eq!(Intent::from_metadata(&metadata), Ok(Some(intent)));
    }

    fn range(start: i64, end: i64) -> OffsetRange {
        OffsetRange::new(Offset::new(start).unwrap(), Offset::new(end).unwrap())
    }

    #[test]
    fn what_no_file_holds_survives_the_metadata_string() {
        let at = |raw| Offset::new(raw).unwrap();
        let intent =
            Intent { end: at(12), plan: PlanHash(1), basis: Basis::default(), unfiled: Some(range(5, 9)) };
        let metadata = intent.to_metadata();
        assert!(metadata.contains("\"v\":2,"), "versions before would name its files otherwise: {metadata}");
        assert_eq!(unfiled_before(at(9), &metadata), Some(range(5, 9)));
        assert_eq!(Intent::from_metadata(&metadata), Ok(Some(intent)));

        let metadata = unfiled_metadata(at(5));
        assert_eq!(unfiled_before(at(9), &metadata), Some(range(5, 9)));
        assert_eq!(Intent::from_metadata(&metadata), Ok(None), "it announces nothing");
        for (committed, metadata) in
            [(5, metadata.as_str()), (4, metadata.as_str()), (9, ""), (9, "{\"no_file_since\":-1}")]
        {
            assert_eq!(unfiled_before(at(committed), metadata), None, "{committed} {metadata}");
        }
    }

    #[test]
    fn an_intent_that_does_not_say_where_its_files_begin_is_damaged() {
        for rest in [
            "",
            ",\"no_file_since\":5",
            ",\"no_file_since\":5,\"start\":5",
            ",\"no_file_since\":5,\"start\":12",
        ] {
            let metadata = format!("{{\"v\":2,\"end\":12,\"plan\":\"0\"{rest}}}");
            assert!(matches!(Intent::from_metadata(&metadata), Err(IntentError::Damaged(_))), "{metadata}");
        }
    }

    #[test]
    fn the_largest_intent_fits_into_what_a_broker_takes() {
        let uuid = SchemaId::Uuid([0xee; 16]);
        let basis = Basis {
            readers: Readers { value: Some(uuid), others: vec![uuid; OTHER_READERS], key: Some(uuid) },
            wall_ms: i64::MIN,
            refused: (0..REFUSED_SCHEMAS as u8).map(|n| SchemaId::Uuid([n; 16])).collect(),
            prints: Some(vec![0xff_ffff; SCHEMA_PRINTS]),
        };
        let intent = Intent {
            end: Offset::new(i64::MAX).unwrap(),
            plan: PlanHash(u64::MAX),
            basis,
            unfiled: Some(range(i64::MAX - 2, i64::MAX - 1)),
        };
        let metadata = intent.to_metadata();
        assert!(metadata.len() < 4_000, "{} bytes", metadata.len());
        assert_eq!(Intent::from_metadata(&metadata), Ok(Some(intent)));
    }

    #[test]
    fn foreign_metadata_is_no_intent() {
        for metadata in ["", "consumer-1", "{}", "[1]", "{\"end\":5}", "null"] {
            assert_eq!(Intent::from_metadata(metadata), Ok(None), "{metadata}");
        }
    }

    #[test]
    fn fault_107_an_intent_of_another_version_is_refused() {
        assert_eq!(Intent::from_metadata("{\"v\":3,\"end\":5}"), Err(IntentError::Newer(3)));
        assert!(matches!(
            Intent::from_metadata("{\"v\":1,\"end\":-5,\"plan\":\"0\"}"),
            Err(IntentError::Damaged(_))
        ));
        assert!(matches!(Intent::from_metadata("{\"v\":1,\"end\":5}"), Err(IntentError::Damaged(_))));
        for prints in ["00000", "00000g", "0000001"] {
            let metadata = format!("{{\"v\":1,\"end\":5,\"plan\":\"0\",\"prints\":\"{prints}\"}}");
            assert!(matches!(Intent::from_metadata(&metadata), Err(IntentError::Damaged(_))), "{prints}");
        }
    }

    #[test]
    fn fault_107_an_intent_without_prints_is_followed() {
        let intent = Intent::from_metadata("{\"v\":1,\"end\":5,\"schema\":3,\"plan\":\"1f\",\"wall\":9}")
            .unwrap()
            .unwrap();
        assert_eq!((intent.plan, intent.basis.prints), (PlanHash(0x1f), None));
    }
}
