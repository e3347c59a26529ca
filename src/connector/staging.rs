//! Owns the way of a flush's files through storage: one small actor a flush takes its bytes in order, seals and
//! publishes them as asked, and tells the task what became of it. Decides nothing, retries nothing.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::connector::containment::Containment;
use crate::error::Stage;
use crate::kafka::TaskSender;
use crate::position::TopicPartition;
use crate::storage::{FileIdentity, ObjectName, Published, StagedFile, StorageError, Store};
use crate::task::budget::MemoryBudget;
use crate::task::message::{FlushId, Input, PublishedFiles, SealedFile, StagingError};

/// Files of one flush that are sealed or published at the same time.
const FILES_AT_ONCE: usize = 16;

/// Gives each flush its actor.
pub(super) struct Staging {
    store: Store,
    containment: Containment,
    budget: MemoryBudget,
    reply: TaskSender,
    flushes: HashMap<FlushId, UnboundedSender<Step>>,
}

enum Step {
    Append { file: usize, bytes: Bytes },
    Seal(Vec<SealedFile>),
    Publish,
}

impl Staging {
    pub(super) fn new(
        store: Store,
        containment: Containment,
        budget: MemoryBudget,
        reply: TaskSender,
    ) -> Self {
        Self { store, containment, budget, reply, flushes: HashMap::new() }
    }

    pub(super) fn append(&mut self, tp: &TopicPartition, flush: FlushId, file: usize, bytes: Bytes) {
        self.budget.reserve(bytes.len() as u64);
        self.step(tp, flush, Step::Append { file, bytes });
    }

    pub(super) fn seal(&mut self, tp: &TopicPartition, flush: FlushId, files: Vec<SealedFile>) {
        self.step(tp, flush, Step::Seal(files));
    }

    pub(super) fn publish(&mut self, tp: &TopicPartition, flush: FlushId) {
        self.step(tp, flush, Step::Publish);
    }

    /// The actor ends once its channel is closed, and discards what is not published.
    pub(super) fn discard(&mut self, flush: FlushId) {
        self.flushes.remove(&flush);
    }

    fn step(&mut self, tp: &TopicPartition, flush: FlushId, step: Step) {
        let sender = self.flushes.entry(flush).or_insert_with(|| {
            let (sender, steps) = unbounded_channel();
            let actor = FlushActor {
                store: self.store.clone(),
                budget: self.budget.clone(),
                reply: self.reply.clone(),
                tp: tp.clone(),
                flush,
                files: Vec::new(),
                sealed: Vec::new(),
                reserved_bytes: 0,
                failed: false,
            };
            self.containment.spawn(Stage::Publish, actor.run(steps));
            sender
        });
        // The actor only ends when this sender is dropped.
        let _ = sender.send(step);
    }
}

struct FlushActor {
    store: Store,
    budget: MemoryBudget,
    reply: TaskSender,
    tp: TopicPartition,
    flush: FlushId,
    files: Vec<StagedFile>,
    sealed: Vec<SealedFile>,
    /// Bytes of this flush that the budget counts: those staged in memory.
    reserved_bytes: u64,
    failed: bool,
}

impl FlushActor {
    async fn run(mut self, mut steps: UnboundedReceiver<Step>) {
        while let Some(step) = steps.recv().await {
            match step {
                Step::Append { file, bytes } => self.append(file, bytes).await,
                Step::Seal(files) => {
                    self.sealed = files;
                    let result = self.seal().await.map_err(|error| staging_error(error, Stage::Seal));
                    self.tell(|tp, flush| Input::Sealed { tp, flush, result });
                }
                Step::Publish => {
                    let result = self.publish().await.map_err(|error| staging_error(error, Stage::Publish));
                    self.tell(|tp, flush| Input::Published { tp, flush, result });
                }
            }
            self.keep_books();
        }
        for file in std::mem::take(&mut self.files) {
            file.discard().await;
        }
    }

