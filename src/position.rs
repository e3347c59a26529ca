//! Owns the words for *where* a record is: offset, offset range, topic-partition, assignment epoch.
//! Does not own what may be committed when: that is [`crate::task`].

use std::fmt;
use std::sync::Arc;

pub use crate::schema_id::SchemaId;

/// Offset of a record in its topic-partition. Never negative; offsets have gaps, so `next` is the position
/// after a record, not the offset of the record that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(u64);

impl Offset {
    /// The first offset a topic-partition can have.
    pub const ZERO: Self = Self(0);

    /// Wraps a broker's offset; `None` for the negative, logical ones.
    #[must_use]
    pub fn new(raw: i64) -> Option<Self> {
        u64::try_from(raw).ok().map(Self)
    }

    /// The position just after the record at this offset.
    ///
    /// # Panics
    /// At `i64::MAX`, which no broker hands out.
    #[must_use]
    pub fn next(self) -> Self {
        assert!(self.0 < i64::MAX as u64, "offset {self} has no successor");
        Self(self.0 + 1)
    }

    /// The broker's representation.
    #[must_use]
    pub fn as_i64(self) -> i64 {
        self.0 as i64
    }

    /// Offsets between `earlier` and `self`; 0 when `earlier` is not earlier.
    #[must_use]
    pub fn distance_from(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Half-open range of offsets, `[start, end)`. May be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OffsetRange {
    /// First offset of the range.
    pub start: Offset,
    /// First offset after the range.
    pub end: Offset,
}

impl OffsetRange {
    /// # Panics
    /// When `end` lies before `start`.
    #[must_use]
    pub fn new(start: Offset, end: Offset) -> Self {
        assert!(start <= end, "offset range ends at {end} before it starts at {start}");
        Self { start, end }
    }

    /// Whether the range holds no offset.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether `offset` lies in the range.
    #[must_use]
    pub fn contains(self, offset: Offset) -> bool {
        self.start <= offset && offset < self.end
    }

    /// Number of offsets spanned, present or not.
    #[must_use]
    pub fn span(self) -> u64 {
        self.end.distance_from(self.start)
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}

/// A partition of a topic. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Topic name as the broker spells it.
    pub topic: Arc<str>,
    /// Partition number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition of a topic.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// Counts the times a topic-partition was handed to this process. What is on its way for an older epoch
/// is dropped on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_half_open() {
        let range = OffsetRange::new(Offset(5), Offset(7));
        assert!(range.contains(Offset(5)) && range.contains(Offset(6)));
        assert!(!range.contains(Offset(7)) && !range.contains(Offset(4)));
        assert_eq!(range.span(), 2);
        assert_eq!(range.to_string(), "[5, 7)");
    }

    #[test]
    fn logical_offsets_are_no_offsets() {
        assert_eq!(Offset::new(-1001), None);
        assert_eq!(Offset::new(7).map(Offset::as_i64), Some(7));
    }
}
