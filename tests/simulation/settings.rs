//! Owns the settings of a run, as chance has them, and those that a later configuration may have instead.

use std::num::NonZeroU64;
use std::time::Duration;

use sluice::config::settings::{ByteSize, OnPoison, OnTombstone, PartitionRule, StartPosition};
use sluice::task::settings::TaskSettings;

use crate::rng::Rng;

/// The costly ones are rare.
const PARTITION_RULES: [&str; 8] = [
    "[]",
    "[]",
    "[{ field: k }]",
    "[{ field: k }]",
    "[{ field: k }, { time: record, path: 'dt=%Y-%m-%d/hour=%H', timezone: UTC }]",
    "[{ time: wallclock, path: 'at=%Y-%m-%dT%H%M', timezone: UTC }]",
    "[{ time: wallclock, path: 'at=%Y-%m-%dT%H%M', timezone: UTC }]",
    "[{ field: id }, { time: wallclock, path: 'at=%H', timezone: UTC }]",
];

/// Any rotation, any partitioner, any evolution, any policy.
pub(crate) fn any(rng: &mut Rng) -> TaskSettings {
    let evolution = ["lossless", "per_version"][rng.below(2)];
    let mut task = load(evolution, rng.below(PARTITION_RULES.len()));
    task.errors.on_poison = match rng.below(20) {
        0..9 => OnPoison::Skip,
        9..18 => OnPoison::DeadLetter,
        _ => OnPoison::Fail,
    };
    task.errors.on_tombstone = match rng.below(20) {
        0..6 => OnTombstone::Skip,
        6..13 => OnTombstone::DeadLetter,
        13..19 => OnTombstone::Row,
        _ => OnTombstone::Fail,
    };
    tune(&mut task, rng);
    if rng.chance(25) {
        task.start = StartPosition::Latest;
    }
    task
}

/// The same files of the same records, cut elsewhere.
pub(crate) fn tuned(settings: &TaskSettings, rng: &mut Rng) -> TaskSettings {
    let mut task = settings.clone();
    tune(&mut task, rng);
    task
}

/// Other files of the same records, of which the same are poison.
pub(crate) fn replanned(settings: &TaskSettings, rng: &mut Rng) -> TaskSettings {
    let evolution = ["lossless", "per_version"][rng.below(2)];
    let mut task = load(evolution, rng.below(PARTITION_RULES.len()));
    while refuses_long_texts(&task) != refuses_long_texts(settings) {
        task = load(evolution, rng.below(PARTITION_RULES.len()));
    }
    task.errors = settings.errors.clone();
    task.start = settings.start;
    tune(&mut task, rng);
    task
}

/// Whether a text longer than a directory's name makes a record poison.
pub(crate) fn refuses_long_texts(settings: &TaskSettings) -> bool {
    let by_text = |rule: &PartitionRule| rule.field_path().is_some_and(|path| path == ["k"]);
    settings.partition_by.iter().any(by_text)
}

fn load(evolution: &str, rule: usize) -> TaskSettings {
    let partition_by = PARTITION_RULES[rule];
    let text = format!(
        "version: 1
connectors:
  - name: sim
    kafka: {{ topics: [t, u], properties: {{ bootstrap.servers: 'nowhere:1' }} }}
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
    TaskSettings::of(&settings.connectors[0], None, None)
}

fn tune(task: &mut TaskSettings, rng: &mut Rng) {
    task.rotate.bytes = rng.chance(20).then(|| ByteSize(1_000 + rng.below(20_000) as u64));
    task.rotate.rows = NonZeroU64::new(1 + rng.below(120) as u64).filter(|_| rng.chance(85));
    task.rotate.every = rng.chance(70).then(|| Duration::from_millis(200 + rng.below(5_000) as u64));
    task.rotate.idle = rng.chance(50).then(|| Duration::from_millis(100 + rng.below(2_000) as u64));
    task.held_bytes = 1 + rng.below(20_000);
    task.held_together_bytes = 1 + rng.below(60_000);
    task.open_files = 1 + rng.below(12);
    task.letters_bytes = 1 + rng.below(12_000);
}
