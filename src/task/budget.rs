//! Owns the count of buffered bytes against one budget for the process. Does not own what is done about it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by every task and by the storage room; cheap to clone.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit_bytes: u64,
    used_bytes: AtomicU64,
    /// The budget that this one is a part of.
    whole: Option<MemoryBudget>,
}

impl MemoryBudget {
    /// A budget of `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: u64) -> Self {
        Self { shared: Arc::new(Shared { limit_bytes, used_bytes: AtomicU64::new(0), whole: None }) }
    }

    /// A part of this budget with a limit of its own: what is counted there counts here too.
    #[must_use]
    pub fn part(&self, limit_bytes: u64) -> Self {
        let whole = Some(self.clone());
        Self { shared: Arc::new(Shared { limit_bytes, used_bytes: AtomicU64::new(0), whole }) }
    }

    /// Counts bytes that are now held.
    pub fn reserve(&self, bytes: u64) {
        self.shared.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.shared.whole {
            whole.reserve(bytes);
        }
    }

    /// Counts bytes that are no longer held.
    ///
    /// # Panics
    /// When more is released than was reserved: a bug in the caller's bookkeeping.
    pub fn release(&self, bytes: u64) {
        let before = self.shared.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        assert!(before >= bytes, "released {bytes} bytes of the {before} reserved");
        if let Some(whole) = &self.shared.whole {
            whole.release(bytes);
        }
    }

    /// Counts bytes that are held until the reservation is dropped.
    #[must_use]
    pub fn hold(&self, bytes: u64) -> Reservation {
        self.reserve(bytes);
        Reservation { budget: self.clone(), bytes }
    }

    /// Bytes held now.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.shared.used_bytes.load(Ordering::Relaxed)
    }

    /// The budget, bytes.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.shared.limit_bytes
    }

    /// Over the budget: take no more records.
    #[must_use]
    pub fn exhausted(&self) -> bool {
        self.used_bytes() >= self.shared.limit_bytes
    }

    /// Over three quarters of the budget: end the largest flush.
    #[must_use]
    pub fn tight(&self) -> bool {
        self.used_bytes() >= self.shared.limit_bytes / 4 * 3
    }
}

/// Bytes that count until this is dropped, wherever it is by then.
pub struct Reservation {
    budget: MemoryBudget,
    bytes: u64,
}

impl Reservation {
    /// What it counts now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts `bytes` from now on instead.
    pub fn set(&mut self, bytes: u64) {
        if bytes > self.bytes {
            self.budget.reserve(bytes - self.bytes);
        } else {
            self.budget.release(self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// Takes over what another counts, of the same budget.
    pub fn absorb(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

/// Equal where as many bytes are counted.
impl PartialEq for Reservation {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reservation({} bytes)", self.bytes)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_follow_the_count() {
        let budget = MemoryBudget::new(100);
        budget.reserve(74);
        assert!(!budget.tight() && !budget.exhausted());
        budget.clone().reserve(26);
        assert!(budget.tight() && budget.exhausted());
        budget.release(100);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn a_part_counts_in_the_whole_and_is_full_on_its_own() {
        let budget = MemoryBudget::new(100);
        let (one, other) = (budget.part(10), budget.part(20));
        let held = (one.hold(10), other.hold(5));
        assert!(one.exhausted() && !other.exhausted() && !budget.exhausted());
        assert_eq!(budget.used_bytes(), 15);
        drop(held);
        assert_eq!((one.used_bytes(), other.used_bytes(), budget.used_bytes()), (0, 0, 0));
    }

    #[test]
    fn a_reservation_counts_until_it_is_dropped() {
        let budget = MemoryBudget::new(100);
        let (mut held, more) = (budget.hold(10), budget.hold(5));
        held.absorb(more);
        assert_eq!(budget.used_bytes(), 15);
        held.set(40);
        assert_eq!(budget.used_bytes(), 40);
        held.set(1);
        assert_eq!(budget.used_bytes(), 1);
        drop(held);
        assert_eq!(budget.used_bytes(), 0);
    }
}
