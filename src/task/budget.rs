//! Owns the count of buffered bytes against one budget for the process. Does not own what is done about it.

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
}

impl MemoryBudget {
    /// A budget of `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: u64) -> Self {
        Self { shared: Arc::new(Shared { limit_bytes, used_bytes: AtomicU64::new(0) }) }
    }

    /// Counts bytes that are now held.
    pub fn reserve(&self, bytes: u64) {
        self.shared.used_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that are no longer held.
    ///
    /// # Panics
    /// When more is released than was reserved: a bug in the caller's bookkeeping.
    pub fn release(&self, bytes: u64) {
        let before = self.shared.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        assert!(before >= bytes, "released {bytes} bytes of the {before} reserved");
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
}
