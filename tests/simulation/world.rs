//! Owns one simulated run: chance picks what happens next, faults stop at some point, and then every promise is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use sluice::error::{Failure, Stage};
use sluice::position::{Epoch, Offset, TopicPartition};
use sluice::record::OwnedRecord;
use sluice::task::clock::{Now, Tick};
use sluice::task::message::{CommitError, Input, PublishedFiles, StagingError};
use sluice::task::names::parse_object_name;
use sluice::task::settings::TaskSettings;

use crate::Control;
use crate::broker::Broker;
use crate::process::{Lane, Process, Work};
use crate::rng::Rng;
use crate::schemas;
use crate::store::{self, Outcome, PublishedFile, Store};

/// Steps with faults, and steps that may follow without any until lag must be 0.
const FAULTY_STEPS: usize = 1_200;
const CALM_STEPS: usize = 300_000;
const BUDGET_BYTES: u64 = 8 << 20;

pub(crate) struct World {
    rng: Rng,
    settings: Arc<TaskSettings>,
    control: Control,
    broker: Broker,
    store: Store,
    processes: Vec<Option<Process>>,
    next_process: usize,
    epochs: u64,
    now: u64,
    wall_offset: i64,
    calm: bool,
    trace: DefaultHasher,
    pub tally: Tally,
    /// Offsets that no file may hold: skipped poison and tombstones.
    skipped: BTreeMap<TopicPartition, BTreeSet<i64>>,
}

/// What happened in a run, so that one sees the faults were met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub crashes: u64,
    pub stalls: u64,
    pub lost: u64,
    pub revoked: u64,
    pub replayed: u64,
    pub adopted: u64,
    pub files: u64,
    pub flushes: u64,
    pub records: u64,
    pub dropped: u64,
}

impl World {
    pub(crate) fn new(seed: u64, control: Control) -> Self {
        let mut rng = Rng::new(seed);
        let settings = Arc::new(schemas::settings(&mut rng));
        let partitions = 1 + rng.below(4) as i32;
        let mut broker = Broker::default();
        for partition in 0..partitions {
            broker.logs.insert(TopicPartition::new("t", partition), crate::broker::Log::default());
        }
        let mut world = Self {
            rng,
            settings,
            control,
            broker,
            store: Store::default(),
            processes: Vec::new(),
            next_process: 0,
            epochs: 0,
            now: 1_000,
            wall_offset: 1_700_000_000_000,
            calm: false,
            trace: DefaultHasher::new(),
            tally: Tally::default(),
            skipped: BTreeMap::new(),
        };
        for _ in 0..1 + world.rng.below(3) {
            world.start_process();
        }
        world
    }

    /// Runs to the end and checks everything; gives the hash of the trace.
    pub(crate) fn run(mut self) -> (u64, Tally) {
        for _ in 0..FAULTY_STEPS {
            self.step();
        }
        self.calm = true;
        for process in self.processes.iter_mut().flatten() {
            process.stalled_until = 0;
        }
        let mut steps = 0;
        while !self.at_rest() {
            self.step();
            steps += 1;
            assert!(
                steps < CALM_STEPS,
                "K7: lag is {} after {steps} steps without faults\n{}",
                self.broker.lag(),
                self.describe()
            );
        }
        self.check_delivery();
        for process in self.processes.iter().flatten() {
            self.tally.replayed += process.replayed;
            self.tally.flushes += process.rotations;
            self.tally.dropped += process.dropped;
        }
        self.tally.adopted = self.store.adopted;
        self.tally.files = self.store.files.len() as u64;
        (self.trace.finish(), self.tally)
    }

    fn at_rest(&self) -> bool {
        self.broker.lag() == 0
    }

    fn step(&mut self) {
        let action = self.rng.below(100);
        (action, self.now).hash(&mut self.trace);
        match action {
            0..6 if !self.calm => self.produce(),
            6..8 if !self.calm => self.rebalance(),
            8..9 if !self.calm && self.rng.chance(40) => self.crash(),
            9..10 if !self.calm && self.rng.chance(50) => self.stall(),
            10..11 => self.expire_sessions(),
            11..20 => self.pass_time(),
            20..50 => self.consume(),
            50..75 => self.work(),
            _ => self.answer(),
        }
        self.assign_orphans();
        self.check_memory();
    }

    // The world's own life

