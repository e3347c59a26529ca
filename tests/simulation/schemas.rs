//! Owns what the simulated topics hold: a few versions of a record, poison, tombstones; and the settings of a run.

use std::num::NonZeroU64;
use std::time::Duration;

use sluice::config::settings::{OnPoison, OnTombstone};
use sluice::error::{Failure, Stage};
use sluice::position::SchemaId;
use sluice::task::message::SchemaText;
use sluice::task::settings::TaskSettings;

use crate::rng::Rng;

const VERSIONS: [&str; 4] = [
    r#"{"type":"record","name":"R","fields":[{"name":"id","type":"long"},{"name":"k","type":"string"}]}"#,
    r#"{"type":"record","name":"R","fields":[{"name":"id","type":"long"},{"name":"k","type":"string"},{"name":"n","type":["null","string"],"default":null}]}"#,
    // Absorbs both above.
    r#"{"type":"record","name":"R","fields":[{"name":"id","type":"long"},{"name":"k","type":"string"},{"name":"n","type":["null","string"],"default":null},{"name":"m","type":"int","default":7}]}"#,
    // Incompatible with all others.
    r#"{"type":"record","name":"R","fields":[{"name":"id","type":"string"}]}"#,
];

pub(crate) fn text(id: SchemaId) -> Result<SchemaText, Failure> {
    let SchemaId::Number(number) = id else { panic!("{id} is no number") };
    match VERSIONS.get(number as usize) {
        Some(json) => Ok(SchemaText { json: (*json).to_owned(), references: Vec::new() }),
        None => Err(Failure::poison(Stage::Schema, "unknown_schema", "no such schema")),
    }
}

/// A value, and whether no file may hold it.
pub(crate) fn value(rng: &mut Rng, id: i64) -> (Option<Vec<u8>>, bool) {
    if rng.chance(4) {
        return (None, true);
    }
    if rng.chance(4) {
        return (Some(b"poison".to_vec()), true);
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
        return (Some(value), false);
    }
    put_long(&mut value, id);
    put_string(&mut value, ["a", "b", "c", "../d", ""][rng.below(5)]);
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
        return (Some(value), true);
    }
    (Some(value), false)
}

/// Settings as chance has it: any rotation, any partitioner, any evolution.
pub(crate) fn settings(rng: &mut Rng) -> TaskSettings {
    let evolution = ["lossless", "per_version"][rng.below(2)];
    let partition_by = match rng.below(4) {
        0 => "[]",
        1 => "[{ field: k }]",
        2 => "[{ field: k }, { time: record, path: 'dt=%Y-%m-%d/hour=%H', timezone: UTC }]",
        _ => "[{ time: wallclock, path: 'at=%Y-%m-%dT%H%M', timezone: UTC }]",
    };
    let text = format!(
        "version: 1
connectors:
  - name: sim
    kafka: {{ topics: [t], properties: {{ bootstrap.servers: 'nowhere:1' }} }}
    value: {{ format: avro }}
    registry: {{ url: 'http://nowhere:1' }}
    schema: {{ evolution: {evolution} }}
    partition_by: {partition_by}
    errors: {{ on_poison: skip }}
    storage: {{ url: 'file:///nowhere' }}
"
    );
    let settings =
        sluice::config::load_str(&text, &|_| None).expect("the simulation's configuration is valid");
    let mut task = TaskSettings::of(&settings.connectors[0], None, None);
    task.errors.on_poison = OnPoison::Skip;
    task.errors.on_tombstone = OnTombstone::Skip;
    task.rotate.bytes = None;
    task.rotate.rows = NonZeroU64::new(1 + rng.below(120) as u64);
    task.rotate.every = rng.chance(70).then(|| Duration::from_millis(200 + rng.below(5_000) as u64));
    task.rotate.idle = rng.chance(50).then(|| Duration::from_millis(100 + rng.below(2_000) as u64));
    task.held_bytes = 1 + rng.below(4_000);
    task.open_files = 1 + rng.below(12);
    task
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
