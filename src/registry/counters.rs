//! Owns the registry client's counters. Does not own their metric names.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the client has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegistryCounts {
    /// HTTP requests sent, each try counted.
    pub requests: u64,
    /// HTTP requests that failed or were answered with something of no use.
    pub failures: u64,
    /// Calls answered from the cache.
    pub hits: u64,
    /// Calls answered by a remembered verdict: unknown id, not Avro, …
    pub negative_hits: u64,
    /// Times a schema was asked for over the network; callers who wait for the same id count once.
    pub fetches: u64,
    /// Times an id came back with another schema than before.
    pub changed: u64,
}

impl std::ops::Add for RegistryCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            failures: self.failures + other.failures,
            hits: self.hits + other.hits,
            negative_hits: self.negative_hits + other.negative_hits,
            fetches: self.fetches + other.fetches,
            changed: self.changed + other.changed,
        }
    }
}

/// The live side of [`RegistryCounts`].
#[derive(Debug, Default)]
pub(super) struct RegistryCounters {
    pub(super) requests: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) hits: AtomicU64,
    pub(super) negative_hits: AtomicU64,
    pub(super) fetches: AtomicU64,
    pub(super) changed: AtomicU64,
}

impl RegistryCounters {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> RegistryCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RegistryCounts {
            requests: read(&self.requests),
            failures: read(&self.failures),
            hits: read(&self.hits),
            negative_hits: read(&self.negative_hits),
            fetches: read(&self.fetches),
            changed: read(&self.changed),
        }
    }
}
