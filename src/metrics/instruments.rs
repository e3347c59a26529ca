//! Owns the things that count: counters, counters by label, histograms. Does not own names or text.

use std::collections::BTreeMap;
use std::marker::PhantomData;
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

/// What a histogram measures, and between which bounds it counts.
pub trait Scale {
    /// Upper bounds of the buckets, ascending.
    const BOUNDS: &'static [f64];
}

/// Durations, from a quick commit to an upload in trouble.
#[derive(Debug)]
pub enum Seconds {}

impl Scale for Seconds {
    const BOUNDS: &'static [f64] =
        &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
}

/// Sizes of files: 4 KiB to 4 GiB, by four.
#[derive(Debug)]
pub enum Bytes {}

impl Scale for Bytes {
    const BOUNDS: &'static [f64] = &[
        4096.0,
        16384.0,
        65536.0,
        262_144.0,
        1_048_576.0,
        4_194_304.0,
        16_777_216.0,
        67_108_864.0,
        268_435_456.0,
        1_073_741_824.0,
        4_294_967_296.0,
    ];
}

/// Measurements by size. Lock-free.
#[derive(Debug)]
pub struct Histogram<S: Scale> {
    /// One a bound, and one for what is larger than all of them.
    buckets: Vec<AtomicU64>,
    /// In billionths of the unit for durations, else in units.
    sum: AtomicU64,
    scale: PhantomData<S>,
}

/// A histogram at one moment.
#[derive(Debug)]
pub(super) struct HistogramReading {
    /// Bounds, and how many were at most so large.
    pub(super) at_most: Vec<(f64, u64)>,
    pub(super) count: u64,
    pub(super) sum: f64,
}

impl<S: Scale> Default for Histogram<S> {
    fn default() -> Self {
        let buckets = (0..=S::BOUNDS.len()).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, sum: AtomicU64::new(0), scale: PhantomData }
    }
}

impl Histogram<Seconds> {
    /// Notes one duration.
    pub fn observe_duration(&self, duration: Duration) {
        self.count_in(duration.as_secs_f64());
        self.sum.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> HistogramReading {
        self.reading(1e9)
    }
}

impl Histogram<Bytes> {
    /// Notes one size.
    pub fn observe_bytes(&self, bytes: u64) {
        self.count_in(bytes as f64);
        self.sum.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> HistogramReading {
        self.reading(1.0)
    }
}

impl<S: Scale> Histogram<S> {
    /// How many were noted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    fn count_in(&self, value: f64) {
        let bucket = S::BOUNDS.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }

    fn reading(&self, units: f64) -> HistogramReading {
        let mut count = 0;
        let mut sums = Vec::with_capacity(self.buckets.len());
        for bucket in &self.buckets {
            count += bucket.load(Ordering::Relaxed);
            sums.push(count);
        }
        let at_most = S::BOUNDS.iter().copied().zip(sums).collect();
        HistogramReading { at_most, count, sum: self.sum.load(Ordering::Relaxed) as f64 / units }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_counted_in_bytes() {
        let histogram = Histogram::<Bytes>::default();
        histogram.observe_bytes(4096);
        histogram.observe_bytes(u64::from(u32::MAX) * 2);
        let reading = histogram.read();
        assert_eq!(reading.at_most[0], (4096.0, 1));
        assert_eq!((reading.at_most[10].1, reading.count), (1, 2));
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::<Seconds>::default();
        for millis in [1, 2, 1_000, 120_000] {
            histogram.observe_duration(Duration::from_millis(millis));
        }
        let reading = histogram.read();
        let at_most: Vec<u64> = reading.at_most.iter().map(|(_, count)| *count).collect();
        assert_eq!(at_most, [1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]);
        assert_eq!((reading.count, histogram.count()), (4, 4));
        assert!((reading.sum - 121.003).abs() < 1e-9);
    }
}
