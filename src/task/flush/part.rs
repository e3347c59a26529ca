//! Owns the count of what was taken of a block in one go. Does not own when it is taken back.

use super::FlushContext;
use crate::config::settings::OnTombstone;
use crate::position::Offset;
use crate::record::{Record, RecordBlock};
use crate::task::message::{Effect, Event};

/// What was taken of a block in one go.
pub(super) struct Part {
    /// Index of the first record.
    pub(super) from: usize,
    /// End of the flush before it.
    pub(super) end: Offset,
    /// Index behind the last record.
    pub(super) cursor: usize,
    bytes: u64,
    tombstones: u64,
}

impl Part {
    pub(super) fn new(from: usize, end: Offset) -> Self {
        Self { from, end, cursor: from, bytes: 0, tombstones: 0 }
    }

    /// The record at the cursor was taken.
    pub(super) fn count(&mut self, record: &Record<'_>) {
        self.bytes += payload_bytes(record);
        self.tombstones += u64::from(record.value.is_none());
        self.cursor += 1;
    }

    /// The last one was not.
    pub(super) fn take_back(&mut self, block: &RecordBlock) {
        self.cursor -= 1;
        let Some(record) = block.get(self.cursor) else { return };
        self.bytes -= payload_bytes(&record);
        self.tombstones -= u64::from(record.value.is_none());
    }

    /// Tells people of it; `rows` were written.
    pub(super) fn report(&self, rows: u64, context: &mut FlushContext<'_>) {
        let records = (self.cursor - self.from) as u64;
        if records > 0 {
            context.effects.push_back(Effect::Report(Event::Consumed {
                tp: context.tp.clone(),
                records,
                bytes: self.bytes,
                rows,
            }));
        }
        if self.tombstones > 0 {
            context.effects.push_back(Effect::Report(Event::Tombstones {
                tp: context.tp.clone(),
                count: self.tombstones,
                skipped: context.settings.errors.on_tombstone == OnTombstone::Skip,
            }));
        }
    }
}

fn payload_bytes(record: &Record<'_>) -> u64 {
    (record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)) as u64
}
