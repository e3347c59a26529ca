//! Owns what the consumer thread does about rebalances: taking partitions over, draining them when they are asked back,
//! dropping them when they are lost. Does not own what the tasks do about it.

use super::{ConsumerThread, DRAIN_DEADLINE, Lane, Revocation, client_failure, spell};
use crate::error::Failure;
use crate::kafka::context::Rebalance;
use crate::kafka::native;
use crate::position::{Epoch, TopicPartition};
use crate::task::message::Input;
use rdkafka::consumer::Consumer as _;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use std::sync::atomic::Ordering;
use std::time::Instant;

impl ConsumerThread {
    pub(super) fn act_on_rebalances(&mut self) -> Result<(), Failure> {
        // One at a time: while partitions are being given up, the group waits for us anyway.
        while self.revoking.is_none() {
            let Some(event) = self.consumer.context().next_rebalance() else { break };
            self.status.rebalances.fetch_add(1, Ordering::Relaxed);
            self.renew_membership()?;
            match event {
                Rebalance::Assign(partitions) => self.assign(&partitions)?,
                Rebalance::Revoke(partitions) => self.revoke(&partitions),
                Rebalance::Lost(partitions) => self.lose(&partitions)?,
            }
        }
        Ok(())
    }

    /// The client tells of most ways out of the group, but not of all: a static member that is put out while it joins again
    /// (its network was away, say) comes back under another id with the partitions it had, and nothing is called lost. Others
    /// may have had them meanwhile. The end of each join is an event, so an id that has changed is seen here.
    pub(super) fn renew_membership(&mut self) -> Result<(), Failure> {
        let member = native::member_id(&self.consumer);
        if member.is_empty() || member == self.member {
            return Ok(());
        }
        self.member = member;
        if self.lanes.is_empty() {
            return Ok(());
        }
        let held: Vec<(String, i32)> =
            self.lanes.keys().map(|tp| (tp.topic.to_string(), tp.partition)).collect();
        tracing::warn!(
            connector = self.settings.connector,
            partitions = spell(&held),
            "the group had put us out and took us in again: unsettled records of these partitions will be read again"
        );
        let mut list = TopicPartitionList::with_capacity(held.len());
        for (topic, partition) in &held {
            list.add_partition(topic, *partition);
        }
        self.consumer.pause(&list).map_err(|error| client_failure(&error))?;
        self.drop_all();
        if !self.draining {
            self.take_over(&held);
        }
        Ok(())
    }