    async fn append(&mut self, file: usize, bytes: Bytes) {
        self.reserved_bytes += bytes.len() as u64;
        if self.failed {
            return;
        }
        while self.files.len() <= file {
            self.files.push(self.store.stage(self.flush.0));
        }
        match self.files[file].append(bytes).await {
            // Bytes that could not be written yet wait in the file and are written by its next step.
            Ok(()) | Err(StorageError::Retriable { .. }) => {}
            Err(error) => {
                self.failed = true;
                let result = Err(staging_error(error, Stage::Seal));
                self.tell(|tp, flush| Input::Sealed { tp, flush, result });
            }
        }
    }

    async fn seal(&mut self) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::Spoiled { reason: "an earlier write failed".to_owned() });
        }
        assert_eq!(self.files.len(), self.sealed.len(), "every staged file has a name");
        let pairs = self.files.iter_mut().zip(&self.sealed);
        let work: Vec<BoxFuture<'_, _>> =
            pairs.map(|(file, sealed)| seal_file(file, sealed).boxed()).collect();
        worst(stream::iter(work).buffer_unordered(FILES_AT_ONCE).collect().await).map(|_| ())
    }

    async fn publish(&mut self) -> Result<PublishedFiles, StorageError> {
        let pairs = self.files.iter_mut().zip(&self.sealed);
        let work: Vec<BoxFuture<'_, _>> =
            pairs.map(|(file, sealed)| publish_file(file, sealed).boxed()).collect();
        let outcomes = worst(stream::iter(work).buffer_unordered(FILES_AT_ONCE).collect().await)?;
        let adopted = outcomes.iter().filter(|outcome| **outcome == Published::Adopted).count();
        Ok(PublishedFiles { created: outcomes.len() - adopted, adopted })
    }

    fn keep_books(&mut self) {
        let held: usize = self.files.iter().map(StagedFile::memory_bytes).sum();
        let held = held as u64;
        if held > self.reserved_bytes {
            self.budget.reserve(held - self.reserved_bytes);
        } else {
            self.budget.release(self.reserved_bytes - held);
        }
        self.reserved_bytes = held;
    }

    fn tell(&self, input: impl FnOnce(TopicPartition, FlushId) -> Input) {
        let _ = self.reply.send(input(self.tp.clone(), self.flush));
    }
}

/// Whichever way the actor ends, also by a panic, nothing of it counts any more.
impl Drop for FlushActor {
    fn drop(&mut self) {
        self.budget.release(self.reserved_bytes);
    }
}

async fn seal_file(file: &mut StagedFile, sealed: &SealedFile) -> Result<(), StorageError> {
    let name = ObjectName::new(sealed.name.clone())?;
    file.seal(&name).await
}

async fn publish_file(file: &mut StagedFile, sealed: &SealedFile) -> Result<Published, StorageError> {
    file.publish(&FileIdentity { rows: sealed.rows, checksum: sealed.checksum }).await
}

/// All results, or the error that asks for the most: fatal before spoiled before retriable.
fn worst<T>(results: Vec<Result<T, StorageError>>) -> Result<Vec<T>, StorageError> {
    let mut values = Vec::with_capacity(results.len());
    let mut worst: Option<StorageError> = None;
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(error) if worst.as_ref().is_none_or(|known| rank(&error) > rank(known)) => {
                worst = Some(error);
            }
            Err(_) => {}
        }
    }
    worst.map_or(Ok(values), Err)
}

fn rank(error: &StorageError) -> u8 {
    match error {
        StorageError::Retriable { .. } => 0,
        StorageError::Spoiled { .. } => 1,
        StorageError::Missing { .. } | StorageError::Invalid { .. } | StorageError::Denied { .. } => 2,
        StorageError::Conflict { .. } => 3,
    }
}

fn staging_error(error: StorageError, stage: Stage) -> StagingError {
    match error {
        StorageError::Retriable { .. } => StagingError::Retriable(error.into_failure(stage)),
        StorageError::Spoiled { .. } => StagingError::Spoiled(error.into_failure(stage)),
        other => StagingError::Fatal(other.into_failure(stage)),
    }
}
