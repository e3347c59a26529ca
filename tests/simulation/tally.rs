//! Owns the count of what the runs met, and how much of it there must be for a run to mean anything.

use std::collections::BTreeMap;
use std::fmt;

use sluice::task::rotation::RotationReason;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

/// What a thousand seeds meet at the least.
const LEAST_PER_THOUSAND: &[(&str, u64)] = &[];

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
