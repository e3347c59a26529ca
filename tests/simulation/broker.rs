//! Owns the model of a broker and group coordinator: logs with gaps, one owner a partition and generation, commits
//! with metadata that only the owner may make.

use std::collections::BTreeMap;

use sluice::position::{Offset, OffsetRange, TopicPartition};
use sluice::record::{OwnedRecord, RecordBlock};
use sluice::task::intent::Intent;
use sluice::task::message::{BrokerPosition, CommitError};

pub(crate) type ProcessId = usize;

#[derive(Default)]
pub(crate) struct Broker {
    pub logs: BTreeMap<TopicPartition, Log>,
}

#[derive(Default)]
pub(crate) struct Log {
    pub records: Vec<OwnedRecord>,
    /// Offset after the last record, gaps included.
    pub end: i64,
    pub committed: Option<(i64, String)>,
    /// Who owns it, and since which generation.
    pub owner: Option<(ProcessId, u64)>,
    /// Every intent the coordinator ever accepted.
    pub intents: Vec<OffsetRange>,
    pub commits: u64,
}

impl Broker {
    pub(crate) fn position(&self, tp: &TopicPartition) -> BrokerPosition {
        let log = &self.logs[tp];
        let (committed, metadata) = match &log.committed {
            Some((offset, metadata)) => (Offset::new(*offset), metadata.clone()),
            None => (None, String::new()),
        };
        BrokerPosition {
            committed,
            metadata,
            low: Offset::ZERO,
            high: Offset::new(log.end).unwrap(),
            topic_id: None,
        }
    }

    /// Commits, if the process is the owner in that generation.
    pub(crate) fn commit(
        &mut self,
        process: ProcessId,
        generation: u64,
        tp: &TopicPartition,
        offset: Offset,
        metadata: &str,
    ) -> Result<(), CommitError> {
        let log = self.logs.get_mut(tp).unwrap();
        if log.owner != Some((process, generation)) {
            return Err(CommitError::Refused("unknown member".to_owned()));
        }
        let offset = offset.as_i64();
        // K3: committed offsets never go back.
        let before = log.committed.as_ref().map_or(0, |(offset, _)| *offset);
        assert!(before <= offset, "K3: {tp} committed {offset} after {before}");
        if let Some(intent) = Intent::from_metadata(metadata).unwrap() {
            log.intents.push(OffsetRange::new(Offset::new(offset).unwrap(), intent.end));
        }
        log.committed = Some((offset, metadata.to_owned()));
        log.commits += 1;
        Ok(())
    }

    /// Up to `most` records from `position` on, and the position after them.
    pub(crate) fn fetch(
        &self,
        tp: &TopicPartition,
        position: i64,
        most: usize,
    ) -> (Option<RecordBlock>, i64) {
        let log = &self.logs[tp];
        let from = log.records.partition_point(|record| record.offset.as_i64() < position);
        let records: Vec<OwnedRecord> = log.records[from..].iter().take(most).cloned().collect();
        match records.last() {
            Some(last) => {
                let next = last.offset.as_i64() + 1;
                (Some(RecordBlock::from_owned(records)), next)
            }
            None => (None, log.end),
        }
    }

    pub(crate) fn lag(&self) -> i64 {
        self.logs.values().map(|log| log.end - log.committed.as_ref().map_or(0, |(offset, _)| *offset)).sum()
    }
}
