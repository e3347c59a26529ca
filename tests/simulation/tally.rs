//! Owns the count of what the runs met, and how much of it there must be for a run to mean anything.

use std::collections::BTreeMap;
use std::fmt;

use sluice::task::rotation::RotationReason;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

/// What a thousand seeds meet at the least: about a third of what they do meet.
const LEAST_PER_THOUSAND: &[(&str, u64)] = &[
    ("changes of plan", 100),
    ("changes of rotation", 200),
    ("clock set back", 700),
    ("clock set forward", 1000),
    ("commits held back by the guard", 20),
    ("commits lost", 100),
    ("commits made, answer lost", 100),
    ("commits refused", 200),
    ("conflicts", 30),
    ("crashes", 1500),
    ("dead letters that came again", 1500),
    ("drain deadlines passed", 20),
    ("files adopted", 1500),
    ("files published by a zombie", 300),
    ("flushes abandoned", 80),
    ("flushes emptied by compaction", 1),
    ("intents found", 700),
    ("intents replayed", 300),
    ("lanes begun again", 600),
    ("members cut off", 300),
    ("members put out", 1500),
    ("offsets forgotten", 60),
    ("outages", 400),
    ("partitions lost", 300),
    ("publications half done", 200),
    ("rebalances", 1500),
    ("records compacted", 10000),
    ("records expired", 3000),
    ("records skipped", 5000),
    ("records without a directory", 500),
    ("registry failures", 500),
    ("rotations: bytes", 400),
    ("rotations: every", 300),
    ("rotations: idle", 300),
    ("rotations: memory", 200),
    ("rotations: open files", 2000),
    ("rotations: replay", 400),
    ("rotations: revoke", 150),
    ("rotations: rows", 2000),
    ("rotations: shutdown", 40),
    ("seals tried again", 150),
    ("shutdowns finished", 400),
    ("slow store requests", 400),
    ("spoiled flushes", 150),
    ("stalls", 600),
    ("starts after the last file", 100),
    ("starts at a note", 10),
    ("starts within a flush half published", 8),
    ("steps over the budget", 1000),
    ("stops before a loss", 30),
    ("stops before poison", 100),
    ("stops before another plan", 60),
    ("tails without a record", 3000),
];

impl Tally {
    pub(crate) fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub(crate) fn add(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    pub(crate) fn join(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            self.add(what, *times);
        }
    }

    /// What was met too rarely in `seeds` runs.
    pub(crate) fn too_rare(&self, seeds: u64) -> Vec<String> {
        LEAST_PER_THOUSAND
            .iter()
            .filter_map(|(what, least)| {
                let (times, least) = (self.0.get(what).copied().unwrap_or(0), least * seeds / 1000);
                (times < least).then(|| format!("{what}: {times} of at least {least}"))
            })
            .collect()
    }
}

/// The line of a rotation's reason.
pub(crate) fn rotation(reason: RotationReason) -> &'static str {
    match reason {
        RotationReason::Bytes => "rotations: bytes",
        RotationReason::Rows => "rotations: rows",
        RotationReason::Every => "rotations: every",
        RotationReason::Idle => "rotations: idle",
        RotationReason::Memory => "rotations: memory",
        RotationReason::OpenFiles => "rotations: open files",
        RotationReason::Schemas => "rotations: schemas",
        RotationReason::Replay => "rotations: replay",
        RotationReason::Revoke => "rotations: revoke",
        RotationReason::Shutdown => "rotations: shutdown",
        RotationReason::End => "rotations: end",
        RotationReason::Operator => "rotations: operator",
        RotationReason::Failure => "rotations: failure",
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, times) in &self.0 {
            writeln!(f, "{times:>12}  {what}")?;
        }
        Ok(())
    }
}