    fn produce(&mut self) {
        let tps: Vec<TopicPartition> = self.broker.logs.keys().cloned().collect();
        let tp = &tps[self.rng.below(tps.len())];
        for _ in 0..1 + self.rng.below(30) {
            let log = self.broker.logs.get_mut(tp).unwrap();
            // Gaps as compaction and transaction markers leave them.
            if self.rng.chance(10) {
                log.end += 1 + self.rng.below(5) as i64;
            }
            let offset = log.end;
            log.end += 1;
            let (value, refused) = schemas::value(&mut self.rng, offset);
            if refused {
                self.skipped.entry(tp.clone()).or_default().insert(offset);
            }
            let timestamp = self.wall_offset + self.now as i64 + self.rng.below(7_200_000) as i64;
            log.records.push(OwnedRecord {
                offset: Offset::new(offset).unwrap(),
                timestamp_ms: self.rng.chance(95).then_some(timestamp),
                key: None,
                value,
                headers: Vec::new(),
            });
            self.tally.records += 1;
        }
        if self.rng.chance(20) {
            self.broker.logs.get_mut(tp).unwrap().end += 1;
        }
    }

    fn start_process(&mut self) {
        let seed = self.rng.next();
        let process = Process::new(self.next_process, self.settings.clone(), seed, BUDGET_BYTES);
        self.next_process += 1;
        self.processes.push(Some(process));
    }

    /// kill -9: everything not published or committed is gone; a new process may take its place.
    fn crash(&mut self) {
        let Some(at) = self.pick_process() else { return };
        let Some(process) = self.processes[at].take() else { return };
        self.tally.crashes += 1;
        self.tally.replayed += process.replayed;
        self.tally.flushes += process.rotations;
        for log in self.broker.logs.values_mut() {
            if log.owner.is_some_and(|(owner, _)| owner == process.id) {
                log.owner = None;
            }
        }
        self.start_process();
    }

    /// SIGSTOP: it does nothing for a while, and does not know of it when it wakes.
    fn stall(&mut self) {
        let Some(at) = self.pick_process() else { return };
        let wake = self.now + 500 + self.rng.below(20_000) as u64;
        if let Some(process) = &mut self.processes[at] {
            process.stalled_until = wake;
            self.tally.stalls += 1;
        }
    }

    /// The coordinator takes the partitions of members it has not heard of.
    fn expire_sessions(&mut self) {
        let expired: Vec<usize> = self
            .processes
            .iter()
            .flatten()
            .filter(|process| process.stalled_until > self.now + 2_000)
            .map(|process| process.id)
            .collect();
        for log in self.broker.logs.values_mut() {
            if log.owner.is_some_and(|(owner, _)| expired.contains(&owner)) {
                log.owner = None;
            }
        }
    }

    /// Moves a partition from one member to another: asked back first, as in a cooperative rebalance.
    fn rebalance(&mut self) {
        let tps: Vec<TopicPartition> = self.broker.logs.keys().cloned().collect();
        let tp = &tps[self.rng.below(tps.len())];
        let Some((owner, _)) = self.broker.logs[tp].owner else { return };
        let Some(process) = self.processes.iter_mut().flatten().find(|process| process.id == owner) else {
            return;
        };
        if process.stalled_until > self.now {
            return;
        }
        let Some(lane) = process.lanes.get_mut(tp).filter(|lane| !lane.revoking) else { return };
        lane.revoking = true;
        let (epoch, now) = (lane.epoch, self.clock());
        self.tally.revoked += 1;
        let process = self.processes.iter_mut().flatten().find(|process| process.id == owner).unwrap();
        process.handle(Input::Revoked { tp: tp.clone(), epoch }, now);
    }

    /// Gives free partitions to members, and takes given-up ones from their owner.
    fn assign_orphans(&mut self) {
        let now = self.clock();
        for at in 0..self.processes.len() {
            if self.processes[at].as_ref().is_some_and(|process| process.stalled_until <= self.now) {
                self.notice_ownership(at, now);
            }
        }
        let tps: Vec<TopicPartition> = self
            .broker
            .logs
            .iter()
            .filter(|(_, log)| log.owner.is_none())
            .map(|(tp, _)| tp.clone())
            .collect();
        for tp in tps {
            let Some(at) = self.pick_process() else { return };
            self.epochs += 1;
            let (generation, epoch) = (self.epochs, Epoch(self.epochs));
            let Some(process) = &mut self.processes[at] else { continue };
            if process.stalled_until > self.now
                || process.failure.is_some()
                || process.lanes.contains_key(&tp)
            {
                continue;
            }
            self.broker.logs.get_mut(&tp).unwrap().owner = Some((process.id, generation));
            let lane = Lane {
                epoch,
                generation,
                attempt: None,
                position: 0,
                paused: true,
                eof_told: -1,
                revoking: false,
            };
            process.lanes.insert(tp.clone(), lane);
            process.handle(Input::Assigned { tp, epoch, stop: None }, now);
        }
    }

