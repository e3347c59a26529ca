//! Owns what is said at the end of a daemon: whether it did what it was asked to, and what became of each connector. Does
//! not own ending them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::supervised::Supervised;
use crate::error::Failure;
use crate::metrics::ConnectorTotals;
use crate::position::{Offset, TopicPartition};

/// Offsets that are named of one connector.
const MAX_NAMED: usize = 20;

/// How a daemon ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DaemonEnd {
    /// Every connector drained, or reached its end in a bounded run.
    Done,
    /// Stopped as asked: what ran has drained. These had failed before, or waited to be started again; their offsets are
    /// held.
    DoneWithout(Vec<(String, Failure)>),
    /// A bounded run was stopped before these connectors reached their ends; what they published is committed.
    Interrupted(Vec<String>),
    /// Some connector failed, in a bounded run or while it drained; the names and failures.
    Failed(Vec<(String, Failure)>),
    /// The drain did not end in time; offsets are right, unsettled records will be read again.
    TimedOut,
}

/// What one connector of a bounded run did.
#[derive(Clone, Debug)]
pub struct ConnectorSummary {
    /// Its name.
    pub connector: String,
    /// What became of it: `done`, `stopped` before its end, or `failed`.
    pub outcome: &'static str,
    /// What it counted.
    pub totals: ConnectorTotals,
    /// From its first start to its end.
    pub took: Duration,
}

/// Judges connectors that have all ended, and tells of those that were down when the rest was drained.
pub(super) fn judge(connectors: &[Supervised], bounded: bool) -> DaemonEnd {
    let named = |one: &Supervised| Some((one.name().to_owned(), one.failure()?.clone()));
    let (down, failed): (Vec<&Supervised>, Vec<&Supervised>) = connectors
        .iter()
        .filter(|one| one.has_failed())
        .partition(|one| !bounded && one.was_down_when_drained());
    for one in &down {
        tell_down(one);
    }
    if !failed.is_empty() {
        return DaemonEnd::Failed(failed.into_iter().filter_map(named).collect());
    }
    if !down.is_empty() {
        return DaemonEnd::DoneWithout(down.into_iter().filter_map(named).collect());
    }
    let before_end = connectors.iter().filter(|one| !one.has_reached_end());
    let names: Vec<String> = before_end.map(|one| one.name().to_owned()).collect();
    if bounded && !names.is_empty() { DaemonEnd::Interrupted(names) } else { DaemonEnd::Done }
}

/// What each connector of a bounded run did, in the log too.
pub(super) fn summarize(connectors: &[Supervised]) -> Vec<ConnectorSummary> {
    let summaries: Vec<ConnectorSummary> = connectors.iter().map(Supervised::summary).collect();
    for summary in &summaries {
        let totals = &summary.totals;
        tracing::info!(
            connector = summary.connector,
            outcome = summary.outcome,
            records = totals.records,
            rows = totals.rows,
            files = totals.files,
            bytes = totals.file_bytes,
            dead_letters = totals.dead_letters,
            skipped = totals.skipped,
            took_ms = summary.took.as_millis() as u64,
            "run summary"
        );
    }
    summaries
}

fn tell_down(one: &Supervised) {
    let Some(failure) = one.failure() else { return };
    let offsets = one.status.last_committed();
    tracing::warn!(
        connector = one.name(),
        stage = failure.stage().as_str(),
        kind = failure.kind(),
        offsets = (!offsets.is_empty()).then(|| spell(&offsets)),
        "it was not running when the daemon was stopped, so nothing of it was drained; its offsets are held, and the \
         next start goes on from there: {}",
        failure.reason()
    );
}

/// The first few of `offsets`.
fn spell(offsets: &BTreeMap<TopicPartition, Offset>) -> String {
    let first: Vec<String> =
        offsets.iter().take(MAX_NAMED).map(|(tp, offset)| format!("{tp}:{offset}")).collect();
    match offsets.len() - first.len() {
        0 => first.join(" "),
        more => format!("{} and {more} more", first.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_named_within_bounds() {
        let at = |number| (TopicPartition::new("t", number), Offset::new(7).unwrap());
        assert_eq!(spell(&[at(0), at(1)].into()), "t[0]:7 t[1]:7");
        assert!(spell(&(0..23).map(at).collect()).ends_with("t[19]:7 and 3 more"));
    }
}
