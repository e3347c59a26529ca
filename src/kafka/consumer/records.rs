//! Owns the hand-over of records from the client to the tasks, and the doubt about the client's position after errors.

use super::{BATCH_WAIT, CALM_WAIT, ConsumerThread, Doubt, IN_FLIGHT_BYTES, Lane, SEEK_TIMEOUT};
use crate::error::{Failure, Stage};
use crate::kafka::consumer::starts::Start;
use crate::kafka::native::{InFlight, Run};
use crate::position::TopicPartition;
use crate::task::message::Input;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use std::sync::atomic::Ordering;
use std::time::Duration;

impl ConsumerThread {
    pub(super) fn consume(&mut self) -> Result<(), Failure> {
        let in_flight = self.status.in_flight_bytes.clone();
        if !has_room(in_flight.load(Ordering::Relaxed), self.lanes.values()) {
            // The tasks are behind. Only they can change that, and they wake us when they want something.
            std::thread::park_timeout(Duration::from_millis(2));
            return Ok(());
        }
        let Some(queue) = &mut self.queue else { return Ok(()) };
        // Nothing came last time: the first message ends a longer wait at once, and commands do.
        let calm = self.calm && self.readings.is_empty();
        let (wait, most) = if calm { (CALM_WAIT, 1) } else { (BATCH_WAIT, usize::MAX) };
        let lanes = &self.lanes;
        let of =
            |tp: &TopicPartition| lanes.get(tp).map(|lane| lane.in_flight_bytes.clone()).unwrap_or_default();
        let in_flight = InFlight { all: &in_flight, of: &of };
        let runs = queue.consume(wait, most, self.settings.with_headers, &in_flight);
        self.calm = runs.is_empty();
        let mut sought = Vec::new();
        for run in runs {
            self.hand_over(run, &mut sought)?;
        }
        Ok(())
    }

    /// `sought` are the partitions sought back within this batch: what else it holds of them is fetched again.
    pub(super) fn hand_over(&mut self, run: Run, sought: &mut Vec<TopicPartition>) -> Result<(), Failure> {
        let (topic, partition) = run.place();
        if topic.is_empty() {
            return match run {
                Run::Error { code, .. } => self.on_client_error(&KafkaError::MessageConsumption(code)),
                Run::Records { .. } => Ok(()),
            };
        }
        let tp = TopicPartition { topic, partition };
        let Some(lane) = self.lanes.get_mut(&tp) else { return Ok(()) };
        let (task, epoch) = (lane.task, lane.epoch);
        let Some(attempt) = lane.attempt.filter(|_| !sought.contains(&tp)) else { return Ok(()) };
        match run {
            Run::Records { block, .. } => {
                let (Some(first), Some(last)) = (block.first_offset(), block.last_offset()) else {
                    return Ok(());
                };
                if lane.doubt == Doubt::Open && first > lane.delivered {
                    sought.push(tp.clone());
                    self.seek_back(&tp);
                    return Ok(());
                }
                lane.doubt = Doubt::None;
                lane.delivered = lane.delivered.max(last.next());
                self.tell(task, Input::Records { tp, epoch, attempt, block });
            }
            Run::Error { code, reason, .. } => {
                lane.doubt = Doubt::Open;
                let failure = self.read_failure(&tp, code, &reason);
                self.tell(task, Input::ReadFailed { tp, epoch, failure });
            }
        }
        Ok(())
    }

    /// Makes the client fetch from where we are; nothing is taken of the partition until it does.
    pub(super) fn seek_back(&mut self, tp: &TopicPartition) {
        let Some(lane) = self.lanes.get_mut(tp) else { return };
        let (epoch, attempt, offset) = (lane.epoch, lane.attempt, lane.delivered);
        tracing::debug!(connector = self.settings.connector, %tp, %offset, "sought back after an error");
        lane.doubt = Doubt::Sought;
        let mut list = TopicPartitionList::with_capacity(1);
        let listed = list.add_partition_offset(&tp.topic, tp.partition, KafkaOffset::Offset(offset.as_i64()));
        let sought = listed.and_then(|()| self.consumer.seek_partitions(list, SEEK_TIMEOUT));
        let done = sought.is_ok_and(|list| list.elements().iter().all(|element| element.error().is_ok()));
        if !done && let (Some(lane), Some(attempt)) = (self.lanes.get_mut(tp), attempt) {
            lane.attempt = None;
            self.starts.add(Start { tp: tp.clone(), epoch, attempt, offset });
        }
    }

