//! Owns the thread that asks the brokers what takes as long as they take: committed offsets, ends, leaders. Meanwhile the
//! consumer thread goes on polling, hands records over and acts on rebalances. Does not own what follows from the answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryIter, channel};
use std::thread::JoinHandle;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;

use super::REQUEST_TIMEOUT;
use super::reading::{DESCRIBE_TIMEOUT, Read, broker_position, position_failure};
use crate::error::Failure;
use crate::failpoint::failpoint;
use crate::kafka::context::Context;
use crate::kafka::native::QueueWaker;
use crate::kafka::watermarks::{Watermarks, watermarks};
use crate::task::message::BrokerPosition;

/// What the brokers said of partitions that were asked for together.
pub(super) struct Told {
    pub(super) positions: Vec<(Read, BrokerPosition)>,
    pub(super) failures: Vec<(Read, Failure)>,
    /// Who leads the first of these topics, where a position is known: whom to ask about all of them.
    pub(super) metadata: Option<Result<Metadata, KafkaError>>,
}

/// The thread. It ends when this is dropped, at the latest when its present request times out.
pub(super) struct Asker {
    questions: Option<Sender<Vec<Read>>>,
    answers: Receiver<Told>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Asker {
    /// `waker` wakes who waits for answers.
    pub(super) fn start(
        connector: &str,
        consumer: Arc<BaseConsumer<Context>>,
        waker: QueueWaker,
    ) -> std::io::Result<Self> {
        let (questions, asked) = channel::<Vec<Read>>();
        let (answer, answers) = channel();
        let ending = Arc::new(AtomicBool::new(false));
        let ends = ending.clone();
        let thread = std::thread::Builder::new().name(format!("ask-{connector}")).spawn(move || {
            while let Ok(mut reads) = asked.recv() {
                // What came meanwhile goes with the same requests.
                reads.extend(asked.try_iter().flatten());
                if ends.load(Ordering::SeqCst) || answer.send(ask(&consumer, reads)).is_err() {
                    break;
                }
                waker.wake();
            }
        })?;
        Ok(Self { questions: Some(questions), answers, ending, thread: Some(thread) })
    }

    /// Asks for these. False when the thread has ended.
    pub(super) fn ask(&self, reads: Vec<Read>) -> bool {
        self.questions.as_ref().is_some_and(|questions| questions.send(reads).is_ok())
    }

    /// What has been told since.
    pub(super) fn told(&self) -> TryIter<'_, Told> {
        self.answers.try_iter()
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        self.questions = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ask(consumer: &BaseConsumer<Context>, reads: Vec<Read>) -> Told {
    let (mut positions, mut failures) = (Vec::new(), Vec::new());
    match read_offsets(consumer, &reads) {
        Ok((list, ends)) => {
            for read in reads {
                match broker_position(&read.tp, &list, &ends) {
                    Ok(position) => positions.push((read, position)),
                    Err(failure) => failures.push((read, failure)),
                }
            }
        }
        Err(failure) => failures.extend(reads.into_iter().map(|read| (read, failure.clone()))),
    }
    let topic = positions.iter().map(|(read, _)| &*read.tp.topic).min();
    let metadata = topic.map(|topic| consumer.fetch_metadata(Some(topic), DESCRIBE_TIMEOUT));
    Told { positions, failures, metadata }
}

fn read_offsets(
    consumer: &BaseConsumer<Context>,
    reads: &[Read],
) -> Result<(TopicPartitionList, Watermarks), Failure> {
    let mut list = TopicPartitionList::with_capacity(reads.len());
    for read in reads {
        list.add_partition(&read.tp.topic, read.tp.partition);
    }
    failpoint!("recover.read.before");
    let committed = consumer
        .committed_offsets(list, REQUEST_TIMEOUT)
        .map_err(|error| position_failure(&error, "read the committed offsets"))?;
    let ends = watermarks(consumer, reads.iter().map(|read| &read.tp), REQUEST_TIMEOUT)
        .map_err(|error| position_failure(&error, "read the first and last offsets"))?;
    failpoint!("recover.read.after");
    Ok((committed, ends))
}
