//! Owns the model of a consumer thread and its client: commits behind a guard and one at a time, rebalances in order, the
//! drain deadline, positions. It does what the real thread does, at moments that chance picks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sluice::error::{Failure, Stage};
use sluice::position::{Epoch, Offset, TopicPartition};
use sluice::task::message::{Attempt, CommitError, CommitId, Input};

use crate::control::Control;
use crate::coordinator::ProcessId;
use crate::outside::{Outside, Service, passing};

const DRAIN_DEADLINE_MS: u64 = 20_000;

pub(crate) struct Consumer {
    id: ProcessId,
    /// As the client last joined the group.
    epoch: u64,
    epochs: u64,
    /// What the client holds, also where the thread does not know of it yet.
    assigned: BTreeSet<TopicPartition>,
    lanes: BTreeMap<TopicPartition, Lane>,
    rebalances: VecDeque<Rebalance>,
    revoking: Option<Revocation>,
    commands: VecDeque<Command>,
    reads: VecDeque<(TopicPartition, Epoch, Attempt)>,
    in_flight: Vec<Commit>,
    /// The client has noticed that it was put out.
    put_out: bool,
    draining: bool,
    /// Until when nothing of it reaches the broker.
    pub cut_off_until: u64,
    /// What the thread tells the task, in order.
    pub told: VecDeque<Input>,
}

/// The thread's view of a partition.
struct Lane {
    epoch: Epoch,
    attempt: Option<Attempt>,
    delivered: i64,
    committed: i64,
    /// The partition's end while the group has no commit and nothing is read.
    vacant_until: i64,
    paused: bool,
}

enum Rebalance {
    Assign(TopicPartition),
    Revoke(Vec<TopicPartition>),
    Lost,
}

struct Revocation {
    partitions: Vec<TopicPartition>,
    deadline: u64,
}

#[derive(Debug)]
pub(crate) struct Commit {
    pub tp: TopicPartition,
    pub epoch: Epoch,
    pub commit: CommitId,
    pub offset: Offset,
    pub metadata: String,
}

pub(crate) enum Command {
    ReadCommitted(TopicPartition, Epoch, Attempt),
    Start(TopicPartition, Epoch, Attempt, Offset),
    Pause(TopicPartition, Epoch, bool),
    Commit(Commit),
    Release(TopicPartition, Epoch),
}

