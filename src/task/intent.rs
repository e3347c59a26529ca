//! Owns the metadata string of a committed offset: the durable statement "the next flush is exactly `[start, end)`".
//! Does not own when it is committed.

use serde::{Deserialize, Serialize};

use crate::position::{Offset, SchemaId};

const VERSION: u64 = 1;

/// What a flush needs to be made again, besides its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// First offset after the flush.
    pub end: Offset,
    /// Reader schema in force when the flush began; `None` when none was.
    pub schema: Option<SchemaId>,
    /// Hash of every setting that maps records to files.
    pub plan: PlanHash,
    /// Wall clock when the flush began, milliseconds since the epoch: what `time: wallclock` partitions use.
    pub wall_ms: i64,
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
    plan: String,
    #[serde(default)]
    wall: i64,
}

impl Intent {
    /// The metadata string, well under the broker's limit of 4 KiB.
    #[must_use]
    pub fn to_metadata(&self) -> String {
        let wire = Wire {
            v: VERSION,
            end: self.end.as_i64(),
            schema: self.schema.map(WireId::of),
            plan: format!("{:016x}", self.plan.0),
            wall: self.wall_ms,
        };
        serde_json::to_string(&wire).unwrap_or_default()
    }

    /// Reads a committed offset's metadata. Empty metadata and that of other programs is no intent.
    ///
    /// # Errors
    /// When it is an intent that cannot be followed.
    pub fn from_metadata(metadata: &str) -> Result<Option<Self>, IntentError> {
        let Ok(serde_json::Value::Object(object)) = serde_json::from_str(metadata) else { return Ok(None) };
        match object.get("v").and_then(serde_json::Value::as_u64) {
            None => return Ok(None),
            Some(VERSION) => {}
            Some(version) => return Err(IntentError::Newer(version)),
        }
        let damaged = |reason: &str| IntentError::Damaged(reason.to_owned());
        let wire: Wire =
            serde_json::from_value(object.into()).map_err(|error| damaged(&error.to_string()))?;
        Ok(Some(Self {
            end: Offset::new(wire.end).ok_or_else(|| damaged("negative end"))?,
            schema: wire.schema.map(WireId::read).transpose().map_err(damaged)?,
            plan: PlanHash(u64::from_str_radix(&wire.plan, 16).map_err(|_| damaged("plan is no hash"))?),
            wall_ms: wire.wall,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_survives_the_metadata_string() {
        let intent = Intent {
            end: Offset::new(i64::MAX - 1).unwrap(),
            schema: Some(SchemaId::Number(u64::MAX)),
            plan: PlanHash(0xfeed_0000_0000_0001),
            wall_ms: -1,
        };
        let metadata = intent.to_metadata();
        assert!(metadata.len() < 200, "{metadata}");
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
        assert_eq!(Intent::from_metadata("{\"v\":2,\"end\":5}"), Err(IntentError::Newer(2)));
        assert!(matches!(
            Intent::from_metadata("{\"v\":1,\"end\":-5,\"plan\":\"0\"}"),
            Err(IntentError::Damaged(_))
        ));
        assert!(matches!(Intent::from_metadata("{\"v\":1,\"end\":5}"), Err(IntentError::Damaged(_))));
    }
}
