//! Owns what one connector counts. Does not own names, nor what can be read off its state at any moment (lag, open
//! flushes, pauses): that is [`crate::admin::snapshot`].

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::instruments::{Bytes, Counter, CounterBy, Histogram, Seconds};
use crate::error::{Failure, Stage};
use crate::registry::{Registry, RegistryCounts};
use crate::storage::{RequestCount, Store};

/// Counters of one connector; they outlive its restarts. Add to them once a batch.
#[derive(Default)]
pub struct ConnectorMetrics {
    /// Records consumed.
    pub records: Counter,
    /// Bytes of their keys and values.
    pub record_bytes: Counter,
    /// Rows in published files; those of a replay whose files were all there already are not counted again.
    pub rows: Counter,
    /// Files published.
    pub files: Counter,
    /// Bytes of published files.
    pub file_bytes: Counter,
    /// Flushes ended, by the rule that ended them: a short constant word.
    pub rotations: CounterBy<&'static str>,
    /// Poison records, by stage and by the kind of [`crate::error::Failure::Poison`].
    pub poison: CounterBy<(Stage, &'static str)>,
    /// Records with a null value.
    pub tombstones: Counter,
    /// Records skipped by policy: poison and tombstones.
    pub skipped: Counter,
    /// Records acknowledged by the dead-letter topic.
    pub dead_letters: Counter,
    /// Steps tried again after retriable trouble.
    pub retries: CounterBy<Stage>,
    /// Flushes finished from an intent that an earlier owner left.
    pub intents_replayed: Counter,
    /// Changes of the assignment.
    pub rebalances: Counter,
    /// Failures of every kind, by stage and by [`Failure::kind`]; poison only where it stopped the connector.
    pub errors: CounterBy<(Stage, &'static str)>,
    /// Times everything unsettled of a partition was dropped, to be read again.
    pub drops: Counter,
    /// Files found there already, with the same content.
    pub adopted_files: Counter,
    /// Times the connector was started again after it had failed.
    pub restarts: Counter,
    /// Commits answered, by `ok`, `refused`, `unknown` and `denied`.
    pub commits: CounterBy<&'static str>,
    /// Time until a commit was answered.
    pub commit_time: Histogram<Seconds>,
    /// Time from the end of a flush until its files were visible.
    pub publish_time: Histogram<Seconds>,
    /// Time until the files of a flush were durable: for an object store, most of the upload.
    pub seal_time: Histogram<Seconds>,
    /// Time until sealed files were visible.
    pub publish_step_time: Histogram<Seconds>,
    /// Sizes of published files.
    pub file_sizes: Histogram<Bytes>,
    /// When files last became visible, ms since the epoch; 0: never.
    pub last_published_ms: AtomicU64,
    registry: Mutex<(Option<Registry>, RegistryCounts)>,
    store: Mutex<(Option<Store>, Vec<RequestCount>)>,
}

/// The counters of a connector at one moment, for the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConnectorTotals {
    /// See [`ConnectorMetrics::records`].
    pub records: u64,
    /// See [`ConnectorMetrics::record_bytes`].
    pub record_bytes: u64,
    /// See [`ConnectorMetrics::rows`].
    pub rows: u64,
    /// See [`ConnectorMetrics::files`].
    pub files: u64,
    /// See [`ConnectorMetrics::file_bytes`].
    pub file_bytes: u64,
    /// See [`ConnectorMetrics::rotations`].
    pub rotations: u64,
    /// See [`ConnectorMetrics::poison`].
    pub poison: u64,
    /// See [`ConnectorMetrics::tombstones`].
    pub tombstones: u64,
    /// See [`ConnectorMetrics::skipped`].
    pub skipped: u64,
    /// See [`ConnectorMetrics::dead_letters`].
    pub dead_letters: u64,
    /// See [`ConnectorMetrics::retries`].
    pub retries: u64,
    /// See [`ConnectorMetrics::intents_replayed`].
    pub intents_replayed: u64,
    /// See [`ConnectorMetrics::rebalances`].
    pub rebalances: u64,
    /// See [`ConnectorMetrics::errors`].
    pub errors: u64,
    /// See [`ConnectorMetrics::restarts`].
    pub restarts: u64,
    /// See [`ConnectorMetrics::adopted_files`].
    pub adopted_files: u64,
    /// See [`ConnectorMetrics::drops`].
    pub drops: u64,
}

impl ConnectorMetrics {
    /// Counts on with this registry client, from where the one before has come to.
    pub fn watch_registry(&self, registry: Registry) {
        let mut watched = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = watched.0.replace(registry) {
            watched.1 = watched.1 + before.counts();
        }
    }

    /// Counts on with the requests to this store, from where the one before has come to.
    pub fn watch_store(&self, store: Store) {
        let mut watched = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = watched.0.replace(store) {
            let earlier = std::mem::take(&mut watched.1);
            watched.1 = added(earlier, before.requests());
        }
    }

    /// Counts a failure.
    pub fn note_error(&self, failure: &Failure) {
        self.errors.add((failure.stage(), failure.kind()), 1);
    }

    /// Reads all counters.
    #[must_use]
    pub fn totals(&self) -> ConnectorTotals {
        ConnectorTotals {
            records: self.records.get(),
            record_bytes: self.record_bytes.get(),
            rows: self.rows.get(),
            files: self.files.get(),
            file_bytes: self.file_bytes.get(),
            rotations: self.rotations.total(),
            poison: self.poison.total(),
            tombstones: self.tombstones.get(),
            skipped: self.skipped.get(),
            dead_letters: self.dead_letters.get(),
            retries: self.retries.total(),
            intents_replayed: self.intents_replayed.get(),
            rebalances: self.rebalances.get(),
            errors: self.errors.total(),
            restarts: self.restarts.get(),
            adopted_files: self.adopted_files.get(),
            drops: self.drops.get(),
        }
    }

    pub(super) fn store_requests(&self) -> Vec<RequestCount> {
        let watched = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        added(watched.1.clone(), watched.0.as_ref().map(Store::requests).unwrap_or_default())
    }

    pub(super) fn registry_counts(&self) -> Option<RegistryCounts> {
        let watched = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        watched.0.as_ref().map(|registry| watched.1 + registry.counts())
    }
}

/// Both together, by operation and outcome.
fn added(mut earlier: Vec<RequestCount>, later: Vec<RequestCount>) -> Vec<RequestCount> {
    for one in later {
        let same =
            |other: &&mut RequestCount| (other.operation, other.outcome) == (one.operation, one.outcome);
        match earlier.iter_mut().find(same) {
            Some(other) => other.count += one.count,
            None => earlier.push(one),
        }
    }
    earlier
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_client_counted_stays() {
        let of = |operation, outcome, count| RequestCount { operation, outcome, count };
        let sum = added(
            vec![of("put", "ok", 2), of("put", "busy", 1)],
            vec![of("put", "ok", 3), of("get", "ok", 1)],
        );
        assert_eq!(sum, [of("put", "ok", 5), of("put", "busy", 1), of("get", "ok", 1)]);
        let before = RegistryCounts { requests: 2, hits: 1, ..RegistryCounts::default() };
        let after = RegistryCounts { requests: 1, changed: 1, ..RegistryCounts::default() };
        assert_eq!(
            before + after,
            RegistryCounts { requests: 3, hits: 1, changed: 1, ..RegistryCounts::default() }
        );
    }
}
