//! Owns what the consumer thread reads off the client now and then: ends of partitions, positions that moved without a
//! record, the bounds of a bounded run.

use super::{BOUNDS_LOOK, ConsumerThread, Doubt, POSITIONS_LOOK};
use crate::error::Failure;
use crate::kafka::native;
use crate::position::{Offset, TopicPartition};
use crate::task::message::Input;
use rdkafka::Offset as KafkaOffset;
use rdkafka::consumer::Consumer as _;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

impl ConsumerThread {
    pub(super) fn look_at_highs(&mut self) {
        if Instant::now() < self.next_highs_look {
            return;
        }
        self.next_highs_look = Instant::now() + Duration::from_secs(1);
        let highs: BTreeMap<TopicPartition, Offset> = self
            .lanes
            .keys()
            .filter_map(|tp| {
                Some((tp.clone(), native::cached_high(&self.consumer, &tp.topic, tp.partition)?))
            })
            .collect();
        *self.status.highs.lock().unwrap_or_else(PoisonError::into_inner) = highs;
    }

    /// Passes on positions that have moved without a record: behind transaction markers and aborted records.
    pub(super) fn look_at_positions(&mut self) {
        if Instant::now() < self.next_positions_look {
            return;
        }
        self.next_positions_look = Instant::now() + POSITIONS_LOOK;
        // Where nothing but a marker is left, no record comes that would end the doubt.
        let doubtful =
            self.lanes.iter().filter(|(_, lane)| lane.attempt.is_some() && lane.doubt == Doubt::Open);
        for tp in doubtful.map(|(tp, _)| tp.clone()).collect::<Vec<_>>() {
            self.seek_back(&tp);
        }
        let Ok(list) = self.consumer.position() else { return };
        for element in list.elements() {
            let KafkaOffset::Offset(raw) = element.offset() else { continue };
            let Some(position) = Offset::new(raw) else { continue };
            let tp = TopicPartition::new(element.topic(), element.partition());
            let Some(lane) = self.lanes.get_mut(&tp) else { continue };
            let Some(attempt) = lane.attempt.filter(|_| lane.doubt != Doubt::Open) else { continue };
            // The position moves only as this thread takes batches, and every record of those is handed over.
            if position > lane.delivered {
                lane.delivered = position;
                let (task, epoch) = (lane.task, lane.epoch);
                self.tell(task, Input::Reached { tp, epoch, attempt, position });
            }
        }
    }

    pub(super) fn reached_bounds(&mut self) -> Result<bool, Failure> {
        let Some(bounds) = &mut self.bounds else { return Ok(false) };
        let idle = self.revoking.is_none() && self.lanes.values().all(|lane| lane.finished);
        if !idle {
            bounds.busy();
            return Ok(false);
        }
        if Instant::now() < self.next_bounds_look {
            return Ok(false);
        }
        self.next_bounds_look = Instant::now() + BOUNDS_LOOK;
        let assigned = self.status.assigned.load(Ordering::Relaxed);
        match bounds.reached(&self.consumer, &self.settings.connector, assigned) {
            Err(failure @ Failure::Retriable { .. }) => {
                tracing::warn!(connector = self.settings.connector, "{failure}");
                Ok(false)
            }
            reached => reached,
        }
    }
}
