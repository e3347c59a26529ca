//! Owns the way of a flush's files through storage: one small actor a flush takes its bytes in order, seals and
//! publishes them as asked, and tells the task what became of it. Decides nothing, retries nothing.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;

use bytes::Bytes;
use futures_util::future::{BoxFuture, select};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::connector::containment::Containment;
use crate::error::Stage;
use crate::failpoint::failpoint;
use crate::kafka::TaskSender;
use crate::position::TopicPartition;
use crate::storage::{FileIdentity, ObjectName, Published, StagedFile, StorageError, Store};
use crate::task::budget::{MemoryBudget, Reservation};
use crate::task::message::{FlushId, Input, PublishedFiles, SealedFile, StagingError};
use crate::task::names::parse_object_name;

/// Files of one flush that are sealed or published at the same time.
const FILES_AT_ONCE: usize = 16;

/// Gives each flush its actor.
pub(super) struct Staging {
    store: Store,
    containment: Containment,
    budget: MemoryBudget,
    reply: TaskSender,
    flushes: HashMap<FlushId, Actor>,
}

/// An actor's other end. Dropping it cancels what the actor is at.
struct Actor {
    steps: UnboundedSender<Step>,
    /// Never sent to.
    _alive: oneshot::Sender<()>,
}

enum Step {
    /// The reservation counts the bytes as long as they wait, also when nobody takes them any more.
    Append {
        file: usize,
        bytes: Bytes,
        reservation: Reservation,
    },
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
        let reservation = self.budget.hold(bytes.len() as u64);
        self.step(tp, flush, Step::Append { file, bytes, reservation });
    }

    pub(super) fn seal(&mut self, tp: &TopicPartition, flush: FlushId, files: Vec<SealedFile>) {
        self.step(tp, flush, Step::Seal(files));
    }

    pub(super) fn publish(&mut self, tp: &TopicPartition, flush: FlushId) {
        self.step(tp, flush, Step::Publish);
    }

    /// The actor stops what it is at, discards what is not published, and ends.
    pub(super) fn discard(&mut self, flush: FlushId) {
        self.flushes.remove(&flush);
    }

    fn step(&mut self, tp: &TopicPartition, flush: FlushId, step: Step) {
        let actor = self.flushes.entry(flush).or_insert_with(|| {
            let (sender, steps) = unbounded_channel();
            let (alive, discarded) = oneshot::channel();
            let actor = FlushActor {
                store: self.store.clone(),
                reply: self.reply.clone(),
                tp: tp.clone(),
                flush,
                files: Vec::new(),
                sealed: Vec::new(),
                reservation: self.budget.hold(0),
                failed: false,
            };
            self.containment.spawn(Stage::Publish, actor.run(steps, discarded));
            Actor { steps: sender, _alive: alive }
        });
        // The actor only ends when this sender is dropped.
        let _ = actor.steps.send(step);
    }
}

struct FlushActor {
    store: Store,
    reply: TaskSender,
    tp: TopicPartition,
    flush: FlushId,
    files: Vec<StagedFile>,
    sealed: Vec<SealedFile>,
    /// Bytes of this flush that the budget counts: those staged in memory.
    reservation: Reservation,
    failed: bool,
}

impl FlushActor {
    /// Works until the flush is discarded. Whatever it is at then is dropped half-way: nobody waits for it, and it may be a
    /// large upload to a slow store.
    async fn run(mut self, steps: UnboundedReceiver<Step>, discarded: oneshot::Receiver<()>) {
        select(pin!(self.work(steps)), discarded).await;
        for file in std::mem::take(&mut self.files) {
            file.discard().await;
        }
    }