    /// A running process hears of partitions it has lost, and has its given-up ones handed on.
    fn notice_ownership(&mut self, at: usize, now: Now) {
        let Some(process) = &mut self.processes[at] else { return };
        let id = process.id;
        for (tp, log) in &mut self.broker.logs {
            let owned = log.owner.filter(|(owner, _)| *owner == id).map(|(_, generation)| generation);
            match (owned, process.lanes.get(tp)) {
                // Released after a revoke: free for somebody else.
                (Some(_), None) => log.owner = None,
                (Some(generation), Some(lane)) if lane.generation == generation => {}
                (_, Some(lane)) => {
                    let epoch = lane.epoch;
                    if self.control == Control::LostAsRevoked {
                        // The control treats a loss as a revoke: flushes, publishes, then lets go.
                        process.handle(Input::Revoked { tp: tp.clone(), epoch }, now);
                        continue;
                    }
                    process.lanes.remove(tp);
                    process.handle(Input::Lost { tp: tp.clone(), epoch }, now);
                    self.tally.lost += 1;
                }
                (None, None) => {}
            }
        }
    }

    fn pass_time(&mut self) {
        self.now += self.rng.below(400) as u64;
        if !self.calm && self.rng.chance(3) {
            // The wall clock steps; rotation must not care.
            self.wall_offset += 3_600_000 * (self.rng.below(3) as i64 - 1);
        }
        let now = self.clock();
        for process in self.processes.iter_mut().flatten() {
            let due = process.task.poll_timeout().is_some_and(|until| until <= now.tick);
            if process.stalled_until <= self.now && (due || self.rng.chance(5)) {
                process.handle(Input::Tick, now);
            }
        }
        if self.calm {
            // Nothing rotates by itself when a run has only row limits: end what is open, as an operator would.
            for process in self.processes.iter_mut().flatten() {
                process.handle(Input::FlushNow, now);
            }
            self.replace_failed();
        }
    }

    /// A stopped connector is started again by its supervisor once faults have ended.
    fn replace_failed(&mut self) {
        for at in 0..self.processes.len() {
            let failed = self.processes[at].as_ref().and_then(|process| process.failure.clone());
            if let Some(failure) = failed {
                panic!("a connector stopped: {failure}");
            }
        }
    }

    // A process's life

    fn pick_process(&mut self) -> Option<usize> {
        let alive: Vec<usize> =
            (0..self.processes.len()).filter(|at| self.processes[*at].is_some()).collect();
        if alive.is_empty() { None } else { Some(alive[self.rng.below(alive.len())]) }
    }

    fn awake(&mut self) -> Option<usize> {
        let at = self.pick_process()?;
        let now = self.now;
        self.processes[at].as_ref().filter(|process| process.stalled_until <= now).map(|_| at)
    }

    fn consume(&mut self) {
        let Some(at) = self.awake() else { return };
        let now = self.clock();
        let most = 1 + self.rng.below(40);
        let Some(process) = &mut self.processes[at] else { return };
        let running: Vec<TopicPartition> = process
            .lanes
            .iter()
            .filter(|(_, lane)| lane.attempt.is_some() && !lane.paused)
            .map(|(tp, _)| tp.clone())
            .collect();
        if running.is_empty() {
            return;
        }
        let tp = running[self.rng.below(running.len())].clone();
        let lane = process.lanes.get_mut(&tp).unwrap();
        let (epoch, Some(attempt)) = (lane.epoch, lane.attempt) else { return };
        let (block, position) = self.broker.fetch(&tp, lane.position, most);
        lane.position = position;
        if let Some(block) = block {
            process.handle(Input::Records { tp, epoch, attempt, block }, now);
        } else if lane.eof_told != position {
            lane.eof_told = position;
            let position = Offset::new(position).unwrap();
            process.handle(Input::Reached { tp, epoch, attempt, position }, now);
        }
    }

    /// Delivers one answer; those of one partition's commits keep their order, all else is picked at random.
    fn answer(&mut self) {
        let Some(at) = self.awake() else { return };
        let now = self.clock();
        let Some(process) = &mut self.processes[at] else { return };
        if process.answers.is_empty() {
            return;
        }
        let answer = process.answers.remove(self.rng.below(process.answers.len()));
        process.handle(answer, now);
    }

