//! Owns the last hour of every connector: rates and lags, sampled now and then, in memory. Does not own how it is drawn.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::admin::snapshot::DaemonSnapshot;
use crate::metrics::{ConnectorTotals, Metrics};

/// Between two samples.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// An hour of them.
const SAMPLES: usize = 360;

/// The samples of every connector. Clones share them.
#[derive(Clone, Default)]
pub struct History {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    last: Option<Instant>,
    connectors: BTreeMap<String, Track>,
}

#[derive(Default)]
struct Track {
    totals: Option<ConnectorTotals>,
    samples: VecDeque<Sample>,
}

/// One connector between one sample and the next.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Records consumed a second.
    pub records_per_second: f64,
    /// Bytes of published files a second.
    pub file_bytes_per_second: f64,
    /// Records not yet committed, over all partitions.
    pub lag_records: f64,
    /// The largest lag of a partition, in seconds.
    pub lag_seconds: f64,
}

impl History {
    /// Takes a sample if the last one is [`SAMPLE_EVERY`] ago.
    pub fn sample_when_due(&self, now: Instant, look: impl FnOnce() -> (DaemonSnapshot, Metrics)) {
        let mut shared = self.lock();
        let since = shared.last.map(|last| now.duration_since(last));
        if since.is_some_and(|since| since < SAMPLE_EVERY) {
            return;
        }
        shared.last = Some(now);
        let (daemon, metrics) = look();
        for connector in &daemon.connectors {
            let totals = metrics.totals(&connector.name);
            let track = shared.connectors.entry(connector.name.clone()).or_default();
            let before = track.totals.replace(totals);
            // What came before the first look is no rate.
            let (Some(before), Some(since)) = (before, since) else { continue };
            let seconds = since.as_secs_f64();
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            let lags = connector.partitions.iter().filter_map(|partition| partition.lag_seconds);
            track.samples.push_back(Sample {
                records_per_second: rate(totals.records, before.records),
                file_bytes_per_second: rate(totals.file_bytes, before.file_bytes),
                lag_records: connector.partitions.iter().filter_map(|p| p.lag_records).sum::<u64>() as f64,
                lag_seconds: lags.fold(0.0, f64::max),
            });
            if track.samples.len() > SAMPLES {
                track.samples.pop_front();
            }
        }
    }

    /// The samples of a connector, the oldest first.
    #[must_use]
    pub fn of(&self, connector: &str) -> Vec<Sample> {
        let shared = self.lock();
        shared
            .connectors
            .get(connector)
            .map(|track| track.samples.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Forgets a connector that is no longer configured.
    pub fn forget(&self, connector: &str) {
        self.lock().connectors.remove(connector);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::snapshot::sample;

    #[test]
    fn an_hour_of_rates_is_kept() {
        let (history, metrics) = (History::default(), Metrics::new());
        let began = Instant::now();
        for turn in 0..(SAMPLES as u32 + 10) {
            metrics.connector("orders").records.add(50);
            let now = began + SAMPLE_EVERY * turn;
            history.sample_when_due(now, || (sample("orders"), metrics.clone()));
            history.sample_when_due(now + SAMPLE_EVERY / 2, || unreachable!("it is not due"));
        }
        let samples = history.of("orders");
        assert_eq!(samples.len(), SAMPLES);
        let expected =
            Sample { records_per_second: 5.0, lag_records: 30.0, lag_seconds: 2.5, ..Sample::default() };
        assert_eq!(samples[0], expected);
        history.forget("orders");
        assert!(history.of("orders").is_empty());
    }
}
