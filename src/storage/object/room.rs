//! Owns how many bytes of uploads are in memory at one time: over all stores of a process, and for each of them. Does not own
//! the uploads.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::task::budget::{MemoryBudget, Reservation};

/// Bytes of a part of an upload, and the least room there is: one part may always go. S3 wants parts of at least 5 MiB.
pub(super) const PART_BYTES: u64 = 8 << 20;

/// Room is given out in units of so many bytes: permits are numbers of 32 bits.
const UNIT_BYTES: u64 = 1 << 10;

/// Room for the bodies of uploads, which all stores of a process share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UploadRoom {
    all: Arc<Room>,
    share_bytes: u64,
    budget: MemoryBudget,
}

/// What one store may take of it. A store that takes its bytes slowly keeps none from the others, as long as every store's
/// share fits into the room.
#[derive(Debug)]
pub(super) struct UploadShare {
    own: Room,
    of: UploadRoom,
}

/// Room for a body until this is dropped.
#[derive(Debug)]
pub(super) struct Admission<'r> {
    _own: SemaphorePermit<'r>,
    _all: SemaphorePermit<'r>,
    _counted: Reservation,
}

#[derive(Debug)]
struct Room {
    units: Semaphore,
    size_units: u32,
}

impl UploadRoom {
    /// An eighth of the budget for `connectors` together, but no less than a part. What is in it counts in the budget.
    #[must_use]
    pub fn of(budget: &MemoryBudget, connectors: usize) -> Self {
        let all_bytes = (budget.limit_bytes() / 8).max(PART_BYTES);
        let share_bytes = (all_bytes / connectors.max(1) as u64).max(PART_BYTES);
        Self::sized(all_bytes, share_bytes, budget.clone())
    }

    pub(super) fn sized(all_bytes: u64, share_bytes: u64, budget: MemoryBudget) -> Self {
        Self { all: Arc::new(Room::new(all_bytes)), share_bytes, budget }
    }

    pub(super) fn share(&self) -> UploadShare {
        UploadShare { own: Room::new(self.share_bytes), of: self.clone() }
    }
}

impl Default for UploadRoom {
    /// For a process that uploads nothing but a probe.
    fn default() -> Self {
        Self::of(&MemoryBudget::new(0), 1)
    }
}

impl UploadShare {
    /// Largest body for which there is room beside no other, bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.of.share_bytes
    }

    /// Waits for room for a body, first come, first served. A larger one than there ever is room for goes alone.
    pub(super) async fn admit(&self, bytes: u64) -> Admission<'_> {
        let own = self.own.take(bytes).await;
        let all = self.of.all.take(bytes).await;
        Admission { _own: own, _all: all, _counted: self.of.budget.hold(bytes) }
    }
}

impl Room {
    fn new(bytes: u64) -> Self {
        let size_units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).max(1);
        Self { units: Semaphore::new(size_units as usize), size_units }
    }

    async fn take(&self, bytes: u64) -> SemaphorePermit<'_> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.size_units);
        self.units.acquire_many(units).await.expect("never closed")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn bodies_of_all_stores_stay_within_the_room_and_count_in_the_budget() {
        let budget = MemoryBudget::new(256 * MIB);
        let room = UploadRoom::of(&budget, 1);
        let (one, other) = (room.share(), room.share());
        assert_eq!(one.bytes(), 32 * MIB);
        let mut held: Vec<_> = (0..3).filter_map(|_| one.admit(8 * MIB).now_or_never()).collect();
        held.extend(other.admit(8 * MIB).now_or_never());
        assert_eq!((held.len(), budget.used_bytes()), (4, 32 * MIB));
        assert!(one.admit(1).now_or_never().is_none() && other.admit(1).now_or_never().is_none());
        held.pop();
        assert!(one.admit(1).now_or_never().is_some());
        drop(held);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn a_store_that_takes_nothing_leaves_the_others_their_share() {
        let room = UploadRoom::of(&MemoryBudget::new(512 * MIB), 4);
        let (stuck, other) = (room.share(), room.share());
        let held: Vec<_> = (0..9).filter_map(|_| stuck.admit(8 * MIB).now_or_never()).collect();
        assert_eq!(held.len(), 2);
        assert!(other.admit(16 * MIB).now_or_never().is_some());
    }

    #[test]
    fn one_part_goes_however_small_the_budget() {
        let room = UploadRoom::of(&MemoryBudget::new(1), 100);
        let (one, other) = (room.share(), room.share());
        for bytes in [PART_BYTES, 500 * PART_BYTES] {
            let held = one.admit(bytes).now_or_never();
            assert!(held.is_some() && other.admit(1).now_or_never().is_none(), "{bytes} bytes go alone");
        }
        let small = (one.admit(MIB).now_or_never(), other.admit(MIB).now_or_never());
        assert!(small.0.is_some() && small.1.is_some(), "small ones go beside each other");
    }
}