    pub(super) fn read_failure(&self, tp: &TopicPartition, code: RDKafkaErrorCode, reason: &str) -> Failure {
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                let ends = self.consumer.fetch_watermarks(&tp.topic, tp.partition, SEEK_TIMEOUT).ok();
                let at = self.lanes.get(tp).map(|lane| lane.delivered.as_i64());
                let told = out_of_range(at, ends);
                Failure::fatal(
                    Stage::Consume,
                    format!("{tp}: the offset to be read is out of range ({reason}); {told}"),
                )
            }
            RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed => {
                Failure::fatal(
                    Stage::Consume,
                    format!(
                        "{tp}: {reason}; allow READ on the topic and the group, then restart the connector"
                    ),
                )
            }
            _ => Failure::retriable(Stage::Consume, format!("{tp}: {reason}")),
        }
    }

    pub(super) fn tell(&self, task: usize, input: Input) {
        // A task that has ended has said why; its connector is about to stop.
        let _ = self.tasks[task].send(input);
    }
}

/// What an offset means that the broker does not have; `at` is where we are, `ends` what the broker has.
fn out_of_range(at: Option<i64>, ends: Option<(i64, i64)>) -> String {
    let Some((low, high)) = ends else {
        return "the broker does not tell what it has; compare the topic's offsets with the group's"
            .to_owned();
    };
    match at {
        Some(at) if at > high => format!(
            "we are at {at}, and the broker has [{low}, {high}): the topic was truncated, or deleted and made again; write to another output prefix or move the old files away, then reset the group's offset"
        ),
        _ => format!(
            "the broker has [{low}, {high}): what lies before it is gone; to go on without it, reset the group's offset"
        ),
    }
}

/// Whether more may be taken from the client. What paused partitions hold does not count: it stays until something else has
/// happened, and that may have to come from the others. The tasks see to it that what waits is paused in time.
fn has_room<'a>(in_flight_bytes: usize, lanes: impl Iterator<Item = &'a Lane>) -> bool {
    if in_flight_bytes < IN_FLIGHT_BYTES {
        return true;
    }
    let paused = lanes.filter(|lane| lane.paused);
    let parked: usize = paused.map(|lane| lane.in_flight_bytes.load(Ordering::Relaxed)).sum();
    in_flight_bytes.saturating_sub(parked) < IN_FLIGHT_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{Epoch, Offset};

    fn lane(in_flight_bytes: usize, paused: bool) -> Lane {
        let lane = Lane::new(Epoch(1), 0);
        lane.in_flight_bytes.store(in_flight_bytes, Ordering::Relaxed);
        Lane { paused, attempt: None, delivered: Offset::ZERO, ..lane }
    }

    #[test]
    fn fault_5_an_offset_past_the_end_is_told_apart_from_one_that_has_expired() {
        assert!(out_of_range(Some(101), Some((10, 100))).contains("truncated"));
        assert!(out_of_range(Some(5), Some((10, 100))).contains("is gone"));
        assert!(out_of_range(Some(5), None).contains("does not tell"));
    }

    #[test]
    fn fault_32_what_paused_partitions_hold_stops_no_other() {
        let all = IN_FLIGHT_BYTES + 100;
        assert!(!has_room(all, [lane(all, false)].iter()));
        assert!(has_room(all, [lane(all - 50, true), lane(50, false)].iter()));
        assert!(!has_room(all, [lane(50, true), lane(all - 50, false)].iter()));
    }
}