    /// Takes partitions over, paused: where each really begins is the task's decision.
    ///
    /// At a number, not at the end: the client would ask the broker where the end is, and when that answer comes after
    /// our seek (a broken connection is enough), it asks once more and goes to the end, passing over records in silence.
    pub(super) fn assign(&mut self, partitions: &[(String, i32)]) -> Result<(), Failure> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        if !self.draining {
            for (topic, partition) in partitions {
                list.add_partition_offset(topic, *partition, KafkaOffset::Offset(0))
                    .map_err(|e| client_failure(&e))?;
            }
        }
        // Known partitions are paused before they can fetch anything; the second pause is for new ones.
        let _ = self.consumer.pause(&list);
        self.consumer.incremental_assign(&list).map_err(|error| client_failure(&error))?;
        self.status.assigned.store(true, Ordering::Relaxed);
        if list.count() == 0 {
            return Ok(());
        }
        self.consumer.pause(&list).map_err(|error| client_failure(&error))?;
        tracing::info!(
            connector = self.settings.connector,
            partitions = spell(partitions),
            "partitions assigned"
        );
        self.take_over(partitions);
        Ok(())
    }

    fn take_over(&mut self, partitions: &[(String, i32)]) {
        for (topic, partition) in partitions {
            self.epochs += 1;
            let (tp, epoch) = (TopicPartition::new(topic.as_str(), *partition), Epoch(self.epochs));
            let lane = Lane::new(epoch, self.least_loaded_task());
            let stop = self.bounds.as_ref().map(|bounds| bounds.stop(&tp));
            self.tell(lane.task, Input::Assigned { tp: tp.clone(), epoch, stop });
            self.lanes.insert(tp, lane);
        }
    }

    pub(super) fn revoke(&mut self, partitions: &[(String, i32)]) {
        tracing::info!(
            connector = self.settings.connector,
            partitions = spell(partitions),
            "partitions revoked: flushing them first"
        );
        let partitions: Vec<TopicPartition> = partitions
            .iter()
            .map(|(topic, partition)| TopicPartition::new(topic.as_str(), *partition))
            .collect();
        for tp in &partitions {
            if let Some(lane) = self.lanes.get(tp) {
                self.tell(lane.task, Input::Revoked { tp: tp.clone(), epoch: lane.epoch });
            }
        }
        self.revoking = Some(Revocation { partitions, deadline: Instant::now() + DRAIN_DEADLINE });
    }

    /// Gives revoked partitions up once the tasks have released them, or at the deadline. No commit is in flight
    /// here: each is answered before the thread goes on.
    pub(super) fn finish_revocation(&mut self) -> Result<(), Failure> {
        let Some(revocation) = &self.revoking else { return Ok(()) };
        let waiting: Vec<TopicPartition> =
            revocation.partitions.iter().filter(|tp| self.lanes.contains_key(*tp)).cloned().collect();
        if !waiting.is_empty() && Instant::now() < revocation.deadline {
            return Ok(());
        }
        for tp in waiting {
            tracing::warn!(
                connector = self.settings.connector,
                topic = &*tp.topic,
                partition = tp.partition,
                "not flushed within {} s of its revocation: dropped, its records will be read again",
                DRAIN_DEADLINE.as_secs()
            );
            self.drop_lane(&tp);
        }
        let Some(revocation) = self.revoking.take() else { return Ok(()) };
        let partitions: Vec<(String, i32)> =
            revocation.partitions.iter().map(|tp| (tp.topic.to_string(), tp.partition)).collect();
        self.unassign(&partitions)
    }

    pub(super) fn lose(&mut self, partitions: &[(String, i32)]) -> Result<(), Failure> {
        tracing::warn!(
            connector = self.settings.connector,
            partitions = spell(partitions),
            "partitions lost (the group went on without us): their unsettled records will be read again"
        );
        for (topic, partition) in partitions {
            self.drop_lane(&TopicPartition::new(topic.as_str(), *partition));
        }
        self.unassign(partitions)
    }

    /// The client is answered in any case, and told of no partition that it was never given: while draining, none are taken.
    pub(super) fn unassign(&self, partitions: &[(String, i32)]) -> Result<(), Failure> {
        let assigned = self.consumer.assignment().map_err(|error| client_failure(&error))?;
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            if assigned.find_partition(topic, *partition).is_some() {
                list.add_partition(topic, *partition);
            }
        }
        self.consumer.incremental_unassign(&list).map_err(|error| client_failure(&error))
    }

    /// For what is still queued when the thread ends.
    pub(super) fn give_up_now(&mut self, event: &Rebalance) {
        let result = match event {
            Rebalance::Assign(_) => self
                .consumer
                .incremental_assign(&TopicPartitionList::new())
                .map_err(|error| client_failure(&error)),
            Rebalance::Revoke(partitions) | Rebalance::Lost(partitions) => self.unassign(partitions),
        };
        if let Err(failure) = result {
            tracing::debug!(connector = self.settings.connector, "{failure}");
        }
    }

    pub(super) fn drop_lane(&mut self, tp: &TopicPartition) {
        if let Some(lane) = self.lanes.remove(tp) {
            self.tell(lane.task, Input::Lost { tp: tp.clone(), epoch: lane.epoch });
        }
    }

    pub(super) fn drop_all(&mut self) {
        let tps: Vec<TopicPartition> = self.lanes.keys().cloned().collect();
        for tp in tps {
            self.drop_lane(&tp);
        }
    }

    pub(super) fn least_loaded_task(&self) -> usize {
        let mut loads = vec![0_usize; self.tasks.len()];
        for lane in self.lanes.values() {
            loads[lane.task] += 1;
        }
        loads.iter().enumerate().min_by_key(|(_, load)| **load).map_or(0, |(task, _)| task)
    }
}
