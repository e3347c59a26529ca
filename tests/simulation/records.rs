//! Owns what the simulated topics hold: a few versions of a record, poison, tombstones, and what must become of each.

use sluice::config::settings::{OnPoison, OnTombstone};
use sluice::error::{Failure, Stage};
use sluice::position::SchemaId;
use sluice::task::message::SchemaText;
use sluice::task::settings::TaskSettings;

use crate::promise::Fate;
use crate::rng::Rng;
use crate::settings::refuses_long_texts;

const VERSIONS: [&str; 4] = [
    r#"{"type":"record","name":"R","fields":[{"name":"id","type":"long"},{"name":"k","type":"string"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"id","type":"long"},{"name":"k","type":"string"},{"name":"n","type":["null","string"],"default":null}]}"#,
    // Absorbs both above.
    r#"{"type":"record","name":"R","fields":[{"name":"id","type":"long"},{"name":"k","type":"string"},{"name":"n","type":["null","string"],"default":null},{"name":"m","type":"int","default":7}]}"#,
    // Incompatible with all others.
    r#"{"type":"record","name":"R","fields":[{"name":"id","type":"string"}]}"#,
];

/// No directory's name.
const LONG_TEXT: &str = match str::from_utf8(&[b'x'; 260]) {
    Ok(text) => text,
    Err(_) => "",
};

/// What the registry says.
pub(crate) fn schema(id: SchemaId) -> Result<SchemaText, Failure> {
    let SchemaId::Number(number) = id else { panic!("{id} is no number") };
    match VERSIONS.get(number as usize) {
        Some(json) => Ok(SchemaText { json: (*json).to_owned(), references: Vec::new() }),
        None => Err(Failure::poison(Stage::Schema, "unknown_schema", "no such schema")),
    }
}

/// A value, and what must become of its record.
pub(crate) fn value(rng: &mut Rng, id: i64, settings: &TaskSettings) -> (Option<Vec<u8>>, Fate) {
    let refused = match settings.errors.on_poison {
        OnPoison::DeadLetter => Fate::Letter,
        OnPoison::Skip => Fate::Skip,
        OnPoison::Fail => Fate::Stop,
    };
    if rng.chance(4) {
        let fate = match settings.errors.on_tombstone {
            OnTombstone::Row => Fate::Row,
            OnTombstone::DeadLetter => Fate::Letter,
            OnTombstone::Skip => Fate::Skip,
            OnTombstone::Fail => Fate::Stop,
        };
        return (None, fate);
    }
    match rng.below(100) {
        0..3 => return (Some(b"poison".to_vec()), refused),
        3..5 => return (Some(vec![0, 0, 0, 0, 99, 1]), refused),
        _ => {}
    }
    let version = match rng.below(20) {
        0..8 => 0_u32,
        8..14 => 1,
        14..19 => 2,
        _ => 3,
    };
    let mut value = vec![0];
    value.extend_from_slice(&version.to_be_bytes());
    if version == 3 {
        put_string(&mut value, &id.to_string());
        return (Some(value), Fate::Row);
    }
    put_long(&mut value, id);
    let too_long = rng.chance(3);
    let text = if too_long { LONG_TEXT } else { ["a", "b", "c", "../d", ""][rng.below(5)] };
    put_string(&mut value, text);
    if version >= 1 {
        if rng.chance(50) {
            put_long(&mut value, 0);
        } else {
            put_long(&mut value, 1);
            put_string(&mut value, "note");
        }
    }
    if version >= 2 {
        put_long(&mut value, 9);
    }
    if rng.chance(3) {
        value.pop();
        return (Some(value), refused);
    }
    let has_no_directory = too_long && refuses_long_texts(settings);
    (Some(value), if has_no_directory { refused } else { Fate::Row })
}

fn put_long(bytes: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

fn put_string(bytes: &mut Vec<u8>, text: &str) {
    put_long(bytes, text.len() as i64);
    bytes.extend_from_slice(text.as_bytes());
}