impl Consumer {
    /// Joins the group.
    pub(crate) fn new(id: ProcessId, outside: &mut Outside) -> Self {
        Self {
            id,
            epoch: outside.coordinator.join(id),
            epochs: 0,
            assigned: BTreeSet::new(),
            lanes: BTreeMap::new(),
            rebalances: VecDeque::new(),
            revoking: None,
            commands: VecDeque::new(),
            reads: VecDeque::new(),
            in_flight: Vec::new(),
            put_out: false,
            draining: false,
            cut_off_until: 0,
            told: VecDeque::new(),
        }
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.commands.push_back(command);
    }

    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.told.push_back(Input::Drain);
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.draining && self.lanes.is_empty() && self.revoking.is_none() && self.in_flight.is_empty()
    }

    pub(crate) fn takes_partitions(&self, outside: &Outside) -> bool {
        self.cut_off_until <= outside.now
            && !self.draining
            && !self.put_out
            && outside.coordinator.is_member(self.id, self.epoch)
    }

    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    // What the group tells the client

    pub(crate) fn assign(&mut self, tp: TopicPartition) {
        self.assigned.insert(tp.clone());
        self.rebalances.push_back(Rebalance::Assign(tp));
    }

    pub(crate) fn revoke(&mut self, partitions: Vec<TopicPartition>) {
        self.rebalances.push_back(Rebalance::Revoke(partitions));
    }

    /// A heartbeat is answered: perhaps the group has gone on without us.
    pub(crate) fn heartbeat(&mut self, outside: &Outside) {
        let reachable = self.cut_off_until <= outside.now;
        if reachable && !self.put_out && !outside.coordinator.is_member(self.id, self.epoch) {
            self.put_out = true;
            self.rebalances.push_back(Rebalance::Lost);
        }
    }

    // What the thread does

    /// Whether the thread has anything to do but to fetch.
    pub(crate) fn has_work(&self) -> bool {
        !self.rebalances.is_empty()
            || !self.commands.is_empty()
            || !self.reads.is_empty()
            || !self.in_flight.is_empty()
            || self.revoking.is_some()
    }

    pub(crate) fn turn(&mut self, outside: &mut Outside) {
        let reachable = self.cut_off_until <= outside.now;
        if !self.in_flight.is_empty() {
            // The thread waits for the answer, so no partition is given up meanwhile.
            let careless = outside.control == Control::GiveUpWithCommitInFlight;
            if careless {
                self.heartbeat(outside);
            }
            if careless && self.revoking.is_none() && !self.rebalances.is_empty() {
                self.act_on_rebalance(outside);
                self.give_up_revoked(outside);
            } else if reachable && outside.rng.chance(30) {
                self.finish_commits(outside);
            }
        } else if self.revoking.is_none() && !self.rebalances.is_empty() && outside.rng.chance(40) {
            self.act_on_rebalance(outside);
        } else if !self.commands.is_empty() && outside.rng.chance(60) {
            self.obey(outside);
        } else if !self.reads.is_empty() {
            self.read_committed(outside);
        } else if self.revoking.is_some() && outside.rng.chance(30) {
            self.finish_revocation(outside);
        } else if reachable {
            self.consume(outside);
        }
    }

    fn act_on_rebalance(&mut self, outside: &mut Outside) {
        match self.rebalances.pop_front() {
            Some(Rebalance::Assign(tp)) if !self.draining => {
                self.epochs += 1;
                let epoch = Epoch(self.epochs);
                self.lanes.insert(
                    tp.clone(),
                    Lane { epoch, attempt: None, delivered: 0, committed: 0, vacant_until: 0, paused: true },
                );
                self.told.push_back(Input::Assigned { tp, epoch, stop: None });
            }
            Some(Rebalance::Assign(_)) | None => {}
            Some(Rebalance::Revoke(partitions)) => {
                outside.tally.add("partitions asked back", partitions.len() as u64);
                for tp in &partitions {
                    if let Some(lane) = self.lanes.get(tp) {
                        self.told.push_back(Input::Revoked { tp: tp.clone(), epoch: lane.epoch });
                    }
                }
                let deadline = outside.now + DRAIN_DEADLINE_MS;
                self.revoking = Some(Revocation { partitions, deadline });
            }
            Some(Rebalance::Lost) => self.lose(outside),
        }
    }

    fn lose(&mut self, outside: &mut Outside) {
        outside.tally.add("partitions lost", self.lanes.len() as u64);
        if outside.control == Control::LostAsRevoked {
            for (tp, lane) in &self.lanes {
                self.told.push_back(Input::Revoked { tp: tp.clone(), epoch: lane.epoch });
            }
        } else {
            for tp in self.lanes.keys().cloned().collect::<Vec<_>>() {
                self.drop_lane(&tp);
            }
        }
        self.assigned.clear();
        self.epoch = outside.coordinator.join(self.id);
        self.put_out = false;
    }

    fn drop_lane(&mut self, tp: &TopicPartition) {
        if let Some(lane) = self.lanes.remove(tp) {
            self.told.push_back(Input::Lost { tp: tp.clone(), epoch: lane.epoch });
        }
    }

    fn finish_revocation(&mut self, outside: &mut Outside) {
        let Some(revocation) = &self.revoking else { return };
        let waiting = revocation.partitions.iter().any(|tp| self.lanes.contains_key(tp));
        if !waiting || outside.now >= revocation.deadline {
            if waiting {
                outside.tally.count("drain deadlines passed");
            }
            self.give_up_revoked(outside);
        }
    }

    fn give_up_revoked(&mut self, outside: &mut Outside) {
        let Some(revocation) = self.revoking.take() else { return };
        for tp in &revocation.partitions {
            self.drop_lane(tp);
            self.assigned.remove(tp);
            outside.coordinator.given_up(tp, self.id, self.epoch);
        }
    }

    fn obey(&mut self, outside: &mut Outside) {
        let mut commits = Vec::new();
        for command in std::mem::take(&mut self.commands) {
            match command {
                Command::ReadCommitted(tp, epoch, attempt) => self.reads.push_back((tp, epoch, attempt)),
                Command::Commit(commit) => commits.push(commit),
                Command::Start(tp, epoch, attempt, offset) => self.with_lane(&tp, epoch, |lane| {
                    lane.attempt = Some(attempt);
                    lane.delivered = offset.as_i64();
                    lane.vacant_until = 0;
                    lane.paused = false;
                }),
                Command::Pause(tp, epoch, paused) => self.with_lane(&tp, epoch, |lane| lane.paused = paused),
                Command::Release(tp, epoch) => {
                    if self.lanes.get(&tp).is_some_and(|lane| lane.epoch == epoch) {
                        self.lanes.remove(&tp);
                    }
                }
            }
        }
        for commit in commits {
            match self.guard(&commit) {
                Ok(()) => self.in_flight.push(commit),
                Err(reason) if self.lanes.contains_key(&commit.tp) => {
                    outside.tally.count("commits held back by the guard");
                    let result = Err(CommitError::Refused(reason.to_owned()));
                    self.told.push_back(Input::CommitDone { tp: commit.tp, commit: commit.commit, result });
                }
                Err(_) => outside.tally.count("commits held back by the guard"),
            }
        }
    }

    fn guard(&self, commit: &Commit) -> Result<(), &'static str> {
        match self.lanes.get(&commit.tp).filter(|lane| lane.epoch == commit.epoch) {
            None => Err("no longer ours"),
            Some(lane) if commit.offset.as_i64() < lane.committed => Err("backwards"),
            Some(lane) if commit.offset.as_i64() > lane.delivered.max(lane.vacant_until) => {
                Err("beyond what was handed over")
            }
            Some(_) => Ok(()),
        }
    }

    /// The request is answered, or is not. The client sends it in the epoch it has now: also where it has rejoined.
    fn finish_commits(&mut self, outside: &mut Outside) {
        let trouble = outside.trouble(Service::Broker);
        let fenced = !outside.calm && outside.rng.chance(1);
        let applied = !fenced && (!trouble || outside.rng.chance(50));
        for commit in std::mem::take(&mut self.in_flight) {
            let mut result = Ok(());
            if applied {
                let request = (&commit.tp, commit.offset, commit.metadata.as_str());
                result = outside.coordinator.commit(self.id, Some(self.epoch), request, &mut outside.ledger);
            }
            if fenced {
                // A member whose epoch has just moved on.
                result = Err(CommitError::Refused("stale member epoch".to_owned()));
            }
            if result.is_err() {
                outside.tally.count("commits refused");
            } else if trouble {
                outside.tally.count(if applied { "commits made, answer lost" } else { "commits lost" });
                result = Err(CommitError::Unknown("no answer".to_owned()));
            }
            let Some(lane) = self.lanes.get_mut(&commit.tp) else { continue };
            if result.is_ok() {
                lane.committed = commit.offset.as_i64();
            }
            self.told.push_back(Input::CommitDone { tp: commit.tp, commit: commit.commit, result });
        }
    }

    fn read_committed(&mut self, outside: &mut Outside) {
        let Some((tp, epoch, attempt)) = self.reads.pop_front() else { return };
        let trouble = outside.trouble(Service::Broker) || self.cut_off_until > outside.now;
        let Some(lane) = self.lanes.get_mut(&tp) else { return };
        let result = if trouble { Err(passing(Stage::Recover)) } else { Ok(outside.position(&tp)) };
        if let Ok(position) = &result {
            lane.committed = position.committed.map_or(0, Offset::as_i64);
            lane.vacant_until = if position.committed.is_none() { position.high.as_i64() } else { 0 };
        }
        if lane.epoch == epoch {
            self.told.push_back(Input::Committed { tp, epoch, attempt, result });
        }
    }

    /// Hands on records of one partition, or its position where there are none.
    fn consume(&mut self, outside: &mut Outside) {
        let flowing: Vec<TopicPartition> = self.flowing(outside).cloned().collect();
        if flowing.is_empty() {
            return;
        }
        let tp = flowing[outside.rng.below(flowing.len())].clone();
        let most = 1 + outside.rng.below(40);
        let lane = self.lanes.get_mut(&tp).unwrap();
        let (epoch, Some(attempt)) = (lane.epoch, lane.attempt) else { return };
        if lane.delivered < outside.logs.low(&tp) {
            let reason = format!("{tp}: the offset to be read is out of range");
            let failure = Failure::fatal(Stage::Consume, reason);
            self.told.push_back(Input::ReadFailed { tp, epoch, failure });
            return;
        }
        outside.ledger.owe_from(&tp, lane.delivered);
        let (block, delivered) = outside.logs.fetch(&tp, lane.delivered, most);
        lane.delivered = delivered;
        self.told.push_back(match block {
            Some(block) => Input::Records { tp, epoch, attempt, block },
            None => Input::Reached { tp, epoch, attempt, position: Offset::new(delivered).unwrap() },
        });
    }

    /// Whether there is something to fetch, and room for it.
    pub(crate) fn can_fetch(&self, outside: &Outside) -> bool {
        self.told.len() <= 12 && self.flowing(outside).next().is_some()
    }

    fn flowing(&self, outside: &Outside) -> impl Iterator<Item = &TopicPartition> {
        let end = |tp: &TopicPartition| outside.logs.end(tp);
        self.lanes
            .iter()
            .filter(move |(tp, lane)| lane.attempt.is_some() && !lane.paused && lane.delivered < end(tp))
            .map(|(tp, _)| tp)
    }

    fn with_lane(&mut self, tp: &TopicPartition, epoch: Epoch, act: impl FnOnce(&mut Lane)) {
        if let Some(lane) = self.lanes.get_mut(tp).filter(|lane| lane.epoch == epoch) {
            act(lane);
        }
    }
}
