//! Owns the execution of what tasks and daemon ask of the consumer thread: commits behind the guard, starts, pauses.

use super::{Announcement, Command, ConsumerThread, Doubt, SEEK_TIMEOUT, commit_error};
use crate::error::{Failure, Stage};
use crate::failpoint::failpoint;
use crate::kafka::consumer::reading::Read;
use crate::kafka::consumer::starts::Start;
use crate::kafka::native;
use crate::kafka::native::OffsetToCommit;
use crate::position::{Epoch, Offset, TopicPartition};
use crate::task::message::{CommitError, CommitId, Input};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use std::sync::mpsc::TryRecvError;

/// A commit that a task asks for: partition, epoch, number, offset, metadata.
pub(super) type Asked = (TopicPartition, Epoch, CommitId, Offset, String);

impl ConsumerThread {
    pub(super) fn obey(&mut self) -> Result<(), Failure> {
        let mut reads = Vec::new();
        let mut commits = Vec::new();
        loop {
            match self.commands.try_recv() {
                Ok(Command::ReadCommitted(tp, epoch, attempt)) => reads.push(Read { tp, epoch, attempt }),
                Ok(Command::Commit { tp, epoch, commit, offset, metadata }) => {
                    commits.push((tp, epoch, commit, offset, metadata));
                }
                Ok(Command::Start(tp, epoch, attempt, offset)) => {
                    self.start(Start { tp, epoch, attempt, offset });
                }
                Ok(Command::Pause(tp, epoch)) => self.set_paused(&tp, epoch, true),
                Ok(Command::Resume(tp, epoch)) => self.set_paused(&tp, epoch, false),
                Ok(Command::Release(tp, epoch)) => {
                    if self.lanes.get(&tp).is_some_and(|lane| lane.epoch == epoch) {
                        self.lanes.remove(&tp);
                    }
                }
                Ok(Command::Finished(tp, epoch)) => {
                    if let Some(lane) = self.lanes.get_mut(&tp).filter(|lane| lane.epoch == epoch) {
                        lane.finished = true;
                    }
                }
                Ok(Command::Drain) => self.drain(),
                Ok(Command::Fail(failure)) => return Err(failure),
                Ok(Command::Tell(announcement)) => self.announce(announcement),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    return Err(Failure::retriable(Stage::Consume, "every task of the connector has ended"));
                }
            }
        }
        self.commit(commits)?;
        self.read_committed(reads)
    }

    pub(super) fn drain(&mut self) {
        if !self.draining {
            self.draining = true;
            for task in &self.tasks {
                let _ = task.send(Input::Drain);
            }
        }
    }

    pub(super) fn announce(&self, announcement: Announcement) {
        for task in &self.tasks {
            let _ = task.send(match announcement {
                Announcement::FlushNow => Input::FlushNow,
                Announcement::SetPaused(paused) => Input::SetPaused(paused),
            });
        }
    }

    /// Commits what passes the guards, all in one request, and tells each task what became of its commit.
    pub(super) fn commit(&mut self, commits: Vec<Asked>) -> Result<(), Failure> {
        if commits.is_empty() {
            return Ok(());
        }
        let mut errors = Vec::new();
        let commits = self.hold_against_topics(commits, &mut errors);
        // A commit carries whatever id the client has when it is sent, and the group takes it from any member. So this is looked
        // at last: the client may join again while the topics are asked for.
        let is_member = native::member_id(&self.consumer) == self.member;
        let (mut passed, mut refused) = (Vec::new(), Vec::new());
        for commit in commits {
            let guarded = if is_member {
                self.guard(&commit.0, commit.1, commit.3)
            } else {
                Err("the group has put us out since the partition was taken over".to_owned())
            };
            match guarded {
                Ok(()) => passed.push(commit),
                Err(reason) => refused.push((commit, reason)),
            }
        }
        for ((tp, _, commit, offset, _), reason) in refused {
            tracing::debug!(connector = self.settings.connector, %tp, %offset, "commit held back: {reason}");
            if let Some(lane) = self.lanes.get(&tp) {
                self.tell(
                    lane.task,
                    Input::CommitDone { tp, commit, result: Err(CommitError::Refused(reason)) },
                );
            }
        }
        if passed.is_empty() {
            return errors.iter().try_for_each(|error| self.on_client_error(error));
        }
        let offsets: Vec<OffsetToCommit<'_>> = passed
            .iter()
            .map(|(tp, _, _, offset, metadata)| OffsetToCommit {
                topic: &tp.topic,
                partition: tp.partition,
                offset: *offset,
                metadata,
            })
            .collect();
        let results = self.execute(&offsets, &mut errors);
        for ((tp, _, commit, offset, _), result) in passed.into_iter().zip(results) {
            let Some(lane) = self.lanes.get_mut(&tp) else { continue };
            let result = result.map_err(|code| commit_error(code, &self.settings.kafka));
            if result.is_ok() {
                lane.committed = offset;
            }
            let task = lane.task;
            self.tell(task, Input::CommitDone { tp, commit, result });
        }
        errors.iter().try_for_each(|error| self.on_client_error(error))
    }

    /// Without its coordinator a commit waits for long: the client stays polled meanwhile and tells what it has to tell.
    /// Rebalances are only recorded, and acted on when the commit has its answer.
    fn execute(
        &self,
        offsets: &[OffsetToCommit<'_>],
        errors: &mut Vec<KafkaError>,
    ) -> Vec<Result<(), RDKafkaErrorCode>> {
        #[cfg(feature = "failpoints")]
        if self.commit_fails(offsets, "before") {
            return vec![Err(RDKafkaErrorCode::OperationTimedOut); offsets.len()];
        }
        let results = native::commit(&self.consumer, offsets, || self.serve(errors));
        #[cfg(feature = "failpoints")]
        if self.commit_fails(offsets, "after") {
            return vec![Err(RDKafkaErrorCode::OperationTimedOut); offsets.len()];
        }
        results
    }

    /// A commit with metadata announces a flush; one without confirms where reading begins, or settles.
    #[cfg(feature = "failpoints")]
    fn commit_fails(&self, offsets: &[OffsetToCommit<'_>], side: &str) -> bool {
        use crate::failpoint::fails;
        let points = match side {
            "before" => ["intend.before", "confirm.before", "settle.before"],
            _ => ["intend.after", "confirm.after", "settle.after"],
        };
        let point_of = |commit: &OffsetToCommit<'_>| {
            let tp = TopicPartition::new(commit.topic, commit.partition);
            let begun = self.lanes.get(&tp).is_some_and(|lane| lane.attempt.is_some());
            if !commit.metadata.is_empty() {
                0
            } else if begun {
                2
            } else {
                1
            }
        };
        let met = |point: usize| offsets.iter().any(|commit| point_of(commit) == point);
        (0..3).fold(false, |failed, point| failed | (met(point) && fails(points[point])))
    }

    /// Never for a partition that this epoch does not own, never backwards, never beyond what was handed over.
    pub(super) fn guard(&self, tp: &TopicPartition, epoch: Epoch, offset: Offset) -> Result<(), String> {
        let Some(lane) = self.lanes.get(tp).filter(|lane| lane.epoch == epoch) else {
            return Err("the partition is no longer ours".to_owned());
        };
        if offset < lane.committed {
            return Err(format!("offset {offset} lies before {}, which is committed", lane.committed));
        }
        if offset > lane.delivered.max(lane.vacant_until) {
            return Err(format!("offset {offset} lies beyond {}, which was handed over", lane.delivered));
        }
        Ok(())
    }

    /// Lets callbacks happen. Rebalances are only recorded.
    pub(super) fn serve(&self, errors: &mut Vec<KafkaError>) {
        while let Some(result) = self.consumer.poll(std::time::Duration::ZERO) {
            errors.extend(result.err());
        }
    }

    /// Notes where a task wants a partition to begin. It counts as running from here on: a pause that the task asks for before
    /// the client is ready holds after the start.
    pub(super) fn start(&mut self, start: Start) {
        if let Some(lane) = self.lanes.get_mut(&start.tp).filter(|lane| lane.epoch == start.epoch) {
            lane.paused = false;
        }
        self.starts.add(start);
    }

    /// Begins to deliver where the tasks decided; what the client is not ready for yet waits for the next round.
    pub(super) fn start_waiting(&mut self) {
        for waiting in self.starts.take() {
            let Start { tp, epoch, attempt, offset } = waiting.start.clone();
            let Some(lane) = self.lanes.get(&tp).filter(|lane| lane.epoch == epoch) else { continue };
            if let Err(error) = self.start_one(&tp, offset, lane.paused) {
                tracing::debug!(connector = self.settings.connector, %tp, %offset, "not started yet: {error}");
                let task = lane.task;
                if self.starts.put_back(waiting) {
                    let reason = format!("{tp}: cannot begin at {offset} yet: {error}");
                    let failure = Failure::retriable(Stage::Consume, reason);
                    self.tell(task, Input::ReadFailed { tp, epoch, failure });
                }
                continue;
            }
            if let Some(lane) = self.lanes.get_mut(&tp) {
                lane.attempt = Some(attempt);
                lane.delivered = offset;
                lane.vacant_until = Offset::ZERO;
                lane.doubt = Doubt::None;
            }
        }
    }

    fn start_one(&self, tp: &TopicPartition, offset: Offset, paused: bool) -> Result<(), KafkaError> {
        let Some(queue) = &self.queue else { return Ok(()) };
        failpoint!("recover.start.before", return Err(KafkaError::Seek("a failpoint".to_owned())));
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&tp.topic, tp.partition, KafkaOffset::Offset(offset.as_i64()))?;
        // Sought while paused: what is fetched from here on lies at or behind the offset.
        let sought = self.consumer.seek_partitions(list.clone(), SEEK_TIMEOUT)?;
        for element in sought.elements() {
            element.error()?;
        }
        if !queue.forward(&self.consumer, &tp.topic, tp.partition) {
            return Err(KafkaError::Seek("the client does not know the partition".to_owned()));
        }
        if !paused {
            self.consumer.resume(&list)?;
        }
        failpoint!("recover.start.after", return Err(KafkaError::Seek("a failpoint".to_owned())));
        Ok(())
    }

    pub(super) fn set_paused(&mut self, tp: &TopicPartition, epoch: Epoch, paused: bool) {
        let Some(lane) = self.lanes.get_mut(tp).filter(|lane| lane.epoch == epoch) else { return };
        lane.paused = paused;
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&tp.topic, tp.partition);
        let result = if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        if let Err(error) = result {
            tracing::warn!(connector = self.settings.connector, %tp, "cannot pause or resume: {error}");
        }
    }
}
