//! Owns the model of a process's way to the store: an actor for each flush does its steps in order, one file after
//! another, and finishes what it was asked even when the flush is discarded meanwhile.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use sluice::error::{Failure, Stage};
use sluice::position::TopicPartition;
use sluice::task::budget::MemoryBudget;
use sluice::task::message::{FlushId, Input, PublishedFiles, SealedFile, StagingError};
use sluice::task::names::parse_object_name;

use crate::control::Control;
use crate::coordinator::ProcessId;
use crate::outside::{Outside, Service, passing};
use crate::store::Outcome;

pub(crate) struct Staging {
    id: ProcessId,
    budget: MemoryBudget,
    actors: BTreeMap<FlushId, Actor>,
}

struct Actor {
    tp: TopicPartition,
    steps: VecDeque<Step>,
    /// Bytes of each file.
    files: Vec<Vec<u8>>,
    sealed: Vec<SealedFile>,
    /// Bytes that the budget counts: those not durable yet.
    reserved_bytes: u64,
    /// Files still to be published in the present step, and what was done.
    publishing: Option<(Vec<usize>, PublishedFiles)>,
    /// A slow store.
    busy_until: u64,
    spoiled: bool,
    discarded: bool,
}

enum Step {
    Append(usize, Bytes),
    Seal(Vec<SealedFile>),
    Publish,
}

impl Staging {
    pub(crate) fn new(id: ProcessId, budget: MemoryBudget) -> Self {
        Self { id, budget, actors: BTreeMap::new() }
    }

    pub(crate) fn append(&mut self, tp: &TopicPartition, flush: FlushId, file: usize, bytes: Bytes) {
        self.budget.reserve(bytes.len() as u64);
        let actor = self.actor(tp, flush);
        actor.reserved_bytes += bytes.len() as u64;
        actor.steps.push_back(Step::Append(file, bytes));
    }

    pub(crate) fn seal(&mut self, tp: &TopicPartition, flush: FlushId, files: Vec<SealedFile>) {
        self.actor(tp, flush).steps.push_back(Step::Seal(files));
    }

    pub(crate) fn publish(&mut self, tp: &TopicPartition, flush: FlushId) {
        self.actor(tp, flush).steps.push_back(Step::Publish);
    }

    pub(crate) fn discard(&mut self, flush: FlushId) {
        if let Some(actor) = self.actors.get_mut(&flush) {
            actor.discarded = true;
        }
    }

    pub(crate) fn has_work(&self, outside: &Outside) -> bool {
        self.actors.values().any(|actor| actor.has_work(outside.now))
    }

    /// One step of one actor, and what it has to say.
    pub(crate) fn turn(&mut self, outside: &mut Outside) -> Option<Input> {
        let ready: Vec<FlushId> = self
            .actors
            .iter()
            .filter(|(_, actor)| actor.has_work(outside.now))
            .map(|(flush, _)| *flush)
            .collect();
        if ready.is_empty() {
            return None;
        }
        let flush = ready[outside.rng.below(ready.len())];
        let actor = self.actors.get_mut(&flush).unwrap();
        if !outside.calm && outside.rng.chance(2) {
            actor.busy_until = outside.now + outside.rng.below(30_000) as u64;
            outside.tally.count("slow store requests");
            return None;
        }
        let tp = actor.tp.clone();
        let said = match actor.steps.front() {
            Some(Step::Append(..)) => {
                actor.append(outside).map(|result| Input::Sealed { tp, flush, result: Err(result) })
            }
            Some(Step::Seal(_)) => {
                let result = actor.seal(outside);
                if result.is_ok() && outside.control == Control::PublishBeforeIntend {
                    actor.steps.push_back(Step::Publish);
                }
                Some(Input::Sealed { tp, flush, result })
            }
            Some(Step::Publish) => {
                actor.publish(self.id, outside).map(|result| Input::Published { tp, flush, result })
            }
            None => None,
        };
        if actor.spoiled || actor.steps.iter().all(|step| !matches!(step, Step::Append(..) | Step::Seal(_))) {
            self.budget.release(actor.reserved_bytes);
            actor.reserved_bytes = 0;
        }
        if actor.discarded && actor.steps.is_empty() {
            self.budget.release(actor.reserved_bytes);
            self.actors.remove(&flush);
        }
        said
    }

    fn actor(&mut self, tp: &TopicPartition, flush: FlushId) -> &mut Actor {
        self.actors.entry(flush).or_insert_with(|| Actor {
            tp: tp.clone(),
            steps: VecDeque::new(),
            files: Vec::new(),
            sealed: Vec::new(),
            reserved_bytes: 0,
            publishing: None,
            busy_until: 0,
            spoiled: false,
            discarded: false,
        })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.budget.release(self.actors.values().map(|actor| actor.reserved_bytes).sum());
    }
}