    /// Does one piece of work that a task asked for, perhaps badly.
    fn work(&mut self) {
        let Some(at) = self.awake() else { return };
        let Some(mut process) = self.processes[at].take() else { return };
        if !process.work.is_empty() {
            // Commits are executed in the order they were asked for; the rest in any.
            let mut pick = self.rng.below(process.work.len());
            if let Work::Commit { .. } = process.work[pick] {
                pick = process.work.iter().position(|work| matches!(work, Work::Commit { .. })).unwrap();
            }
            let work = process.work.remove(pick);
            self.do_work(&mut process, work);
        }
        self.processes[at] = Some(process);
    }

    fn do_work(&mut self, process: &mut Process, work: Work) {
        let trouble = !self.calm && self.rng.chance(8);
        match work {
            Work::ReadCommitted(tp, epoch, attempt) => {
                let result =
                    if trouble { Err(passing(Stage::Recover)) } else { Ok(self.broker.position(&tp)) };
                let result = result.map(|mut position| {
                    if self.control == Control::IgnoreIntent {
                        position.metadata.clear();
                    }
                    position
                });
                process.answers.push(Input::Committed { tp, epoch, attempt, result });
            }
            Work::Claim(tp, epoch, attempt, claim) => {
                let standing = self.store.claims.entry(tp.topic.to_string()).or_insert(claim).clone();
                let result = if trouble { Err(passing(Stage::Recover)) } else { Ok(standing) };
                process.answers.push(Input::Claimed { tp, epoch, attempt, result });
            }
            Work::List(tp, epoch, attempt) => {
                let last = self.store.last_flush(&tp);
                let result = if trouble { Err(passing(Stage::Recover)) } else { Ok(last) };
                process.answers.push(Input::Listed { tp, epoch, attempt, result });
            }
            Work::Commit { tp, epoch, commit, offset, metadata } => {
                let Some(lane) = process.lanes.get(&tp).filter(|lane| lane.epoch == epoch) else { return };
                let generation = lane.generation;
                let applied = !trouble || self.rng.chance(50);
                let mut result = Ok(());
                if applied {
                    let before = self.broker.logs[&tp].committed.clone();
                    result = self.broker.commit(process.id, generation, &tp, offset, &metadata);
                    if result.is_ok() {
                        self.check_commit(&tp, before.map_or(0, |(offset, _)| offset), offset.as_i64());
                    }
                }
                if trouble && result.is_ok() {
                    result = Err(CommitError::Unknown("no answer".to_owned()));
                }
                process.answers.push(Input::CommitDone { tp, commit, result });
            }
            Work::Seal(tp, flush, files) => {
                let result = if trouble && self.rng.chance(30) {
                    Err(StagingError::Spoiled(passing(Stage::Seal)))
                } else if trouble {
                    Err(StagingError::Retriable(passing(Stage::Seal)))
                } else {
                    process.sealed.insert(flush, files);
                    Ok(())
                };
                process.answers.push(Input::Sealed { tp, flush, result });
            }
            Work::Publish(tp, flush) => self.publish(process, tp, flush, trouble),
            Work::FetchSchema(id) => {
                let result = if trouble { Err(passing(Stage::Schema)) } else { schemas::text(id) };
                process.answers.push(Input::SchemaFetched { id, result });
            }
        }
    }

    /// Makes the files of a flush visible one by one; trouble may strike between any two, and after the last.
    fn publish(
        &mut self,
        process: &mut Process,
        tp: TopicPartition,
        flush: sluice::task::message::FlushId,
        trouble: bool,
    ) {
        let (Some(files), Some(staged)) = (process.sealed.get(&flush), process.staged.get(&flush)) else {
            return;
        };
        let stop_after = if trouble { self.rng.below(files.len() + 1) } else { files.len() };
        let mut published = PublishedFiles::default();
        for (number, file) in files.iter().enumerate() {
            if number >= stop_after {
                let result = Err(StagingError::Retriable(passing(Stage::Publish)));
                process.answers.push(Input::Published { tp, flush, result });
                return;
            }
            let bytes = Bytes::from(staged[number].clone());
            let footer = store::read_footer(bytes.clone());
            let offsets = store::read_offsets(bytes);
            assert_eq!(offsets.len() as u64, file.rows, "{}: rows as sealed", file.name);
            self.check_publication(&tp, &file.name);
            let visible = PublishedFile { rows: file.rows, checksum: file.checksum, offsets, footer };
            match self.store.publish(&file.name, &visible, self.control == Control::Replace) {
                Outcome::Created => published.created += 1,
                Outcome::Adopted => published.adopted += 1,
                Outcome::Conflict => {
                    let failure =
                        Failure::fatal(Stage::Publish, format!("{} exists with other content", file.name));
                    process.answers.push(Input::Published {
                        tp,
                        flush,
                        result: Err(StagingError::Fatal(failure)),
                    });
                    return;
                }
            }
        }
        let result =
            if trouble { Err(StagingError::Retriable(passing(Stage::Publish))) } else { Ok(published) };
        process.answers.push(Input::Published { tp, flush, result });
    }

