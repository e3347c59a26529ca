//! Owns the model of what a broker stores: logs with gaps, compaction, retention, markers at the tail, more partitions as time goes.

use std::collections::BTreeMap;

use sluice::position::{Offset, TopicPartition};
use sluice::record::{OwnedRecord, RecordBlock};

use crate::rng::Rng;

#[derive(Default)]
pub(crate) struct Logs {
    pub partitions: BTreeMap<TopicPartition, Log>,
}

#[derive(Default)]
pub(crate) struct Log {
    pub records: Vec<OwnedRecord>,
    /// First offset that retention has left.
    pub low: i64,
    /// Offset after the last one, gaps included.
    pub end: i64,
}

impl Logs {
    pub(crate) fn names(&self) -> Vec<TopicPartition> {
        self.partitions.keys().cloned().collect()
    }

    pub(crate) fn add_partition(&mut self) -> TopicPartition {
        let number = self.partitions.len();
        let tp = TopicPartition::new(["t", "u"][number % 2], (number / 2) as i32);
        self.partitions.insert(tp.clone(), Log::default());
        tp
    }

    /// Partitions of the topic that `tp` is of.
    pub(crate) fn count(&self, tp: &TopicPartition) -> i32 {
        self.partitions.keys().filter(|other| other.topic == tp.topic).count() as i32
    }

    pub(crate) fn end(&self, tp: &TopicPartition) -> i64 {
        self.partitions[tp].end
    }

    pub(crate) fn low(&self, tp: &TopicPartition) -> i64 {
        self.partitions[tp].low
    }

    /// Removes everything below some offset, as retention does; gives the offsets of the records.
    pub(crate) fn expire(&mut self, tp: &TopicPartition, rng: &mut Rng) -> Vec<i64> {
        let log = self.partitions.get_mut(tp).unwrap();
        log.low += rng.below((log.end - log.low) as usize + 1) as i64;
        let kept = log.records.partition_point(|record| record.offset.as_i64() < log.low);
        log.records.drain(..kept).map(|record| record.offset.as_i64()).collect()
    }

    /// Up to `most` records from `position` on, and the position after them.
    pub(crate) fn fetch(
        &self,
        tp: &TopicPartition,
        position: i64,
        most: usize,
    ) -> (Option<RecordBlock>, i64) {
        let log = &self.partitions[tp];
        let from = log.records.partition_point(|record| record.offset.as_i64() < position);
        let records: Vec<OwnedRecord> = log.records[from..].iter().take(most).cloned().collect();
        match records.last() {
            Some(last) => {
                let next = last.offset.next().as_i64();
                (Some(RecordBlock::from_owned(records)), next)
            }
            None => (None, log.end),
        }
    }

    /// Removes records as compaction does, never the last one; gives their offsets.
    pub(crate) fn compact(&mut self, tp: &TopicPartition, rng: &mut Rng) -> Vec<i64> {
        let log = self.partitions.get_mut(tp).unwrap();
        let last = log.records.last().map(|record| record.offset);
        let share = 5 + rng.below(60) as u64;
        let mut gone = Vec::new();
        log.records.retain(|record| {
            let stays = Some(record.offset) == last || !rng.chance(share);
            if !stays {
                gone.push(record.offset.as_i64());
            }
            stays
        });
        gone
    }
}

impl Log {
    /// Adds a record, perhaps behind a gap.
    pub(crate) fn append(&mut self, gap: i64, timestamp_ms: Option<i64>, value: Option<Vec<u8>>) -> i64 {
        self.end += gap;
        let offset = self.end;
        self.end += 1;
        self.records.push(OwnedRecord {
            offset: Offset::new(offset).unwrap(),
            timestamp_ms,
            key: None,
            value,
            headers: Vec::new(),
        });
        offset
    }

    /// Adds offsets without a record, as markers and aborted transactions leave them.
    pub(crate) fn append_markers(&mut self, count: i64) {
        self.end += count;
    }
}
