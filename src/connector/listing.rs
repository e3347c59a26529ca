//! Owns the listing of a topic's directory for all topic-partitions that ask for it: one listing at a time for each topic, and
//! every answer is from one that began after the question. Does not own what follows from it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::connector::containment::Containment;
use crate::encode::FooterKey;
use crate::error::{Failure, Stage};
use crate::failpoint::failpoint;
use crate::kafka::TaskSender;
use crate::position::{Epoch, TopicPartition};
use crate::storage::{ListedFile, StorageError, Store};
use crate::task::message::{Attempt, FlushFooter, Input, PublishedFlush};
use crate::task::names::parse_object_name;

/// The listings of one connector.
pub(super) struct Listings {
    store: Store,
    containment: Containment,
    /// Questions by topic. A topic in the map has a listing under way.
    waiting: Mutex<HashMap<String, Vec<Question>>>,
}

/// Who asks, and how to answer.
pub(super) struct Question {
    pub(super) tp: TopicPartition,
    pub(super) epoch: Epoch,
    pub(super) attempt: Attempt,
    pub(super) with_footer: bool,
    pub(super) reply: TaskSender,
}

/// Of each partition the flush that ends last.
type LastFlushes = BTreeMap<TopicPartition, LastFlush>;

#[derive(Clone)]
struct LastFlush {
    flush: PublishedFlush,
    /// One of its files.
    path: String,
}

impl Listings {
    pub(super) fn new(store: Store, containment: Containment) -> Arc<Self> {
        Arc::new(Self { store, containment, waiting: Mutex::new(HashMap::new()) })
    }

    /// Answers with [`Input::Listed`] once a listing that begins now or later is done.
    pub(super) fn ask(self: &Arc<Self>, question: Question) {
        let topic = question.tp.topic.to_string();
        let mut waiting = self.lock();
        let idle = !waiting.contains_key(&topic);
        waiting.entry(topic.clone()).or_default().push(question);
        if idle {
            self.containment.spawn(Stage::Recover, Arc::clone(self).serve(topic));
        }
    }

    async fn serve(self: Arc<Self>, topic: String) {
        loop {
            let Some(questions) = self.take(&topic) else { return };
            failpoint!("recover.list.before");
            let listed = self.store.fold(&topic, LastFlushes::new(), note).await;
            failpoint!("recover.list.after");
            for question in questions {
                let result = self.answer(&question, &listed).await;
                let Question { tp, epoch, attempt, reply, .. } = question;
                let _ = reply.send(Input::Listed { tp, epoch, attempt, result });
            }
        }
    }

    /// The questions that wait; takes the topic out of the map when there are none.
    fn take(&self, topic: &str) -> Option<Vec<Question>> {
        let mut waiting = self.lock();
        let questions = waiting.get_mut(topic).map(std::mem::take).unwrap_or_default();
        if questions.is_empty() {
            waiting.remove(topic);
            return None;
        }
        Some(questions)
    }

    async fn answer(
        &self,
        question: &Question,
        listed: &Result<LastFlushes, StorageError>,
    ) -> Result<Option<PublishedFlush>, Failure> {
        let last = match listed {
            Ok(last) => last.get(&question.tp),
            Err(error) => return Err(error.clone().into_failure(Stage::Recover)),
        };
        let Some(LastFlush { flush, path }) = last.cloned() else { return Ok(None) };
        let footer = if question.with_footer { self.read_footer(&path).await? } else { None };
        Ok(Some(PublishedFlush { footer, ..flush }))
    }

    async fn read_footer(&self, path: &str) -> Result<Option<FlushFooter>, Failure> {
        let metadata = self.store.read_metadata(path).await;
        let metadata = metadata.map_err(|error| error.into_failure(Stage::Recover))?;
        let value_of = |key: FooterKey| {
            let mut pairs = metadata.file_metadata().key_value_metadata().into_iter().flatten();
            pairs.find(|pair| pair.key == key.as_str()).and_then(|pair| pair.value.clone())
        };
        let files = value_of(FooterKey::FlushFiles).and_then(|files| files.parse().ok());
        // Files of the first versions do not say it.
        Ok(files.zip(value_of(FooterKey::Intent)).map(|(files, intent)| FlushFooter { files, intent }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Question>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(last: &mut LastFlushes, file: ListedFile) {
    let Some((tp, range, _)) = parse_object_name(&file.path) else { return };
    match last.get_mut(&tp) {
        Some(known) if known.flush.range == range => known.flush.files += 1,
        Some(known) if (known.flush.range.end, known.flush.range.start) > (range.end, range.start) => {}
        _ => {
            let flush = PublishedFlush { range, files: 1, footer: None };
            last.insert(tp, LastFlush { flush, path: file.path });
        }
    }
}
