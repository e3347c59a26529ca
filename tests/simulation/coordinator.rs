//! Owns the model of a group coordinator: members with epochs, who was given which partition, committed offsets with
//! metadata. As a real one, it asks of a commit only that it comes from a live member in its present epoch: whose the
//! partition is, it does not check.

use std::collections::BTreeMap;

use sluice::position::{Offset, TopicPartition};
use sluice::task::message::CommitError;

use crate::promise::Ledger;

pub(crate) type ProcessId = usize;

#[derive(Default)]
pub(crate) struct Coordinator {
    members: BTreeMap<ProcessId, u64>,
    epochs: u64,
    positions: BTreeMap<TopicPartition, Position>,
}

#[derive(Clone, Debug, Default)]
struct Position {
    committed: Option<(i64, String)>,
    owner: Option<ProcessId>,
    /// The owner was asked to give it back.
    asked_back: bool,
}

impl Coordinator {
    pub(crate) fn add_partition(&mut self, tp: TopicPartition) {
        self.positions.insert(tp, Position::default());
    }

    // Members

    /// Lets a member in, under a new epoch.
    pub(crate) fn join(&mut self, process: ProcessId) -> u64 {
        self.leave(process);
        self.epochs += 1;
        self.members.insert(process, self.epochs);
        self.epochs
    }

    /// Puts a member out, or lets it go: its partitions are free for others.
    pub(crate) fn leave(&mut self, process: ProcessId) {
        self.members.remove(&process);
        for position in self.positions.values_mut().filter(|position| position.owner == Some(process)) {
            (position.owner, position.asked_back) = (None, false);
        }
    }

    pub(crate) fn members(&self) -> Vec<ProcessId> {
        self.members.keys().copied().collect()
    }

    pub(crate) fn is_member(&self, process: ProcessId, epoch: u64) -> bool {
        self.members.get(&process) == Some(&epoch)
    }

    // Partitions

    pub(crate) fn owner(&self, tp: &TopicPartition) -> Option<ProcessId> {
        self.positions[tp].owner
    }

    pub(crate) fn free_partitions(&self) -> Vec<TopicPartition> {
        self.positions.iter().filter(|(_, at)| at.owner.is_none()).map(|(tp, _)| tp.clone()).collect()
    }

    /// Partitions of a member that it has not been asked for yet.
    pub(crate) fn settled_with(&self, process: ProcessId) -> Vec<TopicPartition> {
        self.positions
            .iter()
            .filter(|(_, at)| at.owner == Some(process) && !at.asked_back)
            .map(|(tp, _)| tp.clone())
            .collect()
    }

    pub(crate) fn give(&mut self, tp: &TopicPartition, process: ProcessId) {
        self.positions.get_mut(tp).unwrap().owner = Some(process);
    }

    pub(crate) fn ask_back(&mut self, tp: &TopicPartition) {
        self.positions.get_mut(tp).unwrap().asked_back = true;
    }

    /// A member says that it no longer has a partition.
    pub(crate) fn given_up(&mut self, tp: &TopicPartition, process: ProcessId, epoch: u64) {
        if self.is_member(process, epoch) && self.owner(tp) == Some(process) {
            let position = self.positions.get_mut(tp).unwrap();
            (position.owner, position.asked_back) = (None, false);
        }
    }

    // Offsets

    /// # Errors
    /// Refused, when it does not come from a live member in its present epoch.
    pub(crate) fn commit(
        &mut self,
        process: ProcessId,
        epoch: Option<u64>,
        (tp, offset, metadata): (&TopicPartition, Offset, &str),
        ledger: &mut Ledger,
    ) -> Result<(), CommitError> {
        if !epoch.is_some_and(|epoch| self.is_member(process, epoch)) {
            return Err(CommitError::Refused("unknown member".to_owned()));
        }
        ledger.committed(tp, offset.as_i64(), metadata);
        self.positions.get_mut(tp).unwrap().committed = Some((offset.as_i64(), metadata.to_owned()));
        Ok(())
    }

    pub(crate) fn committed(&self, tp: &TopicPartition) -> Option<(i64, String)> {
        self.positions[tp].committed.clone()
    }

    /// An operator sets an offset, or the group has lost it.
    pub(crate) fn set_committed(&mut self, tp: &TopicPartition, committed: Option<i64>) {
        self.positions.get_mut(tp).unwrap().committed = committed.map(|offset| (offset, String::new()));
    }
}