    // Promises

    /// K1: nothing is committed before it is settled.
    fn check_commit(&self, tp: &TopicPartition, before: i64, after: i64) {
        let files: BTreeSet<i64> = self
            .store
            .files
            .iter()
            .filter(|(name, _)| parse_object_name(name).is_some_and(|(found, _, _)| found == *tp))
            .flat_map(|(_, file)| file.offsets.iter().copied())
            .collect();
        let skipped = self.skipped.get(tp);
        for record in &self.broker.logs[tp].records {
            let offset = record.offset.as_i64();
            if (before..after).contains(&offset) {
                let settled =
                    files.contains(&offset) || skipped.is_some_and(|skipped| skipped.contains(&offset));
                assert!(settled, "K1: {tp} commits {after}, but offset {offset} is in no file");
            }
        }
    }

    /// K4: the coordinator has accepted an intent of exactly this range.
    fn check_publication(&self, tp: &TopicPartition, name: &str) {
        let (_, range, _) = parse_object_name(name).expect("a name of ours");
        let intents = &self.broker.logs[tp].intents;
        assert!(intents.contains(&range), "K4: {name} is published without an intent of {range}");
    }

    /// K5: memory stays within the budget plus one batch for each lane.
    fn check_memory(&self) {
        for process in self.processes.iter().flatten() {
            let used = process.budget.used_bytes();
            let most = process.budget.limit_bytes() + (1 << 20) * (process.lanes.len() as u64 + 1);
            assert!(used <= most, "K5: {used} bytes used of {}", process.budget.limit_bytes());
        }
    }

    /// K2: every delivered offset is in exactly one file, or counted as a skip.
    fn check_delivery(&self) {
        let mut seen: BTreeMap<TopicPartition, BTreeMap<i64, &str>> = BTreeMap::new();
        for (name, file) in &self.store.files {
            let (tp, range, _) = parse_object_name(name).expect("a name of ours");
            for offset in &file.offsets {
                assert!(range.contains(Offset::new(*offset).unwrap()), "{name} holds {offset}");
                if let Some(other) = seen.entry(tp.clone()).or_default().insert(*offset, name) {
                    panic!("K2: {tp} offset {offset} is in {other} and in {name}");
                }
            }
        }
        for (tp, log) in &self.broker.logs {
            for record in &log.records {
                let offset = record.offset.as_i64();
                let delivered = seen.get(tp).is_some_and(|seen| seen.contains_key(&offset));
                let skipped = self.skipped.get(tp).is_some_and(|skipped| skipped.contains(&offset));
                assert!(
                    delivered != skipped,
                    "K2: {tp} offset {offset}: delivered {delivered}, skipped {skipped}"
                );
            }
        }
    }

    /// For a run that does not come to rest.
    fn describe(&self) -> String {
        let mut text = String::new();
        for (tp, log) in &self.broker.logs {
            text += &format!("{tp}: end {}, committed {:?}, owner {:?}\n", log.end, log.committed, log.owner);
        }
        for process in self.processes.iter().flatten() {
            let (id, work, answers) = (process.id, process.work.len(), process.answers.len());
            let used = process.budget.used_bytes();
            text += &format!(
                "process {id}: work {work}, answers {answers}, memory {used}, {:?}\n",
                process.failure
            );
            for work in &process.work {
                text += &format!("  asked for: {work:?}\n");
            }
            for lane in process.task.snapshot() {
                text += &format!("  {lane:?}\n");
            }
        }
        text
    }

    fn clock(&self) -> Now {
        Now { tick: Tick(self.now), wall_ms: self.wall_offset + self.now as i64 }
    }
}

fn passing(stage: Stage) -> Failure {
    Failure::retriable(stage, "a passing fault")
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.stalls += other.stalls;
        self.lost += other.lost;
        self.revoked += other.revoked;
        self.replayed += other.replayed;
        self.adopted += other.adopted;
        self.files += other.files;
        self.flushes += other.flushes;
        self.records += other.records;
        self.dropped += other.dropped;
    }
}
