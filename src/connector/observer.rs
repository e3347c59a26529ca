//! Owns what people hear of a connector: one log line for each change of state, counters for everything.
//! Repeats are rate-limited; nothing is logged a record.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use crate::connector::status::ConnectorStatus;
use crate::error::{Failure, Stage};
use crate::metrics::ConnectorMetrics;
use crate::position::TopicPartition;
use crate::task::message::Event;

/// The same kind of trouble is logged at most this often.
const REPEAT_AFTER: Duration = Duration::from_secs(10);

/// A file that has become visible.
#[derive(Clone, Debug)]
pub struct FileWritten {
    /// Names relative to the output prefix.
    pub names: Vec<String>,
    /// Rows in all of them.
    pub rows: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

pub(super) struct Observer {
    connector: String,
    metrics: Arc<ConnectorMetrics>,
    status: Arc<ConnectorStatus>,
    files: Option<Sender<FileWritten>>,
    repeats: HashMap<(Stage, &'static str), Repeat>,
}

struct Repeat {
    logged_at: Instant,
    held_back: u64,
}

impl Observer {
    pub(super) fn new(
        connector: &str,
        metrics: Arc<ConnectorMetrics>,
        status: Arc<ConnectorStatus>,
        files: Option<Sender<FileWritten>>,
    ) -> Self {
        Self { connector: connector.to_owned(), metrics, status, files, repeats: HashMap::new() }
    }

    pub(super) fn failed(&self, tp: Option<&TopicPartition>, failure: &Failure) {
        self.status.note_failure(failure);
        match tp {
            Some(tp) => tracing::error!(
                connector = self.connector,
                topic = &*tp.topic,
                partition = tp.partition,
                stage = %failure.stage(),
                "connector stopped: {failure}"
            ),
            None => {
                tracing::error!(connector = self.connector, stage = %failure.stage(), "connector stopped: {failure}");
            }
        }
    }

    pub(super) fn observe(&mut self, event: Event) {
        match event {
            Event::Consumed { records, bytes, .. } => {
                self.metrics.records.add(records);
                self.metrics.record_bytes.add(bytes);
            }
            Event::Tombstones { count, skipped, .. } => {
                self.metrics.tombstones.add(count);
                self.metrics.skipped.add(if skipped { count } else { 0 });
            }
            Event::Started { tp, offset, replay, found } => self.started(&tp, offset, replay, found),
            Event::SetBack { tp, offset, published } => tracing::warn!(
                connector = self.connector,
                topic = &*tp.topic,
                partition = tp.partition,
                offset = offset.as_i64(),
                published = published.as_i64(),
                "the group begins before the end of the files that are there: it was set back, and what is read again is written again"
            ),
            Event::Rotated { tp, range, reason, rows, files, bytes } => {
                self.metrics.rotations.add(reason.as_str(), 1);
                tracing::debug!(
                    connector = self.connector,
                    topic = &*tp.topic,
                    partition = tp.partition,
                    start = range.start.as_i64(),
                    end = range.end.as_i64(),
                    reason = reason.as_str(),
                    rows,
                    files,
                    bytes,
                    "flush ended"
                );
            }
            Event::Published { tp, range, names, rows, bytes, adopted, replayed, took } => {
                self.metrics.files.add(names.len() as u64);
                self.metrics.rows.add(rows);
                self.metrics.file_bytes.add(bytes);
                self.metrics.publish_time.observe(took);
                self.metrics.intents_replayed.add(u64::from(replayed));
                tracing::info!(
                    connector = self.connector,
                    topic = &*tp.topic,
                    partition = tp.partition,
                    start = range.start.as_i64(),
                    end = range.end.as_i64(),
                    rows,
                    bytes,
                    files = names.len(),
                    adopted,
                    replayed,
                    took_ms = took.as_millis() as u64,
                    file = names.first(),
                    "flush published"
                );
                if let Some(files) = &self.files {
                    let _ = files.send(FileWritten { names, rows, bytes });
                }
            }
            Event::Settled { tp, range } => tracing::debug!(
                connector = self.connector,
                topic = &*tp.topic,
                partition = tp.partition,
                offset = range.end.as_i64(),
                "offset committed"
            ),
            Event::Refused { tp, offset, stage, kind, reason, outcome } => {
                self.metrics.poison.add((stage, kind), 1);
                if outcome == "skipped" {
                    self.metrics.skipped.add(1);
                }
                if let Some(repeats) = self.may_log(stage, kind) {
                    tracing::warn!(
                        connector = self.connector,
                        topic = &*tp.topic,
                        partition = tp.partition,
                        offset = offset.as_i64(),
                        stage = stage.as_str(),
                        kind,
                        outcome,
                        repeats,
                        "poison record: {reason}"
                    );
                }
            }
            Event::Retrying { tp, failure, after } => self.retrying(tp.as_ref(), &failure, after),
            Event::Dropped { tp, reason } => tracing::warn!(
                connector = self.connector,
                topic = &*tp.topic,
                partition = tp.partition,
                "unsettled records dropped, to be read again: {reason}"
            ),
        }
    }

    fn started(
        &self,
        tp: &TopicPartition,
        offset: crate::position::Offset,
        replay: Option<crate::position::Offset>,
        found: &'static str,
    ) {
        if found == "files" {
            tracing::warn!(
                connector = self.connector,
                topic = &*tp.topic,
                partition = tp.partition,
                offset = offset.as_i64(),
                "the group has no committed offset; going on after the last published file"
            );
        }
        tracing::info!(
            connector = self.connector,
            topic = &*tp.topic,
            partition = tp.partition,
            offset = offset.as_i64(),
            found,
            replay_to = replay.map(crate::position::Offset::as_i64),
            "partition started"
        );
    }

    fn retrying(&mut self, tp: Option<&TopicPartition>, failure: &Failure, after: Duration) {
        self.metrics.retries.add(failure.stage(), 1);
        self.status.note_failure(failure);
        if let Some(repeats) = self.may_log(failure.stage(), "retry") {
            tracing::warn!(
                connector = self.connector,
                topic = tp.map(|tp| &*tp.topic),
                partition = tp.map(|tp| tp.partition),
                stage = failure.stage().as_str(),
                again_in_ms = after.as_millis() as u64,
                repeats,
                "{failure}"
            );
        }
    }

    /// Whether trouble of this kind may be logged now; the number of those held back since the last time.
    fn may_log(&mut self, stage: Stage, kind: &'static str) -> Option<u64> {
        let now = Instant::now();
        match self.repeats.get_mut(&(stage, kind)) {
            Some(repeat) if now.duration_since(repeat.logged_at) < REPEAT_AFTER => {
                repeat.held_back += 1;
                None
            }
            Some(repeat) => {
                repeat.logged_at = now;
                Some(std::mem::take(&mut repeat.held_back))
            }
            None => {
                self.repeats.insert((stage, kind), Repeat { logged_at: now, held_back: 0 });
                Some(0)
            }
        }
    }
}