impl Actor {
    fn has_work(&self, now: u64) -> bool {
        self.busy_until <= now && (!self.steps.is_empty() || self.discarded)
    }

    fn append(&mut self, outside: &mut Outside) -> Option<StagingError> {
        let Some(Step::Append(file, bytes)) = self.steps.pop_front() else { return None };
        self.files.resize(self.files.len().max(file + 1), Vec::new());
        self.files[file].extend_from_slice(&bytes);
        if self.spoiled || !outside.trouble(Service::Store) || !outside.rng.chance(10) {
            return None;
        }
        self.spoiled = true;
        outside.tally.count("spoiled flushes");
        Some(StagingError::Spoiled(passing(Stage::Seal)))
    }

    fn seal(&mut self, outside: &mut Outside) -> Result<(), StagingError> {
        let Some(Step::Seal(files)) = self.steps.pop_front() else { return Ok(()) };
        self.sealed = files;
        if self.spoiled {
            return Err(StagingError::Spoiled(passing(Stage::Seal)));
        }
        assert_eq!(self.files.len(), self.sealed.len(), "every staged file has a name");
        if !outside.trouble(Service::Store) {
            return Ok(());
        }
        if outside.rng.chance(30) {
            self.spoiled = true;
            outside.tally.count("spoiled flushes");
            return Err(StagingError::Spoiled(passing(Stage::Seal)));
        }
        outside.tally.count("seals tried again");
        Err(StagingError::Retriable(passing(Stage::Seal)))
    }

    /// Makes one file visible; says something once all are, or one cannot be.
    fn publish(
        &mut self,
        process: ProcessId,
        outside: &mut Outside,
    ) -> Option<Result<PublishedFiles, StagingError>> {
        let files = self.sealed.len();
        let (left, done) =
            self.publishing.get_or_insert_with(|| ((0..files).collect(), PublishedFiles::default()));
        let trouble = outside.trouble(Service::Store);
        // A request that fails may have done its work.
        if !left.is_empty() && (!trouble || outside.rng.chance(50)) {
            // Any directory, but its files in the order of their names.
            let any = left[outside.rng.below(left.len())];
            let directory = |file: usize| self.sealed[file].name.rsplit_once('/').unwrap().0;
            let place = |file: usize| parse_object_name(&self.sealed[file].name).unwrap().2;
            let file = *left
                .iter()
                .filter(|file| directory(**file) == directory(any))
                .min_by_key(|file| place(**file))
                .unwrap();
            left.retain(|other| *other != file);
            let sealed = &self.sealed[file];
            match publish_one(process, &self.tp, sealed, &self.files[file], outside) {
                Outcome::Adopted => done.adopted += 1,
                Outcome::Created(_) => done.created += 1,
                Outcome::Conflict => {
                    let reason = format!("{} exists with other content", sealed.name);
                    return self
                        .finish_publishing(Err(StagingError::Fatal(Failure::fatal(Stage::Publish, reason))));
                }
            }
        }
        if trouble {
            if !left.is_empty() && left.len() < files {
                outside.tally.count("publications half done");
            }
            return self.finish_publishing(Err(StagingError::Retriable(passing(Stage::Publish))));
        }
        if !left.is_empty() {
            return None;
        }
        let done = done.clone();
        self.finish_publishing(Ok(done))
    }

    fn finish_publishing(
        &mut self,
        result: Result<PublishedFiles, StagingError>,
    ) -> Option<Result<PublishedFiles, StagingError>> {
        self.publishing = None;
        self.steps.pop_front();
        Some(result)
    }
}

fn publish_one(
    process: ProcessId,
    tp: &TopicPartition,
    file: &SealedFile,
    bytes: &[u8],
    outside: &mut Outside,
) -> Outcome {
    outside.ledger.publishing(tp, &file.name);
    let outcome = outside.store.publish(file, bytes, outside.control == Control::ReplaceFiles);
    if outside.coordinator.owner(tp) != Some(process) {
        outside.tally.count("files published by a zombie");
    }
    match &outcome {
        Outcome::Created(offsets) => {
            outside.ledger.published(tp, &file.name, file.rows, offsets);
            outside.tally.count("files created");
        }
        Outcome::Adopted => outside.tally.count("files adopted"),
        Outcome::Conflict => outside.tally.count("conflicts"),
    }
    outcome
}