    async fn work(&mut self, mut steps: UnboundedReceiver<Step>) {
        while let Some(step) = steps.recv().await {
            match step {
                Step::Append { file, bytes, reservation } => {
                    self.reservation.absorb(reservation);
                    self.append(file, bytes).await;
                }
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
    }

    async fn append(&mut self, file: usize, bytes: Bytes) {
        if self.failed {
            return;
        }
        while self.files.len() <= file {
            self.files.push(self.store.stage(self.flush.0));
        }
        failpoint!("append.before");
        let outcome = self.files[file].append(bytes).await;
        failpoint!("append.after");
        match outcome {
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
        failpoint!("seal.before", return Err(injected()));
        let pairs = self.files.iter_mut().zip(&self.sealed);
        let work: Vec<BoxFuture<'_, _>> =
            pairs.map(|(file, sealed)| seal_file(file, sealed).boxed()).collect();
        worst(stream::iter(work).buffer_unordered(FILES_AT_ONCE).collect().await)?;
        failpoint!("seal.after", return Err(injected()));
        Ok(())
    }

    async fn publish(&mut self) -> Result<PublishedFiles, StorageError> {
        failpoint!("publish.before", return Err(injected()));
        let mut files: Vec<Option<&mut StagedFile>> = self.files.iter_mut().map(Some).collect();
        let mut work: Vec<BoxFuture<'_, _>> = Vec::new();
        for run in publication_runs(&self.sealed) {
            let pairs: Vec<_> = run
                .into_iter()
                .filter_map(|number| Some((files.get_mut(number)?.take()?, &self.sealed[number])))
                .collect();
            work.push(publish_in_order(pairs).boxed());
        }
        let runs = stream::iter(work).buffer_unordered(FILES_AT_ONCE).collect().await;
        let outcomes: Vec<Published> = worst(runs)?.into_iter().flatten().collect();
        failpoint!("publish.after", return Err(injected()));
        let adopted = outcomes.iter().filter(|outcome| **outcome == Published::Adopted).count();
        Ok(PublishedFiles { created: outcomes.len() - adopted, adopted })
    }

    fn keep_books(&mut self) {
        let held: usize = self.files.iter().map(StagedFile::memory_bytes).sum();
        self.reservation.set(held as u64);
    }

    fn tell(&self, input: impl FnOnce(TopicPartition, FlushId) -> Input) {
        let _ = self.reply.send(input(self.tp.clone(), self.flush));
    }
}

async fn seal_file(file: &mut StagedFile, sealed: &SealedFile) -> Result<(), StorageError> {
    let name = ObjectName::new(sealed.name.clone())?;
    file.seal(&name).await
}

/// Numbers of the files of each directory, in the order of their names.
///
/// A replay that finds fewer records than were there at first (compaction) may give a row's file a lower place in its
/// directory. As no file is visible before those of lower places, such a row meets the earlier file under the same name
/// and is found out, rather than being published beside it.
fn publication_runs(sealed: &[SealedFile]) -> Vec<Vec<usize>> {
    let mut runs: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
    for (number, file) in sealed.iter().enumerate() {
        let directory = file.name.rsplit_once('/').map_or("", |(directory, _)| directory);
        let ordinal = parse_object_name(&file.name).map_or(0, |(_, _, ordinal)| ordinal);
        runs.entry(directory).or_default().push((ordinal, number));
    }
    runs.into_values()
        .map(|mut run| {
            run.sort_unstable();
            run.into_iter().map(|(_, number)| number).collect()
        })
        .collect()
}

/// Publishes one after the other, up to the first that cannot be.
async fn publish_in_order(
    files: Vec<(&mut StagedFile, &SealedFile)>,
) -> Result<Vec<Published>, StorageError> {
    let mut outcomes = Vec::with_capacity(files.len());
    for (file, sealed) in files {
        outcomes.push(publish_file(file, sealed).await?);
    }
    Ok(outcomes)
}

async fn publish_file(file: &mut StagedFile, sealed: &SealedFile) -> Result<Published, StorageError> {
    failpoint!("publish.file.before", return Err(injected()));
    let published = file.publish(&FileIdentity { rows: sealed.rows, checksum: sealed.checksum }).await?;
    failpoint!("publish.file.after", return Err(injected()));
    Ok(published)
}

#[cfg(feature = "failpoints")]
fn injected() -> StorageError {
    StorageError::Retriable { reason: "a failpoint".to_owned(), after: None }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(name: &str) -> SealedFile {
        SealedFile { name: name.to_owned(), rows: 1, checksum: 1, size_bytes: 1 }
    }

    #[test]
    fn files_of_a_directory_become_visible_in_the_order_of_their_names() {
        let range = "t+0+000000000000+000000000009";
        let files = [
            sealed(&format!("t/k=a/{range}+1.parquet")),
            sealed(&format!("t/k=b/{range}.parquet")),
            sealed(&format!("t/k=a/{range}+10.parquet")),
            sealed(&format!("t/k=a/{range}.parquet")),
            sealed(&format!("t/k=a/{range}+2.parquet")),
        ];
        assert_eq!(publication_runs(&files), [vec![3, 0, 4, 2], vec![1]]);
    }
}
