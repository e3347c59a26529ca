//! Owns the things that count: counters, counters by label, histograms. Does not own names or text.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A number that only grows. Lock-free.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The sum so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters by a label from a small, fixed vocabulary. Takes a lock: add once a batch, not once a record.
#[derive(Debug)]
pub struct CounterBy<K>(Mutex<BTreeMap<K, u64>>);

impl<K: Ord + Copy> CounterBy<K> {
    /// Adds `amount` to the counter of `key`.
    pub fn add(&self, key: K, amount: u64) {
        *self.lock().entry(key).or_default() += amount;
    }

    /// Every counter that was ever added to, in the order of the keys.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(K, u64)> {
        self.lock().iter().map(|(key, count)| (*key, *count)).collect()
    }

    /// The sum over all keys.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<K, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Default for CounterBy<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Upper bounds of the histograms' buckets, in seconds: from a quick commit to an upload in trouble.
pub(super) const BOUNDS_SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Durations by size. Lock-free.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One a bound, and one for what is longer than all of them.
    buckets: [AtomicU64; BOUNDS_SECONDS.len() + 1],
    sum_nanos: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug)]
pub(super) struct HistogramReading {
    /// By bound: how many were at most so long. One element a bound.
    pub(super) at_most: [u64; BOUNDS_SECONDS.len()],
    pub(super) count: u64,
    pub(super) sum_seconds: f64,
}

impl Histogram {
    /// Notes one duration.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS_SECONDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> HistogramReading {
        let mut count = 0;
        let mut at_most = [0; BOUNDS_SECONDS.len()];
        for (index, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            if let Some(sum) = at_most.get_mut(index) {
                *sum = count;
            }
        }
        HistogramReading { at_most, count, sum_seconds: self.sum_nanos.load(Ordering::Relaxed) as f64 / 1e9 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::default();
        for millis in [1, 2, 1_000, 120_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let reading = histogram.read();
        assert_eq!(reading.at_most, [1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]);
        assert_eq!(reading.count, 4);
        assert!((reading.sum_seconds - 121.003).abs() < 1e-9);
    }
}
